"""What the choices of a file mean: words in their usual spellings, numbers on a scale, values that people spell out.

Words say what they mean. Numbers do so only on a scale that is told (`NumberScale`), except where one is below 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rewardkit.data.conversations import RowError
from rewardkit.data.records import CHOICES, Choice

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
# "A>B", "[[B>>A]]", "A=B": the verdicts of Arena-Hard and of JudgeBench.
VERDICT = re.compile(r"(?:\[\[)?([ab])(>>?|<<?|=)([ab])(?:\]\])?")
ONE_HOT: dict[str, Choice] = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}
"""Columns of which one is 1 and the others are 0, as a file of Chatbot Arena has them."""
MAX_STRENGTH = 9


@dataclass(frozen=True, kw_only=True)
class NumberScale:
    """What numbers mean: `low` is a at its strongest, `high` b at its strongest, the middle of both a tie.

    On -3..3 below 0 prefers a; on 1..4 are 1 and 2 for a; on 1..2 is 1 a and 2 b; on 1..0 is 1 a.
    """

    low: int
    high: int

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"

    def __post_init__(self) -> None:
        if not 1 <= abs(self.high - self.low) <= 2 * MAX_STRENGTH:
            raise ValueError(f"scale {self}, allowed are 2 to {2 * MAX_STRENGTH + 1} steps, as -3..3, 1..4 or 1..0")

    def read(self, number: float) -> Answer | None:
        """The choice and its strength in steps from the middle; None for a number that is no step of the scale."""
        if not min(self.low, self.high) <= number <= max(self.low, self.high):
            return None
        degree = (number - (self.low + self.high) / 2) * (1 if self.low < self.high else -1)
        if degree == 0:
            return "tie", 0
        return ("a" if degree < 0 else "b", math.ceil(abs(degree))) if float(number).is_integer() else None


def parse_scale(text: str) -> NumberScale:
    """Reads `LOW..HIGH`, for example `-3..3`.

    Raises:
        ValueError: if it is not of that form.
    """
    low, mark, high = text.strip().partition("..")
    try:
        return NumberScale(low=int(low), high=int(high))
    except ValueError as error:
        known = mark and re.fullmatch(r"-?\d+", low) and re.fullmatch(r"-?\d+", high)
        reason = f"{error}" if known else f"scale {text!r}, allowed is LOW..HIGH, as -3..3, 1..4 or 1..0"
        raise ValueError(reason) from error


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
        mapping[choice_key(value)] = (choice, int(strength or 1) if decided else 0)  # type: ignore[assignment]
    return mapping


def find_scale(values: Iterable[object], mapping: Mapping[str, Answer]) -> NumberScale | None:
    """The scale of a column's numbers, told from all of its values; None for words alone.

    Numbers below 0 make it a signed one: below 0 prefers a, above 0 b. No other numbers say what they mean, for a file
    may hold a part of its scale: 1 and 2 may be the responses, or two of four steps towards the first.

    Raises:
        ValueError: where the numbers do not say.
    """
    texts = [value for value in values if choice_key(value) not in mapping]
    numbers = sorted({number for value in texts if (number := _number(value)) is not None})
    if not numbers:
        return None
    if numbers[0] < 0 and all(number.is_integer() and abs(number) <= MAX_STRENGTH for number in numbers):
        reach = int(max(abs(number) for number in numbers))
        return NumberScale(low=-reach, high=reach)
    shown = ", ".join(f"{number:g}" for number in numbers[:9])
    raise ValueError(f"the choices are {shown}: that does not say which response each prefers")


def read_choice(value: object, scale: NumberScale | None, mapping: Mapping[str, Answer], field: str) -> Answer:
    """The choice and the strength that a value means.

    Raises:
        RowError: unknown_choice, also for left and right, which speak of a screen.
    """
    key = choice_key(value)
    if key in mapping:
        return mapping[key]
    number = _number(value)
    if number is not None and scale is not None:
        if (answer := scale.read(number)) is None:
            raise RowError("unknown_choice", field, value, f"allowed are whole numbers on the scale {scale}")
        return answer
    word = re.sub(r"[\s_-]+", " ", key.lower())
    if noun := NOUN.match(word):
        word = {"1": "a", "2": "b"}.get(noun[1], noun[1])
    if (verdict := VERDICT.fullmatch(word.replace(" ", ""))) and verdict[1] != verdict[3]:
        better = verdict[1] if verdict[2].startswith(">") else verdict[3]
        return ("tie", 0) if verdict[2] == "=" else ("a" if better == "a" else "b", len(verdict[2]))
    if word in WORDS:
        choice = WORDS[word]
        return choice, int(choice in ("a", "b"))
    hint = "; left and right are places on a screen, not responses" if word in ("left", "right") else ""
    raise RowError("unknown_choice", field, value, f"allowed are {', '.join(CHOICES)} and their usual spellings{hint}")


def read_one_hot(row: Mapping[str, object]) -> Choice:
    """The choice that a row has in the columns of `ONE_HOT`.

    Raises:
        RowError: unknown_choice, unless one of them is 1 and the others are 0.
    """
    values = {column: row.get(column) for column in ONE_HOT}
    marks = {column: float(value) if isinstance(value, bool) else _number(value) for column, value in values.items()}
    if sorted(-1.0 if mark is None else mark for mark in marks.values()) != [0.0, 0.0, 1.0]:
        shown = ", ".join(f"{value!r}" for value in values.values())
        raise RowError("unknown_choice", ", ".join(ONE_HOT), shown, "allowed is 1 in one of them and 0 in the others")
    return next(choice for column, choice in ONE_HOT.items() if marks[column])


def named_choice(value: object, sources: tuple[str, str]) -> Choice | None:
    """The choice of a value that is the name of what wrote a or b; None for any other."""
    if value == "" or sources[0] == sources[1] or value not in sources:
        return None
    return "a" if value == sources[0] else "b"


def describe_choices(values: Iterable[object], scale: NumberScale | None, mapping: Mapping[str, Answer]) -> str:
    """What each of a column's values was read as, for people: `-2 = a by 2, 1 = b`; the first dozen of them."""
    told: dict[str, str] = {}
    ordered = sorted(values, key=lambda value: (_number(value) or 0.0, str(value)))
    for value in ordered:
        try:
            choice, strength = read_choice(value, scale, mapping, "")
        except RowError:
            continue  # the name of what wrote a response, or a bad row, which is named elsewhere
        told.setdefault(choice_key(value), f"{choice} by {strength}" if strength > 1 else choice)
    more = f" and {len(told) - MEANINGS_SHOWN} more" if len(told) > MEANINGS_SHOWN else ""
    return ", ".join(f"{key} = {meaning}" for key, meaning in list(told.items())[:MEANINGS_SHOWN]) + more


MEANINGS_SHOWN = 12


def choice_key(value: object) -> str:
    """A choice as text; 1, 1.0 and "1.0" are the same one."""
    number = _number(value)
    return str(value).strip() if number is None else f"{number:.17g}"


def _number(value: object) -> float | None:
    """A finite number, also as text; None otherwise."""
    if isinstance(value, bool):
        return None
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
