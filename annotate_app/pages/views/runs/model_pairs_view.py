"""Draws reward models on the pairs of the project: held against each other, and where one differs from people."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from annotate_app.consensus.release import release
from annotate_app.findings.labels import Labels, make_labels
from annotate_app.findings.pair_scores import KIND, PairScores, read_scores, start
from annotate_app.findings.paired import PairedComparison, compare_models
from annotate_app.findings.surprises import LENGTHS, Differing, Length, Surprise, where_they_differ
from annotate_app.jobs.jobs import read_progress
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import ITEM, page_at
from annotate_app.pages.views.figures import consensus_of, stamp_of, votes_of
from annotate_app.store.jobs import ENDED
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.trainings.runs import ModelRun
from rewardkit.stats.metrics import Interval

LENGTH_WORDS: dict[Length, str] = {"any": "Any", "longer": "Longer answer", "shorter": "Shorter answer"}
OVERALL = "overall"
MOST_ROWS = 200
WAIT_S = 3.0


def draw_paired(runs: Sequence[ModelRun]) -> None:
    """Reward models on the same held-out pairs: figures, differences, tests, and what they come to in words."""
    project = current_project()
    st.header("On the same held-out pairs", anchor=False)
    if not all(run.is_scorer for run in runs):
        st.caption("Every one of them has to be trained before they can be held against each other.")
        return
    scored = draw_scores(project, runs, "paired")
    if scored is None:
        return
    criteria = sorted(consensus_of(project).criteria)
    by = draw_by(criteria, _taught_by_all(runs), "paired")
    state = (
        stamp_of(project),
        decisions_now(project),
        tuple((run.number, one.card, len(one)) for run, one in zip(runs, scored, strict=True)),
    )
    paired = _compared(state, by, runs, scored, labels_now(project, by))
    st.caption(
        f"{paired.num_pairs:,} pairs of {paired.num_prompts:,} prompts that none of them learned from or was stopped "
        f"by, {paired.num_decided:,} of them decided; {paired.num_learned:,} others are left out. Intervals are over "
        "prompts, 95 %."
    )
    if not paired.figures:
        st.info(
            "There is no pair that all of them scored, people decided and none learned from. Judge pairs of new "
            "prompts, or hold the same prompts out: trainings with the same seed and share do.",
            icon=":material/balance:",
        )
        return
    draw_figures(paired)
    for one in paired.differences:
        st.text(one.verdict)
        st.caption(
            f"Right alone: run {one.one} on {one.num_only_one:,} pairs, run {one.other} on {one.num_only_other:,}; "
            f"McNemar's exact test p = {one.p_pairs:.2g}, sign test over prompts p = {one.p_prompts:.2g}."
        )


def draw_figures(paired: PairedComparison) -> None:
    """The figures and their differences as a table."""
    rows = [{"run": f"{one.run}: {one.name}", **_cells(one.accuracy, one.nll, one.ece)} for one in paired.figures] + [
        {"run": f"run {one.one} minus run {one.other}", **_cells(one.accuracy, one.nll, one.ece, signed=True)}
        for one in paired.differences
    ]
    columns = {
        "NLL": st.column_config.TextColumn("NLL", help="Nats a pair; a coin has 0.693. Lower is better."),
        "ECE": st.column_config.TextColumn("ECE", help="Expected calibration error. Lower is better."),
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=columns, key="runs-paired")


def draw_differing(run: ModelRun) -> None:
    """Where a reward model is sure and people say otherwise, with filters; a click offers the pair."""
    project = current_project()
    key = f"runs-differ-{run.number}"
    part = st.expander("Where model and people differ", icon=":material/compare_arrows:", key=key, on_change="rerun")
    if not part.open:
        return
    with part:
        scored = draw_scores(project, [run], f"differ-{run.number}")
        if scored is None:
            return
        columns = st.columns([2, 2, 2, 2, 2], vertical_alignment="bottom")
        criteria, votes = sorted(consensus_of(project).criteria), votes_of(project)
        with columns[0]:
            by = draw_by(criteria, str(run.plan.get("criterion") or ""), f"differ-{run.number}")
        sources = ["", *(name for name in votes.sources if name)]
        source = columns[1].selectbox("Source", sources, format_func=lambda name: name or "Any", key=f"{key}-source")
        length = columns[2].selectbox("Prefers the", LENGTHS, format_func=LENGTH_WORDS.__getitem__, key=f"{key}-length")
        sure = columns[3].slider("Sure by at least", 0.5, 0.99, 0.5, 0.01, format="percent", key=f"{key}-sure")
        held_out = columns[4].toggle("Held out only", key=f"{key}-held-out")
        differing = where_they_differ(
            run,
            scored[0],
            labels_now(project, by),
            source=source or "",
            length=length or "any",
            sure=sure,
            held_out=held_out,
            limit=MOST_ROWS,
        )
        draw_surprises(run, differing)


def draw_surprises(run: ModelRun, differing: Differing) -> None:
    """The pairs as a table, and the ways to the one that is clicked."""
    st.caption(
        f"They differ on {differing.num_differing:,} of {differing.num_pairs:,} pairs that people decided"
        + (f"; {differing.num_unscored:,} more are not scored" if differing.num_unscored else "")
        + ". The most surprising first."
    )
    if not differing.rows:
        return
    named = ComparisonFilter(keys=tuple(row.key for row in differing.rows))
    listed = current_store().browsing.find(current_actor(), current_project().id, named, limit=MOST_ROWS)
    prompts = {one.comparison.id: one.comparison.prompt[-1].content for one in listed if one.comparison.prompt}
    rows = pd.DataFrame([_surprise_cells(row, prompts) for row in differing.rows])
    columns = {
        "prompt": st.column_config.TextColumn("last turn of the prompt", width="large"),
        "people for A": st.column_config.NumberColumn("people for A", format="percent", width="small"),
        "model for A": st.column_config.NumberColumn("model for A", format="percent", width="small"),
        "surprise": st.column_config.NumberColumn("surprise", format="%.2f", width="small", help="Nats."),
    }
    if all(len(row.members) == 1 for row in differing.rows):
        rows = rows.drop(columns="members")
    event = st.dataframe(
        rows,
        hide_index=True,
        column_config=columns,
        height=min(388, 35 * (len(rows) + 1) + 3),
        key=f"runs-differ-{run.number}-list",
        on_select="rerun",
        selection_mode="single-cell",
    )
    cells = event.selection.get("cells") or []
    with st.container(horizontal=True):
        if cells and cells[0][0] < len(differing.rows):
            chosen = differing.rows[cells[0][0]].key
            words = as_markdown(chosen)
            st.page_link(page_at("comparisons"), label=f"Open {words} and its votes", query_params=link_to(chosen))
            asked = link_to(chosen) | {"run": str(run.number)}
            st.page_link(page_at("playground"), label="What moved the score", query_params=asked)
        else:
            st.caption("Click a row to open its pair.")
        keys = [row.key for row in differing.rows]
        st.page_link(
            page_at("comparisons"), label=f"Open all {len(keys):,} on Comparisons", query_params=link_to(*keys)
        )


def link_to(*keys: str) -> dict[str, str | list[str]]:
    """What an address names comparisons by."""
    return {"project": current_project().name, ITEM: list(keys)}


def draw_scores(project: Project, runs: Sequence[ModelRun], key: str) -> list[PairScores] | None:
    """The scores of runs, with a button for what is not scored; None while any has none."""
    scored = [read_scores(run) for run in runs]
    num_pairs = len(votes_of(project).items)
    missing = [
        (run, num_pairs - (len(scores) + scores.num_unreadable if scores else 0))
        for run, scores in zip(runs, scored, strict=True)
    ]
    missing = [(run, count) for run, count in missing if count > 0]
    jobs = current_store().jobs.list(current_actor(), project.id, limit=100)
    busy = next((job for job in jobs if job.kind == KIND and job.state not in ENDED), None)
    if busy is not None:
        st.fragment(draw_scoring, run_every=WAIT_S)(busy.id)
    elif missing:
        last = next((job for job in jobs if job.kind == KIND), None)
        if last is not None and last.state != "done":
            st.warning("The last scoring did not get done:", icon=":material/error:")
            st.text(last.message or last.state)
        words = ", ".join(f"run {run.number}: {count:,} pairs" for run, count in missing)
        label = "Score the project's pairs" if any(scores is None for scores in scored) else "Score the new pairs"
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                label,
                key=f"runs-score-{key}",
                icon=":material/calculate:",
                on_click=act,
                args=("Queued.", start, current_store(), current_actor(), project.id, [run for run, _ in missing]),
            )
            st.caption(f"{words}. A job of its own; each pair once.")
    return [scores for scores in scored if scores is not None] if all(scored) else None


def draw_scoring(job_id: int) -> None:
    """How far a scoring is; draws the page again when it ended."""
    job = current_store().jobs.get(current_actor(), job_id)
    if job.state in ENDED:
        st.rerun()
    progress = read_progress(job)
    st.progress(progress.share or 0.0, progress.text or "Waits until the worker is free")


def draw_by(criteria: Sequence[str], first: str, key: str) -> str:
    """The field of what people chose by; empty for the overall choice."""
    options = [OVERALL, *criteria]
    index = options.index(first) if first in options else 0
    chosen = st.selectbox("People's choice", options, index, key=f"runs-by-{key}", width=220)
    return "" if chosen in (None, OVERALL) else str(chosen)


def labels_now(project: Project, by: str) -> Labels:
    """What people say now; shared between readers, never to be changed."""
    return _labels((stamp_of(project), decisions_now(project)), by, project)


def decisions_now(project: Project) -> tuple[tuple[str, str, int], ...]:
    """Adjudicators' decisions, which the stamp of a project leaves out."""
    settled = current_store().judgments.adjudications(current_actor(), project.id)
    return tuple((key, decision.choice, decision.strength) for key, decision in settled.items())


@st.cache_resource(max_entries=8, show_spinner=False)
def _labels(state: tuple, by: str, _project: Project) -> Labels:
    settled = current_store().judgments.adjudications(current_actor(), _project.id)
    votes = votes_of(_project)
    return make_labels(votes, release(votes, _project.design, settled), by=by)


@st.cache_data(max_entries=16, show_spinner="Comparing on the same pairs")
def _compared(
    state: tuple, by: str, _runs: Sequence[ModelRun], _scored: Sequence[PairScores], _labels: Labels
) -> PairedComparison:
    return compare_models(_runs, _scored, _labels)


def _taught_by_all(runs: Sequence[ModelRun]) -> str:
    """The criterion that all of them were taught, empty where they were not taught the same."""
    taught = {str(run.plan.get("criterion") or "") for run in runs}
    return taught.pop() if len(taught) == 1 else ""


def _surprise_cells(row: Surprise, prompts: dict[str, str]) -> dict[str, object]:
    return {
        "prompt": " ".join(prompts.get(row.key, "").split())[:200],
        "people for A": row.share,
        "votes": row.num_votes,
        "model for A": row.p,
        "members": f"{row.low:.0%} to {row.high:.0%}",
        "surprise": row.surprise,
        "A": row.source_a,
        "B": row.source_b,
        "prompt was": "learned from" if row.learned else "held out",
        "id": row.key,
    }


def _cells(accuracy: Interval, nll: Interval, ece: Interval, *, signed: bool = False) -> dict[str, str]:
    return {
        "accuracy": interval_text(accuracy, percent=True, signed=signed),
        "NLL": interval_text(nll, signed=signed),
        "ECE": interval_text(ece, signed=signed),
    }


def interval_text(value: Interval, *, percent: bool = False, signed: bool = False) -> str:
    """A figure with its bounds, as `87.5% (54.4% to 99.3%)`."""
    form = f"{'+' if signed else ''}{'.1%' if percent else '.3f'}"
    if math.isnan(value.value):
        return "–"
    bounds = f" ({value.low:{form}} to {value.high:{form}})" if value.is_known else ""
    return f"{value.value:{form}}{bounds}"
