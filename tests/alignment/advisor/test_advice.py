"""The advisor's answer: which rule recommends what, and what the command prints."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from alignment.__main__ import main
from alignment.advisor.advice import Way, recommend
from alignment.advisor.failures import failures
from alignment.advisor.needs import needs
from alignment.advisor.ways import TITLES, WAYS, WayName
from alignment.config.advisor import AdvisorConfig

CONFIG = AdvisorConfig(pairs=100_000, gpus="4xA100-80", days=14)
HOURS: dict[WayName, float] = {"sft+dpo": 10, "online-dpo": 30, "grpo": 60, "ppo": 50, "best-of-n": 20}


def way(name: WayName, config: AdvisorConfig = CONFIG, **more: object) -> Way:
    values = {
        "name": name, "title": TITLES[name], "fits": True, "options": {}, "models": (), "peak": 1.0, "limit": 2.0,
        "token_budget": 64, "draw_budget": 64, "stages": (), "hours": HOURS[name], "low": 0.6 * HOURS[name],
        "high": 2 * HOURS[name], "cost": None, "in_time": True, "needs": needs(name, config, None),
        "failures": failures(name), "full": None,
    }  # fmt: skip
    return Way(**values | more)  # pyright: ignore


def test_dpo_is_recommended_with_what_comes_after() -> None:
    found = recommend([way(name) for name in WAYS], CONFIG)
    assert found.way == "sft+dpo"
    assert "100,000 pairs directly" in found.reason
    assert "the fewest hours of all" in found.reason
    assert "13.2 of the 14 days are left" in found.reason  # 20 hours at most
    assert "go on with Online DPO from there (18 to 60 hours)" in found.after


def test_what_a_program_checks_is_for_grpo() -> None:
    config = replace(CONFIG, verifiable=True)
    found = recommend([way(name, config) for name in WAYS], config)
    assert (found.way, found.after) == ("grpo", "")
    assert "36 to 120 hours" in found.reason


def test_few_pairs_leave_the_policy_as_it_is() -> None:
    config = replace(CONFIG, pairs=500)
    found = recommend([way(name, config) for name in WAYS], config)
    assert found.way == "best-of-n"
    assert "few pairs (500 beside 61,966 of Zephyr" in found.reason


def test_what_does_not_fit_or_is_late_is_out() -> None:
    ways = [way("sft+dpo", fits=False), way("online-dpo", in_time=False), way("grpo"), way("ppo"), way("best-of-n")]
    assert recommend(ways, CONFIG).way == "best-of-n"  # the fewest hours of what is left
    late = recommend([way(name, in_time=False) for name in WAYS], replace(CONFIG, days=0.5))
    assert late.way is None
    assert "Nothing is done in 0.5 days: the quickest is SFT + DPO, up to 20 hours" in late.reason
    assert "Nothing fits" in recommend([way(name, fits=False) for name in WAYS], CONFIG).reason


@pytest.mark.slow
def test_the_command_answers_in_words_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    question = ["plan", "--pairs", "50000", "--model", "tiny", "--gpus", "2xL4-24", "--days", "2"]
    question += ["--price-per-hour", "3", "--prompts", "1000", "--new-tokens", "64"]
    assert main(question) == 0
    text = capsys.readouterr().out
    assert "Recommended: SFT + DPO" in text
    assert "published runs took between 0.6 and 2 times" in text
    assert main([*question, "--json"]) == 0
    advice = json.loads(capsys.readouterr().out)
    assert [found["name"] for found in advice["ways"]] == list(WAYS)
    for found in advice["ways"]:
        assert found["fits"]
        assert found["peak"] <= found["limit"]
        assert found["hours"] == pytest.approx(sum(stage["hours"] for stage in found["stages"]))
        assert found["low"] < found["hours"] < found["high"]
        assert found["cost"] == pytest.approx(found["hours"] * 2 * 3)
    assert advice["recommendation"]["way"] == "sft+dpo"


def test_published_runs_are_printed_beside_their_estimates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--published"]) == 0
    text = capsys.readouterr().out
    assert "DPO, Zephyr 7B" in text
    assert "published runs took between 0.6 and 2 times" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--pairs", "10"], "gpus is 1; all ways side by side need them by name, as in 4xA100-80"),
        (["--gpus", "4xA100-80"], "pairs is 0, allowed is 1 or more"),
        (["--gpus", "4xNothing", "--pairs", "10"], "known are A100-40"),
        (["--gpus", "4xA100-80", "--pairs", "10", "--lora"], "lora is chosen for each way"),
        (["--days", "3"], "days is for all ways side by side"),
    ],
)
def test_what_cannot_be_asked_is_refused(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", *words]) == 2
    assert reason in capsys.readouterr().err
