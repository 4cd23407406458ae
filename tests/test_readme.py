"""README and docs are true: their commands and snippets run as they stand, their pictures and the map's folders exist.

A page's blocks run in order in one folder that holds data/samples. A block with a title is a file. A block behind the
comment `<!-- not run: REASON -->` is not run; all of these are listed here.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {"annotate-app": "annotate_app", "rewardkit": "rewardkit", "alignment": "alignment"}
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n)?"
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$",
    flags=re.MULTILINE | re.DOTALL,
)
NOT_RUN = {
    ("docs/how-to/advisor.md", "counts a 13B for a minute; tests/alignment/advisor ask of a small model"),
    ("docs/how-to/api.md", "needs a running server; tests/annotate_app/api/test_how_to.py runs all of it against one"),
    ("docs/how-to/audit.md", "needs an endpoint; tests/alignment/judges runs a local one"),
    ("docs/how-to/compare-runs.md", "needs finished runs of a project; tests/annotate_app/commands run the commands"),
    ("docs/how-to/constitution.md", "needs an endpoint; tests/alignment/constitution runs a local one"),
    (
        "docs/how-to/judges.md",
        "needs an endpoint; tests/alignment/judges and tests/annotate_app/judges run a local one",
    ),
    (
        "docs/how-to/process-rewards.md",
        "trains for a minute; tests/rewardkit/commands/test_step_commands.py trains, scores and evaluates one",
    ),
    (
        "docs/how-to/process-rewards.md",
        "draws thousands of completions; tests/alignment/step_labels runs it on a tiny policy",
    ),
    ("docs/how-to/resume.md", "the run above is complete; tests of each training stop and resume it"),
    ("docs/how-to/reward-models.md", "installs packages"),
    ("docs/how-to/rewards-in-trl.md", "needs TRL; tests/docs/test_trl_reward_function.py runs it under `make bench`"),
    ("docs/how-to/run-a-team.md", "serves until it is stopped"),
    ("docs/how-to/work-on-comparisons.md", "needs members"),
    (
        "docs/how-to/save-memory.md",
        "needs a GPU to be of use; tests/alignment/commands/test_memory_options.py runs every option on a CPU",
    ),
    ("docs/how-to/several-gpus.md", "needs several GPUs; tests/alignment run two processes on a CPU"),
    ("docs/how-to/train-a-policy.md", "takes minutes a seed; tests/alignment/lab runs both on a smaller world"),
    (
        "docs/how-to/train-from-the-app.md",
        "needs finished runs of a project; tests/annotate_app/commands run the command",
    ),
    ("docs/how-to/groups.md", "needs a reward model of the project, which takes minutes to train"),
    ("docs/how-to/images-and-tools.md", "needs a folder of images; tests/annotate_app/exchange imports some"),
    ("docs/how-to/rankings.md", "takes more rankings than the one above; tests/annotate_app/commands trains from some"),
    ("docs/how-to/vllm.md", "needs vLLM and a GPU"),
    ("docs/operations/postgresql.md", "needs a PostgreSQL server; tests/annotate_app run the store on both databases"),
    ("docs/science/loop.md", "takes minutes a seed; tests/alignment/loop_lab runs it on a smaller world"),
    ("docs/science/memory.md", "takes half an hour"),
    ("docs/how-to/rubrics-as-rewards.md", "needs an endpoint; test_distilled_judge.py runs a local one"),
    ("docs/science/speed.md", "takes minutes; tests/benchmarks run a line of it and smaller points"),
    ("docs/operations/proxy.md", "serves until it is stopped"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page; `reason` says why it is not run, empty where it is."""

    language: str
    title: str
    text: str
    reason: str


def place(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(**{name: value or "" for name, value in block.groupdict().items()})


def commands(text: str) -> list[list[str]]:
    lines = [
        line.partition("#")[0].strip() if " #" in line else line.strip()
        for line in text.replace("\\\n", " ").splitlines()
    ]
    return [shlex.split(line) for line in lines if line]


def runs_commands(page: Path) -> bool:
    """Whether a page starts programs, which takes seconds to minutes."""
    shell = [block for block in blocks(page) if block.language == "sh" and not block.reason]
    return any(command[0] != "make" for block in shell for command in commands(block.text))


def run_command(command: list[str], folder: Path) -> None:
    if command[0] == "make":  # see test_make_knows_the_targets
        return
    assert command[0] in PROGRAMS, f"{shlex.join(command)}: give the reason why it is not run in a comment"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIEBREAK_")}
    argv = [sys.executable, "-m", PROGRAMS[command[0]], *command[1:]]
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


def run_page(page: Path, folder: Path) -> int:
    """Runs the blocks of a page; returns how many there were to run."""
    shutil.copytree(ROOT / "data" / "samples", folder / "data" / "samples")
    ran = 0
    for number, block in enumerate(blocks(page)):
        if block.reason:
            continue
        if block.title:
            (folder / block.title).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            for command in commands(block.text):
                run_command(command, folder)
            ran += 1
        elif block.language == "python":
            exec(compile(block.text, f"{place(page)}, block {number}", "exec"), {"__name__": "__main__"})
            ran += 1
    return ran


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=place(page), marks=[pytest.mark.slow] if runs_commands(page) else [])
        for page in PAGES
        if any(block.language in ("sh", "python") for block in blocks(page))
    ],
)
def test_commands_and_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    loaded = set(sys.modules)
    try:
        run_page(page, tmp_path)
    finally:
        for name in set(sys.modules) - loaded:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
                del sys.modules[name]


def test_what_is_not_run_is_listed_with_its_reason() -> None:
    assert {(place(page), block.reason) for page in PAGES for block in blocks(page) if block.reason} == NOT_RUN


def test_every_block_says_its_language() -> None:
    """A block without one is a drawing or an equation; a program in it would be run by nobody."""
    bare = re.compile(r"^```\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    programs = (*PROGRAMS, "make ", "pip ", "python ", "import ", "from ")
    offenders = [
        f"{place(page)}: {line}"
        for page in PAGES
        for text in bare.findall(BLOCK.sub("", page.read_text(encoding="utf-8")))
        for line in text.splitlines()
        if line.startswith(programs)
    ]
    assert offenders == []


def test_make_knows_the_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [
        line for page in PAGES for block in blocks(page) if block.language == "sh" for line in commands(block.text)
    ]
    targets = [command[1] for command in lines if command[0] == "make"]
    assert targets[:2] == ["start", "test"]
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_links_of_the_readme_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(links) > 20
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_the_map_names_every_folder_and_no_other() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Map of the house")[2]
    for package in PROGRAMS.values():
        table = readme.partition(f"| folder of `{package}/` |")[2].partition("\n\n")[0]
        named = set(re.findall(r"`([a-z_]+)/`", table))
        folders = [path for path in (ROOT / package).rglob("*/") if not path.name.startswith("__")]
        # Folders of revisions and of installed caches have no noun of their own.
        assert named == {path.name for path in folders} - {"versions"}
