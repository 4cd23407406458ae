"""What to label next: each rule against numbers worked by hand, the greedy choice against a slow one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import digamma

from rewardkit.reward.reward import Reward
from rewardkit.scoring.acquisition import (
    RULES,
    Informativeness,
    PromptSpace,
    _digamma,
    bal_pm_priorities,
    measure,
    order,
    prioritise,
)


def reward(*members: list[float]) -> Reward:
    return Reward(members=np.array(members))


def space(features, prompt_of, num_labelled=None) -> PromptSpace:
    features = np.asarray(features, dtype=float)
    labelled = np.zeros(len(features), dtype=int) if num_labelled is None else np.asarray(num_labelled)
    return PromptSpace(features=features, prompt_of=np.asarray(prompt_of), num_labelled=labelled)


def test_members_that_disagree_tell_most_and_a_sure_toss_up_tells_nothing():
    # margins of member 1: ln 3, 0, 2; of member 2: -ln 3, 0, 4
    found = measure(reward([math.log(3), 1, 3], [0, 1, 4]), reward([0, 1, 1], [math.log(3), 1, 0]))
    # p = 3/4 and 1/4: H[1/2] - H[3/4] = 0.693147 - 0.562335
    assert found.mutual_information[0] == pytest.approx(0.130812, abs=1e-6)
    assert found.mutual_information[1] == 0.0
    # ddof = 1: |ln 3 - (-ln 3)| / sqrt 2 = 1.553672;  |2 - 4| / sqrt 2 = 1.414214
    assert found.std == pytest.approx([1.553672, 0.0, 1.414214], abs=1e-6)
    assert found.margin == pytest.approx([0.0, 0.0, 3.0])


def test_an_offset_that_a_member_gives_to_a_prompt_tells_nothing():
    found = measure(reward([1.0], [101.0]), reward([0.0], [100.0]))
    assert found.std == [0.0]
    assert found.mutual_information == [0.0]


def test_each_rule_puts_its_own_first():
    found = Informativeness(
        mutual_information=np.array([0.1, 0.3, 0.2]), std=np.array([3.0, 1.0, 2.0]), margin=np.array([-2.0, 1.0, 0.5])
    )
    assert list(order(prioritise(found, "mutual_information"))) == [1, 2, 0]
    assert list(order(prioritise(found, "std"))) == [0, 2, 1]
    assert list(order(prioritise(found, "margin"))) == [2, 1, 0]
    # 2 / sqrt(1 + 9 pi / 8) = 0.939, 1 / sqrt(1 + pi / 8) = 0.847, 0.5 / sqrt(1 + 4 pi / 8) = 0.312
    assert prioritise(found, "probability") == pytest.approx([-0.9392, -0.8474, -0.3118], abs=1e-4)
    one_member = Informativeness(mutual_information=np.zeros(3), std=np.zeros(3), margin=np.array([-2.0, 1.0, 0.5]))
    assert (prioritise(one_member, "probability") == prioritise(one_member, "margin")).all()


def test_equal_priorities_keep_their_order():
    assert list(order(np.array([1.0, 2.0, 1.0, 2.0]))) == [1, 3, 0, 2]
    flat = Informativeness(mutual_information=np.zeros(5), std=np.zeros(5), margin=np.zeros(5))
    one_place = space(np.zeros((1, 2)), np.zeros(5, dtype=int))
    for rule in ("probability", "mutual_information", "std", "margin", "bal_pm"):
        assert list(order(prioritise(flat, rule, prompts=one_place))) == [0, 1, 2, 3, 4]


def test_random_is_its_seed():
    flat = Informativeness(mutual_information=np.zeros(50), std=np.zeros(50), margin=np.zeros(50))
    first = prioritise(flat, "random", seed=1)
    assert np.array_equal(first, prioritise(flat, "random", seed=1))
    assert not np.array_equal(order(first), order(prioritise(flat, "random", seed=2)))


def test_turning_completions_around_changes_no_priority():
    rng = np.random.default_rng(0)
    a, b = Reward(members=rng.normal(size=(4, 30))), Reward(members=rng.normal(size=(4, 30)))
    prompts = space(rng.normal(size=(10, 3)), rng.integers(0, 10, 30))
    for rule in RULES:
        one, other = (prioritise(measure(*pair), rule, prompts=prompts) for pair in ((a, b), (b, a)))
        assert one == pytest.approx(other, abs=1e-9)


def test_bal_pm_takes_a_lonely_prompt_before_a_little_more_information():
    # prompts at 0, 1 and 3, one neighbour: D = 1, 1, 2;  log D = 0, 0, 0.693147, std 0.326753
    # within D: of 0 {0, 1}, of 1 {0, 1}, of 2 {1, 2}
    # I / std(I) = 1.224745, 3.674235, 2.449490 (std 0.081650);  e = log D - psi(1), psi(1) = -0.577216
    # scores 2.991271, 5.440761, 6.337331: comparison 2 is first and counts for prompt 2 alone
    # then 1 stays at 5.440761 and counts for 0, whose e is now -psi(2) = -0.422784: 1.224745 - 1.293896 = -0.069151
    information = np.array([0.1, 0.3, 0.2])
    found = bal_pm_priorities(information, space([[0.0], [1.0], [3.0]], [0, 1, 2]), num_neighbours=1)
    assert found == pytest.approx([-0.069151, 5.440761, 6.337331], abs=1e-5)
    assert list(order(found)) == [2, 1, 0]
    assert list(order(information)) == [1, 2, 0]


def test_bal_pm_leaves_what_is_labelled_already():
    information = np.array([0.2, 0.2])
    features = [[0.0], [1.0], [10.0], [11.0]]
    alone = bal_pm_priorities(information, space(features, [0, 2]), num_neighbours=1)
    assert alone[0] == alone[1]
    labelled = bal_pm_priorities(information, space(features, [0, 2], [0, 3, 0, 0]), num_neighbours=1)
    assert labelled[1] > labelled[0]


def test_bal_pm_without_weight_on_entropy_is_information():
    rng = np.random.default_rng(1)
    information = rng.random(40)
    found = bal_pm_priorities(information, space(rng.normal(size=(15, 2)), rng.integers(0, 15, 40)), entropy_weight=0.0)
    assert list(order(found)) == list(order(information))


@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(0, 25), st.integers(1, 4))
@example(seed=6531, num_prompts=5, num_comparisons=1, num_neighbours=4)  # distances equal but for rounding
@example(seed=12, num_prompts=8, num_comparisons=3, num_neighbours=1)  # information equal but for rounding
def test_bal_pm_is_the_slow_greedy_choice(seed, num_prompts, num_comparisons, num_neighbours):
    rng = np.random.default_rng(seed)
    features = rng.integers(0, 4, (num_prompts, 2)).astype(float)  # several at one place, several as far
    prompt_of, labelled = rng.integers(0, num_prompts, num_comparisons), rng.integers(0, 3, num_prompts)
    information = rng.integers(0, 4, num_comparisons) / 10
    found = bal_pm_priorities(
        information, space(features, prompt_of, labelled), entropy_weight=0.7, num_neighbours=num_neighbours
    )
    between = np.array([[math.dist(one, other) for other in features] for one in features])
    distance = np.array([nth_nearest(between, row, min(num_neighbours, num_prompts - 1)) for row in range(num_prompts)])
    positive = distance[distance > 0]
    log_distance = np.log(np.maximum(distance, positive.min() if len(positive) else 1.0))
    spread = log_distance.std()
    entropy_scale = 0.7 / (spread if spread > 1e-12 * np.abs(log_distance).max() else 1.0)
    spread = information.std() if len(information) else 0.0
    value = information / (spread if spread > 1e-12 * np.abs(information).max(initial=0.0) else 1.0)
    counted = list(enumerate(labelled))
    left = set(range(num_comparisons))
    for chosen in order(found):
        scores = {}
        for number in left:
            prompt = prompt_of[number]
            near = sum(times for at, times in counted if between[prompt, at] <= distance[prompt] + 1e-12)
            scores[number] = value[number] + entropy_scale * (log_distance[prompt] - digamma(near + 1) / 2)
        assert scores[chosen] == pytest.approx(max(scores.values()), abs=1e-9)
        assert scores[chosen] == pytest.approx(found[chosen], abs=1e-9)
        counted.append((prompt_of[chosen], 1))
        left.remove(chosen)


def nth_nearest(between, row, nearest):
    return sorted(np.delete(between[row], row))[nearest - 1] if nearest else 1.0


def test_digamma_is_scipys():
    assert _digamma(40)[1:] == pytest.approx(digamma(np.arange(1, 40)), abs=1e-12)


def test_what_does_not_fit_is_refused():
    flat = Informativeness(mutual_information=np.zeros(2), std=np.zeros(2), margin=np.zeros(2))
    with pytest.raises(ValueError, match="needs the prompts"):
        prioritise(flat, "bal_pm")
    with pytest.raises(ValueError, match="there are 2 prompts"):
        space(np.zeros((2, 1)), [0, 2])
    with pytest.raises(ValueError, match="num_labelled has shape"):
        space(np.zeros((2, 1)), [0, 1], [1])
    with pytest.raises(ValueError, match="entropy_weight is -1"):
        bal_pm_priorities(np.zeros(1), space(np.zeros((1, 1)), [0]), entropy_weight=-1)
