"""Metadata taken out of image files: where and with what a picture was made, comments; the picture stays bit by bit.

Only the containers are read here, block by block. A file whose blocks end too early is left as it is from there on:
whether it is an image at all is told elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator

KEPT_CHUNKS = frozenset(
    [
        *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"sBIT", b"bKGD", b"pHYs"),
        *(b"acTL", b"fcTL", b"fdAT", b"cICP"),  # of animations, and of colours beyond the screen's
    ]
)
WEBP_METADATA = {b"EXIF": 0x08, b"XMP ": 0x04}  # chunk, and its bit in the flags of VP8X


def without_metadata(data: bytes, kind: str) -> bytes:
    """The file without its metadata; of a file without any, the same bytes."""
    match kind:
        case "PNG":
            return data[:8] + b"".join(_png_chunks(data))
        case "JPEG":
            return b"".join(_jpeg_segments(data))
        case "WEBP":
            return _webp(data)
        case "GIF":
            return b"".join(_gif_blocks(data))
        case _:
            raise ValueError(f"kind is {kind!r}, allowed are PNG, JPEG, WEBP and GIF")


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The chunks that draw, up to the last one: what hides behind the end goes."""
    at = 8
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind in KEPT_CHUNKS:
            yield data[at:end]
        at = end
        if kind == b"IEND":
            return


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """All segments but comments and those of applications, of which JFIF, colour profiles and Adobe's colours stay."""
    yield data[:2]
    at = 2
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF:
            break
        if marker == 0xFF:  # a filling byte
            at += 1
            continue
        if marker == 0xDA:  # the picture itself; it ends the headers
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : end]
        is_profile = marker == 0xE2 and body.startswith(b"ICC_PROFILE\0")
        if not (marker == 0xFE or 0xE0 <= marker <= 0xEF) or is_profile or marker in (0xE0, 0xEE):
            yield data[at:end]
        at = end
    last = data.rfind(b"\xff\xd9")
    yield data[at : last + 2] if last > at else data[at:]


def _webp(data: bytes) -> bytes:
    pieces, at, cleared = [], 12, 0
    chunks: list[tuple[bytes, bytes]] = []
    while at + 8 <= len(data):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        if kind in WEBP_METADATA:
            cleared |= WEBP_METADATA[kind]
        else:
            chunks.append((kind, data[at:end]))
        at = end
    for kind, chunk in chunks:
        if kind == b"VP8X" and cleared:
            chunk = chunk[:8] + bytes([chunk[8] & ~cleared]) + chunk[9:]
        pieces.append(chunk)
    body = b"WEBP" + b"".join(pieces)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _gif_blocks(data: bytes) -> Iterator[bytes]:
    """All blocks but comments and those of applications, of which the one that repeats an animation stays."""
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    yield data[:at]
    while at < len(data):
        start, kind = at, data[at]
        if kind == 0x3B:
            break
        if kind == 0x2C and at + 11 <= len(data):  # a frame: its header, its colours, the size of its codes
            flags = data[at + 9]
            at += 10 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0) + 1
        elif kind == 0x21:
            at += 2
        else:
            break
        while at < len(data) and data[at]:
            at += data[at] + 1
        at += 1
        label, name = data[start + 1 : start + 2], data[start + 3 : start + 14]
        is_comment = kind == 0x21 and (label == b"\xfe" or (label == b"\xff" and name != b"NETSCAPE2.0"))
        if not is_comment:
            yield data[start:at]
    yield b"\x3b"
