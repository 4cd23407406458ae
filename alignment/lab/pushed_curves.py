"""A proxy pushed further and further: gold by message and distance, its curve, and arms side by side at equal distance.

Arms that push at different speed are not comparable at their ends: a penalty that only slows a policy would win there.
They are compared at the distance that all of them reached, d = sqrt(KL), where each one's gold is read off its own
curve, linear between its points, and the difference from the mean of the ensemble is paired by message.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignment.config.lab import ADMITTED, ProxyMembers
from alignment.lab.curve_fits import Fit, fit_best_of_n, fit_reinforcement
from rewardkit.reward.reward import Penalty, Reward, conservative, spread_within
from rewardkit.stats.metrics import Interval, average_interval

By = Literal["best_of_n", "grpo"]
Rule = Literal["one", "mean", "uwo", "wco"]
RULES: tuple[Rule, ...] = ("one", "mean", "uwo", "wco")
RL_RULES: tuple[Rule, ...] = ("one", "mean", "uwo")


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """What stands for gold.

    Attributes:
        seed: of the world.
        pairs, noise: what it learned from: how many pairs, and the share of careless answers in their votes.
        members: what its members have of their own.
        admitted: whether it follows gold well enough to be pushed by GRPO, and to count over worlds.
    """

    seed: int
    pairs: int
    noise: float
    members: ProxyMembers = "full"
    admitted: bool = True


@dataclass(frozen=True, kw_only=True)
class Push:
    """A proxy pushed under a rule.

    Attributes:
        by: what pushes.
        rule: what stands for the ensemble's members; `one` is its first member alone.
        distance: (M,) sqrt of the KL to the SFT policy, nats a reply; of best-of-n of its bound.
        gold, reward: (P, M) gold and proxy reward of each held-out message, above the start.
        follows: correlation of what the rule rewards with gold among SFT replies to one message; see `following`.
        penalty: what the rule takes there, as a share of the signal; see `penalty_share`.
    """

    by: By
    proxy: Proxy
    rule: Rule
    distance: np.ndarray
    gold: np.ndarray
    reward: np.ndarray
    follows: float
    penalty: float = 0.0

    def gold_at(self, distance: float) -> np.ndarray:
        """(P,) gold at a distance, linear between the points; the start is 0 at distance 0."""
        order = np.argsort(self.distance, kind="stable")
        x = np.concatenate(([0.0], self.distance[order]))
        return np.array([np.interp(distance, x, np.concatenate(([0.0], gold))) for gold in self.gold[:, order]])


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A push in figures, its points from the nearest to the furthest.

    Attributes:
        distance: (M,) sqrt of nats a reply.
        gold, proxy: (M,) means over held-out messages, above the start.
        gold_low, gold_high: (M,) 95 % intervals of gold, messages resampled.
        follows: correlation of what the rule rewards with gold among SFT replies to one message, before any push.
        penalty: what the rule takes there, as a share of the signal; see `penalty_share`.
        best: the highest gold of the curve with its interval, which knows nothing of having been chosen.
        end: gold at the furthest point.
        common: the distance at which arms are compared, which all of them reached.
        gold_at_common: gold there.
        gain_at_common: that minus gold by the ensemble's mean, paired by message; None for the mean itself, and where
            there is none.
        fit: of gold; None for fewer points than it takes.
    """

    push: By
    seed: int
    pairs: int
    noise: float
    members: ProxyMembers
    admitted: bool
    rule: Rule
    distance: tuple[float, ...]
    gold: tuple[float, ...]
    gold_low: tuple[float, ...]
    gold_high: tuple[float, ...]
    proxy: tuple[float, ...]
    follows: float
    penalty: float
    best: Interval
    end: Interval
    common: float
    gold_at_common: Interval
    gain_at_common: Interval | None
    fit: Fit | None

    def gold_at(self, distance: float) -> float:
        """Mean gold at a distance, linear between the points; the start is 0 at distance 0."""
        return float(np.interp(distance, (0.0, *self.distance), (0.0, *self.gold)))

    @property
    def rose(self) -> str:
        """Whether gold was ever above the start: yes, not shown, or no."""
        if self.best.low > 0:
            return "yes"
        return "not shown" if self.best.value > 0 else "no"


def following(scores: np.ndarray, gold: np.ndarray) -> float:
    """Correlation of scores with gold, both (P, n), within messages: each message's mean is taken out first.

    A proxy that does not follow gold there has nothing to lose by being pushed, and nothing to give; nan where one of
    the two is the same for all replies to every message.
    """
    one, other = (values - values.mean(1, keepdims=True) for values in (scores, gold))
    spread = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum()) / spread if spread else float("nan")


def admission(follows: Sequence[float]) -> str:
    """Says whether proxies follow gold well enough for what pushes them to be judged.

    Args:
        follows: of each proxy; see `following`.
    """
    weak = [each for each in follows if not each > ADMITTED]
    if not weak:
        return f"Every proxy follows gold by more than {ADMITTED:g} within messages: what pushes it can be judged."
    return (
        f"{len(weak)} of {len(follows)} proxies follow gold by no more than {ADMITTED:g} within messages (down to "
        f"{min(weak):+.2f}): what is won or lost by pushing those says more of the proxy than of what pushes."
    )


def penalty_share(members: np.ndarray, rule: Penalty, *, strength: float = 1.0) -> float:
    """Spread of what a rule takes from the mean reward, as a share of that mean's own spread, within messages.

    sd(mean - reward under the rule) / sd(mean), `spread_within` messages: from 1 on the choice among replies to one
    message is more the penalty's than the reward's. nan where the mean does not tell any two of them apart.

    Args:
        members: (K, P, n) rewards.
    """
    rewards = Reward(members=members.reshape(len(members), -1))
    message = np.repeat(np.arange(members.shape[1]), members.shape[2])
    taken = rewards.mean - conservative(rewards, rule, strength=strength, group=message)
    spread = spread_within(rewards.mean, message)
    return spread_within(taken, message) / spread if spread else float("nan")


def uwo_strength(members: np.ndarray, share: float) -> float:
    """The strength at which what uwo takes is a share of the signal: share / `penalty_share` at strength 1.

    What uwo takes, and so its spread, is linear in its strength. Rounded to four digits, so that it reads alike in
    every run of a proxy.

    Args:
        members: (K, P, n) rewards.
        share: as `penalty_share` gives it, above 0.

    Returns:
        1 where uwo takes the same from all replies to a message at any strength, or the mean tells none of them apart.
    """
    at_one = penalty_share(members, "uwo")
    return float(f"{share / at_one:.4g}") if at_one > 0 else 1.0


def curves_of(pushes: Sequence[Push]) -> list[Curve]:
    """The curves of one proxy under several rules, compared at the distance that all of them reached."""
    common = min(float(push.distance.max(initial=0.0)) for push in pushes)
    plain = next((push for push in pushes if push.rule == "mean"), None)
    return [_curve(push, common, plain) for push in pushes]


def _curve(push: Push, common: float, plain: Push | None) -> Curve:
    order = np.argsort(push.distance, kind="stable")
    distance, gold = push.distance[order], push.gold[:, order]
    points = [_interval(column) for column in gold.T]
    there = push.gold_at(common)
    return Curve(
        push=push.by,
        seed=push.proxy.seed,
        pairs=push.proxy.pairs,
        noise=push.proxy.noise,
        members=push.proxy.members,
        admitted=push.proxy.admitted,
        rule=push.rule,
        distance=tuple(distance.tolist()),
        gold=tuple(point.value for point in points),
        gold_low=tuple(point.low for point in points),
        gold_high=tuple(point.high for point in points),
        proxy=tuple(push.reward.mean(0)[order].tolist()),
        follows=push.follows,
        penalty=push.penalty,
        best=max(points, key=lambda point: point.value),
        end=points[-1],
        common=common,
        gold_at_common=_interval(there),
        gain_at_common=None if plain in (None, push) else _interval(there - plain.gold_at(common)),
        fit=_fit(push, distance, gold),
    )


def _fit(push: Push, distance: np.ndarray, gold: np.ndarray) -> Fit | None:
    fit = fit_best_of_n if push.by == "best_of_n" else fit_reinforcement
    return fit(distance, gold, seed=push.proxy.seed)


def _interval(values: np.ndarray) -> Interval:
    return average_interval(values)
