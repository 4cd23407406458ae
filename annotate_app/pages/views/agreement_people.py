"""The part of the agreement page about people: each with the rest, and every two of them."""

from __future__ import annotations

import numpy as np
import streamlit as st

from annotate_app.agreement.annotators import PairAgreement
from annotate_app.agreement.explanations import Measure, interval_row, known
from annotate_app.agreement.report import AgreementReport
from annotate_app.pages.charts import charts

SPREAD = 0.25  # distance from the mean at which the matrix is fully coloured
MOST_PEOPLE = 16  # drawn at once; the rest is in the download


def draw_annotators(report: AgreementReport, measure: Measure) -> None:
    """Each annotator against all others, lowest first."""
    st.subheader("Each person with the rest", anchor=False)
    rows = [
        interval_row(part.name, part.percent if measure.percent else part.kappa, part.num_items)
        for part in report.annotators
    ]
    rows = sorted((row for row in rows if row["value"] is not None), key=lambda row: float(str(row["value"])))
    draw_intervals(rows[:MOST_PEOPLE], measure, "Nobody shares a comparison with anybody yet.", key="agreement-people")
    shown = "Share of the others' votes that are the same" if measure.percent else "The same beyond chance (kappa)"
    more = f", the {MOST_PEOPLE} lowest of {len(rows)}" if len(rows) > MOST_PEOPLE else ""
    st.caption(f"{shown}{more}.")


def draw_pairs(report: AgreementReport, measure: Measure) -> None:
    """A matrix of every two people, coloured by how far each pair is from the average of all."""
    pairs = report.pairs
    st.subheader("Every two people", anchor=False)
    if not len(pairs.first):
        st.info("Nobody shares a comparison with anybody yet.", icon=":material/hourglass_empty:")
        return
    rows, words, num_left_out = pair_rows(pairs, measure)
    values = [float(str(row["value"])) for row in rows if row["value"] is not None]
    mean = sum(values) / len(values) if values else 0.5
    chart = charts.heatmap(rows, value=words, percent=measure.percent, domain=(mean - SPREAD, mean + SPREAD))
    st.altair_chart(chart, key="agreement-pairs")
    more = f" The {num_left_out} people who share least are left out; they are in the download." if num_left_out else ""
    st.caption(f"{words}; teal is above the mean of all pairs, amber below.{more}")


def pair_rows(pairs: PairAgreement, measure: Measure) -> tuple[list[dict[str, object]], str, int]:
    """Cells of the matrix, what they show, and how many people it leaves out."""
    if measure.percent:
        values, words = pairs.percent, "Share of shared comparisons with the same answer"
    elif measure.graded:
        values, words = pairs.kappa_quadratic.value, "Cohen's kappa, quadratic weights over the degrees"
    else:
        values, words = pairs.kappa.value, "Cohen's kappa"
    shared = pairs.matrix(pairs.num_items.astype(float))
    most = np.argsort(-np.nansum(shared, axis=1), kind="stable")[:MOST_PEOPLE]
    kept = sorted(most.tolist(), key=lambda index: pairs.annotators[index])
    matrix = pairs.matrix(values)
    rows = [
        {
            "row": pairs.annotators[one],
            "column": pairs.annotators[other],
            "value": known(float(matrix[one, other])),
            "num": known(float(shared[one, other])),
        }
        for one in kept
        for other in kept
    ]
    return rows, words, len(pairs.annotators) - len(kept)


def draw_intervals(rows: list[dict[str, object]], measure: Measure, missing: str, *, key: str) -> None:
    """An interval plot, or why there is none."""
    rows = [row for row in rows if row["value"] is not None]
    if rows:
        st.altair_chart(charts.intervals(rows, axis=measure.short, percent=measure.percent), key=key)
    else:
        st.caption(missing)
