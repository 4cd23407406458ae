"""Where the words of a rendered text stand in the text as written, so that marks are the same in either view.

The markdown parser is run a second time with its positions kept, and what it found is walked in step with the rendered
text: every character that is no blank is either aligned with its own character, or part of a unit (a formula, an
entity, an escaped sign, an image) that is aligned as a whole. Where the two cannot be walked in step, what is left of a
block is one unit: a mark there grows to all of it and never slips.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any

from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from annotate_app.labeling.rendering import FENCE, MARKDOWN, Rendered, render, sanitise
from rewardkit.data.conversations import SPEAKER, turn_parts
from rewardkit.data.records import Message

BREAKS = re.compile(r"\r\n?|\n")
TEXTS_KEPT = 512
Segment = tuple[int, int, int, int, int]
"""Start and length in the rendered text, start and length in the text as written, 1 for a unit; in code points."""


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A piece of rendered text and its range in the source; not `exact` is a unit."""

    text: str
    start: int
    end: int
    exact: bool


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a completion: where its text stands in that of the completion, how it is rendered, and its segments."""

    text: str
    origin: int
    shown: str
    segments: Sequence[Segment]


def find_places(rendered: Rendered, text: str, turns: Sequence[Message] = ()) -> dict[str, object]:
    """The places of a completion's words for the browser.

    Args:
        rendered: the completion as it is shown.
        text: the completion as written, in which marks have their offsets.
        turns: of a completion that is more than a text.

    Returns:
        `segments` of the rendered text and its `length` (the browser aligns nothing where its own text has another
        one), and the segments of the unrendered text where that is not the completion's own, else None.
    """
    parts = list(_parts(text, turns))
    shown = text_of(rendered.html)
    unrendered = None
    if rendered.raw != text.encode("utf-8", "replace").decode()[: len(rendered.raw)]:
        found = _locate([part.text for part in parts], rendered.raw)
        unrendered = sorted(
            (at, len(part.text), part.origin, len(part.text), 0)
            for part, at in zip(parts, found, strict=True)
            if at is not None
        )
    segments = sorted(
        (first + at, num, part.origin + start, size, unit)
        for part, first in zip(parts, _locate([part.shown for part in parts], shown), strict=True)
        if first is not None
        for at, num, start, size, unit in part.segments
    )
    return {"segments": segments, "length": len(shown), "unrendered": unrendered}


def _parts(text: str, turns: Sequence[Message]) -> Iterator[_Part]:
    """The parts of a completion, with their places in its transcript (`rewardkit.data.conversations.transcript`)."""
    if not turns:
        yield _Part(text, 0, *_places_of(text))
        return
    at = 0
    for number, turn in enumerate(turns):
        at += 2 if number else 0
        at += len(f"{SPEAKER[turn.role]}:\n") if len(turns) > 1 else 0
        for position, (label, said, kind) in enumerate(turn_parts(turn)):
            at += 2 if position else 0
            block = f"[{label}]\n{said}".rstrip() if label else said
            origin = at + (len(f"[{label}]\n") if label else 0)
            at += len(block)
            if not said.strip() or not text.startswith(said.rstrip() if label else said, origin):
                continue
            fence = f"{FENCE}json\n" if kind == "json" else ""
            shown, segments = _places_of(f"{fence}{said}\n{FENCE}" if fence else said)
            moved = [(first, num, start - len(fence), size, unit) for first, num, start, size, unit in segments]
            yield _Part(said.rstrip() if label else said, origin, shown, moved)


def _locate(needles: Sequence[str], text: str) -> list[int | None]:
    """Where each text stands in another; None where it might be any of several places, so that nothing slips."""
    places: list[int | None] = []
    last: dict[str, int] = {}
    for needle in needles:
        if not needle or text.count(needle) != needles.count(needle):
            places.append(None)
            continue
        last[needle] = text.index(needle, last.get(needle, 0))
        places.append(last[needle])
        last[needle] += len(needle)
    return places


def text_of(markup: str) -> str:
    """The text that a browser shows of sanitised HTML, without images and what the page itself says (`data-say`)."""
    reader = _TextReader()
    reader.feed(markup)
    reader.close()
    return "".join(reader.pieces)


class _TextReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._open: list[bool] = []  # of the elements around, whether it is left out

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("br", "hr", "img"):
            given = dict(attrs)
            ours = bool({"data-extra", "data-say"} & given.keys())
            self._open.append(ours or "image" in (given.get("class") or "").split())

    def handle_endtag(self, tag: str) -> None:
        if self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if not any(self._open):
            self.pieces.append(data)


@lru_cache(maxsize=TEXTS_KEPT)
def _places_of(text: str) -> tuple[str, tuple[Segment, ...]]:
    """The rendered text of markdown, and its segments."""
    shown = text_of(render(text).html)
    whole = text.encode("utf-8", "replace").decode()
    source, origins = _normalised(whole)
    segments = [
        (at, size, origins[leaf.start], origins[leaf.end] - origins[leaf.start], 0 if leaf.exact else 1)
        for at, size, leaf in _walk(shown, list(_leaves(source)), len(source))
    ]
    return shown, tuple(segments)


def _normalised(text: str) -> tuple[str, Sequence[int]]:
    """The text as the parser sees it, and the position in the text of each of its positions."""
    if "\r" not in text:
        return text.replace("\0", "\ufffd"), range(len(text) + 1)
    origins, at = [], 0
    for found in BREAKS.finditer(text):
        origins += range(at, found.start() + 1)
        at = found.end()
    return BREAKS.sub("\n", text).replace("\0", "\ufffd"), [*origins, *range(at, len(text) + 1)]


def _walk(shown: str, leaves: Sequence[_Leaf], length: int) -> Iterator[tuple[int, int, _Leaf]]:
    """Each leaf with its place in the rendered text; between them stand only blanks."""
    at = 0
    for leaf in leaves:
        start = at
        while not shown.startswith(leaf.text, start) and start < len(shown) and shown[start].isspace():
            start += 1
        if not shown.startswith(leaf.text, start):
            rest = shown[at:].strip()
            first = shown.index(rest, at)
            if rest:
                yield first, len(rest), _Leaf(rest, min(leaf.start, length), length, False)
            return
        if leaf.text.strip():
            yield start, len(leaf.text), leaf
        at = start + len(leaf.text)


def _leaves(source: str) -> Iterator[_Leaf]:
    """What is shown of a source, in order."""
    starts = [0]
    for line in source.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    column, row = 0, -1
    for token in MARKDOWN.parse(source):
        first, last = token.map or (0, 0)
        begin, end = starts[first], max(starts[first], min(starts[last] - 1, len(source))) if token.map else 0
        match token.type:
            case "tr_open":
                column, row = -1, first
            case "th_open" | "td_open":
                column += 1
            case "inline" if row == first and column >= 0:
                yield from _inline(token, _cell_positions(source, begin, end, column, token.content), begin, end)
            case "inline":
                yield from _inline(token, _line_positions(source, starts, first, token.content), begin, end)
            case "fence" | "code_block":
                yield from _code(source, starts, first + (token.type == "fence"), token.content, begin, end)
            case "math_block":
                yield _Leaf(_shown(token), begin, end, False)
            case "table_close":
                row = -1
            case _:
                pass


def _shown(token: Token) -> str:
    """The text of a token that is rendered as a whole."""
    return text_of(sanitise(MARKDOWN.renderer.render([token], MARKDOWN.options, {})))


def _line_positions(source: str, starts: Sequence[int], first: int, content: str) -> list[int] | None:
    """The position of every character of a block's content, which is its lines without what stands before them.

    Each line of the content ends its line of the source, but for blanks and the closing signs of a heading.
    """
    positions: list[int] = []
    lines = content.split("\n")
    for number, line in enumerate(lines, start=first):
        if number + 1 >= len(starts):
            return None
        begin, end = starts[number], starts[number + 1] - 1
        written = source[begin:end]
        bare = line.lstrip(" \t")
        if not written.endswith(bare):
            written = written.rstrip(" \t")
        if not written.endswith(bare):
            written = written.rstrip("#").rstrip(" \t")
        if not written.endswith(bare):
            return None
        start = begin + len(written) - len(bare)
        positions += [max(begin, start - len(line) + len(bare) + offset) for offset in range(len(line) - len(bare))]
        positions += range(start, start + len(bare))
        positions.append(end)  # of the break
    return positions


def _cell_positions(source: str, begin: int, end: int, column: int, content: str) -> list[int] | None:
    """The same of the content of a table's cell: what stands between bars, bars behind a backslash being its own."""
    line = source[begin:end]
    for cells in (_cells(line, begin), _cells(line.lstrip(" \t>"), begin + len(line) - len(line.lstrip(" \t>")))):
        if cells and not "".join(sign for sign, _ in cells[0]).strip():
            cells = cells[1:]
        if column < len(cells):
            text = "".join(sign for sign, _ in cells[column])
            found = text.find(content)
            if found >= 0 and text.strip() == content.strip():
                positions = [position for _, position in cells[column]]
                return [*positions[found : found + len(content)], *([positions[-1] + 1] if positions else [end])]
    return None


def _cells(line: str, begin: int) -> list[list[tuple[str, int]]]:
    cells: list[list[tuple[str, int]]] = [[]]
    escaped = False
    for offset, sign in enumerate(line):
        if sign == "|" and not escaped:
            cells.append([])
        else:
            if sign == "|":
                cells[-1].pop()
            cells[-1].append((sign, begin + offset))
        escaped = sign == "\\"
    return cells


def _code(source: str, starts: Sequence[int], first: int, content: str, begin: int, end: int) -> Iterator[_Leaf]:
    """Lines of code, each the end of its line of the source but for what indents it."""
    leaves = []
    for number, line in enumerate(content.split("\n"), start=first):
        bare = line.strip(" \t")
        if not bare:
            continue
        at = source.rfind(bare, starts[number], starts[number + 1] - 1) if number + 1 < len(starts) else -1
        if at < 0 or source[at + len(bare) : starts[number + 1] - 1].strip():
            yield _Leaf(content.strip("\n"), begin, end, False)
            return
        leaves.append(_Leaf(bare, at, at + len(bare), True))
    yield from leaves


class _Tracked(StateInline):
    """Keeps for each token where it begins."""

    def __init__(self, src: str) -> None:
        super().__init__(src, MARKDOWN, {}, [])
        self.begin: dict[int, int] = {}
        self._first = 0

    def append_pending(self, text: str) -> None:
        if not self.pending:
            self._first = self.pos
        super().append_pending(text)

    def pushPending(self) -> Token:
        token = super().pushPending()
        self.begin[id(token)] = self._first
        return token

    def push(self, ttype: str, tag: str, nesting: Any) -> Token:
        token = super().push(ttype, tag, nesting)
        self.begin[id(token)] = self.pos
        return token


def _inline(token: Token, positions: Sequence[int] | None, begin: int, end: int) -> Iterator[_Leaf]:
    """The leaves of a paragraph, heading or cell; all of it is one where its lines are not found in the source."""
    state = _Tracked(token.content)
    MARKDOWN.inline.tokenize(state)
    tokens = list(state.tokens)
    begins = [state.begin[id(one)] for one in tokens]
    for number in range(1, len(tokens)):  # signs that may open or close emphasis come as tokens of one place
        before = tokens[number - 1]
        if tokens[number].type == "text" and before.type == "text" and begins[number] <= begins[number - 1]:
            begins[number] = begins[number - 1] + len(before.content)
    ends = [*begins, len(token.content)][1:]
    for rule in MARKDOWN.inline.ruler2.getRules(""):
        if rule.__name__ != "fragments_join":
            rule(state)
    pieces = [_piece(one, first, last, token.content) for one, first, last in zip(tokens, begins, ends, strict=True)]
    if positions is None:
        shown = "".join(text for text, _, _, _ in pieces)
        if shown.strip():
            yield _Leaf(shown, begin, end, False)
        return
    for text, first, last, exact in pieces:
        if not text.strip():
            continue
        is_straight = positions[last - 1] - positions[first] == last - 1 - first
        if exact and not is_straight and "\n" not in text:  # a bar behind a backslash, in a cell
            for offset, sign in enumerate(text):
                place = positions[first + offset]
                yield _Leaf(sign, place, place + 1, True)
        else:
            yield _Leaf(text, positions[first], positions[last - 1] + 1, exact and is_straight)


def _piece(token: Token, first: int, last: int, content: str) -> tuple[str, int, int, bool]:
    """What a token shows, the range of the content it comes from, and whether sign by sign."""
    text = token.content
    match token.type:
        case "text" | "text_special" if token.info in ("escape", "entity"):
            return text, first, first + len(token.markup), text == token.markup
        case "text" if content.startswith(text, first):
            return text, first, first + len(text), True
        case "text" if content.startswith(text, first + 1):  # an address in angle brackets
            return text, first + 1, first + 1 + len(text), True
        case "text":
            return text, first, last, False
        case "code_inline":
            at = first + len(token.markup)
            at += not content.startswith(text[:1], at) or (content[at] == " " and content[at : at + len(text)] != text)
            written = content[at : at + len(text)].replace("\n", " ")
            return (text, at, at + len(text), True) if written == text else (text, first, last, False)
        case "softbreak" | "hardbreak":
            return "\n", first, last, False
        case _ if token.nesting == 0:
            return _shown(token), first, last, False
        case _:
            return "", first, first, False
