"""All lessons in the order in which they are read. A new lesson is a line here."""

from __future__ import annotations

from annotate_app.lessons.lesson import Lesson
from annotate_app.lessons.preferences.agreement import AGREEMENT
from annotate_app.lessons.preferences.bradley_terry import BRADLEY_TERRY

TOPICS: tuple[tuple[str, tuple[Lesson, ...]], ...] = (("Preferences", (BRADLEY_TERRY, AGREEMENT)),)
"""Lessons by topic."""

LESSONS: tuple[Lesson, ...] = tuple(lesson for _, lessons in TOPICS for lesson in lessons)


def find(key: str) -> Lesson:
    """The lesson of a key.

    Raises:
        ValueError: if there is none.
    """
    for lesson in LESSONS:
        if lesson.key == key:
            return lesson
    raise ValueError(f"there is no lesson {key!r}: {', '.join(lesson.key for lesson in LESSONS)}")
