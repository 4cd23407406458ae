"""Agreement: how far people agree, on what, with whom, since when; beside what published work reports.

Of people it shows each with the rest, and every two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

import numpy as np
import streamlit as st

from annotate_app.agreement.annotators import PairAgreement
from annotate_app.agreement.proportions import share
from annotate_app.agreement.quality import AnnotatorQuality
from annotate_app.agreement.reports.explanations import MEASURES, Measure, interval_row, none_if_nan, references
from annotate_app.agreement.reports.report import FIGURES, Agreement, AgreementReport, landis_koch, reading
from annotate_app.agreement.reports.report_files import agreement_csv, report_json
from annotate_app.pages.charts import charts
from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.filtered_links import draw_link, draw_links, open_comparisons, picked
from annotate_app.pages.views.answer_view import draw_span_agreement
from annotate_app.pages.views.figures import agreement_of, quality_of
from annotate_app.pages.views.ranking_view import draw_rankings
from annotate_app.pages.views.steps_view import draw_step_agreement
from annotate_app.protocol.rubric import Rubric
from annotate_app.store.workbench.comparison_filter import SPLIT, ComparisonFilter
from rewardkit.stats.small_samples import LEAST

Behind = Callable[[str], ComparisonFilter]
"""The comparisons behind the mark of a name."""

SPREAD = 0.25  # distance from the mean at which the matrix is fully coloured
MOST_PEOPLE = 16  # drawn at once; the rest is in the download
MOST_GROUPS = 16  # drawn at once


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Agreement")
        project = current_project()
        report = agreement_of(project)
        if report.overall.num_items == 0:
            st.info(reading(report.overall), icon=":material/hourglass_empty:")
            return
        rubric = current_store().projects.rubric(current_actor(), project.id).rubric
        protocol = rubric.protocol
        measure = choose_measure()
        draw_headline(report, measure, protocol, quality_of(project))
        draw_rankings(project)
        draw_step_agreement(project)
        left, right = st.columns(2)
        with left:
            draw_groups("By criterion", report.criteria, measure, say_no_criteria(rubric))
            draw_annotators(report, measure)
        with right:
            draw_groups("By model", report.sources, measure, "The responses name no source.")
            draw_pairs(report, measure)
        draw_over_time(report, measure)
        draw_span_agreement(report)
        draw_all(report)
        draw_downloads(report, project.name)


def say_no_criteria(rubric: Rubric) -> str:
    """Why there is no agreement on criteria."""
    if not rubric.criteria:
        return "The newest version of the rubric asks about no criterion, and none was asked about before."
    names = ", ".join(as_markdown(criterion.name) for criterion in rubric.criteria)
    return f"No comparison has two answers yet about {names}."


def choose_measure() -> Measure:
    """The switch for the measure, with what it means in one sentence."""
    name = st.selectbox(
        "Measure", MEASURES, format_func=lambda name: MEASURES[name].title, key="agreement-measure", bind="query-params"
    )
    measure = MEASURES[name]
    st.caption(measure.meaning)
    return measure


def draw_headline(report: AgreementReport, measure: Measure, protocol: str, people: Sequence[AnnotatorQuality]) -> None:
    """The project's figure, and where it stands among published ones."""
    own = report.overall.estimates[measure.name]
    figure, chart = st.columns([1, 2])
    with figure:
        st.metric(measure.title, measure.say(own.value), border=True, help=FIGURES[measure.name])
        if own.is_known:
            st.caption(f"95% interval {measure.say(own.low)} to {measure.say(own.high)}")
        several = "comparison" if report.overall.num_items == 1 else "comparisons"
        st.caption(
            f"{report.overall.num_items:,} {several} with two votes or more, {report.overall.num_votes:,} votes in all"
        )
        draw_link("Those that people are split on", ComparisonFilter(agreement=SPLIT, sort="agreement"))
        word = "" if measure.percent or report.overall.num_items < LEAST else landis_koch(own.value)
        if word:
            st.caption(f"Landis and Koch (1977) would call it **{word}**.")
    published, whose = references(measure, protocol)
    ceiling = same_twice(people) if measure.name == "percent" else []
    rows = [interval_row("This project", own, report.overall.num_items), *published, *ceiling]
    with chart:
        st.altair_chart(charts.intervals(rows, axis=measure.short, percent=measure.percent), key="agreement-headline")
        st.caption(whose)
        if ceiling:
            st.caption("People cannot be expected to agree more with others than with themselves on a repeated pair.")


def same_twice(people: Sequence[AnnotatorQuality]) -> list[dict[str, object]]:
    """Makes a row of how often people repeat their own answer to a repeated pair: a ceiling for agreement."""
    shares = [person.consistency for person in people]
    repeats = share(sum(one.hits for one in shares), sum(one.total for one in shares))
    if not repeats.total:
        return []
    figures = {"value": repeats.value, "low": repeats.low, "high": repeats.high, "num": repeats.total}
    return [{"label": "Each person: with themselves", **figures, "kind": "published"}]


def draw_groups(title: str, groups: Iterable[Agreement], measure: Measure, missing: str) -> None:
    """One dot with its interval per group; the lowest where there are many."""
    st.header(title, anchor=False)
    rows = [interval_row(part.name, part.estimates[measure.name], part.num_items) for part in groups]
    if len(rows) > MOST_GROUPS:
        st.caption(f"The {MOST_GROUPS} lowest of {len(rows)}; all are in the download.")
        rows = sorted((row for row in rows if row["value"] is not None), key=lambda row: float(str(row["value"])))[
            :MOST_GROUPS
        ]
    draw_intervals(rows, measure, missing, BEHIND[title], key=f"agreement-{title}")


def behind_criterion(name: str) -> ComparisonFilter:
    """Comparisons on which people differ on a criterion."""
    return ComparisonFilter(criterion=name, sort="agreement")


def behind_model(name: str) -> ComparisonFilter:
    """Comparisons of a model on which people are split, the most first."""
    return ComparisonFilter(models=(name,), agreement=SPLIT, sort="agreement")


def behind_person(name: str) -> ComparisonFilter:
    """Comparisons on which a person stands apart from the others."""
    return ComparisonFilter(disagree=(name,))


BEHIND: dict[str, Behind] = {"By criterion": behind_criterion, "By model": behind_model}


def draw_over_time(report: AgreementReport, measure: Measure) -> None:
    """A line with its band over days or weeks."""
    st.header("Over time", anchor=False)
    rows = [
        {**interval_row(part.name, part.estimates[measure.name], part.num_items), "at": part.name}
        for part in report.periods
    ]
    rows = [row for row in rows if row["value"] is not None]
    if len(rows) < 2:
        st.caption("A line needs judgments from two days or more.")
        return
    chart = charts.over_time(rows, axis=measure.short, percent=measure.percent, clickable=True)
    mark = picked(st.altair_chart(chart, key="agreement-time", on_select="rerun"), "day")
    if mark is not None:
        open_comparisons(behind_period(mark["day"], report.days_a_period))
    st.caption("Each comparison counts in the day or week of its last vote. The band is the 95% interval.")
    links = [(str(row["at"]), behind_period(str(row["at"]), report.days_a_period)) for row in rows]
    draw_links("Judgments of a day or week", links, key="time")


def behind_period(start: str, num_days: int) -> ComparisonFilter:
    """Comparisons judged in the days from an ISO date on."""
    first = date.fromisoformat(start)
    return ComparisonFilter(since=first, until=first + timedelta(days=num_days - 1))


def draw_all(report: AgreementReport) -> None:
    """Every measure in one table."""
    with st.expander("All measures", icon=":material/table_rows:"):
        rows = [
            {
                "measure": measure.title,
                "value": measure.say(estimate.value),
                "95% interval": f"{measure.say(estimate.low)} to {measure.say(estimate.high)}"
                if estimate.is_known
                else "",
                "meaning": measure.meaning,
            }
            for measure in MEASURES.values()
            if (estimate := report.overall.estimates[measure.name])
        ]
        rows.extend(named_rows(report))
        st.dataframe(rows, hide_index=True, key="agreement-all")


def named_rows(report: AgreementReport) -> list[dict[str, str]]:
    """Makes table rows of the two measures that depend on who answered."""
    named = (
        ("Conger's kappa", report.conger_kappa, "As Fleiss' kappa, with each person's own habits as chance."),
        ("Cohen's kappa, mean", report.pairs.mean_kappa, "Two people beyond chance; pairs weigh by what they share."),
    )
    say = MEASURES["fleiss_kappa"].say
    return [
        {
            "measure": title,
            "value": say(estimate.value),
            "95% interval": f"{say(estimate.low)} to {say(estimate.high)}" if estimate.is_known else "",
            "meaning": meaning,
        }
        for title, estimate, meaning in named
    ]


def draw_downloads(report: AgreementReport, project_name: str) -> None:
    """Everything above as files."""
    with st.container(horizontal=True):
        for kind, content, mime in (
            ("JSON", report_json(report), "application/json"),
            ("CSV", agreement_csv(report), "text/csv"),
        ):
            st.download_button(
                f"Download {kind}",
                content,
                file_name=f"agreement-{project_name}.{kind.lower()}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"agreement-{kind}",
            )


def draw_annotators(report: AgreementReport, measure: Measure) -> None:
    """Each annotator against all others, lowest first."""
    st.header("Each person with the rest", anchor=False)
    rows = [
        interval_row(part.name, part.percent if measure.percent else part.kappa, part.num_items)
        for part in report.annotators
    ]
    rows = sorted((row for row in rows if row["value"] is not None), key=lambda row: float(str(row["value"])))
    nobody = "Nobody shares a comparison with anybody yet."
    draw_intervals(rows[:MOST_PEOPLE], measure, nobody, behind_person, key="agreement-people")
    shown = "Share of the others' votes that are the same" if measure.percent else "The same beyond chance (kappa)"
    more = f", the {MOST_PEOPLE} lowest of {len(rows)}" if len(rows) > MOST_PEOPLE else ""
    st.caption(f"{shown}{more}.")


def draw_pairs(report: AgreementReport, measure: Measure) -> None:
    """A matrix of every two people, coloured by how far each pair is from the average of all."""
    pairs = report.pairs
    st.header("Every two people", anchor=False)
    if not len(pairs.first):
        st.info("Nobody shares a comparison with anybody yet.", icon=":material/hourglass_empty:")
        return
    rows, words, num_left_out = pair_rows(pairs, measure)
    values = [float(str(row["value"])) for row in rows if row["value"] is not None]
    mean = sum(values) / len(values) if values else 0.5
    domain = (mean - SPREAD, mean + SPREAD)
    chart = charts.heatmap(rows, value=words, percent=measure.percent, domain=domain, clickable=True)
    mark = picked(st.altair_chart(chart, key="agreement-pairs", on_select="rerun"), "row", "column")
    if mark is not None and mark["row"] != mark["column"]:
        open_comparisons(ComparisonFilter(disagree=(mark["row"], mark["column"])))
    lowest = sorted(
        (row for row in rows if row["value"] is not None and str(row["row"]) < str(row["column"])),
        key=lambda row: float(str(row["value"])),
    )[:MOST_GROUPS]
    links = [
        (
            f"{row['row']} and {row['column']}: {measure.say(float(str(row['value'])))}",
            ComparisonFilter(disagree=(str(row["row"]), str(row["column"]))),
        )
        for row in lowest
    ]
    draw_links("Where two people disagree, the lowest first", links, key="agreement-pairs")
    more = f" The {num_left_out} people who share least are left out; they are in the download." if num_left_out else ""
    st.caption(f"{words}; teal is above the mean of all pairs, amber below.{more}")


def pair_rows(pairs: PairAgreement, measure: Measure) -> tuple[list[dict[str, object]], str, int]:
    """Makes the cells of the matrix, their caption, and the number of annotators left out."""
    if measure.percent:
        values, words = pairs.percent, "Share of shared comparisons with the same answer"
    elif measure.graded:
        values, words = pairs.kappa_quadratic.value, "Cohen's kappa, quadratic weights over the degrees"
    else:
        values, words = pairs.kappa.value, "Cohen's kappa"
    shared = pairs.matrix(pairs.num_items.astype(float))
    most = np.argsort(-np.nansum(shared, axis=1), kind="stable")[:MOST_PEOPLE]
    indices = sorted(most.tolist(), key=lambda index: pairs.annotators[index])
    matrix = pairs.matrix(values)
    rows = [
        {
            "row": pairs.annotators[one],
            "column": pairs.annotators[other],
            "value": none_if_nan(float(matrix[one, other])),
            "num": none_if_nan(float(shared[one, other])),
        }
        for one in indices
        for other in indices
    ]
    return rows, words, len(pairs.annotators) - len(indices)


def draw_intervals(rows: list[dict[str, object]], measure: Measure, missing: str, behind: Behind, *, key: str) -> None:
    """An interval plot of which each dot leads to the comparisons behind it, or why there is none."""
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        st.caption(missing)
        return
    chart = charts.intervals(rows, axis=measure.short, percent=measure.percent, clickable=True)
    mark = picked(st.altair_chart(chart, key=key, on_select="rerun"), "label")
    if mark is not None:
        open_comparisons(behind(mark["label"]))
    links = [(f"{row['label']}: {measure.say(float(str(row['value'])))}", behind(str(row["label"]))) for row in rows]
    draw_links("The comparisons behind each", links, key=key)
