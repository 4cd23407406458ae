"""Loop: turns of writing, choosing, judging, learning, aligning and checking, and whether another one is worth it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from annotate_app.pages.charts.turn_charts import over_turns
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.figures import lineage_of, turn_figures_of
from annotate_app.pages.views.online_view import draw_alarm
from annotate_app.pages.views.turns.lineage_view import draw_lineage
from annotate_app.pages.views.turns.turn_form import draw_turn_form
from annotate_app.pages.views.turns.turn_view import turn_title, watch_turn
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.runs import list_runs
from annotate_app.turns.curves import TurnCurve, table_row, turn_curves
from annotate_app.turns.stages.wheel import start_turn
from annotate_app.turns.stop_rule import Verdict, stop_advice
from annotate_app.turns.turn import Turn, TurnFigures
from annotate_app.turns.watch import turn_alarms

CHOSEN = "turn"
VERDICT_LOOK: dict[Verdict, str] = {"stop": "flag", "go on": "arrow_forward", "cannot say": "hourglass_empty"}
EXPLANATION = (
    "A turn goes once round the loop: the policy writes answers, pairs of them are chosen, people judge the pairs, a "
    "reward model learns from all judgments so far, and the policy is aligned with it. "
    "Then people compare the new policy with the one before without knowing which is which, so that each turn says "
    "what its labels have bought. "
    "Stages that wait for people wait as long as it takes; everything else runs by itself, survives restarts, and can "
    "be redone or done by hand."
)


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Loop")
        project, actor = current_project(), current_actor()
        actor.require("lead", "reading turns")
        turns = current_store().turns.list(actor, project.id)
        if not turns:
            st.markdown(EXPLANATION)
            draw_first(project)
            return
        figures = turn_figures_of(project, turns)
        draw_advice(project, figures)
        draw_next(project, turns)
        turn = choose_turn(project, turns)
        watch_turn(project, turn, next((one for one in figures if one.number == turn.number), None))
        draw_curves(figures)
        draw_table(figures)
        draw_lineage(lineage_of(project, turns, turn))


def draw_first(project: Project) -> None:
    """The form of the first turn."""
    store, actor = current_store(), current_actor()
    if not store.comparisons.count(actor, project.id):
        st.info("The project has no prompts yet.", icon=":material/upload_file:")
        st.page_link(page_at("import_data"), label="Import prompts with their answers", icon=":material/arrow_forward:")
        return
    with st.container(border=True, key="loop-form"):
        judges = [judge.name for judge in store.judges.list(actor, project.id, archived=False)]
        values = draw_turn_form(list_runs(store, actor, project.id), judges)
    asked = st.button(
        "Start the first turn", type="primary", icon=":material/cycle:", key="loop-start", disabled=values is None
    )
    if asked and values is not None:  # no callback: that would get the plan of before the last field changed
        act("The turn is open.", start_turn, store, actor, project.id, values)
        st.rerun()


def draw_advice(project: Project, figures: Sequence[TurnFigures]) -> None:
    """What the stop rule says, open alarms, and what is simulated."""
    advice = stop_advice(figures)
    show = {"stop": st.warning, "go on": st.success, "cannot say": st.info}[advice.verdict]
    show(advice.sentence, icon=f":material/{VERDICT_LOOK[advice.verdict]}:")
    alarms = turn_alarms(figures)
    for alarm in (alarm for alarm in alarms if alarm.is_open):
        with st.container(border=True, key=f"loop-alarm-{alarm.kind}-{alarm.step}"):
            draw_alarm(alarm, at="turn")
    if over := [alarm for alarm in alarms if not alarm.is_open]:
        with st.expander(f"Alarms that are over: {len(over)}"):
            for alarm in over:
                draw_alarm(alarm, at="turn")
    if project.simulated:
        st.caption(
            "This project is simulated: annotators named sim-… judge by a rule read off the text (see the docs, "
            "“Run the loop”), and the gold reward is that rule. Win rates are real votes of these annotators."
        )


def draw_next(project: Project, turns: Sequence[Turn]) -> None:
    """The button of the next turn, where none is open."""
    if any(turn.state == "open" for turn in turns):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            f"Start turn {turns[-1].number + 1}",
            type="primary",
            icon=":material/cycle:",
            key="loop-next",
            on_click=start_next,
            args=(project.id,),
        )
        st.caption("With the plan of the turn before, its policy and its reward model.")


def start_next(project_id: int) -> None:
    """Opens the next turn and shows it."""
    turn = act("The turn is open.", start_turn, current_store(), current_actor(), project_id)
    if turn is not None:
        st.session_state[chooser_key(project_id)] = turn.number


def chooser_key(project_id: int) -> str:
    """Names the chooser; each project has its own."""
    return f"loop-turn-{project_id}"


def choose_turn(project: Project, turns: Sequence[Turn]) -> Turn:
    """The turn to look at, by its number in the address bar; the newest where none is asked for."""
    by_number = {turn.number: turn for turn in reversed(turns)}
    key = chooser_key(project.id)
    asked = st.query_params.get(CHOSEN, "")
    if st.session_state.get(key) not in by_number:
        st.session_state[key] = int(asked) if asked.isdigit() and int(asked) in by_number else turns[-1].number
    number = st.selectbox("Turn", list(by_number), format_func=lambda number: turn_title(by_number[number]), key=key)
    if asked != str(number):
        st.query_params[CHOSEN] = str(number)
    return by_number[number or turns[-1].number]


def draw_curves(figures: Sequence[TurnFigures]) -> None:
    """Figures over turns, two charts a row."""
    curves = turn_curves(figures)
    if not curves:
        return
    st.header("Over turns", anchor=False)
    for first in range(0, len(curves), 2):
        for column, curve in zip(st.columns(2), curves[first : first + 2], strict=False):
            column.markdown(f"**{curve.title}**", help=curve.help)
            column.vega_lite_chart(chart_of(curve), key=f"loop-{curve.name}")


def draw_table(figures: Sequence[TurnFigures]) -> None:
    """All turns, a row each, without what no turn has."""
    rows = [table_row(turn) for turn in reversed(figures)]
    names = [name for name in rows[0] if any(row[name] not in (None, 0, 0.0, "") for row in rows)]
    columns = {
        name: st.column_config.NumberColumn(name, format="%.0f %%")
        for name in names
        if name.startswith(("won", "reward model"))
    }
    columns |= {
        name: st.column_config.NumberColumn(name, format="%.2f")
        for name in ("gold", "proxy", "KL", "agreement", "words", "people, min", "machines, min")
    }
    with st.expander("All turns as a table", icon=":material/table:"):
        shown = [{name: row[name] for name in names} for row in rows]
        st.dataframe(shown, hide_index=True, column_config=columns, placeholder="–", key="loop-table")


@st.cache_data(max_entries=64, show_spinner=False)
def chart_of(curve: TurnCurve) -> dict[str, Any]:
    """The Vega-Lite document of a curve: to build and to validate ten of them takes longer than all else here."""
    return over_turns(curve).to_dict()
