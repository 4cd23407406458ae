"""What is taken as an image, what of it is kept, and what is refused before it is unpacked."""

from __future__ import annotations

import io
import struct
import zlib

import pytest
from PIL import Image, PngImagePlugin

from annotate_app.images.checking import MOST_BYTES, ImageError, check_image


def drawn(kind: str, size: tuple[int, int] = (6, 4), **options: object) -> bytes:
    """An image file: red on the left, blue on the right."""
    image = Image.new("RGB", size, "red")
    image.paste((0, 0, 255), (size[0] // 2, 0, *size))
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def exif(orientation: int = 1) -> bytes:
    """Metadata that says where a picture was taken."""
    written = Image.Exif()
    written[0x010F] = "SECRET-CAMERA"
    written[0x0112] = orientation
    written.get_ifd(0x8825)[1] = "N"
    return written.tobytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_kind_is_told_by_the_bytes_and_the_picture_is_kept(kind):
    data = drawn(kind)
    image = check_image(data, "picture.txt")
    assert (image.media_type, image.width, image.height) == (f"image/{kind.lower()}", 6, 4)
    before, after = (Image.open(io.BytesIO(one)).convert("RGB").tobytes() for one in (data, image.data))
    assert before == after
    assert check_image(image.data, "again").content_hash == image.content_hash
    assert str(image.reference) == f"image:{image.content_hash}?6x4"


def test_metadata_goes_and_the_picture_does_not_change():
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", "SECRET-PLACE")
    files = {
        "JPEG": drawn("JPEG", exif=exif(), comment=b"SECRET-PLACE"),
        "PNG": drawn("PNG", exif=exif(), pnginfo=comment) + b"SECRET-PLACE behind the end",
        "WEBP": drawn("WEBP", exif=exif(), lossless=True),
        "GIF": drawn("GIF", comment=b"SECRET-PLACE"),
    }
    for kind, data in files.items():
        assert b"SECRET" in data, kind
        clean = check_image(data, "x").data
        assert b"SECRET" not in clean, kind
        opened = Image.open(io.BytesIO(clean))
        assert len(opened.getexif()) == 0
        assert opened.convert("RGB").tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()


def test_a_picture_that_its_metadata_turns_is_turned():
    image = check_image(drawn("JPEG", (60, 40), exif=exif(6)), "x")  # 6: to be turned by 90 degrees clockwise
    assert (image.width, image.height) == (40, 60)
    red, _, blue = Image.open(io.BytesIO(image.data)).convert("RGB").getpixel((20, 5))
    assert red > 200 > 60 > blue
    assert b"SECRET" not in image.data


def test_an_animation_keeps_its_frames():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "lime", "blue")]
    target = io.BytesIO()
    frames[0].save(target, "GIF", save_all=True, append_images=frames[1:], loop=0, comment=b"SECRET")
    clean = check_image(target.getvalue(), "x").data
    opened = Image.open(io.BytesIO(clean))
    assert (opened.n_frames, opened.info.get("loop"), b"SECRET" in clean) == (3, 0, False)


def bomb() -> bytes:
    """A PNG of a few bytes whose header says 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", "no image"),
        (b"", "no image"),
        (b"GIF89a", "damaged|no image"),
        (drawn("BMP"), "no image"),
        (drawn("PNG")[:48], "damaged"),
        (bomb(), "pixels"),
        (drawn("PNG", (8000, 5001)), "8000 x 5001 pixels"),
        (b"\x89PNG" + b"x" * MOST_BYTES, "bytes, allowed are"),
    ],
    ids=["svg", "empty", "header", "bmp", "cut", "bomb", "pixels", "bytes"],
)
def test_what_is_no_image_that_is_taken_is_refused_with_what_is(data, words):
    with pytest.raises(ImageError, match=words) as caught:
        check_image(data, "x")
    assert "PNG, JPEG, GIF and WebP of at most 10 MiB and 40 million pixels" in str(caught.value)
