"""Loads a Hugging Face folder (GPT-2 or Llama, grouped queries too) into TransformerLens 4 and holds the result to transformers.

TransformerLens 4 has no `HookedTransformer` any more: a `TransformerBridge` wraps the modules of transformers and fires the same hooks.
No weight is processed (no folding, no centring): that is the bridge's default, as long as `enable_compatibility_mode` is not called.
Grouped keys and values stay grouped: `hook_k` and `hook_v` are [batch, pos, n_key_value_heads, d_head]."""

import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a folder is all that is read
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "goldens"))

import torch
from transformer_lens.model_bridge.generalized_components.attention import AttentionBridge
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

from widen import double_model

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-10}


def theirs(folder, dtype):
    """The model of transformers; in float64 with the casts to float32 lifted, see tests/goldens/widen.py."""
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if dtype == torch.float64:
        weights = model.state_dict()
        model = double_model(AutoConfig.from_pretrained(folder))
        model.load_state_dict(weights)
        model.set_attn_implementation("eager")
    return model


stock_softmax = AttentionBridge._masked_softmax


def masked_softmax(self, scores, dtype=None):
    """Where positions are rotary the bridge asks for the softmax in float32, whatever the dtype of the model: float64 stays float64."""
    return stock_softmax(self, scores, None if scores.dtype == torch.float64 else dtype)


AttentionBridge._masked_softmax = masked_softmax


@torch.no_grad()
def load(folder, dtype=torch.float32):
    """The bridge to the model in `folder`, and how far its logits are from those of transformers; fails where that is too far."""
    reference, wrapped = theirs(folder, dtype), theirs(folder, dtype)  # the bridge changes the one that it is given
    config = wrapped.config
    bridge = build_bridge_from_module(wrapped, config.architectures[0], hf_config=config, model_name=str(folder)).eval()
    # No tokenizer; `detect_head` takes nothing but text.
    bridge.to_tokens = lambda text: torch.tensor([[int(i) for i in text.split()]])
    ids = torch.randint(config.vocab_size, (3, min(48, config.max_position_embeddings)), generator=torch.Generator().manual_seed(0))
    logits = bridge(ids)
    assert logits.dtype == dtype, logits.dtype
    drift = (logits - reference(ids).logits).abs().max().item()
    assert drift <= TOLERANCE[dtype], f"TransformerLens is {drift:.1e} from transformers in {folder}"
    return bridge, drift
