"""What a golden must hold to be one."""

import torch

from inside import anatomy


def check_worth(name, config, gold, margin, new):
    """A golden that cannot tell a wrong program from a right one is no golden."""
    for key, p in gold.items():
        if key.startswith("pattern."):
            uniform = torch.arange(1, p.shape[-1] + 1).double().log()[None, None]
            seen = (p > 0).sum(-1).double().log()  # fewer than causal where a window cuts
            entropy = -(p.clamp_min(1e-300).log() * p).sum(-1)
            assert torch.all(seen <= uniform + 1e-12), f"{name}: {key} looks ahead"
            assert (entropy / seen)[..., 1:].mean() < 0.9, f"{name}: {key} is nearly uniform"
            assert torch.allclose(p.sum(-1), torch.ones(()).double(), atol=1e-12), f"{name}: {key} is not in double precision"
    # a final soft cap squeezes the logits on purpose: only a cap's own share of them is asked for
    cap = getattr(config, "final_logit_softcapping", None)
    assert gold["logits_f64"].std() > (min(1.0, 0.25 * cap) if cap else 1), f"{name}: flat logits"
    assert (gold["logits"].double() - gold["logits_f64"]).abs().max() < 3e-5, f"{name}: f32 and f64 disagree"
    assert margin > 1e-3, f"{name}: a greedy choice rests on a gap of {margin:.1e}; take another seed"
    kinds = [row[-new:].unique().numel() for row in gold["generated"]]
    assert min(kinds) >= 5, f"{name}: the answers have {kinds} distinct tokens, too few to tell much; take another seed"


def check_same(name, a, b):
    """The same rows in another batch, or without their padding, give the same numbers: no float32 is left, and no padding leaks."""
    off = (a - b).abs().max().item()
    assert off < 1e-12, f"{name}: another batch layout changes the logits by {off:.1e}"


def check_inside(name, config, model, gold):
    """Blocks are the sum of their recorded parts, in every architecture where they are."""
    family = config.model_type
    for layer, block in enumerate(anatomy(model)[0]):
        total = gold[f"resid_pre.{layer}"] + gold[f"attn_out.{layer}"] + gold[f"mlp_out.{layer}"]
        if family == "gemma4_text":
            if config.hidden_size_per_layer_input:
                continue  # a third part, from the per-layer embeddings
            total = total * block.layer_scalar
        if family == "opt" and not config.do_layer_norm_before:
            stream = block.self_attn_layer_norm(gold[f"resid_pre.{layer}"] + gold[f"attn_out.{layer}"])
            total = block.final_layer_norm(stream + gold[f"mlp_out.{layer}"])
        off = (total - gold[f"resid_post.{layer}"]).abs().max().item()
        assert off < 1e-12, f"{name}: block {layer} is not the sum of its parts, off by {off:.1e}"


def check_routing(name, routed, half):
    """Every expert is used, experts are chosen with a margin (so that f32 routes as f64 does), and bfloat16 chooses the same. `routed`: by
    pass, what its routers gave and the mask of its tokens; the first pass is that of `half`. Gives the smallest margin."""
    gaps = []
    for routers, mask in routed:
        for scores, chosen in routers:
            k = chosen.shape[-1]
            best = scores[mask.reshape(-1) == 1].topk(k + 1).values
            gaps.append((best[:, k - 1] - best[:, k]).min().item())
    for (scores, chosen), (_, rough) in zip(routed[0][0], half):
        assert chosen.unique().numel() == scores.shape[-1], f"{name}: not every expert is used"
        assert torch.equal(chosen.sort().values, rough.sort().values), f"{name}: bfloat16 routes otherwise; take another seed"
    if half:
        clear = min(gaps[: len(half)])
        assert clear > 0.03, f"{name}: bfloat16 might route otherwise, a choice rests on {clear:.1e}; take another seed"
    assert not gaps or min(gaps) > 1e-3, f"{name}: a routing rests on a gap of {min(gaps):.1e}; take another seed"
    return min(gaps, default=None)
