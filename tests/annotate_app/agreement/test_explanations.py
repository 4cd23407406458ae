from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable

import numpy as np
import pytest

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.explanations import MEASURES, interval_row, references
from annotate_app.agreement.reports.report import FIGURES, agreement_report
from annotate_app.agreement.reports.report_files import agreement_csv, report_json
from annotate_app.protocol.protocol import MEASURES as REPORTED
from annotate_app.protocol.protocol import list_protocols, load_protocol
from annotate_app.votes import Votes


def test_every_measure_is_a_figure_of_the_report_and_named_as_protocols_name_it() -> None:
    assert set(MEASURES) <= set(FIGURES)
    assert {measure.reported for measure in MEASURES.values()} - {""} <= set(REPORTED)


def test_a_protocol_that_reports_the_measure_is_the_reference() -> None:
    rows, words = references(MEASURES["percent"], "instructgpt")
    assert [row["value"] for row in rows] == [0.726, 0.773]
    assert (rows[0]["low"], rows[0]["high"], rows[0]["kind"]) == (0.711, 0.741, "published")
    assert load_protocol("instructgpt").source in words


def test_without_a_figure_of_its_own_a_project_stands_beside_all_that_report_one() -> None:
    rows, words = references(MEASURES["ac2_ordinal"], "support_desk")
    # Llama 2 reports a range over evaluations of helpfulness: it is drawn with its middle.
    assert rows[0]["label"] == "Llama 2: three people per item of the human evaluation"
    assert (rows[0]["low"], rows[0]["value"], rows[0]["high"]) == (0.37, pytest.approx(0.46), 0.55)
    assert words.startswith("This project's protocol reports no agreement; diamonds")
    assert "no published protocol" in references(MEASURES["ac2_ordinal"], "")[1]
    none = "This project follows no published protocol; none of the shipped protocols reports this measure."
    assert references(MEASURES["ac1"], "") == ([], none)
    assert "reports kappa quadratic 0.465 instead" in references(MEASURES["ac1"], "helpsteer2")[1]


def test_every_reported_figure_is_shown_under_some_measure_or_known_to_have_none() -> None:
    shown = {measure.reported for measure in MEASURES.values()}
    reported = {item.measure for name in list_protocols() for item in load_protocol(name).reported}
    # Cohen's quadratic kappa is a figure of pairs of people: the matrix shows it, no single number does.
    assert reported - shown <= {"kappa_quadratic"}


def test_figures_are_said_as_people_read_them() -> None:
    assert MEASURES["percent"].say(0.6966) == "69.7%"
    assert MEASURES["ac1"].say(0.6966) == "0.70"
    assert MEASURES["ac1"].say(float("nan")) == "–"
    row = interval_row("x", Estimate(value=0.5), 3)
    assert row == {"label": "x", "value": 0.5, "low": None, "high": None, "num": 3}


def test_the_csv_holds_every_figure_and_leaves_the_undefined_empty(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(["p", "p", "q", "q"], ["Ada", "Ben", "Ada", "Ben"], ["a", "a", "b", "tie"])
    report = agreement_report(votes, num_resamples=0)
    rows = list(csv.DictReader(io.StringIO(agreement_csv(report))))
    overall = {row["figure"]: row for row in rows if row["view"] == "overall"}
    assert set(overall) == {*report.overall.estimates, "conger_kappa", "mean_cohen_kappa"}
    # Ada: a, b; Ben: a, tie; chance agrees in 1/4, so both are (1/2 - 1/4) / (3/4).
    assert float(overall["conger_kappa"]["value"]) == pytest.approx(1 / 3)
    assert float(overall["mean_cohen_kappa"]["value"]) == pytest.approx(1 / 3)
    assert float(overall["percent"]["value"]) == 0.5  # p agrees, q does not
    assert overall["percent"]["low"] == ""
    pairs = [row for row in rows if row["view"] == "pair" and row["figure"] == "percent"]
    assert [(row["name"], row["with"], row["value"], row["num_items"]) for row in pairs] == [("Ada", "Ben", "0.5", "2")]


def test_json_has_null_where_a_figure_is_undefined(make_votes: Callable[..., Votes]) -> None:
    same = agreement_report(make_votes(["p", "p"], ["Ada", "Ben"], ["a", "a"]), num_resamples=0)
    assert np.isnan(same.overall.estimates["fleiss_kappa"].value)
    assert json.loads(report_json(same))["overall"]["estimates"]["fleiss_kappa"]["value"] is None
