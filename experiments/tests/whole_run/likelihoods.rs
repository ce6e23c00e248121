//! `perplexity`: each text's likelihood from the logits of each prefix on its own.

use refrain_entropy::table::Perplexity;
use refrain_tests::Result;

use crate::slow::{Finished, close, log_probabilities};

#[test]
fn perplexity_is_that_of_prefix_by_prefix() -> Result {
    let run = Finished::run(&[])?;
    let rows = run.rows::<Perplexity>()?;
    let texts = std::fs::read_to_string(run.place.path("texts.txt"))?;
    for intervention in ["none", "log", "linear", "constant"] {
        let condition = Finished::condition(intervention);
        let (mut sum, mut tokens) = (0.0, 0);
        for (text, index) in texts.lines().take(4).zip(0..) {
            let mut ids = run.tokenizer.encode_with_specials(text)?;
            ids.truncate(24);
            let mut nll = 0.0;
            for length in 1..ids.len() {
                // The first token stands for the prompt.
                let log_p = log_probabilities(&run.logits(&ids[..length], 1, intervention)?);
                nll -= log_p[ids[length] as usize];
            }
            let row = rows
                .iter()
                .find(|row| row.condition == condition && row.text == Some(index))
                .ok_or("no row")?;
            assert_eq!(row.tokens as usize, ids.len() - 1);
            let mean = nll / (ids.len() - 1) as f64;
            close(format!("{intervention} text {index}"), Some(row.nll_nats), mean, 1e-4);
            close(format!("{intervention} text {index}"), Some(row.perplexity / mean.exp()), 1.0, 1e-3);
            sum += nll;
            tokens += ids.len() - 1;
        }
        let all =
            rows.iter().find(|row| row.condition == condition && row.text.is_none()).ok_or("no pool")?;
        assert_eq!(all.tokens as usize, tokens);
        close(format!("{intervention} pooled"), Some(all.nll_nats), sum / tokens as f64, 1e-4);
        // Of four texts there is no interval.
        assert!(all.ci_low.is_none() && all.reason.is_some() && all.n_texts == 4, "{all:?}");
    }
    Ok(())
}
