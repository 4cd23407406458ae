"""Docstrings as they stand in the code, made Markdown that says the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import griffe

ITEM = re.compile(r"(\d+\.|-) ")
EQUATION = re.compile(r"[A-Za-z]\w*(\([^)]*\))? = ")
SECTION = re.compile(r"(Args|Attributes|Returns|Raises|Yields|Note):$")
SHARED_ITEM = re.compile(r"    (\w+(?:, \w+)+): (.*)")


def to_markdown(text: str) -> str:
    """The same text, read by Markdown as people read it in the code.

    Lists get the blank line they need, lines of equations stay lines, `<`, `*` and `|` stay themselves, and an entry
    that documents several arguments at once becomes one for each. Blocks indented outside of sections are code.
    """
    lines: list[str] = []
    is_section = is_list = False
    for line in split_shared(text.splitlines()):
        before = lines[-1] if lines else ""
        if line and not line.startswith(" "):
            is_section = bool(SECTION.match(line))
            if is_list != bool(ITEM.match(line)) and before.strip():
                lines.append("")
            is_list = bool(ITEM.match(line))
        if not is_section and before.strip() and (EQUATION.match(line) or EQUATION.match(before)):
            lines[-1] = before.rstrip() + "  "  # a line break
        lines.append(escape(line) if is_section or not line.startswith("    ") else line)
    return "\n".join(lines)


def split_shared(lines: list[str]) -> Iterator[str]:
    """The lines with `    a, b: text` of a section as two entries of the same text."""
    number, is_section = 0, False
    while number < len(lines):
        line = lines[number]
        number += 1
        if line and not line.startswith(" "):
            is_section = bool(SECTION.match(line))
        shared = SHARED_ITEM.match(line) if is_section else None
        if not shared:
            yield line
            continue
        more = []
        while number < len(lines) and lines[number].startswith("     "):
            more.append(lines[number])
            number += 1
        for name in shared[1].split(", "):
            yield f"    {name}: {shared[2]}"
            yield from more


def escape(line: str) -> str:
    """The line with characters that are mathematics, not markup, escaped outside of backticks."""
    parts = line.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*").replace("|", "\\|") for part in parts[::2]]
    return "`".join(parts)


class PlainDocstrings(griffe.Extension):
    """Changes every docstring before it is parsed."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Is called once for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
