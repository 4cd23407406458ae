"""Steps of an experiment: run once, told of when they fail, and what they took."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.lab.steps import SPENT, Step, run_step

TOY = """
import json, pathlib, sys
out = pathlib.Path(next(word for word in sys.argv if word.startswith("--out="))[6:])
out.mkdir(exist_ok=True)
(out / "config.yaml").write_text("{passes: 4, minibatches: 2}")
with (out / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")
(out / "metrics.jsonl").write_text(json.dumps({"step": 1, "num_tokens": 120}) + "\\n")
if "fail" in sys.argv and not "--resume" in sys.argv:
    sys.exit("the toy is broken")
(out / "status.json").write_text(json.dumps({"state": "done", "step": 3, "peak_mb": 12.5}))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def test_a_step_is_done_once(folder: Path) -> None:
    said: list[str] = []
    step = Step(name="a toy", words=["toy", "--x=1"], out=folder / "run")
    first = run_step(step, said.append)
    assert run_step(step, said.append) == first
    assert said == ["a toy"]
    assert first.num_tokens == 120
    assert first.seconds > 0
    assert first.peak_mb == 12.5
    assert first.num_updates == 4 * 2 * 3
    assert (folder / "run" / "calls").read_text() == f"--x=1 --out={folder}/run\n"


def test_a_step_that_failed_says_why_and_goes_on(folder: Path) -> None:
    step = Step(name="a toy", words=["toy", "fail"], out=folder / "run")
    with pytest.raises(OSError, match=r"a toy ended with 1: the toy is broken; its output is in .*run\.log"):
        run_step(step, lambda said: None)
    before = json.loads((folder / "run" / SPENT).read_text())["seconds"]
    assert run_step(step, lambda said: None).seconds > before
    assert (folder / "run" / "calls").read_text().splitlines()[1].endswith("--resume")
