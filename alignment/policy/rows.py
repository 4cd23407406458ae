"""From what people wrote and preferred to the token rows a policy is trained on, tokenised once.

Where a prompt ends and a completion begins, and how a completion ends, is `rewardkit.network.tokens`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignment.policy.data import Demonstration, Labelled
from rewardkit.data.conversations import call_names
from rewardkit.data.records import Message, Preference
from rewardkit.network.chat_template import completion_text, prompt_text
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import cut_prompt, policy_rows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class PolicyRows:
    """N rows of token ids with what a loss asks of them.

    Attributes:
        rows: one branch each, or of preferences two, chosen first.
        keep: by row, bool over its completion tokens in the order of its branches, which of them to train on; None
            takes all.
        weight, p_chosen, margin: (N,) float32.
        desirable: (N,) bool.
        prompts: (N,) the conversations they came from, for samples.
        reference: (N, S) float32, log-probabilities of the branches under the reference, nats; None while unknown.
        partners: of KTO, by row, its prompt with the completion of another prompt's row.
        partner_reference: (N, 1) float32, their log-probabilities under the reference, nats; None while unknown.
        num_cut: rows that lost tokens to `max_length`.
        num_left_out: rows in which nothing was left to learn from.
    """

    rows: Sequence[Branched]
    keep: Sequence[Tensor] | None
    weight: Tensor
    p_chosen: Tensor
    margin: Tensor
    desirable: Tensor
    prompts: Sequence[tuple[Message, ...]]
    reference: Tensor | None = None
    partners: Sequence[Branched] = ()
    partner_reference: Tensor | None = None
    num_cut: int = 0
    num_left_out: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def num_targets(self) -> Tensor:
        """Returns (N,) float32, the number of trained completion tokens of each row."""
        if self.keep is None:
            return torch.tensor([float(row.num_tokens - len(row.prompt)) for row in self.rows])
        return torch.tensor([float(mask.sum()) for mask in self.keep])

    def keep_of(self, indices: Sequence[int]) -> Tensor | None:
        """Returns the argument `keep` of `rewardkit.network.logps.completion_logps` for some of the rows."""
        return None if self.keep is None else torch.cat([self.keep[index] for index in indices])


def preference_rows(
    preferences: Sequence[Preference], tokenizer: PreTrainedTokenizerBase, *, max_length: int, keeps_marks: bool = True
) -> PolicyRows:
    """Rows of two branches; a pair whose completions are the same tokens, once cut, is left out."""
    rows, num_cut = policy_rows(
        [preference.prompt for preference in preferences],
        [(preference.chosen, preference.rejected) for preference in preferences],
        tokenizer,
        max_length=max_length,
        keeps_marks=keeps_marks,
    )
    different = [number for number, row in enumerate(rows) if row.branches[0] != row.branches[1]]
    return PolicyRows(
        rows=[rows[number] for number in different],
        keep=None,
        weight=torch.tensor([preferences[number].weight for number in different]),
        p_chosen=torch.tensor([preferences[number].p_chosen for number in different]),
        margin=torch.tensor([preferences[number].margin for number in different]),
        desirable=torch.ones(len(different), dtype=torch.bool),
        prompts=[preferences[number].prompt for number in different],
        num_cut=num_cut,
        num_left_out=len(rows) - len(different),
    )


def labelled_rows(
    labelled: Sequence[Labelled], tokenizer: PreTrainedTokenizerBase, *, max_length: int, keeps_marks: bool = True
) -> PolicyRows:
    """Rows of one branch that is desirable or not, each with a partner.

    Raises:
        ValueError: if there are not two different prompts.
    """
    rows, num_cut = policy_rows(
        [row.prompt for row in labelled],
        [(row.completion,) for row in labelled],
        tokenizer,
        max_length=max_length,
        keeps_marks=keeps_marks,
    )
    policy_data = _single(rows, [row.weight for row in labelled], [row.prompt for row in labelled], num_cut)
    others = partner_numbers([row.prompt for row in labelled])
    partners = [
        Branched(prompt=rows[number].prompt, branches=rows[other].branches) for number, other in enumerate(others)
    ]
    too_long = [number for number, row in enumerate(partners) if row.num_tokens > max_length]
    cut, _ = policy_rows(
        [labelled[number].prompt for number in too_long],
        [(labelled[others[number]].completion,) for number in too_long],
        tokenizer,
        max_length=max_length,
        keeps_marks=keeps_marks,
    )
    for number, row in zip(too_long, cut, strict=True):
        partners[number] = row
    return replace(policy_data, desirable=torch.tensor([row.desirable for row in labelled]), partners=partners)


def partner_numbers(prompts: Sequence[tuple[Message, ...]]) -> list[int]:
    """Returns for every row the number of the next row with another prompt, wrapping around.

    Raises:
        ValueError: if there are not two different prompts.
    """
    if len(set(prompts)) < 2:
        raise ValueError(f"{len(prompts)} completions of {len(set(prompts))} prompt, two prompts or more are needed")
    partners: list[int] = [0] * len(prompts)
    other = next(number for number, prompt in enumerate(prompts) if prompt != prompts[-1])
    for number in range(len(prompts) - 1, -1, -1):
        following = (number + 1) % len(prompts)
        if prompts[following] != prompts[number]:
            other = following
        partners[number] = other
    return partners


def demonstration_rows(
    demonstrations: Sequence[Demonstration],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    all_turns: bool = False,
    keeps_marks: bool = True,
) -> PolicyRows:
    """Rows of one branch: the last turn of the assistant, or everything from its first turn on.

    Args:
        all_turns: every turn of the assistant is trained on, what others say in between is only read.

    Raises:
        ValueError: if a chat template does not write earlier turns as they were, which all_turns takes.
    """
    weights = [row.weight for row in demonstrations]
    prompts = [row.prompt for row in demonstrations]
    if not all_turns and not any(row.is_text for row in demonstrations):
        rows, num_cut = policy_rows(
            prompts,
            [(row.turns[-1].content,) for row in demonstrations],
            tokenizer,
            max_length=max_length,
            keeps_marks=keeps_marks,
        )
        return _single(rows, weights, prompts, num_cut)
    rows, keep, num_cut = [], [], 0
    for demonstration in demonstrations:
        if demonstration.is_text:
            pieces = _text_pieces(demonstration, tokenizer)
        else:
            pieces = _pieces(demonstration.turns, tokenizer, all_turns)
        before = _before_first_answer(demonstration, all_turns) if keeps_marks else ()
        row, mask, cut = _row_of_pieces(pieces, before, tokenizer, max_length)
        rows.append(row)
        keep.append(mask)
        num_cut += cut
    return replace(_single(rows, weights, prompts, num_cut), keep=keep)


def _single(
    rows: Sequence[Branched], weights: Sequence[float], prompts: Sequence[tuple[Message, ...]], num_cut: int
) -> PolicyRows:
    return PolicyRows(
        rows=rows,
        keep=None,
        weight=torch.tensor(weights),
        p_chosen=torch.ones(len(rows)),
        margin=torch.zeros(len(rows)),
        desirable=torch.ones(len(rows), dtype=torch.bool),
        prompts=prompts,
        num_cut=num_cut,
    )


Piece = tuple[str, bool]
"""A stretch of text and whether it is trained on."""


def _text_pieces(demonstration: Demonstration, tokenizer: PreTrainedTokenizerBase) -> list[Piece]:
    start, end = str(tokenizer.bos_token or tokenizer.eos_token), str(tokenizer.eos_token)
    return [(start, False), (demonstration.turns[-1].content + end, True)]


def _pieces(turns: tuple[Message, ...], tokenizer: PreTrainedTokenizerBase, all_turns: bool) -> list[Piece]:
    """The conversation as the policy meets it: prompt, its turn, what follows up to its next turn, and so on."""
    pieces: list[Piece] = []
    written_so_far = ""
    for number, turn in enumerate(turns):
        if turn.role != "assistant" or (not all_turns and number < len(turns) - 1):
            continue
        if turn.more and call_names([turn]):
            raise ValueError(f"{', '.join(call_names([turn]))} is called in an answer: train on the last turn only")
        before = prompt_text(turns[:number], tokenizer) if number else str(tokenizer.bos_token or tokenizer.eos_token)
        if not before.startswith(written_so_far):
            raise ValueError(
                "the tokenizer's chat template rewrites earlier turns of a conversation: train on the last turn only"
            )
        written = completion_text(turns[:number], turn.content, tokenizer)
        pieces += [(before[len(written_so_far) :], False), (written, True)]
        written_so_far = before + written
    return pieces


def _before_first_answer(demonstration: Demonstration, all_turns: bool) -> tuple[Message, ...]:
    """The turns before the first one that is trained on; none of a bare text."""
    roles = [turn.role for turn in demonstration.turns]
    return demonstration.turns[: roles.index("assistant") if all_turns else len(roles) - 1]


def _row_of_pieces(
    pieces: Sequence[Piece], before: Sequence[Message], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[Branched, Tensor, bool]:
    """A row whose branch begins with the first piece that is trained on, its mask, and whether it was cut.

    Args:
        before: the turns that the first piece is the text of, which is cut as theirs; none cuts its start.
    """
    ids = tokenizer([text for text, _ in pieces], add_special_tokens=False)["input_ids"]
    prompt, branch = tuple(ids[0]), [token for piece in ids[1:] for token in piece]
    keep = [trained for piece, (_, trained) in zip(ids[1:], pieces[1:], strict=True) for _ in piece]
    is_cut = len(prompt) + len(branch) > max_length
    if is_cut and before:
        prompt = cut_prompt(before, prompt, tokenizer, max_length=max_length, num_answer_tokens=len(branch))
    elif is_cut:
        prompt = prompt[-(max_length - min(len(branch), max_length - 1)) :]
    branch = branch[: max_length - len(prompt)]
    return Branched(prompt=prompt, branches=(tuple(branch),)), torch.tensor(keep[: len(branch)]), is_cut
