"""The frame of `rewardkit`: quick help, one line and exit code 2 for bad input, defaults < file < flags."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Literal

import jsonargparse
import pytest

from rewardkit import config as configs
from rewardkit.__main__ import COMMAND_LINE, main
from rewardkit.run.command import add_config, field_meanings, read_config, with_underscores

ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, kw_only=True)
class Toy:
    """A configuration.

    Attributes:
        model: what it is,
            in two lines.
        mode: how.
        deep: a switch.
        rate: a number.
    """

    model: str
    mode: Literal["one", "two"] = "one"
    deep: bool = True
    rate: float = 0.5


def parse_toy(*words: str) -> Toy:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, Toy)
    return read_config(Toy, parser.parse_args(list(words)))


def test_help_answers_within_a_second_without_torch() -> None:
    code = "import sys; sys.argv = ['rewardkit', 'train', '--help']\nfrom rewardkit.__main__ import main\n"
    code += "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules, 'transformers' in sys.modules)"
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        times.append(time.perf_counter() - start)
        assert done.stdout.splitlines()[-1] == "False False"
        assert "--token_budget" in done.stdout
    assert min(times) < 1.0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "command"),
        (["sing"], "sing"),
        (["train", "--model", "tiny"], "train.out"),
        (["train", "--model", "tiny", "--out", "x", "--data", "d", "--nope", "3"], "--nope"),
        (["train", "--model", "tiny", "--out", "x", "--data", "d", "--mode", "half"], "half"),
        (["train", "--model", "tiny", "--out", "x"], "give either data or project"),
        (["train", "--model", "tiny", "--out", "x", "--data", "d", "--batch-size", "0"], "batch_size is 0"),
        (["train", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("rewardkit")
    assert says in said.err


def test_an_unknown_key_of_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("model: tiny\ndata: d\nout: o\nbatchsize: 3\n")
    assert main(["train", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "batchsize" in capsys.readouterr().err


def test_flags_win_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: m\nmode: two\nrate: 0.25\n")
    read = parse_toy("--config", str(tmp_path / "c.yaml"), "--rate", "0.125")
    assert read == Toy(model="m", mode="two", rate=0.125, deep=True)


def test_a_switch_takes_no_value() -> None:
    assert parse_toy("--model", "m", "--no_deep").deep is False
    assert parse_toy("--model", "m", "--deep").deep is True


def test_flags_may_be_spelled_with_hyphens_and_values_keep_theirs() -> None:
    spelled = with_underscores(
        ["train", "--on-bad-row", "skip", "--out=my-run", "--out", "a-b", "-h", "--no-bootstrap"]
    )
    assert spelled == ["train", "--on_bad_row", "skip", "--out=my-run", "--out", "a-b", "-h", "--no_bootstrap"]


def test_meanings_are_read_from_the_docstring() -> None:
    assert field_meanings(Toy)["model"] == "what it is, in two lines."
    assert field_meanings(Toy)["rate"] == "a number."


@pytest.mark.parametrize("config", [c for c in vars(configs).values() if is_dataclass(c)])
def test_every_field_of_a_config_is_documented(config: type) -> None:
    assert field_meanings(config).keys() == {field.name for field in fields(config)}


def test_train_is_a_command() -> None:
    parsed = COMMAND_LINE.parser("train").parse_args(
        ["train", "--model", "tiny", "--data", "d", "--out", "o", "--resume"]
    )
    assert parsed.train.resume is True
    assert parsed.train.ensemble == 1
