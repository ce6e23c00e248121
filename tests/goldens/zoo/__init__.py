"""The tiny random models: which architecture choices each of them covers, and how their weights are drawn."""

from . import gemma, gpt, llama, llama_like, moe
from .draw import draw
from .spec import PAD

MODELS = gpt.MODELS | llama.MODELS | llama_like.MODELS | moe.MODELS | gemma.MODELS

__all__ = ["MODELS", "PAD", "draw"]
