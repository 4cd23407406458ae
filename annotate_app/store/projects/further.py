"""The third and later responses of comparisons that rank more than two: reading them, and where they may be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, ColumnElement, Connection, ScalarSelect, Select, func, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from annotate_app.protocol.rubric import parse_rubric
from annotate_app.store.projects.stepped import steps_of
from annotate_app.store.schema.desk_tables import further_response
from annotate_app.store.schema.tables import comparison, response, rubric
from rewardkit.data.records import Message, Response, split_pair_id, split_step_id


class _RowsAsJson(FunctionElement[Any]):
    """The rows of a group as one JSON list of lists."""

    type = JSON()
    inherit_cache = True
    name = "rows_as_json"


@compiles(_RowsAsJson, "sqlite")
def _on_sqlite(element: _RowsAsJson, compiler, **options: object) -> str:  # noqa: ANN001
    return f"json_group_array(json_array({compiler.process(element.clauses, **options)}))"


@compiles(_RowsAsJson, "postgresql")
def _on_postgresql(element: _RowsAsJson, compiler, **options: object) -> str:  # noqa: ANN001
    return f"json_agg(json_build_array({compiler.process(element.clauses, **options)}))"


def further_responses(comparison_id: ColumnElement[int]) -> ScalarSelect:
    """By comparison, its further responses as [position, text, source]; `read_further` reads them."""
    answer = response.alias("further_answer")
    return (
        select(_RowsAsJson(further_response.c.position, answer.c.text, answer.c.source))
        .select_from(further_response)
        .join(answer, answer.c.id == further_response.c.response_id)
        .where(further_response.c.comparison_id == comparison_id)
        .correlate(comparison)
        .scalar_subquery()
    )


def read_further(rows: list[list] | None, turns: Sequence[tuple[Message, ...]]) -> tuple[Response, ...]:
    """The further responses, in their order.

    Args:
        rows: a value of `further_responses`.
        turns: of those that are more than a text, by their place; empty where none is.
    """
    ordered = sorted(rows or (), key=lambda row: row[0])
    return tuple(
        Response(text=text, source=source, turns=turns[index] if turns else ())
        for index, (_, text, source) in enumerate(ordered)
    )


def further_hashes(connection: Connection, project_id: int, keys: Sequence[str]) -> dict[str, list[str]]:
    """By comparison id, the content hashes of its further responses in their order."""
    return _gather(connection, _further(project_id, response.c.content_hash).where(comparison.c.key.in_(keys)))


def further_sources(connection: Connection, project_id: int) -> dict[str, list[str]]:
    """By comparison id, what wrote its further responses in their order."""
    return _gather(connection, _further(project_id, response.c.source))


def _further(project_id: int, column: ColumnElement[str]) -> Select:
    return (
        select(comparison.c.key, column)
        .join(further_response, further_response.c.comparison_id == comparison.c.id)
        .join(response, response.c.id == further_response.c.response_id)
        .where(comparison.c.project_id == project_id)
        .order_by(comparison.c.id, further_response.c.position)
    )


def _gather(connection: Connection, query: Select) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for key, value in connection.execute(query):
        values.setdefault(key, []).append(value)
    return values


def has_rankings(connection: Connection, project_id: int) -> bool:
    """Whether a comparison of the project has more than two responses."""
    query = (
        select(comparison.c.id)
        .join(further_response, further_response.c.comparison_id == comparison.c.id)
        .where(comparison.c.project_id == project_id)
        .limit(1)
    )
    return connection.execute(query).first() is not None


def refuse_rankings(connection: Connection, project_id: int) -> None:
    """Refuses comparisons of more than two responses where the project's rubric asks to compare two.

    Raises:
        ValueError: saying what to change.
    """
    newest = select(rubric.c.text).where(rubric.c.project_id == project_id).order_by(rubric.c.version.desc()).limit(1)
    text = connection.execute(newest).scalar_one()
    if parse_rubric(text).task not in ("rank", "best"):
        raise ValueError(
            "comparisons of more than two responses come to a project whose rubric compares two: "
            "set task: rank or task: best in the rubric first, or cut them into pairs"
        )


def refuse_comparing(connection: Connection, project_id: int, task: str) -> None:
    """Refuses a rubric that compares two responses while the project has comparisons of more.

    Raises:
        ValueError: saying so.
    """
    if task not in ("rank", "best") and has_rankings(connection, project_id):
        raise ValueError(f"task is {task!r}, but the project has comparisons of more than two responses: rank or best")


def find_item(connection: Connection, project_id: int, key: str) -> tuple[int | None, str]:
    """The comparison of an item that is voted on, and which part of it: a pair of its responses (`1-3`) or a step of
    its answer (`s3`), empty where it is an item itself.

    None for what is no item: an unknown id, a ranking or an answer in steps as a whole, a part that it does not have.
    """
    count = select(func.count()).where(further_response.c.comparison_id == comparison.c.id).scalar_subquery()
    steps = steps_of(comparison.c.id).label("steps")
    columns = select(comparison.c.id, count.label("further"), steps).where(comparison.c.project_id == project_id)
    row = connection.execute(columns.where(comparison.c.key == key)).first()
    if row is not None:
        return (row.id, "") if not row.further and not row.steps else (None, "")
    if (step := split_step_id(key)) is not None:
        row = connection.execute(columns.where(comparison.c.key == step[0])).first()
        return (row.id, f"s{step[1] + 1}") if row is not None and step[1] < len(row.steps or ()) else (None, "")
    place = split_pair_id(key)
    row = connection.execute(columns.where(comparison.c.key == place[0])).first() if place else None
    if place is None or row is None or not row.further or place[2] >= 2 + row.further:
        return None, ""
    return row.id, f"{place[1] + 1}-{place[2] + 1}"
