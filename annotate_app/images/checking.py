"""What is taken as an image: told by its bytes and not by its name, bounded in bytes and pixels, without metadata.

PNG, JPEG, GIF and WebP. No SVG: it is a program that draws. The size in pixels is read from the header and checked
before anything is unpacked, so that a small file that unpacks to gigabytes is refused for a few bytes' work.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass

from annotate_app.images.metadata import without_metadata
from annotate_app.images.references import EXTENSIONS, Reference

MOST_BYTES = 10 * 2**20
MOST_PIXELS = 40_000_000
ORIENTATION = 0x0112  # the tag that says how a camera was held
MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}
ALLOWED = f"PNG, JPEG, GIF and WebP of at most {MOST_BYTES >> 20} MiB and {MOST_PIXELS // 10**6} million pixels"


@dataclass(frozen=True, kw_only=True)
class CheckedImage:
    """An image as it is stored and served.

    Attributes:
        data: the bytes, without metadata (EXIF, place, comments).
        name: of the file it came as.
        content_hash: SHA-256 of `data`.
    """

    data: bytes
    name: str
    content_hash: str
    media_type: str
    width: int
    height: int

    @property
    def reference(self) -> Reference:
        """How texts name it."""
        return Reference(content_hash=self.content_hash, width=self.width, height=self.height)

    @property
    def file_name(self) -> str:
        """A name of its own among files."""
        return f"{self.content_hash}.{EXTENSIONS[self.media_type]}"


class ImageError(ValueError):
    """Bytes that are not taken as an image; says why, and what is taken."""


def check_image(data: bytes, name: str) -> CheckedImage:
    """Checks bytes as an image and takes its metadata away; one that its metadata turns is turned.

    Raises:
        ImageError: if it is no image of a kind that is taken, damaged, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    if len(data) > MOST_BYTES:
        raise ImageError(f"it has {len(data):,} bytes, allowed are {ALLOWED}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a size that is checked below, and of odd metadata
        try:
            with Image.open(io.BytesIO(data), formats=tuple(MEDIA_TYPES)) as image:
                kind, (width, height) = str(image.format), image.size
                if width * height > MOST_PIXELS:
                    raise ImageError(f"it has {width} x {height} pixels, allowed are {ALLOWED}")
                image.load()
                if image.getexif().get(ORIENTATION, 1) != 1 and getattr(image, "n_frames", 1) == 1:
                    turned = ImageOps.exif_transpose(image)
                    data, (width, height) = _encoded(turned, kind, image.info), turned.size
        except Image.DecompressionBombError as error:
            raise ImageError(f"it unpacks to too many pixels, allowed are {ALLOWED}") from error
        except UnidentifiedImageError as error:
            raise ImageError(f"its bytes are no image, allowed are {ALLOWED}") from error
        except ImageError:
            raise
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, MemoryError) as error:
            raise ImageError(f"it is damaged ({str(error)[:80]}), allowed are {ALLOWED}") from error
    clean = without_metadata(data, kind)
    return CheckedImage(
        data=clean,
        name=name[-200:],
        content_hash=hashlib.sha256(clean).hexdigest(),
        media_type=MEDIA_TYPES[kind],
        width=width,
        height=height,
    )


def _encoded(image, kind: str, info: dict) -> bytes:  # noqa: ANN001 (Pillow is imported when asked for)
    target = io.BytesIO()
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    image.save(target, kind, icc_profile=info.get("icc_profile"), **options)
    return target.getvalue()
