"""What each way of aligning a policy is worth on a seed's held-out messages, and what it took.

A reply of the demonstrations that SFT imitates, and the better of two, stand beside the methods: gold above an SFT
policy that falls short of its demonstrations may be no more than imitation mended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from alignment.config.lab import CompareConfig, Method
from alignment.lab.gold_evaluation import Worth
from alignment.lab.steps import Spent
from rewardkit.reward.reward import Reward, conservative
from rewardkit.stats.metrics import Interval, average_interval, difference_interval

Kind = Method | Literal["demonstrations", "best_of_two"]
BY_REWARD = ("best_of_n", "ppo", "grpo")  # need a reward model
NUM_SAMPLES = 2  # replies of each policy to a held-out message


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method or yardstick on one seed, on held-out messages.

    Attributes:
        gold: mean gold reward of its replies.
        gain: gold above that of SFT, paired by message; None for SFT itself.
        proxy: mean reward by the ensemble's mean, in standard deviations of held-out chosen replies, which have mean 0.
        kl: nats a reply to the SFT policy; of best-of-n a bound, nan where there is no policy.
        words: of a reply.
        seconds: wall clock of what only this method takes, SFT and the reward model apart; of best-of-n of its answers
            to the held-out messages.
        peak_mb: largest resident memory of that, MiB.
        num_tokens: it trained on or drew.
        num_updates: of its weights.
        reward_seconds, reward_tokens: of the reward model, where the method needs one.
    """

    seed: int
    method: Kind
    gold: Interval
    gain: Interval | None
    proxy: float
    kl: float
    words: float
    seconds: float
    peak_mb: float
    num_tokens: int
    num_updates: int
    reward_seconds: float
    reward_tokens: int


def row_of(method: Method, seed: int, worth: Worth, base: Worth, spent: Spent, reward: Spent | None = None) -> Row:
    """Computes a policy's row, compared with SFT.

    Args:
        reward: what the reward model took, which counts where the method needs one.
    """
    count = len(worth.gold)
    first = base.gold[:, :NUM_SAMPLES]
    numbers = np.repeat(np.arange(count), NUM_SAMPLES)
    own = worth.gold[:, :NUM_SAMPLES].ravel()
    counted = reward if reward and method in BY_REWARD else None
    return Row(
        seed=seed,
        method=method,
        gold=average_interval(own, numbers),
        gain=None if method == "sft" else difference_interval(own, first.ravel(), numbers),
        proxy=float(worth.proxy_mean[:, :NUM_SAMPLES].mean()),
        kl=float(worth.kl[:, :NUM_SAMPLES].mean()),
        words=float(worth.words[:, :NUM_SAMPLES].mean()),
        seconds=spent.seconds,
        peak_mb=spent.peak_mb,
        num_tokens=spent.num_tokens,
        num_updates=spent.num_updates,
        reward_seconds=counted.seconds if counted else 0.0,
        reward_tokens=counted.num_tokens if counted else 0,
    )


def best_of_n_row(config: CompareConfig, seed: int, base: Worth, drawn: Spent, reward: Spent) -> Row:
    """Computes the row of the best of n SFT replies by the ensemble's reward; nothing is trained.

    Args:
        drawn: what drawing and rewarding n replies to each held-out message took.
    """
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
        **_figures(gold, base),
        proxy=float(proxy.mean()),
        kl=kl_bound(config.n),
        words=float(words.mean()),
        seconds=drawn.seconds,
        peak_mb=drawn.peak_mb,
        num_tokens=drawn.num_tokens,
        num_updates=0,
        reward_seconds=reward.seconds,
        reward_tokens=reward.num_tokens,
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
            **_figures(gold, base),
            proxy=float(proxy.mean()),
            kl=float("nan"),
            words=float(words.mean()),
            seconds=0.0,
            peak_mb=0.0,
            num_tokens=0,
            num_updates=0,
            reward_seconds=0.0,
            reward_tokens=0,
        )

    values = replies.gold, replies.proxy_mean, replies.words
    return [
        row("demonstrations", *(each.mean(1) for each in values)),
        row("best_of_two", *(np.take_along_axis(each, best, 1)[:, 0] for each in values)),
    ]


def _figures(gold: np.ndarray, base: Worth) -> dict[str, Interval]:
    """Gold, (P,) by message, and how far it lies above SFT's."""
    numbers = np.arange(len(gold))
    return {
        "gold": average_interval(gold, numbers),
        "gain": difference_interval(gold, base.gold[:, :NUM_SAMPLES].mean(1), numbers),
    }
