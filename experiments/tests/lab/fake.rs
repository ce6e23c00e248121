//! An experiment that draws numbers and adds them up, slowly if asked to. What the second stage does depends on
//! what the first found.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use rand::RngExt;
use refrain_entropy::schema::Table;
use refrain_entropy::stats::rng;
use refrain_experiments::lab::disk::Provenance;
use refrain_experiments::lab::{Count, Experiment, Finished, Found, Lab, Part, Report, Run, Stage};
use serde::{Deserialize, Serialize};

/// The flags.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Parts of the first stage
    #[arg(long, default_value_t = Count::of::<7>())]
    pub draws: Count,
    /// Milliseconds that each part takes
    #[arg(long, default_value_t = 0)]
    pub slow: u64,
}

/// A number that was drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Draw {
    /// Which.
    pub index: u32,
    /// The number.
    pub value: f64,
}

/// The table `draws`.
pub struct Draws;

impl Table for Draws {
    type Row = Draw;
    const NAME: &'static str = "draws";
}

/// A sum of numbers that were drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    /// Of the numbers from this one on.
    pub from: u32,
    /// The sum.
    pub value: f64,
}

/// The table `sums`.
pub struct Sums;

impl Table for Sums {
    type Row = Sum;
    const NAME: &'static str = "sums";
}

/// The experiment.
pub struct Fake;

impl Experiment for Fake {
    const NAME: &'static str = "fake";
    const ABOUT: &'static str = "Draw numbers and add them up";
    const STAGES: &'static [&'static str] = &["draw", "add"];
    const TABLES_ONLY: &'static [&'static str] = &["resamples"];
    type Settings = Settings;

    fn prepare(_lab: &Lab<Settings>) -> Result<Self> {
        Ok(Fake)
    }

    fn provenance(&self, _lab: &Lab<Settings>) -> Result<Provenance> {
        Ok(Provenance::from([("task".to_owned(), "arithmetic".to_owned())]))
    }

    fn conduct(&self, lab: &Lab<Settings>, run: &mut Run<'_>) -> Result<()> {
        let (settings, seed) = (&lab.settings, lab.common.seed);
        let pause = || std::thread::sleep(Duration::from_millis(settings.slow));
        let parts = (0..settings.draws.u32()).map(|index| Part::new(format!("d{index:03}"), 1.0)).collect();
        let draw = Stage::side_by_side("draw", &["draws"], parts, |_, part| {
            pause();
            let value = rng(seed, &format!("draw/{part}")).random_range(0.0..1.0);
            Found::rows::<Draws>(&[Draw { index: part as u32, value }])
        });
        run.stage(&draw)?;
        let drawn = run.rows::<Draws>(&draw)?;
        // As many parts as there are large numbers.
        let large: Vec<&Draw> = drawn.iter().filter(|draw| draw.value > 0.3).collect();
        let part = |draw: &&Draw| {
            Part::new(format!("s{:03}", draw.index), 2.0).depends_on(&drawn[draw.index as usize..].to_vec())
        };
        let parts = large.iter().map(part).collect::<Result<_>>()?;
        let add = Stage::in_turn("add", &["sums"], parts, |part| {
            pause();
            let from = large[part].index;
            let value = drawn[from as usize..].iter().map(|draw| draw.value).sum();
            Found::rows::<Sums>(&[Sum { from, value }])
        });
        run.stage(&add)?;
        let sums = run.rows::<Sums>(&add)?;
        run.write::<Draws>(&drawn)?;
        run.write::<Sums>(&sums)
    }

    fn summary(run: &Finished, report: &mut Report) -> Result<()> {
        let sums = run.rows::<Sums>()?;
        report.line(format_args!("{} sums", sums.len()));
        Ok(())
    }
}
