from functools import partial
from math import log

import numpy as np
import pytest

from annotate_app.lessons.worlds.tabular_policy import fit_by_pairs, fit_by_reward, kl_between, tilted

REFERENCE = np.array([0.5, 0.25, 0.25])
REWARDS = np.array([0.0, log(2), log(4)])


def test_the_tilted_policy_weighs_the_reference_by_the_exponential_of_the_reward() -> None:
    """1/2, 1/4 and 1/4 times 1, 2 and 4 are 2, 2 and 4 parts of 8; at beta 1/2 times 1, 4 and 16: 2, 4 and 16 of 22."""
    assert tilted(REFERENCE, REWARDS, 1.0) == pytest.approx([1 / 4, 1 / 4, 1 / 2])
    assert tilted(REFERENCE, REWARDS, 0.5) == pytest.approx([1 / 11, 2 / 11, 8 / 11])
    assert tilted(np.array([0.5, 0.5, 0.0]), REWARDS, 1.0) == pytest.approx([1 / 3, 2 / 3, 0])


def test_kl_by_hand() -> None:
    assert kl_between(np.array([0.25, 0.25, 0.5]), REFERENCE) == pytest.approx(0.25 * log(0.5) + 0.5 * log(2))
    assert kl_between(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == float("inf")


def test_climbing_the_reward_ends_at_the_tilted_policy_and_few_features_end_below_it() -> None:
    def worth(policy: np.ndarray) -> float:
        return float(policy @ REWARDS) - 0.5 * kl_between(policy, REFERENCE)

    best = tilted(REFERENCE, REWARDS, 0.5)
    assert fit_by_reward(REFERENCE, np.eye(3), REWARDS, beta=0.5) == pytest.approx(best, abs=1e-4)
    first_alone = np.array([[1.0], [0.0], [0.0]])
    bound = fit_by_reward(REFERENCE, first_alone, REWARDS, beta=0.5)
    assert bound[1] == pytest.approx(bound[2])
    others = [np.array([share, (1 - share) / 2, (1 - share) / 2]) for share in np.linspace(0.001, 0.999, 999)]
    assert worth(bound) == pytest.approx(max(worth(other) for other in others), abs=1e-4)
    assert worth(bound) < worth(best)


def test_dpo_of_exact_votes_ends_at_the_tilted_policy_of_their_reward() -> None:
    """Votes of 1 million by sigma(difference): the weak prior moves nothing that is seen."""
    from alignment.losses.pair import sigmoid_loss

    wins = 1e6 / (1 + np.exp(REWARDS[None, :] - REWARDS[:, None])) * (1 - np.eye(3))
    fitted = fit_by_pairs(REFERENCE, np.eye(3), wins, partial(sigmoid_loss, beta=0.5), beta=0.5)
    assert fitted == pytest.approx([1 / 11, 2 / 11, 8 / 11], abs=2e-3)
