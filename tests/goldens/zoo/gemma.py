"""Gemma, Gemma 2, Gemma 3 and Gemma 4 (their text models), and Gemma 3 and 4 with towers for images and sound."""

from transformers import Gemma2Config, Gemma3Config, Gemma3TextConfig, Gemma4Config, Gemma4TextConfig, GemmaConfig

from .spec import IDS, WINDOW, spec

FULL, SLIDING = "full_attention", "sliding_attention"


def model(config, seed, sharpness=1.5, how={}, **kw):
    """2 layers of 4 heads of 6 (not d_model / 4) on 2 key/value heads unless told otherwise."""
    sizes = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6)
    return spec(config(max_position_embeddings=WINDOW, **{**sizes, "vocab_size": 33, **IDS, **kw}), seed, sharpness, **how)


def gemma4(seed, layer_types, share, how={}, **kw):
    """Gemma 4: local layers with heads of 6, global ones with heads of 16 of which `share` is turned."""
    ropes = {
        SLIDING: dict(rope_type="default", rope_theta=100.0),
        FULL: dict(rope_type="proportional", rope_theta=1000.0, partial_rotary_factor=share),
    }
    sizes = dict(num_hidden_layers=len(layer_types), intermediate_size=20, num_attention_heads=2, global_head_dim=16)
    defaults = dict(sliding_window=4, hidden_size_per_layer_input=0, vocab_size_per_layer_input=33)
    return model(Gemma4TextConfig, seed, 1.0, how, layer_types=layer_types, rope_parameters=ropes, **{**sizes, **defaults, **kw})


def beside(config, made, **kw):
    """`made`, a text model, within a model of class `config`: towers as narrow as can be, and ids for images beyond the vocabulary."""
    return made | dict(config=config(text_config=made["config"], **kw))


SIGLIP = dict(
    model_type="siglip_vision_model",
    hidden_size=2,
    intermediate_size=2,
    num_hidden_layers=1,
    num_attention_heads=1,
    image_size=2,
    patch_size=1,
    vision_use_head=False,
)
GEMMA4_VISION = dict(
    hidden_size=4,
    intermediate_size=2,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    head_dim=4,
    patch_size=1,
    position_embedding_size=2,
)
GEMMA4_AUDIO = dict(
    hidden_size=4,
    num_hidden_layers=1,
    num_attention_heads=1,
    subsampling_conv_channels=[4, 4],
    output_proj_dims=2,
    conv_kernel_size=2,
    use_clipped_linears=False,
)

HUB = dict(hub_config=True)

MODELS = {
    "gemma-mqa": model(GemmaConfig, 8, num_attention_heads=2, num_key_value_heads=1, head_dim=12, how=dict(hub_config=dict(hidden_act="gelu"))),
    "gemma-mha": model(GemmaConfig, 2, hidden_size=18, num_attention_heads=3, num_key_value_heads=3, rms_norm_eps=1e-2),
    "gemma2-caps": model(
        Gemma2Config,
        4,
        sharpness=2.0,
        head_dim=8,
        query_pre_attn_scalar=12,
        attn_logit_softcapping=5.0,
        final_logit_softcapping=3.0,
        sliding_window=4,
        how=HUB,
    ),
    "gemma2-nocaps": model(
        Gemma2Config,
        8,
        num_attention_heads=2,
        num_key_value_heads=1,
        query_pre_attn_scalar=6,
        attn_logit_softcapping=None,
        final_logit_softcapping=None,
        sliding_window=4,
        layer_types=[FULL, SLIDING],
    ),
    "gemma3-linear": model(
        Gemma3TextConfig,
        5,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=10,
        query_pre_attn_scalar=6,
        sliding_window=4,
        layer_types=[SLIDING, SLIDING, FULL],
        rope_parameters={
            SLIDING: dict(rope_type="default", rope_theta=100.0),
            FULL: dict(rope_type="linear", rope_theta=1000.0, factor=8.0),
        },
        how=dict(hub_config=dict(sliding_window_pattern=3)),
    ),
    "gemma3-types": model(
        Gemma3TextConfig,
        2,
        query_pre_attn_scalar=3,
        sliding_window=4,
        final_logit_softcapping=5.0,
        layer_types=[FULL, SLIDING],
        rope_parameters={
            SLIDING: dict(rope_type="default", rope_theta=50.0),
            FULL: dict(rope_type="default", rope_theta=5000.0),
        },
    ),
    "gemma4-ple": gemma4(
        1,
        [SLIDING, SLIDING, FULL, SLIDING, FULL],
        0.25,
        hidden_size_per_layer_input=4,
        num_kv_shared_layers=2,
        use_double_wide_mlp=True,
        num_key_value_heads=1,
        final_logit_softcapping=5.0,
        how=HUB | dict(hub_weights=True),
    ),
    "gemma4-keqv": gemma4(1, [SLIDING, FULL], 0.5, attention_k_eq_v=True, num_key_value_heads=2, num_global_key_value_heads=1, how=HUB),
    "gemma4-moe": gemma4(
        17,
        [SLIDING, FULL],
        0.5,
        enable_moe_block=True,
        num_experts=4,
        top_k_experts=2,
        moe_intermediate_size=12,
        final_logit_softcapping=5.0,
    ),
    "gemma3-images": beside(
        Gemma3Config,
        model(
            Gemma3TextConfig,
            9,
            num_attention_heads=8,
            num_key_value_heads=4,
            head_dim=4,
            query_pre_attn_scalar=6,
            sliding_window=4,
            layer_types=[SLIDING, FULL],
            rope_parameters={
                SLIDING: dict(rope_type="default", rope_theta=10000.0),
                FULL: dict(rope_type="linear", rope_theta=1000.0, factor=8.0),
            },
            how=dict(hub_config=dict(sliding_window_pattern=2), hub_weights=True),
        ),
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        eos_token_id=[2, 5],
    ),
    "gemma3-images-newer": beside(
        Gemma3Config,
        model(
            Gemma3TextConfig,
            1,
            query_pre_attn_scalar=3,
            sliding_window=4,
            layer_types=[FULL, SLIDING],
            rope_parameters={
                SLIDING: dict(rope_type="default", rope_theta=50.0),
                FULL: dict(rope_type="default", rope_theta=5000.0),
            },
            how=dict(hub_weights="newer"),
        ),
        vision_config=SIGLIP,
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
    ),
    "gemma4-images": beside(
        Gemma4Config,
        gemma4(
            2,
            [SLIDING, FULL, FULL],
            0.25,
            hidden_size_per_layer_input=4,
            num_kv_shared_layers=1,
            num_key_value_heads=1,
            final_logit_softcapping=5.0,
            use_bidirectional_attention="vision",
        ),
        vision_config=GEMMA4_VISION,
        audio_config=GEMMA4_AUDIO,
        eos_token_id=[2, 5],
    ),
}
