"""Adjudicate: the comparisons people disagree on, everything they said, and the expert's decision by one key."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from annotate_app.consensus.disputes import disputed_items, splits
from annotate_app.exchange.rows.rows_out import Pseudonyms
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import ITEM, page_at
from annotate_app.pages.views.comparison_view import (
    Mode,
    draw_comparison,
    draw_guidelines,
    draw_judgments,
    position_rows,
)
from annotate_app.pages.views.decision_view import draw_decision, draw_form
from annotate_app.pages.views.figures import consensus_of, votes_of
from annotate_app.pages.views.steps_view import draw_step_votes
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from rewardkit.data.records import Judgment

DISPUTED, DECIDED = "In dispute", "Decided"
# The decision stays in view while the texts scroll.
STYLE = """<style>
@media (min-width: 761px) {
  .stMainBlockContainer { padding: 2.2rem 2rem 1rem; }
  .st-key-adjudicate-panel [data-testid="stForm"] { padding-top: 0; }
  [data-testid="stColumn"]:has(.st-key-adjudicate-panel) {
    position: sticky; top: 3.2rem; align-self: flex-start; max-height: calc(100vh - 3.6rem); overflow-y: auto;
  }
}
</style>"""


def page() -> None:
    """Draws the page."""
    with plainly():
        st.html(STYLE)
        st.title("Adjudicate")
        store, actor, project = current_store(), current_actor(), current_project()
        decided = store.judgments.adjudications(actor, project.id)
        queue = [key for key in disputed_items(votes_of(project), consensus_of(project)) if key not in decided]
        keys = choose_list(queue, list(decided))
        rubric = store.projects.rubric(actor, project.id).rubric
        if keys:
            draw_item(project, rubric, keys, decided)
        elif not decided:
            words = "Nothing is in dispute. Comparisons come here when all their votes are in and no answer has enough."
            st.info(words, icon=":material/check_circle:")
        draw_splits(project)


def choose_list(queue: list[str], decided: list[str]) -> list[str]:
    """The switch between what is to be decided, most contested first, and what was."""
    lists = {DISPUTED: queue, DECIDED: decided}
    chosen = st.segmented_control(
        "Show",
        list(lists),
        default=DECIDED if st.query_params.get(ITEM) in decided else DISPUTED,
        required=True,
        format_func=lambda name: f"{name} ({len(lists[name])})",
        key="adjudicate-list",
        label_visibility="collapsed",
        help="In dispute: the widest disagreement first, then the least certain winner.",
    )
    return lists[chosen or DISPUTED]


def choose_item(keys: list[str]) -> str:
    """The comparison to look at, which the address names, with keys to go on and back."""
    linked = st.query_params.get(ITEM)
    at = keys.index(linked) if linked in keys else min(st.session_state.get("adjudicate-at", 0), len(keys) - 1)
    st.session_state["adjudicate-at"] = at  # when this one leaves the list, the next one stands here
    st.query_params[ITEM] = keys[at]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("◀", shortcut="Left", disabled=at == 0, on_click=go, args=(keys[at - 1],), key="adjudicate-previous")
        last = at == len(keys) - 1
        following = keys[min(at + 1, len(keys) - 1)]
        st.button("▶", shortcut="Right", disabled=last, on_click=go, args=(following,), key="adjudicate-next")
        st.text(f"{at + 1} of {len(keys)}: {keys[at]}")
    return keys[at]


def go(key: str) -> None:
    """Moves to another comparison of the list."""
    st.query_params[ITEM] = key


def draw_item(project: Project, rubric: Rubric, keys: list[str], decided: Mapping[str, Decision]) -> None:
    """One comparison: the texts and what people said on the left, the decision always in view on the right."""
    store, actor = current_store(), current_actor()
    texts, panel = st.columns([2.1, 1], gap="medium")
    with panel, st.container(key="adjudicate-panel"):
        key = choose_item(keys)
        if key in decided:
            draw_decision(decided[key], rubric)
        draw_form(project.id, rubric, key, decided.get(key))
        st.caption("A discarded comparison stays out of training data. A decision can be changed later under Decided.")
    with texts:
        mode = draw_tools(rubric)
        name = key_of(key)
        comparison = store.comparisons.get(actor, project.id, key)
        draw_comparison(comparison, project_id=project.id, mode=mode, key=f"adjudicate-{name}")
        judgments = named(project, store.judgments.of_comparison(actor, project.id, key))
        st.header("What people said", anchor=False)
        if comparison.steps:
            draw_step_votes(judgments, comparison, key=f"adjudicate-steps-{name}")
            return
        positions = position_rows(judgments, rubric)
        if positions:
            st.altair_chart(charts.positions(positions), key=f"adjudicate-positions-{name}")
        draw_judgments(judgments, rubric, key=f"adjudicate-judgments-{name}", comparison=comparison)


def draw_tools(rubric: Rubric) -> Mode:
    """Draws the buttons for guidelines and differences; how the texts are shown."""
    differs = st.session_state.get("adjudicate-differences", False)
    with st.container(horizontal=True, gap="small"):
        if st.button("Guidelines", icon=":material/menu_book:", shortcut="g", key="adjudicate-guidelines"):
            show_guidelines(rubric)
        st.button(
            "Differences",
            icon=":material/difference:",
            shortcut="d",
            type="primary" if differs else "secondary",
            key="adjudicate-diff",
            on_click=turn_differences,
        )
    return "diff" if differs else "rich"


def turn_differences() -> None:
    """Marks the differences of the two texts, or stops marking them."""
    st.session_state["adjudicate-differences"] = not st.session_state.get("adjudicate-differences", False)


@st.dialog("Guidelines", width="large")
def show_guidelines(rubric: Rubric) -> None:
    """Draws what annotators were told."""
    draw_guidelines(rubric)


def named(project: Project, judgments: list[Judgment]) -> list[tuple[str, Judgment]]:
    """Pairs judgments with names: pseudonyms unless the reader asks for names."""
    if st.toggle("Show names", key="adjudicate-names", help="Off, so that a decision looks at reasons, not at people."):
        return [(judgment.annotator, judgment) for judgment in judgments]
    pseudonyms = Pseudonyms.of(current_store(), current_actor(), project.id)
    order = sorted(votes_of(project).annotators, key=pseudonyms.of_name)
    return [(f"Person {order.index(judgment.annotator) + 1}", judgment) for judgment in judgments]


def draw_splits(project: Project) -> None:
    """Which questions split people: feedback for the rubric."""
    rows = [
        {
            "question": split.name,
            "opposed": 100 * split.share_opposed,
            "comparisons": split.num_opposed,
            "of": split.num_items,
        }
        for split in splits(votes_of(project))
        if split.num_items
    ]
    if not rows:
        return
    st.header("Which questions split people", anchor=False)
    share = st.column_config.ProgressColumn("on opposite sides", format="%.0f%%", min_value=0, max_value=100)
    columns = {"opposed": share, "of": st.column_config.NumberColumn("of those with two answers")}
    st.dataframe(rows, column_config=columns, hide_index=True, key="adjudicate-splits")
    worst = max(rows, key=lambda row: row["opposed"])
    if worst["opposed"] >= 20:
        st.text(f"People end up on opposite sides most often on “{worst['question']}”.")
        st.caption("A sharper question or a worked example in the rubric often helps more than another vote.")
    if current_actor().is_at_least("lead"):
        st.page_link(page_at("rubric"), label="Open the rubric")
