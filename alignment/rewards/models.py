"""Reward models and ensembles of rewardkit as sources of rewards. torch is imported when a model is loaded.

Scale: a model's card holds mean and standard deviation of its overall reward on held-out chosen completions, and with
`normalise` rewards are given as (r - mean) / std. A reward made of criteria by weights (`FOLDER#helpful=1,safe=2`) is
another quantity: its spread depends on how the heads move together, which no card records, and the overall head's
statistics would shift and stretch it by numbers of something else. Such a reward stays on its own scale, the sum that
the weights say, and one warning tells so; the source's weight (`0.5*FOLDER#...`) sets its share among other sources.

Tokens: where the policy has the reward model's tokens and template, its completions are scored as the tokens that were
drawn, without rendering and tokenising their text again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from alignment.rewards.source import RewardBatch
from rewardkit.data.records import Message
from rewardkit.reward.metadata import Card
from rewardkit.reward.reward import Reward, RewardFn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from rewardkit.network.packed_rows import Branched
    from rewardkit.weights.offload import Away

logger = logging.getLogger(__name__)
# Completions that templates like to change: blanks around them, thoughts before them.
_PROBES = ("b", " b\n", "<think>\nc\n</think>\n\nb")
_CONVERSATIONS = (
    (Message(role="user", content="a"),),
    (
        Message(role="system", content="s"),
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    ),
)


@runtime_checkable
class ReadsTokens(Protocol):
    """A reward model that scores rows of tokens."""

    card: Card

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def packed(self) -> bool: ...

    def score_rows(self, rows: Sequence[Branched], *, token_budget: int = 0) -> Reward:
        """Rewards of the branches, in order of rows."""
        ...


class ModelReward:
    """A reward model as a source of rewards.

    Args:
        reward_fn: the loaded model.
        card: what it says of itself.
        name: what errors call it.
        normalise: give rewards on the scale of its saved statistics, (r - mean) / std; a model without any, and one
            whose criteria are weighed, keeps its own scale, and one warning says so.
        criterion_weights: those that the model was loaded with; empty for its overall head.
        policy_tokenizer: of the policy that writes the completions; where template and tokens are the model's own,
            tokens are scored as they were written, and no text is rendered and tokenised again. None scores texts.
        offload: whether its network lies in the CPU's memory between calls.
    """

    def __init__(
        self,
        reward_fn: RewardFn,
        card: Card,
        *,
        name: str,
        normalise: bool = True,
        criterion_weights: Mapping[str, float] | None = None,
        policy_tokenizer: PreTrainedTokenizerBase | None = None,
        offload: bool = False,
    ) -> None:
        self.reward_fn, self.card = reward_fn, card
        self.about = name
        self.normalise = normalise and card.has_statistics and not criterion_weights
        if normalise and not self.normalise:
            kind = "saved statistics of its weighted criteria" if criterion_weights else "saved statistics"
            logger.warning("reward %s has no %s: its rewards stay on their own scale", name, kind)
        self.end: tuple[int, ...] | None = None  # what follows a completion, where its tokens can be scored
        if policy_tokenizer is not None and isinstance(reward_fn, ReadsTokens):
            self.end = shared_end(reward_fn.tokenizer, policy_tokenizer)
        self.away = away_between_calls(reward_fn) if offload else []

    def __call__(self, batch: RewardBatch) -> Reward:
        """Rewards of the B completions by every member."""
        with ExitStack() as stack:
            for network in self.away:
                stack.enter_context(network.here())
            return self._rewards(batch)

    def _rewards(self, batch: RewardBatch) -> Reward:
        by_token = self._scored_by_token(batch)
        by_text = sorted(set(range(len(batch))) - set(by_token))
        parts = []
        if by_token:
            parts.append(self._token_members(batch.take(by_token)))
        if by_text:
            texts = batch.take(by_text)
            parts.append(self.reward_fn(texts.prompts, texts.completions).members)
        members = np.concatenate(parts, axis=1)[:, np.argsort([*by_token, *by_text])]
        return Reward(members=self.card.normalised_members(members) if self.normalise else members)

    def close(self) -> None:
        """The model stays in memory."""

    def _scored_by_token(self, batch: RewardBatch) -> list[int]:
        """The completions whose tokens are what the model would read.

        One that a stop text ended holds tokens of that text; one with a token beyond the vocabulary has no such text;
        one that is too long is cut as a text.
        """
        if self.end is None or not len(batch.prompt_ids) or not len(batch.completion_ids):
            return []
        assert isinstance(self.reward_fn, ReadsTokens)
        num_tokens, last = len(self.reward_fn.tokenizer), self.end[0]
        cut = [not finished for finished in batch.finished] if len(batch.finished) else [False] * len(batch)
        num_end, longest = len(self.end), self.card.max_length if self.card.keeps_marks else 2**62
        too_long = {  # all completions of such a prompt are cut alike, as texts
            prompt
            for prompt, ids in zip(batch.prompt_ids, batch.completion_ids, strict=True)
            if len(prompt) + len(ids) + num_end > longest
        }
        return [
            index
            for index, ids in enumerate(batch.completion_ids)
            if (cut[index] or (ids and ids[-1] == last))
            and max(ids, default=0) < num_tokens
            and batch.prompt_ids[index] not in too_long
        ]

    def _token_members(self, batch: RewardBatch) -> np.ndarray:
        assert isinstance(self.reward_fn, ReadsTokens)
        assert self.end is not None
        groups: dict[object, list[int]] = {}
        for index, ids in enumerate(batch.prompt_ids):
            groups.setdefault(ids if self.reward_fn.packed else index, []).append(index)
        rows = [
            token_row([(batch.prompt_ids[index], batch.completion_ids[index]) for index in group], self.end, self.card)
            for group in groups.values()
        ]
        order = [index for group in groups.values() for index in group]
        return self.reward_fn.score_rows(rows).members[:, np.argsort(order)]


def away_between_calls(model: object) -> list[Away]:
    """Moves the networks of a model into the CPU's memory; returns what brings each here. Empty where it has none."""
    from rewardkit.distributed.collectives import default_device
    from rewardkit.weights.offload import Away

    return [Away(network, default_device()) for network in getattr(model, "networks", ())]


def token_row(
    completions: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], end: tuple[int, ...], card: Card
) -> Branched:
    """Returns the completions of one prompt with the prompt's tokens, as the reward model reads them.

    A completion that was cut gets its end too, as the text of it would: the model has seen whole turns only.
    """
    from rewardkit.network.packed_rows import branch_at_common_prefix

    sequences = [
        (*prompt, *(completion[:-1] if completion and completion[-1] == end[0] else completion), *end)
        for prompt, completion in completions
    ]
    return branch_at_common_prefix([sequence[-card.max_length :] for sequence in sequences])


def shared_end(tokenizer: PreTrainedTokenizerBase, policy_tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...] | None:
    """Returns the tokens that end a turn if reward model and policy read the same tokens; else None.

    That takes the same tokens and template, and a template that leaves a completion as it is and ends it with a special
    token, so that no token reaches over the border.
    """
    from rewardkit.network.chat_template import conversation_texts, prompt_text

    if tokenizer.chat_template != policy_tokenizer.chat_template or not _same_tokens(tokenizer, policy_tokenizer):
        return None
    ends: set[str] = set()
    for conversation in _CONVERSATIONS:
        start = prompt_text(conversation, tokenizer)
        for probe, whole in zip(_PROBES, conversation_texts(conversation, _PROBES, tokenizer), strict=True):
            if not whole.startswith(start + probe):
                return None
            ends.add(whole[len(start + probe) :])
    if len(ends) != 1:
        return None
    ids = tuple(tokenizer(ends.pop(), add_special_tokens=False)["input_ids"])
    return ids if ids and ids[0] in tokenizer.all_special_ids else None


def _same_tokens(tokenizer: PreTrainedTokenizerBase, policy_tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether both make the same tokens of a text; the reward model may have a pad token of its own besides."""
    ours, theirs = (set(one.get_vocab().items()) for one in (tokenizer, policy_tokenizer))
    if theirs - ours or any(token != tokenizer.pad_token for token, _ in ours - theirs):
        return False
    backends = [getattr(one, "backend_tokenizer", None) for one in (tokenizer, policy_tokenizer)]
    if any(backend is None for backend in backends):
        return False
    ours, theirs = (json.loads(backend.to_str()) for backend in backends if backend)
    return all(ours[part] == theirs[part] for part in ("normalizer", "pre_tokenizer", "model"))
