"""Lessons as notebooks of the site, and the list of them where a page says `<!-- lessons -->`."""

from __future__ import annotations

import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from annotate_app.lessons.catalogue.catalogue import LESSONS, TOPICS
from annotate_app.lessons.catalogue.notebooks import notebook

MARK = re.compile(r"^<!-- lessons -->$", flags=re.MULTILINE)
FOLDER = "notebooks"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Is called by mkdocs with all files: a notebook for each lesson is written into the site."""
    for lesson in LESSONS:
        files.append(File.generated(config, f"{FOLDER}/{lesson.key}.ipynb", content=notebook(lesson)))
    return files


def lessons() -> str:
    """A table of all lessons with their notebooks."""
    lines = ["| | lesson | question | notebook |", "|---|---|---|---|"]
    for topic, listed in TOPICS:
        for lesson in listed:
            question = " ".join(lesson.question.text.split()).replace("|", "\\|")
            link = f"[{lesson.key}.ipynb](../{FOLDER}/{lesson.key}.ipynb)"
            lines.append(f"| {topic} | {lesson.title} | {question} | {link} |")
    return "\n".join(lines)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Is called by mkdocs with the text of every page."""
    return MARK.sub(lambda _: lessons(), markdown)
