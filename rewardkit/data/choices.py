"""What files write for a choice, and which of our choices they mean by it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from rewardkit.data.conversations import RowError
from rewardkit.data.records import CHOICES, Choice

Vocabulary = Literal["words", "numbered", "signed"]
Answer = tuple[Choice, int]
"""A choice and its strength."""

WORDS: dict[str, Choice] = {
    **dict.fromkeys(("a", "x", "first"), "a"),
    **dict.fromkeys(("b", "y", "second"), "b"),
    **dict.fromkeys(("tie", "draw", "equal", "same", "no preference", "both good"), "tie"),
    **dict.fromkeys(("both bad", "bothbad", "tie (bothbad)", "tie (both bad)", "neither"), "both_bad"),
    **dict.fromkeys(("skip", "skipped"), "skip"),
}
# "response_a", "Model B", "answer 1", "output2": a noun before the side.
NOUN = re.compile(r"^(?:response|model|completion|answer|output|assistant|candidate|option|text|summary)\s*([abxy12])$")
NUMBERED: dict[int, Choice] = {0: "tie", 1: "a", 2: "b"}
MAX_STRENGTH = 9


def parse_choice_map(pairs: Iterable[str]) -> dict[str, Answer]:
    """Reads `VALUE=CHOICE` or `VALUE=CHOICE:STRENGTH`, for example `5=b:2`.

    Raises:
        ValueError: if one is not of that form.
    """
    mapping: dict[str, Answer] = {}
    for pair in pairs:
        value, mark, meant = pair.rpartition("=")
        choice, _, strength = meant.partition(":")
        decided = choice in ("a", "b")
        if not mark or choice not in CHOICES or (strength and not (decided and strength.isdigit() and int(strength))):
            raise ValueError(f"choice map {pair!r}, allowed is VALUE=CHOICE[:STRENGTH] with {', '.join(CHOICES)}")
        mapping[value.strip()] = (choice, int(strength or 1) if decided else 0)  # type: ignore[assignment]
    return mapping


def detect_vocabulary(values: Iterable[object], mapping: Mapping[str, Answer]) -> Vocabulary:
    """Which meaning the numbers of a column have, told from all of its values.

    Negative ones make it a signed scale (below 0 prefers a); a 2 and none beyond it numbers the responses (0 is a tie).

    Raises:
        ValueError: where the numbers do not say, as 0 and 1 alone.
    """
    numbers = {
        number for value in values if str(value).strip() not in mapping and (number := _whole(value)) is not None
    }
    if not numbers:
        return "words"
    if min(numbers) < 0:
        return "signed"
    if numbers <= {0, 1, 2} and 2 in numbers:
        return "numbered"
    shown = ", ".join(str(number) for number in sorted(numbers)[:9])
    raise ValueError(
        f"the choices are {shown}: that does not say which response each prefers; "
        "say it with --choice-map, for example --choice-map 0=a 1=b"
    )


def read_choice(value: object, vocabulary: Vocabulary, mapping: Mapping[str, Answer], field: str) -> Answer:
    """The choice and the strength that a value means.

    Raises:
        RowError: unknown_choice, also for left and right, which speak of a screen.
    """
    text = str(value).strip()
    if text in mapping:
        return mapping[text]
    number = _whole(value)
    if number is not None and vocabulary == "signed" and abs(number) <= MAX_STRENGTH:
        return ("a", -number) if number < 0 else ("b", number) if number > 0 else ("tie", 0)
    if number is not None and vocabulary == "numbered" and number in NUMBERED:
        choice = NUMBERED[number]
        return choice, int(choice != "tie")
    word = re.sub(r"[\s_-]+", " ", text.lower())
    if noun := NOUN.match(word):
        word = {"1": "a", "2": "b"}.get(noun[1], noun[1])
    if word in WORDS:
        choice = WORDS[word]
        return choice, int(choice in ("a", "b"))
    hint = "; left and right are places on a screen, not responses" if word in ("left", "right") else ""
    allowed = f"allowed are {', '.join(CHOICES)} and their usual spellings, or say it with --choice-map{hint}"
    raise RowError("unknown_choice", field, value, allowed)


def _whole(value: object) -> int | None:
    """A whole number, also as text or as `2.0`; None otherwise."""
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return int(number) if number.is_integer() else None
