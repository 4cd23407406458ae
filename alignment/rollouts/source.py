"""The interface of whatever draws completions of the policy: the loops of this package, or vLLM."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Protocol

import torch

from alignment.config.online import OnlineConfig
from alignment.generation.generate import Sampled, Sampling, generate, plain_attention
from alignment.policy.policy import Policy
from rewardkit.distributed import collectives
from rewardkit.distributed.sharding import Sharded

INSTALL = 'rollouts by vLLM in this process need it: pip install "tiebreak[vllm]"'


class RolloutError(OSError):
    """A source that does not give completions; it ends a command in one line, exit code 1."""


class RolloutSource(Protocol):
    """Draws completions of a policy that it was made for."""

    def load(self) -> None:
        """Takes the policy's weights as they are now; every process calls it, before each rollout.

        Raises:
            RolloutError: in every process, if they cannot be taken.
        """
        ...

    def draw(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, num_samples: int, keys: Sequence[int]
    ) -> list[tuple[Sampled, ...]]:
        """Completions of this process's prompts, which may be none; see `alignment.generation.generate.generate`.

        Raises:
            RolloutError: if there are none, or not what was asked for.
        """
        ...

    def close(self) -> None: ...


class OwnRollouts:
    """The loops of `alignment.generation.generate`, in every process on the weights that it trains.

    Sharded ones are gathered layer by layer in each decode step, and all processes take equally many of these.

    Args:
        sharded: the policy's network; None where every process holds all weights.
    """

    def __init__(self, policy: Policy, config: OnlineConfig, sharded: Sharded | None = None) -> None:
        self.policy, self.config, self.sharded = policy, config, sharded

    def load(self) -> None:
        """Reads the weights when it draws."""

    def draw(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, num_samples: int, keys: Sequence[int]
    ) -> list[tuple[Sampled, ...]]:
        """See `alignment.generation.generate.generate`."""

        def draw_own() -> list[tuple[Sampled, ...]]:
            if not prompts:
                return []
            return generate(
                self.policy.network,
                prompts,
                sampling,
                num_samples=num_samples,
                token_budget=self.config.draw_budget,
                keys=keys,
                tokenizer=self.policy.tokenizer,
                precision=self.config.precision,
            )

        return self.sharded.in_turn(draw_own, self._idle) if self.sharded else draw_own()

    def _idle(self) -> None:
        """A decode step of nothing."""
        network = self.policy.network
        with plain_attention(network):
            network(input_ids=torch.zeros(1, 1, dtype=torch.int64, device=self.policy.device), use_cache=False)

    def close(self) -> None:
        """Holds nothing."""


def check_rollouts(config: OnlineConfig) -> None:
    """Whether the completions of a run can be drawn as it says, before anything is loaded.

    Raises:
        ImportError: if vLLM is missing.
        ValueError: if several processes are to have one in themselves.
    """
    if config.rollouts != "vllm":
        return
    if collectives.launched_world_size() > 1:
        raise ValueError("rollouts by vLLM in this process are for one process: start a vLLM server, give its address")
    if not importlib.util.find_spec("vllm"):
        raise ImportError(INSTALL)
