"""The judgments of one person as a list, each beside what the others answered."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import streamlit as st

from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.filtered_links import link_to
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.store.workbench.person_judgments import KINDS, Kind, PersonJudgment

AT_ONCE = 25
KIND = "judgments"
"""What the address names the kind of judgments by."""
KIND_WORDS = {
    "all": "All",
    "missed": "Known answer missed",
    "changed": "Answered differently twice",
    "apart": "Apart from the others",
    "fast": "Fastest",
}
CHOICE_WORDS = {"a": "A", "b": "B", "tie": "tie", "both_bad": "both bad", "skip": "skipped"}


def draw_person_judgments(project: Project, name: str) -> None:
    """A page of somebody's judgments of one kind; the kind is in the address."""
    key = key_of(name)
    st.markdown("**Judgments**")
    asked = st.query_params.get(KIND, "all")
    kind = st.segmented_control(
        "Which judgments",
        KINDS,
        default=asked if asked in KINDS else "all",
        required=True,
        format_func=KIND_WORDS.__getitem__,
        key=f"quality-kind-{key}",
        label_visibility="collapsed",
    )
    kind = cast(Kind, kind or "all")
    st.query_params[KIND] = kind
    number = st.session_state.get(f"quality-page-{key}-{kind}", 1)
    listed, total = current_store().person_judgments.page(
        current_actor(), project.id, name, kind, number=number, size=AT_ONCE
    )
    if not total:
        st.caption("There is none.")
        return
    columns = {
        "prompt": st.column_config.TextColumn("last turn of the prompt", width="large"),
        "open": st.column_config.LinkColumn("comparison", display_text="open", width="small"),
        "seconds": st.column_config.NumberColumn("seconds", format="%.0f", width="small"),
        "characters a second": st.column_config.NumberColumn(format="%.0f", width="small"),
        "when": st.column_config.DatetimeColumn("when", format="distance"),
    }
    rows = [judgment_row(one) for one in listed]
    empty = {name: None for name in ("known answer", "first answer") if not any(row[name] for row in rows)}
    st.dataframe(rows, column_config=columns | empty, hide_index=True, placeholder="–", key=f"quality-list-{key}")
    last = -(-total // AT_ONCE)
    st.caption(f"{total:,} judgments. The others' answers are those that figures count.")
    if last > 1:
        st.number_input(f"Page (of {last:,})", 1, last, step=1, key=f"quality-page-{key}-{kind}", width=200)


def judgment_row(one: PersonJudgment) -> dict[str, object]:
    """A row of the table."""
    return {
        "prompt": one.prompt,
        "answer": CHOICE_WORDS.get(one.choice, one.choice),
        "others": ", ".join(f"{count} {CHOICE_WORDS[choice]}" for choice, count in one.others.items()),
        "known answer": CHOICE_WORDS.get(one.gold, ""),
        "first answer": CHOICE_WORDS.get(one.before, ""),
        "seconds": one.seconds or None,
        "characters a second": one.pace,
        "when": datetime.fromtimestamp(one.created_at, UTC) if one.created_at else None,
        "open": link_to(ComparisonFilter(keys=(one.key,))),
    }
