//! The conditions that everything is measured under: an intervention on a set of heads, or none.

use anyhow::{Result, bail};
use rand::seq::SliceRandom;
use refrain_entropy::stats::rng;
use refrain_runner::{Action, Head, Intervention, Schedule};

/// How often a random set is drawn again before an equal one is accepted.
const REDRAWS: usize = 100;

/// One condition.
#[derive(Debug, Clone)]
pub struct Condition {
    /// `none`, `log`, `linear` or `constant`.
    pub intervention: String,
    /// `none`, `induction`, `random_1`, ...
    pub head_set: String,
    /// The heads it acts on.
    pub heads: Vec<Head>,
    /// What it does to the forward pass.
    pub interventions: Vec<Intervention>,
}

impl Condition {
    fn none() -> Self {
        Condition {
            intervention: "none".into(),
            head_set: "none".into(),
            heads: Vec::new(),
            interventions: Vec::new(),
        }
    }

    /// A name for files and random draws.
    pub fn id(&self) -> String {
        format!("{}-{}", self.intervention, self.head_set)
    }

    /// Whether the condition acts on random heads.
    pub fn is_control(&self) -> bool {
        self.head_set.starts_with("random")
    }
}

/// No intervention; then each schedule on the induction heads and on `random_sets` sets of as many other heads.
///
/// # Errors
/// If there are fewer other heads than induction heads.
pub fn conditions(
    heads: &[Head],
    induction: &[Head],
    schedules: &[(String, Schedule)],
    random_sets: u32,
    seed: u64,
) -> Result<Vec<Condition>> {
    let mut sets = vec![("induction".to_owned(), induction.to_vec())];
    let others: Vec<Head> = heads.iter().copied().filter(|head| !induction.contains(head)).collect();
    if random_sets > 0 && others.len() < induction.len() {
        bail!(
            "{} of {} heads are induction heads: there are not as many others to compare with\n\
             hint: choose a smaller --induction-share, or --random-sets 0",
            induction.len(),
            heads.len()
        );
    }
    for set in 1..=random_sets {
        // Different sets where there are that many; a set that came before says nothing new.
        let mut rng = rng(seed, &format!("random-heads/{set}"));
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
        sets.push((format!("random_{set}"), heads));
    }
    let mut conditions = vec![Condition::none()];
    for (name, schedule) in schedules {
        for (head_set, heads) in &sets {
            conditions.push(Condition {
                intervention: name.clone(),
                head_set: head_set.clone(),
                heads: heads.clone(),
                interventions: Intervention::on_heads(heads, &Action::Schedule(*schedule)),
            });
        }
    }
    Ok(conditions)
}

#[cfg(test)]
mod tests {
    use refrain_runner::{Hook, HookPoint};

    use super::*;

    #[test]
    fn controls_are_as_large_and_disjoint() {
        let heads: Vec<Head> = (0..12).map(|head| Head { layer: head / 4, head: head % 4 }).collect();
        let induction = [heads[3], heads[7]];
        let schedules = [("linear".to_owned(), Schedule::Linear)];
        let all = conditions(&heads, &induction, &schedules, 3, 1).unwrap();
        assert!(conditions(&heads, &heads[..7], &schedules, 1, 1).is_err());
        let names: Vec<String> = all.iter().map(Condition::id).collect();
        assert_eq!(
            names,
            ["none-none", "linear-induction", "linear-random_1", "linear-random_2", "linear-random_3"]
        );
        for control in &all[2..] {
            let touched: Vec<(Hook, Vec<usize>)> = control
                .interventions
                .iter()
                .map(|what| (what.hook, what.heads.clone().unwrap_or_default()))
                .collect();
            assert_eq!(touched.iter().map(|(_, heads)| heads.len()).sum::<usize>(), 2);
            let hits = |head: &Head| {
                touched.iter().any(|(hook, on)| {
                    *hook == Hook::block(head.layer, HookPoint::Z) && on.contains(&head.head)
                })
            };
            assert!(!induction.iter().any(hits), "{touched:?}");
        }
    }
}
