"""The interface's texts: every language has every text, with the same values to fill in."""

from __future__ import annotations

import re

import pytest

from annotate_app.words import FALLBACK, FOLDER, choose_language, languages, say, words

VALUES = re.compile(r"\{(\w+)\}")


@pytest.mark.parametrize("code", sorted(set(languages()) - {FALLBACK}))
def test_a_language_has_every_text_and_no_other(code: str) -> None:
    from annotate_app.words import _read

    own, english = _read(code), _read(FALLBACK)
    assert sorted(own) == sorted(english)
    different = [key for key in english if sorted(VALUES.findall(own[key])) != sorted(VALUES.findall(english[key]))]
    assert different == []


@pytest.mark.parametrize(
    ("preferred", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "de-CH,de;q=0.9,en;q=0.8", "de"),
        ("", "fr,de;q=0.5", "de"),
        ("en", "de", "en"),
        ("xx", "yy", "en"),
        ("DE", "en", "de"),
    ],
)
def test_the_language_is_the_persons_else_the_browsers(preferred: str, accepted: str, language: str) -> None:
    assert choose_language(preferred, accepted) == language


def test_a_language_that_there_is_not_speaks_english() -> None:
    assert words("xx") == words("en")
    assert say("de", "language") == "Deutsch"
    with pytest.raises(KeyError):
        say("en", "no such text")


@pytest.mark.parametrize("code", sorted(languages()))
def test_a_section_stands_once(code: str) -> None:
    lines = (FOLDER / f"{code}.yaml").read_text(encoding="utf-8").splitlines()
    sections = [line for line in lines if re.match(r"[a-z_]+:", line)]
    assert len(sections) == len(set(sections))
