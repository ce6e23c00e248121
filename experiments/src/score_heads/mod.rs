//! Scores of heads, layers and neurons on pairs of prompts, by any method: rows of one table.

mod approximation;
mod settings;
mod summary;

use std::path::Path;

use anyhow::{Result, bail};
use refrain_entropy::table::{Gates, Prompts};
use refrain_patching::detect::Detector;
use refrain_patching::table::{Approximation, CircuitScores, EdgeScores, HeadScoreRow, HeadScores};
use refrain_patching::task::{Language, jsonl::Reader};
use refrain_patching::{Direction, Measure, Method, Metric, Pair};
use refrain_runner::Model;

pub use settings::Settings;

use crate::lab::disk::Provenance;
use crate::lab::model_args::{Dtype, ModelArgs};
use crate::lab::{Count, Experiment, Finished, Lab, Report, Run, prompts_sha256};
use crate::measure::gates::gates;
use crate::measure::prompts::pair_rows;
use crate::measure::scoring::{Jobs, RepeatedSequences, Scoring};

/// Pairs of a task that is drawn.
const PAIRS: usize = 64;

/// The experiment, and what it works on.
pub struct ScoreHeads {
    pairs: Vec<Pair>,
    /// The task's name, or its file's.
    task: String,
    metrics: Vec<Metric>,
    random_tokens: Vec<i64>,
    /// The model in bf16, for screening.
    narrow: Option<Model>,
}

impl Experiment for ScoreHeads {
    const NAME: &'static str = "score-heads";
    const ABOUT: &'static str = "Score the heads, layers or neurons of a language model by what they do on pairs of \
        prompts

Every method gives the same table: the metric of the changed run beside those of the clean and the corrupted one, \
by site and prompt, and the mean over prompts with an interval. An effect of 0 is no effect and 1 the whole effect, \
whichever \
run is changed. Writes Parquet tables and heat maps, and prints the strongest sites. A killed run continues where it \
stopped \
when it is started again.

By default, random-token tasks corrupt the token to be copied. This reveals the heads that copy it, but not \
previous-token \
heads; `--corruption match` and `copies` reveal those, too.";
    const EXAMPLES: &'static str =
        "  score-heads --task induction --method activation-patching,atp-star,detectors
  score-heads --task pairs.jsonl --component z,mlp_out --by-position
  score-heads --method attribution-patching --component neuron --verify 0.01
  score-heads --task ioi --model DIR --method path-patching --sender L9H6 --receiver logits";
    const STAGES: &'static [&'static str] = &["score", "confirm"];
    const BY_CONTENTS: &'static [&'static str] = &["task"];
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<()> {
        settings.check()
    }

    fn prepare(lab: &Lab<Settings>) -> Result<Self> {
        let Lab { settings, subject, common, .. } = lab;
        let narrow = match settings.method.contains(&Method::ActivationPatchingBf16) {
            true => {
                Some(ModelArgs { dtype: Some(Dtype::Bf16), ..common.model.clone() }.load(common.quiet)?.1)
            }
            false => None,
        };
        let random_tokens = subject.random_tokens()?;
        let (task, pairs) = pairs(lab, &random_tokens)?;
        let metrics = metrics(settings, &task, &pairs)?;
        Ok(ScoreHeads { pairs, task, metrics, random_tokens, narrow })
    }

    fn provenance(&self, lab: &Lab<Settings>) -> Result<Provenance> {
        let of_pair = |pair: &Pair| (pair.clean.clone(), pair.corrupted.clone(), pair.answer, pair.foil);
        let prompts: Vec<_> = self.pairs.iter().map(of_pair).collect();
        let metrics: Vec<&str> = self.metrics.iter().map(|metric| metric.name()).collect();
        let named = lab.settings.named_task()?.map_or("file", |task| task.name());
        let entries = [
            ("task", named.to_owned()),
            ("prompts_sha256", prompts_sha256(&prompts)?),
            ("metric", metrics.join(",")),
            ("direction", lab.settings.direction.unwrap_or(Direction::Denoise).to_string()),
            ("measures", serde_json::to_string(&Measure::all_info())?),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn conduct(&self, lab: &Lab<Settings>, run: &mut Run<'_>) -> Result<()> {
        let Lab { settings, subject, common, .. } = lab;
        let scoring = Scoring {
            model: &subject.model,
            narrow: self.narrow.as_ref(),
            tokenizer: subject.tokenizer.as_ref(),
            task: &self.task,
            pairs: &self.pairs,
            metrics: self.metrics.clone(),
            components: settings.component.clone(),
            direction: settings.direction.unwrap_or(Direction::Denoise),
            by_position: settings.by_position,
            by_key_position: settings.by_key_position,
            pooled: settings.pooled,
            senders: settings.sender.iter().map(|sender| sender.0).collect(),
            receivers: receivers(settings),
            steps: settings.steps.map_or(5, Count::get),
            circuit_heads: settings.circuit_heads.map_or(8, Count::get),
            background: lab.background.interventions(),
            probe: RepeatedSequences {
                tokens: &self.random_tokens,
                sequences: 5,
                block: 50,
                copies: 4,
                detectors: Detector::ALL.to_vec(),
            },
            memory: common.memory_bytes(),
            cores: common.cores(),
            resamples: common.resamples.get(),
            seed: common.seed,
        };
        let jobs = Jobs::new(&scoring, &settings.method)?;
        let stage = jobs.stage("score");
        run.stage(&stage)?;
        let confirmed = approximation::to_confirm(settings, &jobs, run, &stage)?;
        let confirming = match confirmed.is_empty() {
            true => None,
            false => Some(Jobs::confirming(&scoring, confirmed.clone())?),
        };
        let second =
            confirming.as_ref().map(|jobs| jobs.stage("confirm").depends_on(&confirmed)).transpose()?;
        if let Some(second) = &second {
            run.stage(second)?;
        }

        // A group of parts in memory at a time; of its rows, the means are kept.
        let mut groups: Vec<(&Jobs<'_>, &_, Vec<usize>)> =
            jobs.groups().into_iter().map(|group| (&jobs, &stage, group)).collect();
        if let (Some(jobs), Some(stage)) = (&confirming, &second) {
            groups.extend(jobs.groups().into_iter().map(|group| (jobs, stage, group)));
        }
        let mut means: Vec<HeadScoreRow> = Vec::new();
        run.write_pieces::<HeadScores>(groups.len(), |run, index| {
            let (jobs, stage, group) = &groups[index];
            let rows = jobs.head_scores(run, stage, group)?;
            means.extend(rows.iter().filter(|row| row.prompt.is_none()).cloned());
            Ok(rows)
        })?;
        let edges = jobs.parts_with::<EdgeScores>();
        if !edges.is_empty() {
            run.write::<EdgeScores>(&run.rows_of::<EdgeScores>(&stage, &edges)?)?;
        }
        let circuits = jobs.parts_with::<CircuitScores>();
        if !circuits.is_empty() {
            run.write::<CircuitScores>(&run.rows_of::<CircuitScores>(&stage, &circuits)?)?;
        }
        let approximations = approximation::compare(&means);
        if !approximations.is_empty() {
            run.write::<Approximation>(&approximations)?;
        }
        let background = lab.background.interventions();
        run.write::<Gates>(&gates(&self.task, self.metrics[0], &self.pairs, &subject.model, background)?)?;
        run.write::<Prompts>(&pair_rows(subject.tokenizer.as_ref(), "", &self.pairs))?;
        let lengths = || self.pairs.iter().map(|pair| pair.clean.len());
        run.fact("task", self.task.clone());
        run.fact("pairs", self.pairs.len() as i64);
        run.fact("shortest", lengths().min().unwrap_or(0) as i64);
        run.fact("longest", lengths().max().unwrap_or(0) as i64);
        Ok(())
    }

    fn summary(run: &Finished, report: &mut Report) -> Result<()> {
        summary::summary(run, report)
    }
}

/// The pairs of the task or the file, and its name.
fn pairs(lab: &Lab<Settings>, random_tokens: &[i64]) -> Result<(String, Vec<Pair>)> {
    let Lab { settings, subject, common, .. } = lab;
    let arch = subject.model.architecture();
    let tokenizer = subject.tokenizer.as_ref();
    let wanted = settings.pairs.map(Count::get);
    if let Some(task) = settings.named_task()? {
        let language = Language { candidates: random_tokens, bos: arch.bos, tokenizer, window: arch.n_ctx };
        return Ok((
            task.name().to_owned(),
            task.corrupted_pairs(
                &language,
                settings.corruption.unwrap_or_default(),
                wanted.unwrap_or(PAIRS),
                common.seed,
            )?,
        ));
    }
    let path = Path::new(&settings.task);
    let mut pairs = Reader { tokenizer, n_vocab: arch.n_vocab, window: arch.n_ctx }.read(path)?;
    if let Some(most) = wanted {
        if most > pairs.len() {
            bail!("--pairs {most}: {} has {}", path.display(), pairs.len());
        }
        pairs.truncate(most);
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    Ok((name.to_string_lossy().into_owned(), pairs))
}

/// The metrics asked for, or the usual one.
fn metrics(settings: &Settings, task: &str, pairs: &[Pair]) -> Result<Vec<Metric>> {
    let without = pairs.iter().filter(|pair| pair.foil.is_none()).count();
    if settings.metric.is_empty() {
        return Ok(vec![if without == 0 { Metric::LogitDiff } else { Metric::Logit }]);
    }
    if without > 0 && settings.metric.contains(&Metric::LogitDiff) {
        let others = Metric::ALL.iter().filter(|metric| **metric != Metric::LogitDiff);
        let others: Vec<&str> = others.map(|metric| metric.name()).collect();
        bail!(
            "logit_diff needs an incorrect answer in every pair, and {without} of the {} pairs of {task} have \
             none\nhint: without one, choose from {}",
            pairs.len(),
            others.join(", ")
        );
    }
    Ok(settings.metric.clone())
}

fn receivers(
    settings: &Settings,
) -> Vec<(refrain_patching::attribution::Node, refrain_patching::attribution::Input)> {
    use refrain_patching::attribution::{Input, Node};
    match settings.receiver[..] {
        [] => vec![(Node::Logits, Input::Whole)],
        ref given => given.iter().map(|receiver| (receiver.0, receiver.1)).collect(),
    }
}
