"""The generated reference holds every command with every option; docstrings come out as Markdown that says the same."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from module_files import load_module

from annotate_app.lessons.catalogue.catalogue import LESSONS

pytest.importorskip("mkdocs")
ROOT = Path(__file__).parents[2]
PROGRAMS = ("annotate-app", "rewardkit", "alignment")


def load_hook(name: str) -> ModuleType:
    return load_module(f"docs_{name}", ROOT / "docs" / "hooks" / f"{name}.py")


reference = load_hook("reference")


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_of_the_help_has_its_place(program: str) -> None:
    """The words come from `--help`, which people see, not from the parsers that the reference is made of."""
    text = reference.commands(program)
    module = program.replace("-", "_")
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    words = re.findall(r"^    ([a-z][a-z-]+) ", done.stdout, flags=re.MULTILINE)
    assert len(words) >= 5
    assert [word for word in words if not re.search(rf"^## {program} {word}( |$)", text, flags=re.MULTILINE)] == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_option_has_its_line(program: str) -> None:
    text = reference.commands(program)
    for name, parser, _ in reference.commands_of(program):
        section = text.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert program == "annotate-app" or len(parser._actions) > len(reference.SHARED)
        for action in parser._actions:
            if action.dest in reference.SHARED:
                continue
            flag = action.option_strings[0] if action.option_strings else action.dest.upper()
            shown = f"--{flag[2:].replace('_', '-')}" if flag.startswith("--") else flag
            assert f"| `{shown}`" in section, f"{name} {shown}"


def test_an_option_says_help_choices_and_default() -> None:
    section = reference.commands("alignment").partition("## alignment dpo\n")[2].partition("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| `--f-divergence` |")]
    assert "`reverse_kl`, `forward_kl`, `js_divergence`" in line
    assert line.endswith("| `reverse_kl` |")
    assert "| `--bootstrap`, `--no-bootstrap` |" in reference.commands("rewardkit")


def test_every_page_mark_is_filled() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        assert not re.search(r"^\[\[", reference.on_page_markdown(page.read_text(encoding="utf-8")), flags=re.MULTILINE)


def test_docstrings_keep_what_they_say() -> None:
    plain = load_hook("plain_docstrings")
    text = """Sum.

A step:
1. one
2. two
Where we differ:
1. three

r = a * b < c
Smith 2020.

Args:
    x, y: floats,
        0 to 1.
    z: `a * b`.
"""
    assert plain.to_markdown(text).splitlines() == [
        *("Sum.", "", "A step:", "", "1. one", "2. two", "", "Where we differ:", "", "1. three", ""),
        *("r = a \\* b &lt; c  ", "Smith 2020.", "", "Args:"),
        *("    x: floats,", "        0 to 1.", "    y: floats,", "        0 to 1.", "    z: `a * b`."),
    ]


@pytest.mark.slow
def test_the_site_builds_without_warnings_and_asks_no_other_host(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    remote = re.compile(
        r'(?:src|srcset)="(?:https?:)?//|<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="(?:https?:)?//'
    )
    offenders = [page.name for page in tmp_path.rglob("*.html") if remote.search(page.read_text(encoding="utf-8"))]
    assert offenders == []
    assert len(list(tmp_path.rglob("*.html"))) > 50
    assert {path.stem for path in (tmp_path / "notebooks").glob("*.ipynb")} == {lesson.key for lesson in LESSONS}
    listed = (tmp_path / "tutorials" / "learn.html").read_text(encoding="utf-8")
    assert [lesson.key for lesson in LESSONS if f'href="../notebooks/{lesson.key}.ipynb"' not in listed] == []
