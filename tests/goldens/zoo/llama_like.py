"""Dense models in Llama's line: Mistral, Qwen2, Qwen3, Phi-3, OLMo, OLMo 2, StableLM."""

from transformers import MistralConfig, Olmo2Config, OlmoConfig, Phi3Config, Qwen2Config, Qwen3Config, StableLmConfig

from .spec import IDS, WINDOW, spec


def model(config, seed, sharpness=1.5, how={}, **kw):
    """2 layers of 4 heads (d_head 4) on 2 key/value heads unless told otherwise."""
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=33)
    return spec(config(max_position_embeddings=WINDOW, **{**sizes, **IDS, **kw}), seed, sharpness, **how)


def rope(theta, share=None, **kw):
    return dict(rope_type="default", rope_theta=theta, **({} if share is None else dict(partial_rotary_factor=share))) | kw


def longrope(original):
    """Phi-3's: factors for prompts within the original length, and for longer ones; heads of 8, of which 6 dimensions are turned."""
    factors = dict(short_factor=[1.0, 1.1, 1.4], long_factor=[1.3, 2.5, 4.0])
    return rope(100.0, 0.75, rope_type="longrope", original_max_position_embeddings=original, **factors)


HUB = dict(hub_config=True)
# A window that `use_sliding_window` false turns off.
NO_WINDOW = dict(hub_config=dict(sliding_window=4, max_window_layers=1))
QUIET = dict(quiet=True)

MODELS = {
    "mistral-window": model(MistralConfig, 1, sliding_window=4, head_dim=6, how=HUB),
    "mistral-full": model(
        MistralConfig,
        13,
        sliding_window=None,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
        rope_parameters=rope(1e6),
    ),
    "qwen2-window": model(
        Qwen2Config, 2, num_hidden_layers=3, use_sliding_window=True, sliding_window=4, max_window_layers=1, how=HUB
    ),
    "qwen2-tied": model(
        Qwen2Config, 2, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True, rope_parameters=rope(1e6), how=QUIET
    ),
    "qwen2-yarn": model(
        Qwen2Config,
        1,
        num_attention_heads=2,
        rope_parameters=rope(10.0, rope_type="yarn", factor=4.0, original_max_position_embeddings=16),
        how=NO_WINDOW,
    ),
    "qwen3-tied": model(Qwen3Config, 1, head_dim=8, tie_word_embeddings=True, how=NO_WINDOW | QUIET),
    "qwen3-window": model(
        Qwen3Config,
        2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=6,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    ),
    "phi3-short": model(
        Phi3Config,
        1,
        num_attention_heads=2,
        original_max_position_embeddings=32,
        rope_parameters=longrope(32),
        how=HUB,
    ),
    "phi3-long": model(
        Phi3Config,
        1,
        num_attention_heads=2,
        num_key_value_heads=1,
        original_max_position_embeddings=2,
        rope_parameters=longrope(2),
        how=dict(prompts=[8, 5, 3]),
    ),
    "phi3-window": model(Phi3Config, 2, sliding_window=4, tie_word_embeddings=True),
    "olmo-clip": model(OlmoConfig, 1, sharpness=2.0, num_attention_heads=2, clip_qkv=1.5, how=HUB),
    "olmo-plain": model(OlmoConfig, 2, attention_bias=True),
    "olmo2-gqa": model(Olmo2Config, 3, attention_bias=True),
    "olmo2-mha": model(Olmo2Config, 4, num_attention_heads=2, num_key_value_heads=2, rms_norm_eps=1e-2, how=HUB),
    "stablelm-parallel": model(
        StableLmConfig,
        2,
        num_attention_heads=2,
        num_key_value_heads=1,
        use_parallel_residual=True,
        qk_layernorm=True,
        rope_parameters=rope(10000.0, 0.5),
    ),
    "stablelm-serial": model(
        StableLmConfig,
        1,
        num_attention_heads=2,
        use_qkv_bias=True,
        tie_word_embeddings=True,
        rope_parameters=rope(100.0, 0.75),
        how=HUB | QUIET,
    ),
}
