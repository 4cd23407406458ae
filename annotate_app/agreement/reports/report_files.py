"""Reports as files: a JSON document, or a flat table with one figure a line."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.report import AgreementReport

FIGURE_COLUMNS = ("view", "name", "with", "figure", "value", "low", "high", "standard_error", "num_items")


class Report(Protocol):
    """A report that converts to plain values."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        ...


def report_json(report: Report) -> str:
    """A JSON document; NaN and infinities become null."""
    plain = json.loads(json.dumps(report.as_dict()), parse_constant=lambda _: None)
    return json.dumps(plain, ensure_ascii=False, indent=2) + "\n"


def agreement_csv(report: AgreementReport) -> str:
    """All figures of an agreement report, one a line; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIGURE_COLUMNS)
    for line in _lines(report):
        writer.writerow(["" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in line])
    return text.getvalue()


def _lines(report: AgreementReport) -> Iterator[Sequence[object]]:
    views = {
        "overall": (report.overall,),
        "criterion": report.criteria,
        "source": report.sources,
        "period": report.periods,
    }
    for view, parts in views.items():
        for part in parts:
            for figure, estimate in part.estimates.items():
                yield (view, part.name, "", figure, *_cells(estimate), part.num_items)
    named = {"conger_kappa": report.conger_kappa, "mean_cohen_kappa": report.pairs.mean_kappa}
    for figure, estimate in named.items():
        yield ("overall", report.overall.name, "", figure, *_cells(estimate), report.overall.num_items)
    for person in report.annotators:
        for figure, estimate in (("percent", person.percent), ("kappa", person.kappa)):
            yield ("annotator", person.name, "the rest", figure, *_cells(estimate), person.num_items)
    for part in report.spans:
        for figure, estimate in (("f1", part.f1), ("alpha_nominal", part.alpha)):
            yield ("span", part.flag, "", figure, *_cells(estimate), part.num_responses)
    pairs = report.pairs
    for number, (one, other) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        names = ("pair", pairs.annotators[one], pairs.annotators[other])
        num_items = int(pairs.num_items[number])
        yield (*names, "percent", float(pairs.percent[number]), "", "", "", num_items)
        kappas = {"kappa": pairs.kappa, "kappa_linear": pairs.kappa_linear, "kappa_quadratic": pairs.kappa_quadratic}
        for figure, estimate in kappas.items():
            ends = (estimate.value, estimate.low, estimate.high, estimate.standard_error)
            yield (*names, figure, *(float(end[number]) for end in ends), num_items)


def _cells(figure: Estimate) -> tuple[float, float, float, float]:
    return figure.value, figure.low, figure.high, figure.standard_error
