"""Numbers in what people and models write, exactly: the answer of a worked problem, and whether two answers agree.

Exact rational numbers, so that 0.1, 1/10 and 10% are one. Standard library alone: a reward worker imports it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import SupportsFloat

TOLERANCE = Fraction(1, 10**6)  # relative, for answers that were rounded
MOST_DIGITS = 50  # of a number; a policy that writes one digit for ever is not made to wait for
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER = re.compile(
    rf"""
    (?<![\w.^]) (?P<sign>[-+\u2212]?) (?:\\?[$\u20ac\u00a3]\s?)? (?P<inner>[-\u2212]?)
    (?: \\[dt]?frac \{{ (?P<top>-?\d+) \}} \{{ (?P<bottom>\d+) \}}
      | (?: (?P<whole>{_DIGITS}) [ ] )? (?P<over>{_DIGITS}) / (?P<under>{_DIGITS}) (?!/)
      | (?P<plain>{_DIGITS} (?:\.\d+)? | \.\d+) (?:[eE](?P<exponent>[+-]?\d{{1,3}})(?!\w))?
    )
    (?P<percent>\s?\\?%)?
    """,
    re.VERBOSE,
)
_MARKED = re.compile(r"####")
_BOXED = re.compile(r"\\boxed\s*\{")
_SAID = re.compile(r"(?i)\banswer\b\s*(?:is|:|=)")


def read_answer(text: str) -> frozenset[Fraction] | None:
    """What a worked problem's answer may mean, None where it gives none.

    The number after the first `####` (GSM8K); else in the last `\\boxed{}`; else the first one after the last
    "answer is" or "answer:"; else the last one of the text. A mark without a number is no answer.
    """
    if mark := _MARKED.search(text):
        return next(read_numbers(text[mark.end() :].partition("\n")[0]), None)
    if boxes := list(_BOXED.finditer(text)):
        return next(read_numbers(_braced(text, boxes[-1].end())), None)
    for mention in reversed(list(_SAID.finditer(text))):
        if (number := next(read_numbers(text[mention.end() :]), None)) is not None:
            return number
    return max(enumerate(read_numbers(text)), default=(0, None), key=lambda numbered: numbered[0])[1]


def read_numbers(text: str) -> Iterator[frozenset[Fraction]]:
    """The numbers of a text in order, each as the values it may have.

    Thousands' commas, decimals, fractions, mixed numbers (1 1/2), LaTeX fractions, currency signs, exponents. 50% is
    0.5 or, where percents are counted, 50. A hyphen after a word or digit or before a blank is no sign; digits inside a
    word are no number.
    """
    for match in _NUMBER.finditer(text.replace("{,}", ",").replace("\\,", "")):
        value = _value(match)
        if value is not None:
            yield frozenset((value, value / 100)) if match["percent"] else frozenset((value,))


def read_target(value: object) -> frozenset[Fraction] | None:
    """The right answer, as a data set writes it: a number, or a text that ends in one; None where there is none."""
    if isinstance(value, str):
        return read_answer(value)
    if isinstance(value, bool) or not isinstance(value, SupportsFloat) or not math.isfinite(number := float(value)):
        return None
    return frozenset((Fraction(repr(number)),))


def agree(one: frozenset[Fraction], other: frozenset[Fraction]) -> bool:
    """Whether two answers may be the same number, up to TOLERANCE of the larger."""
    return any(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a in one for b in other)


def _value(match: re.Match[str]) -> Fraction | None:
    """The number without its percent sign; None for a division by 0 or more digits than anybody means."""
    if sum(map(str.isdigit, match[0])) > MOST_DIGITS:
        return None
    negative = bool(match["sign"] and match["sign"] != "+") != bool(match["inner"])
    if match["top"] is not None:
        top, bottom, whole = match["top"], match["bottom"], "0"
    elif match["over"] is not None:
        top, bottom, whole = match["over"], match["under"], match["whole"] or "0"
    else:
        value = Fraction(match["plain"].replace(",", "")) * Fraction(10) ** int(match["exponent"] or 0)
        return -value if negative else value
    top, bottom, whole = (int(part.replace(",", "")) for part in (top, bottom, whole))
    if bottom == 0:
        return None
    value = whole + Fraction(top, bottom)
    return -value if negative else value


def _braced(text: str, start: int) -> str:
    """What stands between an open brace and the one that closes it, or the end."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if not depth:
            return text[start:index]
    return text[start:]
