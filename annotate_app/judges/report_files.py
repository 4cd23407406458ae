"""The judge report as text, a JSON document, a flat table with one figure a line, or an HTML file that stands alone."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence

from annotate_app.agreement.reports.beside_people import Beside
from annotate_app.judges.report import JudgeReport
from rewardkit.report.charts import Axis, Line, interval_chart, line_chart
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import interval_text, number_text, percent, points_text, text_table
from rewardkit.stats.metrics import Interval

MOST_ROWS = 20
COLUMNS = ("view", "name", "figure", "value", "low", "high", "num_items")
GROUP_HEADER = ("", "comparisons", "agrees with a person", "kappa", "two people", "judge minus people")
ERROR_HEADER = ("comparison", "judge says", "its probability", "people for that side", "votes")


def views(report: JudgeReport) -> dict[str, tuple[Beside, ...]]:
    """The groups of the report by what they are groups of."""
    return {
        "over all": (report.overall, *((report.surest,) if report.surest else ())),
        "by criterion": report.criteria,
        "by model": report.sources,
        "by length of both": report.lengths,
        "by ratio of lengths": report.length_gaps,
        "by version of the rubric": report.versions if len(report.versions) > 1 else (),
    }


def group_rows(groups: Sequence[Beside]) -> list[list[str]]:
    """A row of GROUP_HEADER a group."""
    return [
        [
            group.name,
            f"{group.num_items:,}",
            interval_text(group.percent),
            number_text(group.kappa),
            interval_text(group.people_percent),
            points_text(group.difference),
        ]
        for group in groups
    ]


def lean_rows(report: JudgeReport) -> list[tuple[str, str, str]]:
    """What leads the judge: its name, the figure, and what to read it against."""
    position, lean = report.position, report.leanings
    rows = [
        ("first answer wins", interval_text(position.first), "50% where order means nothing"),
        ("answers that change with the order", interval_text(position.flips), f"{position.num_items:,} in both orders"),
        ("longer, beyond what people prefer", points_text(lean.length), "probability a doubling of length"),
        ("longer, over all", points_text(lean.judge_length), f"people {points_text(lean.people_length)}"),
    ]
    if lean.num_own:
        rows += [
            ("own model, beyond what people prefer", points_text(lean.own), "probability"),
            ("own model wins", interval_text(lean.judge_own), f"by people {interval_text(lean.people_own)}"),
        ]
    return [row for row in rows if not row[1].startswith(("nan", "-nan", "–"))]


def error_rows(report: JudgeReport) -> list[list[str]]:
    """A row of ERROR_HEADER an error."""
    return [
        [error.comparison_id, error.choice, percent(error.p), percent(error.people_share), f"{error.num_votes:,}"]
        for error in report.errors
    ]


def about_lines(report: JudgeReport) -> list[str]:
    """What was judged and what it took, in words."""
    answers = f"{report.num_items:,} comparisons by {report.num_answers:,} answers"
    if none := report.num_refused + report.num_unreadable:
        answers += f", {none:,} of them none ({report.num_refused:,} refused, {report.num_unreadable:,} unreadable)"
    lines = [f"{answers}; people judged {report.overall.num_items:,} of them by {report.overall.num_votes:,} votes."]
    if report.num_examples:
        lines.append(
            f"{report.num_examples:,} comparisons left out: it was told people's answers, in examples or in training."
        )
    spent = report.spent
    spent_words = []
    if spent.cost:
        spent_words.append(f"cost {spent.cost:,.2f}")
    if spent.seconds is not None:
        spent_words.append(f"{spent.seconds:.1f} s an answer")
    if spent.prompt_tokens is not None:
        spent_words.append(f"{spent.prompt_tokens:,} tokens read, {spent.completion_tokens or 0:,} written")
    if spent_words:
        lines.append(f"It took {', '.join(spent_words)}.")
    median = report.median
    if median.people:
        lines.append(
            f"In the place of each of {len(median.people)} people it agrees with the others at least as much as "
            f"{median.num_matched} of them do; beside the median person {points_text(median.difference)}."
        )
    return lines


def power_line(report: JudgeReport) -> str:
    """How many more human votes would decide; empty where nothing is open."""
    more = report.advice.more_votes
    if more == 0:
        return ""
    if more is None:
        return "How many more human votes would decide is not known: too many, or no two people share enough."
    return f"About {more:,} more human votes on its comparisons would show whether it is as good as the median person."


def report_text(report: JudgeReport) -> str:
    """The report for a terminal."""
    parts = [report.advice.sentence(), *(finding.sentence for finding in report.other_findings)]
    parts += [line for line in (power_line(report),) if line]
    parts += ["", *about_lines(report)]
    for title, groups in views(report).items():
        if groups:
            parts += ["", text_table((title, *GROUP_HEADER[1:]), group_rows(groups))]
    parts += ["", text_table(("what leads it", "figure", "read against"), lean_rows(report), num_left=1)]
    if report.calibration is not None:
        parts += ["", calibration_line(report)]
    if report.errors:
        parts += ["", text_table(ERROR_HEADER, error_rows(report)[:MOST_ROWS], num_left=2)]
        if report.num_errors > MOST_ROWS:
            parts.append(f"and {report.num_errors - MOST_ROWS:,} more where it takes the side of fewer people")
    return "\n".join(parts)


def calibration_line(report: JudgeReport) -> str:
    """The calibration in a sentence; empty where it told no probability."""
    figures = report.calibration
    if figures is None:
        return ""
    floor = f" (by chance up to {figures.ece_floor_high:.3f})" if figures.ece_floor_high is not None else ""
    return (
        f"Probability against people's shares: calibration error {figures.ece:.3f}{floor}, Brier {figures.brier:.3f}."
        f" It says {report.confidence:.0%} for its side on average, where a person is on it {report.hit_rate:.0%} of"
        " the time."
    )


def report_csv(report: JudgeReport) -> str:
    """All figures, one a line; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in _lines(report):
        writer.writerow(["" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in line])
    return text.getvalue()


def report_html(report: JudgeReport, project: str) -> str:
    """One file that needs nothing else."""
    shared = [group for group in (report.overall, report.surest) if group is not None and group.num_shared]
    rows: list[tuple[str, Interval]] = []
    for group in shared:
        rows += [(f"judge, {group.name}", group.shared_percent), (f"two people, {group.name}", group.people_percent)]
    charts: list[tuple[str, str]] = []
    if rows:
        charts.append(("Agreement beside people's own", interval_chart("Agreement beside people's own", rows)))
    if report.bins:
        charts.append(("Calibration", _reliability(report)))
    if report.position.num_items:
        position = [("first answer wins", report.position.first), ("changes with the order", report.position.flips)]
        charts.append(("Order", interval_chart("What order does", position, 0.5)))
    groups = [
        Table(heading=title.capitalize(), header=GROUP_HEADER, rows=group_rows(parts))
        for title, parts in list(views(report).items())[1:]
    ]
    note = "The side that fewer people took, surest first."
    errors = Table(heading="Where it errs", note=note, header=ERROR_HEADER, rows=error_rows(report)[:100])
    lean = Table(
        heading="What leads it", header=("", "figure", "read against"), rows=[list(row) for row in lean_rows(report)]
    )
    sentences = [report.advice.sentence(), *(finding.sentence for finding in report.other_findings), power_line(report)]
    return experiment_page(
        f"The judge {report.judge} on {project}",
        summary=" ".join([*(line for line in sentences if line), *about_lines(report), calibration_line(report)]),
        header=GROUP_HEADER,
        rows=group_rows(views(report)["over all"]),
        charts=charts,
        tables=[lean, *groups, errors],
    )


def _reliability(report: JudgeReport) -> str:
    told_axis = Axis(name="the judge's probability", low=0.0, high=1.0, step=0.25)
    seen_axis = Axis(name="people's share", low=0.0, high=1.0, step=0.25)
    told, seen = [one.predicted for one in report.bins], [one.observed for one in report.bins]
    diagonal = Line(name="as it should be", x=[0, 1], y=[0, 1], series=0, dashed=True)
    return line_chart(
        "Calibration", told_axis, seen_axis, [diagonal, Line(name=report.judge, x=told, y=seen, series=1, dots=4)]
    )


def _lines(report: JudgeReport) -> Iterator[Sequence[object]]:
    names = (
        *("percent", "kappa", "shared_percent", "shared_kappa", "people_percent", "people_kappa"),
        "difference",
    )
    for view, groups in views(report).items():
        for group in groups:
            for name in names:
                figure: Interval = getattr(group, name)
                yield (view, group.name, name, figure.value, figure.low, figure.high, group.num_items)
    median, position, lean = report.median, report.position, report.leanings
    yield ("people", "median", "difference", *_cells(median.difference), median.num_items)
    for person in median.people:
        for name in ("person", "judge"):
            yield ("people", person.name, name, getattr(person, name), "", "", person.num_items)
    for name in ("first", "flips"):
        yield ("position", "", name, *_cells(getattr(position, name)), position.num_items)
    for name in ("follows", "length", "judge_length", "people_length", "own", "judge_own", "people_own"):
        yield ("leanings", "", name, *_cells(getattr(lean, name)), lean.num_items)
    if report.calibration is not None:
        for name in ("ece", "ece_floor_high", "brier", "nll"):
            yield ("calibration", "", name, getattr(report.calibration, name), "", "", report.overall.num_items)


def _cells(figure: Interval) -> tuple[float, float, float]:
    return figure.value, figure.low, figure.high
