"""`--reward` read into sources, and penalties checked, before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from alignment.config.rewards import RewardOptions, RewardSpec, read_reward, read_rewards
from rewardkit.run.command import add_config, read_config, with_repeated, with_underscores


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a file of functions and two folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.py").write_text("def brief(completions): return [0.0 for _ in completions]\n")
    for folder in ("json", "runs/reward model"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runs/reward model", RewardSpec(kind="model", target="runs/reward model", name="reward_model")),
        ("0.5*runs", RewardSpec(kind="model", target="runs", weight=0.5, name="runs")),
        ("package.judge:brief", RewardSpec(kind="function", target="package.judge:brief", name="brief")),
        ("-1*judge.py:brief", RewardSpec(kind="function", target="judge.py:brief", weight=-1, name="brief")),
        ("numeric", RewardSpec(kind="verifier", target="numeric", name="numeric")),
        ("2e-1*regex:a*b:c", RewardSpec(kind="verifier", target="regex", argument="a*b:c", weight=0.2, name="regex")),
        ("json", RewardSpec(kind="verifier", target="json", name="json")),
        ("./json", RewardSpec(kind="model", target="./json", name="json")),
        (
            "3*http://host:80/score",
            RewardSpec(kind="server", target="http://host:80/score", weight=3, name="host_80"),
        ),
    ],
)
def test_every_form_is_read(places: Path, text: str, expected: RewardSpec) -> None:
    assert read_reward(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no/such/folder", "--reward no/such/folder: neither a folder nor .*; allowed is .*module:function.*numeric"),
        ("0*numeric", "the weight is 0, allowed is any number but 0"),
        ("1e999*numeric", "the weight is inf"),
        ("regex:(", r"--reward regex:\(: no regular expression"),
        ("other.py:brief", "there is no file other.py"),
        ("http:///x", "the address has to name a host, and no user"),
        ("http://me:secret@host/x", r"--reward http://\*\*\*@host/x: the address has to name a host, and no user"),
        ("http://me:se@cret@host:x/y", r"--reward http://\*\*\*@host:x/y: Port could not be cast"),
        ("http://host:port/x", "--reward http://host:port/x: Port could not be cast"),
        ("", "neither a folder"),
        ("judge:", "neither a folder"),
    ],
)
def test_what_is_no_source_is_one_line(places: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read_reward(text)
    assert "\n" not in str(caught.value)


def test_sources_of_one_name_are_told_apart(places: Path) -> None:
    found = read_rewards(["a:judge", "numeric", "b:judge", "c:judge"])
    assert [each.name for each in found] == ["judge", "numeric", "judge_2", "judge_3"]
    with pytest.raises(ValueError, match="reward is missing"):
        read_rewards([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"penalty_strength": 0}, "penalty_strength is 0, allowed is more than 0"),
        ({"reward_timeout_s": -1}, "reward_timeout_s is -1"),
        ({"length_penalty": -0.1}, "length_penalty is -0.1, allowed is 0 or more"),
        ({"missing_eos_penalty": float("inf")}, "missing_eos_penalty is inf"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"length_free": 5}, "length_free is 5 without a length_penalty"),
        ({"reward": ["numeric", "nothing"]}, "--reward nothing: neither"),
    ],
)
def test_options_are_checked(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RewardOptions(**options)


def test_the_command_line_takes_several_rewards(places: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Config(RewardOptions):
        """A training.

        Attributes:
            out: where.
        """

        out: str

    import jsonargparse

    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, Config)
    words = ["--out", "x", "--reward", "numeric", "--reward=0.5*json", "--penalty", "uwo", "--length-penalty", "0.1"]
    config = read_config(Config, parser.parse_args(with_repeated(with_underscores(words), Config)))
    assert [(each.name, each.weight) for each in config.sources] == [("numeric", 1.0), ("json", 0.5)]
    assert (config.penalty, config.length_penalty, config.out) == ("uwo", 0.1, "x")
