//! The slow and obvious way to every number: one full forward pass a step and row, no key/value cache, no batch, no
//! restart, factors written out position by position.

use std::path::Path;

use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::read_table;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_runner::{
    Action, BoundInterventions, Head, Hook, HookPoint, Intervention, Model, NameFilter, Positions, Run,
    Tokenizer,
};
use refrain_tests::Result;
use refrain_tests::program::Place;
use tch::{Kind, no_grad};

/// A finished run and its model.
pub struct Finished {
    pub place: Place,
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub induction: Vec<Head>,
}

impl Finished {
    /// Runs the program with `arguments` and loads the model that it ran on.
    pub fn run(arguments: &[&str]) -> Result<Self> {
        // Tests run side by side, and these tensors are tiny.
        tch::set_num_threads(1);
        let place = crate::place()?;
        place.run(arguments)?.succeeded();
        let (model, tokenizer) = place.tiny.load()?;
        let selected = rows::<HeadScores>(&place.out())?.into_iter().filter(|row| row.selected);
        let head = |row: HeadScoreRow| Some(Head { layer: row.layer as usize, head: row.head? as usize });
        let induction: std::collections::BTreeSet<Head> = selected.filter_map(head).collect();
        let induction: Vec<Head> = induction.into_iter().collect();
        assert!(!induction.is_empty());
        Ok(Finished { place, model, tokenizer, induction })
    }

    /// The rows of table `T`.
    pub fn rows<T: Table>(&self) -> Result<Vec<T::Row>> {
        rows::<T>(&self.place.out())
    }

    /// The tokens of "Please repeat ...", and `given` copies of the phrase.
    pub fn prompt(&self, phrase: &str, n: u32, given: u32) -> Result<Vec<i64>> {
        let text = format!("Please repeat this word: {phrase} in {n} times\n");
        let mut ids = self.tokenizer.encode_with_specials(&text)?;
        for _ in 0..given {
            ids.extend(self.tokenizer.encode(phrase)?);
        }
        Ok(ids)
    }

    /// The condition in which `intervention` acts on the induction heads.
    pub fn condition(intervention: &str) -> String {
        if intervention == "none" { "none".into() } else { format!("{intervention}:induction") }
    }

    /// Logits after the last of `ids`, under `turned` if the condition is one.
    pub fn logits(&self, ids: &[i64], prompt: usize, intervention: &str) -> Result<Vec<f64>> {
        let interventions = self.turned(ids.len(), prompt, intervention);
        logits(&self.model, ids, &interventions)
    }

    /// The induction heads' outputs times the factor of `intervention`, the positions of each step on their own.
    fn turned(&self, length: usize, prompt: usize, intervention: &str) -> Vec<Intervention> {
        let mut interventions = Vec::new();
        // The prompt is step 0; the t-th generated token is step t.
        for step in 0..=length - prompt {
            let t = step as f64;
            let factor = match intervention {
                "log" => (1.0 / (t + 2.0).ln()).min(1.0),
                "linear" => (1.0 / t).min(1.0),
                "constant" => 0.5,
                _ => continue,
            };
            if factor == 1.0 {
                continue;
            }
            let positions = if step == 0 { (0..prompt).collect() } else { vec![prompt + step - 1] };
            for head in &self.induction {
                interventions.push(Intervention {
                    heads: Some(vec![head.head]),
                    positions: Some(Positions::Columns(positions.clone())),
                    ..Intervention::new(Hook::block(head.layer, HookPoint::Z), Action::Scale(factor))
                });
            }
        }
        interventions
    }
}

/// The rows of table `T` in the run folder `out`.
pub fn rows<T: Table>(out: &Path) -> Result<Vec<T::Row>> {
    let path = out.join(format!("{}.parquet", T::NAME));
    Ok(T::rows(&read_table(&path)?)?)
}

/// Logits after the last of `ids`.
pub fn logits(model: &Model, ids: &[i64], interventions: &[Intervention]) -> Result<Vec<f64>> {
    let plan = BoundInterventions::new(model.architecture(), interventions, &[])?;
    last(model, ids, &plan)
}

fn last(model: &Model, ids: &[i64], plan: &BoundInterventions<'_>) -> Result<Vec<f64>> {
    let ids = model.ids(&[ids.to_vec()])?;
    let output = no_grad(|| model.run(&ids, Run { interventions: Some(plan), ..Run::default() }))?;
    let logits = output.logits()?.get(0);
    Ok(Vec::try_from(&logits.get(logits.size()[0] - 1).to_kind(Kind::Double))?)
}

/// The logit of `answer` after `corrupted`, when the output z of `head` is that of the run on `clean`.
pub fn patched(model: &Model, clean: &[i64], corrupted: &[i64], head: Head, answer: i64) -> Result<f64> {
    let ids = model.ids(&[clean.to_vec()])?;
    let (_, cache) = no_grad(|| model.run_with_cache(&ids, NameFilter::points(&[HookPoint::Z])))?;
    let replace = Intervention {
        heads: Some(vec![head.head]),
        ..Intervention::new(Hook::block(head.layer, HookPoint::Z), Action::Replace("clean".into()))
    };
    let (interventions, sources) = ([replace], [("clean", &cache)]);
    let plan = BoundInterventions::new(model.architecture(), &interventions, &sources)?;
    Ok(last(model, corrupted, &plan)?[answer as usize])
}

/// Natural logarithms of the probabilities.
pub fn log_probabilities(logits: &[f64]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = logits.iter().map(|logit| (logit - highest).exp()).sum::<f64>().ln() + highest;
    logits.iter().map(|logit| logit - total).collect()
}

/// The token with the highest value.
pub fn best(values: &[f64]) -> i64 {
    let mut best = 0;
    for (token, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = token;
        }
    }
    best as i64
}

/// Fails unless `found` is `wanted` to within `tolerance`.
#[track_caller]
pub fn close(what: impl std::fmt::Display, found: Option<f64>, wanted: f64, tolerance: f64) {
    let off = found.map_or(f64::INFINITY, |found| (found - wanted).abs());
    assert!(off <= tolerance, "{what}: {found:?} instead of {wanted}, off by {off:e}");
}
