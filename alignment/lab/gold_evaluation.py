"""What a policy is worth in the simulated world: gold and proxy reward of its replies, and how far it has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignment.config.sampling import DrawConfig
from alignment.generation.completion_sampler import Completion, Sampler, load_samplers
from alignment.simulated_world import MAX_NEW_TOKENS, gold_rewards
from alignment.watch.text_metrics import kl_tokens
from rewardkit.data.records import Message
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward import Reward, RewardFn

NUM_SAMPLES = 2  # replies of each policy to a held-out message


@dataclass(frozen=True, kw_only=True)
class Worth:
    """Replies of a policy to P held-out messages, n each.

    Attributes:
        gold: (P, n) gold rewards.
        proxy: (K, P, n) rewards by the members of the reward model; None without one.
        kl: (P, n) k1 of each reply to the reference, nats, summed over tokens; 0 for the reference itself.
        words: (P, n) of each reply.
    """

    gold: np.ndarray
    proxy: np.ndarray | None
    kl: np.ndarray
    words: np.ndarray

    @property
    def proxy_mean(self) -> np.ndarray:
        """(P, n) mean over members; nan without a reward model."""
        return np.full_like(self.gold, np.nan) if self.proxy is None else self.proxy.mean(0)


@dataclass(frozen=True, kw_only=True)
class Replies:
    """What a policy answered to P held-out messages, n times each, those of a message one after another."""

    prompts: tuple[tuple[Message, ...], ...]
    drawn: tuple[Completion, ...]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.prompts), len(self.drawn) // len(self.prompts)

    def worth(self, reference: Sampler | None, reward_fn: RewardFn | None) -> Worth:
        """What they are worth.

        Args:
            reference: that the KL is taken to; None for replies of the reference itself.
            reward_fn: the proxy.
        """
        texts = [one.text for one in self.drawn]
        kl = np.zeros(len(texts))
        if reference:
            logps = reference.logps([one.sampled for one in self.drawn], temperature=1.0)
            own = [np.array(one.sampled.logps) for one in self.drawn]
            kl = np.array([kl_tokens(mine, other, "k1").sum() for mine, other in zip(own, logps, strict=True)])
        worth = worth_of_texts(self.prompts, np.array(texts, dtype=object).reshape(self.shape).tolist(), reward_fn)
        return replace(worth, kl=kl.reshape(self.shape))


def worth_of_texts(
    prompts: Sequence[tuple[Message, ...]], replies: Sequence[Sequence[str]], reward_fn: RewardFn | None
) -> Worth:
    """What n replies to each of P messages are worth, whoever wrote them; the KL is 0."""
    shape = len(prompts), len(replies[0])
    repeated = [prompt for prompt in prompts for _ in range(shape[1])]
    texts = [text for group in replies for text in group]
    members = reward_fn(repeated, texts).members if reward_fn else None
    return Worth(
        gold=np.array(gold_rewards([prompt[-1].content for prompt in repeated], texts)).reshape(shape),
        proxy=None if members is None else members.reshape(-1, *shape),
        kl=np.zeros(shape),
        words=np.array([len(text.split()) for text in texts]).reshape(shape),
    )


def load_proxy(folder: str) -> RewardFn:
    """The reward model in a folder, on the scale that `--reward` gives it: see `rewardkit.reward.metadata.Card`."""
    reward_fn, card = load_reward_fn(folder), read_card(folder)
    return lambda prompts, completions: Reward(members=card.normalised_members(reward_fn(prompts, completions).members))


def load_sampler(folder: str) -> Sampler:
    """The policy in a folder."""
    (sampler,) = load_samplers([folder])
    return sampler


def draw_replies(policy: Sampler, prompts: Sequence[tuple[Message, ...]], *, n: int, seed: int) -> Replies:
    """Lets a policy answer held-out messages of the world."""
    config = DrawConfig(prompts="-", max_new_tokens=MAX_NEW_TOKENS, seed=seed)
    groups = policy.draw(prompts, config, n=n)
    return Replies(prompts=tuple(prompts), drawn=tuple(one for group in groups for one in group))
