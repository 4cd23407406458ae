"""Installs the torch that `constraints.txt` names into the Python that runs this: the smallest build that serves here.

On Linux PyPI has the build for NVIDIA GPUs alone, some gigabytes; where there is no such GPU, PyTorch's own index of
CPU builds is asked, and PyPI only where that does not answer. Everywhere else PyPI's build is the right one. Pip's own
settings (mirrors, local wheels) count, and pip shows how far it is.

    python annotate_app/install_torch.py       reads constraints.txt at the top of the repository
"""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from dataclasses import dataclass
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where torch comes from: words for people, and what pip is told beside the requirement."""

    words: str
    options: tuple[str, ...] = ()


CPU = Source(
    words=f"the CPU build from {CPU_INDEX}, about 190 MB",
    options=("--no-deps", "--index-url", CPU_INDEX),  # what it needs comes from PyPI, in the versions we know
)
CUDA = Source(words="the build for NVIDIA GPUs from PyPI, about 3 GB with CUDA's libraries")
PLAIN = Source(words="from PyPI, about 100 MB")
FALLBACK = Source(words=f"from PyPI, since {CPU_INDEX} does not answer: up to 3 GB where pip finds no smaller wheel")


def pinned_version(constraints: str) -> str:
    """The version of torch in the text of a constraints file.

    Raises:
        ValueError: if it names none.
    """
    pin = re.search(r"^torch==(\S+)$", constraints, flags=re.MULTILINE)
    if pin is None:
        raise ValueError(f"{CONSTRAINTS} has no line torch==VERSION")
    return pin[1]


def installed_version() -> str:
    """The version of torch that is here, without the build's name behind `+`; empty where there is none."""
    try:
        return importlib.metadata.version("torch").partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""


def has_gpu() -> bool:
    """Whether NVIDIA's driver sees a GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    return subprocess.run(["nvidia-smi"], capture_output=True, timeout=30, check=False).returncode == 0


def index_offers(index: str, version: str, timeout_s: float = TIMEOUT_S) -> bool:
    """Whether a package index answers in time and lists that version of torch.

    A thread asks, since a name server that is silent holds up a connection beyond its timeout.
    """
    answers: list[str] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(f"{index}/torch/", timeout=timeout_s) as response:
                answers.append(response.read().decode(errors="replace"))
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return any(re.search(rf"torch-{re.escape(version)}(%2B|\+|-)", answer) for answer in answers)


def choose_source(platform: str, *, gpu: bool, cpu_index_answers: bool) -> Source:
    """The source for a platform as `sys.platform` names it."""
    if platform != "linux":
        return PLAIN
    if gpu:
        return CUDA
    return CPU if cpu_index_answers else FALLBACK


def main() -> int:
    """Installs torch unless it is there; pip's exit code."""
    version = pinned_version(CONSTRAINTS.read_text(encoding="utf-8"))
    if installed_version() == version:
        return 0
    on_linux = sys.platform == "linux"
    gpu = on_linux and has_gpu()
    answers = on_linux and not gpu and index_offers(CPU_INDEX, version)
    first = choose_source(sys.platform, gpu=gpu, cpu_index_answers=answers)
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--constraint", str(CONSTRAINTS)]
    code = 1
    for source in (first, FALLBACK) if first is CPU else (first,):
        print(f"Fetching torch {version}: {source.words}", flush=True)
        code = subprocess.run([*pip, *source.options, f"torch=={version}"], check=False).returncode
        if code == 0:
            break
    return code


if __name__ == "__main__":
    sys.exit(main())
