"""Draws what moved a score: the answers with their parts marked, a legend, and the largest as a table.

Texts are escaped and shown as written; colours are never alone: hovering tells the number, and the table names it.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from annotate_app.findings.moved import Moved

UP, DOWN = "56, 132, 196", "214, 118, 28"  # blue and orange, told apart by the colour-blind, on light and dark
WEAKEST, STRONGEST = 0.04, 0.62  # opacity
TABLE_ROWS = 12
Mark = tuple[int, int, float]


def draw_moved(moved: Moved, first: str, second: str) -> None:
    """The marked answers side by side, by sentence or by word, what criteria say, and a table."""
    by_words = False
    if moved.words is not None:
        words = st.segmented_control(
            "Mark", ("Sentences", "Words"), default="Sentences", required=True, key="playground-mark"
        )
        by_words = words == "Words"
    marks: list[list[Mark]] = [[(part.start, part.end, part.change) for part in parts] for parts in moved.parts]
    if by_words and moved.words is not None:
        marks = [[(start, end, value) for start, end, value in side] for side in moved.words]
    largest = max((abs(value) for side in marks for _, _, value in side), default=0.0)
    columns = st.columns(2)
    for column, name, text, side in zip(columns, "AB", (first, second), marks, strict=True):
        with column.container(border=True, key=f"playground-marked-{name}"):
            st.caption(f"Answer {name}")
            st.html(marked(text, side, largest))
    st.html(legend(largest))
    st.caption(words_of(moved, by_words))
    draw_criteria(moved)
    draw_table(moved, first, second)


def words_of(moved: Moved, by_words: bool) -> str:
    """What the marks mean."""
    if not by_words:
        return (
            f"Each part is marked by how much lower (blue) or higher (orange) the reward of its answer is without it: "
            f"the same model was asked for {moved.num_asked:,} answers. Parts depend on each other, so they need not "
            "add up."
        )
    length = moved.length or (0.0, 0.0)
    counted = f", and the number of words: A {length[0]:+.2f}, B {length[1]:+.2f}" if any(length) else ""
    return f"What each word adds to the reward, exactly: this model is linear, and all words{counted} add up to it."


def marked(text: str, marks: Sequence[Mark], largest: float) -> str:
    """The text with its parts marked, as HTML that holds nothing of the text's own but characters."""
    pieces, at = [], 0
    for start, end, value in marks:
        pieces.append(html.escape(text[at:start]))
        strength = abs(value) / largest if largest else 0.0
        opacity = WEAKEST + (STRONGEST - WEAKEST) * strength if strength > 0.02 else 0.0
        colour = f"rgba({UP if value > 0 else DOWN}, {opacity:.2f})"
        part = text[start:end]
        inside = part.rstrip()
        pieces.append(
            f'<span title="{value:+.3f}" style="background: {colour}; border-radius: 3px">{html.escape(inside)}</span>'
        )
        pieces.append(html.escape(part[len(inside) :]))
        at = end
    pieces.append(html.escape(text[at:]))
    return f'<div style="white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.6">{"".join(pieces)}</div>'


def legend(largest: float) -> str:
    """What the colours stand for."""
    swatch = '<span style="background: rgba({}, {}); padding: 0 .7em; border-radius: 3px">{}</span>'
    shown = (
        swatch.format(DOWN, STRONGEST, f"lowers it by {largest:.2f}"),
        swatch.format(UP, STRONGEST, f"raises it by {largest:.2f}"),
    )
    return f'<div style="font-size: .85em">Reward: {shown[0]} &ensp; nothing &ensp; {shown[1]}</div>'


def draw_criteria(moved: Moved) -> None:
    """What each criterion's head says."""
    if not moved.criteria:
        return
    rows = [
        {
            "criterion": name,
            "reward of A": a,
            "reward of B": b,
            "prefers": "A" if a > b else "B" if b > a else "neither",
        }
        for name, (a, b) in moved.criteria.items()
    ]
    form = st.column_config.NumberColumn(format="%+.2f")
    columns = {"reward of A": form, "reward of B": form}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, key="playground-criteria")


def draw_table(moved: Moved, first: str, second: str) -> None:
    """The parts that move most, with their spread between members and the probability without them."""
    rows = [
        {
            "answer": name,
            "part": " ".join(text[part.start : part.end].split())[:200],
            "change": part.change,
            "std": part.std,
            "A preferred without it": part.probability,
        }
        for name, text, parts in zip("AB", (first, second), moved.parts, strict=True)
        for part in parts
    ]
    if not rows:
        st.caption("An answer of one word has no parts to leave out.")
        return
    rows = sorted(rows, key=lambda row: -abs(row["change"]))[:TABLE_ROWS]
    columns = {
        "part": st.column_config.TextColumn("part", width="large"),
        "change": st.column_config.NumberColumn("moves the reward by", format="%+.3f"),
        "std": st.column_config.NumberColumn("± between members", format="%.3f"),
        "A preferred without it": st.column_config.NumberColumn(format="percent"),
    }
    if all(not row["std"] for row in rows):
        columns["std"] = None  # type: ignore[assignment]
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, key="playground-parts")
