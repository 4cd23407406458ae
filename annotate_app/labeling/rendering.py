"""Text of people and models to HTML that can only be looked at: markdown, code, formulas; no script, no remote fetch.

Nothing is altered on the way: no smart quotes, no emoji shortcodes, no directives; raw HTML is shown as text, an image
as its address. What comes out has passed an allow-list (nh3) last, whatever the steps before it did.
"""

from __future__ import annotations

import hashlib
import html
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nh3
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from annotate_app.labeling.formulas import add_formulas
from rewardkit.data.conversations import SPEAKER, transcript, turn_parts
from rewardkit.data.records import Message

LONGEST_MARKDOWN = 50_000  # characters; longer texts are shown as written, without markdown
LONGEST_SHOWN = 2_000_000  # characters of one text that reach a page at all
LONGEST_HIGHLIGHTED = 20_000  # characters of one code block
DEEPEST = 60  # levels of nesting; deeper texts are shown as written, markdown-it would drop what lies below
CACHE_CHARACTERS = 32 * 2**20
FENCE = "`" * 40  # of a block of JSON: longer than any that a text will hold

MATHML_TAGS = frozenset(
    [
        "math",
        "mrow",
        "mi",
        "mo",
        "mn",
        "ms",
        "mtext",
        "mspace",
        "msup",
        "msub",
        "msubsup",
        "mfrac",
        "msqrt",
        "mroot",
        "mtable",
        "mtr",
        "mtd",
        "munderover",
        "munder",
        "mover",
        "mstyle",
        "mpadded",
        "mphantom",
        "menclose",
        "mmultiscripts",
        "mprescripts",
        "none",
    ]
)
TAGS = MATHML_TAGS | frozenset(
    [
        "p",
        "br",
        "hr",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "strong",
        "em",
        "s",
        "code",
        "pre",
        "blockquote",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "span",
    ]
)
ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "code": {"class"},
    "p": {"class"},
    "span": {"class"},
    "ol": {"start"},
    "math": {"display"},
    "mo": {"stretchy", "fence", "form", "separator", "lspace", "rspace", "movablelimits", "minsize", "maxsize"},
    "mi": {"mathvariant"},
    "mn": {"mathvariant"},
    "mtext": {"mathvariant"},
    "mspace": {"width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mfrac": {"linethickness"},
    "mover": {"accent"},
    "munder": {"accentunder"},
    "menclose": {"notation"},
    "mtable": {"columnalign", "rowspacing", "columnspacing"},
    "mtd": {"columnalign"},
}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A text made fit to be shown.

    Attributes:
        html: sanitised HTML; empty where the text is too long or too deep for markdown and is to be shown as written.
        raw: the text as written, cut at `LONGEST_SHOWN`.
        num_characters: of the whole text.
        digest: SHA-256 of the whole text, 16 hex digits: names what was shown.
    """

    html: str
    raw: str
    num_characters: int
    digest: str


def render(text: str) -> Rendered:
    """Markdown to sanitised HTML, remembered by content."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    whole = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be sent
    short = len(text) <= LONGEST_MARKDOWN
    return Rendered(
        html=_CACHE.get(digest, lambda: sanitise(_to_html(whole))) if short else "",
        raw=whole[:LONGEST_SHOWN],
        num_characters=len(text),
        digest=digest,
    )


def render_turn(message: Message) -> Rendered:
    """A turn with all that people are to see of it: its text, its thoughts, the tools it calls."""
    if not message.more:
        return render(message.content)
    return _whole(transcript([message]), _part_blocks(message))


def render_completion(text: str, turns: Sequence[Message]) -> Rendered:
    """A completion: a text, or the turns it consists of."""
    if not turns:
        return render(text)
    blocks = []
    for turn in turns:
        side = "user" if turn.role == "user" else "other"
        who = f'<div class="turn {side}"><span class="role">{SPEAKER[turn.role]}</span>'
        inner = _part_blocks(turn)
        blocks += [who, *inner, "</div>"] if all(inner) else [""]
    return _whole(text, blocks if len(turns) > 1 else _part_blocks(turns[0]))


def _part_blocks(message: Message) -> list[str]:
    """The parts of a turn as HTML, each with its name; an empty one is too long or too deep for markdown."""
    blocks = []
    for label, text, kind in turn_parts(message):
        if label:
            blocks.append(f'<p class="part">{html.escape(label)}</p>')
        if text.strip() and kind == "json":
            blocks.append(render(f"{FENCE}json\n{text}\n{FENCE}").html)
        elif text.strip():
            blocks.append(render(text).html)
    return blocks


def _whole(text: str, blocks: Sequence[str]) -> Rendered:
    written = render(text)
    return replace(written, html="".join(blocks) if written.html and all(blocks) else "")


def sanitise(markup: str) -> str:
    """The allow-list: what is not in it goes, links open elsewhere and say nothing of where they were clicked."""
    return nh3.clean(
        markup,
        tags=set(TAGS),
        attributes=ATTRIBUTES,
        attribute_filter=_filter_attribute,
        tag_attribute_values={
            "th": {"align": {"left", "center", "right"}},
            "td": {"align": {"left", "center", "right"}},
        },
        set_tag_attribute_values={"a": {"target": "_blank"}},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    """Only class names that we or Pygments give: those of a page's own stylesheet stay out of reach."""
    if name != "class":
        return value
    match tag:
        case "p":
            return value if value == "formula" else None
        case "code":
            return value if value == "formula" else None
        case "span":
            allowed = value in ("image", "image-address") or (len(value) <= 3 and value.isalnum())
            return value if allowed else None
        case _:
            return None


def _to_html(text: str) -> str:
    try:
        tokens = MARKDOWN.parse(text)
    except RecursionError:
        return ""
    if any(token.level >= DEEPEST - 2 for token in tokens):
        return ""
    return MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})


def _highlight(code: str, language: str, _attributes: str) -> str:
    if not language or len(code) > LONGEST_HIGHLIGHTED:
        return html.escape(code)
    try:
        return highlight(code, get_lexer_by_name(language, stripnl=False, ensurenl=False), _FORMATTER)
    except ClassNotFound:
        return html.escape(code)


def _render_image(_renderer: object, tokens: list[Any], index: int, *_: object) -> str:
    token = tokens[index]
    label = html.escape(token.content) or "no description"
    address = html.escape(str(token.attrs.get("src", "")))
    return f'<span class="image">Image, not loaded: {label} <span class="image-address">{address}</span></span>'


def _render_link(renderer: Any, tokens: list[Any], index: int, options: Mapping[str, Any], env: object) -> str:
    tokens[index].attrs["title"] = tokens[index].attrs.get("href", "")  # where it goes, whatever its words say
    return renderer.renderToken(tokens, index, options, env)


def _render_cell(renderer: Any, tokens: list[Any], index: int, options: Mapping[str, Any], env: object) -> str:
    style = tokens[index].attrs.pop("style", "")
    if style.startswith("text-align:"):
        tokens[index].attrs["align"] = style.removeprefix("text-align:")
    return renderer.renderToken(tokens, index, options, env)


def _build_markdown() -> MarkdownIt:
    options = {"html": False, "linkify": False, "typographer": False, "breaks": True, "highlight": _highlight}
    markdown = MarkdownIt("commonmark", {**options, "maxNesting": DEEPEST}).enable(["table", "strikethrough"])
    markdown.disable("reference")  # a definition would vanish from sight
    for cell in ("th_open", "td_open"):
        markdown.add_render_rule(cell, _render_cell)
    markdown.add_render_rule("image", _render_image)
    markdown.add_render_rule("link_open", _render_link)
    add_formulas(markdown)
    return markdown


class _Cache:
    """The HTML of texts by digest, least recently used out first, bounded by characters; safe between threads."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._size = 0
        self._entries: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: str, make: Callable[[], str]) -> str:
        with self._lock:
            if digest in self._entries:
                self._entries.move_to_end(digest)
                return self._entries[digest]
        markup = make()
        with self._lock:
            if digest not in self._entries:
                self._entries[digest] = markup
                self._size += len(markup)
            while self._size > self._budget and len(self._entries) > 1:
                self._size -= len(self._entries.popitem(last=False)[1])
        return markup


_FORMATTER = HtmlFormatter(nowrap=True)
MARKDOWN = _build_markdown()
_CACHE = _Cache(CACHE_CHARACTERS)
