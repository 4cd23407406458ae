"""Rendered words and the text as written: by value, and that nothing slips, over generated markdown."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate_app.labeling.places import find_places, text_of
from annotate_app.labeling.rendering import render, render_completion
from rewardkit.data.conversations import transcript
from rewardkit.data.records import Message


def aligned(text: str) -> tuple[str, list]:
    """The rendered text and its segments."""
    rendered = render(text)
    places = find_places(rendered, text)
    shown = text_of(rendered.html)
    assert places["length"] == len(shown)
    return shown, places["segments"]  # type: ignore[return-value]


def written(text: str, words: str) -> str:
    """What of the text as written belongs to words of the rendered text, as the browser reckons it."""
    shown, segments = aligned(text)
    start = shown.index(words)
    end = start + len(words)
    hit = [part for part in segments if part[0] < end and part[0] + part[1] > start]
    first, last = hit[0], hit[-1]
    begin = first[2] if first[4] else first[2] + max(0, start - first[0])
    stop = last[2] + last[3] if last[4] else last[2] + min(last[1], end - last[0])
    return text[begin:stop]


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("so un**believ**able it is", "unbelievable", "un**believ**able"),
        ("so un**believ**able it is", "believ", "believ"),
        ("a &amp; b", "& b", "&amp; b"),
        (r"five \* six", "* six", r"\* six"),
        ("mass $E=mc^2$ here", "mc", "$E=mc^2$"),
        ("> - quoted **word**\n>   goes `on there` now", "goes on there", "goes `on there"),
        ("| a | b\\|c |\n|--|--|\n| x | **why** so |\n", "b|c", "b\\|c"),
        ("| a | b |\n|--|--|\n| x | **why** so |\n", "why so", "why** so"),
        ("```py\ndef f():\n    return 1\n```", "return 1", "return 1"),
        ("see [the *page*](http://x.y/z) now", "the page now", "the *page*](http://x.y/z) now"),
        ("eins 😀 zwei **drei**", "zwei drei", "zwei **drei"),
        ("قال **الرجل** نعم", "الرجل نعم", "الرجل** نعم"),
        ("one\r\ntwo *three*\r\nfour", "three\nfour", "three*\r\nfour"),
        ("# Head *it* #", "Head it", "Head *it"),
        ("<http://a.b/c> next", "a.b/c next", "a.b/c> next"),
        ("* ** a**b", "** a", "** a"),
    ],
)
def test_words_of_the_rendered_text_are_found_in_the_text_as_written(text, words, expected):
    assert written(text, words) == expected


def test_a_row_behind_the_sign_of_a_list_grows_to_the_row_and_does_not_slip():
    text = "- | a | b |\n  |---|---|\n  | c | d |\n"
    assert written(text, "a") == "- | a | b |"
    assert written(text, "d") == "d"


SIGNS = "ab *_`~[]()<>#>-+|\\&;$!\n\t1.😀ع"
WORD = st.integers(0, 10**6).map(lambda number: f"w{number}w")
MARKS = [
    "**{}**",
    "*{}*",
    "`{}`",
    "~~{}~~",
    "[{}](http://x.y)",
    "un**{}**ed",
    "_{}_",
    "{} &amp; so",
    "😀{}",
    "“{}”",
    "{}",
]
MARKS += [
    "({})",
    "{}:",
    "\\*{}",
    "<b>{}</b>",
    "$x_1$ {}",
    "{}\\\n",
    "{}  \n",
    "عربي {}",
    "{}** ",
    "__{}",
    "![alt](u) {}",
]
INLINE = st.lists(st.tuples(WORD, st.sampled_from(MARKS)), min_size=1, max_size=6)
BLOCKS = [
    "{}",
    "# {} #",
    "> {}",
    "- {}\n- more",
    "1. {}\n\n   lazy",
    "```\n{}\n```",
    "    {}",
    "| {} | x |\n|--|--|\n| y | z |",
]
BLOCKS += [
    "> - {}",
    "{}\n===",
    "\t{}",
    "$$\na\n$$\n{}",
    "- [ ] {}",
    "***\n{}",
    "- > {}",
    "> | {} |\n> |--|\n> | y |",
    "| a |\n|--|\n| {} |",
]


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Markdown and the words in it, each of which occurs once."""
    words: dict[str, None] = {}
    blocks = []
    for _ in range(draw(st.integers(1, 4))):
        pieces = []
        for word, mark in draw(INLINE):
            if word not in words:
                words[word] = None
                pieces.append(mark.format(word))
        blocks.append(draw(st.sampled_from(BLOCKS)).format(draw(st.sampled_from([" ", "\n", ""])).join(pieces)))
    return draw(st.sampled_from(["\n\n", "\n", "\r\n\r\n"])).join(blocks), list(words)


@settings(max_examples=150, deadline=None)
@given(documents())
def test_every_word_is_found_where_it_stands_or_in_a_unit_around_it(document):
    text, words = document
    shown, segments = aligned(text)
    for word in words:
        if shown.count(word) != 1:  # in an image's description, or split by what stands around it
            continue
        start = shown.index(word)
        hit = [part for part in segments if part[0] < start + len(word) and part[0] + part[1] > start]
        assert hit, (text, word)
        begin, end = min(part[2] for part in hit), max(part[2] + part[3] for part in hit)
        assert word in text[begin:end]
        if not any(part[4] for part in hit):
            assert text.index(word) == hit[0][2] + start - hit[0][0]


@settings(max_examples=150, deadline=None)
@given(st.one_of(documents().map(lambda made: made[0]), st.text(alphabet=SIGNS, max_size=60)))
def test_all_that_is_no_blank_is_aligned_in_order_with_its_own_signs(text):
    shown, segments = aligned(text)
    covered: set[int] = set()
    before = 0
    for at, num, start, size, unit in segments:
        assert at >= before
        assert 0 <= start < start + size <= len(text)
        before = at + num
        covered.update(range(at, at + num))
        if not unit:
            assert num == size
            assert shown[at : at + num] == text[start : start + size].replace("\n", " ") or "\n" not in text
    assert not [sign for place, sign in enumerate(shown) if place not in covered and not sign.isspace()]


def test_turns_are_aligned_with_their_transcript_and_what_might_be_anywhere_is_not():
    call = json.dumps({"tool_calls": [{"function": {"name": "look", "arguments": {"city": "Bern"}}}]}, sort_keys=True)
    turns = (
        Message(role="assistant", content="Let me **look** it up", more=call),
        Message(role="tool", content="ok"),
        Message(role="assistant", content="It is sunny, ok"),
    )
    text = transcript(turns)
    rendered = render_completion(text, turns)
    shown, segments = text_of(rendered.html), find_places(rendered, text, turns)["segments"]
    found = [(shown[at : at + num], text[start : start + size]) for at, num, start, size, _ in segments]
    assert ("look", "look") in found
    assert ("It is sunny, ok", "It is sunny, ok") in found
    assert any("Bern" in one and one == other for one, other in found)
    assert ("ok", "ok") not in found  # it stands in the next turn as well
    unrendered = find_places(rendered, text, turns)["unrendered"]
    words = [rendered.raw[at : at + num] for at, num, *_ in unrendered]
    assert words == [text[start : start + size] for _, _, start, size, _ in unrendered]
    assert "Let me **look** it up" in words
    assert "It is sunny, ok" in words


def test_a_text_that_is_shown_as_written_has_no_segments_of_a_rendered_one():
    long = "word " * 20_000
    assert find_places(render(long), long)["length"] == 0
