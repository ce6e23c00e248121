//! Keys of `config.json` that need no reading.

use serde_json::Value;

/// Keys that do not change the forward pass of a loaded model in evaluation.
pub(super) const INERT: &[&str] = &[
    "_attn_implementation_autoset",
    "_name_or_path",
    "_num_labels",
    "activation_dropout",
    "architectures",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "attn_pdrop",
    "auto_map",
    "bad_words_ids",
    "begin_suppress_tokens",
    "chunk_size_feed_forward",
    "classifier_dropout",
    "cross_attention_hidden_size",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "dtype",
    "early_stopping",
    "embd_pdrop",
    "embed_dropout",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "gradient_checkpointing",
    "hidden_dropout",
    "hidden_dropout_prob",
    "id2label",
    "init_std",
    "initializer_range",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "layerdrop",
    "length_penalty",
    "max_length",
    "max_sequence_length",
    "min_length",
    "mlp_dropout",
    "model_type",
    "n_special",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_router_logits",
    "output_scores",
    "predict_special_tokens",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "pruned_heads",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_dropout",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "router_jitter_noise",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// Keys that say, with this value, what holds anyhow; any other value is refused.
pub(super) const FIXED: &[(&str, &str)] = &[
    ("full_attn_mod", "1"),
    ("interpolate_factor", "1"),
    ("is_llama_config", "true"),
    ("learned_embeddings", "true"),
];

/// Endings of keys that name tokens: one by its id, or several.
const TOKENS: [&str; 4] = ["_token_id", "_token_ids", "_token_index", "_token_indices"];
/// Special tokens as they are written, which some writers copy from the tokenizer's own file.
const WRITTEN: [&str; 8] = [
    "additional_special_tokens",
    "bos_token",
    "cls_token",
    "eos_token",
    "mask_token",
    "pad_token",
    "sep_token",
    "unk_token",
];

/// Whether `key` does no more than name special tokens (`unk_token_id`, `vision_start_token_id`, ...): these say where
/// texts and images begin and end, and what stands for an image. A text model looks all ids up alike. A key that is
/// called so and holds anything else than ids is not taken for one.
pub(super) fn names_tokens(key: &str, value: &Value) -> bool {
    let all = |value: &Value, one: fn(&Value) -> bool| match value {
        Value::Array(items) => items.iter().all(one),
        other => one(other),
    };
    TOKENS.iter().any(|end| key.ends_with(end)) && all(value, |value| value.is_i64() || value.is_u64())
        || WRITTEN.contains(&key) && all(value, |value| value.is_string() || value.is_object())
}
