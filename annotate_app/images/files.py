"""The image files that come beside a table: a folder, a zip, or single files, found by the names that rows use.

Nothing is unpacked and no path of a row is opened: a name is looked up among the files that are there. A name is a
path within the folder or zip, or the last part of one where only one file has it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO
from urllib.parse import unquote

from annotate_app.images.checking import MOST_BYTES, ImageError

FileSource = str | Path | BinaryIO
SUFFIXES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
MOST_FILES = 200_000
_READING = (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError)


class ImageFiles:
    """Files by name; open while the block lasts.

    Raises:
        ValueError: naming the folder or zip, if it cannot be read or has no image.
    """

    def __init__(self, sources: Iterable[FileSource]) -> None:
        self._readers: dict[str, Callable[[], bytes]] = {}
        self._by_last_name: dict[str, list[str]] = {}
        self._opened = ExitStack()
        try:
            for source in sources:
                self._list(source)
        except BaseException:
            self._opened.close()
            raise

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def __len__(self) -> int:
        return len(self._readers)

    def names(self) -> list[str]:
        """The path of every file."""
        return list(self._readers)

    def read(self, name: str) -> bytes | None:
        """The bytes of the file that a row means; None where there is none.

        Raises:
            ImageError: if several files have the name, or the file is too large or cannot be read.
        """
        path = _plain(name)
        if path not in self._readers:
            paths = self._by_last_name.get(PurePosixPath(path).name, [])
            if len(paths) > 1:
                raise ImageError(
                    f"{len(paths)} files have this name, allowed is the path of one: {', '.join(paths[:3])}"
                )
            if not paths:
                return None
            path = paths[0]
        try:
            return self._readers[path]()
        except _READING as error:
            raise ImageError(f"the file {path} cannot be read: {str(error)[:80]}") from error

    def _list(self, source: FileSource) -> None:
        name = str(source) if isinstance(source, str | Path) else str(getattr(source, "name", "upload"))
        if isinstance(source, str | Path) and Path(source).is_dir():
            self._list_folder(Path(source))
        elif name.lower().endswith(".zip"):
            self._list_zip(source, name)
        elif isinstance(source, str | Path):
            if not Path(source).is_file():
                raise ValueError(f"{source}: there is no such folder, zip or image")
            self._add(Path(source).name, partial(_read_file, Path(source)))
        else:
            self._add(Path(name).name, partial(_read_stream, source))

    def _list_folder(self, folder: Path) -> None:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        inside = [path for path in paths if path.is_file() and path.resolve().is_relative_to(folder.resolve())]
        if not inside:
            raise ValueError(f"{folder}: the folder has no image, allowed are files named {', '.join(SUFFIXES)}")
        for path in inside:
            self._add(path.relative_to(folder).as_posix(), partial(_read_file, path))

    def _list_zip(self, source: FileSource, name: str) -> None:
        try:
            packed = self._opened.enter_context(zipfile.ZipFile(source))  # pyright: ignore[reportArgumentType]
        except (*_READING, FileNotFoundError) as error:
            raise ValueError(f"{name}: the zip cannot be read: {error}") from error
        members = [item for item in packed.infolist() if item.filename.lower().endswith(SUFFIXES)]
        members = [item for item in members if not PurePosixPath(item.filename).name.startswith("._")]
        if not members:
            raise ValueError(f"{name}: the zip has no image, allowed are files named {', '.join(SUFFIXES)}")
        for item in members:
            self._add(item.filename, partial(_read_member, packed, item))

    def _add(self, path: str, read: Callable[[], bytes]) -> None:
        path = _plain(path)
        if len(self._readers) >= MOST_FILES:
            raise ValueError(f"more than {MOST_FILES:,} images came with the file")
        if path not in self._readers:
            self._by_last_name.setdefault(PurePosixPath(path).name, []).append(path)
        self._readers[path] = read


def _plain(name: str) -> str:
    """A path as it is looked up: without `./` before it, blanks around it, or backslashes."""
    parts = PurePosixPath(unquote(name.strip()).replace("\\", "/")).parts
    return "/".join(part for part in parts if part not in (".", "..", "/"))


def _too_large(size: int) -> None:
    if size > MOST_BYTES:
        raise ImageError(f"it has {size:,} bytes, allowed are {MOST_BYTES:,}")


def _read_file(path: Path) -> bytes:
    _too_large(path.stat().st_size)
    return path.read_bytes()


def _read_stream(stream: BinaryIO) -> bytes:
    stream.seek(0)
    data = stream.read(MOST_BYTES + 1)
    _too_large(len(data))
    return data


def _read_member(packed: zipfile.ZipFile, item: zipfile.ZipInfo) -> bytes:
    _too_large(item.file_size)
    with packed.open(item) as member:  # what the zip says of a size need not be so
        data = member.read(MOST_BYTES + 1)
    _too_large(len(data))
    return data
