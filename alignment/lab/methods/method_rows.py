"""What each way of aligning a policy is worth on a seed's held-out messages, and what it took.

A reply of the demonstrations that SFT imitates, and the better of two, stand beside the methods: gold above an SFT
policy that falls short of its demonstrations may be no more than imitation mended.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from alignment.config.lab import CompareConfig, Method
from alignment.lab.gold_evaluation import NUM_SAMPLES, Replies, Worth
from alignment.lab.methods.arms import Arm
from alignment.lab.pushed_curves import ADMITTED, following, penalty_share
from alignment.lab.steps import Spent
from rewardkit.reward.reward import Reward, conservative
from rewardkit.stats.metrics import Interval, average_interval, correctness, difference_interval, mean_interval

Kind = Method | Literal["demonstrations", "best_of_two"]
BY_REWARD = ("best_of_n", "ppo", "grpo")  # need a reward model


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What an answer to a message takes.

    Attributes:
        tokens: drawn, and of best of n those that its reward model reads.
        seconds: wall clock.
    """

    tokens: float = 0.0
    seconds: float = 0.0


NOTHING, FREE = Spent(seconds=0.0, peak_mb=0.0, num_tokens=0, num_updates=0), Cost()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method or yardstick on one seed, on held-out messages.

    Attributes:
        value: beta of DPO and SPIN, KL weight of PPO and GRPO; nan of the others.
        flips: share of the votes that were turned around.
        gold: mean gold reward of its replies.
        gain: gold above that of SFT, paired by message; None for SFT itself.
        proxy: mean reward by the ensemble's mean, in standard deviations of held-out chosen replies, which have mean 0.
        kl: nats a reply to the SFT policy; of best-of-n a bound, nan where there is no policy.
        words: of a reply.
        spent: on what only this method takes, SFT and the reward model apart.
        reward: spent on the reward model, where the method needs one.
        answer: what each answer takes.
    """

    seed: int
    method: Kind
    value: float = float("nan")
    flips: float = 0.0
    gold: Interval
    gain: Interval | None
    proxy: float
    kl: float
    words: float
    spent: Spent = NOTHING
    reward: Spent | None = None
    answer: Cost = FREE


@dataclass(frozen=True, kw_only=True)
class RewardRow:
    """The reward model of one seed, on held-out messages.

    Attributes:
        flips: share of the votes it learned from that were turned around.
        right: share of pairs of the world's replies that it orders as gold does.
        follows: correlation of its mean with gold among SFT replies to one message; see `following`.
        penalty: see `penalty_share`; 0 for the mean.
    """

    seed: int
    flips: float
    right: Interval
    follows: float
    penalty: float

    @property
    def is_admitted(self) -> bool:
        """Whether it follows gold well enough that pushing it says something of what pushes."""
        return self.follows > ADMITTED


def answer_cost(replies: Replies, seconds: float) -> Cost:
    """Computes what one reply took of all that were drawn."""
    count = len(replies.drawn)
    return Cost(tokens=sum(len(one.sampled.completion) for one in replies.drawn) / count, seconds=seconds / count)


def best_of_n_cost(config: CompareConfig, replies: Replies, seconds: float) -> Cost:
    """Computes what the best of n takes a message, drawn and rewarded.

    Args:
        replies: of the SFT policy, any number a message.
        seconds: that drawing and rewarding them took.
    """
    one = answer_cost(replies, seconds)
    read = sum(len(each.sampled.prompt) + len(each.sampled.completion) for each in replies.drawn) / len(replies.drawn)
    return Cost(tokens=config.n * (one.tokens + read), seconds=config.n * one.seconds)


def row_of(seed: int, arm: Arm, worth: Worth, base: Worth, spent: Spent, reward: Spent, answer: Cost) -> Row:
    """Computes a trained policy's row, compared with SFT.

    Args:
        reward: spent on the reward model, which counts where the method needs one.
    """
    gold, proxy, words = (values[:, :NUM_SAMPLES].mean(1) for values in (worth.gold, worth.proxy_mean, worth.words))
    return Row(
        seed=seed,
        method=arm.method,
        value=arm.value,
        flips=arm.flips,
        gold=average_interval(gold),
        gain=_above(gold, base),
        proxy=float(proxy.mean()),
        kl=float(worth.kl[:, :NUM_SAMPLES].mean()),
        words=float(words.mean()),
        spent=spent,
        reward=reward if arm.method in BY_REWARD else None,
        answer=answer,
    )


def sft_row(seed: int, base: Worth, spent: Spent, answer: Cost) -> Row:
    """Computes the row of the policy where all begin."""
    arm = Arm(method="sft", value=float("nan"), flips=0.0)
    return replace(row_of(seed, arm, base, base, spent, spent, answer), gain=None)


def best_of_n_row(config: CompareConfig, seed: int, flips: float, base: Worth, reward: Spent, answer: Cost) -> Row:
    """Computes the row of the best of n SFT replies by the ensemble's reward; nothing is trained."""
    assert base.proxy is not None
    shape = base.gold.shape
    chosen_by = conservative(Reward(members=base.proxy.reshape(len(base.proxy), -1)), config.penalty).reshape(shape)
    draws = slice(0, config.n)
    gold, proxy, words = (
        expected_best(chosen_by[:, draws], values[:, draws])[:, -1]
        for values in (base.gold, base.proxy_mean, base.words.astype(float))
    )
    return Row(
        seed=seed,
        method="best_of_n",
        flips=flips,
        gold=average_interval(gold),
        gain=_above(gold, base),
        proxy=float(proxy.mean()),
        kl=kl_bound(config.n),
        words=float(words.mean()),
        reward=reward,
        answer=answer,
    )


def yardstick_rows(seed: int, replies: Worth, base: Worth) -> list[Row]:
    """Computes the rows of a demonstration, and of the better of two by gold.

    Args:
        replies: two of the world to each held-out message.
    """
    best = replies.gold.argmax(1)[:, None]

    def row(method: Kind, gold: np.ndarray, proxy: np.ndarray, words: np.ndarray) -> Row:
        return Row(
            seed=seed,
            method=method,
            gold=average_interval(gold),
            gain=_above(gold, base),
            proxy=float(proxy.mean()),
            kl=float("nan"),
            words=float(words.mean()),
        )

    values = replies.gold, replies.proxy_mean, replies.words
    return [
        row("demonstrations", *(each.mean(1) for each in values)),
        row("best_of_two", *(np.take_along_axis(each, best, 1)[:, 0] for each in values)),
    ]


def reward_row(config: CompareConfig, seed: int, flips: float, replies: Worth, base: Worth) -> RewardRow:
    """Computes how well the reward model knows gold.

    Args:
        replies: two of the world to each held-out message; pairs of the same gold say nothing.
        base: replies of the SFT policy.
    """
    assert base.proxy is not None
    gold, proxy = (values[:, 0] - values[:, 1] for values in (replies.gold, replies.proxy_mean))
    differ = np.flatnonzero(gold)
    return RewardRow(
        seed=seed,
        flips=flips,
        right=mean_interval(correctness((proxy * np.sign(gold))[differ]), differ),
        follows=following(base.proxy_mean, base.gold),
        penalty=penalty_share(base.proxy, config.penalty),
    )


def _above(gold: np.ndarray, base: Worth) -> Interval:
    """How far gold by message, (P,), lies above SFT's."""
    return difference_interval(gold, base.gold[:, :NUM_SAMPLES].mean(1), np.arange(len(gold)))
