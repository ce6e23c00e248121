//! How the model is asked: as a text, or in its chat template; and runs that count and do nothing else.

use refrain_entropy::schema::Table;
use refrain_entropy::table::{CountOutcome, CountSweep, GateName, Gates, PromptKind, Prompts, Responses};
use refrain_experiments::lab::disk::read_table;
use refrain_tests::Result;
use refrain_tests::program::{Place, files};

use crate::place;

/// The user's words between tokens that no text has by itself, the system's before them.
const TEMPLATE: &str = "{% for message in messages %}<eos>{{ message.content }}<bos>{% endfor %}\
    {% if add_generation_prompt %}{% if enable_thinking %}Please{% endif %}:{% endif %}";

fn rows<T: Table>(place: &Place) -> Result<Vec<T::Row>> {
    Ok(T::rows(&read_table(&place.out().join(format!("{}.parquet", T::NAME)))?)?)
}

/// The prompts of the counts, as token ids.
fn asked(place: &Place, arguments: &[&str]) -> Result<Vec<Vec<i64>>> {
    if place.out().exists() {
        std::fs::remove_dir_all(place.out())?;
    }
    let always = ["--counts-only", "--counts", "2,16", "--try-wordings", "off", "--quiet"];
    place.run(&[&always, arguments].concat())?.succeeded();
    let prompts = rows::<Prompts>(place)?;
    assert!(prompts.iter().all(|row| row.kind == PromptKind::Count), "nothing else is asked");
    Ok(prompts.into_iter().map(|row| row.tokens).collect())
}

#[test]
fn a_chat_template_is_used_where_there_is_one() -> Result {
    let place = place()?;
    let as_text = asked(&place, &[])?;
    std::fs::write(
        place.tiny.path("tokenizer_config.json"),
        serde_json::to_vec(&serde_json::json!({ "chat_template": TEMPLATE }))?,
    )?;
    let (_, tokenizer) = place.tiny.load()?;
    let as_chat = asked(&place, &[])?;
    let sweep = rows::<CountSweep>(&place)?;
    for row in sweep.iter().filter(|row| row.sample == 0) {
        let question = format!("Please repeat this word: {} in {} times", row.phrase, row.n);
        let copies = vec![&row.phrase[..]; row.prefilled as usize].join(" ");
        assert_eq!(row.prefilled, if row.n > 8 { 8 } else { 0 });
        // No second BOS: the template writes the special tokens.
        let chat = tokenizer.encode(&format!("<eos>{question}<bos>: {copies}"))?;
        assert!(as_chat.contains(&chat) && row.prompt_tokens as usize == chat.len(), "{row:?}");
        let text = tokenizer.encode_with_specials(&format!("{question}\n{copies}"))?;
        assert!(as_text.contains(&text), "{question}");
    }
    assert_eq!(asked(&place, &["--chat", "off"])?, as_text);
    let more = asked(&place, &["--chat", "on", "--system", "this word", "--thinking"])?;
    let begin = tokenizer.encode("<eos>this word<bos><eos>Please repeat")?;
    assert!(more.iter().all(|prompt| prompt.starts_with(&begin)), "{more:?}");
    // `Please :` where there was `:`.
    assert_eq!(more.len(), as_chat.len());
    assert!(
        more.iter().zip(&as_chat).all(|(more, plain)| more.len() == plain.len() + begin.len() - 2),
        "{more:?}"
    );
    Ok(())
}

#[test]
fn what_needs_a_chat_template_says_so() -> Result {
    let place = place()?;
    for flags in [&["--chat", "on"][..], &["--system", "this word"], &["--thinking"]] {
        place.run(flags)?.refused(&["has no chat template", "hint: "]);
    }
    place.run(&["--chat", "off", "--thinking"])?.refused(&["--system and --thinking are for chat templates"]);
    place.no_table();
    Ok(())
}

#[test]
fn counting_alone_scores_no_heads() -> Result {
    let place = place()?;
    let ran = place.run(&["--counts-only"])?.succeeded();
    assert!(ran.stdout.contains("Asked to repeat a phrase") && !ran.stdout.contains("H_ind"), "{ran:#?}");
    assert!(ran.stdout.contains("Answers end at <eos>"), "{ran:#?}");
    let tables: Vec<String> = files(&place.out())
        .iter()
        .filter_map(|path| Some(path.file_name()?.to_str()?.strip_suffix(".parquet")?.to_owned()))
        .collect();
    assert_eq!(tables, ["conditions", "count_summary", "count_sweep", "gates", "prompts", "responses"]);
    // The counts are those of the whole experiment.
    let (counts, responses) = (rows::<CountSweep>(&place)?, rows::<Responses>(&place)?);
    assert_eq!(counts.len(), responses.len());
    // Whether the model counts at all, by the runs with nothing in the prompt.
    let small: Vec<_> = counts.iter().filter(|row| row.n <= 8).collect();
    let tried = small.iter().filter(|row| row.outcome != CountOutcome::NoAttempt).count();
    let share = tried as f64 / small.len() as f64;
    let gates = rows::<Gates>(&place)?;
    assert_eq!(gates.len(), 1, "{gates:?}");
    let found = (gates[0].gate, gates[0].value, gates[0].passed, gates[0].n as usize);
    assert_eq!(found, (GateName::Followed, Some(share), share >= 0.5, small.len()));
    let words: Vec<&str> = ran.stdout.split_whitespace().collect();
    assert_eq!(words.join(" ").contains("no verdict on how it counts"), share < 0.5, "{ran:#?}");
    std::fs::remove_dir_all(place.out())?;
    place.run(&[])?.succeeded();
    let whole: Vec<_> =
        rows::<CountSweep>(&place)?.into_iter().filter(|row| row.condition == "none").collect();
    assert_eq!(counts, whole);
    Ok(())
}
