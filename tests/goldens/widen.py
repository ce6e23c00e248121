"""transformers' own modelling code with its casts to float32 lifted to float64.

`model.double()` alone does not give a double-precision model: norms, softmax, rotary angles and routers are cast to float32 inside the
modules whatever the dtype of the weights, which leaves errors of about 1e-7. A module's source is therefore executed a second time with
those casts (and no other character) replaced, and the model is built while float64 is torch's default, for the constants that are computed
in the default dtype (Gemma's embedding scale, GPT-J's table of sines). GPT-2 has no such cast on the paths used here, so its replacement
changes nothing.
"""

import importlib
import importlib.util
import re
import sys
from contextlib import contextmanager

import torch
from transformers import modeling_utils

ROPE = "transformers.modeling_rope_utils"
CASTS = [
    (re.compile(r"torch\.float32\b"), "torch.float64"),
    (re.compile(r"torch\.float\b(?!\d)"), "torch.float64"),
    (re.compile(r"\.float\(\)"), ".double()"),
]
# The class, and how many casts its module has, those off the paths used here included (flash attention, the
# routers' auxiliary loss, Gemma 4's audio and vision). Another number means another version: read the module again
# before trusting the goldens.
MODULES = {
    "gpt2": ("gpt2", "GPT2LMHeadModel", 5),
    "gpt_neo": ("gpt_neo", "GPTNeoForCausalLM", 3),
    "gpt_neox": ("gpt_neox", "GPTNeoXForCausalLM", 4),
    "gptj": ("gptj", "GPTJForCausalLM", 4),
    "opt": ("opt", "OPTForCausalLM", 1),
    "llama": ("llama", "LlamaForCausalLM", 5),
    "mistral": ("mistral", "MistralForCausalLM", 5),
    "qwen2": ("qwen2", "Qwen2ForCausalLM", 5),
    "qwen3": ("qwen3", "Qwen3ForCausalLM", 5),
    "gemma": ("gemma", "GemmaForCausalLM", 6),
    "gemma2": ("gemma2", "Gemma2ForCausalLM", 6),
    "gemma3_text": ("gemma3", "Gemma3ForCausalLM", 6),
    "gemma4_text": ("gemma4", "Gemma4ForCausalLM", 19),
    "gemma3": ("gemma3", "Gemma3ForConditionalGeneration", 6),
    "gemma4": ("gemma4", "Gemma4ForConditionalGeneration", 19),
    "phi3": ("phi3", "Phi3ForCausalLM", 5),
    "olmo": ("olmo", "OlmoForCausalLM", 5),
    "olmo2": ("olmo2", "Olmo2ForCausalLM", 5),
    "stablelm": ("stablelm", "StableLmForCausalLM", 4),
    "mixtral": ("mixtral", "MixtralForCausalLM", 13),
    "qwen2_moe": ("qwen2_moe", "Qwen2MoeForCausalLM", 13),
    "qwen3_moe": ("qwen3_moe", "Qwen3MoeForCausalLM", 13),
    "olmoe": ("olmoe", "OlmoeForCausalLM", 13),
}
ROPE_CASTS = 11
# Beside images the text model is looked up in transformers' registry: in the second copy it is to be that copy's own.
TEXT_MODELS = {"gemma3": "Gemma3TextModel", "gemma4": "Gemma4TextModel"}
LOOKED_UP = "AutoModel.from_config(config.text_config)"


def module_name(family):
    folder = MODULES[family][0]
    return f"transformers.models.{folder}.modeling_{folder}"


def widened(name, expected):
    """A second copy of the module `name`, computing in float64 where the original says float32. It takes its rotary frequencies, and what
    changes them between calls, from the second copy of that module."""
    alias = name + "_widened"
    if alias in sys.modules:
        return sys.modules[alias]
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name)
    lifted = 0
    for pattern, wide in CASTS:
        source, n = pattern.subn(wide, source)
        lifted += n
    assert lifted == expected, f"{lifted} float32 casts found in {name}, {expected} expected: read it again before trusting the goldens"
    source = source.replace("modeling_rope_utils import", "modeling_rope_utils_widened import")
    family = name.split(".")[-2]
    assert source.count(LOOKED_UP) == (family in TEXT_MODELS), f"{name} makes its text model in another way: read it again"
    source = source.replace(LOOKED_UP, f"{TEXT_MODELS.get(family)}(config.text_config)")
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(alias, loader=None, origin=spec.origin))
    module.__file__ = spec.origin
    module.__package__ = name.rpartition(".")[0]
    sys.modules[alias] = module
    exec(compile(source, spec.origin, "exec"), module.__dict__)
    return module


@contextmanager
def float64_everywhere():
    """While it lasts, float64 is torch's default and rotary frequencies are initialised by the widened functions."""
    stock = modeling_utils.ROPE_INIT_FUNCTIONS
    torch.set_default_dtype(torch.float64)
    modeling_utils.ROPE_INIT_FUNCTIONS = sys.modules[ROPE + "_widened"].ROPE_INIT_FUNCTIONS
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
        modeling_utils.ROPE_INIT_FUNCTIONS = stock


def stock_class(family):
    """transformers' own causal language model class of `family`."""
    return getattr(importlib.import_module(module_name(family)), MODULES[family][1])


def double_model(config):
    """The causal language model of `config` that computes in float64 throughout, weights not set."""
    widened(ROPE, ROPE_CASTS)
    module = widened(module_name(config.model_type), MODULES[config.model_type][2])
    with float64_everywhere():
        model = getattr(module, MODULES[config.model_type][1])(config).double().eval()
    check_angles(model)
    return model


def check_angles(model):
    """What rotary angles are made of was computed in float64. Of a single frequency nothing can be said: it is 1."""
    for name, module in model.named_modules():
        # LongRoPE keeps its second set as a plain attribute.
        tables = dict(module.named_buffers(recurse=False)) | vars(module)
        for key, table in tables.items():
            if key.endswith(("inv_freq", "embed_positions")) and table.numel() > 1:
                assert table.dtype == torch.float64, f"{name}.{key} is {table.dtype}"
                assert not torch.equal(table, table.float().double()), f"{name}.{key} was computed in float32"
