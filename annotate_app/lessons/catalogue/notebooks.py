"""Lessons as notebooks: JSON of nbformat 4.5, with what each cell gives at the sliders' defaults already in it."""

from __future__ import annotations

import inspect
import json
from typing import Any

from annotate_app.lessons.lesson import Choice, Lesson, Slider
from annotate_app.lessons.tables import table
from annotate_app.pages.charts.charts import Rows

SHOW = """def show(rows):
    for row in rows:
        print("; ".join(f"{name}: {value}" for name, value in row.items()))
"""


def notebook(lesson: Lesson) -> str:
    """A lesson as a notebook, for an environment in which the `app` extra is installed."""
    picture = lesson.move(lesson.defaults())
    question = lesson.question
    cells = [
        markdown(f"# {lesson.title}\n\n{lesson.text}"),
        code(
            "from annotate_app.lessons.catalogue.catalogue import find\n"
            f"from annotate_app.lessons.tables import table\n\nlesson = find({lesson.key!r})\n\n\n{SHOW}"
        ),
        markdown("## Move it\n\nChange a value and run the cell again."),
        code(
            f"values = {{\n{''.join(value_line(slider) for slider in lesson.sliders)}}}\n"
            "picture = lesson.move(values)\nshow(table(picture.figures))\nprint(picture.words)\npicture.chart",
            stream(picture.figures, picture.words),
            {
                "output_type": "display_data",
                "metadata": {},
                "data": {"application/vnd.vegalite.v6+json": picture.chart.to_dict(), "text/plain": "a chart"},
            },
        ),
        markdown(f"The code behind it:\n\n```python\n{inspect.getsource(lesson.move)}```"),
        markdown(f"## A question\n\n{question.text}" + "".join(f"\n- {choice}" for choice in question.choices)),
        code(f"lesson.question.accepts({question.choices[0] if question.choices else 0.0!r})  # your answer here"),
        code("print(lesson.question.answer(), lesson.question.why)"),
        markdown("## What texts get wrong"),
    ]
    for number, mistake in enumerate(lesson.mistakes):
        cells.append(markdown(f"**{mistake.claim}**"))
        cells.append(
            code(
                f"mistake = lesson.mistakes[{number}]\nfinding = mistake.run()\nshow(table(finding.figures))\n"
                'print("wrong:" if finding.is_wrong else "not shown wrong:", mistake.instead)',
                stream((finding := mistake.run()).figures, verdict(finding.is_wrong, mistake.instead)),
            )
        )
    cells.append(markdown("## Papers\n" + "".join(f"\n- [{paper.title}]({paper.link})" for paper in lesson.papers)))
    return json.dumps(
        {
            "cells": [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)],
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
    )


def value_line(slider: Slider | Choice) -> str:
    """A line of the cell that holds the sliders' values."""
    if isinstance(slider, Choice):
        words = ", ".join(f"{number} {option}" for number, option in enumerate(slider.options))
        return f"    {slider.name!r}: {slider.default},  # {slider.label}: {words}\n"
    return f"    {slider.name!r}: {slider.default},  # {slider.label}, {slider.low} to {slider.high}\n"


def verdict(is_wrong: bool, instead: str) -> str:
    """What a cell prints about a claim."""
    return f"{'wrong:' if is_wrong else 'not shown wrong:'} {instead}"


def stream(figures: Rows, words: str) -> dict[str, Any]:
    """What a cell printed."""
    lines = ["; ".join(f"{name}: {value}" for name, value in row.items()) for row in table(figures)]
    return {"output_type": "stream", "name": "stdout", "text": "\n".join((*lines, words)) + "\n"}


def markdown(text: str) -> dict[str, Any]:
    """A cell of text."""
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def code(source: str, *outputs: dict[str, Any]) -> dict[str, Any]:
    """A cell of code and what it gave."""
    return {
        "cell_type": "code",
        "execution_count": 1 if outputs else None,
        "metadata": {},
        "outputs": list(outputs),
        "source": source,
    }
