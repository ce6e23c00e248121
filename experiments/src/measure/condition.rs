//! What runs are made under: an intervention on a set of heads, or none; with control sets to compare with.

use std::fmt::{Display, Formatter};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use rand::seq::SliceRandom;
use refrain_entropy::stats::rng;
use refrain_entropy::table::ConditionRow;
use refrain_runner::{Action, Head, Intervention, Schedule};
use serde::{Deserialize, Serialize};

use crate::lab::{CountOrNone, Factor};

/// How often a random set is drawn again before one that equals an earlier set is accepted.
const REDRAWS: usize = 100;

/// Which interventions, and which controls.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConditionArgs {
    /// Ways to turn the heads down at generation step t; `none` alone for no intervention
    #[arg(long, value_name = "WAY,...", value_enum, value_delimiter = ',', default_values_t = [Descaling::Log, Descaling::Linear, Descaling::Constant], help_heading = "Interventions")]
    pub interventions: Vec<Descaling>,
    /// c of the log descaling min(1, 1/ln(t + c))
    #[arg(long, value_name = "C", default_value = "2", help_heading = "Interventions")]
    pub log_c: Factor,
    /// Factor of the constant descaling
    #[arg(long, value_name = "FACTOR", default_value = "0.5", help_heading = "Interventions")]
    pub constant_factor: Factor,
    /// Random sets of as many other heads that get the same interventions, as controls
    #[arg(long, value_name = "N", default_value_t = CountOrNone::of::<2>(), help_heading = "Interventions")]
    pub random_sets: CountOrNone,
}

/// A way to turn heads down.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Descaling {
    /// No intervention
    None,
    /// Times 1/ln(t + c), at most 1
    Log,
    /// Times 1/t, at most 1
    Linear,
    /// Times a constant, the prompt included
    Constant,
}

/// Which heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TargetSet {
    /// None.
    None,
    /// The induction heads of this run.
    Induction,
    /// Random heads that are none of them; from 1.
    Random(u32),
}

impl Display for TargetSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetSet::None => f.write_str("none"),
            TargetSet::Induction => f.write_str("induction"),
            TargetSet::Random(number) => write!(f, "random_{number}"),
        }
    }
}

impl ConditionArgs {
    /// Refuses what does not go together.
    ///
    /// # Errors
    /// Naming the flag.
    pub fn check(&self) -> Result<()> {
        let mut ways = self.interventions.clone();
        ways.sort_unstable();
        ways.dedup();
        if ways.len() < self.interventions.len() {
            bail!("--interventions names one of them twice");
        }
        if ways.contains(&Descaling::None) && ways.len() > 1 {
            bail!("--interventions: `none` stands alone\nhint: runs without an intervention are made anyway");
        }
        Ok(())
    }

    fn schedule(&self, way: Descaling) -> Option<(Schedule, f64)> {
        match way {
            Descaling::None => None,
            Descaling::Log => Some((Schedule::Log { c: self.log_c.get() }, self.log_c.get())),
            Descaling::Linear => Some((Schedule::Linear, 1.0)),
            Descaling::Constant => {
                Some((Schedule::Constant { factor: self.constant_factor.get() }, self.constant_factor.get()))
            }
        }
    }
}

/// A condition.
#[derive(Debug, Clone)]
pub struct Condition {
    /// The way the heads are turned down.
    pub way: Descaling,
    /// Which heads.
    pub set: TargetSet,
    /// c of `log`, the factor of `constant`.
    pub dose: Option<f64>,
    /// The heads.
    pub heads: Vec<Head>,
    /// What is done to the forward pass.
    pub interventions: Vec<Intervention>,
}

impl Condition {
    /// No intervention, beside `background`, which holds in every condition.
    pub fn none(background: &[Intervention]) -> Self {
        Condition {
            way: Descaling::None,
            set: TargetSet::None,
            dose: None,
            heads: Vec::new(),
            interventions: background.to_vec(),
        }
    }

    /// The word for it in tables and names: `none`, or the way and the set as `log:induction`.
    pub fn id(&self) -> String {
        match self.set {
            TargetSet::None => self.way.to_string(),
            set => format!("{}:{set}", self.way),
        }
    }

    /// The same as a part of a file's name.
    pub fn file_id(&self) -> String {
        self.id().replace(':', "-")
    }

    /// Whether nothing is turned down.
    pub fn is_none(&self) -> bool {
        self.set == TargetSet::None
    }

    /// Whether it acts on random heads.
    pub fn is_control(&self) -> bool {
        matches!(self.set, TargetSet::Random(_))
    }

    /// Its row in the table `conditions`.
    ///
    /// # Errors
    /// None in practice: interventions can be written as JSON.
    pub fn row(&self) -> Result<ConditionRow> {
        let heads: Vec<String> = self.heads.iter().map(ToString::to_string).collect();
        Ok(ConditionRow {
            condition: self.id(),
            intervention: self.way.to_string(),
            target_set: self.set.to_string(),
            control: self.is_control(),
            dose: self.dose,
            components: heads.join(" "),
            n_components: self.heads.len() as u32,
            interventions: serde_json::to_string(&self.interventions)?,
        })
    }
}

/// No intervention; then each way on the `induction` heads and on each random set of as many of the other `heads`.
///
/// # Errors
/// If there are fewer other heads than induction heads.
pub fn conditions(
    heads: &[Head],
    induction: &[Head],
    args: &ConditionArgs,
    background: &[Intervention],
    seed: u64,
) -> Result<Vec<Condition>> {
    let mut sets = vec![(TargetSet::Induction, induction.to_vec())];
    sets.extend(random_sets(heads, induction, args.random_sets.u32(), seed)?);
    let mut conditions = vec![Condition::none(background)];
    for &way in &args.interventions {
        let Some((schedule, dose)) = args.schedule(way) else { continue };
        for (set, heads) in &sets {
            let own = Intervention::on_heads(heads, &Action::Schedule(schedule));
            conditions.push(Condition {
                way,
                set: *set,
                dose: (way != Descaling::Linear).then_some(dose),
                heads: heads.clone(),
                interventions: background.iter().cloned().chain(own).collect(),
            });
        }
    }
    Ok(conditions)
}

/// `count` sets of as many heads as there are in `induction`, none of them in it; different sets where there are that many.
///
/// # Errors
/// If there are fewer other heads.
pub fn random_sets(
    heads: &[Head],
    induction: &[Head],
    count: u32,
    seed: u64,
) -> Result<Vec<(TargetSet, Vec<Head>)>> {
    let others: Vec<Head> = heads.iter().copied().filter(|head| !induction.contains(head)).collect();
    if count > 0 && others.len() < induction.len() {
        bail!(
            "{} of {} heads are induction heads: there are not as many others to compare with\n\
             hint: choose a smaller --induction-share, or --random-sets 0",
            induction.len(),
            heads.len()
        );
    }
    let mut sets: Vec<(TargetSet, Vec<Head>)> = Vec::new();
    for number in 1..=count {
        let mut rng = rng(seed, &format!("random-heads/{number}"));
        let mut heads = Vec::new();
        for _ in 0..REDRAWS {
            let mut drawn = others.clone();
            let (drawn, _) = drawn.partial_shuffle(&mut rng, induction.len());
            drawn.sort_unstable();
            heads = drawn.to_vec();
            if sets.iter().all(|(_, earlier)| *earlier != heads) {
                break;
            }
        }
        sets.push((TargetSet::Random(number), heads));
    }
    Ok(sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_are_as_large_and_disjoint() {
        let heads: Vec<Head> = (0..12).map(|head| Head { layer: head / 4, head: head % 4 }).collect();
        let induction = [heads[3], heads[7]];
        let args = ConditionArgs {
            interventions: vec![Descaling::Linear],
            log_c: "2".parse().unwrap(),
            constant_factor: "0.5".parse().unwrap(),
            random_sets: CountOrNone::of::<3>(),
        };
        let all = conditions(&heads, &induction, &args, &[], 1).unwrap();
        assert!(conditions(&heads, &heads[..7], &args, &[], 1).is_err());
        let names: Vec<String> = all.iter().map(Condition::id).collect();
        assert_eq!(
            names,
            ["none", "linear:induction", "linear:random_1", "linear:random_2", "linear:random_3"]
        );
        for control in &all[2..] {
            assert_eq!(control.heads.len(), 2);
            assert!(!induction.iter().any(|head| control.heads.contains(head)), "{control:?}");
            // What is done is done to these heads and to no other.
            assert_eq!(
                control.interventions,
                Intervention::on_heads(&control.heads, &Action::Schedule(Schedule::Linear))
            );
        }
        let none = ConditionArgs { interventions: vec![Descaling::None], ..args };
        assert_eq!(conditions(&heads, &induction, &none, &[], 1).unwrap().len(), 1);
    }
}
