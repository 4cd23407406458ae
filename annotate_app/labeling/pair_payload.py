"""What a labeling browser is given to show: pairs and rubrics as plain values, texts rendered, no source named.

Answers between the screen (left and right) and content (a and b).

A score on the screen is negative where the left response is better. Which completion stood left comes from the lease,
never from the browser. What a browser says is checked here for its form; whether the rubric allows it is checked by the
store, in the transaction that writes it (`annotate_app.protocol.leases.check_submission`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotate_app.labeling.rendering import Rendered, render
from annotate_app.protocol.assignment import Side, other_side
from annotate_app.protocol.leases import Lease
from annotate_app.protocol.rubric import Rubric, Scale
from rewardkit.data.records import Choice, Judgment, Message, content_id

LONGEST_EXCERPT = 160


def show_pair(lease: Lease) -> dict[str, object]:
    """A lease for the browser: the conversation and the two responses as they stand on the screen, nothing else."""
    comparison = lease.comparison if lease.shown_left == "a" else lease.comparison.swap()
    return {
        "token": lease.token,
        "messages": [{"role": turn.role, **_show_text(render(turn.content))} for turn in comparison.prompt],
        "left": _show_text(render(comparison.completion_a)),
        "right": _show_text(render(comparison.completion_b)),
    }


def _show_text(text: Rendered) -> dict[str, object]:
    return {"html": text.html, "raw": text.raw, "length": text.num_characters}


def show_rubric(rubric: Rubric, version: int) -> dict[str, object]:
    """The rubric for the browser; `id` names this content."""
    shown: dict[str, object] = {
        "title": rubric.title,
        "version": version,
        "guidelines": render(rubric.guidelines).html,
        "question": rubric.question,
        "scale": _show_scale(rubric.scale),
        "both_bad": rubric.both_bad,
        "criteria": [
            {
                "name": criterion.name,
                "question": criterion.question,
                "kind": criterion.kind,
                "scale": _show_scale(criterion.scale),
                "low": criterion.low,
                "high": criterion.high,
                "anchors": {str(value): text for value, text in criterion.anchors.items()},
                "required": criterion.required,
            }
            for criterion in rubric.criteria
        ],
        "flags": [{"name": flag.name, "label": flag.label, "help": flag.help} for flag in rubric.flags],
        "rationale": rubric.rationale,
        "skip_reasons": list(rubric.skip_reasons),
    }
    return {"id": content_id(shown), **shown}


def _show_scale(scale: Scale) -> dict[str, object]:
    return {"steps": scale.steps, "tie": scale.tie, "wordings": list(scale.wordings)}


def excerpt(prompt: tuple[Message, ...]) -> str:
    """The start of the last turn of a conversation, on one line."""
    text = " ".join(prompt[-1].content[: 4 * LONGEST_EXCERPT].split()) if prompt else ""
    return text if len(text) <= LONGEST_EXCERPT else text[: LONGEST_EXCERPT - 1].rstrip() + "…"


Given = int | tuple[int, int]
LONGEST_TASK_S = 4 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was answered, in content space."""

    choice: Choice
    strength: int = 0
    criteria: Mapping[str, Given] = field(default_factory=dict)
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rationale: str = ""
    reason: str = ""


def read_answer(said: object, shown_left: Side, *, skip: bool) -> Answer:
    """A browser's answer in content space.

    Args:
        said: {"overall": score | "tie" | "both_bad", "criteria": {name: score | [left, right]},
            "flags": {"left": [name], "right": [name]}, "rationale": text}; a skip has "reason" and no overall.

    Raises:
        ValueError: naming the field, its value and the form it must have.
    """
    answer = _mapping(said, "answer")
    choice, strength = ("skip", 0) if skip else _read_overall(answer.get("overall"), shown_left)
    criteria = _mapping(answer.get("criteria", {}), "criteria")
    flags = _mapping(answer.get("flags", {}), "flags")
    return Answer(
        choice=choice,
        strength=strength,
        criteria={str(name): _read_criterion(str(name), value, shown_left) for name, value in criteria.items()},
        flags={
            side: names
            for place, side in (("left", shown_left), ("right", other_side(shown_left)))
            if (names := _read_names(flags.get(place, []), f"flags.{place}"))
        },
        rationale=_read_text(answer.get("rationale", ""), "rationale"),
        reason=_read_text(answer.get("reason", ""), "reason") if skip else "",
    )


def screen_answer(judgment: Judgment, shown_left: Side) -> dict[str, object]:
    """A judgment as the browser would say it, with `shown_left` on the left: what `read_answer` reads back."""
    overall: object
    match judgment.choice:
        case "a" | "b":
            overall = _turn(judgment.score, shown_left)
        case "tie" | "both_bad":
            overall = judgment.choice
        case "skip":
            overall = None
    criteria: dict[str, object] = {}
    for name, given in judgment.criteria.items():
        turned = _turn_given(given, shown_left)
        criteria[name] = turned if isinstance(turned, int) else list(turned)
    return {
        "overall": overall,
        "criteria": criteria,
        "flags": {
            "left": list(judgment.flags.get(shown_left, ())),
            "right": list(judgment.flags.get(other_side(shown_left), ())),
        },
        "rationale": judgment.rationale,
    }


def describe_choice(judgment: Judgment, shown_left: Side, scale: Scale) -> str:
    """A judgment's overall answer in the words of the page."""
    match judgment.choice:
        case "a" | "b":
            side = "Left" if judgment.choice == shown_left else "Right"
            return f"{side} {scale.wordings[min(judgment.strength, scale.degrees) - 1]}"
        case "tie":
            return "Tie"
        case "both_bad":
            return "Both bad"
        case "skip":
            return f"Skipped: {judgment.reason}" if judgment.reason else "Skipped"


def read_seconds(said: object) -> float:
    """Active seconds as the browser counted them, brought into 0 to four hours."""
    if isinstance(said, bool) or not isinstance(said, int | float) or not math.isfinite(said):
        raise ValueError(f"seconds is {str(said)[:40]!r}, allowed is a number")
    return min(max(float(said), 0.0), LONGEST_TASK_S)


def _turn(score: int, shown_left: Side) -> int:
    return score if shown_left == "a" else -score


def _turn_given(given: Given, shown_left: Side) -> Given:
    if isinstance(given, int):
        return _turn(given, shown_left)
    first, second = given
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


def _read_criterion(name: str, value: object, shown_left: Side) -> Given:
    match value:
        case bool():
            pass
        case int():
            return _turn(value, shown_left)
        case [int() as left, int() as right] if not isinstance(left, bool) and not isinstance(right, bool):
            return _turn_given((left, right), shown_left)
        case _:
            pass
    raise ValueError(f"criteria.{name[:40]} is {str(value)[:40]!r}, allowed are a whole number or two in a list")


def _read_names(value: object, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{place} is {str(value)[:40]!r}, allowed is a list of names")
    return tuple(dict.fromkeys(value))


def _read_text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{place} is {str(value)[:40]!r}, allowed is text")
    # What no column takes, NUL and half of a surrogate pair, is replaced and not refused: nobody types it on purpose.
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}").strip()


def _mapping(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{place} is {str(value)[:40]!r}, allowed is an object")
    return value
