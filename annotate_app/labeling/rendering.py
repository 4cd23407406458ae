"""Text of people and models to HTML that can only be looked at: markdown, code, formulas; no script, no remote fetch.

Nothing is altered on the way: no smart quotes, no emoji shortcodes, no directives; raw HTML is shown as text, an image
of another host as its address, one of ours as a place that the page fills (`frontend/images.js`). What comes out has
passed an allow-list (nh3) last, whatever the steps before it did. Words that stand in no text, such as a label of ours,
are in elements marked `data-extra`.
"""

from __future__ import annotations

import hashlib
import html
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nh3
from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from annotate_app.images.references import Reference, is_remote
from annotate_app.labeling.formulas import add_formulas
from annotate_app.labeling.turns import Block, Part, Turn, arrange, blocks_of
from rewardkit.data.conversations import SPEAKER
from rewardkit.data.records import Message

LONGEST_MARKDOWN = 50_000  # characters; longer texts are shown as written, without markdown
LONGEST_SHOWN = 2_000_000  # characters of one text that reach a page at all
LONGEST_HIGHLIGHTED = 20_000  # characters of one code block
DEEPEST = 60  # levels of nesting; deeper texts are shown as written, markdown-it would drop what lies below
CACHE_CHARACTERS = 32 * 2**20
FENCE = "`" * 40  # of a block of JSON: longer than any that a text will hold
FOLDED_LINES, FOLDED_CHARACTERS = 6, 400  # a call or a result that is longer is folded to a line at first
LONGEST_PREVIEW = 100  # characters of a folded part on its line

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
        "div",
        "details",
        "summary",
    ]
)
CLASSES: dict[str, frozenset[str]] = {
    "p": frozenset(["formula", "part", "nothing"]),
    "code": frozenset(["formula", "preview"]),
    "div": frozenset(["turn user", "turn other", "said"]),
    "details": frozenset(["call", "result", "result error", "thoughts"]),
    "span": frozenset(["image", "image own", "image-address", "role", "part", "tool"]),
}
DATA_VALUES = {
    "data-extra": re.compile(""),
    "data-say": re.compile("[a-z_]{1,40}"),
    "data-image": re.compile("[0-9a-f]{64}"),
    "data-size": re.compile("[1-9][0-9]{0,5}x[1-9][0-9]{0,5}"),
}
ATTRIBUTES: dict[str, set[str]] = {
    "a": {"href", "title"},
    "code": {"class", "data-extra"},
    "p": {"class", "data-extra", "data-say"},
    "span": {"class", "data-extra", "data-say", "data-image", "data-size"},
    "div": {"class"},
    "details": {"class", "open"},
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
        blocks: of a completion that is more than a text, the stretches of `raw` in order; empty for a text.
        num_turns: of which it consists.
        is_dialogue: whether a user speaks among them.
    """

    html: str
    raw: str
    num_characters: int
    digest: str
    blocks: tuple[Block, ...] = ()
    num_turns: int = 1
    is_dialogue: bool = False


def render(text: str) -> Rendered:
    """Markdown to sanitised HTML, remembered by content."""
    digest = _digest(text)
    short = len(text) <= LONGEST_MARKDOWN
    whole = _sendable(text)
    markup = _CACHE.get(digest, lambda: sanitise(_to_html(whole))) if short else ""
    return Rendered(html=markup, raw=whole[:LONGEST_SHOWN], num_characters=len(text), digest=digest)


def render_turn(message: Message) -> Rendered:
    """A turn with all that people are to see of it: its text, its thoughts, the tools it calls."""
    return _render_turns(arrange([message])) if message.more else render(message.content)


def render_prompt(messages: Sequence[Message]) -> list[tuple[str, Rendered]]:
    """The turns of a prompt with who speaks; results of tools stand beneath their calls, and are no turns of theirs."""
    if not any(message.more for message in messages):
        return [(message.role, render(message.content)) for message in messages]
    return [(turn.role, _render_turns([turn])) for turn in arrange(messages)]


def render_completion(text: str, turns: Sequence[Message]) -> Rendered:
    """A completion: a text, or the turns it consists of, whose raw form is `annotate_app.labeling.turns.written`."""
    return _render_turns(arrange(turns)) if turns else render(text)


def _render_turns(turns: Sequence[Turn]) -> Rendered:
    """Turns as parts that fold, each under who speaks where there are several."""
    blocks = tuple(Block(kind=block.kind, text=_sendable(block.text)) for block in blocks_of(turns))
    raw = "".join(block.text for block in blocks)
    short = len(raw) <= LONGEST_MARKDOWN
    return Rendered(
        html=_CACHE.get(_digest(repr(turns)), lambda: sanitise(_turns_html(turns))) if short else "",
        raw=raw[:LONGEST_SHOWN],
        num_characters=len(raw),
        digest=_digest(raw),
        blocks=blocks,
        num_turns=len(turns),
        is_dialogue=any(turn.role == "user" for turn in turns),
    )


def _turns_html(turns: Sequence[Turn]) -> str:
    """The turns before the allow-list; empty where one of their texts is too long or too deep for markdown."""
    pieces = []
    for turn in turns:
        parts = [_part_html(part) for part in turn.parts]
        if not all(parts):
            return ""
        if len(turns) > 1:
            side = "user" if turn.role == "user" else "other"
            who = f'<span class="role" data-say="{turn.role}">{SPEAKER[turn.role]}</span>'
            parts = [f'<div class="turn {side}">{who}', *parts, "</div>"]
        pieces += parts
    return "".join(pieces)


def _part_html(part: Part) -> str:
    """A part of a turn; empty where it is too long or too deep for markdown."""
    body = '<p class="nothing" data-extra="" data-say="empty">(empty)</p>'
    if part.text.strip():
        body = render(f"{FENCE}json\n{part.text}\n{FENCE}" if part.is_json else part.text).html
    match part.kind:
        case "text":
            return body
        case "name":
            return f'<p class="part">{html.escape(part.label)}</p>'
        case "refusal":
            return body and f'<p class="part" data-say="refusal">{part.label}</p>{body}'
        case "thoughts":
            return body and _folded(
                "thoughts", f'<span class="part" data-say="thoughts">{part.label}</span>', part, body
            )
        case "call":
            name = f' <span class="tool">{html.escape(part.name)}</span>' if part.name else ""
            return body and _folded("call", f'<span class="part" data-say="calls">calls</span>{name}', part, body)
        case "result":
            words = html.escape(part.label) or '<span data-extra="" data-say="result">result</span>'
            kind = "result error" if part.is_error else "result"
            return body and _folded(kind, f'<span class="part">{words}</span>', part, body)


def _folded(kind: str, head: str, part: Part, body: str) -> str:
    """A part that opens on a key or a click; a short one is open from the start, thoughts never are."""
    long = part.text.count("\n") >= FOLDED_LINES or len(part.text) > FOLDED_CHARACTERS
    is_open = "" if long or kind == "thoughts" else ' open=""'
    line = " ".join(part.text.split())
    preview = line if len(line) <= LONGEST_PREVIEW else f"{line[:LONGEST_PREVIEW]}…"
    shown = f'<code class="preview" data-extra="">{html.escape(preview)}</code>'
    summary = f"<summary>{head} {shown}</summary>"
    return f'<details class="{kind}"{is_open}>{summary}<div class="said">{body}</div></details>'


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _sendable(text: str) -> str:
    """The text without half a surrogate pair, which cannot be sent."""
    return text.encode("utf-8", "replace").decode()


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
    if name == "class":
        of_code = tag == "span" and len(value) <= 3 and value.isalnum()
        return value if of_code or value in CLASSES.get(tag, ()) else None
    if name in DATA_VALUES:
        return value if DATA_VALUES[name].fullmatch(value) else None
    return value


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
    """An image of ours as its description, for the page to put it there; another one as what its text says of it."""
    token = tokens[index]
    label, source = html.escape(token.content), str(token.attrs.get("src", ""))
    reference = Reference.read(source)
    if reference is not None:
        size = f' data-size="{reference.width}x{reference.height}"' if reference.width and reference.height else ""
        return f'<span class="image own" data-image="{reference.content_hash}"{size}>{label}</span>'
    say, words = ("image_remote", "Image, not loaded:") if is_remote(source) else ("image_missing", "Image missing:")
    label = label or '<span data-extra="" data-say="no_description">no description</span>'
    head = f'<span data-extra="" data-say="{say}">{words}</span>'
    return f'<span class="image">{head} {label} <span class="image-address">{html.escape(source)}</span></span>'


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
