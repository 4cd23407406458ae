"""A source of rewards: a batch of completions in, a `Reward` out, or an error that names its sample.

No torch. The sources are `ModelReward`, `FunctionReward` and `RemoteReward` in the modules beside this one; `Rewards`
in `alignment.rewards.rewards` is their weighted sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alignment.rewards.spans import SpanReward
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

if TYPE_CHECKING:
    from alignment.generation.completion_sampler import Completion
    from rewardkit.data.prompts import PromptRow

SHOWN = 80  # characters of a prompt or completion in an error


@dataclass(frozen=True, kw_only=True)
class RewardBatch:
    """B completions to be rewarded.

    Attributes:
        prompts: the conversation before each completion.
        completions: texts, without their end and without a stop text.
        prompt_ids: tokens that the policy read; empty where they are not known.
        completion_ids: tokens that it wrote, the one that ended it among them; empty where they are not known.
        finished: whether each ended by itself; all did where it is empty.
        columns: what else the prompt's row holds, by name, one value for each completion.
    """

    prompts: Sequence[Sequence[Message]]
    completions: Sequence[str]
    prompt_ids: Sequence[tuple[int, ...]] = ()
    completion_ids: Sequence[tuple[int, ...]] = ()
    finished: Sequence[bool] = ()
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.completions:
            raise ValueError("a batch has no completion to reward")
        sizes = {"prompts": len(self.prompts)}
        optional = {"prompt_ids": self.prompt_ids, "completion_ids": self.completion_ids, "finished": self.finished}
        sizes |= {name: len(values) for name, values in optional.items() if len(values)}
        sizes |= {f"column {name}": len(values) for name, values in self.columns.items()}
        for name, size in sizes.items():
            if size != len(self):
                raise ValueError(f"{name} has {size} entries for {len(self)} completions, allowed is one each")

    @classmethod
    def of_groups(cls, rows: Sequence[PromptRow], groups: Sequence[Sequence[Completion]]) -> RewardBatch:
        """What a policy answered to the prompts of rows, a group for each; completions in order of groups."""
        answers = [(row, completion) for row, group in zip(rows, groups, strict=True) for completion in group]
        names = {name for row in rows for name in row.columns}
        return cls(
            prompts=[row.prompt for row, _ in answers],
            completions=[completion.text for _, completion in answers],
            prompt_ids=[completion.sampled.prompt for _, completion in answers],
            completion_ids=[completion.sampled.completion for _, completion in answers],
            finished=[completion.sampled.finished for _, completion in answers],
            columns={name: [row.columns.get(name) for row, _ in answers] for name in sorted(names)},
        )

    def __len__(self) -> int:
        return len(self.completions)

    def take(self, indices: Sequence[int]) -> RewardBatch:
        """Some of the completions."""

        def of(values: Sequence[Any]) -> list[Any]:
            return [values[index] for index in indices] if len(values) else []

        return replace(
            self,
            prompts=of(self.prompts),
            completions=of(self.completions),
            prompt_ids=of(self.prompt_ids),
            completion_ids=of(self.completion_ids),
            finished=of(self.finished),
            columns={name: of(values) for name, values in self.columns.items()},
        )

    @property
    def num_tokens(self) -> list[int]:
        """(B,) tokens of the completions; empty where they are not known."""
        return [len(ids) for ids in self.completion_ids]

    def lengths(self) -> np.ndarray:
        """(B,) tokens of the completions; words where tokens are not known."""
        if len(self.completion_ids):
            return np.array(self.num_tokens)
        return np.array([len(text.split()) for text in self.completions])


class RewardError(OSError):
    """A source that does not give rewards; as other failures of the outside it ends a command in one line, exit code 1.

    Attributes:
        source: its name and place.
        index: of the sample in its batch, None where only the batch is known.
    """

    def __init__(self, source: str, cause: str, batch: RewardBatch | None = None, index: int | None = None) -> None:
        self.source, self.index = source, index
        where = ""
        if batch is not None and index is not None:
            where = f" at sample {index} of {len(batch)} ({_sample(batch, index)})"
        elif batch is not None:
            where = f" in a batch of {len(batch)}, which sample is not known (the first: {_sample(batch, 0)})"
        super().__init__(f"reward {source}{where}: {' '.join(cause.split())}")


def _sample(batch: RewardBatch, index: int) -> str:
    last = batch.prompts[index][-1].content if batch.prompts[index] else ""
    return f"prompt {_head(last)}, completion {_head(batch.completions[index])}"


def _head(text: str) -> str:
    return repr(text[:SHOWN]) + ("..." if len(text) > SHOWN else "")


class RewardSource(Protocol):
    """Anything that rewards a batch."""

    @property
    def about(self) -> str:
        """Name and origin of the source, for errors."""
        ...

    def __call__(self, batch: RewardBatch) -> Reward | SpanReward:
        """Rewards of the B completions, or of their spans."""
        ...

    def close(self) -> None:
        """Ends what it holds, a process; a call after that starts it anew."""
        ...


def ask(source: RewardSource, batch: RewardBatch) -> Reward | SpanReward:
    """Returns the rewards of a batch, checked.

    Raises:
        RewardError: if they are not (K, B) numbers, or (K, S) of spans, or one is not finite, naming its sample.
    """
    rewards = source(batch)
    completion = rewards.completion if isinstance(rewards, SpanReward) else np.arange(len(batch))
    if sorted(set(completion.tolist())) != list(range(len(batch))):
        raise RewardError(source.about, "a completion has no reward", batch)
    members = np.asarray(rewards.members, dtype=np.float64)
    if members.ndim != 2 or members.shape[1] != len(completion) or not len(members):
        allowed = f"(members, {len(completion)})"
        raise RewardError(source.about, f"rewards of shape {members.shape}, allowed is {allowed}", batch)
    bad = ~np.isfinite(members)
    if bad.any():
        place = int(np.flatnonzero(bad.any(0))[0])
        member = int(np.flatnonzero(bad[:, place])[0])
        of = f" of member {member}" if len(members) > 1 else ""
        more = f"; {int(bad.any(0).sum())} of the batch are not" if bad.any(0).sum() > 1 else ""
        cause = f"the reward{of} is {members[member, place]}, allowed is a finite number{more}"
        raise RewardError(source.about, cause, batch, int(completion[place]))
    return replace(rewards, members=members)
