"""What `transformers`' logits processors make of fixed logits: tests/goldens/processors/golden.safetensors and cases.json."""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation import GenerationConfig

HERE = pathlib.Path(__file__).parent / "processors"
VOCAB = 40
MAKERS = {
    "repetition_penalty": RepetitionPenaltyLogitsProcessor,
    "no_repeat_ngram": NoRepeatNGramLogitsProcessor,
    "temperature": TemperatureLogitsWarper,
    "top_k": TopKLogitsWarper,
    "top_p": TopPLogitsWarper,
    "min_p": MinPLogitsWarper,
}
VALUES = {
    "repetition_penalty": [1.3, 0.7, 20.0],
    "no_repeat_ngram": [1, 2, 3, 9],
    "temperature": [0.1, 0.7, 3.0],
    "top_k": [1, 3, 39, 40, 1000],
    "top_p": [1e-9, 0.1, 0.5, 0.75, 0.9, 0.999999],
    "min_p": [1e-6, 0.05, 0.3, 1.0],
}
CHAINS = [
    {"repetition_penalty": 1.3, "no_repeat_ngram": 2, "temperature": 0.7, "top_k": 12, "top_p": 0.9, "min_p": 0.02},
    {"repetition_penalty": 0.8, "temperature": 2.0, "top_k": 20, "top_p": 0.6},
    {"no_repeat_ngram": 3, "top_p": 0.4, "min_p": 0.1},
    {"temperature": 0.3, "min_p": 0.5},
    {"repetition_penalty": 5.0, "no_repeat_ngram": 1, "temperature": 1.5, "top_k": 5, "top_p": 1e-9},
]


def logits():
    generator = torch.Generator().manual_seed(20260)
    random = torch.randn(6, VOCAB, generator=generator, dtype=torch.float64) * 2.0
    flat = torch.zeros(1, VOCAB, dtype=torch.float64)
    # Ties at every rank, in an order that is not that of the ids.
    tied = torch.tensor([[float((7 * i) % VOCAB // 5) / 2 - 2 for i in range(VOCAB)]], dtype=torch.float64)
    # Probabilities 1/2, 1/4, 1/4 and nothing: sums that meet 1 - top_p exactly.
    exact = torch.full((1, VOCAB), -float("inf"), dtype=torch.float64)
    exact[0, [30, 4, 17]] = torch.log(torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64))
    peaked = random[:1].clone()
    peaked[0, 33] = 90.0
    return torch.cat([random, flat, tied, exact, peaked])


def texts(rows):
    generator = torch.Generator().manual_seed(7)
    # Few different tokens, so that n-grams come again.
    made = [torch.randint(0, 6, (2 + 3 * row,), generator=generator).tolist() for row in range(rows)]
    made[1] = [5, 5, 5, 5]
    made[2] = [38, 39, 38]
    return made


def main():
    HERE.mkdir(exist_ok=True)
    scores, prefixes = logits(), texts(10)
    tensors, cases = {}, []
    for kind in [torch.float64, torch.float32]:
        given = scores.to(kind)
        tensors[f"logits.{str(kind)[6:]}"] = given

        def record(parameters, processors):
            out = torch.cat([run(processors, prefixes[row], given[row : row + 1]) for row in range(len(prefixes))])
            name = f"case{len(cases)}"
            tensors[name] = out
            cases.append({"name": name, "kind": str(kind)[6:], "parameters": parameters})
            return not torch.equal(out, given)

        for parameter, values in VALUES.items():
            made = [record({parameter: value}, [MAKERS[parameter](value)]) for value in values]
            assert any(made), parameter
        for chain in CHAINS:
            assert record(chain, chained(chain)), chain
    save_file(tensors, HERE / "golden.safetensors")
    (HERE / "cases.json").write_text(json.dumps({"texts": prefixes, "cases": cases}, indent=1) + "\n")
    print(len(cases), "cases")


SORT = torch.sort


def run(processors, text, given):
    """One row, without padding.

    Which of several equal scores top-p keeps is left to an unstable sort, and so to the processor. Here the sort is
    stable, and how many of them are kept is as it was.
    """
    outs = []
    for sort in [SORT, lambda scores, descending: SORT(scores, descending=descending, stable=True)]:
        torch.sort = sort
        out = given.clone()
        for processor in processors:
            out = processor(torch.tensor([text]), out)
        outs.append(out)
    torch.sort = SORT
    unstable, stable = outs
    assert torch.equal(SORT(unstable)[0], SORT(stable)[0])
    return stable


def chained(chain):
    """The processors in the order in which `generate` itself puts them."""
    names = {"no_repeat_ngram": "no_repeat_ngram_size"}
    config = GenerationConfig(do_sample=True, **{"top_k": 0, **{names.get(key, key): value for key, value in chain.items()}})
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=VOCAB, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )
    config, _ = model._prepare_generation_config(config)
    processors = model._get_logits_processor(config, input_ids_seq_length=4, device="cpu", model_kwargs={})
    kinds = [type(processor) for processor in processors]
    assert kinds == [MAKERS[key] for key in MAKERS if key in chain], kinds
    return processors


if __name__ == "__main__":
    main()
