"""Comparisons: look through what was imported, see its votes, set known answers and what goes first."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import ITEM, page_at
from annotate_app.pages.views.comparison_view import draw_comparison, draw_judgments, position_rows
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.browsing import STATES, Listed
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project

AT_ONCE = 50
MOST_ITEMS = 500
"""Comparisons that one link may name."""
STATE_WORDS = {
    "any": "All",
    "unjudged": "Not judged yet",
    "open": "Votes missing",
    "complete": "Complete",
    "gold": "Known answer",
    "decided": "Adjudicated",
}
GOLD_WORDS = {None: "none", "a": "A is better", "b": "B is better", "tie": "tie", "both_bad": "both bad"}
USE_WORDS = {"gold": "Check at work", "qualification": "Qualification"}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Comparisons")
        store, actor, project = current_store(), current_actor(), current_project()
        words, state = st.columns([3, 2], vertical_alignment="bottom")
        text = words.text_input(
            "Search", placeholder="Words of a prompt or a response, or an id", key="comparisons-text"
        )
        chosen = state.selectbox("State", STATES, format_func=STATE_WORDS.__getitem__, key="comparisons-state")
        keys = st.query_params.get_all(ITEM)[:MOST_ITEMS]
        start = (st.session_state.get("comparisons-page", 1) - 1) * AT_ONCE
        listed = store.browsing.find(
            actor, project.id, text=text, state=chosen, keys=keys, offset=start, limit=AT_ONCE + 1
        )
        if keys:
            draw_chosen(len(keys))
        if not listed and start == 0:
            draw_nothing(filtered=bool(text or keys) or chosen != "any")
            return
        picked = draw_list(listed[:AT_ONCE]) or (listed[0] if len(keys) == 1 else None)
        if start or len(listed) > AT_ONCE:
            label = f"Page, {AT_ONCE} comparisons each" + ("" if len(listed) > AT_ONCE else ": this is the last")
            st.number_input(label, min_value=1, step=1, key="comparisons-page", width=260)
        if picked is None:
            st.caption("Choose a row to see the comparison, its votes and its settings.")
        else:
            draw_one(project, picked)


def draw_chosen(number: int) -> None:
    """Says that a link chose what is listed, and offers all."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{number:,} comparison{'' if number == 1 else 's'} chosen by a link.")
        st.button("Show all", key="comparisons-all", type="tertiary", on_click=show_all)


def show_all() -> None:
    """Takes what a link chose out of the address."""
    st.query_params.pop(ITEM, None)


def draw_nothing(*, filtered: bool) -> None:
    """Says why the list is empty."""
    if filtered:
        st.info("No comparison is like that.", icon=":material/search_off:")
        return
    st.info("Nothing has been imported yet.", icon=":material/upload_file:")
    st.page_link(page_at("import_data"))


def draw_list(listed: list[Listed]) -> Listed | None:
    """The list as a table; the row that is chosen."""
    rows = [
        {
            "prompt": item.comparison.prompt[-1].content if item.comparison.prompt else "",
            "votes": f"{item.num_judged} of {item.num_wanted}" if item.num_wanted else "",
            "state": say_state(item),
            "A": item.comparison.source_a,
            "B": item.comparison.source_b,
            "priority": item.priority,
            "id": item.comparison.id,
        }
        for item in listed
    ]
    columns = {
        "prompt": st.column_config.TextColumn("last turn of the prompt", width="large"),
        "votes": st.column_config.TextColumn("votes", width="small"),
        "priority": st.column_config.NumberColumn("priority") if any(item.priority for item in listed) else None,
        "A": st.column_config.TextColumn("A") if any(row["A"] for row in rows) else None,
        "B": st.column_config.TextColumn("B") if any(row["B"] for row in rows) else None,
    }
    event = st.dataframe(
        rows,
        column_config=columns,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        height=388,
        key="comparisons-list",
    )
    picked = event.selection.rows
    return listed[picked[0]] if picked and picked[0] < len(listed) else None


def say_state(item: Listed) -> str:
    """The state of a comparison in one or two words."""
    if item.decided:
        return "adjudicated"
    if item.gold is not None:
        return "known answer"
    if item.num_judged == 0:
        return "not judged"
    return "complete" if item.num_judged >= item.num_wanted else "votes missing"


def draw_one(project: Project, item: Listed) -> None:
    """One comparison with its votes and settings."""
    store, actor, key = current_store(), current_actor(), item.comparison.id
    rubric = store.projects.rubric(actor, project.id).rubric
    st.divider()
    draw_comparison(item.comparison, sources=True, key=f"comparisons-{key_of(key)}")
    judgments = [(judgment.annotator, judgment) for judgment in store.judgments.of_comparison(actor, project.id, key)]
    st.subheader("Votes", anchor=False)
    positions = position_rows(judgments, rubric)
    if positions:
        st.altair_chart(charts.positions(positions), key=f"comparisons-positions-{key_of(key)}")
    draw_judgments(judgments, rubric, key=f"comparisons-judgments-{key_of(key)}", comparison=item.comparison)
    gold, order = st.columns([3, 2])
    with gold:
        draw_gold(project, item, rubric)
    with order:
        draw_order(project, item)
    if item.comparison.meta:
        with st.expander("Metadata", icon=":material/data_object:"):
            st.json(dict(item.comparison.meta))


def draw_gold(project: Project, item: Listed, rubric: Rubric) -> None:
    """The form of the known answer."""
    key, gold = item.comparison.id, item.gold
    name = key_of(key)
    choices = [None, "a", "b", "tie", *(["both_bad"] if rubric.both_bad else [])]
    uses = list(USE_WORDS)
    with st.form(f"gold-{name}"):
        left, right = st.columns(2)
        left.selectbox(
            "Known answer",
            choices,
            index=choices.index(gold.choice) if gold and gold.choice in choices else 0,
            format_func=GOLD_WORDS.__getitem__,
            key=f"gold-{name}-choice",
            help="A comparison with a known answer checks people; it leaves the work queue.",
        )
        use = uses.index(gold.use) if gold else 0
        right.selectbox("Used as", uses, use, format_func=USE_WORDS.__getitem__, key=f"gold-{name}-use")
        explanation = gold.explanation if gold else ""
        st.text_input("Explanation", explanation, key=f"gold-{name}-why", help="Told where feedback is on.")
        st.form_submit_button("Save answer", on_click=save_gold, args=(project.id, key))


def save_gold(project_id: int, key: str) -> None:
    """Stores the known answer of the form."""
    fields, name = st.session_state, key_of(key)
    choice = fields[f"gold-{name}-choice"]
    gold = None
    if choice:
        gold = Gold(choice=choice, explanation=fields[f"gold-{name}-why"], use=fields[f"gold-{name}-use"])
    act("Saved.", current_store().comparisons.set_gold, current_actor(), project_id, key, gold)


def draw_order(project: Project, item: Listed) -> None:
    """The forms of what goes first, and of how many judgments this comparison gets."""
    key, design = item.comparison.id, project.design
    name = key_of(key)
    with st.form(f"priority-{name}"):
        words = "Higher goes first, where the order of work in the settings is “By priority”."
        st.number_input("Priority", value=item.priority, key=f"priority-{name}-value", help=words)
        st.form_submit_button("Save priority", on_click=save_priority, args=(project.id, key))
    with st.form(f"overlap-{name}"):
        st.number_input(
            "Judgments wanted",
            min_value=1,
            max_value=1000,
            value=item.overlap,
            placeholder=f"{design.votes_wanted}, as the settings ask",
            key=f"overlap-{name}-value",
            help="Of this comparison alone; empty for what the settings ask. Unused where they ask by group.",
        )
        st.form_submit_button("Save number", on_click=save_overlap, args=(project.id, key))


def save_priority(project_id: int, key: str) -> None:
    """Stores the priority of the form."""
    priorities = {key: st.session_state[f"priority-{key_of(key)}-value"]}
    act("Saved.", current_store().comparisons.set_priorities, current_actor(), project_id, priorities)


def save_overlap(project_id: int, key: str) -> None:
    """Stores the number of judgments of the form."""
    overlap = st.session_state[f"overlap-{key_of(key)}-value"]
    act("Saved.", current_store().comparisons.set_overlap, current_actor(), project_id, key, overlap)
