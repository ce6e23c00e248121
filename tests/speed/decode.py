"""Prefill and greedy decoding, refrain against transformers, side by side on random models of given shapes.

`make bench-decode` makes the virtual environment, builds the program and runs this. Both sides get the same safetensors, prompt, number of
threads and dtype, and take turns, a process each. Appends a line per round to docs/benchmarks/decode.csv."""

import argparse
import csv
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ("gpt2-small", "qwen2-7b", "smollm2")


def write(shape, folder, dtype):
    """A random model of the shape, as transformers draws and saves it; smollm2 is SmolLM2-135M-Instruct itself, dequantised."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    kind = getattr(torch, dtype)
    torch.set_default_dtype(kind)
    if shape == "smollm2":
        from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

        cache = Path(os.environ.get("REFRAIN_CACHE") or Path.home() / ".cache" / "refrain") / "models" / "smollm2"
        file = next(cache.glob("*.gguf"), None) or sys.exit("fetch it first: refrain fetch smollm2")
        stored = AutoModelForCausalLM.from_pretrained(cache, gguf_file=file.name, dtype=torch.float32)
        keep = ("vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim hidden_act "
                "max_position_embeddings rms_norm_eps rope_parameters tie_word_embeddings bos_token_id eos_token_id").split()
        config = LlamaConfig(**{key: getattr(stored.config, key) for key in keep})
        model = LlamaForCausalLM(config)
        model.load_state_dict(stored.state_dict())
    elif shape == "gpt2-small":
        model = GPT2LMHeadModel(GPT2Config())
    else:
        config = Qwen2Config(
            vocab_size=152064, hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4
        )
        model = Qwen2ForCausalLM(config)
    model.to(kind).save_pretrained(folder)


def theirs(args):
    """What decode-speed.rs does, with transformers: `generate` with its cache, sdpa attention."""
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    torch.set_num_threads(args.threads)
    kind = getattr(torch, args.dtype)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=kind, attn_implementation="sdpa").eval().to(args.device)
    row = lambda r: [(i * 7919 + 13 + 31 * r) % model.config.vocab_size for i in range(args.prompt)]
    ids = torch.tensor([row(r) for r in range(args.batch)], device=args.device)
    mask = torch.ones_like(ids)

    def settle():
        if ids.is_cuda:
            torch.cuda.synchronize()

    @torch.no_grad()
    def prefill():
        start = time.perf_counter()
        model(ids, past_key_values=DynamicCache(config=model.config), use_cache=True, logits_to_keep=1)
        settle()
        return time.perf_counter() - start

    @torch.no_grad()
    def generate(new):
        start = time.perf_counter()
        out = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=new, eos_token_id=None, pad_token_id=0)
        settle()
        assert out.shape[1] == args.prompt + new
        return time.perf_counter() - start, out[0, args.prompt :].tolist()

    prefill()
    generate(2)
    prefills, decodes, answer = [], [], []
    for _ in range(args.repeats):
        prefills.append(prefill())
        short, _ = generate(1)
        long, answer = generate(args.new + 1)
        decodes.append((long - short) / args.new)
    print(json.dumps({"prefill_s": prefills, "decode_s_per_token": decodes, "tokens": answer}))


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def last_json(command):
    out = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out.strip().splitlines()[-1])


def compare(args):
    folder = Path(args.folder or ROOT / "target" / "speed" / f"{args.shape}-{args.dtype}")
    if not (folder / "config.json").exists():
        print(f"writing a random {args.shape} to {folder}", file=sys.stderr)
        write(args.shape, folder, args.dtype)
    short = {"float32": "f32", "bfloat16": "bf16"}[args.dtype]
    numbers = [str(n) for n in (args.threads, args.prompt, args.new, args.repeats)]
    ours = [str(args.program), str(folder), args.device, short, *numbers, str(args.batch), args.path]
    own = [sys.executable, __file__, "--theirs", "--folder", str(folder), "--device", args.device, "--dtype", args.dtype]
    own += ["--threads", numbers[0], "--prompt", numbers[1], "--new", numbers[2], "--repeats", numbers[3], "--batch", str(args.batch)]
    rows, gathered = [], {"refrain": [], "transformers": []}
    for round_ in range(args.rounds):
        for side, command in (("refrain", ours), ("transformers", own)):
            found = last_json(command)
            gathered[side].append(found)
            prefill, decode = median(found["prefill_s"]), median(found["decode_s_per_token"])
            print(f"round {round_}: {side:12} prefill {1e3 * prefill:8.1f} ms   decode {args.batch / decode:7.1f} tokens/s", file=sys.stderr)
            rows.append((side, round_, prefill, args.batch / decode))
    same = gathered["refrain"][0]["tokens"] == gathered["transformers"][0]["tokens"]
    each = {side: [r[2:] for r in rows if r[0] == side] for side in gathered}
    prefill = median([p for p, _ in each["transformers"]]) / median([p for p, _ in each["refrain"]])
    decode = median([d for _, d in each["refrain"]]) / median([d for _, d in each["transformers"]])
    print(f"prefill {prefill:.2f}x, decode {decode:.2f}x of transformers; the same {len(gathered['refrain'][0]['tokens'])} tokens: {same}")

    import torch
    import transformers

    path = ROOT / "docs" / "benchmarks" / "decode.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    machine = torch.cuda.get_device_name(0) if args.device.startswith("cuda") else cpu()
    with path.open("a", newline="") as file:
        out = csv.writer(file)
        if new:
            out.writerow("date machine shape dtype device threads prompt new batch path side version round prefill_ms decode_tokens_per_s".split())
        for side, round_, p, d in rows:
            version = transformers.__version__ if side == "transformers" else commit()
            out.writerow(
                [datetime.date.today(), machine, args.shape, args.dtype, args.device, args.threads, args.prompt, args.new, args.batch, args.path, side, version, round_]
                + [f"{1e3 * p:.2f}", f"{d:.2f}"]
            )


def cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip() or "unknown"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="gpt2-small")
    parser.add_argument("--folder")
    parser.add_argument("--program", default=ROOT / "target" / "release" / "decode-speed")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--path", choices=("fast", "step", "general"), default="step", help="how refrain decodes; fast also runs tokens ahead")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--theirs", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    theirs(args) if args.theirs else compare(args)


if __name__ == "__main__":
    main()
