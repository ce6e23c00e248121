"""Downloads the pinned wheels with pip, which brings the user's mirrors, proxies and certificates and checks the hashes."""

import os
import re
import subprocess
import sys

from report import NoNetwork, SetupError, say

_OLDEST_PIP = (20, 3)  # the first that takes --platform more than once

_NO_NETWORK = (
    "NewConnectionError", "name resolution", "Name or service not known", "nodename nor servname", "ConnectTimeout",
    "timed out", "ProxyError", "proxy", "Connection refused", "Network is unreachable", "Connection reset",
    "Connection broken", "Connection aborted", "IncompleteRead", "MaxRetryError", "SSLError",
)  # fmt: skip


# What else can be done about something that cannot be downloaded.
_OTHERWISE = {
    "libtorch": "\nor use a libtorch that you have: LIBTORCH=/its/folder, or LIBTORCH_USE_PYTORCH=1 for that of python3"
}


def download(pins, tags, into, scratch, what):
    """Puts the wheels that the file `pins` names, of the platform `tags`, into the folder `into`; everything temporary
    goes to `scratch`. `what` is what they are, in messages."""
    pip = _find_pip(scratch)
    shown = sys.stdout.isatty()
    command = pip + ["download", "--dest", str(into), "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--disable-pip-version-check"]
    command += ["--python-version", "3.12", "--implementation", "cp", "--abi", "cp312", "--abi", "none"]
    for tag in tags or ["any"]:
        command += ["--platform", tag]
    command += [] if shown else ["--quiet", "--progress-bar", "off"]
    command += ["--requirement", str(pins)]
    # pip's messages on stderr are kept back, to be explained if it fails; its progress is on stdout.
    environment = {**os.environ, "TMPDIR": str(scratch), "PIP_REQUIRE_VIRTUALENV": "0"}
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        raise _explain(done.stderr, done.returncode, what)


def _find_pip(scratch):
    """The command of a pip that works: this Python's own, else one in a throw-away environment."""
    own = [sys.executable, "-m", "pip"]
    version = _pip_version(own)
    if version is None:
        say("this Python has no pip; making a throw-away environment that has one")
        made = subprocess.run([sys.executable, "-m", "venv", str(scratch / "venv")], capture_output=True, text=True)
        own = [str(scratch / "venv" / "bin" / "python"), "-m", "pip"]
        version = _pip_version(own) if made.returncode == 0 else None
        if version is None:
            raise SetupError(
                f"{sys.executable} has neither pip nor venv, and one of them is needed to fetch wheels",
                "on Debian or Ubuntu: sudo apt install python3-venv    (or python3-pip)",
            )
    if version < _OLDEST_PIP:
        raise SetupError(
            f"the pip of {sys.executable} is too old: {version[0]}.{version[1]}, while 20.3 or newer is needed",
            f"update it: {sys.executable} -m pip install --user --upgrade pip",
        )
    return own


def _pip_version(command):
    try:
        answer = subprocess.run(command + ["--version"], capture_output=True, text=True)
    except OSError:
        return None
    found = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
    return (int(found[1]), int(found[2])) if answer.returncode == 0 and found else None


def _explain(messages, status, what):
    """pip's failure as an error that says what to do."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    retries = [line for line in lines if line.startswith("WARNING: Retrying")]
    reasons = re.findall(r"\[Errno[^'\"]+|Tunnel connection failed[^'\"]+", " ".join(retries))
    told = (reasons or retries)[-1:] + [line for line in lines if line not in retries][-4:]
    what_pip_said = "\n".join(f"pip: {line}" for line in told)
    if "DO NOT MATCH THE HASHES" in messages:
        mismatch = [line for line in lines if line.startswith(("Expected", "Got")) or "from http" in line]
        return SetupError(
            "the checksum of a downloaded wheel is not the pinned one; nothing of it was kept",
            "\n".join(f"pip: {line}" for line in mismatch)
            + "\nrun it again; if it stays so, the package index (a mirror, a proxy?) serves another file than PyPI",
        )
    if "No space left on device" in messages:
        return SetupError(f"the disk became full while {what} was downloaded", what_pip_said)
    # pip that may not retry says of a network that fails only that it found no version at all.
    if any(sign in messages for sign in _NO_NETWORK) or "(from versions: none)" in messages:
        return NoNetwork(
            f"{what} could not be downloaded: the package index cannot be reached (no network?) or lacks it",
            what_pip_said + "\ncheck the network, and pip's proxy and index settings (python3 -m pip config list), then run it again"
            + _OTHERWISE.get(what, ""),
        )
    return SetupError(f"pip could not download {what} (exit status {status})", what_pip_said)
