"""Folders in the layout of the checkpoints on the hub, most of which were published with transformers 4."""

import json

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

# What transformers 4 named otherwise.
ROPE_NAMES = {"gpt_neox": {"rope_theta": "rotary_emb_base", "partial_rotary_factor": "rotary_pct"}}
# transformers 4 computed `layer_types` from other keys, and stored them nowhere.
COMPUTED_LAYER_TYPES = {"qwen2", "qwen2_moe", "qwen3", "gemma2", "gemma3_text"}

# What tensors of Gemma 3 with images are called in the newer layout.
NEWER = [
    ("language_model.model.", "model.language_model."),
    ("language_model.lm_head.", "lm_head."),
    ("vision_tower.", "model.vision_tower."),
    ("multi_modal_projector.", "model.multi_modal_projector."),
]


def rewrite_config(folder, extra):
    """config.json in the hub's spelling: the rotary frequencies at the top level, `torch_dtype`; and the keys of `extra`. Of a model with
    images that is said of its `text_config`, which is left with what differs from the defaults, as Gemma 3's is."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    if "text_config" in config:
        config["torch_dtype"] = config.pop("dtype")
        text = respell(config["text_config"] | {"dtype": config["torch_dtype"]}) | extra
        defaults = AutoConfig.for_model(text["model_type"]).to_dict()
        config["text_config"] = {k: v for k, v in text.items() if k == "model_type" or k not in defaults or v != defaults[k]}
        del config["text_config"]["torch_dtype"]
    else:
        config = respell(config) | extra
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def respell(config):
    """The configuration of a text model in the hub's spelling."""
    family = config["model_type"]
    config["torch_dtype"] = config.pop("dtype")
    if family in COMPUTED_LAYER_TYPES:
        del config["layer_types"]
    if family == "gemma4_text":  # published with transformers 5
        del config["torch_dtype"]
        config["dtype"] = "float32"
        hub_gemma4(config)
    elif family == "gemma3_text":
        rope = config.pop("rope_parameters")
        del config["_sliding_window_pattern"]
        config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        scaled = rope["full_attention"]
        config["rope_theta"] = scaled.pop("rope_theta")
        # Spelled `type`, it would be passed over.
        config["rope_scaling"] = None if scaled["rope_type"] == "default" else scaled
    elif "rope_parameters" in config:
        hub_rope(config, config.pop("rope_parameters"), ROPE_NAMES.get(family, {}))
    return config


def hub_rope(config, rope, names):
    for key in ("rope_theta", "partial_rotary_factor"):
        if key in rope:
            config[names.get(key, key)] = rope.pop(key)
    kind = rope["rope_type"]
    if kind in ("linear", "yarn", "longrope"):  # spelled `type` when those were new
        rope["type"] = rope.pop("rope_type")
    if kind == "longrope":
        config["original_max_position_embeddings"] = rope.pop("original_max_position_embeddings")
    config["rope_scaling"] = None if kind == "default" else rope


def hub_gemma4(config):
    """What differs between local and global layers at the top level."""
    layers = config.pop("per_layer_config")
    heads = {key: {layer[key] for layer in layers.values() if key in layer} for key in ("head_dim", "num_key_value_heads")}
    config["global_head_dim"] = heads["head_dim"].pop()
    config["num_global_key_value_heads"] = heads["num_key_value_heads"].pop() if heads["num_key_value_heads"] else None


def renamed(name, prefixes):
    old, new = next(pair for pair in prefixes if name.startswith(pair[0]))
    return new + name.removeprefix(old)


def rewrite_weights(folder, config, newer=False):
    """Names and constants that checkpoints of the family on the hub have: masks (and Pythia's frequencies) among the weights, GPT-2 without
    `transformer.` before the names, OPT without `model.`, keys and values of Gemma 4's layers that share those of others. Of Gemma 3 with
    images, which transformers 5 writes in the layout of the hub but for `vision_model.`: that, or, `newer`, the layout that has the names of
    transformers' modules."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    if config.model_type == "gemma3":
        prefixes = NEWER if newer else [("vision_tower.", "vision_tower.vision_model."), ("", "")]
        save_file({renamed(name, prefixes): w for name, w in weights.items()}, path, metadata={"format": "pt"})
        return
    window = config.max_position_embeddings
    mask = torch.ones(window, window).tril()[None, None].contiguous()
    layers = range(config.num_hidden_layers)
    if config.model_type == "gpt2":
        weights = {name.removeprefix("transformer."): w for name, w in weights.items()}
        weights |= {f"h.{layer}.attn.bias": mask.clone() for layer in layers}
    elif config.model_type == "opt":
        weights = {name.removeprefix("model."): w for name, w in weights.items()}
    elif config.model_type == "gemma4_text":
        for layer, mode in enumerate(config.kv_sharing_modes):
            if mode == "reuse":  # takes its keys and values from an earlier layer; its own are stored and not used
                module, donor = f"model.layers.{layer}.self_attn", config.layer_types.index(config.layer_types[layer])
                for part in ("k_proj", "v_proj", "k_norm"):
                    weights[f"{module}.{part}.weight"] = -weights[f"model.layers.{donor}.self_attn.{part}.weight"]
    else:
        place = {"gpt_neo": "transformer.h.{}.attn.attention", "gptj": "transformer.h.{}.attn", "gpt_neox": "gpt_neox.layers.{}.attention"}
        for layer in layers:
            module = place[config.model_type].format(layer)
            weights[f"{module}.bias"] = mask.bool()
            weights[f"{module}.masked_bias"] = torch.tensor(-1e9)
            if config.model_type == "gpt_neox":
                rope = config.rope_parameters
                dim = int(config.hidden_size // config.num_attention_heads * rope["partial_rotary_factor"])
                weights[f"{module}.rotary_emb.inv_freq"] = rope["rope_theta"] ** -(torch.arange(0, dim, 2).float() / dim)
    save_file(weights, path, metadata={"format": "pt"})
