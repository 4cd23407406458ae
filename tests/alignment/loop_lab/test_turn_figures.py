"""Figures over seeds and of one arm against another, on made-up rows, and the tables and the page that show them."""

from __future__ import annotations

import math

import pytest

from alignment.config.lab import LoopLabConfig
from alignment.loop_lab.loop_report import markdown, report_page, screen_lines
from alignment.loop_lab.turn_figures import Base, TurnRow, contrasts, row_from
from rewardkit.stats.metrics import student_interval


def row_of(arm: str, seed: int, turn: int, gain: float, accuracy: float = math.nan) -> TurnRow:
    return TurnRow(
        seed=seed,
        arm=arm,
        turn=turn,
        labels=100 * turn,
        money=100.0 * turn,
        num_steps=20 * turn,
        agreement=0.8,
        accuracy_before=math.nan,
        accuracy=accuracy,
        gain=gain,
        gain_low=gain - 0.1,
        gain_high=gain + 0.1,
        gold=0.5 + gain,
        wins=0.6,
        votes=0.55,
        kl=2.0,
        words=30.0,
        traits={},
        seconds=10.0,
    )


def rows() -> list[TurnRow]:
    """Two turns on three seeds; the worlds differ by far more than the arms do."""
    made = []
    for seed, world in enumerate((0.0, 1.0, 5.0)):
        made += [row_of("turns", seed, 1, world, 0.7), row_of("turns", seed, 2, world + 1.0, 0.8)]
        made += [
            row_of("one_shot", seed, 1, world + 0.5, 0.8),
            row_of("one_shot", seed, 2, world + 0.4 + 0.2 * seed, 0.75),
        ]
        made.append(row_of("dpo", seed, 2, world - 1.0))
    return made


def test_arms_are_compared_seed_by_seed() -> None:
    """turns minus one shot: 0.6, 0.4, 0.2 in the last turn: mean 0.4, sd 0.2, t 4.303 with 2 degrees of freedom."""
    answers = {answer.name: answer for answer in contrasts(rows())}
    assert list(answers) == ["turns:one_shot", "turns:dpo", "one_shot:dpo"]
    answer = answers["turns:one_shot"]
    assert answer.gain.value == pytest.approx(0.4)
    assert (answer.gain.low, answer.gain.high) == pytest.approx((0.4 - 0.4969, 0.4 + 0.4969), abs=1e-3)
    # over both turns: half of (-0.5 + 0.6), (-0.5 + 0.4), (-0.5 + 0.2)
    assert answer.path.value == pytest.approx(-0.05)
    assert answer.accuracy.value == pytest.approx(0.05)
    assert (answer.num_ahead, answer.num_seeds) == (3, 3)


def test_an_arm_of_one_training_has_no_path_and_no_reward_model() -> None:
    answer = next(answer for answer in contrasts(rows()) if answer.name == "turns:dpo")
    assert answer.gain.value == pytest.approx(2.0)
    assert math.isnan(answer.path.value)
    assert math.isnan(answer.accuracy.value)


def test_a_seed_that_lacks_an_arm_does_not_count() -> None:
    answers = contrasts([row for row in rows() if (row.arm, row.seed, row.turn) != ("one_shot", 2, 2)])
    assert answers[0].num_seeds == 2
    assert answers[0].gain.value == pytest.approx(0.5)


def test_values_that_are_not_there_do_not_count() -> None:
    """1 and 3: mean 2, sd sqrt 2, standard error 1, t 12.706 with one degree of freedom."""
    interval = student_interval([1.0, math.nan, 3.0])
    assert (interval.value, interval.low, interval.high) == pytest.approx((2.0, -10.706, 14.706), abs=1e-3)
    assert math.isnan(student_interval([math.nan]).value)
    assert not student_interval([1.0]).is_known


def test_a_row_comes_back_from_json() -> None:
    values = {name: None if value != value else value for name, value in vars_of(row_of("turns", 0, 1, 0.5)).items()}
    back = row_from(values)
    assert (back.gain, back.turn, math.isnan(back.accuracy)) == (0.5, 1, True)


def vars_of(row: TurnRow) -> dict[str, object]:
    return dict(vars(row))


def test_tables_say_means_over_seeds_and_show_arms_that_lose() -> None:
    traits = {"right_step": 0.5, "wrong_step": 0.25, "right_amount": 0.3, "wrong_amount": 0.2, "padding": 1.5}
    base = Base(seed=0, gold=0.5, demonstrations=0.7, words=30.0, traits=traits, demonstrated=traits, seconds=1.0)
    config = LoopLabConfig(out="o", turns=2, seeds=3)
    screen = "\n".join(screen_lines(config, [base], rows()))
    assert "means over seeds 0 to 2" in screen
    line = next(line for line in screen.splitlines() if line.startswith("on-policy turns against all labels"))
    assert line.split()[-3:] == ["3", "of", "3"]
    assert "+0.40 (-0.10 to +0.90)" in line
    assert "-0.05" in line
    text = markdown([base], rows())
    assert "| on-policy turns against DPO on the labels of turn 1 | +2.00" in text
    page = report_page(config, [base], rows())
    assert page.count("<figure>") >= 4
    assert 'class="band s0"' in page
