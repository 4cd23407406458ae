"""Answers in steps for leads and adjudicators: agreement on them, and what people said of each step."""

from __future__ import annotations

import streamlit as st

from annotate_app.access import Actor
from annotate_app.agreement.steps import StepAgreement, step_agreement
from annotate_app.labeling.pair_payload import steps_words
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.figures import Stamp, stamp_of
from annotate_app.store.projects.projects import Project
from rewardkit.data.records import Comparison, Judgment, step_choice
from rewardkit.data.stepwise.stepped_answer import split_steps

WORDS = {"a": "right", "tie": "neutral", "b": "wrong", "both_bad": "not judged", "discard": "discarded"}
MEANINGS = {
    "steps": ("Agreement on steps", "Share of steps that two people both judged on which they say the same."),
    "first_error": (
        "Agreement on the first error",
        "Share of pairs of people who name the same first wrong step, or both none.",
    ),
}


def draw_step_agreement(project: Project) -> None:
    """Draws the section; nothing where the project judges no steps."""
    if current_store().projects.rubric(current_actor(), project.id).rubric.task != "steps":
        return
    found = _agreement(stamp_of(project), current_actor())
    st.header("Steps")
    if not found.answers:
        st.caption("No answer has two judgments yet.")
        return
    for column, (name, (title, meaning)) in zip(st.columns(2), MEANINGS.items(), strict=True):
        figure = getattr(found, name)
        shown = f"{100 * figure.value:.0f}%" if figure.value == figure.value else "–"
        column.metric(title, shown, border=True, help=meaning)
        if figure.low == figure.low:
            column.caption(f"95% interval {100 * figure.low:.0f}% to {100 * figure.high:.0f}%")
    st.caption(
        f"{len(found.answers):,} answers with two judgments or more. Each answer counts alike; intervals are over "
        "answers. Figures of votes below are of single steps: A is right, B is wrong, a tie is neutral."
    )
    with st.expander("By answer, the least agreed first", icon=":material/format_list_numbered:"):
        rows = sorted(found.answers, key=lambda one: (one.steps == one.steps, one.steps))
        st.dataframe(
            [
                {
                    "answer": one.comparison_id,
                    "judgments": one.num_judgments,
                    "steps": one.num_steps,
                    "same on steps": one.steps,
                    "same first error": one.first_error,
                }
                for one in rows
            ],
            hide_index=True,
            key="agreement-steps",
        )


@st.cache_data(max_entries=8, show_spinner="Computing agreement on steps")
def _agreement(stamp: Stamp, _actor: Actor) -> StepAgreement:
    return step_agreement(current_store().judgments.iterate(_actor, stamp[1]))


def draw_step_votes(judgments: list[tuple[str, Judgment]], comparison: Comparison, *, key: str) -> None:
    """A table of what each named person said of each step, and their reasons in full."""
    if not judgments:
        st.caption("Nobody has judged this answer yet.")
        return
    rows = []
    for place, step in enumerate(comparison.steps):
        labels = {name: judgment.step_labels[place] for name, judgment in judgments if judgment.step_labels}
        said = {name: "" if label is None else WORDS[step_choice(label)] for name, label in labels.items()}
        scores = {"by a model": comparison.step_scores[place]} if comparison.step_scores else {}
        rows.append({"number of the step": place + 1, **said, **scores, "text of the step": step})
    st.dataframe(rows, hide_index=True, key=key)
    for name, judgment in judgments:
        words = judgment.rationale or judgment.reason
        if words:
            with st.container(border=True):
                told = f" ({steps_words(judgment.step_labels)})" if judgment.step_labels else ""
                st.text(f"{name}{told}: {words}")


def draw_division(project: Project, comparison: Comparison) -> None:
    """The form that divides an answer into other steps, a step between two blank lines."""
    name = key_of(comparison.id)
    with st.form(f"divide-{name}"):
        st.text_area(
            "Steps, with a blank line between two",
            "\n\n".join(comparison.steps),
            key=f"divide-{name}-steps",
            height=200,
            help="They can be changed until somebody has judged the answer or has it in hand.",
        )
        st.form_submit_button("Save steps", on_click=divide, args=(project.id, comparison.id))


def divide(project_id: int, key: str) -> None:
    """Stores the steps of the form."""
    text = st.session_state[f"divide-{key_of(key)}-steps"]
    act("Saved.", divide_text, project_id, key, text)


def divide_text(project_id: int, key: str, text: str) -> None:
    """Divides an answer at the blank lines of a text."""
    steps = split_steps(text, "blank_line")
    current_store().comparisons.divide(current_actor(), project_id, key, steps)
