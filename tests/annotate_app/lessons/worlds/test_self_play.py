from math import log

import numpy as np
import pytest

from annotate_app.lessons.worlds.self_play import (
    MANY,
    NUM_ANSWERS,
    grows_without_limit,
    left,
    left_after_one_round,
    people,
    small_beta_is_only_faster,
    spin_round,
    the_loss_goes_to_zero,
)


@pytest.mark.parametrize(("beta", "share"), [(4.0, 0.75), (1.0, 0.0), (0.5, -1.0)])
def test_a_round_leaves_one_minus_one_over_beta_of_what_was_left(beta: float, share: float) -> None:
    """Pairs i over j count p_i q_j, so beta (f_i - f_j) = log(p_i q_j) - log(p_j q_i), f the log-ratio learned."""
    assert left_after_one_round(beta) == pytest.approx(share, abs=0.01)


def test_with_nothing_left_to_learn_a_round_changes_nothing() -> None:
    demonstrations, _ = people(3)
    done = spin_round(demonstrations, MANY * demonstrations, MANY * demonstrations, beta=1.0)
    assert done.policy == pytest.approx(demonstrations, abs=1e-5)
    assert done.loss == pytest.approx(log(2), abs=1e-6)


def test_an_answer_that_nobody_demonstrated_goes_away() -> None:
    _, policy = people(3)
    shown = np.full(NUM_ANSWERS, 20.0)
    shown[0] = 0.0
    after = spin_round(policy, shown, 100 * policy, beta=1.0).policy
    assert after[0] < policy[0] / 20
    assert left(after[1:], np.full(NUM_ANSWERS - 1, 0.2)) == pytest.approx(np.zeros(NUM_ANSWERS - 1), abs=0.05)


def test_what_texts_say_of_self_play_is_run_and_wrong() -> None:
    assert grows_without_limit().is_wrong
    assert the_loss_goes_to_zero().is_wrong
    assert small_beta_is_only_faster().is_wrong
