"""The tiny random models: which architecture choices each of them covers, and how their weights are drawn."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

WINDOW = 64
PAD = 0


def gpt2(seed, sharpness=1.5, **kw):
    """Transformers' GPT-2 with 2 layers of 3 heads (d_head 8) unless told otherwise."""
    sizes = dict(n_embd=24, n_layer=2, n_head=3, vocab_size=48)
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=PAD)
    return dict(family="gpt2", seed=seed, sharpness=sharpness, config=GPT2Config(n_positions=WINDOW, **{**sizes, **ids, **kw}))


def llama(seed, sharpness=1.5, **kw):
    """Transformers' Llama with 2 layers of 4 heads (d_head 6), every query head with its own key/value head unless told otherwise."""
    sizes = dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=4, vocab_size=48)
    ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=PAD)
    return dict(family="llama", seed=seed, sharpness=sharpness, config=LlamaConfig(max_position_embeddings=WINDOW, **{**sizes, **ids, **kw}))


# `hub_config`: config.json is rewritten in the spelling of the checkpoints on the hub (rope_theta and rope_scaling at the top level, torch_dtype).
# `shard`: max_shard_size. `tokenizer`: the folder also holds a tokenizer.json.
# `twin`: the folder holds the weights of another one in another layout, and no golden of its own.
MODELS = {
    "gpt2-tied": gpt2(24, n_inner=64) | dict(tokenizer=True),
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
    "gpt2-hub": gpt2(24, n_inner=64) | dict(twin="gpt2-tied"),
    "llama-mha-tied": llama(50, tie_word_embeddings=True, num_hidden_layers=3, hidden_size=16, num_attention_heads=2),
    "llama-mha-untied": llama(5, rms_norm_eps=1e-2, rope_parameters=dict(rope_type="default", rope_theta=500.0)) | dict(hub_config=True),
    "llama-gqa": llama(20, hidden_size=32, num_key_value_heads=2),
    "llama-gqa-sharded": llama(20, hidden_size=32, num_key_value_heads=2) | dict(twin="llama-gqa", shard="10KB"),
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
    )
    | dict(hub_config=True),
}

CLASSES = {"gpt2": GPT2LMHeadModel, "llama": LlamaForCausalLM}


def is_norm(name):
    return any(part in name for part in ("ln_", "layernorm", "model.norm"))


@torch.no_grad()
def draw(spec):
    """A model in float32 whose every parameter is random: biases and norms too (transformers starts those at 0 and 1), and weights wide
    enough for attention to be far from uniform."""
    model = CLASSES[spec["family"]](spec["config"]).eval()
    g = torch.Generator().manual_seed(spec["seed"])
    d_model = spec["config"].hidden_size
    for name, p in model.named_parameters():  # a tied head is listed once
        noise = torch.randn(p.shape, generator=g)
        if is_norm(name):
            p.copy_((0.0 if name.endswith("bias") else 1.0) + 0.3 * noise)
        elif name.endswith("bias"):
            p.copy_(0.3 * noise)
        elif any(part in name for part in ("wte", "embed_tokens", "lm_head")):
            p.copy_(0.6 * noise)
        elif "wpe" in name:
            p.copy_(0.8 * noise)
        elif any(part in name for part in ("c_attn", "q_proj", "k_proj")):
            p.copy_(spec["sharpness"] * d_model**-0.5 * noise)
        else:
            p.copy_(d_model**-0.5 * noise)
    return model
