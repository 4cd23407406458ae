"""Draws a comparison for those who may see both sides: the conversation above two columns of responses.

Texts of people and models pass `rendering` first and are drawn by a component; they never reach Streamlit's markdown,
which alters them, nor `st.html`, which drops formulas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import streamlit as st
from streamlit.components.v2 import component

from annotate_app.labeling.pair_payload import show_prompt, show_text
from annotate_app.labeling.rendering import render, render_completion, render_turn
from annotate_app.pages.kit.labeler_component import mount_labeler
from annotate_app.pages.kit.language import texts_under
from annotate_app.pages.views.answer_view import draw_answer
from annotate_app.protocol.rubric import Criterion, Rubric, Scale
from rewardkit.data.records import (
    LETTERS,
    Comparison,
    Judgment,
    Message,
    content_id,
    ranking_words,
    split_step_id,
)

Mode = Literal["rich", "diff"]
READER_TEXTS = ("media.", "desk.nothing_common", "dialog.close")


def draw_comparison(
    comparison: Comparison, *, project_id: int, sources: bool = False, mode: Mode = "rich", key: str
) -> None:
    """Draws the conversation and the responses, two or more; of an answer in steps what is around the step that is
    meant.

    Args:
        comparison: what to draw.
        project_id: of the project that has its images; 0 while they are not stored.
        sources: whether to name what wrote the responses.
        mode: `diff` marks where the two responses differ.
        key: unique on the page.
    """
    sides = [
        (f"Response {letter}", render_completion(one.text, one.turns), one.source)
        for letter, one in zip(LETTERS.upper(), comparison.responses, strict=False)
    ]
    if comparison.steps:
        sides = [(title, render_completion(text, ()), comparison.source_a) for title, text in step_parts(comparison)]
    data = {
        "shown": f"{key} {mode}",
        "mode": mode,
        "project": project_id,
        "messages": show_prompt(comparison.prompt),
        "responses": [
            {"title": title, "source": source if sources else "", "text": show_text(rendered)}
            for title, rendered, source in sides
        ],
    }
    draw_reader(data, key=key)


def step_parts(comparison: Comparison) -> list[tuple[str, str]]:
    """An answer in steps as titled texts: the whole of it, or where one of its steps is meant what is around that."""
    steps, of_step = comparison.steps, split_step_id(comparison.id)
    if of_step is None or of_step[1] >= len(steps) or comparison.completion_a != steps[of_step[1]]:
        return [(f"Answer in {len(steps)} steps", "\n\n".join(steps))]
    place = of_step[1]
    parts = [
        ("Before it", "\n\n".join(steps[:place])),
        (f"Step {place + 1} of {len(steps)}", steps[place]),
        ("Behind it", "\n\n".join(steps[place + 1 :])),
    ]
    return [(title, text) for title, text in parts if text]


def draw_guidelines(rubric: Rubric) -> None:
    """The guidelines as annotators read them."""
    shown = content_id(rubric.title, rubric.guidelines)
    data = {
        "shown": shown,
        "mode": "rich",
        "messages": [],
        "responses": [{"title": rubric.title, "source": "", "text": text_data(rubric.guidelines)}],
    }
    draw_reader(data, key=f"guidelines-{shown}")


def draw_reader(data: Mapping[str, object], *, key: str) -> None:
    """Draws texts by the component `reader.js`, whose own words are in the reader's language.

    Args:
        data: `shown`, which names this content; `messages` and `responses` as of `turn_data` and `text_data`; also
            `mode`, and the `project` whose images the texts name.
        key: unique on the page.
    """
    mount_labeler()  # makes the package's components known
    _reader()(key=key, data={**data, "words": texts_under(*READER_TEXTS)}, height="content")


@st.cache_resource
def _reader():  # noqa: ANN202
    return component("tiebreak.reader", js="reader.js", css="labeler.css")


def text_data(text: str) -> dict[str, object]:
    """A text as the component takes it: sanitised HTML, and as written."""
    return show_text(render(text))


def turn_data(message: Message) -> dict[str, object]:
    """A turn as the component takes it: whose it is, and its text."""
    return {"role": message.role, **show_text(render_turn(message))}


def describe_choice(choice: str, strength: int, scale: Scale) -> str:
    """Formats an overall answer: `A much better`, `tie`."""
    match choice:
        case "a" | "b":
            return f"{choice.upper()} {scale.wordings[min(strength, scale.degrees) - 1]}"
        case "both_bad":
            return "both bad"
        case "skip":
            return "skipped"
        case _:
            return choice


def describe_criterion(answer: int | tuple[int, int], criterion: Criterion) -> str:
    """Formats an answer on a criterion: `B better`, `even`, `A 4, B 2`."""
    if not isinstance(answer, int):
        return f"A {answer[0]}, B {answer[1]}"
    if answer == 0:
        return "even"
    wording = criterion.scale.wordings[min(abs(answer), criterion.scale.degrees) - 1]
    return f"{'A' if answer < 0 else 'B'} {wording}"


def position_rows(judgments: list[tuple[str, Judgment]], rubric: Rubric) -> list[dict[str, object]]:
    """Rows for `charts.positions`: where each named person stands, overall and on each criterion."""
    rows: list[dict[str, object]] = []
    for name, judgment in judgments:
        if judgment.choice in ("a", "b", "tie"):
            position = judgment.score / rubric.scale.degrees
            rows.append(
                {
                    "aspect": "overall",
                    "name": name,
                    "position": position,
                    "words": describe_choice(judgment.choice, judgment.strength, rubric.scale),
                }
            )
    for criterion in rubric.criteria:
        for name, judgment in judgments:
            answer = judgment.criteria.get(criterion.name)
            if answer is None:
                continue
            reach = criterion.scale.degrees if criterion.kind == "compare" else criterion.high - criterion.low
            signed = answer if isinstance(answer, int) else answer[1] - answer[0]
            words = describe_criterion(answer, criterion)
            position = max(-1.0, min(1.0, signed / reach))
            rows.append({"aspect": criterion.name, "name": name, "position": position, "words": words})
    return rows


def draw_judgments(
    judgments: list[tuple[str, Judgment]], rubric: Rubric, *, key: str, comparison: Comparison | None = None
) -> None:
    """Draws a table of what each named person said, their reasons in full, and what they did to the words.

    Args:
        comparison: that was judged; without it, marked words and edits are not drawn.
    """
    if not judgments:
        st.caption("Nobody has judged this comparison yet.")
        return
    rows = []
    for name, judgment in judgments:
        flags = [f"{flag} ({side.upper()})" for side, names in judgment.flags.items() for flag in names]
        answers = {
            criterion.name: describe_criterion(judgment.criteria[criterion.name], criterion)
            for criterion in rubric.criteria
            if criterion.name in judgment.criteria
        }
        overall = describe_choice(judgment.choice, judgment.strength, rubric.scale)
        overall = ranking_words(judgment.ranks) if judgment.ranks else overall
        rows.append(
            {"who": name, "overall": overall, **answers, "flags": ", ".join(flags), "seconds": judgment.seconds}
        )
    columns = {
        "seconds": st.column_config.NumberColumn("seconds", format="%d", width="small"),
        "flags": st.column_config.TextColumn("flags") if any(row["flags"] for row in rows) else None,
    }
    st.dataframe(rows, column_config=columns, hide_index=True, key=key)
    for name, judgment in judgments:
        if comparison is not None:
            draw_answer(name, judgment, comparison, rubric, key=f"{key}-{name}")
        words = judgment.rationale or judgment.reason
        if words:
            with st.container(border=True):
                st.text(f"{name}: {words}")
