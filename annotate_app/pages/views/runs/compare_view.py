"""Draws several runs beside each other: what differs, their figures, held against each other, their curves."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from annotate_app.pages.charts import curves
from annotate_app.pages.views.best_view import draw_best_figures
from annotate_app.pages.views.online_view import draw_online_figures
from annotate_app.pages.views.runs.config_view import show_config
from annotate_app.pages.views.runs.model_pairs_view import draw_paired
from annotate_app.pages.views.runs.rounds_view import draw_blind_rounds
from annotate_app.trainings.best_rows import best_curve
from annotate_app.trainings.figures import differences, overlaid, summary_row
from annotate_app.trainings.runs import ModelRun

CURVES = {
    "eval/nll": ("validation NLL", False),
    "eval/loss": ("validation loss", False),
    "eval/rewards/accuracies": ("validation accuracy of the policy", True),
    "eval/accuracy": ("validation accuracy", True),
    "loss": ("training loss", False),
    "eval/reward/std": ("std between members", False),
    "reward/raw": ("reward before costs", False),
    "audit/raw": ("held-out reward", False),
    "audit/reward": ("audit reward", False),
    "kl": ("KL, nats an answer", False),
    "completions/length": ("tokens an answer", False),
    "entropy": ("entropy, nats a token", False),
}
BEST = {"reward": "reward of the best", "audit": "audit reward of the best"}
"""Curves of best of n, over how many answers there are to choose from."""
ONLINE_WITHOUT = ("loss",)
"""Curves that say nothing of a training on samples: its loss is no measure of how well it does."""


def draw_comparison(chosen: list[ModelRun], runs: list[ModelRun]) -> None:
    """What was asked for that differs, the chosen runs held against each other, their figures, their curves."""
    st.header("What differs", anchor=False)
    rows = differences(chosen)
    if rows:
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="runs-differences")
    else:
        st.caption("Nothing in what was asked for; the project's judgments may have changed between.")
    if all(run.is_reward_model for run in chosen):
        draw_paired(chosen)
    elif all(run.is_policy for run in chosen):
        st.header("Before people, blindly", anchor=False)
        draw_blind_rounds(runs, chosen)
    st.header("Figures", anchor=False)
    for column, run in zip(st.columns(min(4, len(chosen))) * len(chosen), chosen, strict=False):
        with column.container(border=True, key=f"runs-figures-{run.job.id}"):
            draw_figures(run)
    st.header("Curves", anchor=False)
    num_charts = 0
    halves = st.columns(2)
    for name, (axis, percent) in CURVES.items():
        rows = overlaid([run for run in chosen if has_curve(run, name)], name)
        if rows:
            chart = curves.curves(rows, axis=axis, percent=percent)
            halves[num_charts % 2].altair_chart(chart, key=f"runs-{name}")
            num_charts += 1
    if rows := overlaid([run for run in chosen if run.is_online], "audit/reward", over="audit/kl"):
        chart = curves.curves(rows, axis="audit reward", across="KL of held-out answers, nats")
        halves[num_charts % 2].altair_chart(chart, key="runs-over-kl")
        num_charts += 1
    for name, axis in BEST.items():
        rows = [row for run in chosen for row in best_curve(run.results, name, run.name)]
        if rows:
            chart = curves.curves(rows, axis=axis, across="answers to choose from")
            halves[num_charts % 2].altair_chart(chart, key=f"runs-best-{name}")
            num_charts += 1
    if not num_charts and any(run.is_reward_model for run in chosen):
        st.caption("Heads on fixed features are fitted in one go: they have no curve over steps.")


def has_curve(run: ModelRun, name: str) -> bool:
    """Whether a metric is worth a curve for this run."""
    if run.is_best_of_n:
        return False
    if run.is_online:
        return name not in ONLINE_WITHOUT
    return "prior" not in run.results and run.option("mode") != "head"


def draw_figures(run: ModelRun) -> None:
    """The figures of one run, and the ways to its report and model."""
    st.text(run.name)
    if st.button("Configuration", key=f"runs-config-{run.number}", icon=":material/tune:"):
        show_config(run)
    row = summary_row(run)
    test, validation, nll = row["test accuracy"], row["validation accuracy"], row["validation NLL"]
    if run.is_reward_model:
        st.metric("Test accuracy", f"{test:.1%}" if isinstance(test, float) else "none yet")
    elif run.is_best_of_n:
        draw_best_figures(run, columns=1)
    elif run.is_online:
        draw_online_figures(run, columns=1)
    elif isinstance(loss := row["validation loss"], float):
        st.metric("Validation loss", f"{loss:.3f}")
        st.caption(f"validation accuracy {validation:.1%}" if isinstance(validation, float) else "")
    if isinstance(validation, float) and isinstance(nll, float):
        st.caption(f"validation {validation:.1%}, NLL {nll:.3f}")
    if run.report is not None:
        st.link_button("Report", f"/runs/{run.job.id}/report", icon=":material/summarize:")
    if run.has_model:
        st.link_button("Model", f"/runs/{run.job.id}/model.zip", icon=":material/download:")
    if run.rows is not None:
        st.link_button("Rows", f"/runs/{run.job.id}/rows.jsonl", icon=":material/download:")
