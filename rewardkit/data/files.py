"""Rows in files: JSONL, JSON, CSV and Parquet, plain or gzipped, read and written a row at a time.

A file is written whole or not at all. What the rows mean is not known here (see `rewardkit.data.comparison_rows`).
CSV knows only text: a value that is not a string is written as JSON, None as an empty cell. Parquet keeps lists;
mappings (whose keys differ from row to row) are written as JSON text. `rewardkit.data.comparison_rows` reads both back.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast, get_args

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
DELIMITERS = (",", "\t", ";")
GZIP_MAGIC, PARQUET_MAGIC, BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"
BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
CHUNK = 1 << 20
_BETWEEN = re.compile(r"[\s,]*")  # of two records of an array
# NaN and the infinities are not JSON; Python writes them all the same, and means a missing number by them.
DECODER = json.JSONDecoder(parse_constant=lambda _constant: None)


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
        start = _read(stream, 4096, file_name(source)).removeprefix(BOM).lstrip()
    if not start:
        raise ValueError(f"{file_name(source)}: the file is empty")
    if start.startswith(PARQUET_MAGIC):
        return "parquet"
    return "json" if start[:1] in (b"[", b"{") else "csv"


def place(source: Source, number: int, format: Format) -> str:
    """Where a row stands, for errors: `file:line`, or the record's number where records have no lines."""
    return f"{file_name(source)}: record {number}" if format in ("json", "parquet") else f"{file_name(source)}:{number}"


Rows = Iterator[tuple[int, dict[str, Any]]]
OnBad = Callable[[int, str], None]
"""Takes the line or record number of a row that is not one, and what is wrong with it."""


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
                yield from _read_jsonl(stream, name, on_bad)
            case "json":
                yield from _read_json(stream, name, on_bad)
            case "csv":
                yield from _read_csv(stream, name, on_bad)
            case "parquet":
                yield from _read_parquet(stream, name)


@contextmanager
def open_bytes(source: Source) -> Iterator[BinaryIO]:
    """The bytes of a source from its start, unpacked if gzipped."""
    with open(source, "rb") if isinstance(source, str | Path) else nullcontext(source) as raw:
        raw.seek(0)
        magic = raw.read(2)
        raw.seek(0)
        yield cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if magic == GZIP_MAGIC else cast(BinaryIO, raw)


def _read(stream: BinaryIO, size: int, name: str) -> bytes:
    try:
        return stream.read(size)
    except BROKEN_GZIP as error:
        raise ValueError(f"{name}: the gzip data is truncated or damaged ({error})") from error


def _byte_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    number = 0
    while True:
        try:
            line = stream.readline()
        except BROKEN_GZIP as error:
            raise ValueError(f"{name}:{number + 1}: the gzip data is truncated or damaged ({error})") from error
        if not line:
            return
        number += 1
        if number == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise ValueError(f"{name}:1: the text is UTF-16, allowed is UTF-8")
            line = line.removeprefix(BOM)
        yield number, line


def _lines(stream: BinaryIO, name: str) -> Iterator[str]:
    for number, line in _byte_lines(stream, name):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}:{number}: {_not_utf8(error)}") from error


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x} at {error.start} of the line is not UTF-8"


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"a row is {str(value)[:60]!r}, allowed is an object with named fields")
    return value


def _decode_json(text: str) -> object:
    try:
        return DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON at character {error.pos + 1} ({error.msg}): {text[:60]!r}") from error
    except RecursionError as error:
        raise ValueError(f"JSON is nested too deeply: {text[:60]!r}") from error


def _refuse(number: int, error: ValueError, where: str, on_bad: OnBad | None) -> None:
    problem = _not_utf8(error) if isinstance(error, UnicodeDecodeError) else str(error)
    if on_bad is None:
        raise ValueError(f"{where}: {problem}") from error
    on_bad(number, problem)


def _read_jsonl(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    for number, line in _byte_lines(stream, name):
        if not line.strip():
            continue
        try:
            row = _object(_decode_json(line.decode().strip()))
        except ValueError as error:
            _refuse(number, error, f"{name}:{number}", on_bad)
            continue
        yield number, row


def _read_json(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    first = next((line for line in _lines(stream, name) if line.strip()), "")
    stream.seek(0)
    if first.lstrip().startswith("["):
        yield from _objects(_read_array(stream, name), name, on_bad)
        return
    try:
        one_line = DECODER.decode(first.strip())
    except json.JSONDecodeError:
        one_line = None
    if isinstance(one_line, dict) and not isinstance(one_line.get("data"), list):
        yield from _read_jsonl(stream, name, on_bad)
        return
    text = "".join(_lines(stream, name))
    try:
        whole = _object(_decode_json(text))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    yield from _objects(whole["data"] if isinstance(whole.get("data"), list) else [whole], name, on_bad)


def _objects(values: Iterable[object], name: str, on_bad: OnBad | None) -> Rows:
    for number, value in enumerate(values, start=1):
        try:
            row = _object(value)
        except ValueError as error:
            _refuse(number, error, f"{name}: record {number}", on_bad)
            continue
        yield number, row


def _read_array(stream: BinaryIO, name: str) -> Iterator[object]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    buffer, at, number, ended = "", 0, 0, False
    opened = False
    while True:
        at = _BETWEEN.match(buffer, at).end()  # type: ignore[union-attr]  # it matches the empty string too
        if not opened and buffer.startswith("[", at):
            at, opened = at + 1, True
            continue
        if opened and buffer.startswith("]", at):
            return
        try:
            value, at = DECODER.raw_decode(buffer, at)
        except json.JSONDecodeError as error:
            if ended:
                raise ValueError(f"{name}: record {number + 1}: invalid JSON ({error.msg})") from error
            # A record may end beyond what was read: reading as much again keeps the work linear.
            data = _read(stream, max(CHUNK, len(buffer) - at), f"{name}: after record {number}")
            try:
                more = decoder.decode(data, final=not data)
            except UnicodeDecodeError as bad:
                raise ValueError(f"{name}: after record {number}: the text is not UTF-8 ({bad.reason})") from bad
            buffer, at, ended = buffer[at:] + more, 0, not data
            continue
        number += 1
        yield value


def _delimiter(line: str) -> str:
    return max(DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))


def _read_csv(stream: BinaryIO, name: str, on_bad: OnBad | None) -> Rows:
    csv.field_size_limit(2**31 - 1)  # the module's 128 KiB are less than a long answer
    lines = _lines(stream, name)
    first = next(lines, "")
    reader = csv.reader(chain([first], lines), delimiter=_delimiter(first), strict=True)
    header: list[str] = []
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{name}:{number}: invalid CSV ({error})") from error
        if cells is None:
            return
        if not cells:
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header):
                raise ValueError(f"{name}:{number}: a column name occurs twice in {header}")
            continue
        if len(cells) != len(header):
            ragged = ValueError(f"the row has {len(cells)} cells, the header names {len(header)} columns")
            _refuse(number, ragged, f"{name}:{number}", on_bad)
            continue
        yield number, dict(zip(header, cells, strict=True))


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
