"""Drawing a step's completions and having them rewarded, shared out to processes; every process gets all of them.

A sample depends on the run's seed, the step, its prompt and its number alone: neither batches nor processes change it,
and a resumed run draws the same.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from alignment.config.online import OnlineConfig
from alignment.generation.completion_sampler import text_of
from alignment.generation.generate import Sampling
from alignment.policy.policy import Policy
from alignment.rewards.rewards import Rewards, ScoredBatch, joined_scores
from alignment.rewards.source import RewardBatch
from alignment.rollouts.rollouts import Rollouts, joined
from alignment.rollouts.source import RolloutError, RolloutSource
from rewardkit.data.prompts import PromptRow
from rewardkit.distributed import collectives
from rewardkit.network.packed_rows import Branched, divide
from rewardkit.network.tokens import cut_prompt, end_ids, policy_prompts


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A step's completions and what they are worth.

    Attributes:
        generate_s, reward_s: seconds that drawing and rewarding took.
    """

    rollouts: Rollouts
    scored: ScoredBatch
    generate_s: float
    reward_s: float

    @property
    def timed(self) -> dict[str, float]:
        tokens = int(self.rollouts.lengths.sum())
        return {
            "time/generate_s": self.generate_s,
            "time/reward_s": self.reward_s,
            "tokens_per_s/generate": tokens / max(self.generate_s, 1e-9),
        }


class Collector:
    """Draws completions of prompts from a policy and asks for their rewards.

    Args:
        rows: the prompts, by number.
        source: draws for the policy.
    """

    def __init__(
        self,
        policy: Policy,
        rows: Sequence[PromptRow],
        rewards: Rewards,
        config: OnlineConfig,
        source: RolloutSource,
    ) -> None:
        self.policy, self.rows, self.rewards, self.config = policy, rows, rewards, config
        self.source = source
        whole = policy_prompts([row.prompt for row in rows], policy.tokenizer)
        self.ids = [
            cut_prompt(row.prompt, ids, policy.tokenizer, max_length=config.max_prompt_length)
            for row, ids in zip(rows, whole, strict=True)
        ]
        self.num_cut = sum(len(ids) > config.max_prompt_length for ids in whole)
        self.sampling = Sampling(
            temperature=config.temperature,
            top_p=config.top_p,
            max_new_tokens=config.max_new_tokens,
            end_ids=end_ids(policy.network, policy.tokenizer),
            stop=tuple(config.stop),
        )

    def collect(
        self, numbers: Sequence[int], keys: Sequence[int], draw_key: Sequence[int], *, num_samples: int
    ) -> Collected:
        """Completions of the prompts with these numbers, rewarded; see `draw`.

        Raises:
            RolloutError: if they are not drawn.
            RewardError: if a completion gets no reward.
        """
        start = time.perf_counter()
        rollouts = self.draw(numbers, keys, draw_key, num_samples=num_samples)
        drawn_at = time.perf_counter()
        scored = score(rollouts, self.rewards)
        return Collected(
            rollouts=rollouts, scored=scored, generate_s=drawn_at - start, reward_s=time.perf_counter() - drawn_at
        )

    def draw(
        self, numbers: Sequence[int], keys: Sequence[int], draw_key: Sequence[int], *, num_samples: int
    ) -> Rollouts:
        """Completions of the prompts with these numbers.

        Args:
            keys: what makes the samples of each prompt differ from those of the others.
            draw_key: what makes this draw differ from others of the run: the step, say.
            num_samples: completions of each prompt.

        Raises:
            RolloutError: in every process, if one of them gets none.
        """
        seed = int(np.random.SeedSequence((self.config.seed, *draw_key)).generate_state(1)[0])
        sampling = replace(self.sampling, seed=seed)
        rank, world_size = collectives.rank(), collectives.world_size()
        shares = divide([len(self.ids[number]) for number in numbers], world_size)
        mine = shares[rank]
        own = [numbers[index] for index in mine], [keys[index] for index in mine]
        self.source.load()
        own_rollouts, failure = None, ""
        try:
            own_rollouts = self._draw(*own, sampling, num_samples)
        except RolloutError as error:
            failure = str(error)
        parts = collectives.all_gather_object((own_rollouts, failure))
        if failures := [message for _, message in parts if message]:
            raise RolloutError(failures[0])
        together = joined([part for part, _ in parts if part is not None])
        places = [index for share in shares for index in share]
        return together.take(np.argsort(places).tolist())

    def _draw(
        self, numbers: Sequence[int], keys: Sequence[int], sampling: Sampling, num_samples: int
    ) -> Rollouts | None:
        """Draws this process's completions; None where it has no prompt, and draws along with the others."""
        prompts = [self.ids[number] for number in numbers]
        groups = self.source.draw(prompts, sampling, num_samples=num_samples, keys=keys)
        if not groups:
            return None
        samples = [one for group in groups for one in group]
        return Rollouts(
            numbers=tuple(numbers),
            prompts=tuple(self.rows[number].prompt for number in numbers),
            columns=tuple(self.rows[number].columns for number in numbers),
            rows=tuple(
                Branched(prompt=group[0].prompt, branches=tuple(one.completion for one in group)) for group in groups
            ),
            texts=tuple(text_of(one, sampling, self.policy.tokenizer) for one in samples),
            finished=torch.tensor([one.finished for one in samples]),
            logps=torch.tensor([logp for one in samples for logp in one.logps]),
        )


def score(rollouts: Rollouts, rewards: Rewards) -> ScoredBatch:
    """Rewards of all completions, each process asking for its share of the groups."""
    rank, world_size = collectives.rank(), collectives.world_size()
    groups = len(rollouts.rows)
    bounds = [groups * number // world_size for number in range(world_size + 1)]
    own = range(bounds[rank], bounds[rank + 1])
    mine = rollouts if world_size == 1 else rollouts.take(own) if len(own) else None
    parts = collectives.all_gather_object(rewards.score(reward_batch(mine)) if mine else None)
    return joined_scores([part for part in parts if part is not None])


def reward_batch(rollouts: Rollouts) -> RewardBatch:
    """Completions as sources of rewards take them; a column that not all rows hold is None in the others."""
    size = rollouts.group_size
    names = list(dict.fromkeys(name for columns in rollouts.columns for name in columns))
    return RewardBatch(
        prompts=[prompt for prompt in rollouts.prompts for _ in range(size)],
        completions=rollouts.texts,
        prompt_ids=[row.prompt for row in rollouts.rows for _ in range(size)],
        completion_ids=[branch for row in rollouts.rows for branch in row.branches],
        finished=rollouts.finished.tolist(),
        columns={name: _spread(rollouts.columns, name, size) for name in names},
    )


def _spread(columns: Sequence[Mapping[str, Any]], name: str, size: int) -> list[Any]:
    return [values.get(name) for values in columns for _ in range(size)]
