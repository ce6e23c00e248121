"""How the weights of a tiny model are drawn."""

import torch

# RMSNorm of these multiplies by 1 + weight.
ONE_PLUS = {"gemma", "gemma2", "gemma3_text"}
# Embeddings of these are multiplied by sqrt(d_model), and the head is tied to them. Drawn as usual, with sublayers
# that norms hold to a width of 1, the stream would hold little but the token itself and the model repeat it: all of
# them are drawn `quiet`, see spec.py.
QUIET = ONE_PLUS | {"gemma4_text"}
FINAL_NORMS = ("model.norm.weight", "language_model.norm.weight", "gpt_neox.final_layer_norm.weight")


def is_norm(name):
    return "ln_" in name or "norm" in name


@torch.no_grad()
def draw(spec, cls):
    """A model of class `cls` in float32 whose every parameter (and saved buffer) is random: biases and norms too (transformers starts those
    at 0 and 1), and weights wide enough for attention to be far from uniform and for routers to decide."""
    config = spec["config"].get_text_config()
    model = cls(spec["config"]).eval()
    g = torch.Generator().manual_seed(spec["seed"])
    d_model = config.hidden_size
    family = config.model_type
    quiet = family in QUIET or spec.get("quiet", False)
    embedding = 0.25 if quiet else 0.6
    parameters = dict(model.named_parameters())  # a tied head is listed once
    saved = model.state_dict().keys()
    parameters |= {name: b for name, b in model.named_buffers() if name in saved}
    for name, p in parameters.items():
        noise = torch.randn(p.shape, generator=g)
        if is_norm(name):
            centre = 0.0 if name.endswith("bias") or family in ONE_PLUS else 1.0
            if quiet and (name in FINAL_NORMS or "post_" in name):
                centre += 1.0
            if any(part in name for part in ("q_norm", "k_norm", "q_layernorm", "k_layernorm")):
                centre += spec["sharpness"] - 1.0
            p.copy_(centre + 0.3 * noise)
        elif name.endswith(("layer_scalar", "router.scale", "per_expert_scale")):
            p.copy_(1.0 + 0.3 * noise)
        elif name.endswith("bias"):
            p.copy_(0.3 * noise)
        elif any(part in name for part in ("wpe", "embed_positions")):
            p.copy_(0.8 * noise)
        elif any(part in name for part in ("wte", "embed_", "lm_head")):
            p.copy_(embedding * noise)
        elif name.endswith(".mlp.gate.weight"):  # a router's
            p.copy_(2.0 * d_model**-0.5 * noise)
        elif name.endswith(".router.proj.weight"):  # Gemma 4's divides its input by sqrt(d_model)
            p.copy_(2.0 * noise)
        elif any(part in name for part in ("c_attn", "q_proj", "k_proj", "query_key_value", "qkv_proj")):
            p.copy_(spec["sharpness"] * d_model**-0.5 * noise)
        else:
            p.copy_(d_model**-0.5 * noise)
    return model
