import numpy as np
import pytest

from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
from rewardkit.evaluation.steps import ScoredSteps, evaluate_steps, fit_step_calibration
from rewardkit.reward.step_rewards import StepRewards
from rewardkit.stats.calibration import calibration_figures, expected_calibration_error


def answer(prompt: str, *labels: float | None) -> SteppedAnswer:
    steps = tuple(f"step {number}" for number in range(len(labels)))
    return SteppedAnswer(prompt=(Message(role="user", content=prompt),), steps=steps, labels=labels)


def scored(*pairs: tuple[SteppedAnswer, list[float]]) -> ScoredSteps:
    return ScoredSteps(
        answers=[one for one, _ in pairs], rewards=[StepRewards(members=np.array([told])) for _, told in pairs]
    )


def test_figures_by_hand() -> None:
    found = evaluate_steps(
        scored(
            (answer("a", 1, 0, 0), [0.9, 0.2, 0.6]),  # first error 1, found
            (answer("b", 1, 1), [0.8, 0.3]),  # none, the model says 1
            (answer("c", 1, 0.5), [0.7, 0.9]),  # none, found
            (answer("d", 0, 0.2), [0.6, 0.1]),  # first error 0, the model says 1
            (answer("e", None, 1), [0.1, 0.9]),  # not known
        )
    )
    assert (found.num_answers, found.num_prompts, found.num_steps, found.num_undecided) == (5, 5, 10, 1)
    assert found.num_first_errors == 4
    assert found.share_right == pytest.approx(5 / 9)
    # Right on: 0.9, 0.2, 0.8, 0.7, 0.1 of d, 0.9 of e; wrong on 0.6, 0.3, 0.6.
    assert found.accuracy.value == pytest.approx(6 / 9)
    assert found.first_error.value == pytest.approx(0.5)
    assert (found.with_error.value, found.without_error.value) == (0.5, 0.5)
    assert found.f1 == pytest.approx(0.5)
    # Without an error: minima 0.3, 0.7; with: 0.2, 0.1.
    assert found.aggregated["min"].value == 1.0
    # Last steps: without 0.3, 0.9; with 0.6, 0.1: three of four pairs in order.
    assert found.aggregated["last"].value == 0.75


def test_nothing_judged_is_refused_and_one_kind_alone_is_no_f1() -> None:
    with pytest.raises(ValueError, match="none of the steps of 1 answers is judged"):
        evaluate_steps(scored((answer("a", None), [0.5])))
    only_right = evaluate_steps(scored((answer("a", 1), [0.9]), (answer("b", 1), [0.2])))
    assert np.isnan(only_right.f1)
    assert np.isnan(only_right.auroc.value)
    unknown = evaluate_steps(scored((answer("a", None, 1), [0.9, 0.8])))
    assert unknown.num_first_errors == 0
    assert np.isnan(unknown.first_error.value)


def test_an_overall_shift_is_a_calibration_error_of_events_and_none_of_pairs() -> None:
    """Half at 0.8 of which 0.7 are right, half at 0.2 of which 0.1: too high by 0.1 everywhere."""
    told = np.repeat([0.8, 0.2], 100)
    labels = np.concatenate([np.arange(100) < 70, np.arange(100) < 10]).astype(float)
    assert expected_calibration_error(told, labels, num_bins=2) == pytest.approx(0.0, abs=1e-12)
    assert expected_calibration_error(told, labels, num_bins=2, both_ways=False) == pytest.approx(0.1)
    assert calibration_figures(told, labels, both_ways=False).ece != calibration_figures(told, labels).ece


def test_the_temperature_is_that_of_the_steps() -> None:
    """Log-odds told three times too large: T near 3; steps without a label say nothing."""
    rng = np.random.default_rng(0)
    answers, logits = [], []
    for number in range(400):
        true = rng.normal(0, 1.5, 4)
        right = rng.random(4) < 1 / (1 + np.exp(-true))
        answers.append(answer(str(number), *right.astype(float).tolist(), None))
        logits.append(np.append(3 * true, 50.0)[None])
    fit = fit_step_calibration(answers, logits, kind="temperature")
    assert fit.calibration["temperature"] == pytest.approx(3.0, rel=0.15)
    assert fit.after.nll < fit.before.nll
    assert fit_step_calibration(answers, logits, kind="none").calibration == {}
