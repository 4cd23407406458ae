"""Fields of people from files: a table with a line a person, a platform's demographic export, imported judgments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from annotate_app.store.people.fields import GROUP
from rewardkit.data.files import Format, Source, file_name, read_rows
from rewardkit.data.judgments import BallotReading

PERSON_COLUMNS = ("person", "annotator", "name", "worker", "annotator_id", "worker_id")
PLATFORM_COLUMNS = ("Participant id", "WorkerId", "platform_id")
ABOUT_THE_SUBMISSION = (
    "Submission id",
    "Status",
    "Custom study tncs accepted at",
    "Started at",
    "Completed at",
    "Reviewed at",
    "Archived at",
    "Time taken",
    "Completion code",
    "Total approvals",
)
"""Columns of Prolific's export that say nothing about the person."""
NOT_TOLD = ("DATA_EXPIRED", "CONSENT_REVOKED")
PREFIX = "annotator_"


def read_fields(source: Source, platform_names: Mapping[str, str]) -> tuple[dict[str, dict[str, str]], int]:
    """The fields in a table with a line a person, by name, and the number of ids of a platform that nobody came by.

    Args:
        platform_names: by id on a crowd platform, the person's name here; for a column such as `Participant id`.

    Raises:
        ValueError: if no column names people, a line cannot be read, or two lines differ on a person.
    """
    values: dict[str, dict[str, str]] = {}
    num_strangers = 0
    for number, row in read_rows(source):
        where = f"{file_name(source)}:{number}"
        column = next((name for name in (*PLATFORM_COLUMNS, *PERSON_COLUMNS) if name in row), None)
        if column is None:
            allowed = ", ".join((*PERSON_COLUMNS, *PLATFORM_COLUMNS))
            raise ValueError(f"{where}: no column names people, allowed are {allowed}; there are {', '.join(row)}")
        name = _text(row[column])
        if column in PLATFORM_COLUMNS:
            if name not in platform_names:
                num_strangers += 1
                continue
            name = platform_names[name]
        left_out = (column, GROUP, *(ABOUT_THE_SUBMISSION if column in PLATFORM_COLUMNS else ()))
        fields = {key: _text(value) for key, value in row.items() if key not in left_out}
        _merge(values, name, fields, where)
    return values, num_strangers


def annotator_fields(
    sources: Sequence[Source], readings: Mapping[str, BallotReading], format: Format | None
) -> dict[str, dict[str, str]]:
    """What files of judgments say of their annotators: columns such as `annotator_country`, by annotator.

    Lines that cannot be read are passed over: whoever took in the judgments has told of them.

    Raises:
        ValueError: if a file says two things of one person.
    """
    values: dict[str, dict[str, str]] = {}
    for source in sources:
        columns = readings[file_name(source)].columns
        person = columns.get("annotator")
        if not person:
            continue
        taken = {*columns.values(), f"{PREFIX}id", f"{PREFIX}{GROUP}"}
        for number, row in read_rows(source, format, lambda _number, _message: None):
            fields = {
                key.removeprefix(PREFIX): _text(value)
                for key, value in row.items()
                if key.startswith(PREFIX) and key not in taken and isinstance(value, str | int | float)
            }
            if fields and row.get(person) not in (None, ""):
                _merge(values, str(row[person]).strip(), fields, f"{file_name(source)}:{number}")
    return values


def _text(value: object) -> str:
    """A value as a field holds it; empty where nothing is told."""
    text = "" if value is None or value != value else str(value).strip()
    return "" if text in NOT_TOLD else text


def _merge(values: dict[str, dict[str, str]], name: str, fields: Mapping[str, str], where: str) -> None:
    known = values.setdefault(name, {})
    for key, value in fields.items():
        if not value:
            continue
        if known.get(key, value) != value:
            raise ValueError(f"{where}: {key} of {name!r} is {value!r}, before it was {known[key]!r}")
        known[key] = value
