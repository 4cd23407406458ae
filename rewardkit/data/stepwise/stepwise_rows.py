"""Rows of answers in steps: TRL's stepwise form, PRM800K and Math-Shepherd, read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Literal

from rewardkit.data.columns import prompt_columns, read_row_prompt
from rewardkit.data.conversations import RowError, read_prompt, read_text
from rewardkit.data.export_formats import turns
from rewardkit.data.preferences import FIRST_ROWS, Check, OnBadRow, ReadRow, ReadRows, Refuse, read_each
from rewardkit.data.sources import Part, choose_split, open_source
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
from rewardkit.data.tables.cells import decode_literal, read_cell
from rewardkit.data.training_data import RowKind

StepwiseForm = Literal["stepwise", "prm800k", "math_shepherd"]
STEP_TAG = "ки"  # ends a step of Math-Shepherd
_TAG = re.compile(rf"{STEP_TAG}(?: \?)?")
_MARK = re.compile(rf"\s*(?:{STEP_TAG}\s*)?([+-])")
_RATINGS = {1: 1.0, 0: 0.5, -1: 0.0}  # of PRM800K: right, neutral, wrong


def find_stepwise_form(first: Sequence[Mapping[str, Any]]) -> StepwiseForm | None:
    """How rows say what their steps are worth, from the first of them; None where they are no such rows."""
    names = {name for row in first for name in row}
    if names >= {"completions", "labels"}:
        return "stepwise"
    if names >= {"question", "label"} and any(_inside(row.get("label"), "steps") is not None for row in first):
        return "prm800k"
    tagged = any(isinstance(row.get("input"), str) and STEP_TAG in row["input"] for row in first)
    return "math_shepherd" if names >= {"input", "label"} and tagged else None


def holds_steps(source: str) -> bool:
    """Whether the rows of a source are answers in steps.

    Raises:
        FileNotFoundError, ValueError, ImportError: as `rewardkit.data.sources.open_source`.
    """
    parts = (part for parts in open_source(source).values() for part in parts)
    rows = (row for part in parts for _, row in part.rows(lambda _number, _problem: None))
    return find_stepwise_form(list(islice(rows, FIRST_ROWS))) is not None


def read_stepwise(
    source: str, *, on_bad_row: OnBadRow = "error", check: Check[SteppedAnswer] | None = None
) -> ReadRows[SteppedAnswer]:
    """Reads answers in steps from whatever `rewardkit.data.sources.open_source` opens.

    TRL's stepwise form has `prompt` (a text or turns), `completions` (the steps) and `labels` (true and false, numbers
    0 to 1, null; the column may lack). PRM800K rates steps 1, 0 and -1, which become 1, 0.5 and 0, and holds several
    candidates for a step: each becomes an answer that ends with it, and its earlier steps, which are judged once in
    the solution that goes on, are None there. A step that a labeler wrote is right. Math-Shepherd's `input` has the tag
    ки at each step's end, and its `label` + or - in the same places; the problem ends where `Step 1:` begins.

    Args:
        source: a path or hub id; `SOURCE:SPLIT` names one split of several.
        on_bad_row: stop with an error that names the first bad row, or list them and go on.
        check: asked for every answer.

    Raises:
        ValueError: naming file, line and field, if a row is bad or no form fits.
        FileNotFoundError: if there is no such source.
    """
    splits = open_source(source)
    return read_stepwise_parts(splits[choose_split(splits, source)], source, on_bad_row, check)


def read_stepwise_parts(
    parts: Sequence[Part],
    source: str,
    on_bad_row: OnBadRow = "error",
    check: Check[SteppedAnswer] | None = None,
) -> ReadRows[SteppedAnswer]:
    """Reads the parts of one split, see `read_stepwise`."""
    return read_each(parts, source, _reader, on_bad_row=on_bad_row, check=check)


def stepwise_row(answer: SteppedAnswer, *, hard: bool) -> dict[str, Any]:
    """A row of TRL's stepwise form, its other columns behind.

    Args:
        hard: whether labels are written as true and false, as TRL's trainer takes them, see `are_hard`.
    """
    labels = [None if label is None else bool(label) if hard else label for label in answer.labels]
    return {"prompt": turns(answer.prompt), "completions": list(answer.steps), "labels": labels, **answer.metadata}


def are_hard(labels: Iterable[Sequence[float | None]]) -> bool:
    """Whether no label of a whole file lies between right and wrong: a column of both kinds would have no type."""
    return all(label in (0.0, 1.0, None) for of_answer in labels for label in of_answer)


def row_reader(form: StepwiseForm, names: Sequence[str]) -> ReadRow[SteppedAnswer]:
    """Reads one row of a form; it raises `RowError` for one that cannot be used.

    Args:
        form: as `find_stepwise_form` says it.
        names: of the file's columns.
    """
    match form:
        case "prm800k":
            return _read_prm800k
        case "math_shepherd":
            return _read_math_shepherd
        case "stepwise":
            columns = prompt_columns([name for name in names if name not in ("completions", "labels")])
            return partial(_read_row, columns)


def _reader(
    _parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str
) -> tuple[ReadRow[SteppedAnswer], str]:
    names = list(dict.fromkeys(name for row in first for name in row))
    form = find_stepwise_form(first) or "stepwise"
    if form == "stepwise" and "completions" not in names:
        needed = "needed are prompt, completions (the steps) and labels"
        raise ValueError(f"{source}: no form of answers in steps fits the columns {', '.join(names)}; {needed}")
    return row_reader(form, names), form


def _read_row(columns: Mapping[str, str], row: Mapping[str, Any], _refuse: Refuse) -> list[SteppedAnswer]:
    texts = read_steps(row.get("completions"), "completions")
    given = row.get("labels")
    labels = [None] * len(texts) if given is None or given == "" else _listed(given, "labels")  # "" of a CSV file
    if len(labels) != len(texts):
        raise RowError("wrong_type", "labels", labels, f"a list of {len(labels)}, allowed is one a step, {len(texts)}")
    read = {*columns.values(), "completions", "labels"}
    return [
        SteppedAnswer(
            prompt=read_row_prompt(row, columns),
            steps=texts,
            labels=tuple(_label(label, f"labels[{place}]") for place, label in enumerate(labels)),
            metadata={name: value for name, value in row.items() if name not in read},
        )
    ]


def read_steps(value: object, name: str) -> tuple[str, ...]:
    """The texts of the steps that a column lists, perhaps as JSON in a cell.

    Raises:
        RowError: if it is no such list, or a step is blank.
    """
    return tuple(_step(step, f"{name}[{place}]") for place, step in enumerate(_listed(value, name)))


def _listed(value: object, name: str) -> Sequence[Any]:
    items = decode_literal(value) if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, str) or not items:
        raise RowError("wrong_type", name, value, "allowed is a list with an entry a step")
    return items


def _step(value: object, name: str) -> str:
    text = read_text(value, name)
    if not text.strip():
        raise RowError("empty_response", name, text, "a step needs a text")
    return text


def _label(value: object, name: str) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        allowed = "allowed are true, false, a number from 0 (wrong) to 1 (right), and null for not judged"
        raise RowError("bad_number", name, value, allowed)
    return float(value)


def _read_prm800k(row: Mapping[str, Any], _refuse: Refuse) -> list[SteppedAnswer]:
    prompt = read_prompt(read_cell(row, "question.problem"), "question.problem")
    metadata = {name: value for name, value in row.items() if name not in ("question", "label")}
    metadata |= {"finish_reason": read_cell(row, "label.finish_reason")}
    metadata |= {"ground_truth_answer": read_cell(row, "question.ground_truth_answer")}
    answers: list[SteppedAnswer] = []
    steps: list[str] = []
    labels: list[float | None] = []

    def add(texts: Sequence[str], judged: Sequence[float | None]) -> None:
        one = SteppedAnswer(prompt=prompt, steps=tuple(texts), labels=tuple(judged), metadata=metadata)
        answers.append(one)

    for place, step in enumerate(_listed(read_cell(row, "label.steps"), "label.steps")):
        name = f"label.steps[{place}]"
        candidates, chosen = _inside(step, "completions") or [], _inside(step, "chosen_completion")
        if not isinstance(candidates, Sequence) or isinstance(candidates, str):
            raise RowError("wrong_type", f"{name}.completions", candidates, "allowed is a list of candidates, or null")
        written = _inside(step, "human_completion")
        if chosen is not None and not (isinstance(chosen, int) and 0 <= chosen < len(candidates)):
            allowed = f"allowed is one of {len(candidates)} completions, or null"
            raise RowError("bad_number", f"{name}.chosen_completion", chosen, allowed)
        rated = [_rated(one, f"{name}.completions[{index}]") for index, one in enumerate(candidates)]
        for index, (text, label) in enumerate(rated):
            if index != chosen:
                add([*steps, text], [*([None] * len(steps)), label])
        if chosen is not None:
            text, label = rated[chosen]
        elif written:
            text, label = _step(_inside(written, "text") or written, f"{name}.human_completion"), 1.0
        else:
            break  # no candidate was right: here the solution ends
        steps.append(text)
        labels.append(label)
    if steps:
        add(steps, labels)
    return answers


def _rated(candidate: object, name: str) -> tuple[str, float | None]:
    rating = _inside(candidate, "rating")
    if rating is not None and (type(rating) not in (int, float) or rating not in _RATINGS):
        raise RowError("bad_number", f"{name}.rating", rating, "allowed are -1, 0, 1 and null")
    return _step(_inside(candidate, "text"), f"{name}.text"), None if rating is None else _RATINGS[rating]


def _inside(value: object, name: str) -> Any:
    """What an object holds, one that a cell carries as text among them; None where it is none or has no such thing."""
    value = decode_literal(value) if isinstance(value, str) and value.lstrip().startswith("{") else value
    return value.get(name) if isinstance(value, Mapping) else None


def _read_math_shepherd(row: Mapping[str, Any], _refuse: Refuse) -> list[SteppedAnswer]:
    text, marked = read_text(row.get("input"), "input"), read_text(row.get("label"), "label")
    *parts, rest = _TAG.split(text)
    if not parts or rest.strip():
        raise RowError("wrong_type", "input", text, f"allowed is a solution whose every step ends in {STEP_TAG}")
    labels: list[float] = []
    at = 0
    for part in parts:
        mark = _MARK.match(marked, at + len(part.rstrip()))
        if not marked.startswith(part.rstrip(), at) or mark is None:
            allowed = f"step {len(labels) + 1} is not as in input with + or - at its end"
            raise RowError("wrong_type", "label", marked[at:], allowed)
        labels.append(float(mark[1] == "+"))
        at = mark.end()
    problem, begins, first = parts[0].partition("Step 1:")
    if not begins:
        raise RowError("wrong_type", "input", parts[0], "no 'Step 1:' says where the problem ends")
    steps = [begins + first, *parts[1:]]
    return [
        SteppedAnswer(
            prompt=read_prompt(problem.strip(), "input"),
            steps=tuple(_step(step.strip(), "input") for step in steps),
            labels=tuple(labels),
            metadata={name: value for name, value in row.items() if name not in ("input", "label")},
        )
    ]


def stepped_content(answer: SteppedAnswer) -> list[object]:
    """What training sees of an answer."""
    return [turns(answer.prompt), list(answer.steps), list(answer.labels)]


STEPS = RowKind(
    noun="stepped answer",
    read=read_stepwise_parts,
    content=stepped_content,
    weight=lambda answer: answer.num_judged,
    exported="stepwise",
)
