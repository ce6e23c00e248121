//! An experiment of one's own: how uncertain a model is of the next token, by position in ordinary text.
//!
//!     cargo run --release --example next-token -- --max-texts 8 --out runs/next-token/first

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use refrain_entropy::distribution::LogProbs;
use refrain_entropy::schema::Table;
use refrain_experiments::lab::disk::Provenance;
use refrain_experiments::lab::report::{Align, number};
use refrain_experiments::lab::{
    self, Experiment, Finished, Found, Lab, Part, Report, Run, Stage, prompts_sha256,
};
use refrain_experiments::measure::texts::TextArgs;
use refrain_experiments::measure::words::Words;
use serde::{Deserialize, Serialize};

/// The flags that only this experiment has. Those of the model, the seed and the folder come by themselves.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Which texts
    #[command(flatten)]
    #[serde(flatten)]
    texts: TextArgs,
}

/// A row of the table: one position of one text.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UncertaintyRow {
    /// Which text.
    text: u32,
    /// The position, from 0: the entropy is that of the token after it.
    position: u32,
    /// Entropy of the next-token distribution.
    entropy_nats: f64,
}

/// The table. Its columns are the fields of the row.
struct Uncertainty;

impl Table for Uncertainty {
    type Row = UncertaintyRow;
    const NAME: &'static str = "uncertainty";
}

/// What the experiment works on.
pub struct NextToken {
    texts: Vec<Vec<i64>>,
}

impl Experiment for NextToken {
    const NAME: &'static str = "next-token";
    const ABOUT: &'static str =
        "Measure how uncertain a model is of the next token, by position in ordinary text";
    const STAGES: &'static [&'static str] = &["read"];
    const BY_CONTENTS: &'static [&'static str] = &["texts"];
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<()> {
        settings.texts.check()
    }

    fn prepare(lab: &Lab<Settings>) -> Result<Self> {
        let words = Words::of(&lab.subject)?;
        Ok(NextToken { texts: lab.settings.texts.tokens(&lab.subject, &words, lab.common.seed)? })
    }

    fn provenance(&self, _lab: &Lab<Settings>) -> Result<Provenance> {
        Ok(Provenance::from([("prompts_sha256".to_owned(), prompts_sha256(&self.texts)?)]))
    }

    fn conduct(&self, _lab: &Lab<Settings>, run: &mut Run<'_>) -> Result<()> {
        // A part for every text: each is written when it is finished, and parts run side by side.
        let part =
            |(index, text): (usize, &Vec<i64>)| Part::new(format!("text{index:04}"), text.len() as f64);
        let parts = self.texts.iter().enumerate().map(part).collect();
        let read = Stage::side_by_side("read", &[Uncertainty::NAME], parts, |model, text| {
            let logits = tch::no_grad(|| model.logits(&model.ids(&self.texts[text..=text])?))?;
            let entropies = LogProbs::from_logits(&logits.f_squeeze_dim(0)?)?.entropy_nats()?;
            let row = |(entropy_nats, position)| UncertaintyRow { text: text as u32, position, entropy_nats };
            Found::rows::<Uncertainty>(&entropies.into_iter().zip(0..).map(row).collect::<Vec<_>>())
        });
        run.stage(&read)?;
        let rows = run.rows::<Uncertainty>(&read)?;
        run.write::<Uncertainty>(&rows)
    }

    fn summary(run: &Finished, report: &mut Report) -> Result<()> {
        let rows = run.rows::<Uncertainty>()?;
        report.line(format_args!("Entropy of the next token, in nats"));
        let columns = [("position", Align::Right), ("mean", Align::Right), ("texts", Align::Right)];
        let at = |position: u32| {
            let here: Vec<f64> =
                rows.iter().filter(|row| row.position == position).map(|row| row.entropy_nats).collect();
            let mean = (!here.is_empty()).then(|| here.iter().sum::<f64>() / here.len() as f64);
            vec![position.to_string(), number(mean), here.len().to_string()]
        };
        report.table(&columns, [0, 1, 2, 4, 8, 16, 32, 64].map(at));
        Ok(())
    }
}

#[allow(dead_code)] // The test runs it in its own process.
fn main() -> ExitCode {
    lab::main::<NextToken>()
}
