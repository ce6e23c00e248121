//! One intervention.

use serde::{Deserialize, Serialize};

use super::action::Action;
use super::positions::{Phase, Positions};
use crate::hook::{Head, Hook, HookPoint};

/// One change of the forward pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervention {
    /// Where, written as e.g. `blocks.3.attn.hook_z`.
    pub hook: Hook,
    /// Heads within the layer (at hooks that have a head axis); none: all. At `k` and `v` these are key/value
    /// heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<Vec<usize>>,
    /// Entries of the last axis (neurons at `mlp.hook_post`); none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neurons: Option<Vec<usize>>,
    /// Which positions (query positions at `pattern`); none: all. See [`Positions`] for how they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub positions: Option<Positions>,
    /// In which phase of a generation; none: all. A position must be meant by both this and `positions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Phase>,
    /// Rows of the batch, first and one past the last; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<(usize, usize)>,
    /// What is done there.
    pub action: Action,
}

impl Intervention {
    /// `action` at `hook`, everywhere.
    pub fn new(hook: Hook, action: Action) -> Self {
        Intervention { hook, heads: None, neurons: None, positions: None, steps: None, rows: None, action }
    }

    /// `action` on the output z of each of `heads`: one intervention per layer.
    pub fn on_heads(heads: &[Head], action: &Action) -> Vec<Self> {
        let mut by_layer = std::collections::BTreeMap::<usize, Vec<usize>>::new();
        for head in heads {
            by_layer.entry(head.layer).or_default().push(head.head);
        }
        by_layer
            .into_iter()
            .map(|(layer, heads)| {
                let hook = Hook::block(layer, HookPoint::Z);
                Intervention { heads: Some(heads), ..Intervention::new(hook, action.clone()) }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervention::action::Schedule;

    #[test]
    fn an_unknown_hook_names_the_nearest() {
        let text = r#"{"hook":"blocks.2.attn.hook_zz","action":"zero"}"#;
        let error = serde_json::from_str::<Intervention>(text).unwrap_err().to_string();
        assert!(error.contains("did you mean `blocks.2.attn.hook_z`?"), "{error}");
    }

    #[test]
    fn an_intervention_is_readable_data() {
        let heads = [Head { layer: 2, head: 1 }, Head { layer: 2, head: 3 }];
        let made = Intervention::on_heads(&heads, &Action::Schedule(Schedule::Log { c: 2.0 }));
        let text = serde_json::to_string(&made).unwrap();
        assert_eq!(
            text,
            r#"[{"hook":"blocks.2.attn.hook_z","heads":[1,3],"action":{"schedule":{"log":{"c":2.0}}}}]"#
        );
        assert_eq!(serde_json::from_str::<Vec<Intervention>>(&text).unwrap(), made);
    }
}
