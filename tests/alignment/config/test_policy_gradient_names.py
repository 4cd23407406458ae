"""What a loss of sampled completions takes, and what it refuses in one line."""

from __future__ import annotations

from typing import Any

import pytest

from alignment.config.policy_gradient_names import POLICY_LOSSES, PolicyLossName, PolicyLossOptions


@pytest.mark.parametrize(
    ("loss", "low", "high", "baseline", "scale"),
    [
        ("grpo", 0.2, 0.2, "group", "group"),
        ("dr_grpo", 0.2, 0.2, "group", "none"),
        ("dapo", 0.2, 0.28, "group", "group"),
        ("bnpo", 0.2, 0.2, "group", "group"),
        ("gspo", 3e-4, 4e-4, "group", "group"),
        ("cispo", float("inf"), 4.0, "group", "group"),
        ("rloo", 0.2, 0.2, "leave_one_out", "none"),
        ("reinforce", float("inf"), float("inf"), "batch", "none"),
    ],
)
def test_each_loss_takes_its_papers_numbers(
    loss: PolicyLossName, low: float, high: float, baseline: str, scale: str
) -> None:
    options = PolicyLossOptions(loss=loss)
    assert (options.below, options.above, options.subtracted, options.divisor) == (low, high, baseline, scale)


def test_given_numbers_go_first() -> None:
    options = PolicyLossOptions(loss="dapo", clip_low=0.1, clip_high=0.4, baseline="batch", scale="batch")
    assert (options.below, options.above, options.subtracted, options.divisor) == (0.1, 0.4, "batch", "batch")


def test_a_scale_the_baseline_does_not_go_with_is_left_out_unless_asked_for() -> None:
    assert PolicyLossOptions(loss="grpo", baseline="leave_one_out").divisor == "none"
    assert PolicyLossOptions(loss="grpo", baseline="batch").divisor == "none"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "ppo"}, "loss is 'ppo', allowed are grpo, dr_grpo, dapo, bnpo, gspo, cispo, rloo, reinforce"),
        ({"baseline": "value"}, "baseline is 'value', allowed are group, leave_one_out, batch, running, none"),
        ({"scale": "std"}, "scale is 'std', allowed are group, batch, centred, none"),
        ({"kl_estimator": "k4"}, "kl_estimator is 'k4', allowed are k1, k2, k3"),
        ({"clip_low": 0.0}, "clip_low is 0.0, allowed is more than 0 up to 1"),
        ({"clip_low": 1.5}, "clip_low is 1.5, allowed is more than 0 up to 1"),
        ({"clip_high": -0.1}, "clip_high is -0.1, allowed is more than 0"),
        ({"loss": "cispo", "clip_low": 0.2}, "loss cispo has no clip_low, it is for grpo, dr_grpo, dapo, bnpo, gspo"),
        ({"loss": "reinforce", "clip_high": 0.2}, "loss reinforce has no clip_high, it is for grpo"),
        ({"baseline": "none", "scale": "group"}, "scale is 'group' with baseline none, allowed are none"),
        ({"loss": "rloo", "scale": "batch"}, "scale is 'batch' with baseline leave_one_out, allowed are none"),
        ({"beta": -0.1}, "beta is -0.1, allowed is 0 or more"),
        ({"beta": float("nan")}, "beta is nan, allowed is 0 or more"),
        (
            {"beta": 0.1, "kl_estimator": "k1", "kl_weighted": False},
            "kl_estimator is 'k1' without kl_weighted: its expected gradient is 0",
        ),
    ],
)
def test_refusals(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyLossOptions(**given)


def test_every_loss_has_a_line() -> None:
    assert all(traits.summary for traits in POLICY_LOSSES.values())
