"""Groups of people by a field: how far they agree, where they decide apart, which models and reward model they like."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.groups import LEAST_PEOPLE, Grouping, GroupPair, group_agreement, group_people
from annotate_app.exchange.fields_in import read_fields
from annotate_app.exchange.people_tables import fields_csv
from annotate_app.findings.model_groups import ModelSides, model_sides
from annotate_app.findings.pair_scores import member_probabilities, read_scores
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link
from annotate_app.pages.views.figures import Stamp, stamp_of, votes_of
from annotate_app.ranking.by_group import GroupRanking, rank_by_group
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import MOST_KEYS, ComparisonFilter
from annotate_app.trainings.runs import ModelRun, list_runs

FIGURES = {
    "agreement": "Agreement",
    "decisions": "Decisions",
    "models": "Leaderboard",
    "reward_model": "Reward model",
}
MOST_MODELS = 12  # drawn at once
KEPT_UNDER: dict[str | type[Any], Callable[[Any], Any]] = {
    Grouping: lambda one: (one.field, str(one.groups), one.of_annotator.tobytes())
}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Groups")
        project = current_project()
        fields = current_store().fields.people(current_actor(), project.id)
        known = sorted({name for values in fields.values() for name in values})
        st.caption("What is known of people is personal data: it is for leads, and no export of the project holds it.")
        if not known:
            words = "Nothing is known of the people yet. Upload a table with a line a person, or a platform's export."
            st.info(words, icon=":material/group_add:")
        else:
            draw_figures(project, fields, known)
        draw_files(project, fields, expanded=not known)


def draw_figures(project: Project, fields: dict[str, dict[str, str]], known: list[str]) -> None:
    """The groups of the chosen field, and the chosen figure."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        field = st.selectbox("Field", known, key="group-field", bind="query-params", width=240)
        least = st.number_input(
            "People a group needs",
            1,
            1000,
            LEAST_PEOPLE,
            key="group-least",
            bind="query-params",
            width=180,
            help="Groups of fewer get no figures: they would say much of these few.",
        )
    figure = st.segmented_control(
        "Figure",
        list(FIGURES),
        default="agreement",
        required=True,
        format_func=FIGURES.__getitem__,
        key="group-figure",
        bind="query-params",
        label_visibility="collapsed",
    )
    grouping = group_people(votes_of(project), fields, field, least_people=int(least))
    draw_groups(grouping)
    if not grouping.shown:
        st.info("No group has enough people for figures.", icon=":material/group_off:")
        return
    match figure:
        case "agreement":
            draw_agreement(_agreement(stamp_of(project), grouping, project))
        case "decisions":
            draw_decisions(_agreement(stamp_of(project), grouping, project))
        case "models":
            draw_rankings(_rankings(stamp_of(project), grouping, project))
        case _:
            draw_model(project, grouping)


@st.cache_data(max_entries=8, show_spinner="Comparing groups", hash_funcs=KEPT_UNDER)
def _agreement(stamp: Stamp, grouping: Grouping, _project: Project) -> tuple[GroupPair, ...]:
    return group_agreement(votes_of(_project), grouping)


@st.cache_data(max_entries=8, show_spinner="Ranking models", hash_funcs=KEPT_UNDER)
def _rankings(stamp: Stamp, grouping: Grouping, _project: Project) -> tuple[GroupRanking, ...]:
    return rank_by_group(votes_of(_project), grouping)


@st.cache_data(max_entries=8, show_spinner="Holding the model against groups", hash_funcs=KEPT_UNDER)
def _sides(
    stamp: Stamp, grouping: Grouping, card: str, held_out: bool, _project: Project, _run: ModelRun
) -> ModelSides:
    scores = read_scores(_run)
    if scores is None:
        raise ValueError(f"run {_run.number} has scored no pairs of the project")
    if held_out:
        scores = scores.take((~scores.learned).nonzero()[0])
    p = member_probabilities(_run, scores).mean(0)
    return model_sides(votes_of(_project), grouping, scores.keys, p, scores.prompt)


def draw_groups(grouping: Grouping) -> None:
    """Who is in which group, in numbers."""
    rows = [
        {
            "group": group.name,
            "people": group.num_people,
            "judgments": group.num_votes,
            "comparisons": group.num_items,
            "figures": "too few people" if group.is_small else "shown" if place in grouping.shown else "not drawn",
        }
        for place, group in enumerate(grouping.groups)
    ]
    with st.expander(f"{len(rows)} groups", icon=":material/groups:", expanded=len(rows) <= 6):
        st.dataframe(rows, hide_index=True, key=f"group-sizes-{key_of(grouping.field)}")
        if grouping.num_unknown:
            st.caption(f"Of {grouping.num_unknown:,} more people who judged the value is not known.")


def row_of(label: str, figure: Estimate, num: int) -> dict[str, object]:
    """A row of an interval plot."""
    value, low, high = (None if math.isnan(end) else end for end in (figure.value, figure.low, figure.high))
    return {"label": label, "value": value, "low": low, "high": high, "num": num}


def draw_intervals(
    rows: list[dict[str, object]], *, axis: str, key: str, percent: bool, reference: float | None
) -> None:
    """An interval plot, or that there is nothing to draw."""
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        st.caption("There is no comparison to measure this on.")
        return
    line = {} if reference is None else {"reference": reference, "reference_label": "no difference"}
    st.altair_chart(charts.intervals(rows, axis=axis, percent=percent, **line), key=key)


def draw_agreement(pairs: tuple[GroupPair, ...]) -> None:
    """Within each group and between every two."""
    kind = st.segmented_control(
        "Measure", ("percent", "kappa"), default="kappa", required=True, key="group-measure", bind="query-params",
        format_func={"percent": "Same answer", "kappa": "Beyond chance"}.__getitem__,
    )  # fmt: skip
    percent = kind == "percent"
    rows = [
        row_of(
            f"{pair.one}: within" if pair.one == pair.other else f"{pair.one} / {pair.other}",
            pair.percent if percent else pair.kappa,
            pair.num_items,
        )
        for pair in sorted(pairs, key=lambda pair: pair.one != pair.other)
    ]
    axis = "same answer" if percent else "agreement beyond chance"
    draw_intervals(rows, axis=axis, key="group-agreement", percent=percent, reference=None)
    st.caption(
        "Of two people's answers on one comparison, mean over comparisons. Beyond chance takes each group's own share "
        "of every answer. Whiskers are 95% intervals over comparisons; who is in the groups is taken as it is. Where "
        "two groups agree as well as each within itself, the field does not divide people."
    )


def draw_decisions(pairs: tuple[GroupPair, ...]) -> None:
    """How often the majorities of two groups prefer different answers, and a way to these comparisons."""
    between = [pair for pair in pairs if pair.one != pair.other]
    if not between:
        st.info("Two groups with enough people are needed.", icon=":material/group_off:")
        return
    rows = [
        {
            "label": f"{pair.one} / {pair.other}",
            "value": pair.opposed.value if pair.opposed.total else None,
            "low": pair.opposed.low if pair.opposed.total else None,
            "high": pair.opposed.high if pair.opposed.total else None,
            "num": pair.opposed.total,
        }
        for pair in between
    ]
    draw_intervals(rows, axis="decided apart", key="group-opposed", percent=True, reference=None)
    st.caption(
        "Of the comparisons on which both groups prefer an answer, the share on which they prefer different ones."
    )
    for pair in between:
        if pair.opposed_items:
            words = f"{pair.one} / {pair.other}: {len(pair.opposed_items)} comparisons apart"
            words += f", the first {MOST_KEYS}" if len(pair.opposed_items) > MOST_KEYS else ""
            draw_link(as_markdown(words), ComparisonFilter(keys=tuple(pair.opposed_items[:MOST_KEYS])))


def draw_rankings(rankings: tuple[GroupRanking, ...]) -> None:
    """The strengths of the models as each group sees them."""
    for ranking in rankings:
        st.header(ranking.name, anchor=False)
        st.caption(f"{ranking.num_people:,} people, {ranking.leaderboard.num_votes:,} votes on named models")
        standings = [row for row in ranking.leaderboard.standings if row.group == 0][:MOST_MODELS]
        rows = [
            {"label": row.name, "value": row.log_strength, "low": row.low, "high": row.high, "num": row.num_votes}
            for row in standings
        ]
        key = f"group-board-{key_of(ranking.name)}"
        draw_intervals(rows, axis="strength", key=key, percent=False, reference=0.0)
    st.caption("Bradley-Terry strengths on a log scale, mean zero within a group. Whiskers are 95% intervals.")


def draw_model(project: Project, grouping: Grouping) -> None:
    """Whom a reward model sides with."""
    runs = [
        run for run in list_runs(current_store(), current_actor(), project.id) if run.is_scorer and read_scores(run)
    ]
    if not runs:
        st.info(
            "No reward model has scored the project's pairs yet; the page Runs does.", icon=":material/model_training:"
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        numbers = [run.number for run in runs]
        number = st.selectbox("Run", numbers, key="group-run", bind="query-params", width=240)
        held_out = st.toggle("Only prompts it did not learn from", True, key="group-held-out", bind="query-params")
    run = next(run for run in runs if run.number == number)
    scores = read_scores(run)
    sides = _sides(
        stamp_of(project), grouping, f"{scores.card}-{len(scores)}" if scores else "", held_out, project, run
    )
    if not sides.groups:
        st.info("There is no decided judgment on such pairs.", icon=":material/hourglass_empty:")
        return
    left, right = st.columns(2)
    with left:
        st.header("Prefers the same answer", anchor=False)
        rows = [row_of(side.name, side.share, side.num_votes) for side in sides.groups]
        draw_intervals(rows, axis="of a group's decided judgments", key="group-sides", percent=True, reference=0.5)
    with right:
        st.header("More with one than with the other", anchor=False)
        rows = [row_of(f"{gap.one} - {gap.other}", gap.difference, gap.num_items) for gap in sides.differences]
        draw_intervals(rows, axis="difference", key="group-gaps", percent=True, reference=0.0)
    shown = [gap for gap in sides.differences if gap.is_shown]
    for gap in shown:
        more, less = (gap.one, gap.other) if gap.difference.value > 0 else (gap.other, gap.one)
        st.text(f"Run {run.number} sides with {more} more than with {less}.")
    if not shown:
        st.text(f"Not shown that run {run.number} sides with one group more than with another.")
    st.caption(
        "Differences are on comparisons that both groups decided. Intervals draw prompts and people with replacement. "
        f"{sides.num_unscored:,} decided judgments are on pairs that the run has not scored or may not be asked about."
    )


def draw_files(project: Project, fields: dict[str, dict[str, str]], *, expanded: bool) -> None:
    """Fields from a file, and as a file."""
    with st.expander("What is known of people", icon=":material/badge:", expanded=expanded):
        st.caption(
            "A CSV with a line a person: a column person, annotator or worker with the names of accounts, or "
            "Participant id as Prolific exports it for people of a crowd link; each other column is a field. An empty "
            "cell changes nothing."
        )
        with st.form("group-fields", border=False, clear_on_submit=True):
            st.file_uploader("Table of people", type=["csv", "tsv", "jsonl"], key="group-file")
            st.form_submit_button("Take these fields", on_click=take_fields, args=(project.id,))
        if any(fields.values()):
            host = urlsplit(st.context.url or "").netloc.partition(":")[0] or "tiebreak"
            st.download_button(
                "Download fields as CSV",
                fields_csv(fields),
                f"people-{host}-{project.id}.csv",
                "text/csv",
                icon=":material/download:",
                on_click="ignore",
            )


def take_fields(project_id: int) -> None:
    """Reads the uploaded table and sets what it says."""
    upload = st.session_state["group-file"]
    if upload is not None:
        act("Fields taken.", _take_fields, project_id, upload)


def _take_fields(project_id: int, source: UploadedFile) -> int:
    store, actor = current_store(), current_actor()
    values, _ = read_fields(source, store.fields.platform_names(actor, project_id))
    return store.fields.set(actor, project_id, values)
