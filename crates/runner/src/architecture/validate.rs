//! What holds for every decoder, whatever its family.

use super::{Architecture, Keys};
use crate::error::{Error, Result};

impl Architecture {
    /// Checks what holds for every decoder, whatever its family.
    ///
    /// # Errors
    /// [`Error::Config`] naming the values that contradict each other.
    pub(crate) fn validated(self) -> Result<Self> {
        let mut sizes = vec![
            ("layers", self.n_layers, 10_000),
            ("attention heads", self.n_heads, 100_000),
            ("model width", self.d_model, 10_000_000),
            ("vocabulary", self.n_vocab, 100_000_000),
            ("context window", self.n_ctx, 1_000_000_000),
        ];
        sizes.extend(self.embedding.width.map(|width| ("embedding width", width, 10_000_000)));
        sizes
            .extend(self.embedding.per_layer_width.map(|width| ("per-layer input width", width, 10_000_000)));
        for layer in &self.layers {
            sizes.push(("key/value heads", layer.n_kv_heads, 100_000));
            sizes.push(("head width", layer.d_head, 1_000_000));
            sizes.extend(layer.window.map(|window| ("attention window", window, 1_000_000_000)));
            sizes.extend(layer.d_mlp.map(|width| ("MLP width", width, 100_000_000)));
            if let Some(experts) = &layer.experts {
                sizes.push(("experts", experts.count, 100_000));
                sizes.push(("expert width", experts.d_expert, 100_000_000));
                sizes.push(("experts per token", experts.per_token, experts.count));
            }
        }
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(Error::Config(format!("{what}: {size} is not between 1 and {most}")));
            }
        }
        let eps = self.norms.form.eps();
        if !(eps > 0.0 && eps < 1.0) {
            return Err(Error::Config(format!("the norm's epsilon {eps} is not between 0 and 1")));
        }
        let caps = [self.caps.scores, self.caps.logits, self.caps.qkv, self.embedding.scale];
        if let Some(cap) = caps.into_iter().flatten().find(|cap| !(*cap > 0.0 && cap.is_finite())) {
            return Err(Error::Config(format!("a cap, clip or scale of {cap} is not positive")));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if !self.n_heads.is_multiple_of(layer.n_kv_heads) {
                return Err(Error::Config(format!(
                    "{} attention heads cannot share {} key/value heads evenly",
                    self.n_heads, layer.n_kv_heads
                )));
            }
            if let Some(rotary) = &layer.rotary {
                rotary.check(layer.d_head)?;
            }
            if !(layer.score_factor > 0.0 && layer.score_factor.is_finite()) {
                return Err(Error::Config(format!("scores cannot be multiplied by {}", layer.score_factor)));
            }
            if let Keys::OfLayer(source) = layer.keys {
                let fits = self.layers.get(source).is_some_and(|from| {
                    source < index && (from.n_kv_heads, from.d_head) == (layer.n_kv_heads, layer.d_head)
                });
                if !fits {
                    return Err(Error::Config(format!(
                        "layer {index} cannot use the keys of layer {source}"
                    )));
                }
            }
        }
        Ok(self)
    }
}
