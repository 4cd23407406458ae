"""Answers in steps between the store and the browser: the steps out with a model's scores, a label of each in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from annotate_app.labeling.pair_payload import read_answer, show_prompt, show_text
from annotate_app.labeling.rendering import render_completion
from annotate_app.protocol.leases import Lease
from rewardkit.data.records import Judgment, StepLabels, check_step_labels, choice_of_steps

LABELS = (0.0, 0.5, 1.0)
"""What a person says of a step: wrong, neutral, right."""


def show_steps(lease: Lease) -> dict[str, object]:
    """A lease for the browser: the conversation and the steps of the answer, nothing else.

    `scores` are a model's, the probability that each step is right, or empty.
    """
    comparison = lease.comparison
    return {
        "token": lease.token,
        "kind": "steps",
        "messages": show_prompt(comparison.prompt),
        "steps": [show_text(render_completion(step, ())) for step in comparison.steps],
        "scores": list(comparison.step_scores),
    }


def read_steps_answer(event: Mapping[str, Any], lease: Lease, annotator: str) -> Judgment:
    """Reads a browser's `submit` or `skip` event as a judgment of the lease's steps.

    Args:
        event: as of `pair_payload.read_answer`; the answer of a submit has "labels", by step 1 (right), 0.5 (neutral),
            0 (wrong) or null.
        lease: what was answered.
        annotator: name of the person.

    Raises:
        ValueError: naming the field, its value and the form it must have.
    """
    answer = event.get("answer")
    if not isinstance(answer, Mapping):
        raise ValueError(f"answer is {str(answer)[:40]!r}, allowed is an object")
    is_submit = event["kind"] == "submit"
    # What steps share with pairs: reading of skips, of rationale, reason and seconds.
    shared = {**answer, "flags": {}, "criteria": {}, "spans": {}, "edited": {}}
    shared |= {"overall": "tie"} if is_submit else {}
    judgment = read_answer({**event, "answer": shared}, lease, annotator)
    if not is_submit:
        return judgment
    labels = _read_labels(answer.get("labels"), len(lease.comparison.steps))
    choice, strength = choice_of_steps(labels)
    return replace(judgment, choice=choice, strength=strength, step_labels=labels)


def screen_steps(judgment: Judgment) -> dict[str, object]:
    """Writes a judgment as the browser would send it; `read_steps_answer` reads it back."""
    return {"labels": list(judgment.step_labels), "criteria": {}, "flags": {}, "rationale": judgment.rationale}


def _read_labels(value: object, count: int) -> StepLabels:
    if not isinstance(value, list):
        raise ValueError(f"labels is {str(value)[:40]!r}, allowed is a list of {count}, one per step")
    for label in value:
        if isinstance(label, bool) or (label is not None and label not in LABELS):
            raise ValueError(f"labels holds {str(label)[:40]!r}, allowed are 1, 0.5, 0 and null")
    check_step_labels(value, count)
    return tuple(None if label is None else float(label) for label in value)
