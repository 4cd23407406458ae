"""The images that a text shows as markdown: found as the page will find them, and their addresses changed.

What stands in code is no image and stays; so does whatever the parser of the page does not show as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token

CODE = re.compile(
    r"^ {0,3}(```+|~~~+)[^\n]*\n.*?(?:^ {0,3}\1[`~]*[ \t]*$|\Z)|(?<![\\`])(`+)(?!`).+?(?<!`)\2(?!`)",
    re.DOTALL | re.MULTILINE,
)
# `![alt](address "title")`; the address in angle brackets may hold blanks.
IMAGE = re.compile(
    r"((?<!\\)!\[(?:\\.|[^\[\]\\]|\[[^\[\]]*\])*\]\(\s*)(<[^<>\n]*>|[^\s<>()]+(?:\([^\s()]*\)[^\s()]*)*)(?=[\s)])"
)
Rename = Callable[[str], str]


def replace_images(text: str, rename: Rename) -> str:
    """The text with the addresses of its images changed by `rename`; all else stays letter by letter."""
    if "data:image/" in text:  # long, so that they are gone before the parser reads the text
        text = _outside_code(text, lambda address: rename(address) if address.startswith("data:image/") else address)
    shown = {unquote(address) for address in image_addresses(text)}
    return _outside_code(text, lambda address: rename(address) if unquote(address) in shown else address)


def _outside_code(text: str, rename: Rename) -> str:
    def changed(found: re.Match[str]) -> str:
        address = found[2][1:-1] if found[2].startswith("<") else found[2]
        renamed = rename(address)
        return found[0] if renamed == address else found[1] + renamed

    pieces, at = [], 0
    for code in CODE.finditer(text):
        pieces += [IMAGE.sub(changed, text[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*pieces, IMAGE.sub(changed, text[at:])])


def image_addresses(text: str) -> list[str]:
    """The addresses of the images that markdown shows, in order."""
    return [str(token.attrs.get("src", "")) for token in _walk(_parser().parse(text)) if token.type == "image"]


def _walk(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _walk(token.children or [])


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("reference")
