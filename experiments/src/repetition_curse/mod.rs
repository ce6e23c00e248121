//! The repetition curse (Wang et al. 2025, arXiv 2505.13514), tested rather than assumed: which heads are induction
//! heads, how counting fails, what entropy and toxicity do meanwhile, and whether turning the heads down helps.

mod settings;
mod summary;

use anyhow::{Context, Result};
use refrain_entropy::schema::Table;
use refrain_entropy::summary::{self as summaries, Bootstrap, FailedGates};
use refrain_entropy::table::{
    ConditionRow, Conditions, Contrasts, CountRow, CountSummary, CountSweep, EntropyTrace, GateRow, Gates,
    Perplexity, PerplexityRow, PromptKind, PromptRow, Prompts, Responses, TraceKind, TraceSummary,
    TraceWindows,
};
use refrain_patching::table::HeadScores;
use refrain_patching::{Measure, Metric, Pair};
use refrain_runner::Head;

pub use settings::Settings;

use crate::lab::disk::Provenance;
use crate::lab::{Experiment, Finished, Found, Lab, Part, Report, Run, Stage, prompts_sha256};
use crate::measure::asking::Asking;
use crate::measure::condition::{Condition, conditions, controls};
use crate::measure::counting::{Counting, Question, questions};
use crate::measure::gates::followed;
use crate::measure::induction::{self, Selection};
use crate::measure::likelihood::likelihood;
use crate::measure::prompts::prompt_row;
use crate::measure::tracing::{Traced, Tracing};
use crate::measure::words::Words;

/// The experiment, and what it works on.
pub struct RepetitionCurse {
    selection: Selection,
    random_tokens: Vec<i64>,
    questions: Vec<Question>,
    texts: Vec<Vec<i64>>,
    repetition: Vec<Traced>,
    ordinary: Vec<Traced>,
    /// The instruction, and where the order of the words comes from.
    facts: [(&'static str, String); 3],
}

impl Experiment for RepetitionCurse {
    const NAME: &'static str = "repetition-curse";
    const ABOUT: &'static str = "Find the heads that make a language model repeat itself, and see whether turning \
        them down helps

Scores every attention head by activation patching on the first of several tasks that the model solves, asks the \
model to repeat phrases 2 to 512 times, follows \
entropy and toxicity along the way, does it again with the induction heads (and, as a control, random heads) \
turned down, and measures what that costs in perplexity. Writes Parquet tables and figures. A killed run \
continues where it stopped when it is started again.";
    const EXAMPLES: &'static str = "  repetition-curse --out runs/repetition-curse/first
  repetition-curse --model DIR --counts 2,16,128 --interventions log
  repetition-curse --interventions none --random-sets 0";
    const STAGES: &'static [&'static str] = &[induction::STAGES[0], induction::STAGES[1], "conditions"];
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
        let everything = !settings.counts_only;
        let random_tokens = subject.random_tokens()?;
        let (texts, selection) = match everything {
            true => (
                settings.texts.tokens(subject, &words, common.seed)?,
                Selection::new(subject, &settings.heads, &random_tokens, common.seed)?,
            ),
            false => Default::default(),
        };
        let counting = &settings.counting;
        let asking = Asking::new(subject, &words, &counting.asking)?;
        let n = settings.tracing.trace_count.u32();
        let traced = |phrase: &crate::measure::words::Phrase| -> Result<Traced> {
            let tokens = asking.prompt(phrase, n, counting.prefilled(n))?;
            Ok(Traced {
                kind: TraceKind::Repetition,
                item: phrase.item,
                phrase: Some(phrase.clone()),
                tokens,
            })
        };
        Ok(RepetitionCurse {
            selection,
            questions: questions(subject, &asking, counting, &phrases)?,
            repetition: phrases
                .iter()
                .filter(|phrase| everything && settings.tracing.follows(phrase))
                .map(traced)
                .collect::<Result<_>>()?,
            ordinary: settings.tracing.ordinary(&texts),
            texts,
            random_tokens,
            facts: [
                ("template", asking.instruction().to_owned()),
                ("chat_template", if asking.is_chat() { "the model's" } else { "none" }.to_owned()),
                ("frequency_source", words.source.to_string()),
            ],
        })
    }

    fn provenance(&self, _lab: &Lab<Settings>) -> Result<Provenance> {
        let asked: Vec<&Vec<i64>> = self.questions.iter().map(|asked| &asked.tokens).collect();
        let of_pair = |pair: &Pair| (pair.clean.clone(), pair.corrupted.clone(), pair.answer);
        let pairs: Vec<_> = self.selection.tasks.iter().flat_map(|(_, pairs)| pairs).map(of_pair).collect();
        let tasks: Vec<&str> = self.selection.tasks.iter().map(|(task, _)| task.name()).collect();
        let entries = [
            ("selection_tasks", tasks.join(",")),
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
        let bootstrap = Bootstrap { resamples: common.resamples.get(), seed: common.seed };
        let background = lab.background.interventions();
        let found = match settings.counts_only {
            true => None,
            false => {
                let by = (common, background);
                let found = self.selection.find(subject, &settings.heads, by, &self.random_tokens, run);
                Some(found.context("scoring the heads")?)
            }
        };
        let induction = found.as_ref().map_or(&[][..], |found| &found.heads[..]);
        let sets = settings.conditions.random_sets.u32();
        let controls = found.as_ref().map(|_| controls(&subject.heads(), induction, sets, common.seed));
        let controls = controls.transpose()?;
        let conditions = match &controls {
            Some(controls) => conditions(induction, controls, &settings.conditions, background),
            None => vec![Condition::none(background)],
        };

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
            memory: common.memory_per_part(),
            seed: common.seed,
        };
        let work = self.work(settings, &conditions);
        let parts = work.iter().map(|(work, condition)| work.part(condition, induction));
        let parts = parts.collect::<Result<_>>()?;
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
                    let measured = (!condition.is_control()).then_some(induction);
                    tracing.run(model, traced, condition, measured)
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
        let responses = run.rows_of::<Responses>(&stage, &of(|work| !matches!(work, Work::Likelihood)))?;
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
        let followed = followed(&counts);
        let mut gates = found.as_ref().map_or(Vec::new(), |found| found.gates.clone());
        run.write::<Conditions>(&named)?;
        run.write::<Prompts>(&self.prompts(lab, &gates)?)?;
        run.write::<Responses>(&responses)?;
        run.write::<CountSummary>(&summaries::counts(&counts))?;
        run.write::<CountSweep>(&counts)?;
        if let Some(found) = &found {
            let counting = (!followed.passed).then(|| followed.gate.into());
            let failed = FailedGates { heads: found.failed_gate.as_deref(), counting };
            let contrasts = summaries::contrasts(&named, &counts, &perplexity, prefill, failed, bootstrap);
            run.write::<HeadScores>(&found.scores)?;
            run.write::<TraceSummary>(&summaries::traces(&traces, bootstrap))?;
            run.write::<TraceWindows>(&summaries::trace_windows(&traces, bootstrap))?;
            run.write::<Contrasts>(&contrasts)?;
            run.write::<EntropyTrace>(&traces)?;
            run.write::<Perplexity>(&perplexity)?;
            run.fact("selected_on", found.task.name());
        }
        let shown = |id: &i64| tokenizer.token(*id).unwrap_or_else(|| id.to_string());
        run.fact("end_tokens", subject.stop().iter().map(shown).collect::<Vec<_>>());
        gates.push(followed);
        run.write::<Gates>(&gates)?;
        run.fact("prefill", i64::from(prefill));
        let layers = controls.iter().flat_map(|controls| &controls.neighbours_for);
        run.fact("controls_from_neighbours_of", layers.map(|layer| format!("L{layer}")).collect::<Vec<_>>());
        for (name, value) in &self.facts {
            run.fact(name, value.clone());
        }
        Ok(())
    }

    fn summary(run: &Finished, report: &mut Report) -> Result<()> {
        summary::summary(run, report)
    }
}

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
    /// It depends on which heads were found: toxicity is theirs, whatever the condition.
    fn part(&self, condition: &Condition, induction: &[Head]) -> Result<Part> {
        let id = condition.file_id();
        let heads: Vec<String> = induction.iter().map(ToString::to_string).collect();
        let part = match self {
            Work::Count(n) => {
                Part::new(format!("{id}.n{n:04}"), f64::from(*n).max(8.0)).with_tables(Counting::TABLES)
            }
            Work::Trace(kind) => Part::new(format!("{id}.{kind}"), 600.0).with_tables(Tracing::TABLES),
            Work::Likelihood => Part::new(format!("{id}.likelihood"), 40.0).with_tables(TEXTS),
        };
        part.depends_on(&(&condition.interventions, heads))
    }
}

impl RepetitionCurse {
    /// What is done under which condition, in the order of the tables.
    fn work<'c>(&self, settings: &Settings, conditions: &'c [Condition]) -> Vec<(Work, &'c Condition)> {
        let mut work = Vec::new();
        for condition in conditions {
            work.extend(settings.counting.counts.iter().map(|n| (Work::Count(n.u32()), condition)));
        }
        if settings.counts_only {
            return work;
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

    /// Everything that the model is asked.
    fn prompts(&self, lab: &Lab<Settings>, gates: &[GateRow]) -> Result<Vec<PromptRow>> {
        let tokenizer = lab.subject.tokenizer()?;
        let mut rows = self.selection.prompts(&lab.subject, gates);
        rows.extend(self.questions.iter().map(|asked| asked.row(tokenizer)));
        rows.extend(self.repetition.iter().chain(&self.ordinary).map(|traced| traced.row(tokenizer)));
        let text = |(index, text): (usize, &Vec<i64>)| {
            prompt_row(Some(tokenizer), &format!("text/{index}"), PromptKind::Text, text)
        };
        rows.extend(self.texts.iter().enumerate().map(text));
        Ok(rows)
    }
}
