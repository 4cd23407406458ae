"""Functions of the labeling page on texts alone, in the browser they run in: differences and directions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

import annotate_app

pytestmark = pytest.mark.browser
FRONTEND = Path(annotate_app.__file__).parent / "frontend"
ARABIC = "\u0628\u0631\u0648\u062a\u0648\u0643\u0648\u0644"  # eight letters


@pytest.fixture
def call(chromium: Browser) -> Iterator[Callable[..., Any]]:
    """Calls a function of a module that imports nothing: `call("diff.js", "differingParts", left, right)`."""
    page = chromium.new_page()

    def call(module: str, function: str, *arguments: object) -> Any:
        source = re.sub(r"^export ", "", (FRONTEND / module).read_text(encoding="utf-8"), flags=re.MULTILINE)
        return page.evaluate(f"(args) => {{ {source}; return {function}(...args); }}", list(arguments))

    yield call
    page.close()


def test_differences_are_marked_from_a_tenth_of_the_words_in_common(call: Callable[..., Any]) -> None:
    common = "one two three four"  # 4 of 40 words in each text are in common: 8 of 80
    left, right = ([f"{side}{n}" for n in range(36)] for side in "lr")
    at_a_tenth = call("diff.js", "differingParts", f"{common} {' '.join(left)}", f"{common} {' '.join(right)}")
    assert at_a_tenth[0][0] == [f"{common} ", False]
    assert at_a_tenth[0][1][1] is True
    below = call("diff.js", "differingParts", f"{common} {' '.join(left)} x", f"{common} {' '.join(right)} y")
    assert below is None
    assert call("diff.js", "differingParts", "", "") == [[], []]
    assert call("diff.js", "differingParts", "a b", "") is None


@pytest.mark.parametrize(
    ("text", "direction"),
    [
        ("TCP is a protocol", "ltr"),
        (f"TCP {ARABIC}", "rtl"),  # 3 letters against 8
        (f"Transport {ARABIC}", "ltr"),  # 9 against 8
        (f"abcdefgh {ARABIC}", "ltr"),  # as many: no majority
        ("12 + 3 = 15", ""),
    ],
)
def test_direction_is_that_of_most_letters(call: Callable[..., Any], text: str, direction: str) -> None:
    assert call("direction.js", "directionOf", text) == direction


def test_a_text_as_written_has_one_direction_where_its_lines_agree(call: Callable[..., Any]) -> None:
    assert call("direction.js", "directionAsWritten", f"TCP {ARABIC}\n1.\n{ARABIC}") == "rtl"
    assert call("direction.js", "directionAsWritten", f"TCP {ARABIC}\nTCP is fast") == "auto"
