//! How sampled continuations are drawn.

use anyhow::{Result, bail, ensure};
use clap::Args;
use refrain_runner::{Decoding, ModelFiles};
use serde::{Deserialize, Serialize};

use crate::lab::{CountOrNone, Temperature, TopP};

/// The flags.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SamplingArgs {
    /// Temperature of the sampled continuations
    #[arg(long, value_name = "T", default_value_t = Temperature::ONE, help_heading = "Counting")]
    pub temperature: Temperature,
    /// Sample from the fewest tokens that reach this probability
    #[arg(long, value_name = "P", default_value_t = TopP::ONE, help_heading = "Counting")]
    pub top_p: TopP,
    /// Sample from the K most probable tokens (0: all)
    #[arg(long, value_name = "K", default_value_t = CountOrNone::of::<0>(), help_heading = "Counting")]
    pub top_k: CountOrNone,
    /// Sample as the model's generation_config.json recommends, instead of by these three
    #[arg(long, help_heading = "Counting")]
    #[serde(default)]
    pub recommended_sampling: bool,
}

impl Default for SamplingArgs {
    /// From the model's own distribution.
    fn default() -> Self {
        SamplingArgs {
            temperature: Temperature::ONE,
            top_p: TopP::ONE,
            top_k: CountOrNone::of::<0>(),
            recommended_sampling: false,
        }
    }
}

impl SamplingArgs {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        ensure!(
            !self.recommended_sampling || self.own() == Decoding::SAMPLE,
            "--recommended-sampling takes the place of --temperature, --top-p and --top-k\nhint: leave them out"
        );
        Ok(())
    }

    /// How tokens are drawn from the model in `files`.
    ///
    /// # Errors
    /// If its recommendation is asked for, and there is none or it cannot be followed.
    pub fn decoding(&self, files: &ModelFiles) -> Result<Decoding> {
        if !self.recommended_sampling {
            return Ok(self.own());
        }
        match Decoding::recommended(files)? {
            Some(recommended) => Ok(recommended),
            None => bail!(
                "{} has no generation_config.json that recommends a sampling, which --recommended-sampling \
                 needs\nhint: leave it out, or give --temperature, --top-p and --top-k",
                files.name()
            ),
        }
    }

    fn own(&self) -> Decoding {
        Decoding {
            temperature: self.temperature.get(),
            top_k: self.top_k.get(),
            top_p: self.top_p.get(),
            ..Decoding::SAMPLE
        }
    }
}

/// What is done to the logits, in words.
pub fn described(decoding: &Decoding) -> String {
    let neutral = Decoding::SAMPLE;
    let mut parts = vec![format!("temperature {}", decoding.temperature)];
    if decoding.top_k != neutral.top_k {
        parts.push(format!("top-k {}", decoding.top_k));
    }
    for (name, value, nothing) in [
        ("top-p", decoding.top_p, neutral.top_p),
        ("min-p", decoding.min_p, neutral.min_p),
        ("repetition penalty", decoding.repetition_penalty, neutral.repetition_penalty),
    ] {
        if value != nothing {
            parts.push(format!("{name} {value}"));
        }
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recommendation_stands_alone() {
        let with = |top_k: CountOrNone| SamplingArgs {
            recommended_sampling: true,
            top_k,
            ..SamplingArgs::default()
        };
        assert!(with(CountOrNone::of::<0>()).check().is_ok());
        let error = with(CountOrNone::of::<5>()).check().unwrap_err().to_string();
        assert!(error.contains("--recommended-sampling") && error.contains("hint: "), "{error}");
        // The built-in model recommends none.
        let error = with(CountOrNone::of::<0>()).decoding(&ModelFiles::embedded()).unwrap_err().to_string();
        assert!(error.contains("has no generation_config.json"), "{error}");
    }

    #[test]
    fn a_sampling_in_words() {
        assert_eq!(described(&Decoding::SAMPLE), "temperature 1");
        let decoding = Decoding { temperature: 0.6, top_k: 20, repetition_penalty: 1.1, ..Decoding::SAMPLE };
        assert_eq!(described(&decoding), "temperature 0.6, top-k 20, repetition penalty 1.1");
    }
}
