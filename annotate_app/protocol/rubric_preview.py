"""The preview of a rubric in the editor: answers with their keys, differences, and the line of a mistake."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from annotate_app.protocol.rubric import Criterion, Rubric, Scale

STEP_ANSWERS = (
    *(("1", "right"), ("2", "neutral"), ("3", "wrong")),
    *(("F", "the first wrong step: those before it are right, the rest follows"), ("A", "all that is left is right")),
)


@dataclass(frozen=True, kw_only=True)
class AnswerRow:
    """A question and its answers from left to right, each with the key that gives it."""

    question: str
    answers: tuple[tuple[str, str], ...]

    @property
    def line(self) -> str:
        """The answers on one line: `[1] left better · [2] tie · [3] right better`."""
        return " · ".join(f"[{key}] {words}" for key, words in self.answers)


def answer_rows(rubric: Rubric) -> list[AnswerRow]:
    """The rubric's questions as an annotator meets them, in order."""
    match rubric.task:
        case "compare":
            overall = list(_scale_answers(rubric.scale))
        case "rank" | "best":
            overall = list(_order_answers(rubric))
        case "steps":
            overall = list(STEP_ANSWERS)
    if rubric.both_bad:
        overall.append(("B", "both bad" if rubric.task == "compare" else "all bad"))
    rows = [AnswerRow(question=rubric.question, answers=tuple(overall))]
    for criterion in rubric.criteria:
        answers = _rating_answers(criterion) if criterion.kind == "rate" else _scale_answers(criterion.scale)
        optional = "" if criterion.required else " (may be left out)"
        sides = " (left, then right)" if criterion.kind == "rate" else ""
        rows.append(AnswerRow(question=f"{criterion.question}{sides}{optional}", answers=tuple(answers)))
    if rubric.flags:
        flags = tuple((str(number), flag.label) for number, flag in enumerate(rubric.flags, start=1))
        rows.append(AnswerRow(question="Flags of a response, after F", answers=flags))
    if rubric.span_flags:
        marks = tuple((str(number), flag.label) for number, flag in enumerate(rubric.span_flags, start=1))
        rows.append(AnswerRow(question="Words of a response, selected or after W", answers=marks))
    if rubric.edit != "off":
        rows.append(AnswerRow(question="A response written anew", answers=(("R", f"edits the text, {rubric.edit}"),)))
    if rubric.rationale != "off":
        rows.append(AnswerRow(question="Rationale", answers=(("N", f"in own words, {rubric.rationale}"),)))
    reasons = tuple((str(number), reason) for number, reason in enumerate(rubric.skip_reasons, start=1))
    return [*rows, AnswerRow(question="Skipping, after S", answers=reasons)]


def _order_answers(rubric: Rubric) -> Iterator[tuple[str, str]]:
    yield "1 2 3 …", "the best response" if rubric.task == "best" else "the response that comes next in the order"
    if rubric.task == "rank":
        yield "=", "tied with the one before it"
        yield "⌫", "takes the last one back"


def _scale_answers(scale: Scale) -> Iterator[tuple[str, str]]:
    words = [f"left {wording}" for wording in reversed(scale.wordings)]
    words += ["tie"] if scale.steps % 2 else []
    words += [f"right {wording}" for wording in scale.wordings]
    yield from ((str(number), word) for number, word in enumerate(words, start=1))
    if scale.tie and scale.steps % 2 == 0:
        yield "T", "tie"


def _rating_answers(criterion: Criterion) -> Iterator[tuple[str, str]]:
    for value in range(criterion.low, criterion.high + 1):
        anchor = criterion.anchors.get(value, "")
        yield str(value), f"{value}: {anchor}" if anchor else str(value)


def difference(before: str, after: str) -> str:
    """What changed between two texts as a unified diff with three lines around; empty where nothing did."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=3)
    return "\n".join(list(lines)[2:])


def around(text: str, line: int, num_lines: int = 2) -> str:
    """The lines about a line (counted from 1), numbered, with `>` at the one that is meant."""
    lines = text.splitlines() or [""]
    line = min(line, len(lines))
    shown = range(max(1, line - num_lines), min(len(lines), line + num_lines) + 1)
    return "\n".join(f"{'>' if number == line else ' '} {number:>4}  {lines[number - 1]}" for number in shown)
