"""`annotate-app pay`: a table, JSON and CSV of the same figures."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.demo import NAME as DEMO


@pytest.fixture
def demo(demo_file: Path, tmp_path: Path) -> str:
    return str(shutil.copy(demo_file, tmp_path / "demo.db"))


def test_the_three_forms_hold_the_same(demo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "change", DEMO, "--hourly-rate", "12", "--currency", "EUR", "--db", demo]) == 0
    days = ["--from", "2023-10-01", "--to", "2023-12-01", "--zone", "Europe/Berlin", "--db", demo]
    capsys.readouterr()
    assert main(["pay", DEMO, "--json", *days]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["time_zone"] == "Europe/Berlin"
    assert document["amount"] == round(sum(person["amount"] for person in document["people"]), 2) > 0
    assert main(["pay", DEMO, "--csv", *days]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["person"], float(row["amount"])) for row in rows] == [
        (person["name"], person["amount"]) for person in document["people"]
    ]
    assert {row["currency"] for row in rows} == {"EUR"}
    assert all(row["first_at"].endswith(("+01:00", "+02:00")) for row in rows if row["first_at"])
    assert main(["pay", DEMO, *days]) == 0
    assert f"{document['amount']:,.2f} EUR for all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "yesterday"], "--from is 'yesterday'"),
        (["--zone", "Mars/Base"], "time zone is 'Mars/Base'"),
        (["--from", "2026-02-01", "--to", "2026-01-01"], "before it begins"),
    ],
)
def test_a_wrong_period_is_one_line(
    demo: str, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["pay", DEMO, *options, "--db", demo]) == 2
    assert words in capsys.readouterr().err
