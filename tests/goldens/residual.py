"""Writes `residual.safetensors` and `residual.json` beside three models: the residual stream of one prompt as TransformerLens takes it
apart. See README.md. `make goldens` runs this file after those that make the models.

Every value is computed in float64. No weight is folded or centred: the bridge's stacks are those of the model itself."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "peers"))

import torch
from safetensors.torch import save_file

from heads import lens_version
from lens import load
from widen import float64_everywhere

HERE = Path(__file__).parent
MODELS = ["heads/gpt2", "heads/llama-gqa", "gemma2-nocaps"]
POS, AT, LAYER = 8, 5, 1  # tokens; the position of the neurons' stack; the layer of the streams inside


def directions(model):
    """The bridge's directions of tokens, with the weight of the final norm: TransformerLens takes it for folded into W_U."""
    plain, norm = model.tokens_to_residual_directions, model.ln_final
    weight = norm.weight.detach()
    if model.cfg.architecture.startswith("Gemma"):
        weight = weight + 1  # Gemma stores it less one
    return lambda tokens: plain(tokens) * weight


def check_directions(folder, ids, answer, incorrect, found):
    """The same attribution with the norm really folded, which TransformerLens does in float32."""
    model, _ = load(folder, torch.float64)
    model.enable_compatibility_mode(
        fold_ln=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False, disable_warnings=True
    )
    _, cache = model.run_with_cache(ids)
    folded = cache.logit_attrs(cache.decompose_resid(), answer, incorrect)[:, 0]
    torch.testing.assert_close(found, folded, rtol=0, atol=1e-4)


def streams(model, ids, answer, incorrect):
    """Every stack, `[component, pos, d_model]`, and its labels."""
    logits, cache = model.run_with_cache(ids)
    assert logits.dtype == torch.float64
    top, gold, labels = model.cfg.n_layers, {"input_ids": ids, "logits": logits[0]}, {}
    model.tokens_to_residual_directions = directions(model)

    def keep(name, found):
        stack, names = found
        gold[name], labels[name] = stack[:, 0], list(names)
        return stack

    for place, where in (("", {}), (".attention", {"layer": LAYER}), (".mlp", {"layer": LAYER, "mlp_input": True})):
        keep(f"accumulated{place}", cache.accumulated_resid(incl_mid=True, return_labels=True, **where))
        stack = keep(f"decomposed{place}", cache.decompose_resid(return_labels=True, **where))
        gold[f"normalized{place}"] = cache.apply_ln_to_stack(stack, where.get("layer"), where.get("mlp_input", False))[:, 0]
    heads, neurons = cache.stack_head_results(return_labels=True), cache.stack_neuron_results(top, return_labels=True)
    attributed = {
        "accumulated": cache.accumulated_resid(incl_mid=True),
        "decomposed": cache.decompose_resid(),
        "heads": heads[0],
        "neurons": neurons[0],
    }
    for name, stack in attributed.items():
        gold[f"attrs.{name}"] = cache.logit_attrs(stack, answer, incorrect)[:, 0]
    gold["attrs_of.decomposed"] = cache.logit_attrs(attributed["decomposed"], answer)[:, 0]
    keep("heads", cache.stack_head_results(incl_remainder=True, return_labels=True))
    keep("neurons", neurons)
    gold["neurons"] = gold["neurons"][:, AT]
    lens = cache.accumulated_resid(incl_mid=True, apply_ln=True)
    gold["lens"] = model.unembed(lens.flatten(0, 1)).unflatten(0, lens.shape[:2])[:, 0]
    return gold, labels


def check(gold):
    """The golden could tell a wrong program from a right one."""
    total = gold["decomposed"].sum(0)
    torch.testing.assert_close(total, gold["accumulated"][-1], rtol=0, atol=1e-12)
    torch.testing.assert_close(gold["lens"][-1], gold["logits"], rtol=0, atol=1e-12)
    for name in ("attrs.decomposed", "attrs.heads"):
        assert (gold[name].abs() > 1e-3).double().mean() > 0.9, name
    assert gold["logits"].std() > 0.3


@torch.no_grad()
def make(name, seed):
    """Both files of one model."""
    folder = HERE / name
    model, _ = load(folder, torch.float64)
    g = torch.Generator().manual_seed(3000 + seed)
    ids = torch.randint(3, model.cfg.d_vocab, (1, POS), generator=g)
    answer, incorrect = (torch.randperm(model.cfg.d_vocab - 3, generator=g)[:2] + 3).split(1)
    with float64_everywhere():
        gold, labels = streams(model, ids, answer, incorrect)
    check(gold)
    check_directions(folder, ids, answer, incorrect, gold["attrs.decomposed"])
    # What follows attention and the MLP in Gemma 2 is not in TransformerLens's heads and neurons.
    if model.cfg.architecture.startswith("Gemma"):
        own = lambda named: {key: value for key, value in named.items() if "heads" not in key and "neurons" not in key}
        gold, labels = own(gold), own(labels)
    gold |= {"answer": answer, "incorrect": incorrect}
    save_file({key: value.contiguous() for key, value in gold.items()}, folder / "residual.safetensors")
    about = {"transformer_lens": lens_version(), "neurons_at": AT, "layer": LAYER, "labels": labels}
    (folder / "residual.json").write_text(json.dumps(about, indent=1) + "\n")
    for file in ("residual.safetensors", "residual.json"):
        (folder / file).chmod(0o644)
    print(f"{name}: {len(gold)} tensors")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for seed, name in enumerate(MODELS):
        make(name, seed)


if __name__ == "__main__":
    main()
