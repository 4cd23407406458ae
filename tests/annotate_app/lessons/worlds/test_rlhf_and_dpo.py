import numpy as np
import pytest

from annotate_app.lessons.worlds.rlhf_and_dpo import FEATURES, both, higher, make_world


def test_features_write_any_reward_of_eight_answers() -> None:
    assert pytest.approx(8 * np.eye(7)) == FEATURES.T @ FEATURES
    assert FEATURES.sum(0) == pytest.approx(np.zeros(7))


def test_votes_are_as_many_as_asked_and_of_different_answers() -> None:
    world = make_world(num_votes=500, off_policy=0.5, seed=1)
    assert world.wins.sum() == 500
    assert not world.wins.diagonal().any()


@pytest.mark.parametrize("level", [0, 2])
def test_where_both_can_say_the_same_both_are_the_same_policy(level: int) -> None:
    assert both(reward_level=level, policy_level=level, seed=0)[2] < 2e-3


def test_a_blind_reward_model_costs_rlhf_and_a_bound_policy_costs_dpo() -> None:
    assert higher(reward_level=0, policy_level=2) == "DPO"
    assert higher(reward_level=2, policy_level=0) == "RLHF"
