"""The interface's texts: every language has every text, with the same values to fill in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from annotate_app.labeling.pair_payload import describe_choice, show_rubric
from annotate_app.protocol.rubric import QUESTIONS, SCALE_STEPS, Criterion, Rubric, Scale
from annotate_app.words import FALLBACK, FOLDER, choose_language, languages, say, say_default, words
from rewardkit.data.records import Judgment

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


def test_what_a_rubric_leaves_at_its_default_is_said_in_every_language() -> None:
    """All wordings of all scales, and the questions; a text of a rubric's own stays as it is."""
    texts = {wording for steps in SCALE_STEPS for wording in Scale(steps=steps).wordings}
    texts |= {Rubric(title="T", guidelines="G").question, *QUESTIONS.values()}
    for code in set(languages()) - {FALLBACK}:
        assert [text for text in texts if say_default(code, text) == text] == []
    assert say_default(FALLBACK, "much better") == "much better"
    assert say_default("de", "much better") == "viel besser"
    assert say_default("de", "clearly better") == "clearly better"


def test_the_desk_shows_default_wordings_in_the_readers_language() -> None:
    rubric = Rubric(title="T", guidelines="G", criteria=(Criterion(name="tone", question="Tone?"),))
    shown: dict = show_rubric(rubric, 1, "de")
    assert shown["question"] == "Welche Antwort ist besser?"
    assert shown["scale"]["wordings"] == ["etwas besser", "besser", "viel besser"]
    assert shown["criteria"][0]["scale"]["wordings"] == ["besser"]
    judgment = Judgment(comparison_id="c", annotator="anna", choice="b", strength=3)
    assert describe_choice(judgment, "a", rubric.scale, "de") == "Rechts viel besser"
    assert describe_choice(judgment, "a", replace(rubric.scale, labels=("x", "y", "z")), "de") == "Rechts z"


def test_files_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every judgment asks for some of the texts: reading the files takes tenths of a second."""
    for language in ("en", "de"):
        say_default(language, "nobody's text")
    monkeypatch.setattr("annotate_app.words._read", None)
    for language in ("en", "de"):
        say(language, "choice.tie")
        say_default(language, "somebody's text")
