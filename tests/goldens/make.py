"""Writes the golden models and outputs with `transformers`: see README.md. Run `make goldens`, or this file within the versions of
requirements.txt. Followed by names of folders, it makes those anew and leaves the others."""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from golden import golden, plain_code
from hub import rewrite_config, rewrite_weights
from widen import stock_class
from zoo import MODELS, draw

HERE = Path(__file__).parent


def tokenizer(folder, vocab_size):
    """A tokenizer of whole words: three special ones and w3, w4, ...; it puts <bos> before a text when asked to add special tokens."""
    words = ["<pad>", "<bos>", "<unk>"] + [f"w{i}" for i in range(3, vocab_size)]
    tok = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tok.pre_tokenizer = Whitespace()
    tok.add_special_tokens(words[:3])
    tok.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tok.save(str(folder / "tokenizer.json"))


@torch.no_grad()
def make(name, spec, folder):
    """One folder: the model, and its golden."""
    shutil.rmtree(folder, ignore_errors=True)
    model = draw(spec, stock_class(spec["config"].model_type))
    model.save_pretrained(folder, **({"max_shard_size": spec["shard"]} if "shard" in spec else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    if spec.get("hub_weights"):
        rewrite_weights(folder, spec["config"], spec["hub_weights"] == "newer")
    if "hub_config" in spec:
        rewrite_config(folder, {} if spec["hub_config"] is True else spec["hub_config"])
    if spec.get("tokenizer"):
        tokenizer(folder, spec["config"].get_text_config().vocab_size)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), f"{name}: {key} is not what was saved"
    ids = torch.arange(3, 31)[None]
    plain_code(model), plain_code(loaded)
    assert torch.equal(model(ids).logits, loaded(ids).logits), f"{name}: the folder is another model"
    stored = set().union(*(load_file(f) for f in folder.glob("model*.safetensors")))
    print(f"{name}: {len(stored)} tensors stored, lm_head.weight {'among' if 'lm_head.weight' in stored else 'not among'} them")
    if "twin" not in spec:
        save_file(golden(name, spec, model, folder), folder / "golden.safetensors")
    for file in folder.iterdir():
        file.chmod(0o644)


def index():
    """index.json: the folders that have a golden, in the order of the zoo."""
    with_golden = [name for name in MODELS if (HERE / name / "golden.safetensors").exists()]
    entries = [{"name": name, "family": MODELS[name]["config"].model_type} for name in with_golden]
    lines = ",\n".join("  " + json.dumps(entry) for entry in entries)
    (HERE / "index.json").write_text(f"[\n{lines}\n]\n")


def main(names):
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    unknown = [name for name in names if name not in MODELS]
    assert not unknown, f"no such model: {', '.join(unknown)}"
    for name in names or MODELS:
        make(name, MODELS[name], HERE / name)
    index()


if __name__ == "__main__":
    main(sys.argv[1:])
