"""From a judge's words to a verdict. What cannot be read is unreadable: nothing is guessed.

Read are a JSON object with `overall` (in a code fence, behind thoughts, with prose around it), a line such as
`Overall: B` or `[[B]]`, or the letter alone. Several that contradict one another are unreadable, and so is a letter
that the rubric does not allow.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from alignment.judges.chat import WrittenToken
from alignment.judges.questions import BOTH_BAD, FIRST, SECOND, TIE, JudgeRubric, Verdict
from alignment.watch.completion_metrics import is_refusal

WORDS = {
    **dict.fromkeys((FIRST, "ANSWER A", "RESPONSE A"), FIRST),
    **dict.fromkeys((SECOND, "ANSWER B", "RESPONSE B"), SECOND),
    **dict.fromkeys((TIE, "TIE", "EQUAL"), TIE),
    **dict.fromkeys((BOTH_BAD, "BOTH BAD", "BOTH_BAD"), BOTH_BAD),
}
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"<think(?:ing)?>", re.IGNORECASE)
_ALONE = re.compile(r"[\s\W]*([ABTX])[\s\W]*", re.IGNORECASE)
_NAMED = re.compile(
    r"(?:\boverall|\bverdict|\banswer)\s*(?:is\s*)?[:=]\s*[\"'*\[]*([ABTX])\b|\[\[([ABTX])\]\]", re.IGNORECASE
)
_OVERALL = re.compile(r'"overall"\s*:\s*"\s*(?:answer |response )?', re.IGNORECASE)
_JUDGING = re.compile(r"\b(?:compare|judge|evaluate|assess|choose|rate|rank|decide|pick)\b", re.IGNORECASE)
LEAST_MASS = 0.5  # of the letters among a token's alternatives, for a probability


def parse_answer(text: str, rubric: JudgeRubric, tokens: Sequence[WrittenToken] = ()) -> Verdict:
    """Reads an answer; a verdict without a letter is one that cannot be read.

    Args:
        tokens: of the text; where they are told, the letter's alternatives give the probability.
    """
    said = _without_thoughts(text)
    objects = [(start, end, value) for start, end, value in _objects(said) if _has_overall(value)]
    if objects:
        verdicts = [read_values(value, rubric) for _, _, value in objects]
        if len({verdict.letter for verdict in verdicts}) > 1 or not verdicts[-1].letter:
            return Verdict()
        start, end, _ = objects[-1]
        letter_at = _OVERALL.search(said, start, end)
        verdict, place = verdicts[-1], letter_at.end() if letter_at else None
    else:
        alone = _ALONE.fullmatch(said)
        matches = [alone] if alone else list(_NAMED.finditer(said))
        letters = {match[match.lastindex or 0].upper() for match in matches}
        if len(letters) != 1 or not letters <= set(rubric.letters):
            return Verdict()
        letter, last = letters.pop(), matches[-1]
        verdict, place = Verdict(letter=letter, strength=_strength({}, letter)), last.start(last.lastindex or 0)
    if place is None or not tokens:
        return verdict
    p_first = _p_first(tokens, place, rubric)
    return Verdict(**{**vars(verdict), "p_first": p_first})


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
    return is_refusal(_JUDGING.sub("answer", _without_thoughts(text)))


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


def _without_thoughts(text: str) -> str:
    """The text with thoughts blanked, so that places in it stay; nothing of one that never stops thinking."""
    text = _THOUGHT.sub(lambda match: " " * len(match[0]), text)
    opened = _OPEN_THOUGHT.search(text)
    return text[: opened.start()] if opened else text


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """JSON objects in a text, one after another, with their places."""
    decoder, place = json.JSONDecoder(), 0
    while (place := text.find("{", place)) >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        if isinstance(value, dict):
            yield place, end, value
        place = end


def _has_overall(values: Mapping[str, Any]) -> bool:
    return any(str(name).lower() == "overall" for name in values)


def _letter(value: object) -> str:
    return WORDS.get(value.strip(" \t\n\"'*[].").upper(), "") if isinstance(value, str) else ""


def _strength(values: Mapping[str, Any], letter: str, degrees: int = 1) -> int:
    if letter not in (FIRST, SECOND):
        return 0
    strength = values.get("strength", 1)
    if isinstance(strength, str) and strength.strip().isdigit():
        strength = int(strength)
    whole = isinstance(strength, int) and not isinstance(strength, bool)
    return strength if whole and 1 <= strength <= degrees else 1


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
    """The probability at the token in which a letter stands; None where its alternatives are mostly no letters."""
    start = 0
    for token in tokens:
        if start <= place < start + len(token.text):
            break
        start += len(token.text)
    else:
        return None
    shares: dict[str, float] = {}
    for text, logp in token.logps.items():
        letter = text.strip(" \t\n\"'`*[]{},:.").upper()
        if letter in rubric.letters:
            shares[letter] = shares.get(letter, 0.0) + math.exp(min(0.0, logp))
    return p_first_of(shares) if sum(shares.values()) >= LEAST_MASS else None
