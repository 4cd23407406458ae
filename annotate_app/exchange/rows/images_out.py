"""Images beside exported rows: `images/HASH.png`, and the texts of the rows naming these files.

A folder of rows has the folder `images` in it. A single file of rows has `FILE.images.zip` beside it, which unpacks to
that folder. Both are read back by `annotate-app import FILE --images FOLDER`.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.images.checking import CheckedImage
from annotate_app.images.references import EXTENSIONS, REFERENCE
from annotate_app.store.store import Store

IMAGES_SUFFIX = ".images.zip"
# Where a text shows an image of ours: behind the bracket that ends its description.
SHOWN = re.compile(rf"(?<=\]\(){REFERENCE.pattern}(?=[\s)])")


@dataclass
class RowImages:
    """Names the images in rows by their files, and keeps which they are.

    Attributes:
        types: media type by hash, of all images of the project.
        used: hashes of those that rows show.
    """

    types: Mapping[str, str]
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, store: Store, actor: Actor, project_id: int) -> RowImages:
        """For the rows of a project."""
        return cls(types=store.images.types(actor, project_id))

    def name(self, value: Any) -> Any:
        """A value of a row with its images named by their files."""
        if not self.types:
            return value
        match value:
            case str():
                return SHOWN.sub(self._file, value) if "](image:" in value else value
            case Mapping():
                return {key: self.name(item) for key, item in value.items()}
            case list() | tuple():
                return [self.name(item) for item in value]
            case _:
                return value

    def _file(self, found: re.Match[str]) -> str:
        content_hash = found["hash"]
        if content_hash not in self.types:
            return found[0]
        self.used.add(content_hash)
        return f"images/{content_hash}.{EXTENSIONS[self.types[content_hash]]}"

    def write(self, store: Store, actor: Actor, project_id: int, out: Path, folder: Path | None) -> list[Path]:
        """Writes the images that rows showed; the files.

        Args:
            out: the file of rows.
            folder: of rows, where they are files of a folder.
        """
        if not self.used:
            return []
        found = (store.images.get(actor, project_id, content_hash) for content_hash in sorted(self.used))
        images = (image for image in found if image is not None)
        if folder is not None:
            write_images(images, folder / "images")
            return sorted((folder / "images").glob("*"))
        target = out.with_name(f"{out.name.partition('.')[0]}{IMAGES_SUFFIX}")
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as packed:  # they hardly shrink
                for image in images:
                    packed.writestr(f"images/{image.file_name}", image.data)
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
        return [target]


def write_images(images: Iterable[CheckedImage], folder: Path) -> int:
    """Writes images to a folder by their hashes, one in memory at a time; their number."""
    num_images = 0
    for image in images:
        folder.mkdir(exist_ok=True)
        (folder / image.file_name).write_bytes(image.data)
        num_images += 1
    return num_images
