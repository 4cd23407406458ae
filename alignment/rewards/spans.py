"""Rewards of parts of completions: of steps, of tokens, of any spans; what a whole completion is worth by them.

A source may give, instead of one number for a completion, a reward for each of its spans: a list of (end, reward) with
the characters of the completion up to the span's end, or a list of as many numbers as the completion has tokens. All
spans of B completions lie flat, in order of completions; nothing is padded. No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np

from alignment.config.rewards import StepReward
from rewardkit.reward.reward import Reward

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Unit = Literal["characters", "tokens"]


@dataclass(frozen=True, kw_only=True)
class SpanReward:
    """Rewards of the S spans of B completions by K members.

    Attributes:
        members: (K, S) float64.
        completion: (S,) int64, number of the completion of each span, ascending; each completion has a span or more.
        ends: (S,) int64, characters or tokens of the completion up to the span's end, ascending within a completion.
        unit: what `ends` count.
    """

    members: np.ndarray
    completion: np.ndarray
    ends: np.ndarray
    unit: Unit = "characters"

    @property
    def counts(self) -> np.ndarray:
        """(B,) int64, spans of each completion."""
        return np.bincount(self.completion)

    def whole(self, by: StepReward) -> Reward:
        """Rewards of the B completions: the least, the product, the last, the mean or the sum of their spans.

        Min and product: Lightman et al. 2023, appendix F (arXiv 2305.20050), where a reward is the probability that the
        step is right; last: Snell et al. 2024, section 5.1 (arXiv 2408.03314). `steps`, which credits each span, has
        the sum, as the return of a completion is that of its tokens' rewards.
        """
        starts = np.flatnonzero(np.diff(self.completion, prepend=-1))
        match by:
            case "min":
                members = np.minimum.reduceat(self.members, starts, axis=1)
            case "product":
                members = np.multiply.reduceat(self.members, starts, axis=1)
            case "last":
                members = self.members[:, [*(starts[1:] - 1), -1]]
            case "mean":
                members = np.add.reduceat(self.members, starts, axis=1) / self.counts
            case "sum" | "steps":
                members = np.add.reduceat(self.members, starts, axis=1)
            case _:
                assert_never(by)
        return Reward(members=members)


@dataclass(frozen=True, kw_only=True)
class Credits:
    """Rewards at tokens of B completions, S in all, whose sum over a completion is its total.

    Attributes:
        completion: (S,) int64, number of the completion, ascending.
        ends: (S,) int64, tokens of the completion up to the one that is rewarded, ascending; the last is its length.
        rewards: (S,) float64.
    """

    completion: np.ndarray
    ends: np.ndarray
    rewards: np.ndarray

    def take(self, indices: Sequence[int]) -> Credits:
        """Those of some of the completions."""
        places = [np.flatnonzero(self.completion == index) for index in indices]
        together = np.concatenate(places)
        return Credits(
            completion=np.repeat(np.arange(len(places)), [len(part) for part in places]),
            ends=self.ends[together],
            rewards=self.rewards[together],
        )

    def places(self, lengths: np.ndarray) -> np.ndarray:
        """(S,) int64, index of each rewarded token among the tokens of all completions, which lie one after another.

        Args:
            lengths: (B,) tokens of the completions.
        """
        return (np.cumsum(lengths) - lengths)[self.completion] + self.ends - 1


def joined_credits(parts: Sequence[Credits]) -> Credits:
    """Credits of several batches, in order; every completion has one or more."""
    starts = np.cumsum([0, *(int(part.completion[-1]) + 1 for part in parts)])
    shifted = [part.completion + start for part, start in zip(parts, starts[:-1], strict=True)]
    return Credits(
        completion=np.concatenate(shifted),
        ends=np.concatenate([part.ends for part in parts]),
        rewards=np.concatenate([part.rewards for part in parts]),
    )


def credit(
    spans: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], totals: np.ndarray, lengths: np.ndarray
) -> Credits:
    """Spans of several sources as rewards at tokens; what is left of a completion's total goes to its last token.

    Left are rewards of whole completions, penalties and terms. Spans that end at the same token are one.

    Args:
        spans: of each source the (S,) completion, the (S,) end in tokens and the (S,) reward of its spans.
        totals: (B,) of the completions.
        lengths: (B,) their tokens, 1 or more.
    """
    completion = np.concatenate([*(numbers for numbers, _, _ in spans), np.arange(len(totals))])
    ends = np.concatenate([*(ends for _, ends, _ in spans), lengths])
    rewards = np.concatenate([np.zeros(0), *(rewards for _, _, rewards in spans)])
    left = totals - np.bincount(completion[: len(rewards)], rewards, minlength=len(totals))
    places, index = np.unique((np.cumsum(lengths) - lengths)[completion] + ends, return_inverse=True)
    summed = np.bincount(index, np.concatenate([rewards, left]), minlength=len(places))
    number = np.repeat(np.arange(len(totals)), lengths)[places - 1]
    return Credits(completion=number, ends=places - (np.cumsum(lengths) - lengths)[number], rewards=summed)


def token_ends(
    spans: SpanReward,
    completions: Sequence[str],
    completion_ids: Sequence[tuple[int, ...]],
    tokenizer: PreTrainedTokenizerBase | None,
) -> np.ndarray:
    """(S,) int64, tokens up to the end of each span; a span that ends with the text ends with the completion's tokens.

    The token that brings a span's last character is its last one, found by halving: the text of the first k tokens
    never gets shorter with k.

    Raises:
        ValueError: if ends are characters and there is no tokenizer.
    """
    if spans.unit == "tokens":
        return spans.ends
    if tokenizer is None:
        raise ValueError("rewards of spans end at characters, which are found among tokens by the policy's tokenizer")
    places = np.zeros(len(spans.ends), dtype=np.int64)
    for place, (number, end) in enumerate(zip(spans.completion, spans.ends, strict=True)):
        ids, low = completion_ids[number], 1
        high = len(ids)
        while low < high and end < len(completions[number]):
            middle = (low + high) // 2
            low, high = (low, middle) if len(str(tokenizer.decode(list(ids[:middle])))) >= end else (middle + 1, high)
        places[place] = high
    return places


def read_spans(values: Sequence[Any], completions: Sequence[str], lengths: Sequence[int]) -> SpanReward:
    """What a source answered: of each completion a number, a list of (end, reward), or a list of a number a token.

    Args:
        lengths: tokens of the completions; empty where they are not known.

    Raises:
        SpanError: with the completion's number, if it is none of these.
    """
    by_token = [isinstance(value, list | tuple) and bool(value) and is_number(value[0]) for value in values]
    unit: Unit = "tokens" if any(by_token) else "characters"
    if unit == "tokens" and not len(lengths):
        raise SpanError(by_token.index(True), "it gives rewards of tokens, which are not known here")
    completion: list[int] = []
    ends: list[int] = []
    rewards: list[float] = []
    for index, value in enumerate(values):
        size = int(lengths[index]) if unit == "tokens" else len(completions[index])
        pairs = _pairs(index, value, size, unit)
        completion += [index] * len(pairs)
        ends += [end for end, _ in pairs]
        rewards += [reward for _, reward in pairs]
    return SpanReward(
        members=np.array([rewards], dtype=np.float64),
        completion=np.array(completion, dtype=np.int64),
        ends=np.array(ends, dtype=np.int64),
        unit=unit,
    )


class SpanError(ValueError):
    """Rewards of spans that are none.

    Attributes:
        index: of the completion.
    """

    def __init__(self, index: int, cause: str) -> None:
        self.index = index
        super().__init__(cause)


def _pairs(index: int, value: Any, size: int, unit: Unit) -> list[tuple[int, float]]:
    """(end, reward) of each span of a completion of `size` characters or tokens."""
    if is_number(value):
        return [(size, float(value))]
    if not isinstance(value, list | tuple) or not value:
        raise SpanError(index, f"the reward is {value!r:.80}, allowed is a number, or a list of them by span")
    if unit == "tokens":
        if len(value) != size or not all(map(is_number, value)):
            raise SpanError(index, f"the reward is {value!r:.80}, allowed is a number for each of its {size} tokens")
        return [(end, float(reward)) for end, reward in enumerate(value, start=1)]
    for one in value:
        if not (isinstance(one, list | tuple) and len(one) == 2 and type(one[0]) is int and is_number(one[1])):
            raise SpanError(index, f"the reward of a span is {one!r:.80}, allowed is (end in characters, number)")
    ends = [end for end, _ in value]
    if ends[-1] > size or ends[0] < min(size, 1) or any(later <= end for end, later in pairwise(ends)):
        raise SpanError(index, f"spans end at {ends!s:.80}, allowed are rising numbers from 1 to {size}")
    return [(end, float(reward)) for end, reward in value]


def is_number(value: Any) -> bool:
    """Whether a value is a number of Python's own."""
    return isinstance(value, int | float)
