"""Numbers named in lessons on policies."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="LESSONS ON POLICIES NEED TORCH")

from annotate_app.lessons.from_pairs import dpo_beta, side_by_side
from annotate_app.lessons.policy_gradients import gae, group_advantages, kl_penalty, ppo_clip, reinforce


@pytest.mark.parametrize("beta", [0.1, 1.0, 5.0])
def test_the_best_policy_is_the_reference_times_exponentiated_rewards(beta: float) -> None:
    """The closed form, p proportional to reference exp(reward / beta), which the lesson does not know of."""
    weights = np.array(kl_penalty.REFERENCE) * np.exp(np.array(kl_penalty.PROXY) / beta)
    closed = weights / weights.sum()
    (probabilities,), (kl,) = kl_penalty.best_policy((beta,))
    assert probabilities == pytest.approx(closed, abs=1e-4)
    assert kl == pytest.approx(float((closed * np.log(closed / kl_penalty.REFERENCE)).sum()), abs=1e-3)


def test_too_weak_a_penalty_is_worse_than_none_of_the_training() -> None:
    start = float(np.dot(kl_penalty.REFERENCE, kl_penalty.GOLD))
    weak, right, strong = kl_penalty.best_policy((0.3, 1.0, 10.0))[0] @ np.array(kl_penalty.GOLD)
    assert weak < start < strong < right
    assert kl_penalty.best_beta() == "1"


def test_ratios_are_those_of_the_texts() -> None:
    assert [round(ratio, 3) for ratio in ppo_clip.token_ratios()] == [1.105, 1.350, 0.905, 1.649]


def test_the_clip_takes_the_gradient_of_good_tokens_above_and_of_bad_ones_below() -> None:
    """eps 0.2, A = 1: losses -1.105, -1.2, -0.905, -1.2; A = -1: 1.105, 1.350, 0.905, 1.649, none below 0.8."""
    losses, slopes = ppo_clip.losses_and_slopes(ppo_clip.token_ratios(), 1.0, 0.2)
    assert losses == pytest.approx([-1.1052, -1.2, -0.9048, -1.2], abs=5e-5)
    assert slopes == [-1.0, 0.0, -1.0, 0.0]
    losses, slopes = ppo_clip.losses_and_slopes((*ppo_clip.token_ratios(), 0.7), -1.0, 0.2)
    assert losses == pytest.approx([1.1052, 1.3499, 0.9048, 1.6487, 0.8], abs=5e-5)
    assert slopes == [1.0, 1.0, 1.0, 1.0, 0.0]
    assert ppo_clip.losses_and_slopes((3.0, 0.1), 1.0, 1000.0)[1] == [-1.0, -1.0]


def test_the_first_advantage_is_the_rewards_less_the_first_value() -> None:
    assert gae.first_advantage() == pytest.approx(1.0 - 0.1 * 0.65 - 0.2)


def test_gae_at_lambda_0_is_one_tokens_surprise() -> None:
    """Second token: reward 0 + 0.9 * 0.25 - 0.3."""
    advantages = gae.advantages_of(gae.rewards_of_tokens(), gae.VALUES_OF_TOKENS, gamma=0.9, lam=0.0)
    assert advantages[1] == pytest.approx(0.9 * 0.25 - 0.3)


def test_the_gradient_without_a_baseline_is_the_policy_gradient() -> None:
    """p_i (r_i - sum p r), by hand; the mean of both of two samples leaves half of it."""
    p = np.exp(reinforce.LOGITS) / np.exp(reinforce.LOGITS).sum()
    true_gradient = p * (np.array(reinforce.REWARDS) - p @ reinforce.REWARDS)
    assert reinforce.expected("none") == pytest.approx(true_gradient)
    assert reinforce.expected("group") == pytest.approx(true_gradient / 2)
    assert reinforce.share_kept("group") == pytest.approx(0.5)
    assert reinforce.share_kept("leave_one_out") == pytest.approx(1.0)


def test_a_baseline_makes_an_offset_harmless() -> None:
    near, far = (reinforce.variance(offset, 8, "leave_one_out") for offset in (0.0, 10.0))
    assert far == pytest.approx(near)
    assert reinforce.variance(10.0, 8, "none") > 50 * far


def test_the_groups_std_is_2291_or_2646_and_not_2217() -> None:
    """0.3, 0.6, 0.8, 0.9 about their mean of 0.65: squares sum to 0.21; 0.21 / 4 and 0.21 / 3."""
    figures = [row["value"] for row in group_advantages.stds().figures]
    assert figures == pytest.approx([math.sqrt(0.0525), math.sqrt(0.07), math.sqrt(0.07) + 1e-4])
    assert [round(float(str(value)), 4) for value in figures[:2]] == [0.2291, 0.2646]
    (advantages,) = group_advantages.advantages_of(group_advantages.GROUP)
    assert advantages == pytest.approx([-1.3224, -0.1889, 0.5667, 0.9445], abs=1e-4)


def test_dpo_ends_where_beta_times_the_difference_is_the_log_odds_of_the_votes() -> None:
    for beta in (0.05, 0.1, 1.0):
        difference, _, kl = dpo_beta.learned(beta, 0.2)
        assert beta * difference == pytest.approx(math.log(4), abs=2e-3)
        assert 0.0 < kl < math.log(3) + 1e-6


def test_side_by_side_by_hand() -> None:
    """d = 2, beta 0.5, ten tokens: -log sigma(1); (0.2 - 1)^2; 2 (1 - sigma(0.5)); odds of exp(-1.9), exp(-2.1)."""
    losses = {name: loss[0] for name, (loss, _) in side_by_side.losses_and_slopes((2.0,), beta=0.5, length=10).items()}
    odds = [math.exp(p) / (1 - math.exp(p)) for p in (-1.9, -2.1)]
    assert losses["DPO"] == pytest.approx(math.log(1 + math.exp(-1)), abs=1e-6)
    assert losses["IPO"] == pytest.approx(0.64)
    assert losses["KTO"] == pytest.approx(2 / (1 + math.exp(0.5)))
    assert losses["ORPO"] == pytest.approx(1.9 + 0.5 * math.log(1 + odds[1] / odds[0]), abs=1e-6)
    assert side_by_side.turning_back() == "IPO"
    assert side_by_side.ipo_minimum(0.5) == pytest.approx(1.0)
