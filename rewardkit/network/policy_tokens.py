"""Conversations as a policy reads and writes them: a prompt up to where its turn starts, then a completion and its end.

One place for the boundary between the two: what is trained on, sampled from, and scored as an implicit reward are the
same tokens. The prompt and the completion are tokenised apart, as they are when the policy writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import conversation_texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prompt_text(prompt: Sequence[Message], tokenizer: PreTrainedTokenizerBase) -> str:
    """The conversation up to where the assistant's turn starts, by the tokenizer's chat template."""
    return str(tokenizer.apply_chat_template(turns(prompt), add_generation_prompt=True, tokenize=False))


def completion_text(
    prompt: Sequence[Message], completion: str, tokenizer: PreTrainedTokenizerBase, *, start: str | None = None
) -> str:
    """What the policy has to write after `prompt_text`: the completion and the end token of its turn.

    What a template puts behind the end token is left out. Where a template rewrites what stands before the completion
    (it drops earlier thoughts, say), or ends a turn without a special token, the completion is followed by EOS.

    Args:
        start: the `prompt_text`, where it is known already.
    """
    start = prompt_text(prompt, tokenizer) if start is None else start
    (whole,) = conversation_texts(prompt, [completion], tokenizer)
    if whole.startswith(start + completion):
        end = whole[len(start + completion) :].rstrip()
        if end in tokenizer.all_special_tokens:
            return completion + end
    return completion + str(tokenizer.eos_token)


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends a turn of the assistant: EOS, unless the chat template has another."""
    text = completion_text([Message(role="user", content="a")], "b", tokenizer)
    return tokenizer.get_vocab()[text.removeprefix("b")]


def policy_prompts(prompts: Sequence[Sequence[Message]], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    """Token ids of the prompts, each up to where the assistant's turn starts."""
    return _tokenise([prompt_text(prompt, tokenizer) for prompt in prompts], tokenizer)


def policy_rows(
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
) -> tuple[list[Branched], int]:
    """One row per prompt, a branch per completion with its end token; and how many rows were cut to `max_length`.

    A prompt loses tokens at its start until it fits with the longest of its completions; a completion that leaves no
    room for one token of the prompt loses its end.

    Raises:
        ValueError: if the tokenizer has no end token, or max_length leaves no room for a prompt and a completion.
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}, allowed is 2 or more: a token of the prompt and one after it")
    if tokenizer.eos_token is None:
        raise ValueError("the tokenizer has no EOS token to end a completion with")
    start_texts = [prompt_text(prompt, tokenizer) for prompt in prompts]
    starts = _tokenise(start_texts, tokenizer)
    texts = [
        completion_text(prompt, completion, tokenizer, start=start)
        for prompt, row, start in zip(prompts, completions, start_texts, strict=True)
        for completion in row
    ]
    ids = iter(_tokenise(texts, tokenizer))
    rows, num_cut = [], 0
    for start, row in zip(starts, completions, strict=True):
        branches = [next(ids) for _ in row]
        longest = max(map(len, branches))
        num_cut += len(start) + longest > max_length
        branches = [branch[: max_length - 1] for branch in branches]
        room = max_length - min(longest, max_length - 1)
        rows.append(Branched(prompt=start[-room:], branches=tuple(branches)))
    return rows, num_cut


def _tokenise(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[tuple[int, ...]]:
    if not texts:
        return []
    ids = tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
    return [tuple(sequence) for sequence in ids]
