"""Rankings between the store and the browser: responses out in the order they stand on the screen, an order of them in.

The browser counts responses by their place on the screen; the store by their place in the comparison. They are turned
into each other here and nowhere else, by `annotate_app.protocol.assignment.shown_order`, never by the browser's word.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from annotate_app.labeling.pair_payload import read_answer, show_prompt, show_text
from annotate_app.labeling.rendering import render_completion
from annotate_app.protocol.assignment import shown_order
from annotate_app.protocol.leases import Lease
from annotate_app.protocol.rubric import Task
from rewardkit.data.records import LETTERS, Judgment, dense, first_choice


def order_on_screen(lease: Lease, user_id: int) -> tuple[int, ...]:
    """The places of a lease's responses in the comparison, in the order in which they stand on the person's screen."""
    return shown_order(lease.comparison.id, user_id, lease.shown_left, len(lease.comparison.responses))


def show_ranking(lease: Lease, user_id: int, task: Task) -> dict[str, object]:
    """A lease for the browser: the conversation and the responses as they stand on the screen, nothing else."""
    responses = lease.comparison.responses
    return {
        "token": lease.token,
        "kind": task,
        "messages": show_prompt(lease.comparison.prompt),
        "responses": [
            show_text(render_completion(responses[place].text, responses[place].turns))
            for place in order_on_screen(lease, user_id)
        ],
    }


def read_ranking_answer(event: Mapping[str, Any], lease: Lease, annotator: str, user_id: int) -> Judgment:
    """Reads a browser's `submit` or `skip` event as a judgment of the lease's comparison, in content space.

    Args:
        event: as of `pair_payload.read_answer`; the answer of a submit has "ranks", by place on the screen a whole
            number from 1 for the best or null for not ranked, or "overall": "both_bad" where all are bad; "flags" are
            by place on the screen, counted from 0.
        lease: what was answered.
        annotator: name of the person.
        user_id: of the person.

    Raises:
        ValueError: naming the field, its value and the form it must have.
    """
    order = order_on_screen(lease, user_id)
    answer = event.get("answer")
    if not isinstance(answer, Mapping):
        raise ValueError(f"answer is {str(answer)[:40]!r}, allowed is an object")
    flags = _read_flags(answer.get("flags", {}), order)
    is_ranked = event["kind"] == "submit" and answer.get("overall") != "both_bad"
    # What rankings share with pairs: reading of skips and of all bad, of rationale, reason and seconds.
    shared = {**answer, "flags": {}, "criteria": {}, **({"overall": "tie"} if is_ranked else {})}
    judgment = replace(read_answer({**event, "answer": shared}, lease, annotator), flags=flags, shown=order)
    if not is_ranked:
        return judgment
    ranks = _read_ranks(answer.get("ranks"), order)
    choice, strength = first_choice(ranks)
    return replace(judgment, choice=choice, strength=strength, ranks=ranks)


def screen_ranking(judgment: Judgment, order: tuple[int, ...]) -> dict[str, object]:
    """Writes a judgment as the browser would send it; `read_ranking_answer` reads it back."""
    return {
        "overall": "both_bad" if judgment.choice == "both_bad" else None,
        "ranks": [judgment.ranks[place] if judgment.ranks else None for place in order],
        "criteria": {},
        "flags": {
            str(at): list(judgment.flags[LETTERS[place]])
            for at, place in enumerate(order)
            if LETTERS[place] in judgment.flags
        },
        "rationale": judgment.rationale,
    }


def _read_ranks(value: object, order: tuple[int, ...]) -> tuple[int | None, ...]:
    """The ranks by place in the comparison."""
    if not isinstance(value, list) or len(value) != len(order):
        raise ValueError(f"ranks is {str(value)[:60]!r}, allowed is a list of {len(order)}, one per response")
    for rank in value:
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or not 1 <= rank <= len(order)):
            raise ValueError(f"ranks holds {str(rank)[:40]!r}, allowed are 1 to {len(order)} and null")
    if all(rank is None for rank in value):
        raise ValueError("ranks are all null, allowed is one ranked response or more")
    on_screen = dict(zip(order, value, strict=True))
    return dense([on_screen[place] for place in range(len(order))])


def _read_flags(value: object, order: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"flags is {str(value)[:40]!r}, allowed is an object")
    flags: dict[str, tuple[str, ...]] = {}
    for at, names in value.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(f"flags.{str(at)[:40]} is {str(names)[:40]!r}, allowed is a list of names")
        if not names:
            continue
        if str(at) not in {str(index) for index in range(len(order))}:
            raise ValueError(f"flags.{str(at)[:40]} names no response, allowed are 0 to {len(order) - 1}")
        flags[LETTERS[order[int(at)]]] = tuple(dict.fromkeys(names))
    return dict(sorted(flags.items()))
