"""Lines of a stream, with bounds: on a line, and on what a small archive may unpack to."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO

BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
BROKEN_GZIP = (EOFError, gzip.BadGzipFile, zlib.error)
CHUNK = 1 << 20
LONGEST_ROW = 32 * 2**20  # bytes of one line or record: longer than any conversation, shorter than what fills memory
MOST_UNPACKED = 64 * 2**20  # bytes from an archive that is more than MOST_RATIO times smaller
MOST_RATIO = 100  # texts of people and models pack to a third up to a twentieth


class Unpacked(gzip.GzipFile):
    """A gzip stream that does not unpack without end."""

    def __init__(self, raw: BinaryIO, name: str) -> None:
        super().__init__(fileobj=raw)
        self._called, at = name, raw.tell()
        raw.seek(0, os.SEEK_END)
        self._packed_size = raw.tell()
        raw.seek(at)

    def _within(self, data: bytes) -> bytes:
        check_unpacked(self.tell(), self._packed_size, self._called)
        return data

    def read(self, size: int | None = -1) -> bytes:
        """As of any stream; everything at once only as far as the bound allows."""
        if size is not None and size >= 0:
            return self._within(super().read(size))
        pieces = []
        while piece := self._within(super().read(CHUNK)):
            pieces.append(piece)
        return b"".join(pieces)


def check_unpacked(size: int, packed_size: int, name: str) -> None:
    """Refuses an archive that unpacks to much more than texts do.

    Raises:
        ValueError: naming the file.
    """
    if size > max(MOST_UNPACKED, MOST_RATIO * packed_size):
        bounds = f"{MOST_UNPACKED >> 20} MiB and than {MOST_RATIO} times its {packed_size:,} bytes"
        raise ValueError(f"{name}: the archive unpacks to more than {bounds}, which no texts do")


def read_bytes(stream: BinaryIO, size: int, name: str) -> bytes:
    """Up to `size` bytes.

    Raises:
        ValueError: naming the file, if its gzip data is damaged.
    """
    try:
        return stream.read(size)
    except BROKEN_GZIP as error:
        raise ValueError(f"{name}: the gzip data is truncated or damaged ({error})") from error


def byte_lines(stream: BinaryIO, name: str, *, ends: bytes = b"\n") -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers from 1, their ends on them, the first without its byte order mark.

    Args:
        ends: what ends a line: a line feed, or a carriage return (of old spreadsheets), with a line feed or alone.

    Raises:
        ValueError: naming the file and line, if it is too long, the text is UTF-16 or its gzip data damaged.
    """
    number, rest, ended = 0, b"", False
    while not ended:
        data = read_bytes(stream, CHUNK, f"{name}:{number + 1}")
        ended = not data
        lines = (rest + data).split(ends)
        rest = lines.pop()
        for line in [line + ends for line in lines] + ([rest] if ended and rest else []):
            number += 1
            yield number, _checked_line(line, number, name)
        if len(rest) > LONGEST_ROW:
            raise ValueError(f"{name}:{number + 1}: the line is longer than {LONGEST_ROW >> 20} MiB")


def _checked_line(line: bytes, number: int, name: str) -> bytes:
    if len(line) > LONGEST_ROW:
        raise ValueError(f"{name}:{number}: the line is longer than {LONGEST_ROW >> 20} MiB")
    if number > 1:
        return line
    if line.startswith(UTF16) or line[:64].count(b"\0") > len(line[:64]) // 3:
        raise ValueError(f"{name}:1: the text is UTF-16, allowed is UTF-8")
    return line.removeprefix(BOM)


def text_lines(stream: BinaryIO, name: str, *, ends: bytes = b"\n") -> Iterator[str]:
    """The lines as texts.

    Raises:
        ValueError: as `byte_lines`, and for a line that is not UTF-8.
    """
    for number, line in byte_lines(stream, name, ends=ends):
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}:{number}: {not_utf8(error)}") from error


def not_utf8(error: UnicodeDecodeError) -> str:
    """For people: which byte is wrong."""
    return f"byte 0x{error.object[error.start]:02x} at {error.start} of the line is not UTF-8"
