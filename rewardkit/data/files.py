"""Reading rows from files: JSONL, JSON, CSV and Parquet, plain or gzipped, a row at a time.

What the rows mean is not known here (see `rewardkit.data.comparison_rows`), and they are written by
`rewardkit.data.writing`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain
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
    found = format or detect_format(source)
    with open_bytes(source) as stream:
        match found:
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
    said = _not_utf8(error) if isinstance(error, UnicodeDecodeError) else str(error)
    if on_bad is None:
        raise ValueError(f"{where}: {said}") from error
    on_bad(number, said)


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
