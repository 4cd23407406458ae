r"""Finds LaTeX in markdown (`$..$`, `$$..$$`, `\(..\)`, `\[..\]`) and turns it into MathML; prices stay prices.

A dollar opens a formula only where text could not be money: something other than a space follows it, no letter or digit
stands before it, the closing dollar follows a non-space and no digit comes after it, and what is between does not read
like "5 and that is 10". What latex2mathml cannot read is shown as code, as written.
"""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

LONGEST_FORMULA = 4000
MONEY = re.compile(r"[\d.,]+[kKmM]?[\s/–-].*[A-Za-z]{2}", re.DOTALL)
LATEX_MARK = re.compile(r"[\\^_={}<>]")
BLOCK_MARKS = {"$$": "$$", "\\[": "\\]"}
INLINE_MARKS = {"$$": ("$$", True), "$": ("$", False), "\\[": ("\\]", True), "\\(": ("\\)", False)}


def add_formulas(markdown: MarkdownIt) -> None:
    """Teaches a markdown parser formulas; tokens `math_inline` and `math_block` carry LaTeX in `content`."""
    markdown.inline.ruler.before("escape", "math_inline", _inline)
    markdown.block.ruler.before("code", "math_block", _block, {"alt": ["paragraph", "reference", "blockquote", "list"]})
    markdown.add_render_rule("math_inline", lambda _, tokens, index, *__: _render(tokens[index]))
    markdown.add_render_rule("math_block", lambda _, tokens, index, *__: _render(tokens[index]))


def to_mathml(latex: str, *, display: bool) -> str:
    """MathML of a formula, or its source as code where it cannot be read; not yet sanitised."""
    if len(latex) <= LONGEST_FORMULA:
        try:
            element = convert_to_element(latex, display="block" if display else "inline")
            for part in element.iter():  # it keeps entities in its texts, and would not escape what is left
                part.text = html.unescape(part.text) if part.text else part.text
            return ElementTree.tostring(element, encoding="unicode")
        except Exception:  # latex2mathml raises many kinds, RecursionError and IndexError among them
            pass
    return f'<code class="formula">{html.escape(latex)}</code>'


def _render(token) -> str:  # noqa: ANN001
    formula = to_mathml(token.content.strip(), display=token.meta["display"])
    return f'<p class="formula">{formula}</p>\n' if token.type == "math_block" else formula


def _escaped(text: str, position: int) -> bool:
    before = position - 1
    while before >= 0 and text[before] == "\\":
        before -= 1
    return (position - 1 - before) % 2 == 1


def _find_close(text: str, mark: str, start: int, end: int) -> int:
    position = text.find(mark, start, end)
    while position >= 0 and mark.startswith("$") and _escaped(text, position):
        position = text.find(mark, position + 1, end)
    return position


def _could_be_formula(text: str, opening: int, start: int, close: int, end: int) -> bool:
    """Whether a pair of single dollars encloses a formula and not two prices."""
    content = text[start:close]
    if not content or content[0].isspace() or content[-1].isspace():
        return False
    if opening > 0 and (text[opening - 1].isalnum() or text[opening - 1] == "$"):
        return False
    if close + 1 < end and (text[close + 1].isdigit() or text[close + 1] == "$"):
        return False
    return bool(LATEX_MARK.search(content)) or not MONEY.match(content)


def _inline(state: StateInline, silent: bool) -> bool:
    text, start, end = state.src, state.pos, state.posMax
    if text[start] not in "$\\":
        return False
    mark = next((mark for mark in INLINE_MARKS if text.startswith(mark, start)), None)
    if mark is None:
        return False
    closing, display = INLINE_MARKS[mark]
    first = start + len(mark)
    # Bounded, so that a text of nothing but openings costs linear time.
    close = _find_close(text, closing, first, min(end, first + LONGEST_FORMULA))
    if close < 0 or not text[first:close].strip():
        return False
    if mark == "$" and not _could_be_formula(text, start, first, close, end):
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content, token.meta = text[first:close], {"display": display}
    state.pos = close + len(closing)
    return True


def _block(state: StateBlock, start_line: int, end_line: int, silent: bool) -> bool:
    """A formula that opens at the start of a line and closes at the end of one, blank lines not inside."""
    if state.is_code_block(start_line):
        return False
    begin = state.bMarks[start_line] + state.tShift[start_line]
    closing = BLOCK_MARKS.get(state.src[begin : begin + 2])
    if closing is None:
        return False
    lines = []
    for line in range(start_line, end_line):
        first = begin + 2 if line == start_line else state.bMarks[line] + state.tShift[line]
        text = state.src[first : state.eMarks[line]]
        outdented = line > start_line and state.sCount[line] < state.blkIndent
        if outdented or (line > start_line and not text.strip()):
            return False
        close = text.find(closing)
        if close >= 0:
            if text[close + 2 :].strip() or not "".join([*lines, text[:close]]).strip():
                return False
            if silent:
                return True
            token = state.push("math_block", "math", 0)
            token.block, token.meta = True, {"display": True}
            token.content = "\n".join([*lines, text[:close]])
            token.map = [start_line, line + 1]
            state.line = line + 1
            return True
        lines.append(text)
        if sum(map(len, lines)) > LONGEST_FORMULA:
            return False
    return False
