"""Closed forms of the feature worlds beside samples, and the loss that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from alignment.exercises.feature_world import FeatureWorld, accuracy, draw_world, fit_weights, with_products
from rewardkit.heads.fit import head_objective, make_pairs


def test_gold_is_what_features_and_their_products_are_worth() -> None:
    """theta . x = 2 - 2, the products of features 1 and 3 and of 2 and 4 are 3 and 8, and |x|^2 is 1 + 4 + 9 + 16."""
    replies = np.array([[1.0, 2.0, 3.0, 4.0]])
    theta = np.array([2.0, -1.0, 0.0, 0.0])
    assert FeatureWorld(theta=theta).gold(replies)[0] == 0.0
    assert FeatureWorld(theta=theta, product=2.0).gold(replies)[0] == pytest.approx(2 * 11 / np.sqrt(2))
    assert FeatureWorld(theta=theta, curvature=0.5).gold(replies)[0] == -7.5
    assert with_products(np.array([[2.0, 3.0]])).tolist() == [[2.0, 3.0, 4.0, 6.0, 9.0]]


def test_the_spread_of_gold_over_replies_is_as_said() -> None:
    rng = np.random.default_rng(0)
    replies = rng.normal(size=(200_000, 6))
    assert draw_world(rng, 6).gold(replies).std() == pytest.approx(2.0, rel=0.01)
    products = FeatureWorld(theta=np.zeros(6), product=2.0)
    assert products.gold(replies).std() == pytest.approx(2.0, rel=0.01)


def test_a_head_finds_the_direction_and_the_share_of_flips_gives_its_length_back() -> None:
    rng = np.random.default_rng(1)
    world = draw_world(rng, 4)
    votes = world.compare(6000, rng)
    flipped = np.where(rng.random(6000) < 0.2, 1 - votes.vote, votes.vote)
    differences = votes.first - votes.second
    plain, informed = fit_weights(differences, flipped), fit_weights(differences, flipped, reliability=0.8)
    assert np.linalg.norm(plain) < 0.6 * np.linalg.norm(world.theta)
    assert np.linalg.norm(informed) == pytest.approx(np.linalg.norm(world.theta), rel=0.15)
    assert accuracy(differences @ plain, votes.gold) > 0.97


def test_dpo_over_shifted_policies_is_a_head() -> None:
    """At m = w / beta its losses are the likelihood of the head w (Rafailov et al. 2023, eq. 7), for any beta."""
    torch = pytest.importorskip("torch")
    from alignment.losses.pair import sigmoid_loss

    rng = np.random.default_rng(2)
    votes, weights, beta = draw_world(rng, 3).compare(50, rng), np.array([0.5, -1.0, 2.0]), 0.25
    is_first = votes.vote[:, None] == 1
    chosen, rejected = (
        np.where(is_first, *both) for both in ((votes.first, votes.second), (votes.second, votes.first))
    )
    shift = weights / beta
    log_ratios = [torch.tensor(each @ shift - shift @ shift / 2) for each in (chosen, rejected)]
    losses = sigmoid_loss(*log_ratios, beta=beta).losses.double().sum()
    likelihood, _ = head_objective(weights, make_pairs(votes.first - votes.second, votes.vote), 0.0)
    assert float(losses) == pytest.approx(likelihood, rel=1e-5)
