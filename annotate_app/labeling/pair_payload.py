"""What a labeling browser is given to show: pairs and rubrics as plain values, texts rendered, no source named."""

from __future__ import annotations

from annotate_app.labeling.rendering import Rendered, render
from annotate_app.protocol.leases import Lease
from annotate_app.protocol.rubric import Rubric, Scale
from rewardkit.data.records import Message, content_id

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
