"""Answers in steps: reading the steps, where such answers may be, and dividing one anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, ScalarSelect, func, select, update

from annotate_app.protocol.rubric import parse_rubric
from annotate_app.store.base.slots import LEASED, batches
from annotate_app.store.schema.desk_tables import answer_steps
from annotate_app.store.schema.tables import comparison, judgment, rubric, slot
from rewardkit.data.records import MOST_STEPS, StepLabels, check_step_labels


def steps_of(comparison_id: ColumnElement[int]) -> ScalarSelect:
    """By comparison, the steps of its answer; null where it is not in steps."""
    return _of(answer_steps.c.steps, comparison_id)


def step_scores_of(comparison_id: ColumnElement[int]) -> ScalarSelect:
    """By comparison, what a model gives the steps of its answer, or null."""
    return _of(answer_steps.c.scores, comparison_id)


def _of(column: ColumnElement, comparison_id: ColumnElement[int]) -> ScalarSelect:
    return select(column).where(answer_steps.c.comparison_id == comparison_id).correlate(comparison).scalar_subquery()


def check_steps(steps: Sequence[str], label: str) -> None:
    """Refuses what cannot be an answer's steps: none, too many, an empty one.

    Raises:
        ValueError: naming the step.
    """
    if not 1 <= len(steps) <= MOST_STEPS:
        raise ValueError(f"{label} has {len(steps)} steps, allowed are 1 to {MOST_STEPS}")
    for number, step in enumerate(steps, start=1):
        if not step.strip():
            raise ValueError(f"{label}: step {number} is empty, allowed is a text")


def refuse_other_task(connection: Connection, project_id: int, *, num_stepped: int, num_whole: int) -> None:
    """Refuses answers in steps where the rubric asks for no labels of steps, and whole ones where it does.

    Raises:
        ValueError: saying what to change.
    """
    newest = select(rubric.c.text).where(rubric.c.project_id == project_id).order_by(rubric.c.version.desc()).limit(1)
    asks_for_steps = parse_rubric(connection.execute(newest).scalar_one()).task == "steps"
    if num_stepped and not asks_for_steps:
        raise ValueError("answers in steps come to a project whose rubric does not judge steps: set task: steps first")
    if num_whole and asks_for_steps:
        raise ValueError(
            "the project's rubric judges steps, and what comes are responses to compare: divide them first"
        )


def refuse_task(connection: Connection, project_id: int, task: str) -> None:
    """Refuses a rubric whose task does not fit the project's comparisons: steps are judged of answers in steps.

    Raises:
        ValueError: saying so.
    """
    of_project = select(comparison.c.id).where(comparison.c.project_id == project_id)
    of_steps = select(answer_steps.c.comparison_id)
    misfits = comparison.c.id.not_in(of_steps) if task == "steps" else comparison.c.id.in_(of_steps)
    if connection.execute(of_project.where(misfits).limit(1)).first() is None:
        return
    if task == "steps":
        raise ValueError("task is 'steps', but the project has responses to compare: make a project of its own")
    raise ValueError(f"task is {task!r}, but the project has answers in steps, which only task: steps judges")


def divide_anew(connection: Connection, comparison_id: int, steps: Sequence[str]) -> None:
    """Replaces the steps of an answer that nobody has judged and nobody has in hand; its model's scores go.

    Raises:
        ValueError: if it is not in steps, or was judged, or is being judged.
    """
    check_steps(steps, "the answer")
    if connection.execute(select(judgment.c.id).where(judgment.c.comparison_id == comparison_id).limit(1)).first():
        raise ValueError("the answer has judgments, which go by its steps; allowed is one that nobody has judged")
    held = select(func.count()).where(slot.c.comparison_id == comparison_id, slot.c.state == LEASED)
    if connection.execute(held).scalar_one():
        raise ValueError("somebody has the answer in hand; allowed is one that nobody is judging")
    chosen = update(answer_steps).where(answer_steps.c.comparison_id == comparison_id)
    if not connection.execute(chosen.values(steps=list(steps), scores=None)).rowcount:
        raise ValueError("the comparison is no answer in steps")


def stepped_keys(connection: Connection, project_id: int, keys: Iterable[str]) -> set[str]:
    """The comparison ids that are of answers in steps."""
    query = (
        select(comparison.c.key)
        .join(answer_steps, answer_steps.c.comparison_id == comparison.c.id)
        .where(comparison.c.project_id == project_id, comparison.c.key.in_(list(keys)))
    )
    return set(connection.execute(query).scalars())


def write_scores(connection: Connection, project_id: int, scores: Mapping[str, StepLabels]) -> None:
    """Stores what a model gives the steps of answers, by comparison id; those that are not named keep theirs.

    Raises:
        ValueError: if an answer is not there, or there is not a probability or null for each of its steps.
    """
    query = (
        select(comparison.c.key, comparison.c.id, answer_steps.c.steps)
        .join(answer_steps, answer_steps.c.comparison_id == comparison.c.id)
        .where(comparison.c.project_id == project_id)
    )
    for keys in batches(list(scores)):
        stored = {row.key: row for row in connection.execute(query.where(comparison.c.key.in_(keys)))}
        for key in keys:
            if key not in stored:
                raise ValueError(f"there is no answer in steps {key!r} in the project")
            try:
                check_step_labels(scores[key], len(stored[key].steps))
            except ValueError as error:
                raise ValueError(f"step scores of {key!r}: {error}") from error
            chosen = update(answer_steps).where(answer_steps.c.comparison_id == stored[key].id)
            connection.execute(chosen.values(scores=list(scores[key])))
