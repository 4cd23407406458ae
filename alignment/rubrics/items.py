"""What a rubric asks of an answer: its file, and the checklist of a prompt's row.

judge: judges.json#careful          # or the fields of a judge, see `alignment.judges.spec`
agreement: report.json              # `annotate-app judge report PROJECT NAME --json`
rubric: project.yaml                # the project's, for guidelines and the questions of its ratings
guidelines: What the judge reads before each question.
criteria:
  - {name: settles, question: "Does the reply settle what was asked?", weight: 2}
  - {name: tone, question: "How warm is it?", rating: [1, 5], anchors: {1: cold, 5: warm}}
  - {name: safe, question: "Is it safe to send?", gate: 0.5}
  - {name: short, check: "length:60"}
checklist: rubric                   # column of the prompts: a list of such criteria, or of questions
cache: answers.jsonl
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alignment.judges.spec import JudgeSpec
from alignment.judges.spec_file import read_judge_file

# Names of data sets for ours: HealthBench (criterion, points), Rubrics as Rewards (title, description, weight).
_NAMES = {"criterion": "question", "description": "question", "points": "weight", "title": "name"}
_FIELDS = ("name", "question", "weight", "gate", "check", "rating", "anchors")
_FILE_FIELDS = ("judge", "agreement", "force", "rubric", "guidelines", "criteria", "checklist", "cache")


@dataclass(frozen=True, kw_only=True)
class RubricItem:
    """One criterion, graded from 0 to 1.

    Attributes:
        question: that a judge answers; empty where a program checks.
        weight: of the grade in the reward; below 0 for a fault.
        gate: the least grade that keeps the whole reward; 0 for no gate.
        check: a verifier as `--reward` names it, or a Python function; its number is the grade.
        rating: bounds where the judge rates; None where it says yes or no.
        anchors: what ratings mean.
    """

    name: str
    question: str = ""
    weight: float = 1.0
    gate: float = 0.0
    check: str = ""
    rating: tuple[int, int] | None = None
    anchors: Mapping[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.question) == bool(self.check):
            raise ValueError("a criterion has a question or a check, one of them")
        if not math.isfinite(self.weight):
            raise ValueError(f"weight is {self.weight}, allowed is any number")
        if not 0 <= self.gate <= 1:
            raise ValueError(f"gate is {self.gate}, allowed is 0 to 1, the least grade that keeps the reward")
        if self.rating and not 0 <= self.rating[0] < self.rating[1]:
            raise ValueError(f"rating is {list(self.rating)}, allowed are two numbers, 0 or more, the lower one first")


@dataclass(frozen=True, kw_only=True)
class RubricFile:
    """A rubric as a reward; see the module."""

    items: tuple[RubricItem, ...]
    checklist: str = ""
    judge: JudgeSpec | None = None
    guidelines: str = ""
    agreement: str = ""
    force: bool = False
    cache: str = ""


def read_rubric(path: str) -> RubricFile:
    """Reads a file.

    Raises:
        ValueError: naming file and field, if something is missing, unknown or not allowed.
        FileNotFoundError: if it, or one that it names, is not there.
    """
    values = _mapping(path)
    try:
        if unknown := [name for name in values if name not in _FILE_FIELDS]:
            raise ValueError(f"the field {unknown[0]!r:.60} is unknown, allowed are {', '.join(_FILE_FIELDS)}")
        project = _project(str(values["rubric"])) if "rubric" in values else {}
        criteria = values.get("criteria") or []
        if not isinstance(criteria, list) or not (criteria or values.get("checklist")):
            raise ValueError("criteria is no list with an entry, and no column is named as checklist")
        items = [read_item(one, f"criteria[{place}]", project) for place, one in enumerate(criteria)]
        names = [item.name for item in items]
        if len(set(names)) < len(names) or "checklist" in names:
            raise ValueError(f"criteria are named {', '.join(names)}, allowed is each name once, and not 'checklist'")
        if not values.get("checklist"):
            check_weights(items)
        return RubricFile(
            items=tuple(items),
            checklist=str(values.get("checklist") or ""),
            judge=_judge(values.get("judge")),
            guidelines=str(values.get("guidelines") or project.get("guidelines") or ""),
            agreement=str(values.get("agreement") or ""),
            force=bool(values.get("force", False)),
            cache=str(values.get("cache") or ""),
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_checklist(value: Any, column: str) -> list[RubricItem]:
    """The criteria of a prompt's row, a list or the same as JSON; none where the row has none.

    Raises:
        ValueError: naming the column, if it is anything else.
    """
    try:
        entries = json.loads(value) if isinstance(value, str) and value.strip() else value or []
        if not isinstance(entries, list | tuple):
            raise ValueError(f"{str(entries)[:80]!r} is no list")
        return [read_item(one, f"[{place}]", {}) for place, one in enumerate(entries)]
    except ValueError as error:
        raise ValueError(f"column {column}: {error}") from error


def read_item(value: Any, place: str, project: Mapping[str, Any]) -> RubricItem:
    """One criterion: its fields, or its question alone.

    Args:
        project: the project's rubric, whose rating of this name gives what is not said here.

    Raises:
        ValueError: naming the place.
    """
    fields = {"question": value} if isinstance(value, str) else value
    if not isinstance(fields, Mapping):
        raise ValueError(f"{place} is {str(value)[:60]!r}, allowed is a question or the fields of a criterion")
    fields = {_NAMES.get(str(name), str(name)): one for name, one in fields.items() if name != "tags"}
    if unknown := [name for name in fields if name not in _FIELDS]:
        raise ValueError(f"{place}: the field {unknown[0]!r:.60} is unknown, allowed are {', '.join(_FIELDS)}")
    fields = {**_rating_of(project, fields), **fields}
    rating = fields.get("rating")
    try:
        gate = fields.get("gate", 0.0)
        gate = 0.5 if gate is True else float(gate)
        return RubricItem(
            name=str(fields.get("name") or place[place.index("[") + 1 : -1]),
            question=str(fields.get("question") or ""),
            weight=float(fields.get("weight", 0.0 if gate else 1.0)),
            gate=gate,
            check=str(fields.get("check") or ""),
            rating=None if rating is None else (int(rating[0]), int(rating[1])),
            anchors={int(key): str(text) for key, text in (fields.get("anchors") or {}).items()},
        )
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValueError(f"{place}: {error}") from error


def check_weights(items: list[RubricItem]) -> None:
    """Raises ValueError unless a criterion weighs more than 0, or there are gates alone."""
    if not any(item.weight > 0 for item in items) and any(item.weight for item in items):
        raise ValueError("no criterion weighs more than 0: there is nothing that an answer can earn")


def _judge(value: Any) -> JudgeSpec | None:
    if value is None:
        return None
    spec = read_judge_file(value) if isinstance(value, str) else JudgeSpec.from_dict(value)
    if spec.kind in ("reward", "imported"):
        raise ValueError(f"judge: a judge of the kind {spec.kind} grades no criterion; a reward model is a --reward")
    if spec.debate_rounds:
        raise ValueError("judge: debate_rounds is for two answers, a criterion is graded on one")
    return spec


def _project(path: str) -> Mapping[str, Any]:
    values = _mapping(path)
    inner = values.get("rubric", values)
    if not isinstance(inner, dict) or "criteria" not in inner:
        raise ValueError(f"rubric: {path} is no rubric of a project: it has no criteria")
    return inner


def _rating_of(project: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Question, bounds and anchors of the project's rating of this name."""
    if not project or fields.get("question") or fields.get("check"):
        return {}
    by_name = {one.get("name"): one for one in project["criteria"] if isinstance(one, dict)}
    criterion = by_name.get(fields.get("name"))
    if criterion is None:
        raise ValueError(f"{fields.get('name')!r} has no question, and the project's rubric has no such criterion")
    if criterion.get("kind", "compare") != "rate":
        raise ValueError(f"{fields['name']!r} compares two answers in the project's rubric: ask of one by a question")
    bounds = [criterion.get("low", 1), criterion.get("high", 5)]
    return {"question": criterion["question"], "rating": bounds, "anchors": criterion.get("anchors") or {}}


def _mapping(path: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path} holds no fields")
    return values
