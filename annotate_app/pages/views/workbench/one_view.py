"""One comparison on the page Comparisons: its texts, its votes, and the forms of what is set for it alone."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.comparison_view import draw_comparison, draw_judgments, position_rows
from annotate_app.pages.views.steps_view import draw_division, draw_step_votes
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.browsing import Listed

GOLD_WORDS = {None: "none", "a": "A is better", "b": "B is better", "tie": "tie", "both_bad": "both bad"}
STEP_GOLD_WORDS = {None: "none", "a": "every step is right", "b": "a step is wrong", "tie": "none wrong, one neutral"}
USE_WORDS = {"gold": "Check at work", "qualification": "Qualification"}


def draw_one(project: Project, item: Listed) -> None:
    """One comparison with its votes and settings."""
    store, actor, key = current_store(), current_actor(), item.comparison.id
    rubric = store.projects.rubric(actor, project.id).rubric
    st.divider()
    draw_comparison(item.comparison, project_id=project.id, sources=True, key=f"comparisons-{key_of(key)}")
    judgments = [(judgment.annotator, judgment) for judgment in store.judgments.of_comparison(actor, project.id, key)]
    st.header("Votes", anchor=False)
    if item.comparison.steps:
        draw_step_votes(judgments, item.comparison, key=f"comparisons-steps-{key_of(key)}")
        if not judgments:
            draw_division(project, item.comparison)
    else:
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
            format_func=(STEP_GOLD_WORDS if item.comparison.steps else GOLD_WORDS).__getitem__,
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
