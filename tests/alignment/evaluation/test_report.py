"""What the report of a policy says follows from the intervals it prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alignment.evaluation.report import html_report, screen_lines, sentences
from alignment.evaluation.results import PolicyEvaluation, PolicyFigures
from alignment.watch.text_metrics import win_rate
from rewardkit.stats.metrics import average_interval, difference_interval, mean_interval


def figures(name: str, lengths: np.ndarray) -> PolicyFigures:
    numbers = np.arange(len(lengths))
    nothing = mean_interval(np.zeros(len(lengths)), numbers)
    return PolicyFigures(
        name=name,
        reward=average_interval(lengths, numbers),
        reward_std=0.1,
        length=average_interval(lengths, numbers),
        cut=nothing,
        distinct_1=0.5,
        distinct_2=0.9,
        repetition=nothing,
    )


def evaluation_of(gains: np.ndarray, **options: Any) -> PolicyEvaluation:
    """A trained policy whose rewards are above those of its base by the gains, a prompt each."""
    numbers = np.arange(len(gains))
    base = 20 + numbers % 3.0
    return PolicyEvaluation(
        **{
            "base": figures("base", base),
            "trained": figures("trained", base),
            "num_prompts": len(gains),
            "num_samples": 1,
            "about": {},
            "notes": [],
            "win_rate": win_rate(gains, np.zeros(len(gains)), numbers),
            "reward_gain": difference_interval(gains, np.zeros(len(gains)), numbers),
            **options,
        }
    )


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([1.0], "not shown to be better"),
        ([1.0, 2.0, 3.0, 2.0], "not shown to be better"),
        ([1.0, 2.0, 3.0] * 3, "better"),
        ([-1.0, -2.0, -3.0] * 3, "worse"),
        ([1.0, -1.0] * 20, "not shown to be better"),
    ],
)
def test_the_verdict_on_wins_is_that_of_their_interval(gains: list[float], verdict: str) -> None:
    evaluation = evaluation_of(np.array(gains))
    assert next(iter(sentences(evaluation))).startswith(f"By the reward model trained is {verdict}: ")
    text = "\n".join(screen_lines(evaluation)) + html_report(evaluation)
    assert "nan" not in text


def test_one_prompt_has_a_gain_but_no_interval() -> None:
    lines = list(sentences(evaluation_of(np.array([1.0]))))
    assert "it wins 100.0% (2.5 to 100.0) of 1 pairs" in lines[0]
    assert "Its reward is +1.00 (too few or too alike to say) above that of base." in lines


@pytest.mark.parametrize(("num_prompts", "is_said"), [(12, True), (3, False)])
def test_completions_that_all_end_at_the_limit_are_longer(num_prompts: int, is_said: bool) -> None:
    cut = figures("trained", np.full(num_prompts, 64.0))
    assert not cut.length.is_known
    lines = list(sentences(evaluation_of(np.ones(num_prompts), trained=cut)))
    assert any(line.startswith("Its completions are longer") for line in lines) == is_said
