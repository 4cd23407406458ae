"""Rows in files: JSONL, JSON, CSV and Parquet, plain or gzipped, read and written a row at a time.

A file is written whole or not at all. What the rows mean is not known here (see `rewardkit.data.comparison_rows`).
CSV knows only text: a value that is not a string is written as JSON, None as an empty cell, and a text that a
spreadsheet would run as a formula behind an apostrophe, which reading takes away. Parquet keeps lists; mappings (whose
keys differ from row to row) are written as JSON text. `rewardkit.data.comparison_rows` reads both back.

Rows that take long to make stand in OUT.partial, one JSON object a line, until all are there (`ResumableFile`), so that
a killed run loses one window at most. Its first line, the header, says what they are made from; a run that continues
must have the same header, so that the rest is made alike. At the end OUT takes its place whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

from rewardkit.data.tables.csv_rows import guard, read_csv
from rewardkit.data.tables.json_rows import OnBad, Rows, read_json, read_jsonl
from rewardkit.data.tables.lines import BOM, BROKEN_GZIP, CHUNK, Unpacked, read_bytes

Format = Literal["jsonl", "json", "csv", "parquet"]
FORMATS: tuple[Format, ...] = get_args(Format)
Source = str | Path | BinaryIO

SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
GZIP_MAGIC, PARQUET_MAGIC = b"\x1f\x8b", b"PAR1"


def file_name(source: Source) -> str:
    """How errors call a source: its path, or the name an upload carries."""
    return str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "upload"))


def detect_format(source: Source) -> Format:
    """The format by the name's suffix, else by the first bytes.

    Raises:
        ValueError: if the file is empty.
    """
    suffixes = [suffix.lower() for suffix in Path(file_name(source)).suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    if suffixes and suffixes[-1] in SUFFIXES:
        return SUFFIXES[suffixes[-1]]
    with open_bytes(source) as stream:
        start = read_bytes(stream, 4096, file_name(source)).removeprefix(BOM).lstrip()
    if not start:
        raise ValueError(f"{file_name(source)}: the file is empty")
    if start.startswith(PARQUET_MAGIC):
        return "parquet"
    return "json" if start[:1] in (b"[", b"{") else "csv"


def place(source: Source, number: int, format: Format) -> str:
    """Where a row stands, for errors: `file:line`, or the record's number where records have no lines."""
    return f"{file_name(source)}: record {number}" if format in ("json", "parquet") else f"{file_name(source)}:{number}"


def read_rows(source: Source, format: Format | None = None, on_bad: OnBad | None = None) -> Rows:
    """Yields rows with their line (JSONL, CSV: the line a row starts on) or record number (JSON, Parquet), from 1.

    Args:
        source: a path, or a seekable binary stream such as an upload; read from its start, and left open.
        format: what it is; None asks `detect_format`. JSON is an array of objects, an object with such an array under
            `data`, or an object per line. Gzip is recognised by its first bytes.
        on_bad: called for a single line or record that cannot be read, which is then left out; None raises.

    Raises:
        ValueError: naming the file and the line or record, where it is not what it says it is.
    """
    name = file_name(source)
    with open_bytes(source) as stream:
        match format or detect_format(source):
            case "jsonl":
                yield from read_jsonl(stream, name, on_bad)
            case "json":
                yield from read_json(stream, name, on_bad)
            case "csv":
                yield from read_csv(stream, name, on_bad)
            case "parquet":
                yield from _read_parquet(stream, name)


@contextmanager
def open_bytes(source: Source) -> Iterator[BinaryIO]:
    """The bytes of a source from its start, unpacked if gzipped."""
    with open(source, "rb") if isinstance(source, str | Path) else nullcontext(source) as raw:
        raw.seek(0)
        magic = raw.read(2)
        raw.seek(0)
        opened = Unpacked(cast(BinaryIO, raw), file_name(source)) if magic == GZIP_MAGIC else raw
        yield cast(BinaryIO, opened)


def _read_parquet(stream: BinaryIO, name: str) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    with tempfile.TemporaryFile() as unpacked:
        if isinstance(stream, gzip.GzipFile):  # Parquet is read from its end, gzip only from its start
            try:
                shutil.copyfileobj(stream, unpacked, CHUNK)
            except BROKEN_GZIP as error:
                raise ValueError(f"{name}: the gzip data is truncated or damaged ({error})") from error
            stream = cast(BinaryIO, unpacked)
        try:
            for batch in pq.ParquetFile(stream).iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{name}: after record {number}: not readable as Parquet ({error})") from error


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
            writer.writerow(map(guard, columns))
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
    return guard(value) if isinstance(value, str) else to_json(value)


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
            batch_schema = pa.table(_columns(batch, list(dict.fromkeys(key for row in batch for key in row)))).schema
            schema = pa.unify_schemas([schema, batch_schema], promote_options="permissive")
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


def check_new_file(option: str, out: str | Path) -> None:
    """Checks that rows can be written to a new file.

    Args:
        option: the option that names the file, for the message.

    Raises:
        ValueError: if the name says no format, or the file is there already.
    """
    out = Path(out)
    if Path(out.name.removesuffix(".gz")).suffix not in SUFFIXES:
        raise ValueError(f"{option} {out}: the name's end says the format, allowed are {', '.join(SUFFIXES)}")
    if out.exists():
        raise ValueError(f"{option} {out} is there already")


def check_output(option: str, out: str | Path, *, resume: bool) -> None:
    """Checks that a resumable file can be begun, or continued with `resume`.

    Raises:
        ValueError: as `check_new_file`; if an unfinished run is there and `resume` is false.
    """
    check_new_file(option, out)
    if (partial := partial_path(out)).exists() and not resume:
        raise ValueError(f"{option} {out}: {partial.name} is of an unfinished run: --resume continues it")


def count_partial_rows(out: str | Path) -> int:
    """Number of rows of an unfinished output, for a process that watches; 0 where there is none."""
    try:
        return max(0, partial_path(out).read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def partial_path(out: str | Path) -> Path:
    """The file that holds the rows until all are there."""
    out = Path(out)
    return out.with_name(f"{out.name}.partial")


class ResumableFile:
    """The rows of an output so far; iterating reads them one at a time.

    Opening it cuts an unfinished run back to its last whole block. A run that wrote no block leaves no file.

    Attributes:
        num_rows: rows that an earlier run wrote and that remain.

    Args:
        out: the finished file.
        header: plain values that decide the rows.
        block: rows that only count together, such as the completions of a prompt or a window that is scored at once.
        num_total: rows of the whole output, whose last block may be shorter; None where all blocks are whole.

    Raises:
        ValueError: if an unfinished run has another header.
    """

    def __init__(
        self, out: str | Path, header: Mapping[str, Any], *, block: int = 1, num_total: int | None = None
    ) -> None:
        self.out, self.partial = Path(out), partial_path(out)
        self.header = json.loads(json.dumps(dict(header)))
        self.num_rows = self._cut_back(block, num_total) if self.partial.exists() else 0
        if not self.num_rows:
            self.partial.unlink(missing_ok=True)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes rows; when this returns they are on the disk."""
        self.partial.parent.mkdir(parents=True, exist_ok=True)
        with self.partial.open("ab") as file:
            for row in rows if file.tell() else (self.header, *rows):
                file.write(json.dumps(dict(row)).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self.partial.exists():
            with self.partial.open("rb") as file:
                for line in islice(file, 1, None):
                    yield json.loads(line)

    @contextmanager
    def finish(self) -> Iterator[Write]:
        """A function that writes a row of the output; when the block ends, the output replaces OUT.partial."""
        with open_rows(self.out) as write:
            yield write
        self.partial.unlink(missing_ok=True)

    def _cut_back(self, block: int, num_total: int | None) -> int:
        """Drops a half-written line and an incomplete block; returns how many rows remain."""
        with self.partial.open("r+b") as file:
            line = file.readline()
            if not line.endswith(b"\n"):
                return 0  # killed before anything was made
            before = json.loads(line)
            if differing := next((name for name in self.header if before.get(name) != self.header[name]), ""):
                change = f"{differing} was {before.get(differing)!r} and is {self.header[differing]!r}"
                raise ValueError(f"--resume {self.partial}: {change}; remove it to start anew")
            ends = [file.tell()]
            for line in file:
                if not line.endswith(b"\n"):
                    break
                ends.append(ends[-1] + len(line))
            num_rows = len(ends) - 1
            if num_rows != num_total:
                num_rows -= num_rows % block
            file.truncate(ends[num_rows])
        return num_rows
