"""Sources weighed, added and penalised, checked against sums written out."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reward_toys import ToySource

from alignment.config.rewards import RewardOptions
from alignment.rewards.rewards import Rewards, Terms, WeightedSource, add, load_rewards
from alignment.rewards.source import RewardBatch, RewardError
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward, conservative

PROMPT = (Message(role="user", content="q"),)
RULES = ("mean", "wco", "uwo", "entropic")
members = st.integers(1, 3).flatmap(lambda k: arrays(float, (k, 3), elements=st.floats(-5, 5)))


def batch(**given) -> RewardBatch:
    return RewardBatch(**{"prompts": [PROMPT] * 3, "completions": ["a", "b", "c"], **given})


def fixed(name: str, values, weight: float = 1.0) -> WeightedSource:
    reward = Reward(members=np.array(values, dtype=float))
    return WeightedSource(name=name, weight=weight, source=ToySource(lambda _batch: reward, about=name))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # members 1, 3 and 2, 2 and 0, 8; variances (ddof 1) 2, 0, 32; the verifier adds 0.5 times 1, 0, -1
        ("mean", [2.5, 2.0, 3.5]),
        ("wco", [1.5, 2.0, -0.5]),
        ("uwo", [2.5 - 0.1 * 2, 2.0, 3.5 - 0.1 * 32]),
        # -10 log((exp(-0.1) + exp(-0.3)) / 2) = 1.9500832..., and -10 log((1 + exp(-0.8)) / 2) = 3.22047...
        ("entropic", [0.5 + 1.95008, 2.0, -0.5 + 3.22047]),
    ],
)
def test_one_ensemble_and_a_verifier_by_hand(rule, expected: list[float]) -> None:
    sources = [fixed("ensemble", [[1, 2, 0], [3, 2, 8]]), fixed("verifier", [[1, 0, -1]], 0.5)]
    scored = Rewards(sources, penalty=rule, penalty_strength=0.1).score(batch())
    np.testing.assert_allclose(scored.penalised, expected, atol=1e-4)
    np.testing.assert_allclose(scored.raw.members, [[1.5, 2, -0.5], [3.5, 2, 7.5]])
    np.testing.assert_array_equal(scored.total, scored.penalised)
    np.testing.assert_allclose(scored.penalised, conservative(scored.raw, rule, strength=0.1))


@given(members, members)
def test_sums_put_members_together_in_every_way(one: np.ndarray, other: np.ndarray) -> None:
    total = add([Reward(members=one), Reward(members=other)]).members
    expected = [one[i] + other[j] for i, j in itertools.product(range(len(one)), range(len(other)))]
    np.testing.assert_allclose(total, expected)
    np.testing.assert_allclose(total.mean(0), one.mean(0) + other.mean(0), atol=1e-12)
    np.testing.assert_allclose(total.var(0), one.var(0) + other.var(0), atol=1e-9)
    np.testing.assert_allclose(total.min(0), one.min(0) + other.min(0))


@given(members, members, st.sampled_from(RULES), st.floats(-2, 2).filter(lambda weight: abs(weight) > 0.01))
def test_penalties_of_independent_sources_add_up(one, other, rule, weight: float) -> None:
    """Equal to the rule on the sum; for uwo up to ddof, which the sum of all combinations takes too small."""
    scored = Rewards([fixed("a", one), fixed("b", other, weight)], penalty=rule, penalty_strength=0.5).score(batch())
    if rule == "uwo":
        spread = sum(each.var(0, ddof=1) if len(each) > 1 else np.zeros(3) for each in (one, weight * other))
        expected = one.mean(0) + weight * other.mean(0) - 0.5 * spread
    else:
        expected = conservative(scored.raw, rule, strength=0.5)
    np.testing.assert_allclose(scored.penalised, expected, atol=1e-9)


def test_a_scaled_penalty_has_no_unit() -> None:
    # means 2, 2, 4 of one prompt: spread sqrt(8 / 3 / 2) = 1.1547; variances (ddof 1) 2, 0, 32
    values = np.array([[1.0, 2, 0], [3.0, 2, 8]])
    scored = Rewards([fixed("a", values)], penalty="uwo_scaled", penalty_strength=0.1).score(batch())
    np.testing.assert_allclose(scored.penalised, np.array([2, 2, 4]) - 0.1 * np.array([2, 0, 32]) / 1.154701, atol=1e-6)
    twice = Rewards([fixed("a", values, 2.0)], penalty="uwo_scaled", penalty_strength=0.1).score(batch())
    np.testing.assert_allclose(twice.penalised, 2 * scored.penalised)
    plain = [Rewards([fixed("a", values, weight)], penalty="uwo").score(batch()) for weight in (1.0, 2.0)]
    assert not np.allclose(plain[1].penalised, 2 * plain[0].penalised)  # uwo has one


def test_the_scale_is_that_of_a_prompts_completions() -> None:
    other = [Message(role="user", content="another prompt")]
    # means 2, 4 and 102, 106: spread within prompts sqrt((2 + 8) / 2) = 2.2361; a prompt's offset is no signal
    values = np.array([[1.0, 4, 102, 106], [3.0, 4, 102, 106]])
    both = RewardBatch(prompts=[PROMPT, PROMPT, other, other], completions=["a", "b", "c", "d"])
    scored = Rewards([fixed("a", values)], penalty="uwo_scaled").score(both)
    assert scored.penalised[0] == pytest.approx(2 - 2 / np.sqrt(5))
    np.testing.assert_array_equal(scored.penalised[1:], [4, 102, 106])


def test_a_penalty_that_outweighs_the_reward_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    mild = Rewards([fixed("a", [[1.0, 2, 3], [1.1, 2, 3]])], penalty="uwo")
    mild.score(batch())
    assert not caplog.records
    fierce = Rewards([fixed("a", [[1.0, 2, 0], [3.0, 2, 8]])], penalty="uwo")
    fierce.score(batch())
    fierce.score(batch())
    (record,) = caplog.records
    assert (
        "penalty uwo of strength 1 varies by 17.9 among a prompt's completions, the reward itself by 1.15"
        in record.message
    )
    assert "lower penalty_strength" in record.message


def test_terms_by_hand() -> None:
    given = batch(
        completions=["a b c d a b c d", "a b c d", ""],  # 5 4-grams, 4 different; one; none
        completion_ids=[(1,) * 8, (1,) * 5, (1,)],
        finished=[False, True, True],
    )
    terms = Terms(length_penalty=0.5, length_free=4, repetition_penalty=10, missing_eos_penalty=3)
    scored = Rewards([fixed("zero", [[0, 0, 0]])], terms=terms).score(given)
    np.testing.assert_allclose(scored.terms["length"], [2, 0.5, 0])
    np.testing.assert_allclose(scored.terms["repetition"], [2, 0, 0])
    np.testing.assert_allclose(scored.terms["missing_eos"], [3, 0, 0])
    np.testing.assert_allclose(scored.total, [-7, -0.5, 0])
    np.testing.assert_allclose(scored.penalised, 0)


def test_overlong_punishment_of_dapo_is_a_length_term() -> None:
    """Longest 20, cache 5: 0 up to 15 tokens, then (15 - L) / 5, -1 at 20."""
    given = batch(completion_ids=[(1,) * 15, (1,) * 18, (1,) * 20])
    term = Terms(length_penalty=1 / 5, length_free=15).of(given)["length"]
    np.testing.assert_allclose(-term, [0, -0.6, -1])


def test_terms_without_a_penalty_are_not_there() -> None:
    assert Terms().of(batch()) == {}
    np.testing.assert_array_equal(Terms(missing_eos_penalty=1).of(batch())["missing_eos"], 0)  # all ended


def test_metrics_by_hand() -> None:
    sources = [fixed("ensemble", [[1, 2, 0], [3, 2, 8]]), fixed("verifier", [[1, 0, -1]], 0.5)]
    terms = Terms(length_penalty=1, length_free=1)
    given = batch(completion_ids=[(1,), (1,), (1,) * 4])
    found = Rewards(sources, penalty="wco", terms=terms).score(given).metrics()
    expected = {
        # totals 1.5, 2, -0.5 - 3
        "reward/mean": 0.0,
        "reward/spread": float(np.std([1.5, 2, -3.5], ddof=1)),
        "reward/raw": (2.5 + 2 + 3.5) / 3,
        "reward/std": (2**0.5 + 0 + 32**0.5) / 3,
        "reward/penalised": 1.0,
        "penalty/length": 1.0,
        "rewards/ensemble/mean": (2 + 2 + 4) / 3,
        "rewards/ensemble/std": float(np.std([2, 2, 4], ddof=1)),
        "rewards/verifier/mean": 0.0,
        "rewards/verifier/std": 1.0,
    }
    assert found == pytest.approx(expected)
    json.dumps(found)


def test_one_completion_has_no_spread() -> None:
    reward = Reward(members=np.array([[2.0]]))
    source = WeightedSource(name="one", source=ToySource(lambda _batch: reward, about="one"))
    found = Rewards([source]).score(RewardBatch(prompts=[PROMPT], completions=["a"])).metrics()
    assert (found["reward/mean"], found["reward/spread"]) == (2.0, 0.0)


def test_a_sum_is_a_source_itself() -> None:
    inner = Rewards([fixed("a", [[1, 2, 3], [3, 2, 1]])], penalty="wco")
    sources = [WeightedSource(name="inner", weight=2, source=inner), fixed("b", [[1, 1, 1]])]
    np.testing.assert_allclose(Rewards(sources).score(batch()).total, [3, 5, 3])


def test_a_source_that_fails_ends_the_scoring() -> None:
    with pytest.raises(RewardError, match="reward bad at sample 2 of 3"):
        Rewards([fixed("good", [[1, 1, 1]]), fixed("bad", [[0, 0, np.nan]])]).score(batch())


def test_sources_need_names_of_their_own() -> None:
    with pytest.raises(ValueError, match=r"sources of rewards are \['a', 'a'\], allowed is a name of its own for each"):
        Rewards([fixed(name, [[0, 0, 0]]) for name in ("a", "a")])


def test_without_a_source_nothing_is_rewarded_but_faults_still_cost() -> None:
    with load_rewards(RewardOptions()) as rewards:
        scored = rewards.score(batch())
    assert scored.total.tolist() == [0.0, 0.0, 0.0]
    assert not scored.is_rewarded
    assert scored.metrics() == {}
    with load_rewards(RewardOptions(missing_eos_penalty=2)) as rewards:
        scored = rewards.score(batch(finished=[True, False, True]))
    assert scored.total.tolist() == [0.0, -2.0, 0.0]
    assert scored.metrics()["penalty/missing_eos"] == pytest.approx(2 / 3)


def test_a_configuration_is_loaded_and_scores(tmp_path: Path) -> None:
    (tmp_path / "judge.py").write_text("def brief(completions): return [-len(text) for text in completions]")
    options = RewardOptions(
        reward=["2*numeric", f"0.1*{tmp_path}/judge.py:brief"], missing_eos_penalty=1, reward_timeout_s=20
    )
    given = batch(completions=["it is 5", "#### 6", "5!"], finished=[True, True, False], columns={"answer": [5, 5, 5]})
    with load_rewards(options) as rewards:
        np.testing.assert_allclose(rewards.score(given).total, [2 - 0.7, -0.6, 2 - 0.2 - 1])


def test_wrong_answers_in_the_data_name_their_sample() -> None:
    with load_rewards(RewardOptions(reward=["numeric"])) as rewards, pytest.raises(RewardError) as caught:
        rewards.score(batch(columns={"answer": [5, "five", 5]}))
    assert "at sample 1 of 3" in str(caught.value)
    assert "ValueError: column answer holds 'five', which has no number" in str(caught.value)


def test_what_cannot_be_loaded_leaves_no_worker_behind(tmp_path: Path) -> None:
    options = RewardOptions(reward=["numeric", "no_such_module:judge"])
    with pytest.raises(RewardError, match="no_such_module:judge cannot be loaded: ModuleNotFoundError"):
        load_rewards(options)
    with pytest.raises(ValueError, match="no reward model, it holds neither"):
        load_rewards(RewardOptions(reward=[str(tmp_path)]))
