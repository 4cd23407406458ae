"""Marked words and edited responses on the pages of those who read them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.pages.views.answer_view import edit_markup
from annotate_app.protocol.rubric import Flag, Rubric, rubric_text
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Judgment, Message, Span

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()
EMPTY = "Empty project"
TEXT = "Der **Zug** <b>fährt</b> um 😀 neun."


def fill(store: Store) -> None:
    """A project of twelve pairs whose first words two of three people marked, each up to another place."""
    project = store.projects.get(ADMIN, EMPTY)
    flags = (Flag(name="wrong", label="Wrong *now*", spans=True),)
    store.projects.save_rubric(
        ADMIN, project.id, rubric_text(Rubric(title="T", guidelines="G", flags=flags, edit="optional"))
    )
    prompt = (Message(role="user", content="Wann?"),)
    keys = [f"c{number}" for number in range(12)]
    pairs = [Comparison(id=key, prompt=prompt, completion_a=TEXT, completion_b="Nie.") for key in keys]
    store.comparisons.add(ADMIN, project.id, pairs, overlap=3)
    judgments = [
        Judgment(
            comparison_id=key,
            annotator=name,
            choice=choice,
            strength=1,
            flags={"a": ("wrong",)},
            spans=(Span(side="a", start=0, end=end, flag="wrong"),),
            edited={"a": TEXT.replace("neun", "<i>zehn")},
            created_at=1.7e9,
        )
        for key in keys
        for name, choice, end in (("anna", "a", 3), ("ben", "b", 11))
    ]
    nothing = [Judgment(comparison_id=key, annotator="cleo", choice="tie", created_at=1.7e9) for key in keys]
    store.judgments.import_many(ADMIN, project.id, [*judgments, *nothing])


def test_marks_and_edits_are_shown_where_a_comparison_is_read(
    open_page: Callable[..., AppTest], pages_store: Store
) -> None:
    fill(pages_store)
    test = open_page("adjudicate", "lea", project=EMPTY)
    tables = [frame.value for frame in test.dataframe if "words" in frame.value.columns]
    assert [table["words"].tolist() for table in tables] == [["Der"], ["Der **Zug**"]]
    assert tables[1]["where they stand"].tolist() == ["[Der **Zug**] <b>fährt</b> um 😀 neun."]
    assert [expander.label for expander in test.expander if "anew" in expander.label]


def test_agreement_on_marked_words_is_on_the_page(open_page: Callable[..., AppTest], pages_store: Store) -> None:
    fill(pages_store)
    test = open_page("agreement", "lea", project=EMPTY)
    (table,) = (frame.value for frame in test.dataframe if "F1 of characters" in frame.value.columns)
    assert table["flag"].tolist() == ["wrong"]
    assert table["F1 of characters"].tolist()[0].startswith(f"{2 * 3 / (2 * (3 + 11)):.2f}")
    assert table["marks"].tolist() == [24]


def test_an_edit_is_shown_against_its_original_and_escaped() -> None:
    assert "".join(edit_markup("a <b> c", "a <i> c")) == "a &lt;<del>b</del><ins>i</ins>&gt; c"
    assert "".join(edit_markup("so", "so it is")) == "so<ins> it is</ins>"
    assert "".join(edit_markup("x" * 50_000, "y<")) == "<ins>y&lt;</ins>"
