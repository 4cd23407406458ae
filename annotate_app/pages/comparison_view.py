"""How a comparison looks to those who may see both sides: the conversation above, the two responses side by side.

Texts of people and models pass `rendering` first; they never reach Streamlit's own markdown.
"""

from __future__ import annotations

import streamlit as st

from annotate_app.rendering import render
from annotate_app.rubric import Criterion, Rubric, Scale
from rewardkit.data import Comparison, Judgment, Message

LONG = 1_800  # characters from which a text scrolls in its own frame
FRAME_HEIGHT = 420  # pixels
ROLE_ICONS = {"system": "settings", "user": "person", "assistant": "smart_toy", "tool": "build"}


def draw_comparison(comparison: Comparison, *, sources: bool = False, key: str) -> None:
    """Draws the conversation and both responses.

    Args:
        comparison: what to draw.
        sources: whether to name what wrote the responses.
        key: unique on the page.
    """
    draw_conversation(comparison.prompt)
    sides = (("A", comparison.completion_a, comparison.source_a), ("B", comparison.completion_b, comparison.source_b))
    for place, (side, text, source) in zip(st.columns(2), sides, strict=True):
        with place, st.container(border=True, key=f"{key}-{side}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.badge(f"Response {side}", color="primary" if side == "A" else "gray")
                if sources and source:
                    st.text(source)
            draw_text(text)


def draw_conversation(messages: tuple[Message, ...]) -> None:
    """Draws the turns; all but the last two fold away."""
    early, late = messages[:-2], messages[-2:]
    if early:
        with st.expander(f"{len(early)} earlier turns", icon=":material/history:"):
            for message in early:
                draw_message(message)
    for message in late:
        draw_message(message)


def draw_message(message: Message) -> None:
    """One turn: who speaks, and what."""
    mark, words = st.columns([1, 11])
    mark.caption(f":material/{ROLE_ICONS[message.role]}: {message.role}")
    with words:
        draw_text(message.content)


def draw_text(text: str) -> None:
    """A text as its readers see it, in a scrolling frame where it is long."""
    rendered = render(text)
    with st.container(height=FRAME_HEIGHT if len(text) > LONG else "content", border=False):
        if not text:
            st.caption("empty")
        elif rendered.html:
            st.html(rendered.html)
        else:
            st.code(rendered.raw, language=None, wrap_lines=True)


def describe_choice(judgment: Judgment, scale: Scale) -> str:
    """A judgment's overall answer in words: `A much better`, `tie`."""
    match judgment.choice:
        case "a" | "b":
            return f"{judgment.choice.upper()} {scale.wordings[min(judgment.strength, scale.degrees) - 1]}"
        case "tie":
            return "tie"
        case "both_bad":
            return "both bad"
        case "skip":
            return f"skipped: {judgment.reason}" if judgment.reason else "skipped"


def describe_criterion(given: int | tuple[int, int], criterion: Criterion) -> str:
    """A criterion's answer in words: `B better`, `even`, `A 4, B 2`."""
    if not isinstance(given, int):
        return f"A {given[0]}, B {given[1]}"
    if given == 0:
        return "even"
    wording = criterion.scale.wordings[min(abs(given), criterion.scale.degrees) - 1]
    return f"{'A' if given < 0 else 'B'} {wording}"


def position_rows(judgments: list[tuple[str, Judgment]], rubric: Rubric) -> list[dict[str, object]]:
    """Rows for `charts.positions`: where each named person stands, overall and on each criterion."""
    rows: list[dict[str, object]] = []
    for name, judgment in judgments:
        if judgment.choice in ("a", "b", "tie"):
            place = judgment.score / rubric.scale.degrees
            rows.append(
                {"aspect": "overall", "name": name, "position": place, "words": describe_choice(judgment, rubric.scale)}
            )
    for criterion in rubric.criteria:
        for name, judgment in judgments:
            given = judgment.criteria.get(criterion.name)
            if given is None:
                continue
            reach = criterion.scale.degrees if criterion.kind == "compare" else criterion.high - criterion.low
            signed = given if isinstance(given, int) else given[1] - given[0]
            words = describe_criterion(given, criterion)
            place = max(-1.0, min(1.0, signed / reach))
            rows.append({"aspect": criterion.name, "name": name, "position": place, "words": words})
    return rows
