"""From texts to rows of tokens: tokenise once, share prompts, fill batches by token budget.

A `Branched` row is one prompt followed by its branches (chosen and rejected, or the G completions of a group). In a
packed batch rows stand one after another in a single sequence of length T; attention is held apart by
`rewardkit.network.attention`, so no token is padding and no prompt is computed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class Branched:
    """Token ids of one prompt and of the completions that follow it, each with its end token.

    Attributes:
        reads: by branch, the places in it that are read by a model of scores, such as the ends of its steps; empty
            reads every branch at its last token.
    """

    prompt: tuple[int, ...]
    branches: tuple[tuple[int, ...], ...]
    reads: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        if not self.branches or not all(self.branches):
            raise ValueError("a row needs at least one branch, and no branch may be empty")

    @property
    def read_places(self) -> tuple[tuple[int, ...], ...]:
        """By branch, the places in it that are read."""
        return self.reads or tuple((len(branch) - 1,) for branch in self.branches)

    @property
    def num_tokens(self) -> int:
        """Tokens computed when the prompt is shared."""
        return len(self.prompt) + sum(map(len, self.branches))

    @property
    def num_padded_free_tokens(self) -> int:
        """Tokens of the full sequences, the prompt counted once per branch, without padding."""
        return len(self.prompt) * len(self.branches) + sum(map(len, self.branches))


def branch_at_common_prefix(sequences: Sequence[Sequence[int]]) -> Branched:
    """One row from full sequences: their longest common prefix as prompt, each rest (never empty) as a branch."""
    ordered = sorted(map(tuple, sequences))
    shortest, longest = ordered[0], ordered[-1]  # lexicographic: all others share what these two share
    limit = min(map(len, sequences)) - 1
    common = 0
    while common < limit and shortest[common] == longest[common]:
        common += 1
    return Branched(
        prompt=tuple(sequences[0][:common]), branches=tuple(tuple(sequence[common:]) for sequence in sequences)
    )


def filler(config: PretrainedConfig) -> int:
    """The token that fills rows up behind their mask: the model's pad token where it has weights for it, else 0."""
    text = config.get_text_config()
    pad_token_id = text.pad_token_id
    return pad_token_id if isinstance(pad_token_id, int) and 0 <= pad_token_id < text.vocab_size else 0


@dataclass(frozen=True, kw_only=True)
class PackedBatch:
    """Rows of a batch in one sequence.

    Attributes:
        rows: the rows, in order.
        input_ids, position_ids: (1, T) int64; positions continue from the prompt in every branch.
        last_index: (S,) int64, index in T of the token that is read of each branch, its last one unless its row says
            otherwise (`Branched.reads`, of which there may be several); branches in order of rows.
    """

    rows: tuple[Branched, ...]
    input_ids: Tensor
    position_ids: Tensor
    last_index: Tensor

    @property
    def num_tokens(self) -> int:
        return self.input_ids.shape[1]

    def read_index(self, skipped: int | None) -> Tensor:
        """(S,) int64, as `last_index` but of the last token of prompt and branch that is not the skipped one."""
        if skipped is None:
            return self.last_index
        index, offset = [], 0
        for row in self.rows:
            start = offset + len(row.prompt)
            for branch in row.branches:
                places = (*range(offset, offset + len(row.prompt)), *range(start, start + len(branch)))
                index.append(places[_last_place(row.prompt + branch, skipped)])
                start += len(branch)
            offset += row.num_tokens
        return torch.tensor(index)

    @cached_property
    def completion_index(self) -> Tensor:
        """(C,) int64: for every completion token, the index in T of the token that predicts it."""
        index, offset = [], 0
        for row in self.rows:
            start = len(row.prompt)
            for branch in row.branches:
                if not row.prompt:
                    raise ValueError("a completion without a prompt has no token that predicts its first one")
                index.append(offset + len(row.prompt) - 1)
                index.extend(range(offset + start, offset + start + len(branch) - 1))
                start += len(branch)
            offset += row.num_tokens
        return torch.tensor(index)

    @cached_property
    def completion_ids(self) -> Tensor:
        """(C,) int64: the completion tokens themselves, in the order of `completion_index`."""
        return torch.tensor([token for row in self.rows for branch in row.branches for token in branch])

    @cached_property
    def completion_branch(self) -> Tensor:
        """(C,) int64: the branch, 0 to S - 1, each completion token belongs to."""
        lengths = torch.tensor([len(branch) for row in self.rows for branch in row.branches])
        return torch.repeat_interleave(torch.arange(len(lengths)), lengths)


def pack(rows: Sequence[Branched]) -> PackedBatch:
    """Lays rows one after another; see `PackedBatch`."""
    ids: list[int] = []
    positions: list[int] = []
    last: list[int] = []
    for row in rows:
        prompt_length = len(row.prompt)
        ids.extend(row.prompt)
        positions.extend(range(prompt_length))
        for branch, places in zip(row.branches, row.read_places, strict=True):
            last.extend(len(ids) + place for place in places)
            ids.extend(branch)
            positions.extend(range(prompt_length, prompt_length + len(branch)))
    return PackedBatch(
        rows=tuple(rows),
        input_ids=torch.tensor([ids]),
        position_ids=torch.tensor([positions]),
        last_index=torch.tensor(last),
    )


@dataclass(frozen=True, kw_only=True)
class PaddedBatch:
    """The full sequences of a batch, right-padded: what any model takes.

    Attributes:
        input_ids, attention_mask: (S, L) int64, one row per branch, branches in order of rows.
        read_index: (R,) int64, index in L of what is read: the last token, the last one that is not skipped, or the
            places that its row names.
        read_row: (R,) int64, which of the S sequences that is of.
    """

    input_ids: Tensor
    attention_mask: Tensor
    read_index: Tensor
    read_row: Tensor


def _last_place(sequence: Sequence[int], skipped: int) -> int:
    """The place of the last token that is not the skipped one; 0 where all are, as in transformers."""
    return next((place for place in range(len(sequence) - 1, 0, -1) if sequence[place] != skipped), 0)


def pad(rows: Sequence[Branched], pad_token_id: int, *, skipped: int | None = None) -> PaddedBatch:
    """Writes every branch out with its prompt and pads on the right; the mask, not the pad token, says what counts."""
    sequences = [row.prompt + branch for row in rows for branch in row.branches]
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    input_ids = torch.full((len(sequences), int(lengths.max())), pad_token_id)
    for index, sequence in enumerate(sequences):
        input_ids[index, : len(sequence)] = torch.tensor(sequence)
    if skipped is None:
        reads = [tuple(len(row.prompt) + place for place in places) for row in rows for places in row.read_places]
    else:
        reads = [(_last_place(sequence, skipped),) for sequence in sequences]
    return PaddedBatch(
        input_ids=input_ids,
        attention_mask=(torch.arange(input_ids.shape[1])[None] < lengths[:, None]).long(),
        read_index=torch.tensor([place for places in reads for place in places]),
        read_row=torch.tensor([number for number, places in enumerate(reads) for _ in places]),
    )


def token_budget_batches(lengths: Sequence[int], *, token_budget: int, max_rows: int | None = None) -> list[list[int]]:
    """Splits rows into micro-batches of at most `token_budget` tokens, similar lengths together.

    Rows are sorted by length and taken greedily; a row longer than the budget stands alone. Order within the result is
    longest first, so that a batch too large for memory fails at once.
    """
    if token_budget < 1:
        raise ValueError(f"token_budget is {token_budget}, allowed is 1 or more")
    batches: list[list[int]] = []
    used = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        full = max_rows is not None and batches and len(batches[-1]) >= max_rows
        if not batches or full or used + lengths[index] > token_budget:
            batches.append([])
            used = 0
        batches[-1].append(index)
        used += lengths[index]
    return batches


def branches_within(row: Branched, token_budget: int) -> Iterator[slice]:
    """Slices of a row's branches that stay within the budget together with the prompt, at least one branch each."""
    start, used = 0, len(row.prompt)
    for number, branch in enumerate(row.branches):
        if number > start and used + len(branch) > token_budget:
            yield slice(start, number)
            start, used = number, len(row.prompt)
        used += len(branch)
    yield slice(start, len(row.branches))


def divide(lengths: Sequence[int], num_processes: int) -> list[list[int]]:
    """Deals rows out to processes with about as many tokens each: the longest first, to whoever has least."""
    shares: list[list[int]] = [[] for _ in range(num_processes)]
    tokens = [0] * num_processes
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        least = tokens.index(min(tokens))
        shares[least].append(index)
        tokens[least] += lengths[index]
    return shares


def epoch_order(num_rows: int, *, batch_size: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Batches of row numbers of one epoch, shuffled by seed and epoch; the last batch may be smaller."""
    order = np.random.default_rng((seed, epoch)).permutation(num_rows)
    for start in range(0, num_rows, batch_size):
        yield order[start : start + batch_size].tolist()
