"""How a text names an image: markdown whose address is the hash of the bytes and the size, `image:HASH?640x480`.

The size stands in the name, so that a page keeps the place of an image free before it has come, and whoever shows a
text need not ask where its images are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

REFERENCE = re.compile(r"image:(?P<hash>[0-9a-f]{64})(?:\?(?P<width>[1-9]\d{0,5})x(?P<height>[1-9]\d{0,5}))?")
SPECIAL = re.compile(r"([\\\[\]`*_<&!$~|])")  # in the description of a markdown image
SHOWN = re.compile(rf"!\[([^\[\]]*)\]\({REFERENCE.pattern}[^()]*\)")
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The name of an image in a text; without a size it is 0."""

    content_hash: str
    width: int = 0
    height: int = 0

    @classmethod
    def read(cls, address: str) -> Reference | None:
        """Reads the address of a markdown image; None where it names no image of ours."""
        found = REFERENCE.fullmatch(address)
        if found is None:
            return None
        return cls(content_hash=found["hash"], width=int(found["width"] or 0), height=int(found["height"] or 0))

    def __str__(self) -> str:
        size = f"?{self.width}x{self.height}" if self.width and self.height else ""
        return f"image:{self.content_hash}{size}"


def without_addresses(text: str) -> str:
    """A text in which an image of ours is its description in brackets: for one line of it, not to be looked at."""
    return SHOWN.sub(lambda found: f"[image {found[1]}]".replace(" ]", "]"), text)


def is_remote(address: str) -> bool:
    """Whether an address lies on another host, or is of a scheme that names no file: it is never fetched."""
    return address.startswith("//") or re.match(r"(?!image:|data:)[A-Za-z][A-Za-z0-9+.-]+:", address) is not None


def markdown_image(label: str, address: str) -> str:
    """An image in markdown, whatever its description holds."""
    words = SPECIAL.sub(r"\\\1", " ".join(label.split()))
    return f"![{words}]({address})"
