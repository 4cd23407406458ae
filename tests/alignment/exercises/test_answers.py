"""Exercises as people type them, and their figures in one world by another way."""

from __future__ import annotations

import json

import numpy as np
import pytest

from alignment.__main__ import main
from alignment.config.lab import ExercisesConfig
from alignment.exercises import kl_weights as kl_exercise
from alignment.exercises.answers import EXERCISES
from alignment.exercises.feature_world import draw_world
from alignment.exercises.kl_weights import BETAS, CURVATURE, NUM_FEATURES


def test_exercises_tell_what_was_expected_and_whether_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exercises", "--names=kl", "--seeds=3", "--first-seed=40"]) == 0
    shown = capsys.readouterr().out
    assert "Expected: the proxy rises with every nat." in shown
    assert "It holds here." in shown
    assert "means over worlds 40 to 42" in shown
    assert main(["exercises", "--names=kl", "--seeds=3", "--first-seed=40", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["name"], answer["seeds"], answer["solved"]["holds"]) == ("kl", [40, 41, 42], True)
    assert len(answer["solved"]["rows"]) == len(BETAS) + 1


def test_what_does_not_hold_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A gold that takes nothing far away is no gold that falls."""
    monkeypatch.setattr(kl_exercise, "CURVATURE", 0.0)
    assert main(["exercises", "--names=kl", "--seeds=2"]) == 0
    assert "It does not hold here." in capsys.readouterr().out


def test_gold_of_a_shifted_policy_is_what_its_samples_are_worth() -> None:
    """By 200,000 replies, above what the SFT policy's are worth: theta . m - c / 2 (|m|^2 + d (v - 1))."""
    rng = np.random.default_rng(0)
    world = draw_world(rng, NUM_FEATURES, curvature=CURVATURE)
    mean, variance = rng.normal(size=NUM_FEATURES), 0.5
    replies = rng.normal(size=(200_000, NUM_FEATURES))
    sampled = world.gold(mean + np.sqrt(variance) * replies).mean() - world.gold(replies).mean()
    assert sampled == pytest.approx(kl_exercise.gold_above_sft(world, mean, variance), abs=0.03)


def test_all_are_done_by_default() -> None:
    assert list(ExercisesConfig().chosen) == list(EXERCISES)
    with pytest.raises(ValueError, match="seeds is 1, allowed is 2 or more"):
        ExercisesConfig(seeds=1)


@pytest.mark.slow
def test_all_answers_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exercises", "--names=flips", "--names=shape", "--names=features", "--seeds=4"]) == 0
    assert capsys.readouterr().out.count("It holds here.") == 3
