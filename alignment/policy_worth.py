"""What a policy is worth in the simulated world: gold and proxy reward of its replies, and how far it has moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignment.evaluation_config import SampleConfig
from alignment.sample_metrics import kl_tokens
from alignment.sampler import Sampler, load_samplers
from alignment.simulated_world import MAX_NEW_TOKENS, gold_rewards
from rewardkit.data import Message
from rewardkit.reward import Reward, RewardFn


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


def load_policy(folder: str) -> Sampler:
    """The policy in a folder."""
    (sampler,) = load_samplers([folder])
    return sampler


def measure_worth(
    policy: Sampler,
    reference: Sampler | None,
    prompts: Sequence[tuple[Message, ...]],
    reward_fn: RewardFn | None,
    *,
    n: int,
    seed: int,
) -> Worth:
    """Lets a policy answer held-out messages of the world.

    Args:
        reference: that its KL is taken to; None for the reference itself.
        reward_fn: the proxy.
    """
    config = SampleConfig(model=["-"], prompts="-", out="-", max_new_tokens=MAX_NEW_TOKENS, seed=seed)
    drawn = [one for group in policy.draw(prompts, config, n=n) for one in group]
    repeated = [prompt for prompt in prompts for _ in range(n)]
    texts = [one.text for one in drawn]
    shape = len(prompts), n
    kl = np.zeros(len(drawn))
    if reference:
        logps = reference.logps([one.sampled for one in drawn], temperature=1.0)
        own = [np.array(one.sampled.logps) for one in drawn]
        kl = np.array([kl_tokens(mine, other, "k1").sum() for mine, other in zip(own, logps, strict=True)])
    reward: Reward | None = reward_fn(repeated, texts) if reward_fn else None
    return Worth(
        gold=np.array(gold_rewards([prompt[-1].content for prompt in repeated], texts)).reshape(shape),
        proxy=None if reward is None else reward.members.reshape(-1, *shape),
        kl=kl.reshape(shape),
        words=np.array([len(text.split()) for text in texts]).reshape(shape),
    )
