"""Draws the report of a judge: what it is good for, its agreement beside people's own, what leads it, where it errs.

Nothing a judge wrote reaches Markdown: its raw answers are drawn as code, which shows text as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Literal

import streamlit as st

from annotate_app.agreement.reports.beside_people import Beside
from annotate_app.agreement.reports.explanations import none_if_nan
from annotate_app.agreement.reports.report_files import report_json
from annotate_app.judges.advice import Use
from annotate_app.judges.report import JudgeReport
from annotate_app.judges.report_files import (
    about_lines,
    calibration_line,
    lean_rows,
    power_line,
    report_csv,
    report_html,
    views,
)
from annotate_app.pages.charts import charts, curves
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.store.projects.projects import Project
from rewardkit.report.table import interval_text, number_text
from rewardkit.stats.metrics import Interval

USE_LOOK: dict[Use, tuple[str, Literal["green", "blue", "orange", "red", "gray"], str]] = {
    "annotator": ("As an annotator", "green", "check_circle"),
    "pre-screen": ("As a pre-screen", "blue", "filter_alt"),
    "tie-breaker": ("As a tie-breaker", "orange", "balance"),
    "not at all": ("Not at all", "red", "block"),
    "not known": ("Not known yet", "gray", "hourglass_empty"),
}
MOST_GROUPS = 16
MOST_ANSWERS = 8
MOST_LINKED = 50


def draw_report(project: Project, report: JudgeReport) -> None:
    """Draws everything."""
    draw_advice(report)
    if not report.overall.num_items:
        return
    key = key_of(report.judge)
    draw_figures(report)
    left, right = st.columns(2)
    with left:
        draw_beside(report, key)
        draw_order(report, key)
    with right:
        draw_calibration(report, key)
        draw_leanings(report, key)
    draw_groups(report, key)
    draw_errors(project, report, key)
    draw_downloads(project, report, key)


def draw_advice(report: JudgeReport) -> None:
    """What to use it as and why, what is wrong with it, and what would decide."""
    word, color, icon = USE_LOOK[report.advice.use]
    with st.container(border=True, key=f"judge-advice-{key_of(report.judge)}"):
        st.badge(word, color=color, icon=f":material/{icon}:")
        st.text(report.advice.sentence())
        for finding in report.other_findings:
            st.markdown(f":material/warning: **{finding.name.capitalize()}.** {as_markdown(finding.sentence)}")
        for line in (power_line(report), *about_lines(report)):
            if line:
                st.caption(as_markdown(line))


def draw_figures(report: JudgeReport) -> None:
    """The four figures that people ask for first."""
    overall = report.overall
    figures = (
        ("Kappa with people", number_text(overall.kappa), "Beyond chance: 0 is chance, 1 is total."),
        ("Agrees with a person", interval_text(overall.percent), "How often it gives the answer of one of them."),
        ("Two people agree", interval_text(overall.people_percent), "On the same comparisons, those with two votes."),
        ("Changes with the order", interval_text(report.position.flips), "Once the other answer is shown first."),
    )
    for column, (title, words, help_text) in zip(st.columns(4), figures, strict=True):
        value, _, interval = words.partition(" (")
        column.metric(title, value, border=True, help=help_text)
        if interval:
            column.caption(
                f"95% interval {interval.rstrip(')')}" if interval[0] in "+-0123456789" else interval.rstrip(")")
            )


def draw_beside(report: JudgeReport, key: str) -> None:
    """The judge beside two people, and in the place of each of them."""
    st.header("Beside people", anchor=False)
    overall = report.overall
    if not overall.num_shared:
        st.caption("No comparison has two people's votes yet, so people's own agreement is not known.")
        return
    rows = [
        _row("The judge", overall.shared_percent, overall.num_shared),
        _row("Two people", overall.people_percent, overall.num_shared, kind="published"),
    ]
    people = sorted(report.median.people, key=lambda person: person.person)
    for person in people[:MOST_GROUPS]:
        at = Interval(value=person.person)
        rows.append(_row(person.name, at, person.num_items, kind="published"))
    st.altair_chart(charts.intervals(rows, axis="agrees with the others", percent=True), key=f"judge-beside-{key}")
    st.caption("How often each gives the answer of another person on the same comparison. Diamonds are people.")


def draw_calibration(report: JudgeReport, key: str) -> None:
    """Its probability against people's shares."""
    st.header("Is it as sure as it should be?", anchor=False)
    if not report.bins:
        st.caption("It names a choice only, no probability. Several samples would give shares.")
        return
    rows = [{"predicted": one.predicted, "observed": one.observed, "num": one.count} for one in report.bins]
    st.altair_chart(curves.reliability(rows), key=f"judge-calibration-{key}")
    st.caption(calibration_line(report))


def draw_order(report: JudgeReport, key: str) -> None:
    """What it says of the same comparison in both orders."""
    st.header("Does the order matter?", anchor=False)
    position = report.position
    if not position.num_items:
        st.caption("Each comparison was asked in one order only, so that cannot be known.")
        return
    same = round(position.num_items * (1 - position.flips.value))
    other = position.num_items - same - position.num_first - position.num_second
    counts = (
        ("same answer", same),
        ("first, both times", position.num_first),
        ("second, both times", position.num_second),
        ("tie in one order", other),
    )
    rows = [{"label": "both orders", "part": part, "count": count} for part, count in counts if count > 0]
    st.altair_chart(charts.shares(rows, axis="comparisons"), key=f"judge-order-{key}")


def draw_leanings(report: JudgeReport, key: str) -> None:
    """What leads it, as a table."""
    st.header("What leads it?", anchor=False)
    rows = [{"": name, "figure": figure, "read against": against} for name, figure, against in lean_rows(report)]
    st.dataframe(rows, hide_index=True, key=f"judge-leanings-{key}")
    st.caption("Beyond what people prefer: where people are equally divided, their noise taken out.")


def draw_groups(report: JudgeReport, key: str) -> None:
    """Agreement by what the reader chooses."""
    groups = {title: parts for title, parts in views(report).items() if parts and title != "over all"}
    if not groups:
        return
    st.header("Where it agrees", anchor=False)
    title = st.segmented_control(
        "By", list(groups), default=next(iter(groups)), key=f"judge-groups-{key}", label_visibility="collapsed"
    )
    parts = groups.get(title or "", ())[:MOST_GROUPS]
    if not parts:
        return
    st.altair_chart(
        charts.intervals(list(_group_rows(parts)), axis="agrees with a person", percent=True), key=f"judge-by-{key}"
    )
    st.caption("Dots: the judge with a person. Diamonds: two people with each other, on the same comparisons.")


def _group_rows(parts: Iterable[Beside]) -> Iterable[dict[str, object]]:
    for part in parts:
        yield _row(part.name, part.percent, part.num_items)
        if part.num_shared:
            yield _row(part.name, part.people_percent, part.num_shared, kind="published")


def _row(label: str, figure: Interval, num: int, *, kind: str = "own") -> dict[str, object]:
    figures = {name: none_if_nan(getattr(figure, name)) for name in ("value", "low", "high")}
    return {"label": label, **figures, "num": num, "kind": kind}


def draw_errors(project: Project, report: JudgeReport, key: str) -> None:
    """Comparisons on which it takes the side of fewer people; the chosen one's answers as they came."""
    st.header("Where it errs", anchor=False)
    if not report.errors:
        st.caption("Nowhere: on every comparison it is on the side of more people.")
        return
    rows = [
        {
            "comparison": error.comparison_id,
            "it says": error.choice.upper(),
            "its probability": 100 * error.p,
            "people on that side": 100 * error.people_share,
            "votes": error.num_votes,
        }
        for error in report.errors
    ]
    percent = st.column_config.NumberColumn(format="%.0f %%")
    event = st.dataframe(
        rows,
        hide_index=True,
        column_config={"its probability": percent, "people on that side": percent},
        on_select="rerun",
        selection_mode="single-row",
        height=280,
        key=f"judge-errors-{key}",
    )
    keys = [error.comparison_id for error in report.errors[:MOST_LINKED]]
    with st.container(horizontal=True):
        _link(f"Look at the {len(keys)} surest" if len(keys) > 1 else "Look at it", keys)
        picked = event.selection.rows
        if picked and picked[0] < len(report.errors):
            _link("Look at the chosen one", [report.errors[picked[0]].comparison_id])
    if picked and picked[0] < len(report.errors):
        draw_answers(project, report.judge, report.errors[picked[0]].comparison_id)
    else:
        st.caption("Choose a row to read what it answered.")


def _link(label: str, keys: list[str]) -> None:
    st.page_link(
        page_at("comparisons"),
        label=label,
        icon=":material/compare:",
        query_params=[("project", st.session_state["project"]), *(("item", key) for key in keys)],
    )


def draw_answers(project: Project, judge: str, comparison: str) -> None:
    """What a judge answered on one comparison, as it came."""
    store, actor = current_store(), current_actor()
    row = store.judges.get(actor, project.id, judge)
    answers = islice(store.judges.iterate(actor, project.id, row.id, key=comparison), MOST_ANSWERS)
    for number, vote in enumerate(answers):
        shown = f"{vote.shown_first.upper()} shown first" if vote.shown_first else "no order seen"
        p = "" if vote.p_a is None else f", probability of A {vote.p_a:.0%}"
        st.caption(f"{shown}, sample {vote.sample + 1}, version {vote.rubric_version}: {vote.choice}{p}")
        st.code(
            vote.raw or "(no words)", language=None, wrap_lines=True, height=120 if len(vote.raw) > 400 else "content"
        )
        if number + 1 == MOST_ANSWERS:
            st.caption("Further answers are in the file that judge votes writes.")


def draw_downloads(project: Project, report: JudgeReport, key: str) -> None:
    """The report as files."""
    files = (
        ("JSON", report_json(report), "application/json"),
        ("CSV", report_csv(report), "text/csv"),
        ("HTML", report_html(report, project.name), "text/html"),
    )
    with st.container(horizontal=True):
        for kind, content, mime in files:
            st.download_button(
                f"Download {kind}",
                content,
                file_name=f"judge-{report.judge}.{kind.lower()}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"judge-{kind}-{key}",
            )
