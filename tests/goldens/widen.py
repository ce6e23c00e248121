"""transformers' own modelling code with its casts to float32 lifted to float64.

`model.double()` alone does not give a double-precision Llama: RMSNorm, the softmax and the rotary angles are cast to float32 inside the
module whatever the dtype of the weights, which leaves errors of about 1e-7. The module's source is therefore executed a second time with
those casts (and no other character) replaced. GPT-2 has no such cast on the paths used here, so its replacement changes nothing.
"""

import importlib
import importlib.util
import re
import sys

CASTS = [
    (re.compile(r"torch\.float32\b"), "torch.float64"),
    (re.compile(r"torch\.float\b(?!\d)"), "torch.float64"),
    (re.compile(r"\.float\(\)"), ".double()"),
]
ROPE = "transformers.modeling_rope_utils"
MODULES = {
    "gpt2": ("transformers.models.gpt2.modeling_gpt2", "GPT2LMHeadModel"),
    "llama": ("transformers.models.llama.modeling_llama", "LlamaForCausalLM"),
}


def widened(name):
    """A second copy of the module `name`, computing in float64 where the original says float32; and how many casts were lifted."""
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name)
    lifted = 0
    for pattern, wide in CASTS:
        source, n = pattern.subn(wide, source)
        lifted += n
    alias = name + "_widened"
    if alias not in sys.modules:
        module = importlib.util.module_from_spec(importlib.util.spec_from_loader(alias, loader=None, origin=spec.origin))
        module.__file__ = spec.origin
        module.__package__ = name.rpartition(".")[0]
        sys.modules[alias] = module
        exec(compile(source, spec.origin, "exec"), module.__dict__)
    return sys.modules[alias], lifted


def double_class(family):
    """The causal language model class of `family` that computes in float64 throughout, given float64 weights."""
    name, cls = MODULES[family]
    module, lifted = widened(name)
    if family == "llama":
        assert lifted == 5, f"{lifted} float32 casts found in {name}, 5 expected: read the module again before trusting the goldens"
        module.ROPE_INIT_FUNCTIONS = widened(ROPE)[0].ROPE_INIT_FUNCTIONS
    return getattr(module, cls)
