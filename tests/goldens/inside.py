"""One pass of a model, with what happens inside it."""

# The modules of a block whose outputs are added to the residual stream: attention's and the MLP's. Where a norm
# follows the sublayer before the addition, that norm.
SUBLAYERS = {
    "gpt2": ("attn", "mlp"),
    "gpt_neo": ("attn", "mlp"),
    "gptj": ("attn", "mlp"),
    "gpt_neox": ("attention", "mlp"),
    "opt": ("self_attn", "fc2"),
    "gemma2": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma3_text": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "gemma4_text": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "olmo2": ("post_attention_layernorm", "post_feedforward_layernorm"),
}


def anatomy(model):
    """The blocks of a model, and its final norm (None where it has none)."""
    body = model.base_model
    body = getattr(body, "language_model", getattr(body, "decoder", body))
    blocks = body.h if hasattr(body, "h") else body.layers
    final = next((getattr(body, name) for name in ("ln_f", "final_layer_norm", "norm") if hasattr(body, name)), None)
    return list(blocks), final


def routers(model):
    return [m for m in model.modules() if type(m).__name__.endswith("Router")]


def run(model, ids, **kw):
    """One forward pass; tensors named as in the golden file, without the suffix for the dtype. Of a mixture of experts also `routing.L`, the
    log probabilities [batch * pos, expert] of its L-th router, and `experts.L`, those chosen."""
    inside = {}
    handles = []
    blocks, final = anatomy(model)
    family = model.config.get_text_config().model_type
    attn, mlp = SUBLAYERS.get(family, ("self_attn", "mlp"))

    def keep(key, module):
        def hook(_, __, out):
            out = out[0] if isinstance(out, tuple) else out
            inside[key] = out.reshape(*ids.shape, -1).clone()

        handles.append(module.register_forward_hook(hook))

    def keep_input(key, module):
        def hook(_, args, kwargs):
            inside[key] = (args[0] if args else kwargs["hidden_states"]).clone()

        handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def keep_routing(at, module):
        def hook(_, __, out):
            # Gemma 4's router gives probabilities, the others' logits
            inside[f"routing.{at}"] = out[0].log() if family == "gemma4_text" else out[0].log_softmax(-1)
            inside[f"experts.{at}"] = out[2]

        handles.append(module.register_forward_hook(hook))

    for layer, block in enumerate(blocks):
        keep(f"attn_out.{layer}", getattr(block, attn))
        keep(f"mlp_out.{layer}", getattr(block, mlp))
        keep(f"resid_post.{layer}", block)
        keep_input(f"resid_pre.{layer}", block)
    if final is not None:
        keep("final_norm", final)
    for at, router in enumerate(routers(model)):
        keep_routing(at, router)
    out = model(input_ids=ids, output_attentions=True, use_cache=False, **kw)
    for handle in handles:
        handle.remove()
    for layer in range(len(blocks)):
        inside[f"pattern.{layer}"] = out.attentions[layer]
    if final is None:
        inside["final_norm"] = inside[f"resid_post.{len(blocks) - 1}"].clone()
    inside["logits"] = out.logits
    return inside


def pop_routing(inside):
    """Takes the routing out of what `run` gave: by router, the log probabilities and the experts chosen."""
    n = sum(key.startswith("routing.") for key in inside)
    return [(inside.pop(f"routing.{at}"), inside.pop(f"experts.{at}")) for at in range(n)]

