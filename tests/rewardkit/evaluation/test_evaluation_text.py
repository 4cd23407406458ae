"""The sentences of an evaluation follow from the intervals they print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rewardkit.data.records import Message, Preference
from rewardkit.evaluation.baselines import compare
from rewardkit.evaluation.evaluate import balanced_interval, evaluate
from rewardkit.evaluation.evaluation_text import Findings, screen_lines, sentences
from rewardkit.evaluation.report import html_report
from rewardkit.evaluation.scored_preferences import Scored
from rewardkit.stats.metrics import Interval


def scored_of(margins: np.ndarray, prompt: np.ndarray, *, longer: np.ndarray | None = None) -> Scored:
    """One member's margins, chosen longer where said."""
    longer = np.ones(len(margins), dtype=bool) if longer is None else longer
    rows = [
        Preference(
            prompt=(Message(role="user", content=f"q{number}"),),
            chosen="a longer answer" if is_longer else "short",
            rejected="short one" if is_longer else "an answer of more words",
        )
        for number, is_longer in zip(prompt, longer, strict=True)
    ]
    return Scored(rows=rows, chosen=margins[None], rejected=np.zeros((1, len(margins))), prompt=prompt)


def findings_of(scored: Scored) -> Findings:
    return Findings(model="m", data="d", about={}, evaluation=evaluate(scored), baselines=compare(scored, (), seed=0))


def test_three_pairs_of_one_prompt_show_nothing() -> None:
    # right on one of three where the longer answer is right on two
    scored = scored_of(np.array([1.0, -1.0, -2.0]), np.zeros(3, dtype=int), longer=np.array([True, True, False]))
    findings = findings_of(scored)
    assert findings.evaluation is not None
    lines = sentences(findings)
    assert "3 pairs of 1 prompt: not shown to be better than chance." in lines[0]
    assert "not shown to differ from choosing the longer answer" in lines[1]
    assert "AUROC" in lines[2]
    assert lines[2].startswith("Not shown")
    for interval in (findings.evaluation.overall.accuracy, findings.baselines[0].difference):
        assert interval.high - interval.low > 0.9
    assert not findings.evaluation.uncertainty[0].gain.is_known
    text = "\n".join(screen_lines(findings)) + html_report(findings)
    assert "nan" not in text
    assert "too few or too alike to say" in text


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.40, "worse than chance."), (0.50, "not shown to be better than chance."), (0.60, "of 1,000 prompts.")],
)
def test_accuracy_has_three_verdicts(share: float, words: str) -> None:
    margins = np.where(np.arange(1000) < 1000 * share, 1.0, -1.0)
    assert sentences(findings_of(scored_of(margins, np.arange(1000))))[0].endswith(words)


@pytest.mark.parametrize(
    ("auroc", "words"),
    [
        (Interval(value=0.55, low=0.51, high=0.58), "It knows where it errs"),
        (Interval(value=0.55, low=0.49, high=0.58), "Not shown"),
        (Interval(value=0.41, low=0.36, high=0.48), "It is surer where it errs"),
        (Interval(value=1.0), "Not shown"),
    ],
)
def test_the_verdict_on_uncertainty_is_its_interval(auroc: Interval, words: str) -> None:
    findings = findings_of(scored_of(np.where(np.arange(60) % 3 > 0, 1.0, -1.0), np.arange(60)))
    assert findings.evaluation is not None
    (measure,) = findings.evaluation.uncertainty
    gain = Interval(value=0.01, low=-0.01, high=0.03)  # which the sentence does not print
    evaluation = replace(findings.evaluation, uncertainty=[replace(measure, auroc=auroc, gain=gain)])
    line = next(line for line in sentences(replace(findings, evaluation=evaluation)) if "AUROC" in line)
    assert line.startswith(words)


def test_probabilities_are_held_against_what_chance_leaves_of_right_ones() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(size=400)
    right = rng.random(400) < 1 / (1 + np.exp(-np.abs(margins)))
    honest = np.where(right, np.abs(margins), -np.abs(margins))
    for factor, verdict in ((1.0, "are not shown to be off"), (5.0, "are off")):
        findings = findings_of(scored_of(factor * honest, np.arange(400)))
        line = next(line for line in sentences(findings) if line.startswith("Its probabilities"))
        assert verdict in line
        assert line.endswith("in 95 of 100 cases.")
    findings = findings_of(scored_of(honest, np.arange(400) % 200))
    line = next(line for line in sentences(findings) if line.startswith("Its probabilities"))
    assert line.endswith("if pairs of one prompt were independent.")
    assert "(up to 0." in "\n".join(screen_lines(findings))


def test_length_control_weighs_both_groups_alike() -> None:
    # right on 55 of 60 where the longer answer won, on 10 of 40 where the shorter: 65 %, controlled 58.3 %
    longer = np.arange(100) < 60
    right = np.where(longer, np.arange(100) < 55, np.arange(100) < 70)
    scored = scored_of(np.where(right, 1.0, -1.0), np.arange(100), longer=longer)
    evaluation = evaluate(scored)
    assert evaluation.overall.accuracy.value == pytest.approx(0.65)
    controlled = evaluation.length.controlled
    assert controlled is not None
    assert controlled.value == pytest.approx((55 / 60 + 10 / 40) / 2)
    # standard error sqrt(.9167 .0833 / 60 + .25 .75 / 40) / 2 = 0.0386
    assert controlled.low == pytest.approx(controlled.value - 1.96 * 0.0386, abs=0.01)
    assert controlled.high == pytest.approx(controlled.value + 1.96 * 0.0386, abs=0.01)
    lines = sentences(findings_of(scored))
    assert any(line.startswith("Length-controlled accuracy, the mean of both, is 58.3% (") for line in lines)


def test_length_control_of_few_pairs_takes_the_bounds_of_both() -> None:
    longer = np.array([True, True, True, False])
    scored = scored_of(np.array([1.0, 1.0, 1.0, -1.0]), np.arange(4), longer=longer)
    # 3 of 3: 0.025 ** (1 / 3) = 0.2924 to 1; 0 of 1: 0 to 0.975
    controlled = balanced_interval(scored, longer, ~longer)
    assert controlled is not None
    assert (controlled.value, controlled.low, controlled.high) == pytest.approx((0.5, 0.1462, 0.9875), abs=1e-4)
    assert balanced_interval(scored, longer, np.zeros(4, dtype=bool)) is None
