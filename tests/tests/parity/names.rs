//! The names are TransformerLens's: the full list of what a run of one layer keeps, for each family.

use refrain_runner::{Model, NameFilter, family};
use refrain_tests::Result;
use tch::{Tensor, no_grad};

fn names_and_shapes(config: &str) -> Result<Vec<String>> {
    let architecture = family::architecture(&family::Config::parse(config.as_bytes(), &[])?)?;
    let weights = family::fresh(&architecture, 0.02)?;
    let model = Model::from_tensors(architecture, weights)?;
    let ids = Tensor::from_slice(&[3i64, 1, 4, 1, 5, 9, 2, 6, 5, 3]).reshape([2, 5]);
    let (_, cache) = no_grad(|| model.run_with_cache(&ids, NameFilter::all()))?;
    let shown = |hook| -> Result<String> { Ok(format!("{hook} {:?}", cache.get(hook)?.size())) };
    cache.hooks().map(shown).collect()
}

// Sizes that differ from each other: batch 2, pos 5, 3 heads of 4, d_model 12, d_mlp 20, 11 tokens.
#[test]
fn gpt2_with_one_layer() -> Result {
    let names = names_and_shapes(
        r#"{"model_type": "gpt2", "n_layer": 1, "n_head": 3, "n_embd": 12, "n_inner": 20, "vocab_size": 11,
        "n_positions": 8}"#,
    )?;
    assert_eq!(
        names,
        [
            "hook_embed [2, 5, 12]",
            "hook_pos_embed [2, 5, 12]",
            "ln_final.hook_scale [2, 5, 1]",
            "ln_final.hook_normalized [2, 5, 12]",
            "hook_logits [2, 5, 11]",
            "blocks.0.hook_resid_pre [2, 5, 12]",
            "blocks.0.hook_attn_in [2, 5, 12]",
            "blocks.0.ln1.hook_scale [2, 5, 1]",
            "blocks.0.ln1.hook_normalized [2, 5, 12]",
            "blocks.0.attn.hook_q [2, 5, 3, 4]",
            "blocks.0.attn.hook_k [2, 5, 3, 4]",
            "blocks.0.attn.hook_v [2, 5, 3, 4]",
            "blocks.0.attn.hook_attn_scores [2, 3, 5, 5]",
            "blocks.0.attn.hook_pattern [2, 3, 5, 5]",
            "blocks.0.attn.hook_z [2, 5, 3, 4]",
            "blocks.0.attn.hook_result [2, 5, 3, 12]",
            "blocks.0.hook_attn_out [2, 5, 12]",
            "blocks.0.hook_resid_mid [2, 5, 12]",
            "blocks.0.hook_mlp_in [2, 5, 12]",
            "blocks.0.ln2.hook_scale [2, 5, 1]",
            "blocks.0.ln2.hook_normalized [2, 5, 12]",
            "blocks.0.mlp.hook_pre [2, 5, 20]",
            "blocks.0.mlp.hook_post [2, 5, 20]",
            "blocks.0.hook_mlp_out [2, 5, 12]",
            "blocks.0.hook_resid_post [2, 5, 12]",
        ]
    );
    Ok(())
}

// 4 query heads of 6 on 2 key/value heads.
#[test]
fn llama_with_one_layer() -> Result {
    let names = names_and_shapes(
        r#"{"model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 6,
            "hidden_size": 12, "intermediate_size": 20, "vocab_size": 11, "max_position_embeddings": 8}"#,
    )?;
    assert_eq!(
        names,
        [
            "hook_embed [2, 5, 12]",
            "ln_final.hook_scale [2, 5, 1]",
            "ln_final.hook_normalized [2, 5, 12]",
            "hook_logits [2, 5, 11]",
            "blocks.0.hook_resid_pre [2, 5, 12]",
            "blocks.0.hook_attn_in [2, 5, 12]",
            "blocks.0.ln1.hook_scale [2, 5, 1]",
            "blocks.0.ln1.hook_normalized [2, 5, 12]",
            "blocks.0.attn.hook_q [2, 5, 4, 6]",
            "blocks.0.attn.hook_k [2, 5, 2, 6]",
            "blocks.0.attn.hook_v [2, 5, 2, 6]",
            "blocks.0.attn.hook_rot_q [2, 5, 4, 6]",
            "blocks.0.attn.hook_rot_k [2, 5, 2, 6]",
            "blocks.0.attn.hook_attn_scores [2, 4, 5, 5]",
            "blocks.0.attn.hook_pattern [2, 4, 5, 5]",
            "blocks.0.attn.hook_z [2, 5, 4, 6]",
            "blocks.0.attn.hook_result [2, 5, 4, 12]",
            "blocks.0.hook_attn_out [2, 5, 12]",
            "blocks.0.hook_resid_mid [2, 5, 12]",
            "blocks.0.hook_mlp_in [2, 5, 12]",
            "blocks.0.ln2.hook_scale [2, 5, 1]",
            "blocks.0.ln2.hook_normalized [2, 5, 12]",
            "blocks.0.mlp.hook_pre [2, 5, 20]",
            "blocks.0.mlp.hook_pre_linear [2, 5, 20]",
            "blocks.0.mlp.hook_post [2, 5, 20]",
            "blocks.0.hook_mlp_out [2, 5, 12]",
            "blocks.0.hook_resid_post [2, 5, 12]",
        ]
    );
    Ok(())
}
