"""The tools that a build needs, looked for before anything is fetched."""

import os
import re
import shutil
import subprocess

from report import SetupError


def check(checkout):
    """Cargo, new enough for the workspace, and a C and C++ compiler."""
    cargo = os.environ.get("CARGO") or "cargo"
    rustup = "install Rust with https://rustup.rs (a distribution's own package is often too old)"
    if shutil.which(cargo) is None:
        raise SetupError(f"{cargo} is not on the PATH", rustup)
    answer = subprocess.run([cargo, "--version"], capture_output=True, text=True, cwd=checkout)
    found = re.match(r"cargo (\d+)\.(\d+)", answer.stdout)
    if answer.returncode != 0 or not found:
        raise SetupError(f"{shutil.which(cargo)} --version fails: {answer.stderr.strip()}", rustup)
    needed = re.search(r'^rust-version = "(\d+)\.(\d+)', (checkout / "Cargo.toml").read_text(), re.MULTILINE)
    if _pair(found) < _pair(needed):
        raise SetupError(
            f"{shutil.which(cargo)} is {found[1]}.{found[2]}, and refrain needs {needed[1]}.{needed[2]} or newer",
            f"update it (rustup update), or {rustup}",
        )
    for variable, default in (("CC", "cc"), ("CXX", "c++")):
        compiler = (os.environ.get(variable) or default).split()[-1]
        if shutil.which(compiler) is None:
            raise SetupError(
                f"there is no C++ compiler: {compiler} is not on the PATH",
                "on Debian or Ubuntu: sudo apt install g++; on macOS: xcode-select --install",
            )


def _pair(match):
    return int(match[1]), int(match[2])
