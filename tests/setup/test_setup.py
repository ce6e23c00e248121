#!/usr/bin/env python3
"""Tests of the set-up script and of the one that fetches models, with the real pip against a small package index on this machine. No network, a few seconds.

Each test works on a throw-away copy of `scripts/` whose pinned wheels are tiny ones made here.
"""

import base64
import hashlib
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.dont_write_bytecode = True
REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY / "scripts"))
import platforms  # noqa: E402

PLATFORM = platforms.current()
LIBRARY = "torch/lib/libtorch_cpu." + ("dylib" if PLATFORM.startswith("macos") else "so")
TAG = platforms.PLATFORMS[PLATFORM][0][0]
TORCH_WHEEL = f"torch-2.11.0-cp312-cp312-{TAG}.whl"
CUPTI_WHEEL = f"nvidia_cuda_cupti-13.0.85-py3-none-{TAG}.whl"


class Index(http.server.ThreadingHTTPServer):
    """A package index; counts what is asked of it, and can stop in the middle of a wheel."""

    daemon_threads = True

    def __init__(self, wheels):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.wheels = wheels
        self.requests = []
        self.stall = False
        self.stalled = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/simple/"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(self.path)
        name = self.path.rstrip("/").rsplit("/", 1)[-1]
        if self.path.startswith("/simple/"):
            wheels = [wheel for wheel in self.server.wheels if wheel.split("-")[0].replace("_", "-") == name]
            page = "".join(f'<a href="/wheels/{wheel}">{wheel}</a>' for wheel in wheels)
            self._send(f"<!DOCTYPE html><html><body>{page}</body></html>".encode(), "text/html")
        elif self.server.stall and name == TORCH_WHEEL:
            self._send(self.server.wheels[name], "application/zip", stop_after=1000)
        else:
            self._send(self.server.wheels[name], "application/zip")

    def _send(self, body, kind, stop_after=None):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:stop_after])
        if stop_after:
            self.wfile.flush()
            self.server.stalled.set()
            time.sleep(60)

    def log_message(self, *_):
        pass


def wheel(name, version, files):
    """The bytes of a wheel with these files."""
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b'=').decode()},{len(body)}\n"
        for path, body in files.items()
    )
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w") as archive:
            for path, body in files.items():
                archive.writestr(path, body)
            archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
        file.seek(0)
        return file.read()


def libtorch_files(version="2.11.0"):
    """What of a libtorch the set-up looks at, by path below its root."""
    return {
        LIBRARY[len("torch/") :]: b"library " * 4000,
        "include/torch/csrc/api/include/torch/torch.h": b"#pragma once\n",
        "version.py": f"__version__ = '{version}+cpu'\n".encode(),
    }


def make_libtorch(root, version="2.11.0"):
    for path, body in libtorch_files(version).items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(body)
    return root


class Setting:
    """A checkout, a cache and an index in a temporary folder."""

    def __init__(self, root, python):
        self.root, self.python = Path(root), python
        self.checkout, self.cache = self.root / "checkout", self.root / "cache"
        self.final = self.cache / f"libtorch-2.11.0-{PLATFORM}"
        shutil.copytree(REPOSITORY / "scripts", self.checkout / "scripts")
        (self.checkout / "Cargo.toml").write_text('rust-version = "1.88"\n')
        self.tool("cargo", 'echo "cargo 1.95.0"')
        torch = {f"torch/{path}": body for path, body in libtorch_files().items()}
        torch["torch/nn/functional.py"] = b"unneeded = True\n"
        cupti = {"nvidia/cu13/lib/libcupti.so.13": b"cupti", "nvidia/cu13/include/cupti.h": b"unneeded"}
        self.index = Index(
            {
                TORCH_WHEEL: wheel("torch", "2.11.0", torch),
                CUPTI_WHEEL: wheel("nvidia_cuda_cupti", "13.0.85", cupti),
            }
        )
        self.pins = {"torch==2.11.0": TORCH_WHEEL, "nvidia-cuda-cupti==13.0.85": CUPTI_WHEEL}
        self._write_pins()

    def pin(self, name, file, body):
        """Has the index serve `body` as `file`, and pins it."""
        self.index.wheels[file], self.pins[name] = body, file
        self._write_pins()

    def _write_pins(self):
        hashes = {name: hashlib.sha256(self.index.wheels[file]).hexdigest() for name, file in self.pins.items()}
        (self.checkout / "scripts" / f"libtorch-{PLATFORM}.txt").write_text(
            "# pinned by the test\n" + "".join(f"{name} --hash=sha256:{digest}\n" for name, digest in hashes.items())
        )

    def tool(self, name, script):
        """Puts an executable before all others on the PATH."""
        (self.root / "bin").mkdir(exist_ok=True)
        (self.root / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.root / "bin" / name).chmod(0o755)

    def environment(self, **more):
        kept = {k: v for k, v in os.environ.items() if not k.upper().startswith(("PIP_", "LIBTORCH", "PYTHON", "XDG_"))}
        for name in ("CARGO", "CARGO_TARGET_DIR", "VIRTUAL_ENV", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            kept.pop(name, None)
        return {
            **kept,
            "PATH": f"{self.root / 'bin'}:{os.environ['PATH']}",
            "REFRAIN_CACHE": str(self.cache),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": self.index.url,
            "PIP_RETRIES": "0",
            **{key: str(value) for key, value in more.items()},
        }

    def model(self, parts, terms=None, sha256=None, licences=(b"licence",)):
        """Has the index serve a model cut into these parts, a wheel a part, and lists it as `small`. The licences go to
        the wheels in turn."""
        wheels, members = {}, []
        for number, body in enumerate(parts, 1):
            name, member = f"small_part{number}", f"small_part{number}/data/small.gguf.part{number}"
            file = f"{name}-1.0-py3-none-any.whl"
            licence = licences[(number - 1) % len(licences)]
            self.index.wheels[file] = wheel(name, "1.0", {member: body, f"{name}-1.0.dist-info/LICENSE": licence})
            wheels[f"small-part{number}==1.0"] = hashlib.sha256(self.index.wheels[file]).hexdigest()
            members.append(member)
        whole = b"".join(parts)
        entry = {"name": "small", "about": "a model", "file": "small.gguf", "bytes": len(whole), "license": "its own"}
        entry.update(sha256=sha256 or hashlib.sha256(whole).hexdigest(), terms=terms, members=members, wheels=wheels)
        (self.checkout / "scripts" / "models.json").write_text(json.dumps([entry]))
        return self.cache / "models" / "small" / "small.gguf"

    def start(self, script="setup.py", arguments=(), **more):
        return subprocess.Popen(
            [self.python, str(self.checkout / "scripts" / script), *arguments],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Whoever runs the tests may ignore Control-C (a shell does so for what it runs in the background).
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def fetch(self, *arguments, **more):
        """The exit status and everything that was said when a model was asked for."""
        return self.run("fetch_model.py", arguments, **more)

    def run(self, script="setup.py", arguments=(), **more):
        """The exit status and everything that was said."""
        process = self.start(script, arguments, **more)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said

    def succeeds(self, **more):
        status, said = self.run(**more)
        assert status == 0, f"exit status {status}:\n{said}"
        return said

    def fails(self, *expected, **more):
        status, said = self.run(**more)
        assert status == 1 and "Traceback" not in said, f"exit status {status}:\n{said}"
        for text in ("setup: error:", "setup: hint:", *expected):
            assert text in said, f"not said: {text!r}\n{said}"
        return said

    def cached(self, name):
        """True if a file that ends so is anywhere in the cache. (`os.walk` bears folders that vanish meanwhile.)"""
        return any(f"{folder}/{file}".endswith(name) for folder, _, files in os.walk(self.cache) for file in files)

    def assert_nothing_kept(self):
        left = [path.name for path in self.cache.iterdir() if path.name != "lock"] if self.cache.exists() else []
        assert left == [], f"left in the cache: {left}"
        assert not os.path.lexists(self.checkout / ".libtorch"), "there is a link to nothing"

    def assert_ready(self):
        assert (self.final / LIBRARY).read_bytes() == b"library " * 4000
        assert sorted(path.name for path in self.cache.iterdir()) == [self.final.name, "lock"]
        assert os.readlink(self.checkout / ".libtorch") == str(self.final)


# ------------------------------------------------------------------------------------------------------- the
# fetched one


def test_a_first_run_fetches_what_cpp_needs(s):
    s.succeeds()
    s.assert_ready()
    assert (s.final / "nvidia/cu13/lib/libcupti.so.13").is_file()
    assert not (s.final / "torch/nn").exists() and not (s.final / "nvidia/cu13/include").exists()


def test_a_whole_cache_is_used_without_pip_and_network(s):
    s.succeeds()
    asked = len(s.index.requests)
    s.succeeds(PYTHONPATH=without_pip(s))
    assert len(s.index.requests) == asked, s.index.requests[asked:]


def test_a_damaged_cache_is_fetched_again(s):
    s.succeeds()
    for damage in (
        lambda: (s.final / LIBRARY).write_bytes(b"cut short"),
        lambda: (s.final / "refrain-stamp.json").write_text("{"),
        lambda: shutil.rmtree(s.final / "torch/include"),
    ):
        damage()
        assert "damaged" in s.succeeds()
        s.assert_ready()


def test_other_pins_are_fetched_anew(s):
    s.succeeds()
    pins = s.checkout / "scripts" / f"libtorch-{PLATFORM}.txt"
    pins.write_text("\n".join(pins.read_text().splitlines()[:2]) + "\n")  # torch alone
    s.succeeds()
    s.assert_ready()
    assert not (s.final / "nvidia").exists()


def test_no_network_is_said_and_nothing_kept(s):
    s.fails("cannot be reached (no network?)", PIP_INDEX_URL="http://127.0.0.1:9/simple/")
    s.assert_nothing_kept()
    said = s.fails("cannot be reached (no network?)", PIP_INDEX_URL="http://no-such-host.invalid/simple/", PIP_RETRIES="1")
    assert "Retrying" not in said, said
    s.assert_nothing_kept()


def test_a_mirror_without_the_wheels_is_said(s):
    del s.index.wheels[TORCH_WHEEL]
    s.fails("or lacks it", "No matching distribution")
    s.assert_nothing_kept()


def test_a_wrong_checksum_is_said_and_nothing_kept(s):
    s.index.wheels[TORCH_WHEEL] = wheel("torch", "2.11.0", {LIBRARY: b"something else"})
    s.fails("the checksum of a downloaded wheel is not the pinned one", "Expected sha256", "Got")
    s.assert_nothing_kept()


def test_a_download_that_breaks_off_is_said_and_nothing_kept(s):
    s.index.stall = True
    s.fails("cannot be reached", PIP_TIMEOUT="1")
    s.assert_nothing_kept()
    s.index.stall = False
    s.succeeds()
    s.assert_ready()


def test_a_run_killed_in_the_download_does_not_poison_the_cache(s):
    s.index.stall = True
    process = s.start()
    assert s.index.stalled.wait(30), "the download never began"
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert [path.name for path in s.cache.glob("partial-*")], "killed too late or too early to tell anything"
    s.index.stall = False
    s.succeeds()
    s.assert_ready()


def test_a_run_killed_while_unpacking_does_not_poison_the_cache(s):
    # A Python that stops after the first file of an archive.
    (s.root / "slow").mkdir()
    (s.root / "slow" / "sitecustomize.py").write_text(
        "import time, zipfile\n"
        "extract = zipfile.ZipFile.extract\n"
        "zipfile.ZipFile.extract = lambda *given: (extract(*given), time.sleep(60))\n"
    )
    process = s.start(PYTHONPATH=s.root / "slow")
    while not s.cached(".dist-info/METADATA") and not s.cached("libcupti.so.13"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not s.cached(LIBRARY), "killed too late to tell anything"
    assert not s.final.exists()
    s.succeeds()
    s.assert_ready()


def test_control_c_leaves_nothing(s):
    s.index.stall = True
    process = s.start()
    assert s.index.stalled.wait(30)
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in said, said
    s.assert_nothing_kept()


def test_two_at_once_fetch_once(s):
    s.index.stall = True
    first = s.start(PIP_TIMEOUT="60")
    assert s.index.stalled.wait(30)
    s.index.stall = False
    second = s.start()
    time.sleep(0.7)
    assert second.poll() is None, "the second did not wait"
    os.killpg(first.pid, signal.SIGKILL)  # the lock ends with its holder, and the waiting one goes on
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0 and "waiting" in said, said
    s.assert_ready()

    shutil.rmtree(s.cache)
    del s.index.requests[:]
    both = [s.start(), s.start()]
    for process in both:
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
    s.assert_ready()
    downloads = [path for path in s.index.requests if path.endswith(TORCH_WHEEL)]
    assert len(downloads) == 1, downloads


def test_a_folder_that_cannot_be_written_is_named(s):
    s.cache.write_text("a file, where the cache should be")
    s.fails(str(s.cache), "REFRAIN_CACHE")


def test_a_full_disk_is_foreseen(s):
    table = s.checkout / "scripts" / "platforms.py"
    table.write_text(table.read_text().replace("], 2.0)", "], 2e9)").replace("], 1.6)", "], 2e9)").replace("], 0.5)", "], 2e9)"))
    s.fails("GB are free", "REFRAIN_CACHE")
    assert s.index.requests == []
    s.assert_nothing_kept()


# ------------------------------------------------------------------------------------------------------------ the tools


def without_pip(s):
    """A PYTHONPATH that hides pip and venv."""
    for module in ("pip", "venv"):
        (s.root / "hidden").mkdir(exist_ok=True)
        (s.root / "hidden" / f"{module}.py").write_text("raise SystemExit(1)\n")
    return s.root / "hidden"


def test_neither_pip_nor_venv_names_the_package(s):
    s.fails("neither pip nor venv", "sudo apt install python3-venv", PYTHONPATH=without_pip(s))
    s.assert_nothing_kept()


def test_no_pip_makes_a_throw_away_environment(s):
    (s.root / "hidden").mkdir()
    # Hidden in this Python, not in the environment's: that one is another prefix.
    (s.root / "hidden" / "pip.py").write_text("import sys; sys.exit(1)\n")
    (s.root / "hidden" / "venv.py").write_text(
        "import os, sys\n"
        "os.makedirs(sys.argv[1] + '/bin')\n"
        "python = sys.argv[1] + '/bin/python'\n"
        f"open(python, 'w').write('#!/bin/sh\\nunset PYTHONPATH\\nexec {s.python} \"$@\"\\n')\n"
        "os.chmod(python, 0o755)\n"
    )
    assert "throw-away" in s.succeeds(PYTHONPATH=s.root / "hidden")
    s.assert_ready()


def test_an_old_pip_is_said(s):
    (s.root / "hidden").mkdir()
    (s.root / "hidden" / "pip.py").write_text("print('pip 20.0.2 from /usr/lib')\n")
    s.fails("20.0", "--upgrade pip", PYTHONPATH=s.root / "hidden")


def test_an_old_cargo_is_said_before_anything_is_fetched(s):
    s.tool("cargo", 'echo "cargo 1.63.0"')
    s.fails("1.63", "1.88", "rustup")
    assert s.index.requests == []


def test_no_cargo_is_said(s):
    s.fails("cargo-that-is-not-there is not on the PATH", "rustup", CARGO="cargo-that-is-not-there")


def test_no_compiler_is_said(s):
    s.fails("c++-that-is-not-there", "sudo apt install g++", CXX="c++-that-is-not-there")


# --------------------------------------------------------------------------------------------------- the user's own one


def test_libtorch_is_linked_and_stays_chosen(s):
    own = make_libtorch(s.root / "own")
    s.succeeds(LIBTORCH=own)
    assert os.path.realpath(s.checkout / ".libtorch" / "torch") == str(own.resolve())
    s.succeeds()
    assert os.path.realpath(s.checkout / ".libtorch" / "torch") == str(own.resolve())
    assert s.index.requests == [] and not s.cache.exists()
    # What cargo sets for the programs that it runs is no choice.
    s.succeeds(LIBTORCH=s.checkout / ".libtorch" / "torch")

    shutil.rmtree(own)
    s.fails(str(own), f"rm -r {s.checkout.resolve() / '.libtorch'}")
    shutil.rmtree(s.checkout / ".libtorch")
    s.succeeds()
    s.assert_ready()


def test_a_plain_zip_of_libtorch_is_taken(s):
    own = make_libtorch(s.root / "own")
    (own / "version.py").unlink()
    (own / "build-version").write_text("2.11.0+cpu\n")
    s.succeeds(LIBTORCH=own)
    (own / "build-version").unlink()
    header = own / "include/torch/headeronly/version.h"
    header.parent.mkdir(parents=True)
    numbers = zip(("MAJOR", "MINOR", "PATCH", "ABI_TAG"), (2, 11, 0, 0))
    header.write_text("".join(f"#define TORCH_VERSION_{name} {number}\n" for name, number in numbers))
    s.succeeds(LIBTORCH=own)


def test_libtorch_that_is_none_is_named(s):
    (s.root / "empty").mkdir()
    s.fails(f"no lib/libtorch_cpu.so (or .dylib) in {s.root / 'empty'}", LIBTORCH=s.root / "empty")
    own = make_libtorch(s.root / "own", "2.8.0")
    s.fails(f"{own} is libtorch 2.8.0, and refrain needs 2.11.0", LIBTORCH=own)
    shutil.rmtree(own / "include")
    s.fails("not its headers", LIBTORCH=own)
    assert s.index.requests == []
    s.assert_nothing_kept()


def test_pytorch_of_a_python_is_linked(s):
    own = make_libtorch(s.root / "site-packages" / "torch")
    (own / "__init__.py").write_text("")
    s.succeeds(LIBTORCH_USE_PYTORCH="1", PYTHONPATH=own.parent)
    assert os.path.realpath(s.checkout / ".libtorch" / "torch") == str(own.resolve())
    assert s.index.requests == []


def test_a_python_without_pytorch_is_said(s):
    (s.root / "torch").mkdir()
    (s.root / "torch" / "__init__.py").write_text("raise ImportError('no torch here')\n")
    s.fails("cannot import torch", "pip install torch==2.11.0", LIBTORCH_USE_PYTORCH="1", PYTHONPATH=s.root)
    s.assert_nothing_kept()


def test_another_libtorch_makes_cargo_build_the_binding_again(s):
    log = s.root / "cargo.log"
    s.tool("cargo", f'echo "cargo 1.95.0"; echo "$*" >> {log}')
    expected = ["clean --quiet --package torch-sys", "clean --quiet --package torch-sys --release"]

    def cleaned():
        lines = log.read_text().splitlines()
        log.write_text("")
        return [line for line in lines if line.startswith("clean")]

    s.succeeds()
    assert cleaned() == []  # nothing is built yet
    (s.checkout / "target").mkdir()
    s.succeeds()
    assert cleaned() == []
    s.succeeds(LIBTORCH=make_libtorch(s.root / "own"))
    assert cleaned() == expected
    s.succeeds()
    assert cleaned() == []
    shutil.rmtree(s.checkout / ".libtorch")
    s.succeeds()
    assert cleaned() == expected


# ---------------------------------------------------------------------------------------------------- models


def test_a_model_is_joined_from_its_wheels_once(s):
    path = s.model([b"first ", b"second ", b"third"])
    status, said = s.fetch("small")
    assert status == 0 and str(path) in said, said
    assert path.read_bytes() == b"first second third" and (path.parent / "LICENSE").read_bytes() == b"licence"
    asked = len(s.index.requests)
    status, said = s.fetch("small", PYTHONPATH=without_pip(s))
    assert status == 0 and said.strip() == str(path) and len(s.index.requests) == asked, said
    path.write_bytes(b"cut")
    status, said = s.fetch("small")
    assert status == 0 and "damaged" in said and path.read_bytes() == b"first second third", said


def test_every_licence_of_a_model_is_kept_once(s):
    path = s.model([b"1", b"2", b"3"], licences=(b"of the weights", b"of the code"))
    status, said = s.fetch("small")
    kept = (path.parent / "LICENSE").read_text()
    assert status == 0 and kept.count("of the weights") == kept.count("of the code") == 1, (said, kept)
    assert "small_part1-1.0.dist-info/LICENSE:" in kept, kept


def test_what_is_not_the_cache_is_not_blamed_on_it(s):
    (s.checkout / "scripts" / "odd.py").write_text(
        "import cache, report\n"
        "def fill(partial): open('/nowhere/at/all')\n"
        "def full(partial): raise OSError(28, 'No space left on device')\n"
        "for filled in (fill, full):\n"
        "    try: cache.make(cache.folder() / 'x', 0.0, 'a thing', lambda: False, filled)\n"
        "    except report.SetupError as error: report.say_error(error)\n"
    )
    status, said = s.run("odd.py")
    lines = said.splitlines()
    assert status == 0 and any("error: a thing could not be fetched" in line and "/nowhere" in line for line in lines), said
    assert any("cannot write the cache" in line and "No space left" in line for line in lines), said


def test_a_model_with_terms_is_fetched_once_they_are_accepted(s):
    path = s.model([b"body"], terms=["The terms of this model.", "They have two lines."])
    status, said = s.fetch("small")
    assert status == 2 and "fetch: The terms of this model." in said and "fetch: hint: add --accept-license" in said, said
    assert not path.exists() and s.index.requests == []
    status, said = s.fetch("small", "--accept-license")
    assert status == 0 and "They have two lines." in said and path.read_bytes() == b"body", said


def test_a_model_that_is_another_is_not_kept(s):
    path = s.model([b"body"], sha256="0" * 64)
    status, said = s.fetch("small")
    assert status == 2 and "fetch: error: small.gguf has the checksum" in said and "Traceback" not in said, said
    assert not path.exists() and not s.cached("small.gguf")
    status, said = s.fetch("large")
    assert status == 2 and "no model `large`" in said and "small: a model, its own" in said, said


def test_a_model_without_a_network_is_said(s):
    path = s.model([b"body"])
    status, said = s.fetch("small", PIP_INDEX_URL="http://127.0.0.1:9/simple/")
    assert status == 3 and "small could not be downloaded" in said and "LIBTORCH" not in said, said
    assert not path.exists()


def outcome(test, python):
    """What there is to say about a test that failed; None if it passed."""
    root = os.path.realpath(tempfile.mkdtemp(prefix="refrain-setup-"))
    setting = Setting(root, python)
    try:
        test(setting)
        return None
    except Exception:
        return traceback.format_exc()
    finally:
        setting.index.shutdown()
        setting.index.server_close()
        shutil.rmtree(root, ignore_errors=True)


def main():
    tests = {name: test for name, test in globals().items() if name.startswith("test_")}
    wanted = [name for name in tests if not sys.argv[1:] or any(part in name for part in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as shared, ThreadPoolExecutor(os.cpu_count()) as pool:
        python = sys.executable
        if subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode != 0:
            subprocess.run([python, "-m", "venv", f"{shared}/venv"], check=True)
            python = f"{shared}/venv/bin/python"
        outcomes = list(pool.map(lambda name: outcome(tests[name], python), wanted))
    for name, failure in zip(wanted, outcomes):
        print(f"FAILED {name}\n{failure}" if failure else f"ok {name}")
    failed = sum(failure is not None for failure in outcomes)
    print(f"setup: {len(outcomes) - failed} passed, {failed} failed")
    return 1 if failed or not outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
