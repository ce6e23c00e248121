#!/usr/bin/env python3
"""Makes the checkout ready to build: checks the tools, finds or fetches libtorch, and links it as `.libtorch`.

`.cargo/config.toml` names `.libtorch/torch`, so that afterwards plain `cargo build` works. Standard library only.
"""

import os
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
if sys.version_info < (3, 8):
    sys.exit("setup: error: Python 3.8 or newer is needed, this is " + sys.version.split()[0])

import cache  # noqa: E402
import own_libtorch  # noqa: E402
import platforms  # noqa: E402
import tools  # noqa: E402
from report import SetupError, say, say_error  # noqa: E402

CHECKOUT = Path(__file__).resolve().parent.parent
LINK = CHECKOUT / ".libtorch"


def main():
    tools.check(CHECKOUT)
    before = os.path.realpath(LINK / "torch") if os.path.lexists(LINK) else None
    own = own_libtorch.from_environment(LINK / "torch") or _chosen_earlier()
    if own:
        _link_own(own)
        say(f"ready: libtorch {platforms.TORCH_VERSION} of your own, in {own}")
    else:
        fetched = cache.libtorch(platforms.current())
        _replace(LINK, fetched)
        say(f"ready: libtorch {platforms.TORCH_VERSION} in {fetched}")
    if before != os.path.realpath(LINK / "torch"):
        _forget_builds()


def _chosen_earlier():
    """The user's own libtorch that an earlier set-up linked: it stays until `.libtorch` is removed."""
    if LINK.is_symlink() or not (LINK / "torch").is_symlink():
        return None
    root = Path(os.readlink(LINK / "torch"))
    try:
        return own_libtorch.check(root, "the libtorch that .libtorch/torch links")
    except SetupError as error:
        error.hint = f"to let refrain fetch libtorch by itself: rm -r {LINK}"
        raise


def _link_own(root):
    """`.libtorch` becomes a folder that holds the link `torch`; for a fetched libtorch it is itself a link."""
    if LINK.is_symlink():
        LINK.unlink()
    LINK.mkdir(exist_ok=True)
    _replace(LINK / "torch", root)


def _replace(link, target):
    """Makes `link` a link to `target` in one step, so that a build that runs meanwhile never misses it."""
    if link.is_symlink() and os.readlink(link) == str(target):
        return
    if link.is_dir() and not link.is_symlink():
        if not (link / "torch").is_symlink() or len(list(link.iterdir())) != 1:
            raise SetupError(f"{link} is a folder, and the set-up makes a link of that name", "move it away")
        (link / "torch").unlink()
        link.rmdir()
    beside = link.with_name(f"{link.name}.{os.getpid()}.tmp")
    beside.symlink_to(target)
    os.replace(beside, link)


def _forget_builds():
    """Cargo does not see that `.libtorch` leads elsewhere now: make it build the binding, and what links it, anew."""
    if not (CHECKOUT / os.environ.get("CARGO_TARGET_DIR", "target")).is_dir():
        return
    say("another libtorch than before: what was built against the earlier one will be built again")
    cargo = os.environ.get("CARGO") or "cargo"
    for profile in ([], ["--release"]):
        done = subprocess.run(
            [cargo, "clean", "--quiet", "--package", "torch-sys", *profile], cwd=CHECKOUT, stderr=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            say(f"`cargo clean` failed ({done.stderr.strip()}); remove the folder target/ before you build")
            return


if __name__ == "__main__":
    try:
        main()
    except SetupError as error:
        say_error(error)
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted; nothing incomplete was kept")
        sys.exit(130)
