"""Draws what online training has beside other trainings: its alarms and its own curves."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from alignment.watch.alarms import Alarm
from annotate_app.pages.charts import curves
from annotate_app.trainings.figures import curve
from annotate_app.trainings.runs import Metrics, ModelRun

LOOK: dict[str, tuple[str, Literal["red", "orange"], str]] = {
    "critical": ("Critical", "red", "error"),
    "warning": ("Warning", "orange", "warning"),
}
SHOWN = 4
"""Open alarms in full; those before them are folded."""
SPREAD = "reward, spread of the members"
CURVES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "reward",
        "Paid is what it learns from; without costs, and the members' mean, are before what is taken off for length "
        "and the like, and for members that disagree. Held out: the same of prompts it never trains on. The audit is a "
        "judge it never learns from: where the rest rises and the audit does not, it has learned to please its reward.",
        {
            "reward/mean": "paid",
            "reward/penalised": "without costs",
            "reward/raw": "members' mean",
            "audit/raw": "held out",
            "audit/reward": "audit",
        },
    ),
    (
        "KL, nats an answer",
        "How far its answers have moved from the policy it began with. It should rise slowly.",
        {"kl": "training prompts", "audit/kl": "held-out prompts"},
    ),
    (
        "tokens an answer",
        "How long its answers are. Answers that only grow may be paid for their length.",
        {"completions/length": "mean"},
    ),
    (
        "entropy, nats a token",
        "How open it is what it writes next. Near 0 it writes the same again and again.",
        {"entropy": "policy"},
    ),
    (
        SPREAD,
        "How far the members of the reward model disagree. Where this grows, its answers have left what people judged.",
        {"reward/std": "between members"},
    ),
    (
        "share of answers",
        "Answers that were cut before they ended, and phrases that come again.",
        {"completions/truncated_share": "cut", "completions/repetition": "repeated phrases"},
    ),
    (
        "share of pairs",
        "Pairs in which it finds the better answer the likelier one, held against where it began.",
        {"rewards/accuracies": "told apart"},
    ),
    (
        "share of prompts",
        "Prompts that teach nothing, since all answers to them earn the same.",
        {"groups/zero_advantage_share": "without a difference"},
    ),
    (
        "share of tokens",
        "Tokens whose change a step held back (clipping). Large shares say that steps are too large.",
        {"ratio/clipfrac": "policy", "value/clipfrac": "value model"},
    ),
    (
        "explained variance",
        "How well the value model foresees what an answer will be paid: 1 fully, 0 not at all.",
        {"value/explained_variance": "value model"},
    ),
    (
        "seconds a step",
        "Where the time goes.",
        {"time/generate_s": "writing answers", "time/reward_s": "scoring them", "time/update_s": "learning"},
    ),
)
"""The title of the vertical axis, what the chart says, and by metric what its line is called."""
SHARES = ("share of answers", "share of pairs", "share of prompts", "share of tokens")


def draw_alarms(run: ModelRun, key_prefix: str) -> None:
    """Open alarms newest first, then those that are over; or that they cannot be read."""
    if run.has_unreadable_alarms:
        warning = "Whether this run raised alarms is not known: its file of alarms cannot be read."
        st.warning(warning, icon=":material/help:")
    alarms = run.alarms
    is_open = [alarm for alarm in alarms if alarm.is_open]
    for number, alarm in enumerate(is_open[:SHOWN]):
        with st.container(border=True, key=f"{key_prefix}-alarm-{run.job.id}-{number}"):
            draw_alarm(alarm)
    if earlier := is_open[SHOWN:]:
        with st.expander(f"Earlier alarms: {len(earlier)}"):
            for alarm in earlier:
                draw_alarm(alarm)
    if over := [alarm for alarm in alarms if not alarm.is_open]:
        with st.expander(f"Alarms that are over: {len(over)}"):
            for alarm in over:
                draw_alarm(alarm)


def draw_alarm(alarm: Alarm, *, at: str = "step") -> None:
    """Draws an alarm as plain text: its name and step, the evidence, the likely cause and the remedy.

    Args:
        at: what `alarm.step` counts.
    """
    word, color, icon = LOOK[alarm.severity]
    with st.container(horizontal=True, vertical_alignment="center"):
        if alarm.is_open:
            st.badge(word, color=color, icon=f":material/{icon}:")
        else:
            st.badge("Over", color="gray", icon=":material/check:")
        st.text(alarm.title)
        until = "" if alarm.cleared_at is None else f" to {alarm.cleared_at:,}"
        st.caption(f"{at} {alarm.step:,}{until}")
    st.text(f"{alarm.figure[:1].upper()}{alarm.figure[1:]}.")
    st.text(f"Likely cause: {alarm.cause}.\nWhat to change: {alarm.advice}.")


def draw_online_figures(run: ModelRun, *, columns: int = 4) -> None:
    """Draws the metrics of the last audit on held-out prompts, and the number of prompts."""
    results = run.results
    if not results:
        return
    if stopped := str(results.get("stopped") or ""):
        st.text(f"Ended early, at step {results.get('num_steps', 0):,}: {stopped}.")
    metric_columns = st.columns(columns)
    shown = (
        ("eval/raw", "Reward", "{:.3f}", "The reward it was trained on, before costs, of answers to held-out prompts."),
        ("eval/reward", "Audit reward", "{:.3f}", "A judge it was never trained on, of the same answers."),
        ("eval/kl", "KL, nats an answer", "{:.2f}", "How far its answers moved from the policy it began with."),
        ("num_train", "Prompts", "{:,}", "Different prompts to train on."),
    )
    figures = [figure for figure in shown if isinstance(results.get(figure[0]), int | float)]
    for number, (name, label, form, help_text) in enumerate(figures):
        metric_columns[number % columns].metric(label, form.format(results[name]), help=help_text)


def draw_online_curves(run: ModelRun, metrics: Metrics, key_prefix: str) -> None:
    """Reward, KL, length and what else was logged over steps; a dashed line where an alarm was raised."""
    marks = [{"at": alarm.step, "words": f"{alarm.title}, step {alarm.step:,}"} for alarm in run.alarms]
    charts = []
    for axis, words, names in CURVES:
        rows = different([curve(metrics, name, series) for name, series in names.items()])
        if axis == SPREAD and all(row["value"] == 0 for row in rows):
            continue  # a reward of one member has none
        if rows:
            charts.append((words, curves.curves(rows, axis=axis, percent=axis in SHARES, marks=marks)))
    for first in range(0, len(charts), 2):  # two columns a row: charts with a legend are higher
        for column, number in zip(st.columns(2), range(first, len(charts)), strict=False):
            words, chart = charts[number]
            column.altair_chart(chart, key=f"{key_prefix}-{run.job.id}-online-{number}")
            column.caption(words)


def different(lines: list[list[dict[str, object]]]) -> list[dict[str, object]]:
    """Drops lines that equal an earlier one at every point, which would hide each other; returns the rows."""
    distinct: list[list[dict[str, object]]] = []
    for line in lines:
        points = [(row["at"], row["value"]) for row in line]
        if all(points != [(row["at"], row["value"]) for row in other] for other in distinct):
            distinct.append(line)
    return [row for line in distinct for row in line]
