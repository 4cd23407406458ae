"""Draws what people did to the words of a response: the words they marked, and the response as they wrote it anew.

Texts go through the reader component or `st.text`, never through Streamlit's markdown.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Iterator, Mapping

import streamlit as st

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.reports.report import AgreementReport
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.language import say
from annotate_app.protocol.rubric import Rubric
from rewardkit.data.records import Comparison, Judgment

AROUND = 30  # characters shown before and after marked words
TOKENS = re.compile(r"\s+|\w+|[^\w\s]")
LONGEST_COMPARED = 40_000  # characters; a longer edit is shown as a whole
SIDES = {"a": "A", "b": "B"}
STYLE = """<style>
.tb-edit { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: plaintext; }
.tb-edit ins { background: rgb(8 127 91 / 22%); text-decoration: underline; }
.tb-edit del { background: rgb(217 72 15 / 20%); text-decoration: line-through; }
</style>"""


def draw_answer(
    name: str,
    judgment: Judgment,
    comparison: Comparison,
    rubric: Rubric,
    *,
    key: str,
    sides: Mapping[str, str] | None = None,
) -> None:
    """Draws the marked words and the edits of one judgment; nothing where there are none.

    Args:
        name: of the person, empty where it is the reader.
        judgment: what they said.
        comparison: of what.
        rubric: that labels the flags.
        key: unique on the page.
        sides: by response (`a`, `b`), what to call it; None calls them A and B.
    """
    called = sides or SIDES
    texts = {"a": comparison.completion_a, "b": comparison.completion_b}
    who = f"{name}: " if name else ""
    if judgment.spans:
        labels = {flag.name: flag.label for flag in rubric.flags}
        rows = [
            {
                say("marks.response"): called[span.side],
                say("marks.flag"): labels.get(span.flag, span.flag),
                say("marks.words"): texts[span.side][span.start : span.end],
                say("marks.where"): _around(texts[span.side], span.start, span.end),
            }
            for span in judgment.spans
        ]
        st.text(f"{who}{say('marks.marked')}")
        st.dataframe(rows, hide_index=True, key=f"{key}-spans")
    for side, text in judgment.edited.items():
        title = as_markdown(f"{who}{say('edit.anew', response=called[side])}")
        with st.expander(title, icon=":material/edit_note:"):
            st.html(STYLE + f'<div class="tb-edit" dir="auto">{"".join(edit_markup(texts[side], text))}</div>')


def _around(text: str, start: int, end: int) -> str:
    before = text[max(0, start - AROUND) : start]
    after = text[end : end + AROUND]
    words = " ".join(f"{before}[{text[start:end]}]{after}".split())
    return f"{'…' if start > AROUND else ''}{words}{'…' if end + AROUND < len(text) else ''}"


def edit_markup(before: str, after: str) -> Iterator[str]:
    """An edit as escaped HTML: what went in `del`, what came in `ins`."""
    if len(before) + len(after) > LONGEST_COMPARED:
        yield f"<ins>{html.escape(after)}</ins>"
        return
    old, new = TOKENS.findall(before), TOKENS.findall(after)
    for kind, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = html.escape("".join(old[i:j])), html.escape("".join(new[k:m]))
        if kind == "equal":
            yield gone
            continue
        yield f"<del>{gone}</del>" if gone else ""
        yield f"<ins>{come}</ins>" if come else ""


def draw_span_agreement(report: AgreementReport) -> None:
    """Draws how far people agree on marked words, a row a flag; nothing where no flag is set on words."""
    if not report.spans:
        return
    st.header("Marked words", anchor=False)
    rows = [
        {
            "flag": part.flag,
            "marks": part.num_spans,
            "responses marked": part.num_marked,
            "F1 of characters": _figure(part.f1),
            "alpha": _figure(part.alpha),
        }
        for part in report.spans
    ]
    st.dataframe(rows, hide_index=True, key="agreement-spans")
    st.caption(
        "F1: of the characters that two people marked, the share that both did (Hripcsak and Rothschild 2005). "
        "Alpha: Krippendorff's, over characters, beyond chance. 95% intervals resample comparisons."
    )


def _figure(estimate: Estimate) -> str:
    if estimate.value != estimate.value:
        return "not known"
    return f"{estimate.value:.2f}" + (f" ({estimate.low:.2f} to {estimate.high:.2f})" if estimate.is_known else "")
