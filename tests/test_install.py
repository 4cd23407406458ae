"""What `make start` would do on a fresh machine, read from dry runs of make, and which torch it fetches."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from module_files import load_module

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def install_torch() -> ModuleType:
    return load_module("install_torch", ROOT / "annotate_app" / "install_torch.py")


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    """An environment without anything, whose Python is older than the files that make looks at."""
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path / "venv"


def dry_run(target: str, venv: Path, *options: str) -> list[str]:
    """The commands that make would run."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    command = ["make", "--dry-run", "--no-print-directory", target, f"VENV={venv}", *options]
    outer = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "PORT")  # of the make that runs these tests
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def stamp(venv: Path, *names: str) -> None:
    for name in names:
        (venv / f"{name}.stamp").touch()


def extras(lines: list[str]) -> list[str]:
    """The extras that pip would install, an entry for each call."""
    return [line.rpartition("-e '.")[2].rstrip("'") for line in lines if " -e '." in line]


def test_a_fresh_start_installs_torch_then_app_and_training(venv: Path) -> None:
    lines = dry_run("start", venv)
    assert extras(lines) == ["[app,train]"]
    torch = next(number for number, line in enumerate(lines) if "install_torch.py" in line)
    assert torch < next(number for number, line in enumerate(lines) if "[app,train]" in line)
    assert lines[-1].endswith("serve --demo --port 8501")


def test_app_only_leaves_torch_out(venv: Path) -> None:
    lines = dry_run("start", venv, "APP_ONLY=1")
    assert extras(lines) == ["[app]"]
    assert not [line for line in lines if "install_torch" in line]


def test_a_second_start_installs_nothing(venv: Path) -> None:
    stamp(venv, "torch", "train", "app")
    assert len(dry_run("start", venv)) == 1
    assert len(dry_run("start", venv, "APP_ONLY=1")) == 1


def test_from_app_only_to_all_the_rest_is_installed(venv: Path) -> None:
    stamp(venv, "app")
    assert extras(dry_run("start", venv)) == ["[app,train]"]


def test_tests_take_torch_from_the_same_installer(venv: Path) -> None:
    lines = dry_run("test", venv)
    assert len([line for line in lines if "install_torch.py" in line]) == 1
    assert extras(lines) == ["[app,postgres,train,dev]"]


def test_the_pinned_torch_is_the_one_that_is_fetched(install_torch: ModuleType) -> None:
    assert install_torch.pinned_version("torchx==1\ntorch==2.13.0\ntqdm==4\n") == "2.13.0"
    assert install_torch.pinned_version((ROOT / "constraints.txt").read_text())
    with pytest.raises(ValueError, match="no line torch==VERSION"):
        install_torch.pinned_version("tqdm==4\n")


@pytest.mark.parametrize(
    ("platform", "gpu", "answers", "source"),
    [
        ("linux", False, True, "CPU"),
        ("linux", False, False, "FALLBACK"),
        ("linux", True, True, "CUDA"),
        ("darwin", False, True, "PLAIN"),
        ("win32", False, False, "PLAIN"),
    ],
)
def test_the_smallest_build_that_serves_the_machine_is_chosen(
    install_torch: ModuleType, platform: str, gpu: bool, answers: bool, source: str
) -> None:
    chosen = install_torch.choose_source(platform, gpu=gpu, cpu_index_answers=answers)
    assert chosen == getattr(install_torch, source)


@pytest.fixture
def index() -> Iterator[str]:
    """A package index that has torch 2.13.0, and under /slow/ one that takes its time."""

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/slow/"):
                time.sleep(1.5)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'<a href="/whl/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl">torch</a>')

        def log_message(self, *_: object) -> None:
            """Stays silent."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_index_counts_where_it_answers_in_time_and_has_the_version(install_torch: ModuleType, index: str) -> None:
    assert install_torch.index_offers(index, "2.13.0")
    assert not install_torch.index_offers(index, "2.13")
    assert not install_torch.index_offers(index, "12.13.0")
    assert not install_torch.index_offers("http://127.0.0.1:9", "2.13.0")
    started = time.monotonic()
    assert not install_torch.index_offers(f"{index}/slow", "2.13.0", 0.2)
    assert time.monotonic() - started < 1


def test_an_index_that_fails_halfway_is_made_up_for_by_pip_s_own(
    install_torch: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, int("--index-url" in command))

    monkeypatch.setattr(install_torch, "installed_version", lambda: "")
    monkeypatch.setattr(install_torch, "has_gpu", lambda: False)
    monkeypatch.setattr(install_torch, "index_offers", lambda *_: True)
    monkeypatch.setattr(install_torch.sys, "platform", "linux")
    monkeypatch.setattr(install_torch.subprocess, "run", run)
    assert install_torch.main() == 0
    assert ["--index-url" in command for command in calls] == [True, False]
    assert {command[-1] for command in calls} == {
        f"torch=={install_torch.pinned_version(install_torch.CONSTRAINTS.read_text())}"
    }
    assert "about 190 MB" in capsys.readouterr().out
    monkeypatch.setattr(install_torch, "installed_version", lambda: calls[0][-1].removeprefix("torch=="))
    assert install_torch.main() == 0
    assert len(calls) == 2, "what is there is not fetched again"
