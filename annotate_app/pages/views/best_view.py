"""Results of best of n: number of rows, reward of the best by number of answers, and the first rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from annotate_app.pages.charts import curves
from annotate_app.trainings.best_rows import best_curve, first_rows
from annotate_app.trainings.runs import ModelRun

NUM_ROWS = 20
ROW_HEIGHT = 104  # about four lines of an answer
SIDES = {"completion": "answer", "chosen": "chosen", "rejected": "rejected"}
LEFT_OUT = {"num_without": "prompts gave no row", "num_cut": "answers were cut at the longest length"}


def draw_best_figures(run: ModelRun, *, columns: int = 4) -> None:
    """Draws the number of rows and prompts, and the mean reward of the best answer beside that of a single one."""
    results = run.results
    if not results:
        return
    metric_columns = st.columns(columns)
    metric_columns[0].metric("Rows", f"{results.get('num_rows', 0):,}", help="Written, to learn from.")
    metric_columns[1 % columns].metric(
        "Prompts", f"{results.get('num_prompts', 0):,}", help="Each answered as often as asked."
    )
    points = results.get("curve") or []
    for number, (name, label) in enumerate((("reward", "Reward of the best"), ("audit", "Audit reward of the best"))):
        if points and points[-1].get(name):
            column, first, last = metric_columns[(2 + number) % columns], points[0][name], points[-1][name]
            help_text = f"Mean over prompts; of a single answer {first['value']:.3f}."
            column.metric(label, f"{last['value']:.3f}", help=help_text)
    left_out = [f"{results[name]:,} {words}" for name, words in LEFT_OUT.items() if results.get(name)]
    if left_out:
        st.caption("; ".join(left_out))


def draw_best(run: ModelRun, key_prefix: str) -> None:
    """Draws the curve over k and the first rows, and says how to train on them."""
    if run.rows is None:
        return
    kinds = "SFT or DPO" if run.option("keep") == "pairs" else "SFT"
    st.caption(f"To train on these rows: choose {kinds} on the Train page, and there this run under Data.")
    rows = [*best_curve(run.results, "reward", "reward"), *best_curve(run.results, "audit", "audit reward")]
    if rows:
        chart = curves.curves(rows, axis="reward of the best", across="answers to choose from")
        st.altair_chart(chart, key=f"{key_prefix}-{run.job.id}-best")
        audited = any(row["series"] != "reward" for row in rows)
        errs = " Where the audit reward falls while the reward rises, the reward errs on the answers it likes most."
        st.caption(f"What the best of ever more answers to a prompt earns, mean over prompts.{errs if audited else ''}")
    with st.expander(f"The first {NUM_ROWS} rows", icon=":material/table_rows:"):
        shown = pd.DataFrame([row_shown(row) for row in first_rows(run.folder, NUM_ROWS)])
        widths = {name: st.column_config.TextColumn(name, width="medium") for name in ("prompt", *SIDES.values())}
        numbers = {
            name: st.column_config.NumberColumn(name, format="%.3f", width="small")
            for name in ("reward", "audit reward", "margin", "p_chosen")
        }
        st.dataframe(
            shown,
            hide_index=True,
            row_height=ROW_HEIGHT,
            column_config=widths | numbers,
            height=36 + ROW_HEIGHT * min(len(shown), 4) + 2,
            key=f"{key_prefix}-{run.job.id}-rows",
        )


def row_shown(row: Mapping[str, Any]) -> dict[str, object]:
    """A row for the table: the last turn of the prompt, the answers, and their figures."""
    shown: dict[str, object] = {"prompt": row["prompt"][-1]["content"]}
    shown |= {words: row[name][-1]["content"] for name, words in SIDES.items() if name in row}
    figures = {"reward": "reward", "audit_reward": "audit reward", "margin": "margin", "p_chosen": "p_chosen"}
    return shown | {words: row[name] for name, words in figures.items() if name in row}
