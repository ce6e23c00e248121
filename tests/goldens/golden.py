"""The golden tensors of one model: see README.md."""

import torch
from transformers import AutoModelForCausalLM

from checks import check_inside, check_routing, check_same, check_worth
from inside import pop_routing, run
from widen import check_angles, double_model, stock_class
from zoo import PAD

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


def plain_code(model):
    """`model` set to transformers' eager attention and eager experts."""
    model.set_attn_implementation("eager")
    if model._can_set_experts_implementation():
        model.set_experts_implementation("eager")
    return model


def generate(model, ids, mask):
    """Prompts continued with NEW greedy tokens, no stopping; [batch, width + NEW] ids."""
    out = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=NEW, eos_token_id=None, pad_token_id=PAD
    )
    assert out.shape[1] == ids.shape[1] + NEW
    return out


def greedy_logits(model, generated, mask):
    """The logits that each new token was taken from, recomputed in one pass without a cache (`generate` returns its own in float32 only);
    and the routing of that pass, and its mask."""
    mask = torch.cat([mask, torch.ones(len(mask), NEW).long()], 1)
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 0)
    inside = run(model, generated, attention_mask=mask, position_ids=positions)
    logits = inside["logits"][:, -NEW - 1 : -1]
    assert torch.equal(logits.argmax(-1), generated[:, -NEW:])
    return logits, pop_routing(inside), mask


@torch.no_grad()
def golden(name, spec, model, folder):
    """All golden tensors of one model, whose folder is there already."""
    g = torch.Generator().manual_seed(1000 + spec["seed"])
    config, text = spec["config"], spec["config"].get_text_config()
    plain_code(model)
    wide = plain_code(double_model(config))
    wide.load_state_dict(model.state_dict())

    ids = tokens(text, (BATCH, POS), g)
    gold = {"input_ids": ids, "logits": run(model, ids)["logits"]}
    inside = run(wide, ids)
    routing = pop_routing(inside)
    gold |= {"logits_f64": inside.pop("logits")} | inside
    stock = plain_code(stock_class(config.model_type)(config).double().eval())  # transformers as it is, float32 inside
    stock.load_state_dict(model.state_dict())
    drift = (stock(ids).logits - gold["logits_f64"]).abs().max().item()
    assert drift < 3e-5, f"{name}: the widened module is {drift:.1e} from the stock one"
    half = plain_code(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16))
    half_inside = run(half, ids)
    gold["logits_bf16"] = half_inside["logits"].float()
    check_inside(name, text, wide, gold)
    check_angles(wide)
    for i in range(BATCH):
        check_same(name, run(wide, ids[i : i + 1])["logits"], gold["logits_f64"][i : i + 1])

    rows = [tokens(text, (n,), g) for n in LENGTHS]
    routed = [(routing, torch.ones_like(ids))]
    for side in ("left", "right"):
        ids, mask, positions = pad(rows, side)
        inside = run(wide, ids, attention_mask=mask, position_ids=positions)
        logits = inside["logits"] * mask[..., None]  # zero where padded: nothing is promised there
        routed.append((pop_routing(inside), mask))
        gold |= {f"{side}.input_ids": ids, f"{side}.attention_mask": mask, f"{side}.position_ids": positions}
        gold[f"{side}.logits_f64"] = logits
        for i, row in enumerate(rows):
            check_same(name, run(wide, row[None])["logits"][0], logits[i][mask[i] == 1])
    prompts = [tokens(text, (n,), g) for n in spec.get("prompts", PROMPTS)]
    ids, mask, _ = pad(prompts, "left")
    gold |= {"prompts.input_ids": ids, "prompts.attention_mask": mask}
    gold["generated"] = generate(wide, ids, mask)
    gold["generated.logits_f64"], *routing = greedy_logits(wide, gold["generated"], mask)
    routed.append(routing)
    assert torch.equal(gold["generated"], generate(model, ids, mask)), f"{name}: f32 generates other tokens than f64"
    for i, row in enumerate(prompts):  # transformers itself holds what refrain is asked to: batched equals one by one
        alone = generate(wide, row[None], torch.ones_like(row[None]))
        assert torch.equal(alone[0, len(row) :], gold["generated"][i, ids.shape[1] :]), f"{name}: padding changed the tokens"
    top = gold["generated.logits_f64"].topk(2).values
    margin = (top[..., 0] - top[..., 1]).min().item()
    check_worth(name, text, gold, margin, NEW)
    closest = check_routing(name, routed, pop_routing(half_inside))
    half_error = (gold["logits_bf16"].double() - gold["logits_f64"]).abs().max().item()
    print(
        f"{name}: stock double differs by {drift:.1e}, bf16 by {half_error:.1e}, smallest greedy gap {margin:.1e}"
        + (f", smallest routing gap {closest:.1e}" if closest else "")
    )
    return {k: v.contiguous() for k, v in gold.items()}
