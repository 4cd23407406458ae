"""Rewards for the rows of a file: which completions of a row are scored, and which columns it gets.

What is scored, and the columns added for it (a completion's column keeps the name it has in the file):

    prompt and completion           reward, reward_std; by a process reward model step_rewards, step_rewards_std too
    prompt, completions, labels     the same, by a process reward model: the completions are steps of one answer
    prompt and responses (a list)   reward, reward_std, as lists
    chosen and rejected, or two     chosen_reward, chosen_reward_std, rejected_reward, rejected_reward_std,
      responses of any name           reward_margin (first minus second), reward_margin_std

Rewards of steps are probabilities that they are right. Standard deviations are over members, ddof = 1, and 0 for one
member. No torch: the reward model comes as a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rewardkit.data.columns import (
    ALIASES,
    ANSWERS,
    Reading,
    behind_system,
    detect_reading,
    prompt_columns,
    read_row_prompt,
)
from rewardkit.data.comparison_rows import plain, read_answers, read_two, refuse_turns
from rewardkit.data.conversations import RowError, decode_list, is_messages, read_messages, read_text
from rewardkit.data.preferences import refuse_images
from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.data.stepwise.stepwise_rows import find_stepwise_form, read_steps
from rewardkit.reward.reward import Reward, RewardFn
from rewardkit.reward.step_rewards import StepRewards, aggregate

SINGLE = ("completion", *ANSWERS, "messages")
PROBLEM = "reward_problem"
STEP_COLUMNS = ("step_rewards", "step_rewards_std")
Completion = tuple[tuple[Message, ...], str | tuple[str, ...]]
"""A prompt and what is scored of it: a text, or its steps."""
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Scorable:
    """How the rows of a file are scored.

    Attributes:
        reading: how prompt and completions are found.
        columns: of the completions: two, or one that holds a list, or one that holds a completion.
        single: whether it holds a completion, or a whole conversation that ends in one.
        steps_by: what parts the steps of a completion whose steps are scored one by one; empty where none are.
        lists_steps: whether the column holds the steps of one completion.
        check: raises RowError for a prompt and completions that the model cannot read; None takes all.
    """

    reading: Reading
    columns: tuple[str, ...]
    single: bool = False
    steps_by: str = ""
    lists_steps: bool = False
    check: Callable[[Sequence[Message], Sequence[str]], None] | None = None

    @property
    def added(self) -> tuple[str, ...]:
        """The columns that a row gets."""
        if len(self.columns) == 1:
            return ("reward", "reward_std", *(STEP_COLUMNS if self.steps_by else ()))
        sides = tuple(f"{column}{end}" for column in self.columns for end in ("_reward", "_reward_std"))
        return (*sides, "reward_margin", "reward_margin_std")


def detect_scorable(rows: Sequence[Row], source: str, steps_by: str = "") -> Scorable:
    """Finds what is to be scored from the first rows.

    Args:
        steps_by: for a process reward model, see `Scorable`.

    Raises:
        ValueError: if nothing is, or a column that would be added is there already.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    if steps_by and find_stepwise_form(rows) == "stepwise":
        columns = prompt_columns(name for name in names if name not in ("completions", "labels"))
        reading = Reading(form="responses", columns=columns)
        scorable = Scorable(reading=reading, columns=("completions",), single=True, steps_by=steps_by, lists_steps=True)
    else:
        scorable = _find(rows, names, source)
        scorable = replace(scorable, steps_by=steps_by if scorable.single else "")
    if taken := next((name for name in (*scorable.added, PROBLEM) if name in names), ""):
        raise ValueError(f"{source}: a column {taken} is there already, and would be added")
    return scorable


def _find(rows: Sequence[Row], names: Sequence[str], source: str) -> Scorable:
    try:
        reading = detect_reading(rows)
        if {"chosen", "rejected"} <= set(names) and reading.form not in ("chosen_rejected", "dialogues"):
            reading = detect_reading(rows, form="chosen_rejected")
    except ValueError as error:
        return _find_single(rows, names, f"{source}: {error}")
    match reading.form:
        case "chosen_rejected" | "dialogues":
            fields = ("chosen", "rejected")
        case "pairs":
            fields = ("response_a", "response_b")
        case "responses" | "ranked":
            fields = ("responses",)
    return Scorable(reading=reading, columns=tuple(reading.columns[name] for name in fields))


def _find_single(rows: Sequence[Row], names: Sequence[str], otherwise: str) -> Scorable:
    prompt = next((name for name in ALIASES["prompt"] if name in names), "")
    column = next((name for name in SINGLE if name in names and name != prompt), "")
    whole = next((name for name in names if any(is_messages(decode_list(row.get(name))) for row in rows)), "")
    if not (prompt and column) and not whole:
        raise ValueError(f"{otherwise}; for one completion a row, name its columns prompt and completion")
    columns = {name: place for name, place in prompt_columns(name for name in names if name != column).items()}
    if not column:
        columns.pop("prompt", None)
    return Scorable(reading=Reading(form="responses", columns=columns), columns=(column or whole,), single=True)


def read_completions(row: Row, how: Scorable) -> list[Completion]:
    """What of a row is scored.

    Raises:
        RowError: naming the field that cannot be read.
    """
    refuse_images(row)
    if how.lists_steps:
        prompt, column = read_row_prompt(row, how.reading.columns), how.columns[0]
        return [(prompt, read_steps(row.get(column), column))]
    if how.single and how.steps_by:
        prompt, text = _read_single(row, how)
        if not (steps := split_steps(text, how.steps_by)):
            raise RowError("empty_response", how.columns[0], text, "a process reward model needs one step or more")
        return [(prompt, steps)]
    if how.single:
        return [_read_single(row, how)]
    if len(how.columns) == 2:
        prompt, first, second = read_two(row, how.reading)
        return [(prompt, first), (prompt, second)]
    answers = read_answers(row.get(how.columns[0]), how.columns[0], None)
    if not answers:
        raise RowError("missing_field", how.columns[0], "[]", "one response or more is needed")
    for index, answer in enumerate(answers):
        refuse_turns(answer.turns, f"{how.columns[0]}[{index}]")
    prompt = read_row_prompt(row, how.reading.columns)
    return [(prompt, answer.text) for answer in answers]


def _read_single(row: Row, how: Scorable) -> tuple[tuple[Message, ...], str]:
    (column,) = how.columns
    value = decode_list(row.get(column))
    if value is None:
        raise RowError("missing_field", column, value, "a completion is needed")
    if not is_messages(value):
        return read_row_prompt(row, how.reading.columns), read_text(row[column], column)
    *before, last = read_messages(value, column)
    if last.role != "assistant":
        raise RowError("wrong_type", column, last.content, "the last turn has to be the assistant's")
    refuse_turns([last], column)
    if not before and "prompt" in how.reading.columns:
        return read_row_prompt(row, how.reading.columns), last.content
    return behind_system(row, how.reading.columns, tuple(before)) if before else (), last.content


def score_rows(rows: Sequence[Row], how: Scorable, reward_fn: RewardFn) -> list[dict[str, Any]]:
    """The rows with their rewards; a completion that occurs more than once is scored once.

    A row that cannot be scored gets no rewards, and what is wrong with it in PROBLEM.

    Raises:
        FloatingPointError: if a reward is not finite.
    """
    numbers: dict[Completion, int] = {}
    plain_rows: list[dict[str, Any]] = []
    numbers_of_rows: list[list[int]] = []
    for row in rows:
        try:
            completions = check_row(row, how)
            plain_rows.append({name: plain(value) for name, value in row.items()})
        except RowError as error:
            completions = []
            plain_rows.append({name: _printable(value) for name, value in row.items()} | {PROBLEM: str(error)})
        numbers_of_rows.append([numbers.setdefault(completion, len(numbers)) for completion in completions])
    if not numbers:
        return [row | dict.fromkeys(how.added) for row in plain_rows]
    if how.steps_by:
        return _score_steps(plain_rows, numbers_of_rows, list(numbers), how, reward_fn)
    reward = reward_fn([prompt for prompt, _ in numbers], [str(text) for _, text in numbers])
    if bad := int((~np.isfinite(reward.members)).any(0).sum()):
        raise FloatingPointError(f"the model gives {bad} of {len(numbers)} completions a reward that is not finite")
    return [
        row | (_columns(reward, places, how) if places else dict.fromkeys(how.added))
        for row, places in zip(plain_rows, numbers_of_rows, strict=True)
    ]


def _score_steps(
    rows: Sequence[dict[str, Any]],
    numbers_of_rows: Sequence[Sequence[int]],
    answers: Sequence[Completion],
    how: Scorable,
    reward_fn: RewardFn,
) -> list[dict[str, Any]]:
    """The rows with the probabilities of their answer's steps, and the reward of all of it."""
    model: Any = reward_fn  # with the options of `rewardkit.reward.process_reward.ProcessRewardModel`
    scored: list[StepRewards] = model.score_steps([prompt for prompt, _ in answers], [steps for _, steps in answers])
    added: list[dict[str, Any]] = []
    for one in scored:
        reward = Reward(members=aggregate(one.members, model.aggregation)[:, None])
        steps = (one.mean.tolist(), one.std.tolist())
        added.append(dict(zip(how.added, (float(reward.mean[0]), float(reward.std[0]), *steps), strict=True)))
    return [
        row | (added[numbers[0]] if numbers else dict.fromkeys(how.added))
        for row, numbers in zip(rows, numbers_of_rows, strict=True)
    ]


def check_row(row: Row, how: Scorable) -> list[Completion]:
    """What of a row is scored, once all of the row is known to be storable, and readable for the model.

    Raises:
        RowError: naming the field that cannot be read or stored.
    """
    for name, value in row.items():
        try:
            plain(value)
        except RowError as error:
            raise RowError(error.reason, name, value, "it holds a character that no UTF-8 text may hold") from error
    completions = read_completions(row, how)
    if how.check:
        for prompt in dict.fromkeys(prompt for prompt, _ in completions):
            how.check(prompt, [str(text) for other, text in completions if other == prompt])
    return completions


def _printable(value: object) -> object:
    try:
        return plain(value)
    except RowError:
        return ascii(value)


def _columns(reward: Reward, places: Sequence[int], how: Scorable) -> dict[str, Any]:
    mean, std = reward.mean[places].tolist(), reward.std[places].tolist()
    if how.single:
        return {"reward": mean[0], "reward_std": std[0]}
    if len(how.columns) == 1:
        return {"reward": mean, "reward_std": std}
    margins = Reward(members=reward.members[:, places[:1]] - reward.members[:, places[1:]])
    values = [mean[0], std[0], mean[1], std[1], float(margins.mean[0]), float(margins.std[0])]
    return dict(zip(how.added, values, strict=True))
