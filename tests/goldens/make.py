"""Writes the golden models and outputs with `transformers`: see README.md. Run `make goldens`, or this file within the versions of requirements.txt."""

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

from widen import double_class
from zoo import CLASSES, MODELS, PAD, draw

HERE = Path(__file__).parent
BATCH, POS, NEW = 2, 10, 20
LENGTHS = [10, 7, 3]  # of the padded batches
PROMPTS = [8, 5, 2]  # lengths of the left-padded generation prompts


def tokens(config, shape, g):
    """Random ids, none of them special."""
    return torch.randint(3, config.vocab_size, shape, generator=g)


def pad(rows, side):
    """Rows of unequal length as one batch: ids, mask, and the positions as `generate` makes them."""
    width = max(len(r) for r in rows)
    ids = torch.full((len(rows), width), PAD)
    mask = torch.zeros_like(ids)
    for i, r in enumerate(rows):
        at = slice(width - len(r), width) if side == "left" else slice(0, len(r))
        ids[i, at], mask[i, at] = r, 1
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    return ids, mask, positions


def run(model, ids, **kw):
    """One forward pass; tensors named as in the golden file, without the suffix for the dtype."""
    inside = {}
    blocks = model.transformer.h if hasattr(model, "transformer") else model.model.layers
    handles = []
    for layer, block in enumerate(blocks):
        attn = block.attn if hasattr(block, "attn") else block.self_attn
        for name, module in (("attn_out", attn), ("mlp_out", block.mlp), ("resid_post", block)):

            def keep(_, __, out, key=f"{name}.{layer}"):
                inside[key] = (out[0] if isinstance(out, tuple) else out).clone()

            handles.append(module.register_forward_hook(keep))
    out = model(input_ids=ids, output_hidden_states=True, output_attentions=True, use_cache=False, **kw)
    for handle in handles:
        handle.remove()
    for layer in range(len(blocks)):  # the last of hidden_states comes after the final norm
        inside[f"resid_pre.{layer}"] = out.hidden_states[layer]
        inside[f"pattern.{layer}"] = out.attentions[layer]
    inside["final_norm"] = out.hidden_states[-1]
    inside["logits"] = out.logits
    return inside


def generate(model, ids, mask):
    """Prompts continued with NEW greedy tokens, no stopping; [batch, width + NEW] ids."""
    out = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, eos_token_id=None, pad_token_id=PAD
    )
    assert out.shape[1] == ids.shape[1] + NEW
    return out


def greedy_logits(model, generated, mask):
    """The logits that each new token was taken from, recomputed in one pass without a cache (`generate` returns its own in float32 only)."""
    mask = torch.cat([mask, torch.ones(len(mask), NEW).long()], 1)
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    logits = run(model, generated, attention_mask=mask, position_ids=positions)["logits"][:, -NEW - 1 : -1]
    assert torch.equal(logits.argmax(-1), generated[:, -NEW:])
    return logits


def check_worth(name, gold, margin):
    """A golden that cannot tell a wrong program from a right one is no golden."""
    for key, p in gold.items():
        if key.startswith("pattern."):
            uniform = torch.arange(1, p.shape[-1] + 1).double().log()[None, None]
            entropy = -(p.clamp_min(1e-300).log() * p).sum(-1)
            assert (entropy / uniform)[..., 1:].mean() < 0.9, f"{name}: {key} is nearly uniform"
            assert torch.allclose(p.sum(-1), torch.ones(()).double(), atol=1e-12), f"{name}: {key} is not in double precision"
    assert gold["logits_f64"].std() > 1, f"{name}: flat logits"
    assert (gold["logits"].double() - gold["logits_f64"]).abs().max() < 3e-5, f"{name}: f32 and f64 disagree"
    assert margin > 1e-3, f"{name}: a greedy choice rests on a gap of {margin:.1e}; take another seed"
    kinds = [row[-NEW:].unique().numel() for row in gold["generated"]]
    assert min(kinds) >= 5, f"{name}: the answers have {kinds} distinct tokens, too few to tell much; take another seed"


@torch.no_grad()
def golden(name, spec, model):
    """All golden tensors of one model."""
    g = torch.Generator().manual_seed(1000 + spec["seed"])
    config = spec["config"]
    model.set_attn_implementation("eager")
    wide = double_class(spec["family"])(config).double().eval()
    wide.set_attn_implementation("eager")
    wide.load_state_dict(model.state_dict())
    if spec["family"] == "llama":
        rotary = wide.model.rotary_emb
        init = rotary.compute_default_rope_parameters
        if rotary.rope_type != "default":
            init = sys.modules["transformers.modeling_rope_utils_widened"].ROPE_INIT_FUNCTIONS[rotary.rope_type]
        rotary.inv_freq = init(config)[0]
        assert rotary.inv_freq.dtype == torch.float64

    ids = tokens(config, (BATCH, POS), g)
    gold = {"input_ids": ids, "logits": run(model, ids)["logits"]}
    inside = run(wide, ids)
    gold |= {"logits_f64": inside.pop("logits")} | inside
    stock = CLASSES[spec["family"]](config).double().eval()  # transformers as it is, float32 inside
    stock.load_state_dict(model.state_dict())
    drift = (stock(ids).logits - gold["logits_f64"]).abs().max().item()
    assert drift < 3e-5, f"{name}: the widened module is {drift:.1e} from the stock one"

    rows = [tokens(config, (n,), g) for n in LENGTHS]
    for side in ("left", "right"):
        ids, mask, positions = pad(rows, side)
        logits = run(wide, ids, attention_mask=mask, position_ids=positions)["logits"]
        gold |= {f"{side}.input_ids": ids, f"{side}.attention_mask": mask, f"{side}.position_ids": positions}
        gold[f"{side}.logits_f64"] = logits * mask[..., None]  # zero where padded: nothing is promised there
    prompts = [tokens(config, (n,), g) for n in PROMPTS]
    ids, mask, _ = pad(prompts, "left")
    gold |= {"prompts.input_ids": ids, "prompts.attention_mask": mask}
    gold["generated"] = generate(wide, ids, mask)
    gold["generated.logits_f64"] = greedy_logits(wide, gold["generated"], mask)
    assert torch.equal(gold["generated"], generate(model, ids, mask)), f"{name}: f32 generates other tokens than f64"
    for i, row in enumerate(prompts):  # transformers itself holds what refrain is asked to: batched equals one by one
        alone = generate(wide, row[None], torch.ones_like(row[None]))
        assert torch.equal(alone[0, len(row) :], gold["generated"][i, ids.shape[1] :]), f"{name}: padding changed the tokens"
    top = gold["generated.logits_f64"].topk(2).values
    margin = (top[..., 0] - top[..., 1]).min().item()
    check_worth(name, gold, margin)
    print(f"{name}: stock double differs by {drift:.1e}, smallest greedy gap {margin:.1e}")
    return {k: v.contiguous() for k, v in gold.items()}


def rewrite_config(folder):
    """config.json in the hub's spelling."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def hub_layout(folder, model):
    """GPT-2 as the hub's `gpt2` has it: no `transformer.` before the names, and the causal mask stored as a weight."""
    weights = {k: v.contiguous() for k, v in model.transformer.state_dict().items()}
    window = model.config.n_positions
    for layer in range(model.config.n_layer):
        weights[f"h.{layer}.attn.bias"] = torch.ones(window, window).tril()[None, None].contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def tokenizer(folder, vocab_size):
    """A tokenizer of whole words: three special ones and w3, w4, ...; it puts <bos> before a text when asked to add special tokens."""
    words = ["<pad>", "<bos>", "<unk>"] + [f"w{i}" for i in range(3, vocab_size)]
    tok = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tok.pre_tokenizer = Whitespace()
    tok.add_special_tokens(words[:3])
    tok.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    tok.save(str(folder / "tokenizer.json"))


def main():
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, spec in MODELS.items():
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model = draw(spec)
        model.save_pretrained(folder, **({"max_shard_size": spec["shard"]} if "shard" in spec else {}))
        (folder / "generation_config.json").unlink(missing_ok=True)
        if name == "gpt2-hub":
            hub_layout(folder, model)
        if spec.get("hub_config"):
            rewrite_config(folder)
        if spec.get("tokenizer"):
            tokenizer(folder, spec["config"].vocab_size)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        for key, value in model.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[key]), f"{name}: {key} is not what was saved"
        ids = torch.arange(3, 13)[None]
        assert torch.equal(model(ids).logits, loaded(ids).logits), f"{name}: the folder is another model"
        stored = set().union(*(load_file(f) for f in folder.glob("model*.safetensors")))
        print(f"{name}: {len(stored)} tensors stored, lm_head.weight {'among' if 'lm_head.weight' in stored else 'not among'} them")
        if "twin" not in spec:
            save_file(golden(name, spec, model), folder / "golden.safetensors")
        for file in folder.iterdir():
            file.chmod(0o644)


if __name__ == "__main__":
    main()
