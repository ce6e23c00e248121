"""GPT-2, GPT-Neo, GPT-NeoX (Pythia), GPT-J and OPT: layer norms, ungated MLPs."""

from transformers import GPT2Config, GPTJConfig, GPTNeoConfig, GPTNeoXConfig, OPTConfig

from .spec import IDS, WINDOW, spec


def gpt2(seed, sharpness=1.5, how={}, **kw):
    """GPT-2 with 2 layers of 3 heads (d_head 8) unless told otherwise."""
    sizes = dict(n_embd=24, n_layer=2, n_head=3, vocab_size=48)
    return spec(GPT2Config(n_positions=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def gpt_neo(seed, sharpness=1.0, how={}, **kw):
    """GPT-Neo with 3 heads (d_head 6) and a window of 4 tokens in local layers unless told otherwise. Its attention is not scaled."""
    sizes = dict(hidden_size=18, num_heads=3, intermediate_size=40, vocab_size=33, window_size=4)
    return spec(GPTNeoConfig(max_position_embeddings=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def gpt_neox(seed, sharpness=1.5, how={}, **kw):
    """GPT-NeoX with 2 layers of 2 heads (d_head 8) unless told otherwise."""
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, vocab_size=33)
    return spec(GPTNeoXConfig(max_position_embeddings=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def gptj(seed, sharpness=1.5, how={}, **kw):
    """GPT-J with 2 layers of 3 heads (d_head 6) unless told otherwise."""
    sizes = dict(n_embd=18, n_layer=2, n_head=3, n_inner=40, vocab_size=33)
    return spec(GPTJConfig(n_positions=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def opt(seed, sharpness=1.5, how={}, **kw):
    """OPT with 2 layers of 4 heads (d_head 4) unless told otherwise."""
    sizes = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, ffn_dim=40, vocab_size=33)
    return spec(OPTConfig(max_position_embeddings=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def rope(share):
    return dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=share)


MODELS = {
    "gpt2-tied": gpt2(24, n_inner=64, how=dict(tokenizer=True)),
    "gpt2-untied": gpt2(2, tie_word_embeddings=False, layer_norm_epsilon=1e-2),
    "gpt2-odd": gpt2(
        23,
        sharpness=2.5,
        n_embd=21,
        n_layer=3,
        n_inner=50,
        vocab_size=53,
        scale_attn_by_inverse_layer_idx=True,
        activation_function="gelu",
    ),
    "gpt2-hub": gpt2(24, n_inner=64, how=dict(twin="gpt2-tied", hub_weights=True)),
    "gpt-neo-local": gpt_neo(6, num_layers=2, attention_types=[[["global", "local"], 1]]),
    "gpt-neo-hub": gpt_neo(
        4,
        num_layers=2,
        attention_types=[[["local"], 1], [["global"], 1]],
        intermediate_size=None,
        how=dict(hub_config=True, hub_weights=True),
    ),
    "gpt-neox-pythia": gpt_neox(30, hidden_size=32, rope_parameters=rope(0.25), how=dict(hub_config=True, hub_weights=True)),
    "gpt-neox-serial": gpt_neox(
        3,
        rope_parameters=rope(1.0),
        use_parallel_residual=False,
        tie_word_embeddings=True,
        hidden_size=18,
        num_attention_heads=3,
        intermediate_size=64,
        sharpness=2.5,
        how=dict(quiet=True),
    ),
    "gpt-neox-nobias": gpt_neox(1, rope_parameters=rope(0.5), attention_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-2),
    "gptj-odd": gptj(9, rotary_dim=4),
    "gptj-hub": gptj(2, rotary_dim=6, n_inner=None, n_embd=16, n_head=2, how=dict(hub_config=True, hub_weights=True)),
    "opt-pre": opt(2),
    "opt-350m": opt(4, do_layer_norm_before=False, word_embed_proj_dim=12, num_attention_heads=2, how=dict(hub_config=True, hub_weights=True)),
    "opt-nofinal": opt(4, _remove_final_layer_norm=True, activation_function="gelu", num_attention_heads=2),
    "opt-plain": opt(1, enable_bias=False, layer_norm_elementwise_affine=False, tie_word_embeddings=False, num_attention_heads=2),
}
