"""Gates and constraints: by hand, and that a learned multiplier finds its constraint."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from reward_toys import ToySource

from alignment.config.objectives import Constraint
from alignment.config.online import GrpoConfig
from alignment.rewards.objectives import Multipliers, gate_shares, gated
from alignment.rewards.rewards import Rewards, WeightedSource, joined_scores
from alignment.rewards.source import RewardBatch
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

PROMPT = (Message(role="user", content="q"),)
BATCH = RewardBatch(prompts=[PROMPT] * 3, completions=["a", "b", "c"])


def source(name: str, members: list[list[float]], weight: float = 1.0) -> WeightedSource:
    reward = Reward(members=np.array(members))
    return WeightedSource(name=name, weight=weight, source=ToySource(lambda _batch: reward, about=name))


HELPFUL = source("helpful", [[2.0, -1.0, 4.0], [4.0, -1.0, 4.0]], 0.5)  # 0.5 times the means: 1.5, -0.5, 2
SAFE = source("safe", [[0.5, 0.2, -1.0]])


def test_a_gate_zeroes_and_never_raises() -> None:
    found = Rewards([HELPFUL, SAFE], gates={"safe": 0.3}).score(BATCH)
    np.testing.assert_allclose(found.total, [1.5, -0.5, 0.0])  # the second is closed too, and below 0 already
    np.testing.assert_allclose(found.raw.members, [[1.0, -0.5, 0.0], [2.0, -0.5, 0.0]])
    assert found.metrics()["gate/safe"] == pytest.approx(1 / 3)
    assert list(found.parts) == ["helpful"]
    lower = Rewards([HELPFUL, SAFE], gates={"safe": 0.3}, gate_reward=-2.0).score(BATCH)
    np.testing.assert_allclose(lower.total, [1.5, -2.0, -2.0])


def test_a_gate_without_a_threshold_multiplies() -> None:
    found = Rewards([HELPFUL, SAFE], gates={"safe": None}).score(BATCH)
    np.testing.assert_allclose(found.total, [0.75, -0.5, 0.0])
    np.testing.assert_allclose(gate_shares(np.array([-1.0, 0.4, 3.0]), None), [0.0, 0.4, 1.0])
    # from -2: -2 + 0.5 (1.5 + 2) = -0.25, and 2 is shut to -2
    np.testing.assert_allclose(gated(np.array([1.5, 2.0]), np.array([0.5, 0.0]), closed=-2.0), [-0.25, -2.0])


def test_the_objective_under_a_constraint_by_hand() -> None:
    rewards = Rewards([HELPFUL, SAFE], constraints=[Constraint(name="safe", least=0.1)])
    rewards.multipliers = {"safe": 3.0}
    found = rewards.score(BATCH)
    # (1.5 + 3 (0.5 - 0.1)) / 4, (-0.5 + 3 (0.2 - 0.1)) / 4, (2 + 3 (-1 - 0.1)) / 4
    np.testing.assert_allclose(found.total, [0.675, -0.05, -0.325])
    np.testing.assert_allclose(found.raw.mean, found.total)
    np.testing.assert_allclose(found.parts["helpful"], [3.0, -1.0, 4.0])  # as of weight 1
    assert found.weights == {"helpful": 0.125, "safe": 0.75}
    summed = sum(found.weights[name] * found.parts[name] for name in found.parts)
    np.testing.assert_allclose(summed - 3 * 0.1 / 4, found.penalised)
    both = joined_scores([found.take([2]), found.take([0, 1])])
    np.testing.assert_array_equal(both.parts["safe"], [-1.0, 0.5, 0.2])


def test_multipliers_ascend_by_hand() -> None:
    constraint = Constraint(name="safe", least=0.5)
    multipliers = Multipliers(constraints=[constraint], logs=[math.log(2.0)], rate=0.1, smallest=0.5, most=4.0)
    assert multipliers.by_name["safe"] == pytest.approx(2.0)
    # missed by 1.5: log 2 + 0.1 x 2 x 1.5; met with 0.5 to spare: log 2 - 0.1 x 2 x 0.5
    assert multipliers.after({"safe": -1.0}).logs == [pytest.approx(math.log(2.0) + 0.3)]
    assert multipliers.after({"safe": 1.0}).logs == [pytest.approx(math.log(2.0) - 0.1)]
    assert multipliers.after({"safe": -99.0}).by_name["safe"] == pytest.approx(4.0)
    assert multipliers.after({"safe": 99.0}).by_name["safe"] == pytest.approx(0.5)


def test_a_multiplier_that_one_step_threw_down_comes_back() -> None:
    """From 20, met with 1 to spare at rate 1, e^-20 of it stays. From 0.02, missed by 1, 1 / lambda falls by 1 each."""

    def after_steps(smallest: float) -> float:
        constraint = Constraint(name="s", least=0.0)
        found = Multipliers(constraints=[constraint], logs=[math.log(20.0)], rate=1.0, smallest=smallest, most=20.0)
        found = found.after({"s": 1.0})
        for _ in range(60):
            found = found.after({"s": -1.0})
        return found.by_name["s"]

    assert after_steps(1e-12) < 1e-6
    assert after_steps(0.02) == pytest.approx(20.0)


def test_the_ascent_is_the_lagrangians_gradient_in_the_logarithm() -> None:
    """d / d log lambda of lambda (c - s) is lambda (c - s): against a difference of the Lagrangian itself."""
    logs, mean, least, step = 0.7, 0.2, 0.9, 1e-6
    one = Multipliers(constraints=[Constraint(name="s", least=least)], logs=[logs], rate=1.0, smallest=1e-9, most=1e9)
    slope = (math.exp(logs + step) - math.exp(logs - step)) / (2 * step) * (least - mean)
    assert one.after({"s": mean}).logs[0] - logs == pytest.approx(slope, rel=1e-6)


def test_a_learned_multiplier_finds_the_constrained_optimum() -> None:
    """Maximise x subject to 1 - x^2 >= 0.75, x by gradient of the objective: x = 0.5, where 1 = lambda 2 x: 1."""
    multipliers = Multipliers(
        constraints=[Constraint(name="s", least=0.75)], logs=[math.log(0.2)], rate=0.2, smallest=0.02, most=20.0
    )
    x = 0.0
    for _ in range(4000):
        weight = multipliers.by_name["s"]
        x += 0.02 * (1.0 - weight * 2 * x) / (1.0 + weight)
        multipliers = multipliers.after({"s": 1.0 - x * x})
    assert x == pytest.approx(0.5, abs=1e-3)
    assert multipliers.by_name["s"] == pytest.approx(1.0, abs=1e-2)


def config(**more: Any) -> GrpoConfig:
    options = {"model": "m", "prompts": "p", "out": "o", "reward": ["json", "length:20"]}
    return GrpoConfig(**options | more)  # pyright: ignore


def test_what_is_named_is_read() -> None:
    found = config(gate=["json=0.5"], gate_reward=-1.0)
    assert found.gates == {"json": 0.5}
    assert config(gate=["length"]).gates == {"length": None}
    assert config(constraint=["length=-2.5"]).constraints == [Constraint(name="length", least=-2.5)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gate": ["x=1"]}, "names no reward, the rewards are json, length"),
        ({"gate": ["json=high"]}, "allowed is NAME=LEAST"),
        ({"gate": ["json", "length"]}, "every reward is a gate"),
        ({"gate": ["json", "json=1"]}, "is a gate already"),
        ({"reward": ["2*json", "length:20"], "gate": ["json=1"]}, "has a weight, 2"),
        ({"constraint": ["json"]}, "allowed is NAME=LEAST"),
        ({"constraint": ["json=1", "json=2"]}, "each source is one thing"),
        ({"gate": ["json=1"], "constraint": ["length=0"]}, "name one that is to be maximised"),
        ({"multiplier_start": 30.0}, "to multiplier_max"),
        ({"multiplier_start": 0.01}, "allowed is multiplier_min, 0.02"),
        ({"multiplier_min": 0.0}, "multiplier_min is 0.0, allowed is more than 0"),
        ({"multiplier_rate": 0.0}, "multiplier_rate"),
        ({"several_rewards": "normalise_first", "scale": "none"}, "leave it out"),
        ({"several_rewards": "normalise_first", "gate": ["json=1"]}, "leave it out"),
        ({"several_rewards": "normalise_first", "loss": "rloo"}, "another baseline"),
        ({"model": "", "prompts": "", "reward": [], "constraint": ["json=1"]}, "none is given"),
        ({"model": "", "prompts": "", "reward": [], "gate": ["json=1"]}, "none is given"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        config(**options)
    assert "\n" not in str(error.value)


def test_multipliers_hold_their_order() -> None:
    two = [Constraint(name="a", least=0.0), Constraint(name="b", least=1.0)]
    multipliers = Multipliers(constraints=two, logs=[0.0, 1.0], rate=0.1, smallest=0.02, most=20.0)
    after = multipliers.after({"a": 0.0, "b": 0.0})
    assert after == replace(multipliers, logs=[0.0, pytest.approx(1.0 + 0.1 * math.e)])
