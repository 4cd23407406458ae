"""Images in the rows of a file, taken out and named: afterwards a row holds texts alone.

They stand in rows as markdown (`![alt](name.png)`), as parts of a content (OpenAI's `image_url`, Anthropic's `image`,
TRL's `image`), beside the text of a turn (`images`), and in columns of their own (the Image feature of `datasets`:
bytes and a path). Each becomes markdown that names the image by its hash; one of another host stays as it is, and is
never fetched. Of a column of images those go to the places that the prompt keeps for them (`<image>`, parts without a
source), all others before the text of its last turn.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, unquote_to_bytes

from annotate_app.images.checking import MOST_BYTES, CheckedImage, ImageError, check_image
from annotate_app.images.files import SUFFIXES, ImageFiles
from annotate_app.images.markdown import image_addresses, replace_images
from annotate_app.images.references import Reference, is_remote, markdown_image
from rewardkit.data.conversations import RowError, decode_list, is_messages, is_turn

TEXT_FIELDS = ("prompt", "history", "input", "system", "responses", "response_a", "response_b", "chosen", "rejected")
IMAGE_COLUMNS = ("image", "images", "img", "picture", "pictures", "photo")
PARTS = ("image_url", "input_image", "image")
PLACE = "<image>"
BARE_BASE64 = re.compile(r"[A-Za-z0-9+/\s]{200,}={0,2}\s*")
MOST_BASE64 = MOST_BYTES * 4 // 3 + 1024
Missing = Literal["stop", "keep"]


@dataclass
class RowImages:
    """Takes the images out of rows.

    Attributes:
        files: that came beside the table.
        folder: where images wait until they are stored; None only names them.
        missing: whether a name without a file makes its row bad, or stays as text.
        known: hashes of images that the project has.
        names: of images that no file has, and how often.
        checked: those that were found, by hash.
    """

    files: ImageFiles
    folder: Path | None = None
    missing: Missing = "stop"
    known: Collection[str] = ()
    names: Counter[str] = field(default_factory=Counter)
    checked: dict[str, CheckedImage] = field(default_factory=dict)
    _by_name: dict[str, Reference] = field(default_factory=dict)

    def images(self) -> Iterator[CheckedImage]:
        """Those that were found, their bytes read back one at a time."""
        for one in self.checked.values():
            yield one if self.folder is None else replace(one, data=(self.folder / one.content_hash).read_bytes())

    def take(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
        """A row without images, its texts naming them.

        Args:
            row: of a file.
            columns: by field of `rewardkit.data.columns.FIELDS`, its column.

        Raises:
            RowError: bad_image or missing_image, naming the column and the image.
        """
        texts = {columns[name].partition(".")[0] for name in TEXT_FIELDS if name in columns}
        texts |= {columns[name] for name in TEXT_FIELDS if name in columns}
        beside = [name for name in row if name not in texts and _holds_images(name, row[name])]
        marks = [mark for name in beside for mark in self._marks(row[name], name)]
        written = {name: value for name, value in row.items() if name not in beside}
        prompt = columns.get("prompt", "prompt")
        for name in written:
            if name in texts:
                written[name] = self._walk(written[name], name, marks if name == prompt else [])
        if marks:
            if prompt not in written:
                raise RowError("bad_image", beside[0], f"{len(marks)} images", "a prompt is needed that shows them")
            written[prompt] = _before_last_turn(written[prompt], marks)
        return written

    def _marks(self, value: Any, column: str) -> list[str]:
        items = value if isinstance(value, list | tuple) else [value]
        return [self._mark(item, column, "") for item in items if item not in (None, "")]

    def _mark(self, source: Any, column: str, label: str) -> str:
        """The markdown of an image: from bytes, a data URL, a file's name, or an address elsewhere."""
        if isinstance(source, Mapping):
            if isinstance(source.get("bytes"), bytes | bytearray):
                name = str(source.get("path") or "")
                return markdown_image(label, str(self._check(bytes(source["bytes"]), name or "bytes", column)))
            source = source.get("url") or source.get("path") or ""
        if isinstance(source, bytes | bytearray):
            return markdown_image(label, str(self._check(bytes(source), "bytes", column)))
        if not isinstance(source, str) or not source.strip():
            raise RowError("bad_image", column, source, "allowed are bytes, a data URL, a file's name or an address")
        address = self._address(source.strip(), column)
        return markdown_image(label, f"<{address}>" if re.search(r"[\s()]", address) else address)

    def _address(self, source: str, column: str) -> str:
        """How the text names an image that it names by `source` so far."""
        if is_remote(source):
            return source
        if reference := Reference.read(source):
            if reference.content_hash in self.known or reference.content_hash in self.checked:
                return source
            return self._lack(source, column)
        if source in self._by_name:
            return str(self._by_name[source])
        if source.startswith("data:"):
            return str(self._check(_data_url(source, column), "data URL", column))
        if len(source) > 200 and BARE_BASE64.fullmatch(source):
            return str(self._check(_decoded(source, column), "base64", column))
        try:
            data = self.files.read(source)
        except ImageError as error:
            raise RowError("bad_image", column, source, str(error)) from error
        if data is None:
            return self._lack(source, column)
        self._by_name[source] = self._check(data, source, column)
        return str(self._by_name[source])

    def _lack(self, source: str, column: str) -> str:
        """Counts a name without an image; it stays in the text where the import goes on."""
        self.names[unquote(source)] += 1
        if self.missing == "stop":
            where = "among the images that came with the file" if len(self.files) else "and no images came with it"
            raise RowError("missing_image", column, source, f"there is no such image {where}")
        return source

    def _check(self, data: bytes, name: str, column: str) -> Reference:
        try:
            image = check_image(data, name)
        except ImageError as error:
            raise RowError("bad_image", column, name, str(error)) from error
        if image.content_hash not in self.checked:
            self.checked[image.content_hash] = image if self.folder is None else _put_down(image, self.folder)
        return image.reference

    def _walk(self, value: Any, column: str, marks: list[str]) -> Any:
        """A value of a text column with every image in it named; `marks` fill the places kept for them."""
        match value:
            case str():
                return self._walk_text(value, column, marks)
            case Mapping() if _is_part(value):
                return self._walk_part(value, column, marks)
            case Mapping() if isinstance(value.get("bytes"), bytes | bytearray):
                return self._mark(value, column, "")
            case Mapping():
                return self._walk_mapping(value, column, marks)
            case list() | tuple():
                return [self._walk(item, f"{column}[{index}]", marks) for index, item in enumerate(value)]
            case _:
                return value

    def _walk_text(self, text: str, column: str, marks: list[str]) -> Any:
        if text.lstrip()[:1] in ("[", "{") and re.search("image|data:", text):  # turns as a cell of a table holds them
            turns = decode_list(text)
            if is_messages(turns) or is_turn(turns):
                return self._walk(turns, column, marks)
        if 0 < text.count(PLACE) <= len(marks):
            for _ in range(text.count(PLACE)):
                text = text.replace(PLACE, marks.pop(0), 1)
        if "![" not in text:
            return text
        text = replace_images(text, lambda address: self._address(address, column))
        for address in image_addresses(text):  # shown by the page, and spelled in a way that was not found above
            if Reference.read(address) is None and not is_remote(address) and unquote(address) not in self.names:
                self._address(unquote(address), column)
        return text

    def _walk_mapping(self, value: Mapping[str, Any], column: str, marks: list[str]) -> dict[str, Any]:
        walked = {
            name: self._walk(item, f"{column}.{name}", marks) if name not in ("image", "images") else item
            for name, item in value.items()
        }
        beside = [name for name in ("image", "images") if value.get(name) not in (None, "", [])]
        if not beside or not is_turn(value):
            return walked
        own = [mark for name in beside for mark in self._marks(value[name], f"{column}.{name}")]
        for name in beside:
            del walked[name]
        name = "content" if "content" in value else "value"
        walked[name] = _before(walked.get(name), own)
        return walked

    def _walk_part(self, part: Mapping[str, Any], column: str, marks: list[str]) -> dict[str, Any]:
        """A part of a content that is an image, as a part that is text."""
        source = _part_source(part)
        if source is not None:
            mark = self._mark(source, column, str(part.get("alt") or ""))
        elif marks:
            mark = marks.pop(0)
        else:
            raise RowError("missing_image", column, dict(part), "it names no image, and no column holds one for it")
        return {"type": "text", "text": mark if column.endswith("[0]") else f"\n{mark}"}


def _is_part(value: Mapping[str, Any]) -> bool:
    return value.get("type") in PARTS and "role" not in value


def _part_source(part: Mapping[str, Any]) -> Any:
    """What a part of a content says of its image: bytes, a URL, a name; None for a place that a column fills."""
    for name in ("image_url", "image", "source", "url", "path", "file_id"):
        source = part.get(name)
        if isinstance(source, Mapping) and name in ("image_url", "source"):
            if source.get("data"):
                return f"data:{source.get('media_type', 'image')};base64,{source['data']}"
            source = source.get("url") or source.get("file_id") or source.get("path")
        if source not in (None, ""):
            return source
    return None


def _holds_images(name: str, value: Any) -> bool:
    """Whether a column that is no text holds images."""
    first = next((item for item in value if item is not None), None) if isinstance(value, list | tuple) else value
    if isinstance(first, Mapping) and isinstance(first.get("bytes"), bytes | bytearray):
        return True
    if name.strip().lower() not in IMAGE_COLUMNS:
        return False
    if isinstance(first, Mapping):
        return set(first) <= {"bytes", "path"} and bool(first.get("path"))
    if isinstance(first, str):  # an address elsewhere, or words about an image, are no image
        text = first.strip()
        return text.startswith("data:image/") or (text.lower().endswith(SUFFIXES) and not is_remote(text))
    return isinstance(first, bytes | bytearray)


def _before(content: Any, marks: Sequence[str]) -> Any:
    """A content with images before it."""
    if isinstance(content, list):
        return [*({"type": "text", "text": mark} for mark in marks), *content]
    return "\n\n".join([*marks, *([str(content)] if content else [])])


def _before_last_turn(prompt: Any, marks: Sequence[str]) -> Any:
    """A prompt with images before the text of the last turn of the user."""
    turns = decode_list(prompt)
    turns = [turns] if is_turn(turns) else turns
    if not is_messages(turns):
        if isinstance(prompt, list) and prompt and all(isinstance(text, str) for text in prompt):
            return [_before(prompt[0], marks), *prompt[1:]]
        return _before(prompt, marks)
    written = [dict(turn) for turn in turns]  # type: ignore[union-attr]
    asked = [turn for turn in written if str(turn.get("role", turn.get("from"))).lower() in ("user", "human")]
    turn = (asked or written)[-1]
    name = "content" if "content" in turn else "value"
    turn[name] = _before(turn.get(name), marks)
    return written


def _data_url(url: str, column: str) -> bytes:
    head, comma, body = url.partition(",")
    if not comma or len(body) > MOST_BASE64:
        allowed = f"allowed is a data URL of at most {MOST_BYTES >> 20} MiB"
        raise RowError("bad_image", column, f"{url[:40]}…", allowed)
    return _decoded(body, column) if head.endswith(";base64") else unquote_to_bytes(body)


def _decoded(text: str, column: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RowError("bad_image", column, f"{text[:40]}…", f"it is no base64 ({error})") from error


def _put_down(image: CheckedImage, folder: Path) -> CheckedImage:
    """An image whose bytes wait in a folder."""
    (folder / image.content_hash).write_bytes(image.data)
    return replace(image, data=b"")


def count_names(names: Collection[str]) -> str:
    """Names of missing images in words: how many, and the first."""
    listed = ", ".join(sorted(names)[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names):,} {'image' if len(names) == 1 else 'images'} without a file: {listed}{more}"
