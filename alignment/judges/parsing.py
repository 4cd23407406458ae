"""From a judge's words to a verdict. What cannot be read is unreadable: nothing is guessed.

Read are a JSON object with `overall` (in a code fence, behind thoughts, with prose around it), a line such as
`Overall: B` or `[[B]]`, or the letter alone. Several that contradict one another are unreadable, and so are a letter
that the rubric does not allow, a number in place of a letter (a first answer to one judge, a probability to another),
and a line that goes on (`Overall: a tie`, `Overall: A is worse`). Judges quote what they judge: an object inside one
that cannot be read may be such a quotation, and is no answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignment.judges.chat import WrittenToken
from alignment.judges.questions import BOTH_BAD, FIRST, SECOND, TIE, JudgeRubric, Verdict
from rewardkit.traits.refusals import is_refusal

WORDS = {
    **dict.fromkeys((FIRST, "ANSWER A", "RESPONSE A"), FIRST),
    **dict.fromkeys((SECOND, "ANSWER B", "RESPONSE B"), SECOND),
    **dict.fromkeys((TIE, "TIE", "EQUAL"), TIE),
    **dict.fromkeys((BOTH_BAD, "BOTH BAD", "BOTH_BAD"), BOTH_BAD),
}
_END_OF_THOUGHT = re.compile(r"</(?:think(?:ing)?|thought|reasoning)>|\[/THINK\]", re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<(?:think(?:ing)?|thought|reasoning)>|\[THINK\]", re.IGNORECASE)
_ALONE = re.compile(r"[\s\W]*([ABTX])[\s\W]*", re.IGNORECASE)
_NAMED = re.compile(
    r"""(?:\boverall|\bverdict|\banswer)\**\s*(?:is\s*)?[:=]["'*(\[`\s]*([ABTX])"""
    r"""(?:["'*)\]`.!]*(?:[ ]is[ ]better[.!]*)?[ \t]*(?:\n|\Z)|(?-i:(?<=[ABTX]))["'*)\]`]*[.,;][ ](?!\W*[ABTX]\b))"""
    r"""|\[\[([ABTX])\]\]""",
    re.IGNORECASE,
)
_MENTIONED = re.compile(r"(?i:\boverall|\bverdict|\banswer)\W*(?:is\s*)?[:=]\W*([ABTX])\b")  # perhaps an article
_OVERALL = re.compile(r'"overall"\s*:\s*"\s*(?:answer |response )?', re.IGNORECASE)
_OVERALL_LEFT = re.compile(r'"overall\W*:', re.IGNORECASE)
_TRAILING_COMMA = re.compile(r",(?=\s*[}\]])")
_JUDGING = re.compile(r"\b(?:compare|judge|evaluate|assess|choose|rate|rank|decide|pick)\b", re.IGNORECASE)
LEAST_MASS = 0.5  # of the letters among a token's alternatives, for a probability
MOST_UNTOLD = 0.02  # that a letter which is not among them may hold


def parse_answer(text: str, rubric: JudgeRubric, tokens: Sequence[WrittenToken] = ()) -> Verdict:
    """Reads an answer; a verdict without a letter is one that cannot be read.

    Args:
        tokens: of the text; where they are told, the letter's alternatives give the probability.
    """
    words = _TRAILING_COMMA.sub(" ", without_thoughts(text))
    objects = [(start, end, value) for start, end, value in _objects(words) if _has_overall(value)]
    beside = words
    for start, end, _ in objects:
        beside = beside[:start] + " " * (end - start) + beside[end:]
    if objects:
        verdicts = [read_values(value, rubric) if _names_one(value) else Verdict() for _, _, value in objects]
        letters = {verdict.letter for verdict in verdicts}
        letters |= _named_letters(beside)
        if len(letters) > 1 or not verdicts[-1].letter or _OVERALL_LEFT.search(beside):
            return Verdict()
        start, end, _ = objects[-1]
        places = [match.end() for match in _OVERALL.finditer(words, start, end)]
        verdict, place = verdicts[-1], places[0] if len(places) == 1 else None
    else:
        alone = _ALONE.fullmatch(words)
        matches = [alone] if alone else list(_NAMED.finditer(words))
        letters = {alone[1].upper()} if alone else _named_letters(words)
        if not matches or len(letters) != 1 or not letters <= set(rubric.letters):
            return Verdict()
        letter, last = letters.pop(), matches[-1]
        verdict, place = Verdict(letter=letter, strength=_strength({}, letter)), last.start(last.lastindex or 0)
    if place is None or not tokens:
        return verdict
    p_first = _p_first(tokens, place, rubric)
    return Verdict(**{**vars(verdict), "p_first": p_first})


def _named_letters(text: str) -> set[str]:
    """Letters that a text names as its verdict, those of lines that go on among them: a contradiction is one."""
    matches = (*_NAMED.finditer(text), *_MENTIONED.finditer(text))
    return {match[match.lastindex or 0].upper() for match in matches}


def read_values(values: Mapping[str, Any], rubric: JudgeRubric) -> Verdict:
    """Reads an answer that is values already: `overall`, and perhaps `strength` and `criteria`.

    `overall` is a letter, or the probability that A is better. A strength that is missing, or none of the scale, is the
    weakest; a criterion that cannot be read is left out.
    """
    lowered = {str(name).lower(): value for name, value in values.items()}
    overall = lowered.get("overall")
    p_first: float | None = None
    if isinstance(overall, int | float) and not isinstance(overall, bool):
        if not 0 <= overall <= 1:
            return Verdict()
        p_first = float(overall)
        letter = FIRST if overall > 0.5 else SECOND if overall < 0.5 else TIE
    else:
        letter = _letter(overall)
    if letter not in rubric.letters and not (letter == TIE and p_first is not None):
        return Verdict()
    return Verdict(
        letter=letter,
        p_first=p_first,
        strength=_strength(lowered, letter, len(rubric.wordings)),
        criteria=_criteria(lowered.get("criteria"), rubric),
    )


def declines(text: str) -> bool:
    """Whether a text that holds no answer begins as those that decline to give one."""
    return is_refusal(_JUDGING.sub("answer", without_thoughts(text)))


def option_probabilities(logps: Mapping[str, float]) -> dict[str, float]:
    """Probabilities of options among themselves, from their log-probabilities."""
    top = max(logps.values())
    weights = {letter: math.exp(logp - top) for letter, logp in logps.items()}
    total = sum(weights.values())
    return {letter: weight / total for letter, weight in weights.items()}


def p_first_of(probabilities: Mapping[str, float]) -> float | None:
    """(P(A) + P(T) / 2) / (P(A) + P(B) + P(T)), both-bad left out; None where nothing is left."""
    first, second, tie = (probabilities.get(letter, 0.0) for letter in (FIRST, SECOND, TIE))
    total = first + second + tie
    return (first + tie / 2) / total if total > 1e-9 else None


def without_thoughts(text: str) -> str:
    """The text with thoughts blanked, so that places in it stay; nothing of one that never stops thinking.

    Up to their last end: many templates open the thoughts themselves, so that an answer has the end alone.
    """
    ends = [match.end() for match in _END_OF_THOUGHT.finditer(text)] or [0]
    text = " " * ends[-1] + text[ends[-1] :]
    opened = _OPEN_THOUGHT.search(text)
    return text[: opened.start()] if opened else text


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """JSON objects in a text, one after another, with their places."""
    decoder, place = json.JSONDecoder(object_pairs_hook=_without_doubles), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except RecursionError:
            return
        except ValueError:
            place += 1
            continue
        if isinstance(value, dict):
            yield place, end, value
        place = end


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which a name with two values that differ has none."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        values[name] = value if values.get(name, value) == value else None
    return values


def _names_one(values: Mapping[str, Any]) -> bool:
    """Whether its `overall` stands there once, and is no number."""
    overall = [value for name, value in values.items() if name.lower() == "overall"]
    return len(overall) == 1 and not isinstance(overall[0], int | float)


def _has_overall(values: Mapping[str, Any]) -> bool:
    return any(str(name).lower() == "overall" for name in values)


def _letter(value: object) -> str:
    return WORDS.get(value.strip(" \t\n\"'`*[]().").upper(), "") if isinstance(value, str) else ""


def _strength(values: Mapping[str, Any], letter: str, degrees: int = 1) -> int:
    if letter not in (FIRST, SECOND):
        return 0
    strength = values.get("strength", 1)
    if isinstance(strength, str) and strength.strip().isdecimal():
        strength = int(strength)
    whole = isinstance(strength, int) and not isinstance(strength, bool)
    return int(strength) if whole and 1 <= int(strength) <= degrees else 1


def _criteria(values: object, rubric: JudgeRubric) -> dict[str, int | tuple[int, int]]:
    signs = {FIRST: -1, SECOND: 1, TIE: 0}
    answers: dict[str, int | tuple[int, int]] = {}
    for criterion in rubric.criteria if isinstance(values, dict) else ():
        value = values.get(criterion.name)  # type: ignore[union-attr]
        if criterion.rating is None:
            if (letter := _letter(value)) in signs:
                answers[criterion.name] = signs[letter]
            continue
        low, high = criterion.rating
        pair = value if isinstance(value, list | tuple) and len(value) == 2 else ()
        whole = [one for one in pair if isinstance(one, int) and not isinstance(one, bool) and low <= one <= high]
        if len(whole) == 2:
            answers[criterion.name] = (whole[0], whole[1])
    return answers


def _p_first(tokens: Sequence[WrittenToken], place: int, rubric: JudgeRubric) -> float | None:
    """The probability at the token in which a letter stands; see `shares_at`."""
    needed = [letter for letter in (FIRST, SECOND) if letter in rubric.letters]
    shares = shares_at(tokens, place, tuple(rubric.letters), needed)
    return None if shares is None else p_first_of(shares)


def shares_at(
    tokens: Sequence[WrittenToken], place: int, options: Sequence[str], needed: Sequence[str]
) -> dict[str, float] | None:
    """Probabilities of options, in capitals, at the token that holds a place of the text.

    None where its alternatives are mostly none of them, or where a needed one that is not told may hold more than
    MOST_UNTOLD: some endpoints tell of the written token alone.
    """
    start = 0
    for token in tokens:
        if start <= place < start + len(token.text):
            break
        start += len(token.text)
    else:
        return None
    shares: dict[str, float] = {}
    for text, logp in token.logps.items():
        option = text.strip(" \t\n\"'`*[]{},:.").upper()
        if option in options:
            shares[option] = shares.get(option, 0.0) + math.exp(min(0.0, logp))
    told = [math.exp(min(0.0, logp)) for logp in token.logps.values()]
    untold = min(1.0 - sum(told), min(told))
    if any(option not in shares for option in needed) and untold > MOST_UNTOLD:
        return None
    return shares if sum(shares.values()) >= LEAST_MASS else None
