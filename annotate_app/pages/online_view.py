"""What an online training (PPO, GRPO) shows beside the others: its alarms in plain words, and its own curves."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from alignment.alarms import Alarm
from annotate_app import curves
from annotate_app.model_runs import Metrics, ModelRun, curve

LOOK: dict[str, tuple[str, Literal["red", "orange"], str]] = {
    "critical": ("Critical", "red", "error"),
    "warning": ("Warning", "orange", "warning"),
}
SHOWN = 4
"""Open alarms in full; those before them are folded."""
CURVES = (
    ("reward", (("reward/raw", "trains"), ("reward/penalised", "after penalties"), ("audit/reward", "audit"))),
    ("KL, nats an answer", (("kl", "to the reference"),)),
    ("tokens an answer", (("completions/length", "mean"),)),
    ("entropy, nats a token", (("entropy", "policy"),)),
    ("std", (("reward/std", "between members"),)),
    ("share", (("completions/truncated_share", "cut answers"), ("completions/repetition", "repeated phrases"))),
)
"""By the title of the vertical axis: metrics, and what each is called."""


def is_online(metrics: Metrics) -> bool:
    """Whether the run draws its completions while it trains."""
    return any("reward/mean" in row for row in metrics)


def draw_alarms(run: ModelRun, place: str) -> None:
    """Open alarms newest first, then those that are over."""
    alarms = run.alarms
    is_open = [alarm for alarm in alarms if alarm.is_open]
    for number, alarm in enumerate(is_open[:SHOWN]):
        with st.container(border=True, key=f"{place}-alarm-{run.job.id}-{number}"):
            draw_alarm(alarm)
    if earlier := is_open[SHOWN:]:
        with st.expander(f"Earlier alarms: {len(earlier)}"):
            for alarm in earlier:
                draw_alarm(alarm)
    if over := [alarm for alarm in alarms if not alarm.is_open]:
        with st.expander(f"Alarms that are over: {len(over)}"):
            for alarm in over:
                draw_alarm(alarm)


def draw_alarm(alarm: Alarm) -> None:
    """What it is and since when, what shows it, what is likely wrong, what to change; all of it as plain text."""
    word, color, icon = LOOK[alarm.severity]
    with st.container(horizontal=True, vertical_alignment="center"):
        if alarm.is_open:
            st.badge(word, color=color, icon=f":material/{icon}:")
        else:
            st.badge("Over", color="gray", icon=":material/check:")
        st.text(alarm.title)
        until = "" if alarm.cleared_at is None else f" to {alarm.cleared_at:,}"
        st.caption(f"step {alarm.step:,}{until}")
    st.text(f"{alarm.figure[:1].upper()}{alarm.figure[1:]}.")
    st.text(f"Likely cause: {alarm.cause}.\nWhat to change: {alarm.advice}.")


def draw_online_curves(run: ModelRun, metrics: Metrics, place: str) -> None:
    """Reward, KL, length and what else was logged over steps; a dashed line where an alarm was raised."""
    marks = [{"at": alarm.step, "words": f"{alarm.title}, step {alarm.step:,}"} for alarm in run.alarms]
    charts = []
    for axis, names in CURVES:
        rows = [row for name, series in names for row in curve(metrics, name, series)]
        if axis == "std" and all(row["value"] == 0 for row in rows):
            continue  # a reward of one member has none
        if rows:
            charts.append(curves.curves(rows, axis=axis, percent=axis == "share", marks=marks))
    for first in range(0, len(charts), 2):  # two columns a row: charts with a legend are higher
        for place_of, number in zip(st.columns(2), range(first, len(charts)), strict=False):
            place_of.altair_chart(charts[number], key=f"{place}-{run.job.id}-online-{number}")
