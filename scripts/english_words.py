#!/usr/bin/env python3
"""Makes experiments/data/english_words.txt: whole English words by how often WordNet's definitions and examples use them.

    apt-get download wordnet-base wamerican
    dpkg-deb -x wordnet-base_*.deb . && dpkg-deb -x wamerican_*.deb .
    scripts/english_words.py usr/share/wordnet usr/share/dict/american-english > experiments/data/english_words.txt

The text is WordNet 3.0's, about a million words; a word is kept if a spelling dictionary (SCOWL's) has it too, so that
neither pieces of words nor misprints are among them. Only the standard library is needed.
"""

import re
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

PARTS = ["noun", "verb", "adj", "adv"]
# Not a part of a name, a compound or a contraction.
WORD = re.compile(r"(?<![\w'-])[a-z]{3,}(?![\w'-])")
# What a definition says of a word that nobody wants to read a hundred times.
RUDE = re.compile(r"\b(offensive|disparag\w+|derogat\w+|obscen\w+|vulgar\w*|pejorative\w*|slurs?)\b")
# Words used less often say little about their frequency.
FEWEST = 5
# Many short entries of dictionaries are clippings and beginnings of other words ("con", "pro").
FEWEST_OF_THREE_LETTERS = 20
ABBREVIATIONS = {"etc"}


def entries(folder: Path):
    """Every entry's words and its text."""
    for part in PARTS:
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue  # The licence.
            fields, text = line.split("|", 1)
            fields = fields.split()
            number = int(fields[3], 16)
            words = [word.split("(")[0].lower() for word in fields[4 : 4 + 2 * number : 2]]
            yield words, text


def main() -> None:
    folder, dictionary = Path(sys.argv[1]), Path(sys.argv[2])
    spelled = set(dictionary.read_text(encoding="utf-8").split())
    counts, rude, total = Counter(), set(ABBREVIATIONS), 0
    for words, text in entries(folder):
        found = WORD.findall(text)
        counts.update(found)
        total += len(found)
        if RUDE.search(text):
            rude.update(words)

    def kept(word: str) -> bool:
        fewest = FEWEST_OF_THREE_LETTERS if len(word) == 3 else FEWEST
        # The plural of a rude word, too.
        return word in spelled and counts[word] >= fewest and not {word, word.removesuffix("s")} & rude

    words = sorted(filter(kept, counts), key=lambda word: (-counts[word], word))
    print(
        "# Whole English words by how often WordNet 3.0's definitions and examples use them: a count, then the words "
        "that have it."
    )
    print(
        f"# {len(words)} words; the text has {total} of three letters or more. Made by scripts/english_words.py; "
        "README.md has the licences:"
    )
    # The licences want their notices on every copy, which the list is, and every program that has it inside.
    readme = (Path(__file__).resolve().parent.parent / "experiments" / "data" / "README.md").read_text()
    for line in readme.partition("is made from\n\n")[2].splitlines():
        print(f"# {line}".rstrip())
    for count, group in groupby(words, key=counts.get):
        print(count, *group)


if __name__ == "__main__":
    main()
