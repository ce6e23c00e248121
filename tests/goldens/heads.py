"""Writes `heads/`: two small models, and what TransformerLens's activation patching and head detector find in them. See README.md.

Every value is computed in float64 and in float32, per pair. `make goldens` runs this file."""

import json
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import torch
import transformer_lens
import transformers
from transformer_lens import patching
from transformer_lens.head_detector import HEAD_NAMES, detect_head
from transformer_lens.utilities import get_act_name
from transformers import GPT2Config, LlamaConfig

from lens import load
from widen import float64_everywhere, stock_class
from zoo import draw
from zoo.spec import IDS, WINDOW, spec

HERE = Path(__file__).parent / "heads"
PAIRS, POS, VOCAB, HEADS = 4, 12, 101, 4
# The corrupted prompts' own tokens: in `late` pairs of one or several places, the last among them; in `first`
# nothing is shared.
SETS = {"late": ([5], [5, 6, 10], [11], [2, 8]), "first": ([0], [0, 1], [0, 5, 11], [0, 3, 4])}
DTYPES = {"f64": torch.float64, "f32": torch.float32}
ALL_POS = [f"get_act_patch_attn_head_{kind}_all_pos" for kind in ("out", "q", "k", "v", "pattern")]
BY_POS = [f"get_act_patch_attn_head_{kind}_by_pos" for kind in ("out", "q", "k", "v", "pattern")]
BLOCKS = [f"get_act_patch_{place}" for place in ("resid_pre", "resid_mid", "attn_out", "mlp_out")]
ENTRIES = "get_act_patch_attn_head_pattern_dest_src_pos"  # the one large table: only of `late`, only in float64

SIZES = dict(vocab_size=VOCAB, **IDS)
MODELS = {
    "gpt2": spec(GPT2Config(n_embd=32, n_layer=3, n_head=HEADS, n_positions=WINDOW, **SIZES), 90, 2.0),
    "llama-gqa": spec(
        LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=HEADS, num_key_value_heads=2,
            max_position_embeddings=WINDOW, **SIZES,
        ),
        91,
        2.0,
    ),
}  # fmt: skip

NOTES = [
    "Denoising: an activation of the clean run replaces the one of the corrupted run; the values are the metric itself, not normalised.",
    "TransformerLens 4 wraps the modules of transformers (TransformerBridge); no weight is processed.",
    "float64: transformers' and TransformerLens's casts to float32 are lifted, and float64 is torch's default during a sweep, since "
    "TransformerLens keeps the values in the default dtype.",
    "resid_mid: in TransformerLens 4 this name is the input of the second norm, so that what a hook returns reaches the MLP but not the "
    "stream around it. Its sweep writes in place and so means the stream only while gradients are off, as they are here; with gradients on "
    "it copies first and gives other numbers.",
    "detect_head with error_measure abs rounds to three decimals.",
]
GROUPED = [
    "Grouped queries: the sweeps over k and v iterate over the key/value heads and give that many columns (transformer_lens.patching "
    "itself, checked against a plain loop of run_with_hooks).",
    "get_act_patch_attn_head_all_pos_every and _by_pos_every append columns of zeros to k and v up to the number of query heads; these "
    "zeros are no measurement and are not stored.",
]


def pairs(name, g):
    """Clean and corrupted ids. No token occurs in both but where they are the same, and none of them is special."""
    clean = torch.stack([torch.randperm(VOCAB - 3, generator=g)[:POS] + 3 for _ in range(PAIRS)])
    corrupted = clean.clone()
    for row, places in enumerate(SETS[name]):
        unused = sorted(set(range(3, VOCAB)) - set(clean[row].tolist()))
        for place in places:
            corrupted[row, place] = unused.pop(int(torch.randint(len(unused), (), generator=g)))
    return clean, corrupted


def plain_loop(model, corrupted, cache, metric, kind, by_pos):
    """A sweep over `hook_k` or `hook_v` without transformer_lens.patching."""
    rows = []
    for layer in range(model.cfg.n_layers):
        name = f"blocks.{layer}.attn.hook_{kind}"
        clean = cache[name]
        for pos in range(POS) if by_pos else [slice(None)]:
            for head in range(clean.shape[2]):

                def patch(value, hook):
                    value = value.clone()
                    value[:, pos, head] = clean[:, pos, head]
                    return value

                rows.append(metric(model.run_with_hooks(corrupted, fwd_hooks=[(name, patch)])))
    return torch.stack(rows, -1).unflatten(-1, (model.cfg.n_layers, *([POS] if by_pos else []), -1))


def sweep(model, function, corrupted, cache, metric):
    """[pair, *axes], and the names of the axes."""
    found = getattr(patching, function)(model, corrupted, cache, metric, reduce="none")
    axes = ["pair"] + [{"head_index": "head"}.get(axis, axis) for axis in found.axis_names]
    return found.values.movedim(-1, 0), axes


def run(model, name, clean, corrupted, answers, kind):
    """The metric of the clean and the corrupted run, and every sweep."""

    def metric(logits):
        last = logits[:, -1]
        return (last.gather(1, answers[:, :1]) - last.gather(1, answers[:, 1:]))[:, 0]

    logits, cache = model.run_with_cache(clean)
    found = {"clean": metric(logits), "corrupted": metric(model(corrupted))}
    for function in ALL_POS + BY_POS + BLOCKS + ([ENTRIES] if (name, kind) == ("late", "f64") else []):
        found[function], axes = sweep(model, function, corrupted, cache, metric)
        assert found[function].dtype == DTYPES[kind]
        found[function + ".axes"] = axes
    for k in ("k", "v"):
        for by_pos, function in ((False, f"get_act_patch_attn_head_{k}_all_pos"), (True, f"get_act_patch_attn_head_{k}_by_pos")):
            plain = plain_loop(model, corrupted, cache, metric, k, by_pos)
            torch.testing.assert_close(found[function], plain, rtol=0, atol=1e-5 if kind == "f32" else 1e-12)
    every = patching.get_act_patch_attn_head_all_pos_every(model, corrupted, cache, lambda logits: metric(logits).mean())
    for values, function in zip(every, ALL_POS):
        mean, columns = found[function].mean(0), found[function].shape[-1]
        torch.testing.assert_close(values[:, :columns], mean, rtol=0, atol=1e-5 if kind == "f32" else 1e-12)
        assert (values[:, columns:] == 0).all()  # see the second of GROUPED
    check(model, cache, found, name)
    return found


def check(model, cache, found, name):
    """The golden could tell a wrong program from a right one: attention chooses, and patches have effects where they can."""
    for layer in range(model.cfg.n_layers):
        widest = cache[get_act_name("pattern", layer)][:, :, -1].amax(-1)
        assert (widest > 2 / POS).all(), f"layer {layer} attends evenly: {widest}"
    assert ((found["clean"] - found["corrupted"]).abs() > 0.5).all(), found["clean"] - found["corrupted"]
    # The stream of the last layer at the last position decides all: see NOTES.
    restored = found["get_act_patch_resid_mid"][:, -1, -1]
    torch.testing.assert_close(restored, found["clean"], rtol=0, atol=1e-5)
    for function in ALL_POS:
        effect = (found[function] - found["corrupted"][:, None, None]).abs()
        share = (effect > 1e-3).double().mean().item()
        assert share > 0.6, f"{function}: {share:.2f} of the effects are larger than 1e-3"


def numbers(tensor):
    """Nested lists; float32 with as many digits as it takes to read it back."""
    if tensor.dim():
        return [numbers(t) for t in tensor]
    return tensor.item() if tensor.dtype != torch.float32 else float(f"{tensor.item():.9g}")


def detector(models, g):
    """Three copies of ten random tokens, and the score of every head."""
    ids = (torch.randperm(VOCAB - 3, generator=g)[:10] + 3).repeat(3).tolist()
    found, words = {"ids": ids}, " ".join(map(str, ids))
    for head in HEAD_NAMES:
        found[head] = {
            measure: {
                kind: numbers(detect_head(model, words, head, error_measure=measure, exclude_bos=False, exclude_current_token=False))
                for kind, model in models.items()
            }
            for measure in ("abs", "mul")
        }
    return found


def text(value, depth=0):
    """JSON with a line for each entry of the outer objects."""
    if not isinstance(value, dict) or not value or depth == 5:
        return json.dumps(value, separators=(",", ":"))
    inner = ",\n".join(" " * (depth + 1) + json.dumps(k) + ": " + text(v, depth + 1) for k, v in value.items())
    return "{\n" + inner + "\n" + " " * depth + "}"


@torch.no_grad()
def make(name, how):
    """One folder: the model and `activation_patching.json`."""
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    draw(how, stock_class(how["config"].model_type)).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    loaded = {kind: load(folder, dtype) for kind, dtype in DTYPES.items()}
    models = {kind: model for kind, (model, _) in loaded.items()}
    grouped = how["config"].model_type == "llama"
    golden = {
        "versions": {m.__name__: m.__version__ for m in (torch, transformers)} | {"transformer_lens": lens_version()},
        "notes": NOTES + (GROUPED if grouped else []),
        "metric": "logit of the answer minus logit of the foil, at the last position, per pair",
        "sets": {},
    }
    g = torch.Generator().manual_seed(2000 + how["seed"])
    for which in SETS:
        clean, corrupted = pairs(which, g)
        moved = models["f64"](clean)[:, -1] - models["f64"](corrupted)[:, -1]
        answers = torch.stack([moved.argmax(-1), moved.argmin(-1)], 1)  # what the corruption moved most
        found = {}
        for kind, model in models.items():
            with float64_everywhere() if kind == "f64" else torch.no_grad():
                found[kind] = run(model, which, clean, corrupted, answers, kind)
        entry = {
            "clean_ids": clean.tolist(),
            "corrupted_ids": corrupted.tolist(),
            "answer_ids": answers[:, 0].tolist(),
            "foil_ids": answers[:, 1].tolist(),
        }
        for key in ("clean", "corrupted"):
            entry[key] = {kind: numbers(values[key]) for kind, values in found.items()}
        entry["sweeps"] = {
            function: {"source": f"transformer_lens.patching.{function}", "axes": found["f64"][function + ".axes"]}
            | {kind: numbers(values[function]) for kind, values in found.items() if function in values}
            for function in found["f64"]
            if function.startswith("get_") and not function.endswith(".axes")
        }
        golden["sets"][which] = entry
        apart = max((found["f32"][f].double() - found["f64"][f]).abs().max().item() for f in ALL_POS + BY_POS + BLOCKS)
        print(f"heads/{name}, {which}: float32 is at most {apart:.1e} from float64")
    golden["detect_head"] = detector(models, g)
    (folder / "activation_patching.json").write_text(text(golden) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def lens_version():
    from importlib.metadata import version

    return version("transformer-lens")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    patching.tqdm = lambda rows: rows  # no progress bars
    for name, how in MODELS.items():
        make(name, how)


if __name__ == "__main__":
    main()
