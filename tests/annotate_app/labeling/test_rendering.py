"""Texts rendered: nothing altered, nothing that runs or loads, nothing that hangs."""

from __future__ import annotations

import html
import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate_app.labeling.rendering import ATTRIBUTES, LONGEST_MARKDOWN, LONGEST_SHOWN, TAGS, render, sanitise


class Reader(HTMLParser):
    """Collects what an HTML fragment holds: tags, attributes, and its text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(markup: str) -> None:
    read = Reader(markup)
    assert read.tags <= TAGS
    for tag, name, value in read.attributes:
        match name:
            case "href":
                assert re.match(r"(https?://|mailto:)", value)
            case "target" | "rel" | "align":
                assert value in ("_blank", "noopener noreferrer nofollow", "left", "right", "center")
            case _:
                assert name in ATTRIBUTES[tag], f"{tag} {name}"


def test_every_hostile_text_comes_out_harmless_and_readable(hostile_texts: dict[str, str]) -> None:
    assert len(hostile_texts) >= 15
    for text in hostile_texts.values():
        assert_harmless(render(text).html)
    assert "<script>" in Reader(render(hostile_texts["script"]).html).text
    assert "http://outside.example:9/image.png" in Reader(render(hostile_texts["images"]).html).text


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([*"<>\"'&$\\()[]{}!`*_~|-#: \n\t/=ax1", "script", "onerror", "javascript:"]), max_size=60)
)
def test_any_text_comes_out_harmless(pieces: list[str]) -> None:
    assert_harmless(render("".join(pieces)).html)


@pytest.mark.parametrize(
    "markup",
    [
        "<a href='javascript:alert(1)'>x</a>",
        "<a href='/sign-out'>x</a>",
        "<a href='//outside.example'>x</a>",
        "<span class='labeler'>x</span>",
        "<p class='dialog' id='x' style='color:red' onclick='x()'>x</p>",
        "<math><annotation-xml encoding='text/html'><script>x</script></annotation-xml></math>",
        "<svg><script>x</script></svg>",
        "<details class='labeler' ontoggle='x()'><summary onclick='x()'>x</summary></details>",
        "<span data-image='../x' data-size='1' data-say='A B' data-extra='x'>x</span><div class='dialog'>x</div>",
    ],
)
def test_the_allow_list_holds_whatever_the_steps_before_it_let_through(markup: str) -> None:
    clean = sanitise(markup)
    assert_harmless(clean)
    assert "class=" not in clean


@pytest.mark.parametrize(
    "text",
    [
        "a -> b -- c >= d ... (c) \"quoted\" 'single'",
        ":tada: :red[x] :material/home: :small[y]",
        "[1]: http://a.example\n[//]: # (hidden)",
        "$5 and $10",
        "<!-- a comment --> <b>tag</b>",
        "https://a.example/x_y_z",
    ],
)
def test_words_are_shown_as_written(text: str) -> None:
    assert Reader(render(text).html).text.strip().replace("\n", "") == text.replace("\n", "")


def test_markdown_code_tables_and_strikethrough() -> None:
    assert render("a **b** ~~c~~").html == "<p>a <strong>b</strong> <s>c</s></p>\n"
    assert "<br>" in render("one\ntwo").html  # a line is a line
    assert '<td align="right">1</td>' in render("| n |\n|-:|\n| 1 |").html
    code = render("```python\ndef f():\n    return 1\n```").html
    assert '<span class="k">def</span>' in code
    assert Reader(code).text.strip() == "def f():\n    return 1"
    assert Reader(render("```nosuchlanguage\nx < y\n```").html).text.strip() == "x < y"


def test_a_link_says_where_it_goes_and_opens_elsewhere() -> None:
    assert render("[x](https://a.example/?a=1&b=2)").html == (
        '<p><a href="https://a.example/?a=1&amp;b=2" title="https://a.example/?a=1&amp;b=2" target="_blank" '
        'rel="noopener noreferrer nofollow">x</a></p>\n'
    )
    assert "href" not in render("[x](/sign-out)").html


def test_an_image_is_its_description_and_address() -> None:
    markup = render('![a "cat"](http://a.example/c.png)').html
    assert Reader(markup).text.strip() == 'Image, not loaded: a "cat" http://a.example/c.png'
    assert "img" not in Reader(markup).tags


def test_an_image_of_ours_is_a_place_with_its_description_and_no_address() -> None:
    name = f"image:{'0a' * 32}"
    assert render(f"![a <cat>]({name}?640x480)").html == (
        f'<p><span class="image own" data-image="{"0a" * 32}" data-size="640x480">a &lt;cat&gt;</span></p>\n'
    )
    assert "data-size" not in render(f"![x]({name})").html
    for wrong in ("image:0a", f"{name}0", f"{name}?0x1", f"{name}/../x", "photo.png", "data:image/png;base64,AA=="):
        read = Reader(render(f"![x]({wrong})").html)
        assert read.text.strip() == f"Image missing: x {wrong}"
        assert not [name for _, name, _ in read.attributes if name == "data-image"]
    assert Reader(render("![](//a.example/x.png)").html).text.strip() == (
        "Image, not loaded: no description //a.example/x.png"
    )


def test_texts_too_long_or_too_deep_for_markdown_are_shown_as_written() -> None:
    assert render("x" * (LONGEST_MARKDOWN + 1)).html == ""
    deep = "\n".join("  " * level + "- a" for level in range(200))
    assert render(deep).html == ""
    assert render(deep).raw == deep
    huge = render("y" * (LONGEST_SHOWN + 5))
    assert (len(huge.raw), huge.num_characters) == (LONGEST_SHOWN, LONGEST_SHOWN + 5)


@pytest.mark.parametrize(
    "unit", ["[", "![", "$a", "`a ", "*a_ ", "\\(", "[a](", "- ", "> ", "&#", "|", "$$\n", "<a ", "~~", "\\[", "#"]
)
def test_no_text_makes_it_hang(unit: str) -> None:
    text = unit * (LONGEST_MARKDOWN // len(unit))
    start = time.process_time()
    render(text)
    assert time.process_time() - start < 10


def test_half_a_surrogate_pair_is_no_reason_to_fail() -> None:
    rendered = render("a \ud83d b")
    rendered.raw.encode()
    assert html.unescape(rendered.html).startswith("<p>a")


def test_the_digest_names_the_text() -> None:
    assert render("a").digest == render("a").digest != render("b").digest
