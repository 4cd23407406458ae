"""How much labeling a win rate or a reward model's gain takes, at the project's own agreement."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.views.figures import votes_of
from annotate_app.ranking.power import gain_power, measure_habits, win_rate_power
from annotate_app.store.projects.projects import Project


def draw_labeling(project: Project) -> None:
    """Draws the fields, and what they take."""
    votes = votes_of(project)
    habits = measure_habits(votes)
    st.caption(as_markdown(f"{habits.words()}."))
    columns = st.columns(4)
    within = columns[0].number_input(
        "Win rate within ± points", 0.5, 45.0, 5.0, 0.5, key="advisor-within", bind="query-params"
    )
    rate = columns[1].number_input(
        "Expected win rate, %", 1.0, 99.0, 50.0, 1.0, key="advisor-rate", bind="query-params", help="50 needs most."
    )
    available = columns[2].number_input(
        "Pairs there are", 0, 10**9, 0, 100, key="advisor-available", bind="query-params", help="0 sets no limit."
    )
    hours = columns[3].number_input(
        "Hours a person gives", 0.5, 1000.0, 10.0, 0.5, key="advisor-hours", bind="query-params"
    )
    power = win_rate_power(within / 100, habits, win_rate=rate / 100, available=available, hours_each=hours)
    with st.container(border=True, key="advisor-power"):
        st.markdown(as_markdown(power.sentence()))
    rows = [
        {
            "votes on each": one.overlap,
            "pairs": one.pairs,
            "votes": one.votes,
            "minutes": round(one.minutes),
            "people at least": one.annotators,
            "possible": "yes" if one.possible else "more pairs than there are",
        }
        for one in power.options
    ]
    st.dataframe(rows, hide_index=True, key="advisor-power-table")
    st.header("A better reward model", anchor=False)
    columns = st.columns(2)
    gain = columns[0].number_input(
        "Points of accuracy to gain", 0.1, 20.0, 2.0, 0.1, key="advisor-gain", bind="query-params"
    )
    differ = columns[1].number_input(
        "Pairs on which old and new differ, %", 1.0, 100.0, 20.0, 1.0, key="advisor-differ", bind="query-params"
    )
    if not habits.correlation:
        st.info("Votes on one comparison do not agree at all: no gain can be shown against them.")
        return
    wanted = gain_power(gain / 100, habits, pairs=len(votes.items), differ=differ / 100)
    with st.container(border=True, key="advisor-gain-answer"):
        st.markdown(as_markdown(wanted.sentence()))
