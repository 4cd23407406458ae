"""Converts between the store's types and the browser's messages: pairs and rubrics out, answers in.

Out go plain values with rendered texts; nothing names a source. The browser speaks of left and right, the store of a
and b: sides are turned here and nowhere else. A score on the screen is negative where the left response is better.
Which completion stood left comes from the lease, never from the browser. The form of an answer is checked here; whether
the rubric allows it is checked by the store, in the transaction that writes it
(`annotate_app.protocol.leases.check_submission`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from annotate_app.images.references import without_addresses
from annotate_app.labeling.places import find_places
from annotate_app.labeling.rendering import Rendered, render, render_completion, render_prompt
from annotate_app.protocol.assignment import Side, other_side
from annotate_app.protocol.leases import Lease
from annotate_app.protocol.rubric import Rubric, Scale
from annotate_app.words import FALLBACK, say, say_default
from rewardkit.data.conversations import transcript
from rewardkit.data.records import (
    Choice,
    Judgment,
    Message,
    Span,
    StepLabels,
    content_id,
    ranking_words,
    with_span_flags,
)
from rewardkit.data.stepwise.stepped_answer import first_error

LONGEST_EXCERPT = 160
LONGEST_TASK_S = 4 * 3600.0
Degrees = int | tuple[int, int]  # of a criterion: signed, or the ratings of the two responses


def show_pair(lease: Lease, *, marks: bool = False) -> dict[str, object]:
    """A lease for the browser: the conversation and the two responses as they stand on the screen, nothing else.

    Args:
        marks: whether words are marked, so that the browser needs to know where the rendered ones stand as written.
    """
    comparison = lease.comparison if lease.shown_left == "a" else lease.comparison.swap()
    return {
        "token": lease.token,
        "messages": show_prompt(comparison.prompt),
        "left": _show_completion(comparison.completion_a, comparison.turns_a, marks),
        "right": _show_completion(comparison.completion_b, comparison.turns_b, marks),
    }


def _show_completion(text: str, turns: tuple[Message, ...], marks: bool) -> dict[str, object]:
    rendered = render_completion(text, turns)
    places = {"places": find_places(rendered, text, turns)} if marks else {}
    return show_text(rendered) | places | ({"editable": False} if turns else {})


def show_prompt(prompt: Sequence[Message]) -> list[dict[str, object]]:
    """The conversation for the browser: who speaks, and what."""
    return [{"role": role, **show_text(turn)} for role, turn in render_prompt(prompt)]


def show_text(text: Rendered) -> dict[str, object]:
    """A text for the browser; one that is more than a text also as the stretches of it that are compared.

    A stretch is its kind and its length in UTF-16 units, as the browser counts.
    """
    shown: dict[str, object] = {"html": text.html, "raw": text.raw, "length": text.num_characters}
    if text.blocks:
        shown["blocks"] = [[block.kind, len(block.text.encode("utf-16-le")) // 2] for block in text.blocks]
        shown |= {"turns": text.num_turns, "dialogue": text.is_dialogue}
    return shown


def show_rubric(rubric: Rubric, version: int, language: str = FALLBACK) -> dict[str, object]:
    """The rubric for the browser, what it leaves at the default in a language; `id` names this content."""
    shown: dict[str, object] = {
        "title": rubric.title,
        "task": rubric.task,
        "version": version,
        "guidelines": render(rubric.guidelines).html,
        "question": say_default(language, rubric.question),
        "scale": _show_scale(rubric.scale, language),
        "both_bad": rubric.both_bad,
        "criteria": [
            {
                "name": criterion.name,
                "question": criterion.question,
                "kind": criterion.kind,
                "scale": _show_scale(criterion.scale, language),
                "low": criterion.low,
                "high": criterion.high,
                "anchors": {str(value): text for value, text in criterion.anchors.items()},
                "required": criterion.required,
            }
            for criterion in rubric.criteria
        ],
        "flags": [
            {"name": flag.name, "label": flag.label, "help": flag.help, "spans": flag.spans} for flag in rubric.flags
        ],
        "edit": rubric.edit,
        "rationale": rubric.rationale,
        "skip_reasons": list(rubric.skip_reasons),
    }
    return {"id": content_id(shown), **shown}


def _show_scale(scale: Scale, language: str) -> dict[str, object]:
    wordings = [say_default(language, wording) for wording in scale.wordings]
    return {"steps": scale.steps, "tie": scale.tie, "wordings": wordings}


def excerpt(prompt: tuple[Message, ...]) -> str:
    """The start of the last turn of a conversation, on one line."""
    text = " ".join(without_addresses(transcript(prompt[-1:])[: 16 * LONGEST_EXCERPT]).split())
    return text if len(text) <= LONGEST_EXCERPT else text[: LONGEST_EXCERPT - 1].rstrip() + "…"


def read_answer(event: Mapping[str, Any], lease: Lease, annotator: str) -> Judgment:
    """Reads a browser's `submit` or `skip` event as a judgment of the lease's comparison, in content space.

    Args:
        event: {"kind": "submit" | "skip", "answer": answer, "seconds": active seconds}, where the answer is
            {"overall": score | "tie" | "both_bad", "criteria": {name: score | [left, right]},
            "flags": {"left": [name], "right": [name]}, "spans": {"left": [[start, end, flag]], "right": ...},
            "edited": {"left": text, "right": text}, "rationale": text}; a skip has "reason" and no overall.

    Raises:
        ValueError: naming the field, its value and the form it must have.
    """
    skip, left = event["kind"] == "skip", lease.shown_left
    answer = _mapping(event.get("answer"), "answer")
    choice, strength = ("skip", 0) if skip else _read_overall(answer.get("overall"), left)
    criteria = _mapping(answer.get("criteria", {}), "criteria")
    flags = _mapping(answer.get("flags", {}), "flags")
    spans = _mapping(answer.get("spans", {}), "spans")
    edited = _mapping(answer.get("edited", {}), "edited")
    sides: tuple[tuple[str, Side], ...] = (("left", left), ("right", other_side(left)))
    marked = tuple(
        sorted(span for position, side in sides for span in _read_spans(spans.get(position, []), position, side))
    )
    named: dict[str, tuple[str, ...]] = {
        side: names for position, side in sides if (names := _read_names(flags.get(position, []), f"flags.{position}"))
    }
    return Judgment(
        comparison_id=lease.comparison.id,
        annotator=annotator,
        choice=choice,
        strength=strength,
        criteria={str(name): _read_criterion(str(name), value, left) for name, value in criteria.items()},
        flags=with_span_flags(named, marked),
        spans=marked,
        edited={
            side: text
            for position, side in sides
            if (text := _read_edited(edited.get(position), f"edited.{position}")) is not None
        },
        rationale=_read_text(answer.get("rationale", ""), "rationale"),
        reason=_read_text(answer.get("reason", ""), "reason") if skip else "",
        seconds=read_seconds(event.get("seconds", 0)),
        shown_left=left,
    )


def screen_answer(judgment: Judgment, shown_left: Side) -> dict[str, object]:
    """Writes a judgment as the browser would send it, with `shown_left` on the left; `read_answer` reads it back."""
    overall: object
    match judgment.choice:
        case "a" | "b":
            overall = _turn(judgment.score, shown_left)
        case "tie" | "both_bad":
            overall = judgment.choice
        case "skip":
            overall = None
    criteria: dict[str, object] = {}
    for name, degrees in judgment.criteria.items():
        turned = _turn_degrees(degrees, shown_left)
        criteria[name] = turned if isinstance(turned, int) else list(turned)
    return {
        "overall": overall,
        "criteria": criteria,
        "flags": {
            "left": list(judgment.flags.get(shown_left, ())),
            "right": list(judgment.flags.get(other_side(shown_left), ())),
        },
        "rationale": judgment.rationale,
        **_screen_marks(judgment, shown_left),
    }


def _screen_marks(judgment: Judgment, shown_left: Side) -> dict[str, object]:
    """The marked words and edits of a judgment by where they stand; nothing where there are none."""
    sides = (("left", shown_left), ("right", other_side(shown_left)))
    spans = {
        position: [[span.start, span.end, span.flag] for span in judgment.spans if span.side == side]
        for position, side in sides
    }
    edited = {position: judgment.edited[side] for position, side in sides if side in judgment.edited}
    shown: dict[str, object] = {"spans": spans} if judgment.spans else {}
    return shown | ({"edited": edited} if edited else {})


def describe_choice(judgment: Judgment, shown_left: Side, scale: Scale, language: str = FALLBACK) -> str:
    """A judgment's overall answer in the words of the page; of a ranking, by the letters of its screen; of steps, the
    first wrong one.
    """
    if judgment.ranks:
        order = judgment.shown or tuple(range(len(judgment.ranks)))
        return ranking_words([judgment.ranks[place] for place in order], unranked=say(language, "ranking.not_ranked"))
    if judgment.step_labels:
        return steps_words(judgment.step_labels, language)
    match judgment.choice:
        case "a" | "b":
            side = "left" if judgment.choice == shown_left else "right"
            wording = scale.wordings[min(judgment.strength, scale.degrees) - 1]
            return say(language, f"choice.{side}", wording=say_default(language, wording))
        case "tie" | "both_bad":
            return say(language, f"choice.{judgment.choice}")
        case "skip":
            because = "skipped_because" if judgment.reason else "skipped"
            return say(language, f"choice.{because}", reason=judgment.reason)


def steps_words(labels: StepLabels, language: str = FALLBACK) -> str:
    """Labels of steps in a few words: the first wrong one, or how many are right."""
    if (wrong := first_error(labels)) is not None and wrong < len(labels):
        return say(language, "steps.wrong_at", number=wrong + 1, total=len(labels))
    num_right = sum(label is not None and label > 0.5 for label in labels)
    return say(language, "steps.num_right", number=num_right, total=len(labels))


def storable(text: str) -> str:
    """A typed text without white space around it, as `_storable_whole` leaves it."""
    return _storable_whole(text).strip()


def _storable_whole(text: str) -> str:
    """What no column takes, NUL and half of a surrogate pair, is replaced, not refused: nobody types it on purpose."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def read_seconds(value: object) -> float:
    """Reads the active seconds that the browser counted, clipped to 0 to four hours."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ValueError(f"seconds is {str(value)[:40]!r}, allowed is a number")
    return float(min(max(value, 0.0), LONGEST_TASK_S))


def _turn(score: int, shown_left: Side) -> int:
    return score if shown_left == "a" else -score


def _turn_degrees(degrees: Degrees, shown_left: Side) -> Degrees:
    if isinstance(degrees, int):
        return _turn(degrees, shown_left)
    first, second = degrees
    return (first, second) if shown_left == "a" else (second, first)


def _read_overall(value: object, shown_left: Side) -> tuple[Choice, int]:
    match value:
        case "both_bad":
            return "both_bad", 0
        case "tie":
            return "tie", 0
        case int() if not isinstance(value, bool):
            score = _turn(value, shown_left)
            return ("a" if score < 0 else "b" if score > 0 else "tie"), abs(score)
        case _:
            raise ValueError(f"overall is {str(value)[:40]!r}, allowed are a whole number, 'tie' and 'both_bad'")


def _read_criterion(name: str, value: object, shown_left: Side) -> Degrees:
    match value:
        case bool():
            pass
        case int():
            return _turn(value, shown_left)
        case [int() as left, int() as right] if not isinstance(left, bool) and not isinstance(right, bool):
            return _turn_degrees((left, right), shown_left)
        case _:
            pass
    raise ValueError(f"criteria.{name[:40]} is {str(value)[:40]!r}, allowed are a whole number or two in a list")


def _read_names(value: object, field: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{field} is {str(value)[:40]!r}, allowed is a list of names")
    return tuple(dict.fromkeys(value))


def _read_spans(value: object, position: str, side: Side) -> list[Span]:
    spans = []
    for item in value if isinstance(value, list) else [value]:
        match item:
            case [int() as start, int() as end, str() as flag]:
                spans.append(Span(side=side, start=start, end=end, flag=flag))
            case _:
                raise ValueError(f"spans.{position} holds {str(item)[:40]!r}, allowed are lists of start, end, flag")
    return spans


def _read_edited(value: object, field: str) -> str | None:
    """A response as it was written anew, its blanks at both ends kept; None where there is no edit."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{field} is {str(value)[:40]!r}, allowed is text")
    return _storable_whole(value)


def _read_text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{field} is {str(value)[:40]!r}, allowed is text")
    return storable(value)


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{field} is {str(value)[:40]!r}, allowed is an object")
    return value
