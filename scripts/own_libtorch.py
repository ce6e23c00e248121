"""A libtorch that the user has already: LIBTORCH, or the one of a Python that LIBTORCH_USE_PYTORCH asks for."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from platforms import TORCH_VERSION
from report import SetupError

_OTHER_WAYS = "or unset it: refrain then fetches libtorch by itself"


def from_environment(link):
    """The folder (with lib/ and include/) that the environment names, checked; None if it names none.

    `link` is `.libtorch/torch`: cargo sets LIBTORCH to it for what it runs, which is no choice of the user.
    """
    # As in torch-sys, LIBTORCH_USE_PYTORCH comes first.
    if os.environ.get("LIBTORCH_USE_PYTORCH", "") not in ("", "0"):
        return check(_of_python(), "LIBTORCH_USE_PYTORCH")
    named = os.environ.get("LIBTORCH", "")
    if not named or Path(named).absolute() == link.absolute():
        return None
    return check(Path(named).expanduser().absolute(), "LIBTORCH")


def check(root, origin):
    """`root` if it is a libtorch of the right version; `origin` says in errors who named it."""
    if not any((root / "lib" / f"libtorch_cpu.{end}").is_file() for end in ("so", "dylib")):
        raise SetupError(
            f"{origin}: there is no lib/libtorch_cpu.so (or .dylib) in {root}",
            f"it must be the folder that holds lib/ and include/ of libtorch {TORCH_VERSION}\n{_OTHER_WAYS}",
        )
    if not (root / "include" / "torch" / "csrc" / "api" / "include" / "torch" / "torch.h").is_file():
        raise SetupError(f"{origin}: {root} has the libraries of libtorch, not its headers (include/)", _OTHER_WAYS)
    version = _version(root)
    if version != TORCH_VERSION:
        raise SetupError(
            f"{origin}: {root} is libtorch {version or 'of an unknown version'}, and refrain needs {TORCH_VERSION}",
            _OTHER_WAYS,
        )
    return root


def _version(root):
    """`2.11.0`, from whichever of the files that tell it is there; None if none is."""
    for name, pattern in (("build-version", r"([\d.]+)"), ("version.py", r"__version__ = '([\d.]+)")):
        found = (root / name).is_file() and re.search(pattern, (root / name).read_text())
        if found:
            return found[1]
    header = root / "include" / "torch" / "headeronly" / "version.h"
    numbers = re.findall(r"#define TORCH_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", header.read_text() if header.is_file() else "")
    return ".".join(numbers) if len(numbers) == 3 else None


def _of_python():
    python = "python" if os.environ.get("VIRTUAL_ENV") else "python3"  # as torch-sys chooses
    asked = "import os, torch; print(os.path.dirname(torch.__file__))"
    if shutil.which(python) is None:
        raise SetupError(f"LIBTORCH_USE_PYTORCH: there is no {python} on the PATH", _OTHER_WAYS)
    answer = subprocess.run([python, "-c", asked], capture_output=True, text=True)
    if answer.returncode != 0:
        why = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise SetupError(
            f"LIBTORCH_USE_PYTORCH: {shutil.which(python)} cannot import torch: {why}",
            f"install it there: {python} -m pip install torch=={TORCH_VERSION}\n{_OTHER_WAYS}",
        )
    return Path(answer.stdout.strip().splitlines()[-1])
