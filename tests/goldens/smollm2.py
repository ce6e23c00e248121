"""Reference values of SmolLM2-135M-Instruct as its GGUF file has it: what transformers computes with the dequantised weights.

    python tests/goldens/smollm2.py FILE.gguf

The file is that of `refrain fetch smollm2`. Token ids are given, because transformers ignores the tokenizer's `.pre`.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

# "When Mary and John went to the store, John gave a drink to", a counted list, and a text of several scripts.
PROMPTS = json.loads((Path(__file__).parent / "smollm2-prompts.json").read_text())
COLUMNS = 40


def main(file):
    path = Path(file)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    model = model.to(torch.float64).eval()
    cases = []
    for prompt in PROMPTS:
        with torch.no_grad():
            logits = model(torch.tensor([prompt["tokens"]])).logits[0]
            greedy = model.generate(torch.tensor([prompt["tokens"]]), max_new_tokens=12, do_sample=False)[0]
        last = logits[-1]
        top = torch.topk(last, 10)
        columns = torch.arange(0, last.numel(), last.numel() // COLUMNS)[:COLUMNS]
        cases.append(
            {
                "text": prompt["text"],
                "tokens": prompt["tokens"],
                "top": top.indices.tolist(),
                "top_logits": top.values.tolist(),
                "columns": columns.tolist(),
                "logits": last[columns].tolist(),
                "first_logits": logits[0, columns].tolist(),
                "entropy": torch.distributions.Categorical(logits=last).entropy().item(),
                "greedy": greedy[len(prompt["tokens"]) :].tolist(),
            }
        )
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    (Path(__file__).parent / "smollm2.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1])
