"""Llama, with every kind of scaled rotary frequencies."""

from transformers import LlamaConfig

from .spec import IDS, WINDOW, spec


def llama(seed, sharpness=1.5, how={}, **kw):
    """Llama with 2 layers of 4 heads (d_head 6), every query head with its own key/value head unless told otherwise."""
    sizes = dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, vocab_size=48)
    return spec(LlamaConfig(max_position_embeddings=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def scaled(seed, rope, **kw):
    """A smaller Llama with 2 heads of 16 on one key/value head (8 rotary frequencies), whose frequencies are scaled."""
    sizes = dict(hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1, head_dim=16, vocab_size=33)
    return llama(seed, rope_parameters=rope, **{**sizes, **kw})


HUB = dict(hub_config=True)

MODELS = {
    "llama-mha-tied": llama(50, tie_word_embeddings=True, num_hidden_layers=3, hidden_size=16, num_attention_heads=2),
    "llama-mha-untied": llama(5, rms_norm_eps=1e-2, rope_parameters=dict(rope_type="default", rope_theta=500.0), how=HUB),
    "llama-gqa": llama(20, hidden_size=32, num_key_value_heads=2),
    "llama-gqa-sharded": llama(20, hidden_size=32, num_key_value_heads=2, how=dict(twin="llama-gqa", shard="10KB")),
    "llama-mqa": llama(7, num_key_value_heads=1, head_dim=10),
    "llama-bias": llama(8, num_key_value_heads=2, attention_bias=True, mlp_bias=True),
    "llama-rope3": llama(
        9,
        num_key_value_heads=2,
        head_dim=16,
        rope_parameters=dict(
            rope_type="llama3",
            rope_theta=100.0,
            factor=4.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
        how=HUB,
    ),
    "llama-rope3-past": scaled(
        3,
        dict(
            rope_type="llama3",
            rope_theta=20.0,
            factor=8.0,
            low_freq_factor=0.5,
            high_freq_factor=1.5,
            original_max_position_embeddings=8,
        ),
    ),
    "llama-linear": scaled(6, dict(rope_type="linear", rope_theta=100.0, factor=4.0), how=HUB),
    "llama-yarn": scaled(1, dict(rope_type="yarn", rope_theta=10.0, factor=4.0, original_max_position_embeddings=16), how=HUB),
    "llama-yarn-factor": scaled(
        1,
        dict(
            rope_type="yarn",
            rope_theta=20.0,
            factor=8.0,
            original_max_position_embeddings=8,
            attention_factor=0.8,
            beta_fast=1.0,
            beta_slow=0.25,
            truncate=False,
        ),
    ),
    "llama-yarn-mscale": scaled(
        3,
        dict(
            rope_type="yarn",
            rope_theta=20.0,
            factor=8.0,
            original_max_position_embeddings=8,
            mscale=1.5,
            mscale_all_dim=0.5,
            beta_fast=1.0,
            beta_slow=0.25,
        ),
    ),
}
