"""What a conversation loses that is longer than a model may read.

In this order, each only as far as it has to:
1. its oldest turns, whole, up to a turn of the user; the system prompt stays;
2. the start of the first turn that is left, without its role mark;
3. the end of the system prompt, where that leaves an answer less than half of the length;
4. the end of the answer.
The chat template writes what is left, so that BOS, role marks and the ends of turns stand where the model knows them.
Tokens are cut out only where a length has no room for these marks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from rewardkit.data.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ATTEMPTS = 8  # at a text whose tokens are counted again after it was cut
Prompt = tuple[Message, ...]


def shortened_prompt(
    prompt: Sequence[Message],
    num_tokens: Callable[[Sequence[Message]], int],
    room: int,
    tokenizer: PreTrainedTokenizerBase,
    *,
    frame_room: int,
) -> Prompt:
    """The conversation without what it has to lose to fit; as short as it gets where it does not fit at all.

    Args:
        num_tokens: tokens of a conversation; ValueError where the template refuses it.
        room: tokens that it may have.
        frame_room: tokens that system prompt and marks alone may have, `room` or more: the answer loses its end then.
    """
    system = tuple(message for message in prompt if message.role == "system")
    body = tuple(message for message in prompt if message.role != "system")
    if not body:
        return tuple(prompt)
    starts = [0, *(number for number, message in enumerate(body) if number and message.role == "user")]

    def without_first(start: int) -> Prompt:
        return (*system, replace(body[start], content=""), *body[start + 1 :])

    start = _first(starts, lambda start: num_tokens(without_first(start)) <= room)
    first, rest = body[start], body[start + 1 :]
    content = shortened_text(
        first.content,
        lambda text: num_tokens((*system, replace(first, content=text), *rest)) - room,
        tokenizer,
        keeps="end",
    )
    if not content and system:
        *others, last = system
        marks = without_first(start)[len(system) :]
        kept = shortened_text(
            last.content,
            lambda text: num_tokens((*others, replace(last, content=text), *marks)) - frame_room,
            tokenizer,
            keeps="start",
        )
        system = (*others, replace(last, content=kept))
    return (*system, replace(first, content=content), *rest)


def _first(starts: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The first of ascending starts that fits, by bisection; the last one where none does."""
    low, high = 0, len(starts) - 1
    while low < high:
        middle = (low + high) // 2
        if fits(starts[middle]):
            high = middle
        else:
            low = middle + 1
    return starts[low]


def shortened_text(
    text: str, excess: Callable[[str], int], tokenizer: PreTrainedTokenizerBase, *, keeps: Literal["start", "end"]
) -> str:
    """The start or the end of a text that is no token too long; empty where nothing of it fits.

    Args:
        excess: tokens by which the whole is too long with such a text.
        keeps: which of them is left.
    """
    too_many = excess(text)
    if too_many <= 0:
        return text
    borders = _borders(text, tokenizer)
    dropped = 0
    for _ in range(ATTEMPTS):
        dropped += max(1, too_many)
        if dropped >= len(borders):
            return ""
        cut = text[borders[dropped] :] if keeps == "end" else text[: borders[len(borders) - dropped]]
        too_many = excess(cut)
        if too_many <= 0:
            return cut
    return ""


def _borders(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Where each token of a text begins, in characters; a tokenizer that cannot say it gives even pieces."""
    if tokenizer.is_fast:
        offsets = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return [start for start, _ in offsets]
    num_pieces = max(1, len(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return [len(text) * number // num_pieces for number in range(num_pieces)]


def cut_tokens(ids: Sequence[int], room: int, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The last tokens, behind the first one where that is a special token (BOS, [CLS]) and there is room for both."""
    if len(ids) <= room:
        return tuple(ids)
    if room > 2 and ids[0] in (tokenizer.bos_token_id, tokenizer.cls_token_id):
        return (ids[0], *ids[len(ids) - room + 1 :])
    return tuple(ids[len(ids) - room :])
