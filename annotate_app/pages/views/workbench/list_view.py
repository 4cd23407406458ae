"""The list of the page Comparisons: its table, its pages, and which rows are chosen."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from annotate_app.pages.views.workbench.filter_form import PAGE
from annotate_app.store.workbench.browsing import Found, Listed
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

AT_ONCE = 50


def draw_count(found: Found, num_all: int, chosen: ComparisonFilter) -> None:
    """Says how many there are."""
    several = "comparison" if found.total == 1 else "comparisons"
    if chosen.keys:
        st.caption(f"{found.total:,} {several} chosen by a link.")
    else:
        st.caption(f"{found.total:,} of {num_all:,} comparisons" if chosen.narrows else f"{found.total:,} {several}")


def draw_list(listed: list[Listed]) -> list[Listed]:
    """The list as a table; the rows that are chosen."""
    rows = [
        {
            "prompt": item.comparison.prompt[-1].content if item.comparison.prompt else "",
            "votes": f"{item.num_judged} of {item.num_wanted}" if item.num_wanted else str(item.num_votes or ""),
            "agreement": None if item.agreement is None else 100 * item.agreement,
            "state": say_state(item),
            "A": item.comparison.source_a,
            "B": item.comparison.source_b,
            "tags": list(item.tags),
            "assigned": ", ".join(item.assigned),
            "characters": item.length,
            "newest": datetime.fromtimestamp(item.newest_at, UTC) if item.newest_at else None,
            "priority": item.priority,
            "id": item.comparison.id,
        }
        for item in listed
    ]
    columns = {
        "prompt": st.column_config.TextColumn("last turn of the prompt", width="large"),
        "votes": st.column_config.TextColumn("votes", width="small"),
        "agreement": st.column_config.NumberColumn("agree", format="%.0f%%", width="small"),
        "A": st.column_config.TextColumn("A") if any(row["A"] for row in rows) else None,
        "B": st.column_config.TextColumn("B") if any(row["B"] for row in rows) else None,
        "tags": st.column_config.ListColumn("tags") if any(row["tags"] for row in rows) else None,
        "assigned": st.column_config.TextColumn("assigned to") if any(row["assigned"] for row in rows) else None,
        "characters": st.column_config.NumberColumn("characters", format="localized", width="small"),
        "newest": st.column_config.DatetimeColumn("newest judgment", format="distance"),
        "priority": st.column_config.NumberColumn("priority") if any(item.priority for item in listed) else None,
    }
    event = st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        height=388,
        placeholder="–",
        key="comparisons-list",
    )
    return [listed[row] for row in event.selection.rows if row < len(listed)]


def draw_pages(total: int, number: int) -> None:
    """The choice of a page, where there is more than one."""
    last = max(-(-total // AT_ONCE), 1)
    if last == 1 and number == 1:
        return
    st.session_state["comparisons-page"] = min(number, last)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input(
            f"Page (of {last:,})",
            min_value=1,
            max_value=last,
            step=1,
            key="comparisons-page",
            width=200,
            on_change=turn_page,
        )
        first = (min(number, last) - 1) * AT_ONCE
        st.caption(f"Comparisons {first + 1:,} to {min(first + AT_ONCE, total):,} of {total:,}")


def turn_page() -> None:
    """Puts the chosen page into the address."""
    number = st.session_state["comparisons-page"]
    if number == 1:
        st.query_params.pop(PAGE, None)
    else:
        st.query_params[PAGE] = str(number)


def say_state(item: Listed) -> str:
    """The state of a comparison in one or two words."""
    if item.excluded:
        return "excluded"
    if item.decided:
        return "adjudicated"
    if item.gold is not None:
        return "known answer"
    if item.num_judged == 0:
        return "not judged"
    return "complete" if item.num_judged >= item.num_wanted else "votes missing"
