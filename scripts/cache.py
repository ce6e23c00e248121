"""What the set-up keeps in the user's cache: there and whole, or fetched.

A folder of the cache is complete from the moment that it has its name: everything is downloaded and unpacked in a
`partial-*` folder beside it, which is then renamed. What an interrupted run leaves is removed by the next one.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pip_download
from platforms import PLATFORMS, TORCH_VERSION, requirements
from report import SetupError, say

_STAMP = "refrain-stamp.json"


def folder():
    """Where refrain keeps what it fetches: $REFRAIN_CACHE, else refrain/ in the user's cache folder."""
    own = os.environ.get("REFRAIN_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base and os.path.isabs(base) else Path.home() / ".cache") / "refrain"


def libtorch(platform):
    """The folder of the unpacked libtorch for `platform`, fetched if it is not there or not whole."""
    final = folder() / f"libtorch-{TORCH_VERSION}-{platform}"
    pins = _pins(platform)
    if not _is_whole(final, pins):
        what = f"libtorch {TORCH_VERSION} for {platform}"

        def fill(partial):
            tags = PLATFORMS[platform][0]
            pip_download.download(requirements(platform), tags, partial / "wheels", partial / "scratch", "libtorch")
            say("unpacking")
            _unpack(sorted((partial / "wheels").glob("*.whl")), partial / "unpacked", pins)

        make(final, PLATFORMS[platform][1], what, lambda: _is_whole(final, pins), fill)
    return final


def make(final, needed, what, is_whole, fill):
    """Makes the folder `final` of the cache. `fill` puts what belongs there into `unpacked` of the folder that it is
    given, where it may use `wheels` and `scratch`; that takes `needed` gigabytes at most."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with _lock(folder() / "lock"):
            if not is_whole():  # another run may have fetched it while this one waited
                _fetch(final, needed, what, fill)
    except OSError as error:
        raise _meaning(error, what) from error


def _meaning(error, what):
    """What the system's refusal is about: the cache, or something else that `fill` needed."""
    root = folder()
    named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
    no_room = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    if no_room or any(path == root or path in root.parents or root in path.parents for path in named):
        return SetupError(
            f"cannot write the cache {root}: {error}", "free or allow that folder, or set REFRAIN_CACHE to another"
        )
    return SetupError(f"{what} could not be fetched: {error}", "nothing is wrong with the cache: see what the error names")


def _pins(platform):
    """A digest of the pinned versions and checksums, comments aside."""
    lines = [line.strip() for line in requirements(platform).read_text().splitlines()]
    return hashlib.sha256("\n".join(line for line in lines if line and line[0] != "#").encode()).hexdigest()


def _is_whole(final, pins):
    """True if `final` was unpacked from these pins and every file still has its size. Reads no file's content."""
    try:
        stamp = json.loads((final / _STAMP).read_text())
        return stamp["pins"] == pins and all(
            (final / name).stat().st_size == size for name, size in stamp["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fetch(final, needed, what, fill):
    final.parent.mkdir(parents=True, exist_ok=True)
    for left in final.parent.glob("partial-*"):
        shutil.rmtree(left, ignore_errors=True)
    if final.exists():
        say(f"{final} is damaged or of another version; fetching it again")
    free = shutil.disk_usage(final.parent).free / 1e9
    if free < needed:
        raise SetupError(
            f"fetching {what} needs {needed:.1f} GB in {final.parent}, and {free:.1f} GB are free",
            "free some space, or set REFRAIN_CACHE to a folder on another disk",
        )
    say(f"fetching {what} into {final} (once; needs {needed:.1f} GB meanwhile)")
    partial = Path(tempfile.mkdtemp(prefix="partial-", dir=final.parent))
    try:
        for name in ("wheels", "scratch", "unpacked"):
            (partial / name).mkdir()
        fill(partial)
        if final.exists():
            final.rename(partial / "replaced")
        (partial / "unpacked").rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack(wheels, into, pins):
    """Unpacks what C++ needs of the wheels, each wheel as pip would lay it out, and stamps the folder."""
    files = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if _is_wanted(member.filename):
                    archive.extract(member, into)
                    files[member.filename] = member.file_size
    if not any(name.startswith("torch/lib/libtorch_cpu.") for name in files):
        raise SetupError("the downloaded wheels hold no torch/lib/libtorch_cpu", "report this; the pinned wheels are wrong")
    (into / _STAMP).write_text(json.dumps({"torch": TORCH_VERSION, "pins": pins, "files": files}, indent=0))


def _is_wanted(name):
    """Libraries, headers and licences; of Python's part only what tells the version."""
    if name.endswith("/"):
        return False
    parts = name.split("/")
    if parts[0] == "torch":
        return parts[1] in ("lib", "include", ".dylibs", "version.py")
    if parts[0] == "nvidia":
        return parts[-2] == "lib" and ".so" in parts[-1]
    return parts[0].endswith(".dist-info")


@contextmanager
def _lock(path):
    """Only one run fetches at a time. The lock is the kernel's: it ends with the process, however that ends."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run is fetching something; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
