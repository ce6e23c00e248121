"""What other tokenizers make of vocabularies as GGUF stores them: tests/goldens/gguf-tokenizers/*.json.

byte-level.json: one small vocabulary of byte-level BPE, and its ids under every way to split text that refrain knows by
name, by the tokenizers library. It was trained without any split, so that its merges cross every boundary that a split
draws, and a boundary in the wrong place shows in the ids. The splits are written as llama.cpp's llama-vocab.cpp has
them, where its form is not an approximation, and not as in refrain.

sentencepiece.json: small SentencePiece models and their ids by SentencePiece itself. It never sees special tokens in a
text: those are cut out first, as in llama.cpp.
"""

import io
import itertools
import json
import pathlib
import re
import unicodedata

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent / "gguf-tokenizers"

TEXTS = [
    "",
    " ",
    "  ",
    "a ",
    "Hello world",
    " Hello  world   again",
    "  double",
    "\n",
    "a\n\nb\n \n c\n",
    "a\r\nb \r\n\r\nc",
    "tab\there\t\tand\t there",
    "\u00bd \u00b2 x\u00b2 10\u00bd",
    "1 12 123 1234567 3.14159",
    "\u0661\u0662\u0663 \u0664\u0665",
    "don't I'll we've they're I'm he'd it's",
    "DON'T I'LL WE'VE 'S",
    "(ab) [cd], {ef}; $5 + <6> = ~`11`",
    "emoji \U0001f600 \U0001f469\u200d\U0001f4bb\U0001f3f3\ufe0f\u200d\U0001f308!",
    "e\u0301 \u00e9 a\u0308o\u0308 \u0301x",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 123\u3002\u4e2d\u6587abc",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35",
    "zero\u200bwidth\u2060\ufeff \u00a0nbsp\u3000wide",
    "a\u2581b \u2581 \u2581\u2581",
    "<s>Hello</s> <s> <|user|>\nHi <think> there<div><|end|>\n",
    "<0x41><0x0A> [EMPTY_3]",
    "camelCaseHTMLParser snake_case HTTPServer /path//to/",
    "def f(x):\n    return x  # no!\n\t\tpass\n",
    "https://example.com/a?b=c&d=e#f",
    "          ten" + " " * 40,
    "!!!???...---/// \n/x .\n/x ;\r\n//y",
    "\u01c5ungla \u01c6 \u02b0h \u00aa\u2160\u2170",
    "it'sabc I'llx we'vey they'rez I'mX he'dA 'tis 'll've DON'TX",
    "word\n   next\r  more\rAB\nCD  \r x\n \n  y",
    "x*abc 1+abc x#1",
    "\rab\nab 12ab 3ab .ab ..ab  ab\u0301ab\u0301",
    "A\u01c5a AbC aBC ABc \u01c5\u01c5b A\u02b0B a\u02b0b A\u65e5b \u65e5Ab \u65e5A E\u0301e\u0301E E\u0301E b\u01c5 \u02b0A \u0301A",
    "$abc +abc ^ab 1$2 a_b __x a-b 5% \u2014x \u2014\u2014 x\u2014\n\u30fb\u3042x\u4e00 \uac00\ud7a3\u0905",
    "\u0000\u0001\u007f\ufffd",
]
LONG = 10_000

LLAMA3 = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+END|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*END|"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
    r" ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# `tokenizer.ggml.pre`, the expressions, and what else belongs to it.
SPLITS = [
    (["gpt-2", "phi-2", "jais"], [GPT2], set()),
    (["olmo", "mpt"], [GPT2], {"nfc"}),
    (["smollm", "starcoder", "refact", "exaone"], [r"\p{N}", GPT2], set()),
    (["command-r"], [r"\p{N}", GPT2], {"nfc"}),
    (["llama-bpe", "llama3", "llama-v3"], [LLAMA3], {"whole", "bos"}),
    (["dbrx", "smaug-bpe"], [LLAMA3], set()),
    (["qwen2"], [LLAMA3.replace("{1,3}", "")], {"nfc"}),
    (["deepseek-r1-qwen", "stablelm2"], [LLAMA3.replace("{1,3}", "")], set()),
    (
        ["qwen35"],
        [
            LLAMA3.replace("{1,3}", "")
            .replace(r"?\p{L}+", r"?[\p{L}\p{M}]+")
            .replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
        ],
        {"nfc"},
    ),
    (
        ["seed-coder"],
        [LLAMA3.replace("{1,3}", "{1}").replace(r"[^\s\p{L}\p{N}]+[\r\n]*", r"[^\s\p{L}\p{N}\r\n]+")],
        set(),
    ),
    (["tekken"], [CASED.replace("END", "") + r"\p{N}|" + REST], {"whole", "bos"}),
    (["gpt-4o", "llama4"], [CASED.replace("END", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?") + r"\p{N}{1,3}|" + REST], set()),
    (["deepseek-v3"], [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK], set()),
    (
        ["deepseek-coder"],
        [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
        set(),
    ),
]


def runs(ids):
    """A long list of ids as [id, how often]."""
    return [[key, len(list(group))] for key, group in itertools.groupby(ids)]


def pieces(pre_tokenizer, text):
    """The characters of each piece that a text is split into."""
    spans = [span for _, span in pre_tokenizer.pre_tokenize_str(text)]
    return [end - start for start, end in spans]


def byte_level():
    """The vocabulary, and the ids under each split."""
    bare = Tokenizer(models.BPE())
    bare.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    corpus = TEXTS + ["a" * 64] + [unicodedata.normalize("NFC", text) for text in TEXTS]
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        min_frequency=2,
        max_token_length=8,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    bare.train_from_iterator(corpus, trainer)
    model = json.loads(bare.to_str())["model"]
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    # Without some merges their tokens are reached only where a word that is a token is taken whole.
    merges = [pair for number, pair in enumerate(model["merges"]) if number % 5 != 3]
    added = [("<s>", 3), ("</s>", 3), ("<|user|>", 3), ("<|end|>", 3), ("<think>", 4), ("[PAD0]", 5)]
    kinds = [1] * len(tokens) + [kind for _, kind in added]
    vocabulary = {
        "model": "gpt2",
        "tokens": tokens + [token for token, _ in added],
        "kinds": kinds,
        "merges": [" ".join(pair) for pair in merges],
        "bos": len(tokens),
        "eos": len(tokens) + 1,
    }
    cases = []
    for names, expressions, more in SPLITS:
        ids = {token: number for number, token in enumerate(vocabulary["tokens"])}
        oracle = Tokenizer(models.BPE(ids, [tuple(pair) for pair in merges], ignore_merges="whole" in more))
        oracle.add_special_tokens([AddedToken(token, normalized=False) for token, kind in added if kind == 3])
        oracle.add_tokens([AddedToken(token, normalized=False) for token, kind in added if kind == 4])
        if "nfc" in more:
            oracle.normalizer = normalizers.NFC()
        steps = [pre_tokenizers.Split(Regex(expression), "isolated") for expression in expressions]
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
        oracle.pre_tokenizer = pre_tokenizers.Sequence(steps)
        encode = lambda text: oracle.encode(text, add_special_tokens=False).ids
        cases.append(
            {
                "names": names,
                "nfc": "nfc" in more,
                "bos": "bos" in more,
                "pieces": [pieces(oracle.pre_tokenizer, text) for text in TEXTS],
                "ids": [encode(text) for text in TEXTS],
                "long": runs(encode("a" * LONG)),
            }
        )
    for one, other in itertools.combinations(cases, 2):
        assert (one["ids"], one["bos"]) != (other["ids"], other["bos"]), f"no text tells {one['names'][0]} from {other['names'][0]}"
    return {"vocabulary": vocabulary, "texts": TEXTS, "cases": cases}


def sentencepiece_case(name, prefix, fallback, user, specials):
    """A SentencePiece model, and what it makes of the texts."""
    corpus = [line for text in TEXTS for line in text.split("\n") if line and "\0" not in text] * 3 + ["a" * 40] * 3
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus),
        model_writer=written,
        model_type="bpe",
        vocab_size=640 if fallback else 380,
        hard_vocab_limit=False,
        character_coverage=0.98,
        byte_fallback=fallback,
        add_dummy_prefix=prefix,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        split_digits=True,
        split_by_unicode_script=False,
        allow_whitespace_only_pieces=True,
        control_symbols=specials,
        user_defined_symbols=user,
        num_threads=1,
        minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = proto.pieces
    # What llama.cpp's converter writes.
    tokens = [piece.piece.replace("\u2581", " ") if piece.type == 4 else piece.piece for piece in pieces]
    vocabulary = {
        "model": "llama",
        "pre": "default",
        "tokens": tokens,
        "scores": [piece.score for piece in pieces],
        "kinds": [piece.type for piece in pieces],
        "bos": model.bos_id(),
        "eos": model.eos_id(),
        "unknown": model.unk_id(),
        "add_space_prefix": prefix,
    }
    # llama.cpp cuts user-defined tokens out as well, and so the text after them has a prefix of its own.
    cut = [number for number, piece in enumerate(pieces) if piece.type in ((2, 3, 4) if prefix else (2, 3))]
    cut = {tokens[number]: number for number in cut}
    expression = re.compile("(" + "|".join(re.escape(token) for token in sorted(cut, key=len, reverse=True)) + ")")

    def encode(text):
        parts = [part for part in expression.split(text) if part]
        return [number for part in parts for number in ([cut[part]] if part in cut else model.encode(part))]

    ids = [encode(text) for text in TEXTS]
    used = {number for row in ids for number in row}
    assert fallback == any(pieces[number].type == 6 for number in used), name
    assert fallback or model.unk_id() in used, name
    return {"name": name, "vocabulary": vocabulary, "ids": ids, "long": runs(encode("a" * LONG))}


def main():
    HERE.mkdir(exist_ok=True)
    spaces = ["\u2581" * count for count in range(2, 9)]
    cases = [
        sentencepiece_case("a prefix, bytes", True, True, ["<think>", "<div>"], ["<|user|>", "<|end|>"]),
        sentencepiece_case("no prefix, runs of spaces", False, True, ["\n", "\n\n", "<div>", *spaces], ["<|user|>"]),
        sentencepiece_case("no bytes", True, False, ["<think>"], ["<|end|>"]),
    ]
    for name, golden in [("byte-level", byte_level()), ("sentencepiece", {"texts": TEXTS, "cases": cases})]:
        text = json.dumps(golden, separators=(",", ":"))
        (HERE / f"{name}.json").write_text(text.replace('{"n', '\n{"n') + "\n")


if __name__ == "__main__":
    main()
