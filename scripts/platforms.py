"""The platforms for which a libtorch is pinned, in `libtorch-<platform>.txt` beside this file."""

import platform as host
from pathlib import Path

from report import SetupError

TORCH_VERSION = "2.11.0"
HERE = Path(__file__).resolve().parent

# name: the wheel tags that pip may take, and the space (GB) that the download and its unpacking need at most.
_LINUX_TAGS = ["manylinux_2_28", "manylinux_2_25", "manylinux_2_17", "manylinux2014"]
PLATFORMS = {
    "linux-x86_64": ([f"{tag}_x86_64" for tag in _LINUX_TAGS], 2.0),
    "linux-aarch64": ([f"{tag}_aarch64" for tag in _LINUX_TAGS], 1.6),
    "macos-arm64": (["macosx_11_0_arm64"], 0.5),
}


def current():
    """The name of this machine's platform; an error where no libtorch is pinned for it."""
    system = {"Darwin": "macos"}.get(host.system(), host.system().lower())
    name = f"{system}-{host.machine().lower()}"
    own = f"set LIBTORCH to the folder of a libtorch {TORCH_VERSION} (with lib/ and include/) that you have for this machine"
    if name not in PLATFORMS:
        raise SetupError(f"no libtorch is pinned for {name}, only for {', '.join(PLATFORMS)}", own)
    if system == "linux":
        libc, version = host.libc_ver()
        if libc != "glibc":
            raise SetupError("PyTorch's Linux libraries need glibc, and this system's Python is not built on it", own)
        if _numbers(version) < (2, 28):
            raise SetupError(f"PyTorch's Linux libraries need glibc 2.28 or newer, this system has {version}", own)
    return name


def requirements(name):
    """The file with the pinned wheels and their checksums."""
    return HERE / f"libtorch-{name}.txt"


def _numbers(version):
    return tuple(int(part) for part in version.split(".") if part.isdigit())
