"""Mixtures of experts: Mixtral, Qwen2-MoE, Qwen3-MoE, OLMoE. Gemma 4's is in gemma.py."""

from transformers import MixtralConfig, OlmoeConfig, Qwen2MoeConfig, Qwen3MoeConfig

from .spec import IDS, WINDOW, spec


def model(config, seed, sharpness=1.5, how={}, **kw):
    """2 layers of 4 heads (d_head 4) on 2 key/value heads, 2 of 4 experts a token unless told otherwise."""
    sizes = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=33)
    experts = {"num_local_experts" if config is MixtralConfig else "num_experts": 4, "num_experts_per_tok": 2}
    return spec(config(max_position_embeddings=WINDOW, **{**experts, **sizes, **IDS, **kw}), seed, sharpness, **how)


HUB = dict(hub_config=True)
# A window that `use_sliding_window` false turns off.
NO_WINDOW = dict(hub_config=dict(sliding_window=4, max_window_layers=2))
QUIET = dict(quiet=True)

MODELS = {
    "mixtral-full": model(MixtralConfig, 1, how=HUB),
    "mixtral-window": model(MixtralConfig, 1, sliding_window=4, head_dim=6, num_attention_heads=2, num_key_value_heads=1),
    "qwen2-moe-shared": model(
        Qwen2MoeConfig, 10, moe_intermediate_size=12, shared_expert_intermediate_size=20, norm_topk_prob=False, how=NO_WINDOW
    ),
    "qwen2-moe-step": model(
        Qwen2MoeConfig,
        3,
        moe_intermediate_size=12,
        shared_expert_intermediate_size=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=3,
        decoder_sparse_step=2,
        norm_topk_prob=True,
        qkv_bias=False,
        use_sliding_window=True,
        sliding_window=4,
        max_window_layers=1,
        tie_word_embeddings=True,
        how=QUIET,
    ),
    "qwen3-moe-norm": model(
        Qwen3MoeConfig, 2, head_dim=8, moe_intermediate_size=12, norm_topk_prob=True, mlp_only_layers=[0], how=HUB
    ),
    "qwen3-moe-window": model(
        Qwen3MoeConfig,
        6,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=6,
        moe_intermediate_size=12,
        norm_topk_prob=False,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=4,
        tie_word_embeddings=True,
        how=QUIET,
    ),
    "olmoe-clip": model(OlmoeConfig, 1, num_attention_heads=2, clip_qkv=2.0, norm_topk_prob=False, how=HUB),
    "olmoe-norm": model(OlmoeConfig, 1, norm_topk_prob=True, tie_word_embeddings=True, num_experts_per_tok=3, how=QUIET),
}
