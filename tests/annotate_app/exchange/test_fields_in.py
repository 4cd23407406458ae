"""Fields of people from files: own tables, Prolific's export, and columns of imported judgments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.exchange.fields_in import read_fields
from annotate_app.exchange.judgments_in import BallotOptions, import_judgments
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
PROLIFIC = (
    "Submission id,Participant id,Status,Started at,Time taken,Age,Sex,Country of residence\n"
    "s1,5f00,APPROVED,2026-11-01T10:00:00Z,300,25,Female,Kenya\n"
    "s2,6a11,APPROVED,2026-11-01T10:00:00Z,310,DATA_EXPIRED,Male,New Zealand\n"
    "s3,7b22,RETURNED,2026-11-01T10:00:00Z,10,CONSENT_REVOKED,CONSENT_REVOKED,CONSENT_REVOKED\n"
)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str, name: str = "people.csv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_prolifics_export_is_read_by_participant(write: Callable[..., str]) -> None:
    values, num_strangers = read_fields(write(PROLIFIC), {"5f00": "prolific-5f00@1", "6a11": "prolific-6a11@1"})
    assert num_strangers == 1
    assert values == {
        "prolific-5f00@1": {"Age": "25", "Sex": "Female", "Country of residence": "Kenya"},
        "prolific-6a11@1": {"Sex": "Male", "Country of residence": "New Zealand"},
    }


def test_an_own_table_is_read_and_two_values_of_one_person_are_refused(write: Callable[..., str]) -> None:
    assert read_fields(write("annotator,country\nanna,KE\nben,\n"), {}) == ({"anna": {"country": "KE"}, "ben": {}}, 0)
    with pytest.raises(ValueError, match=r"people.csv:\d: country of 'anna' is 'NZ', before it was 'KE'"):
        read_fields(write("annotator,country\nanna,KE\nanna,NZ\n"), {})
    with pytest.raises(ValueError, match=r"no column names people.*there are who, country"):
        read_fields(write("who,country\nanna,KE\n"), {})


def test_imported_judgments_bring_the_fields_of_their_annotators(
    sqlite_store: Store, make_project: Callable[..., Project], write: Callable[..., str]
) -> None:
    project = make_project(sqlite_store)
    rows = "comparison_id,annotator,choice,annotator_country\nc0,w1,a,KE\nc1,w1,b,KE\nc0,w2,b,NZ\n"
    imported = import_judgments(sqlite_store, ADMIN, project.id, [write(rows, "votes.csv")])
    assert imported.num_added == 3
    assert sqlite_store.fields.people(ADMIN, project.id) == {"w1": {"country": "KE"}, "w2": {"country": "NZ"}}
    torn = "comparison_id,annotator,choice,annotator_country\nc2,w3,a,KE\nc3,w3,b,NZ\n"
    with pytest.raises(ValueError, match="country of 'w3' is 'NZ', before it was 'KE'"):
        import_judgments(sqlite_store, ADMIN, project.id, [write(torn, "torn.csv")])
    assert "w3" not in sqlite_store.fields.people(ADMIN, project.id)  # nothing of the file was taken


def test_a_broken_line_that_is_left_out_does_not_stop_the_fields(
    sqlite_store: Store, make_project: Callable[..., Project], write: Callable[..., str]
) -> None:
    project = make_project(sqlite_store)
    rows = '{"comparison_id": "c0", "annotator": "w1", "choice": "a", "annotator_country": "KE"}\n{broken\n'
    options = BallotOptions(on_bad_row="skip")
    imported = import_judgments(sqlite_store, ADMIN, project.id, [write(rows, "votes.jsonl")], options)
    assert (imported.num_added, len(imported.bad)) == (1, 1)
    assert sqlite_store.fields.people(ADMIN, project.id) == {"w1": {"country": "KE"}}


def test_a_field_that_cannot_be_stored_stops_the_judgments_as_well(
    sqlite_store: Store, make_project: Callable[..., Project], write: Callable[..., str]
) -> None:
    project = make_project(sqlite_store)
    rows = f"comparison_id,annotator,choice,annotator_about\nc0,w1,a,{'x' * 10_000}\n"
    with pytest.raises(ValueError, match="field about has 10000 characters"):
        import_judgments(sqlite_store, ADMIN, project.id, [write(rows, "votes.csv")])
    assert list(sqlite_store.judgments.iterate(ADMIN, project.id)) == []
    rows = "comparison_id,annotator,choice,annotator_group,annotator_country\nc0,w1,a,night,KE\n"
    assert import_judgments(sqlite_store, ADMIN, project.id, [write(rows, "votes.csv")]).num_added == 1
    assert sqlite_store.fields.people(ADMIN, project.id) == {"w1": {"country": "KE"}}
