"""Bodies of rows: taken in while they come, onto disk, and read as the file that they are."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Any, BinaryIO, cast

from fastapi import Query
from starlette.requests import Request

from annotate_app.api.refusals import Refusal
from annotate_app.exchange.comparisons_in import BadRow, BadRowsError, Imported
from rewardkit.data.files import Format

FORMATS: dict[str, Format] = {
    "application/json": "json",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
}
ROWS_SHOWN = 100
GZIP_MAGIC = b"\x1f\x8b"
_LINE = re.compile(r"(?:record |:)([0-9]+)$")

ColumnMap = Annotated[
    list[str],
    Query(alias="map", max_length=40, description="FIELD=COLUMN, where a column is not recognised by its name"),
]


def rows_body(what: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """How the OpenAPI document describes a body of rows."""
    row = {"type": "object", "additionalProperties": True, "example": dict(example)}
    content = {
        "application/json": {"schema": {"type": "array", "items": row, "minItems": 1}},
        "application/x-ndjson": {"schema": {"type": "string", "description": "a JSON object a line"}},
    }
    return {"requestBody": {"required": True, "description": what, "content": content}}


@asynccontextmanager
async def taken_in(request: Request) -> AsyncIterator[tuple[BinaryIO, Format]]:
    """The body as a file called `body`, with its format.

    Raises:
        Refusal: for a type that is not read, and for what is compressed: nobody knows how long it is.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in FORMATS:
        allowed = " or ".join(list(FORMATS)[:2])
        message = f"content-type is {kind[:80]!r}, allowed is {allowed}"
        raise Refusal(status=422, message=message, field="content-type", value=kind, allowed=allowed)
    with tempfile.TemporaryFile() as file:
        cast(Any, file).raw.name = "body"  # what errors call it
        async for part in request.stream():
            if file.tell() < len(GZIP_MAGIC) and part.startswith(GZIP_MAGIC):
                raise Refusal(status=422, message="the body is compressed, allowed is JSON as it is", field="body")
            file.write(part)
        yield cast(BinaryIO, file), FORMATS[kind]


def read_map(pairs: Sequence[str]) -> dict[str, str]:
    """Reads FIELD=COLUMN; an empty column says that the field has none."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"map is {pair!r}, allowed is FIELD=COLUMN")
    return {name.strip(): column.strip() for name, _, column in (pair.partition("=") for pair in pairs)}


def result_of(imported: Imported) -> dict[str, Any]:
    """What became of the rows, as `Taken` gives it."""
    names = ("num_rows", "num_added", "num_existing", "num_labels", "num_empty")
    return {name: getattr(imported, name) for name in names} | {"rows": refused_rows(imported.bad)}


def bad_rows(error: BadRowsError) -> Refusal:
    """The answer where bad rows stopped an import: the first one in full, the others beside it."""
    first = error.bad[0]
    more = f" (and {len(error.bad) - 1} more)" if len(error.bad) > 1 else ""
    message = f"{first.place}: {first.message}{more}; nothing was stored, on_bad_row=skip leaves such rows out"
    return Refusal(
        status=422, message=message, field=first.field or "body", value=first.value, rows=refused_rows(error.bad)
    )


def refused_rows(bad: Sequence[BadRow]) -> list[dict[str, Any]]:
    """The first rows that cannot be used."""
    rows = []
    for row in bad[:ROWS_SHOWN]:
        line = _LINE.search(row.place)
        values = {"field": row.field, "value": row.value, "reason": row.reason, "message": row.message}
        rows.append({"line": int(line[1]) if line else None, **values})
    return rows
