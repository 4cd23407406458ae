"""A rubric as a reward function, called in a worker of its own as verifiers are: `--reward rubric:FILE`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignment.rewards.worker import load, names_of
from alignment.rubrics.grading import GradeQuestion, Grader
from alignment.rubrics.items import RubricFile, RubricItem, check_weights, read_checklist, read_rubric
from alignment.rubrics.worth import rubric_reward
from alignment.verifiers.verifiers import VERIFIERS

logger = logging.getLogger(__name__)
CHECKLIST, UNREAD = "checklist", "unread"


def make_rubric(path: str) -> Callable[..., list[dict[str, Any]]]:
    """The function of a rubric's file: for each completion its rewards by every sample of the judge, and its grades.

    A grade that the judge does not give (it refuses, or cannot be read) is the worse one: 0, of a fault 1.

    Raises:
        ValueError: if the file is not allowed, or people do not agree with its judge.
    """
    rubric = read_rubric(path)
    check_judge(rubric, path)
    checks: dict[str, Callable[..., Sequence[float]]] = {}
    for item in rubric.items:
        if item.check:
            checks[item.check] = open_check(item.check)
    spec = rubric.judge
    if spec is None and any(item.question for item in rubric.items):
        raise ValueError(f"{path}: criteria have questions, and no judge is named")
    grader = Grader(spec, guidelines=rubric.guidelines, cache=rubric.cache) if spec is not None else None
    num_samples = spec.samples if spec is not None else 1

    def rewards(prompts: Sequence[str], completions: Sequence[str], **columns: Sequence[Any]) -> list[dict[str, Any]]:
        rows = items_of_rows(rubric, columns, len(completions))
        grades = [np.full((num_samples, len(items)), np.nan) for items in rows]
        asked: list[tuple[int, int]] = []
        by_check: dict[str, list[tuple[int, int]]] = {}
        for index, items in enumerate(rows):
            for place, item in enumerate(items):
                (by_check.setdefault(item.check, []) if item.check else asked).append((index, place))
        for check, places in by_check.items():
            if check not in checks:
                checks[check] = open_check(check)
            for (index, place), value in zip(
                places,
                _checked(checks[check], check, [index for index, _ in places], prompts, completions, columns),
                strict=True,
            ):
                grades[index][:, place] = value
        if asked:
            if grader is None:
                raise ValueError(f"{path}: the checklist has questions, and no judge is named")
            questions = [
                GradeQuestion(prompt=prompts[index], completion=completions[index], item=rows[index][place])
                for index, place in asked
            ]
            for (index, place), answers in zip(asked, grader.grade(questions), strict=True):
                grades[index][:, place] = [np.nan if answer is None else answer for answer in answers]
        return [_result(rubric, items, of) for items, of in zip(rows, grades, strict=True)]

    return rewards


def check_judge(rubric: RubricFile, path: str) -> None:
    """Raises ValueError where the agreement report says not to use the judge, unless `force` is set; else it warns."""
    if rubric.judge is None:
        return
    if not rubric.agreement:
        logger.warning("%s: nobody has measured its judge against people (agreement: a report of the judge)", path)
        return
    report = json.loads(Path(rubric.agreement).read_text(encoding="utf-8"))
    try:
        use, why = report["advice"]["use"], report["advice"]["why"]
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: agreement: {rubric.agreement} is no report of a judge as JSON") from error
    if use == "not at all" and not rubric.force:
        raise ValueError(f"{path}: people do not agree with its judge. {why} `force: true` takes it nevertheless")
    if use != "annotator":
        logger.warning("%s: the report of its judge says: %s. %s", path, use, why)


def items_of_rows(rubric: RubricFile, columns: Mapping[str, Sequence[Any]], count: int) -> list[list[RubricItem]]:
    """The criteria of each completion: the file's, then those of its row.

    Raises:
        ValueError: if the column of checklists is missing, or a row has no criterion that an answer can earn by.
    """
    if rubric.checklist and rubric.checklist not in columns:
        raise ValueError(f"no column {rubric.checklist} holds checklists, there are {', '.join(columns) or 'none'}")
    values = columns[rubric.checklist] if rubric.checklist else [None] * count
    rows = [[*rubric.items, *read_checklist(value, rubric.checklist)] for value in values]
    for items in rows:
        if not items:
            raise ValueError(f"column {rubric.checklist} holds no criterion, and the rubric has none of its own")
        check_weights(items)
    return rows


def open_check(text: str) -> Callable[..., Sequence[float]]:
    """A verifier by name, with what stands behind its colon, or a Python function.

    Raises:
        ValueError: if it is neither.
    """
    name, _, argument = text.partition(":")
    if name in VERIFIERS:
        return VERIFIERS[name].make(argument)
    if ":" not in text:
        raise ValueError(f"check is {text!r}, allowed are {', '.join(VERIFIERS)}, and path/file.py:function")
    return load(text, None)


def _checked(
    check: Callable[..., Sequence[float]],
    name: str,
    indices: Sequence[int],
    prompts: Sequence[str],
    completions: Sequence[str],
    columns: Mapping[str, Sequence[Any]],
) -> Sequence[float]:
    """Grades of some completions by a program; it gets the keywords that it takes."""
    available = {**columns, "prompts": prompts, "completions": completions}
    names, _ = names_of(check)
    keywords = {
        key: [values[index] for index in indices] for key, values in available.items() if names is None or key in names
    }
    grades = [float(value) for value in check(**keywords)]
    if wrong := [grade for grade in grades if not 0 <= grade <= 1]:
        raise ValueError(f"check {name} gives {wrong[0]:g}, allowed is 0 to 1")
    return grades


def _result(rubric: RubricFile, items: Sequence[RubricItem], grades: np.ndarray) -> dict[str, Any]:
    weights = np.array([item.weight for item in items])
    unread = np.isnan(grades)
    grades = np.where(unread, weights < 0, grades)
    own = len(rubric.items)
    criteria = {item.name: float(mean) for item, mean in zip(items[:own], grades[:, :own].mean(0), strict=True)}
    if rubric.checklist:
        share = rubric_reward(grades[:, own:], weights[own:].tolist(), [0.0] * (len(items) - own))
        criteria[CHECKLIST] = float(share.mean())
    criteria[UNREAD] = float(unread.mean())
    members = rubric_reward(grades, weights.tolist(), [item.gate for item in items])
    return {"members": members.tolist(), "criteria": criteria}
