"""Blocks of every quantised type of GGUF that is read, and their numbers as gguf-py computes them, as
gguf/blocks.safetensors: `TYPE.blocks`, uint8 [blocks, bytes], and `TYPE.numbers`, float32 [blocks, numbers].

Bytes are random; in the last blocks the scales are zero, the smallest, the largest, infinity and NaN.
Needs numpy, gguf and safetensors, at the versions in requirements.txt.
"""

import struct
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

# Where the f16 scales of a block are.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
    "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [],
}
SPECIAL = [0.0, -0.0, 6e-8, -65504.0, float("inf"), float("nan")]
RANDOM = 8

rng = np.random.default_rng(20260)
tensors = {}
for name, places in SCALES.items():
    kind = GGMLQuantizationType[name]
    numbers, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, size=(RANDOM + len(SPECIAL), size), dtype=np.uint8)
    for row, value in enumerate(SPECIAL, start=RANDOM):
        for place in places:
            blocks[row, place : place + 2] = np.frombuffer(struct.pack("<e", value), dtype=np.uint8)
    if name == "MXFP4":
        blocks[RANDOM:, 0] = [0, 1, 2, 127, 254, 255]
    with np.errstate(all="ignore"):
        values = dequantize(blocks.reshape(-1), kind).astype(np.float32).reshape(len(blocks), numbers)
    tensors[f"{name}.blocks"], tensors[f"{name}.numbers"] = blocks, values
folder = Path(__file__).parent / "gguf"
folder.mkdir(exist_ok=True)
save_file(tensors, folder / "blocks.safetensors")
