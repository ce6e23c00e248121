//! Where something is done, as it is written in a program: `Z.layer(9).head(6)`.

use std::collections::BTreeMap;

use crate::architecture::Architecture;
use crate::cache::NameFilter;
use crate::hook::{Head, Hook, HookPoint};
use crate::intervention::{Action, Intervention, Phase, Positions};

/// A place in the forward pass, or several of one kind: a [`HookPoint`] in every layer or in some, and there all heads,
/// neurons and positions or some. A `HookPoint` and a [`Hook`] are places, too.
///
/// ```
/// use refrain_runner::prelude::*;
/// let name_mover = Z.layer(9).head(6);
/// let last_token = ResidPost.layer(3).last();
/// let neurons = MlpPost.layer(2).neurons(&[17, 40]);
/// # let _ = (name_mover, last_token, neurons);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    point: HookPoint,
    /// Heads by layer, none: all of that layer's. Without a layer: every layer.
    layers: Option<BTreeMap<usize, Vec<usize>>>,
    /// Heads in each of the layers, beside those of one layer.
    heads: Vec<usize>,
    neurons: Option<Vec<usize>>,
    positions: Option<Positions>,
    steps: Option<Phase>,
}

impl HookPoint {
    /// This point in one layer. For a point outside the blocks the layer is dropped.
    pub fn layer(self, layer: usize) -> Place {
        Place::from(Hook::block(layer, self))
    }

    /// This point in the heads given, whatever their layers; without heads it is nowhere.
    pub fn heads(self, heads: &[Head]) -> Place {
        let mut layers = BTreeMap::<usize, Vec<usize>>::new();
        for head in heads {
            layers.entry(head.layer).or_default().push(head.head);
        }
        Place { layers: Some(layers), ..Place::from(self) }
    }
}

impl Place {
    /// This head alone, or, called again, this head, too. (At `k` and `v`, a key/value head.)
    pub fn head(mut self, head: usize) -> Self {
        self.heads.push(head);
        self
    }

    /// These entries of the last axis alone (neurons at `mlp.hook_post`).
    pub fn neurons(self, neurons: &[usize]) -> Self {
        Place { neurons: Some(neurons.to_vec()), ..self }
    }

    /// The token at `position`, from 0, alone.
    pub fn position(self, position: usize) -> Self {
        self.positions(Positions::Tokens(vec![position]))
    }

    /// The prompt's last token alone.
    pub fn last(self) -> Self {
        self.positions(Positions::FromEnd(vec![1]))
    }

    /// These positions alone.
    pub fn positions(self, positions: Positions) -> Self {
        Place { positions: Some(positions), ..self }
    }

    /// This phase of a generation alone.
    pub fn steps(self, steps: Phase) -> Self {
        Place { steps: Some(steps), ..self }
    }

    /// `action` here, in a model of `architecture`: an intervention for each layer. Where the place says "every layer",
    /// it is every layer that has the point.
    pub fn interventions(&self, architecture: &Architecture, action: &Action) -> Vec<Intervention> {
        let at = |hook: Hook, own: &[usize]| {
            let heads = [own, &self.heads[..]].concat();
            Intervention {
                heads: (!heads.is_empty()).then_some(heads),
                neurons: self.neurons.clone(),
                positions: self.positions.clone(),
                steps: self.steps,
                ..Intervention::new(hook, action.clone())
            }
        };
        match &self.layers {
            _ if !self.point.in_block() => vec![at(Hook::top(self.point), &[])],
            Some(layers) => {
                layers.iter().map(|(layer, heads)| at(Hook::block(*layer, self.point), heads)).collect()
            }
            None => {
                let hooks = (0..architecture.n_layers).map(|layer| Hook::block(layer, self.point));
                hooks.filter(|hook| architecture.has(*hook)).map(|hook| at(hook, &[])).collect()
            }
        }
    }
}

impl From<HookPoint> for Place {
    fn from(point: HookPoint) -> Self {
        Place { point, layers: None, heads: Vec::new(), neurons: None, positions: None, steps: None }
    }
}

impl From<Hook> for Place {
    fn from(hook: Hook) -> Self {
        let layers = hook.layer().map(|layer| BTreeMap::from([(layer, Vec::new())]));
        Place { layers, ..Place::from(hook.point()) }
    }
}

impl From<Place> for NameFilter {
    /// The whole activations that the place is in.
    fn from(place: Place) -> Self {
        match &place.layers {
            None => NameFilter::points(&[place.point]),
            Some(layers) => {
                let hooks = layers.keys().map(|layer| Hook::block(*layer, place.point));
                NameFilter::hooks(&hooks.collect::<Vec<_>>())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{LoadOptions, ModelFiles};
    use crate::model::Model;

    #[test]
    fn a_place_is_written_as_interventions() {
        let model = Model::load(&ModelFiles::embedded(), &LoadOptions::default()).unwrap();
        let arch = model.architecture();
        let at = |place: Place| -> Vec<String> {
            place
                .interventions(arch, &Action::Zero)
                .iter()
                .map(|one| serde_json::to_string(one).unwrap())
                .collect()
        };
        let one = |rest: &str| vec![format!(r#"{{"hook":"blocks.2.attn.hook_z",{rest}"action":"zero"}}"#)];
        assert_eq!(at(HookPoint::Z.layer(2)), one(""));
        assert_eq!(at(HookPoint::Z.layer(2).head(1).head(3)), one(r#""heads":[1,3],"#));
        assert_eq!(
            at(HookPoint::Z.layer(2).head(1).last()),
            one(r#""heads":[1],"positions":{"from_end":[1]},"#)
        );
        let both = [Head { layer: 2, head: 0 }, Head { layer: 2, head: 3 }];
        assert_eq!(at(HookPoint::Z.heads(&both)), one(r#""heads":[0,3],"#));
        assert_eq!(at(HookPoint::Z.heads(&[])), Vec::<String>::new());
        assert_eq!(at(HookPoint::MlpOut.into()).len(), arch.n_layers);
        assert_eq!(at(HookPoint::PosEmbed.into()), [r#"{"hook":"hook_pos_embed","action":"zero"}"#]);
        let neurons = HookPoint::MlpPost.layer(1).neurons(&[4]).position(2).steps(Phase::Prefill);
        assert_eq!(
            at(neurons),
            [r#"{"hook":"blocks.1.mlp.hook_post","neurons":[4],"positions":{"tokens":[2]},"#.to_owned()
                + r#""steps":"prefill","action":"zero"}"#]
        );
    }

    #[test]
    fn what_is_kept_of_a_place_is_the_whole_activation() {
        let filter = NameFilter::from(HookPoint::Z.layer(2).head(1));
        assert!(filter.wants(Hook::block(2, HookPoint::Z)) && !filter.wants(Hook::block(1, HookPoint::Z)));
        assert!(NameFilter::from(Place::from(HookPoint::Z)).wants(Hook::block(1, HookPoint::Z)));
    }
}
