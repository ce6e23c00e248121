//! The repetition curse (Wang et al. 2025, arXiv 2505.13514), tested rather than assumed: which heads are induction
//! heads, how counting fails, what entropy and toxicity do meanwhile, and whether turning the heads down helps.

mod settings;
mod summary;

pub use summary::gate_notes;

use anyhow::{Context, Result, bail};
use refrain_entropy::schema::Table;
use refrain_entropy::summary::{self as summaries, Bootstrap};
use refrain_entropy::table::{
    ConditionRow, Conditions, Contrasts, CountRow, CountSummary, CountSweep, EntropyTrace, Gates, Perplexity,
    PerplexityRow, PromptKind, PromptRow, Prompts, Responses, TraceKind, TraceSummary,
};
use refrain_patching::detect::Detector;
use refrain_patching::table::{HeadScoreRow, HeadScores};
use refrain_patching::task::{Language, Task};
use refrain_patching::{Component, Direction, Measure, Method, Metric, Pair, strongest};
use refrain_runner::Head;

pub use settings::Settings;

use crate::lab::disk::Provenance;
use crate::lab::{Experiment, Finished, Found, Lab, Part, Report, Run, Stage, prompts_sha256};
use crate::measure::condition::{Condition, conditions};
use crate::measure::counting::{Counting, Question, questions};
use crate::measure::gates::gates;
use crate::measure::likelihood::likelihood;
use crate::measure::prompts::prompt_row;
use crate::measure::scoring::{Jobs, Probe, Scoring};
use crate::measure::tracing::{Traced, Tracing};
use crate::measure::words::Words;

/// The experiment, and what it works on.
pub struct RepetitionCurse {
    pairs: Vec<Pair>,
    random_tokens: Vec<i64>,
    questions: Vec<Question>,
    texts: Vec<Vec<i64>>,
    repetition: Vec<Traced>,
    ordinary: Vec<Traced>,
    /// The instruction, and where the order of the words comes from.
    facts: [(&'static str, String); 2],
}

impl Experiment for RepetitionCurse {
    const NAME: &'static str = "repetition-curse";
    const ABOUT: &'static str = "Find the heads that make a language model repeat itself, and see whether turning them down helps

Scores every attention head by activation patching on a copy task, asks the model to repeat phrases 2 to 512 times, follows \
entropy and toxicity along the way, does it again with the induction heads (and, as a control, random heads) \
turned down, and measures what that costs in perplexity. Writes Parquet tables and figures. A killed run \
continues where it stopped when it is started again.";
    const EXAMPLES: &'static str = "  repetition-curse --out runs/repetition-curse/first
  repetition-curse --model DIR --counts 2,16,128 --interventions log
  repetition-curse --interventions none --random-sets 0";
    const STAGES: &'static [&'static str] = &["heads", "conditions"];
    const BY_CONTENTS: &'static [&'static str] = &["texts"];
    type Settings = Settings;

    fn check(settings: &Settings) -> Result<()> {
        settings.check()
    }

    fn prepare(lab: &Lab<Settings>) -> Result<Self> {
        let Lab { settings, subject, common, .. } = lab;
        settings.counting.check_window(subject.window())?;
        let words = Words::of(subject)?;
        let phrases = words.phrases(subject, &settings.phrases, common.seed)?;
        let texts = settings.texts.tokens(subject, &words, common.seed)?;
        let random_tokens = subject.random_tokens()?;
        let language = Language {
            candidates: &random_tokens,
            bos: subject.model.architecture().bos,
            tokenizer: subject.tokenizer.as_ref(),
            window: subject.window(),
        };
        let task = Task::Copy { length: settings.heads.copy_length.get() };
        let pairs = task.pairs(&language, settings.heads.trials.get(), common.seed)?;
        let counting = &settings.counting;
        let (tokenizer, template) = (subject.tokenizer()?, counting.template(&words));
        let n = settings.tracing.trace_count.u32();
        let traced = |phrase: &crate::measure::words::Phrase| -> Result<Traced> {
            let tokens = counting.prompt(tokenizer, template, phrase, n, counting.prefilled(n))?;
            Ok(Traced {
                kind: TraceKind::Repetition,
                item: phrase.item,
                phrase: Some(phrase.clone()),
                tokens,
            })
        };
        Ok(RepetitionCurse {
            pairs,
            questions: questions(subject, &words, counting, &phrases)?,
            repetition: phrases
                .iter()
                .filter(|phrase| settings.tracing.follows(phrase))
                .map(traced)
                .collect::<Result<_>>()?,
            ordinary: settings.tracing.ordinary(&texts),
            texts,
            random_tokens,
            facts: [("template", template.to_owned()), ("frequency_source", words.source.to_string())],
        })
    }

    fn provenance(&self, _lab: &Lab<Settings>) -> Result<Provenance> {
        let asked: Vec<&Vec<i64>> = self.questions.iter().map(|asked| &asked.tokens).collect();
        let pairs: Vec<(&Vec<i64>, &Vec<i64>, i64)> =
            self.pairs.iter().map(|pair| (&pair.clean, &pair.corrupted, pair.answer)).collect();
        let entries = [
            ("task", "copy".to_owned()),
            ("prompts_sha256", prompts_sha256(&(asked, pairs, &self.texts))?),
            ("metric", Metric::Logit.name().to_owned()),
            ("direction", "denoise".to_owned()),
            ("ablation", "scaling of the heads' z".to_owned()),
            ("measures", serde_json::to_string(&Measure::all_info())?),
        ];
        Ok(entries.map(|(key, value)| (key.to_owned(), value)).into())
    }

    fn conduct(&self, lab: &Lab<Settings>, run: &mut Run<'_>) -> Result<()> {
        let Lab { settings, subject, common, .. } = lab;
        let scores = self.score_heads(lab, run).context("scoring the heads")?;
        let induction = selected(&scores);
        let bootstrap = Bootstrap { resamples: common.resamples.get(), seed: common.seed };
        let background = lab.background.interventions();
        let conditions =
            conditions(&subject.heads(), &induction, &settings.conditions, background, common.seed)?;

        let tokenizer = subject.tokenizer()?;
        let counting =
            Counting { args: &settings.counting, tokenizer, stop: subject.stop(), seed: common.seed };
        let tracing = Tracing {
            args: &settings.tracing,
            tokenizer,
            sampling: settings.counting.sampling(),
            stop: subject.stop(),
            random_tokens: &self.random_tokens,
            log_c: settings.conditions.log_c.get(),
            memory: common.memory_bytes(),
            seed: common.seed,
        };
        let work = self.work(settings, &conditions);
        let parts = work.iter().map(|(work, condition)| work.part(condition)).collect();
        let stage = Stage::side_by_side("conditions", &[], parts, |model, part| {
            let (work, condition) = &work[part];
            match work {
                Work::Count(n) => {
                    let asked: Vec<&Question> = self.questions.iter().filter(|asked| asked.n == *n).collect();
                    counting.run(model, &asked, condition)
                }
                Work::Trace(kind) => {
                    let traced =
                        if *kind == TraceKind::Repetition { &self.repetition } else { &self.ordinary };
                    // The control sets tell nothing about the toxicity of the induction heads.
                    let measured = (!condition.is_control()).then_some(&induction[..]);
                    Found::rows::<EntropyTrace>(&tracing.run(model, traced, condition, measured)?)
                }
                Work::Likelihood => Found::rows::<Perplexity>(&likelihood(model, &self.texts, condition)?),
            }
        });
        run.stage(&stage)?;

        let of = |wanted: fn(&Work) -> bool| -> Vec<usize> {
            (0..work.len()).filter(|part| wanted(&work[*part].0)).collect()
        };
        let counts: Vec<CountRow> =
            run.rows_of::<CountSweep>(&stage, &of(|work| matches!(work, Work::Count(_))))?;
        let responses = run.rows_of::<Responses>(&stage, &of(|work| matches!(work, Work::Count(_))))?;
        let traces = run.rows_of::<EntropyTrace>(&stage, &of(|work| matches!(work, Work::Trace(_))))?;
        let mut perplexity: Vec<PerplexityRow> = Vec::new();
        for part in of(|work| matches!(work, Work::Likelihood)) {
            let texts = run.part::<Perplexity>(&stage, part)?;
            let all = summaries::perplexity(&texts, bootstrap);
            perplexity.extend(texts);
            perplexity.extend(all);
        }
        let named: Vec<ConditionRow> = conditions.iter().map(Condition::row).collect::<Result<_>>()?;
        let prefill = settings.counting.prefill.u32();
        run.write::<HeadScores>(&scores)?;
        run.write::<Gates>(&gates("copy", Metric::Logit, &scores, &self.pairs, &lab.subject.model)?)?;
        run.write::<Conditions>(&named)?;
        run.write::<Prompts>(&self.prompts(lab)?)?;
        run.write::<Responses>(&responses)?;
        run.write::<CountSummary>(&summaries::counts(&counts, bootstrap))?;
        run.write::<TraceSummary>(&summaries::traces(&traces, bootstrap))?;
        run.write::<Contrasts>(&summaries::contrasts(&named, &counts, &perplexity, prefill, bootstrap))?;
        run.write::<CountSweep>(&counts)?;
        run.write::<EntropyTrace>(&traces)?;
        run.write::<Perplexity>(&perplexity)?;
        run.fact("ends_by_itself", !subject.stop().is_empty());
        for (name, value) in &self.facts {
            run.fact(name, value.clone());
        }
        Ok(())
    }

    fn summary(run: &Finished, report: &mut Report) -> Result<()> {
        summary::summary(run, report)
    }
}

const TRACES: &[&str] = &[EntropyTrace::NAME];
const TEXTS: &[&str] = &[Perplexity::NAME];

/// A part of the work under a condition.
enum Work {
    /// Counting to n.
    Count(u32),
    /// Entropy and toxicity along generations.
    Trace(TraceKind),
    /// Likelihood of ordinary text.
    Likelihood,
}

impl Work {
    fn part(&self, condition: &Condition) -> Part {
        let id = condition.file_id();
        match self {
            Work::Count(n) => {
                Part::new(format!("{id}.n{n:04}"), f64::from(*n).max(8.0)).with_tables(Counting::TABLES)
            }
            Work::Trace(kind) => Part::new(format!("{id}.{kind}"), 600.0).with_tables(TRACES),
            Work::Likelihood => Part::new(format!("{id}.likelihood"), 40.0).with_tables(TEXTS),
        }
    }
}

impl RepetitionCurse {
    /// What is done under which condition, in the order of the tables.
    fn work<'c>(&self, settings: &Settings, conditions: &'c [Condition]) -> Vec<(Work, &'c Condition)> {
        let mut work = Vec::new();
        for condition in conditions {
            work.extend(settings.counting.counts.iter().map(|n| (Work::Count(n.u32()), condition)));
        }
        for condition in conditions {
            work.push((Work::Trace(TraceKind::Repetition), condition));
            if condition.is_none() {
                work.push((Work::Trace(TraceKind::Ordinary), condition));
            }
        }
        work.extend(conditions.iter().map(|condition| (Work::Likelihood, condition)));
        work
    }

    /// Scores every head on the copy task and by what its pattern looks like, and marks the induction heads.
    fn score_heads(&self, lab: &Lab<Settings>, run: &mut Run<'_>) -> Result<Vec<HeadScoreRow>> {
        let Lab { settings, subject, common, .. } = lab;
        let scoring = Scoring {
            model: &subject.model,
            narrow: None,
            tokenizer: subject.tokenizer.as_ref(),
            pairs: &self.pairs,
            metrics: vec![Metric::Logit],
            components: vec![Component::Z],
            direction: Direction::Denoise,
            by_position: false,
            by_key_position: false,
            pooled: false,
            senders: Vec::new(),
            receivers: Vec::new(),
            steps: 5,
            background: lab.background.interventions(),
            circuit_heads: 0,
            probe: Probe {
                tokens: &self.random_tokens,
                sequences: settings.heads.probes.get(),
                block: settings.heads.probe_block.get(),
                copies: settings.heads.probe_copies.get(),
                detectors: Detector::PATTERN.to_vec(),
            },
            memory: common.memory_bytes(),
            cores: common.cores(),
            resamples: common.resamples.get(),
            seed: common.seed,
        };
        let jobs = Jobs::new(&scoring, &[Method::ActivationPatching, Method::Detectors])?;
        let stage = jobs.stage("heads");
        run.stage(&stage)?;
        let mut rows = Vec::new();
        for group in jobs.groups() {
            rows.extend(jobs.head_scores(run, &stage, &group)?);
        }
        let heads = subject.heads();
        let scores: Vec<Option<f64>> = heads.iter().map(|head| mean_effect(&rows, *head)).collect();
        let settings = &settings.heads;
        let induction =
            strongest(&heads, &scores, settings.induction_share.get(), settings.min_induction_heads.get());
        if induction.is_empty() {
            if rows.iter().any(|row| row.component == "z" && row.value.is_none()) {
                bail!(
                    "what was computed is not a number: the model's logits overflow
hint: try a wider --dtype"
                );
            }
            bail!(
                "no head can be scored: the model's clean and corrupted runs of the copy task do not differ"
            );
        }
        for row in &mut rows {
            row.selected = head_of(row).is_some_and(|head| induction.contains(&head));
        }
        Ok(rows)
    }

    /// Everything that the model is asked.
    fn prompts(&self, lab: &Lab<Settings>) -> Result<Vec<PromptRow>> {
        let tokenizer = lab.subject.tokenizer()?;
        let mut rows = Vec::new();
        for (index, pair) in self.pairs.iter().enumerate() {
            for (side, kind, tokens) in [
                ("clean", PromptKind::Clean, &pair.clean),
                ("corrupted", PromptKind::Corrupted, &pair.corrupted),
            ] {
                rows.push(prompt_row(Some(tokenizer), &format!("copy/{index}/{side}"), kind, tokens));
            }
        }
        rows.extend(self.questions.iter().map(|asked| asked.row(tokenizer)));
        rows.extend(self.repetition.iter().chain(&self.ordinary).map(|traced| traced.row(tokenizer)));
        let text = |(index, text): (usize, &Vec<i64>)| {
            prompt_row(Some(tokenizer), &format!("text/{index}"), PromptKind::Text, text)
        };
        rows.extend(self.texts.iter().enumerate().map(text));
        Ok(rows)
    }
}

/// The mean effect of a head's z.
fn mean_effect(rows: &[HeadScoreRow], head: Head) -> Option<f64> {
    rows.iter().find(|row| row.prompt.is_none() && row.component == "z" && head_of(row) == Some(head))?.effect
}

fn head_of(row: &HeadScoreRow) -> Option<Head> {
    Some(Head { layer: row.layer as usize, head: row.head? as usize })
}

/// The heads that a run selected.
fn selected(rows: &[HeadScoreRow]) -> Vec<Head> {
    let mut heads: Vec<Head> = rows.iter().filter(|row| row.selected).filter_map(head_of).collect();
    heads.sort_unstable();
    heads.dedup();
    heads
}
