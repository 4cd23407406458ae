"""Writing rows to files: JSONL, JSON, CSV and Parquet, gzipped too; a row at a time, and all or nothing.

CSV knows only text: a value that is not a string is written as JSON, None as an empty cell. Parquet keeps lists;
mappings (whose keys differ from row to row) are written as JSON text. `rewardkit.data.comparison_rows` reads both back.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, cast

from rewardkit.data.files import Format, detect_format

BATCH = 1024


Row = Mapping[str, Any]
Write = Callable[[Row], None]


def write_rows(path: str | Path, rows: Iterable[Row], format: Format | None = None) -> int:
    """Writes rows to a file and returns their number; see `open_rows`."""
    count = 0
    with open_rows(path, format) as write:
        for row in rows:
            write(row)
            count += 1
    return count


@contextmanager
def open_rows(path: str | Path, format: Format | None = None) -> Iterator[Write]:
    """A function that takes rows; the file takes its name when the block ends well, and leaves no trace otherwise.

    Args:
        path: the file; a name ending in `.gz` is compressed. An existing file is replaced at the end.
        format: None takes it from the name's suffix.

    Raises:
        ValueError: if a row has a column that the first row lacks (CSV), or types that do not go together (Parquet).
    """
    path = Path(path)
    writers = {"jsonl": _jsonl, "json": _json, "csv": _csv, "parquet": _parquet}
    opened = writers[format or detect_format(path)]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            # No name and no time in the header of a gzip: the same rows give the same bytes.
            packed = path.suffix == ".gz"
            stream = gzip.GzipFile("", "wb", 6, file, mtime=0) if packed else nullcontext(file)
            with stream as target, opened(cast(BinaryIO, target), path) as write:
                yield write
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def to_json(value: object) -> str:
    """One line of JSON, as written to files."""
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} of type {type(value).__name__} cannot be written as JSON")


@contextmanager
def _jsonl(stream: BinaryIO, _path: Path) -> Iterator[Write]:
    yield lambda row: _put(stream, to_json(row) + "\n")


def _put(stream: BinaryIO, text: str) -> None:
    stream.write(text.encode())


@contextmanager
def _json(stream: BinaryIO, _path: Path) -> Iterator[Write]:
    separators = chain(["[\n"], repeat(",\n"))
    yield lambda row: _put(stream, next(separators) + to_json(row))
    _put(stream, "[]\n" if next(separators) == "[\n" else "\n]\n")


@contextmanager
def _csv(stream: BinaryIO, path: Path) -> Iterator[Write]:
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)  # ends lines in CR LF: with LF alone it would leave a bare CR in a cell unquoted
    columns: list[str] = []

    def write(row: Row) -> None:
        if not columns:
            columns.extend(row)
            writer.writerow(columns)
        if more := row.keys() - set(columns):
            raise ValueError(f"{path}: a row has the column {', '.join(sorted(more))}, which the first row lacks")
        writer.writerow([_cell(row.get(column)) for column in columns])

    try:
        yield write
    finally:
        text.detach()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else to_json(value)


@contextmanager
def _parquet(stream: BinaryIO, path: Path) -> Iterator[Write]:
    """Spools the rows as JSON lines first: a schema that fits all of them is known only at the end."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    batch: list[dict[str, Any]] = []
    schema = pa.schema([])

    def flush() -> None:
        nonlocal schema
        try:
            found = pa.table(_columns(batch, list(dict.fromkeys(key for row in batch for key in row)))).schema
            schema = pa.unify_schemas([schema, found], promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(f"{path}: a column mixes types that Parquet cannot hold ({error})") from error
        spool.writelines(to_json(row).encode() + b"\n" for row in batch)
        batch.clear()

    def write(row: Row) -> None:
        batch.append({key: to_json(value) if isinstance(value, Mapping) else value for key, value in row.items()})
        if len(batch) == BATCH:
            flush()

    with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as file:
        yield write
        flush()
        spool.seek(0)
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while lines := list(islice(spool, BATCH)):
                writer.write_table(
                    pa.table(_columns([json.loads(line) for line in lines], schema.names), schema=schema)
                )
        file.seek(0)
        shutil.copyfileobj(file, stream)  # not written there at once: Parquet seeks, a gzip stream cannot


def _columns(rows: list[dict[str, Any]], names: list[str]) -> dict[str, list[Any]]:
    return {name: [row.get(name) for row in rows] for name in names}
