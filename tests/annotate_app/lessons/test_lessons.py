"""What holds of every lesson: it computes quickly, its claims are wrong, its notebook is whole, its answer is right."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import time

import pytest

from annotate_app.lessons.catalogue.catalogue import LESSONS, find
from annotate_app.lessons.catalogue.notebooks import notebook
from annotate_app.lessons.lesson import Choice, Lesson
from annotate_app.lessons.tables import as_text


@pytest.fixture(params=LESSONS, ids=lambda lesson: lesson.key)
def lesson(request: pytest.FixtureRequest) -> Lesson:
    """Each of the lessons."""
    if request.param.needs_torch:
        pytest.importorskip("torch", reason="THIS LESSON NEEDS TORCH")
    return request.param


def test_keys_name_one_lesson_each() -> None:
    keys = [lesson.key for lesson in LESSONS]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z0-9-]+", key) for key in keys)
    assert [find(key) for key in keys] == list(LESSONS)
    with pytest.raises(ValueError, match="no lesson 'alchemy'"):
        find("alchemy")


def test_a_lesson_moves_from_end_to_end_in_under_a_second(lesson: Lesson) -> None:
    seen = [lesson.move(lesson.defaults())]
    begun = time.process_time()
    for slider in lesson.sliders:
        if isinstance(slider, Choice):
            ends: list[float] = [number for number in range(len(slider.options)) if number != slider.default]
        else:
            ends = [end for end in (slider.low, slider.high) if end != slider.default]
        assert ends
        seen += [lesson.move(lesson.defaults() | {slider.name: end}) for end in ends]
    assert (time.process_time() - begun) / (len(seen) - 1) < 1.0
    shown = [json.dumps(picture.chart.to_dict(), sort_keys=True) + str(picture.figures) for picture in seen]
    assert len(set(shown)) == len(shown)
    for picture in seen:
        values = [value for row in picture.figures for value in row.values() if isinstance(value, float)]
        assert values
        assert all(math.isfinite(value) for value in values)


def test_a_question_takes_its_answer_and_no_other(lesson: Lesson) -> None:
    question = lesson.question
    right = question.answer()
    assert question.accepts(right)
    assert not question.accepts(None)
    if question.choices:
        assert [choice for choice in question.choices if question.accepts(choice)] == [right]
    else:
        assert isinstance(right, float)
        assert not question.accepts(right + 2 * question.tolerance + 1e-3)
        assert not question.accepts(right - 2 * question.tolerance - 1e-3)


def test_claims_are_shown_wrong(lesson: Lesson) -> None:
    assert lesson.mistakes
    assert [mistake.claim for mistake in lesson.mistakes if not mistake.run().is_wrong] == []


def test_a_notebook_runs_and_gives_what_it_holds(lesson: Lesson, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads(notebook(lesson))["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(cell["source"], names)
            printed = capsys.readouterr().out
            if cell["outputs"]:
                assert printed == cell["outputs"][0]["text"]


def test_lessons_without_torch_run_without_it() -> None:
    code = """
import sys
sys.modules["torch"] = None
from annotate_app.lessons.catalogue.catalogue import LESSONS
for lesson in LESSONS:
    if not lesson.needs_torch:
        lesson.move(lesson.defaults()), lesson.question.answer(), [mistake.run() for mistake in lesson.mistakes]
print("streamlit" in sys.modules, any(not lesson.needs_torch for lesson in LESSONS))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "False"


@pytest.mark.parametrize(
    ("value", "text"), [(0.25931, "0.2593"), (0.0, "0.0000"), (1e-5, "1e-05"), (2.5e7, "2.5e+07"), (3, "3"), ("a", "a")]
)
def test_figures_are_short(value: object, text: str) -> None:
    assert as_text(value) == text
