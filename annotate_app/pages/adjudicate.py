"""Adjudicate: the comparisons people disagree on, everything they said, and the expert's decision by one key."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from annotate_app.consensus.disputes import disputed_items, splits
from annotate_app.exchange.rows_out import Pseudonyms
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.comparison_view import (
    describe_choice,
    draw_comparison,
    draw_judgments,
    position_rows,
)
from annotate_app.pages.views.figures import consensus_of, votes_of
from annotate_app.protocol.rubric import Rubric, Scale
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from rewardkit.data.records import Judgment

DISPUTED, DECIDED = "In dispute", "Decided"


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Adjudicate")
        store, actor, project = current_store(), current_actor(), current_project()
        decided = store.judgments.adjudications(actor, project.id)
        queue = [key for key in disputed_items(votes_of(project), consensus_of(project)) if key not in decided]
        keys = choose_list(queue, list(decided))
        rubric = store.projects.rubric(actor, project.id).rubric
        if keys:
            draw_item(project, rubric, choose_item(keys), decided)
        elif not decided:
            words = "Nothing is in dispute. Comparisons come here when all their votes are in and no answer has enough."
            st.info(words, icon=":material/check_circle:")
        draw_splits(project)


def choose_list(queue: list[str], decided: list[str]) -> list[str]:
    """The switch between what is to be decided and what was."""
    lists = {DISPUTED: queue, DECIDED: decided}
    chosen = st.segmented_control(
        "Show",
        list(lists),
        default=DISPUTED,
        required=True,
        format_func=lambda name: f"{name} ({len(lists[name])})",
        key="adjudicate-list",
        label_visibility="collapsed",
    )
    return lists[chosen or DISPUTED]


def choose_item(keys: list[str]) -> str:
    """The comparison to look at, with keys to go on and back."""
    at = min(st.session_state.get("adjudicate-at", 0), len(keys) - 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Previous", shortcut="Left", disabled=at == 0, on_click=go, args=(at - 1,), key="adjudicate-previous")
        last = at == len(keys) - 1
        st.button("Next", shortcut="Right", disabled=last, on_click=go, args=(at + 1,), key="adjudicate-next")
        st.text(f"{at + 1} of {len(keys)}: {keys[at]}")
    return keys[at]


def go(at: int) -> None:
    """Moves to another index of the list."""
    st.session_state["adjudicate-at"] = at


def draw_item(project: Project, rubric: Rubric, key: str, decided: Mapping[str, Decision]) -> None:
    """One comparison: the texts, what people said, the decision."""
    store, actor = current_store(), current_actor()
    comparison = store.comparisons.get(actor, project.id, key)
    draw_comparison(comparison, key=f"adjudicate-{key_of(key)}")
    if key in decided:
        draw_decision(decided[key], rubric.scale)
    judgments = named(project, store.judgments.of_comparison(actor, project.id, key))
    positions = position_rows(judgments, rubric)
    st.subheader("What people said", anchor=False)
    if positions:
        st.altair_chart(charts.positions(positions), key=f"adjudicate-positions-{key_of(key)}")
    draw_judgments(judgments, rubric, key=f"adjudicate-judgments-{key_of(key)}", comparison=comparison)
    draw_form(project, rubric.scale, key)


def named(project: Project, judgments: list[Judgment]) -> list[tuple[str, Judgment]]:
    """Pairs judgments with names: pseudonyms unless the reader asks for names."""
    if st.toggle("Show names", key="adjudicate-names", help="Off, so that a decision looks at reasons, not at people."):
        return [(judgment.annotator, judgment) for judgment in judgments]
    pseudonyms = Pseudonyms.of(current_store(), current_actor(), project.id)
    order = sorted(votes_of(project).annotators, key=pseudonyms.of_name)
    return [(f"Person {order.index(judgment.annotator) + 1}", judgment) for judgment in judgments]


def draw_decision(decision: Decision, scale: Scale) -> None:
    """What was decided, by whom, why."""
    with st.container(border=True):
        st.text(f"Decided by {decision.user}: {describe_choice(decision.choice, decision.strength, scale)}")
        if decision.rationale:
            st.text(decision.rationale)


def draw_form(project: Project, scale: Scale, key: str) -> None:
    """The decision: a reason, then one button or key per answer."""
    st.subheader("Your decision", anchor=False)
    name = key_of(key)
    with st.form(f"decide-{name}", border=True, enter_to_submit=False):
        st.text_area("Why", key=f"why-{name}", height=80, placeholder="Optional; kept with the decision.")
        with st.container(horizontal=True):
            for shortcut, choice, strength in answers(scale):
                st.form_submit_button(
                    as_markdown(describe_choice(choice, strength, scale)),
                    key=f"decide-{name}-{choice}-{strength}",
                    shortcut=shortcut,
                    on_click=decide,
                    args=(project.id, key, choice, strength),
                )
    st.caption("A discarded comparison stays out of training data. A decision can be changed later under Decided.")


def answers(scale: Scale) -> list[tuple[str, str, int]]:
    """Shortcut, choice and strength of every possible decision, from A at its strongest to B."""
    degrees = range(1, scale.degrees + 1)
    ordered = [*(("a", degree) for degree in reversed(degrees)), ("tie", 0), *(("b", degree) for degree in degrees)]
    numbered = [(str(number), *answer) for number, answer in enumerate(ordered, start=1)]
    return [*numbered, ("n", "both_bad", 0), ("x", "discard", 0)]


def decide(project_id: int, key: str, choice: str, strength: int) -> None:
    """Stores the decision; the list moves up by one."""
    decision = act("", make_decision, choice, strength, st.session_state[f"why-{key_of(key)}"])
    if decision is not None:
        act("Decided.", current_store().judgments.adjudicate, current_actor(), project_id, key, decision)


def make_decision(choice: str, strength: int, why: str) -> Decision:
    """The decision that a button stands for."""
    return Decision(choice=choice, strength=strength, rationale=why.strip())  # type: ignore[arg-type]


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
    st.subheader("Which questions split people", anchor=False)
    share = st.column_config.ProgressColumn("on opposite sides", format="%.0f%%", min_value=0, max_value=100)
    columns = {"opposed": share, "of": st.column_config.NumberColumn("of those with two answers")}
    st.dataframe(rows, column_config=columns, hide_index=True, key="adjudicate-splits")
    worst = max(rows, key=lambda row: row["opposed"])
    if worst["opposed"] >= 20:
        st.text(f"People end up on opposite sides most often on “{worst['question']}”.")
        st.caption("A sharper question or a worked example in the rubric often helps more than another vote.")
    if current_actor().is_at_least("lead"):
        st.page_link(page_at("rubric"), label="Open the rubric")
