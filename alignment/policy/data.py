"""What policies are trained on besides preferences: demonstrations, and single completions that are desirable or not.

Every form of preference data that rewardkit reads serves here too: its chosen completions demonstrate, and its pairs
come apart into a desirable and an undesirable completion. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from rewardkit.config import PRESET_NAMES
from rewardkit.data.columns import behind_system, prompt_columns, read_row_prompt
from rewardkit.data.comparison_rows import refuse_turns
from rewardkit.data.conversations import (
    RowError,
    decode_list,
    is_dialogue,
    is_messages,
    read_dialogue,
    read_messages,
    read_text,
)
from rewardkit.data.export_formats import turns
from rewardkit.data.preferences import (
    Check,
    OnBadRow,
    ReadRow,
    ReadRows,
    Refuse,
    is_absent,
    preference_reader,
    read_each,
    read_weight,
)
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message, Preference
from rewardkit.data.sources import Part, choose_split, open_source
from rewardkit.data.splitting import Row
from rewardkit.data.training_data import DataOptions, LoadedRows, RowKind, load_rows
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress

COMPLETIONS = ("completion", "response", "output", "answer", "demonstration")
CONVERSATIONS = ("messages", "conversations", "conversation")
DEMONSTRATION = "demonstration"  # column of a `PromptRow` that was read with what demonstrates its answer
LABELS = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True, kw_only=True, slots=True)
class Demonstration:
    """What a policy is to write: a conversation that ends in the assistant's turn, or a bare text.

    Attributes:
        turns: of the conversation; a bare text is a single turn of the assistant.
        weight: of the row in the loss, 0 or more.
    """

    turns: tuple[Message, ...]
    weight: float = 1.0

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The turns before the last one; a bare text stands for itself, so that splits tell texts apart."""
        return self.turns[:-1] or self.turns

    @property
    def is_text(self) -> bool:
        """Whether it is a bare text."""
        return len(self.turns) == 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    """One completion of a prompt and whether it is desirable."""

    prompt: tuple[Message, ...]
    completion: str
    desirable: bool
    weight: float = 1.0


def read_demonstrations(
    parts: Sequence[Part], source: str, on_bad_row: OnBadRow = "error", check: Check[Demonstration] | None = None
) -> ReadRows[Demonstration]:
    """Reads demonstrations of any form.

    Forms: `messages` (or `conversations`), whole; `prompt` with `completion`, `response`, `output` or `answer`; `text`,
    bare; or preferences, of which the chosen completions are taken, each once.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
    """
    demonstrations = read_each(parts, source, _demonstration_reader, on_bad_row=on_bad_row, check=check)
    if demonstrations.form not in ("messages", "completion", "text"):
        return ReadRows(
            rows=list(dict.fromkeys(demonstrations.rows)), bad_rows=demonstrations.bad_rows, form=demonstrations.form
        )
    return demonstrations


def read_demonstrated_prompts(
    source: str, *, on_bad_row: OnBadRow = "error", check: Check[PromptRow] | None = None
) -> ReadRows[PromptRow]:
    """Reads demonstrations as `read_demonstrations` does: prompts, with the answer in the column DEMONSTRATION.

    Raises:
        ValueError: naming file and line, if a row is bad, a bare text among them, or no form fits.
        FileNotFoundError: if there is no such source.
    """

    def reader(parts: Sequence[Part], first: Sequence[Mapping[str, Any]], name: str) -> tuple[ReadRow[PromptRow], str]:
        read, form = _demonstration_reader(parts, first, name)

        def read_row(row: Mapping[str, Any], refuse: Refuse) -> list[PromptRow]:
            demonstrations = read(row, refuse)
            if any(one.is_text for one in demonstrations):
                raise RowError("missing_field", "prompt", None, "a demonstration needs the prompt that it answers")
            return [
                PromptRow(prompt=one.prompt, columns={**row, DEMONSTRATION: one.turns[-1].content})
                for one in demonstrations
            ]

        return read_row, form

    splits = open_source(source)
    return read_each(splits[choose_split(splits, source)], source, reader, on_bad_row=on_bad_row, check=check)


def read_labelled(
    parts: Sequence[Part], source: str, on_bad_row: OnBadRow = "error", check: Check[Labelled] | None = None
) -> ReadRows[Labelled]:
    """Reads `prompt`, `completion` and `label`, or preferences, each of which becomes two rows.

    A row of a pair weighs what the pair does times 2 p_chosen - 1: nothing for a tie, which says of neither completion
    that it is good.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
    """
    return read_each(parts, source, _labelled_reader, on_bad_row=on_bad_row, check=check)


class PolicyDataOptions(DataOptions, Protocol):
    """The part of a configuration that says which data there is, and for which policy."""

    @property
    def model(self) -> str: ...


def load_data(
    config: PolicyDataOptions, run: Run | None, kind: RowKind[Row], progress: Progress
) -> LoadedRows[Row] | None:
    """The data of a run, told of; None in all processes but the first."""
    if run is None:
        return None
    loaded = load_rows(config, Path(run.dir), kind, _template_check(config))
    progress.say(loaded.description)
    return loaded


def _template_check(config: PolicyDataOptions) -> Check[Any] | None:
    """Asks the policy's chat template for every prompt, or for all turns where all are trained on."""
    if config.model in PRESET_NAMES:  # their chat template takes any conversation
        return None
    from rewardkit.network.template_check import TemplateCheck

    asked = TemplateCheck([config.model], writes=True)
    every_turn = getattr(config, "train_on", "") == "all"

    def check(row: Demonstration | Labelled | Preference, _place: str) -> None:
        if not isinstance(row, Demonstration):
            asked(row.prompt, ())
        elif not row.is_text:
            answers = [number for number, turn in enumerate(row.turns) if turn.role == "assistant" and number]
            for number in answers if every_turn else answers[-1:]:
                asked(row.turns[:number], ())

    return check


def _demonstration_reader(
    parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str
) -> tuple[ReadRow[Demonstration], str]:
    names = {name for row in first for name in row}
    completion = _first_of(COMPLETIONS, names)
    columns = prompt_columns(names - {completion})
    conversation = _first_of(CONVERSATIONS, names)
    if conversation and not completion and not {"chosen", "rejected"} <= names:
        return partial(_read_conversation, conversation, columns), "messages"
    if "prompt" in columns and completion:
        return partial(_read_demonstration, columns, completion), "completion"
    if "text" in names and not {"chosen", "rejected"} <= names:
        return _read_text, "text"
    try:
        read, form = preference_reader(parts, first, source)
    except ValueError as error:
        needed = "needed are messages, prompt and completion (or response), text, or the columns of preferences"
        columns = ", ".join(sorted(names))
        raise ValueError(f"{source}: no demonstrations, the columns are {columns}; {needed}") from error
    return partial(_chosen_only, read), form


def _read_conversation(
    column: str, columns: Mapping[str, str], row: Mapping[str, Any], _refuse: Refuse
) -> list[Demonstration]:
    value = decode_list(row.get(column))
    if is_absent(value):
        raise RowError("missing_field", column, value, "a conversation is needed")
    messages = read_dialogue(str(value), column) if is_dialogue(value) else read_messages(value, column)
    messages = behind_system(row, columns, messages)
    return [Demonstration(turns=_checked(messages, column), weight=read_weight(row))]


def _read_demonstration(
    columns: Mapping[str, str], completion: str, row: Mapping[str, Any], _refuse: Refuse
) -> list[Demonstration]:
    messages = read_row_prompt(row, columns)
    written = _answer(row.get(completion), completion)
    return [Demonstration(turns=_checked((*messages, written), completion), weight=read_weight(row))]


def _read_text(row: Mapping[str, Any], _refuse: Refuse) -> list[Demonstration]:
    text = read_text(row.get("text"), "text")
    return [Demonstration(turns=_checked((Message(role="assistant", content=text),), "text"), weight=read_weight(row))]


def _answer(value: object, column: str) -> Message:
    """The assistant's turn, given as a text or as a list of this one turn."""
    decoded = decode_list(value)
    if not is_messages(decoded):
        return Message(role="assistant", content=read_text(value, column))
    messages = read_messages(decoded, column)
    if len(messages) != 1:
        raise RowError("wrong_type", column, decoded, "allowed is one turn; a whole conversation goes into messages")
    refuse_turns(messages, column)
    return messages[0]


def _checked(messages: tuple[Message, ...], column: str) -> tuple[Message, ...]:
    last = messages[-1]  # pyright: ignore[reportGeneralTypeIssues]
    if last.role != "assistant":
        raise RowError("wrong_type", column, last.content, "the last turn has to be the assistant's")
    refuse_turns([last], column)
    if not last.content.strip():
        raise RowError("empty_response", column, last.content, "an answer with a text is needed")
    return messages


def _chosen_only(read: ReadRow[Preference], row: Mapping[str, Any], refuse: Refuse) -> list[Demonstration]:
    return [
        Demonstration(turns=(*pair.prompt, Message(role="assistant", content=pair.chosen)), weight=read_weight(row))
        for pair in read(row, refuse)
    ]


def _labelled_reader(
    parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str
) -> tuple[ReadRow[Labelled], str]:
    names = {name for row in first for name in row}
    completion = _first_of(COMPLETIONS, names)
    columns = prompt_columns(names - {completion})
    if "prompt" in columns and completion and "label" in names:
        return partial(_read_labelled, columns, completion), "label"
    try:
        read, form = preference_reader(parts, first, source)
    except ValueError as error:
        needed = "needed are prompt, completion and label, or the columns of preferences"
        columns = ", ".join(sorted(names))
        raise ValueError(f"{source}: no labelled completions, the columns are {columns}; {needed}") from error
    return partial(_taken_apart, read), form


def _read_labelled(
    columns: Mapping[str, str], completion: str, row: Mapping[str, Any], _refuse: Refuse
) -> list[Labelled]:
    label = row.get("label")
    key = label.strip().lower() if isinstance(label, str) else label
    if not isinstance(key, bool | int | str) or key not in LABELS:
        raise RowError("wrong_type", "label", label, "allowed are true and false")
    written = _answer(row.get(completion), completion).content
    if not written.strip():
        raise RowError("empty_response", completion, written, "an answer with a text is needed")
    messages = read_row_prompt(row, columns)
    return [Labelled(prompt=messages, completion=written, desirable=LABELS[key], weight=read_weight(row))]


def _taken_apart(read: ReadRow[Preference], row: Mapping[str, Any], refuse: Refuse) -> list[Labelled]:
    return [
        Labelled(prompt=pair.prompt, completion=text, desirable=desirable, weight=pair.weight * (2 * pair.p_chosen - 1))
        for pair in read(row, refuse)
        for text, desirable in ((pair.chosen, True), (pair.rejected, False))
    ]


def _first_of(names: Sequence[str], present: set[str]) -> str:
    return next((name for name in names if name in present), "")


DEMONSTRATIONS = RowKind(
    noun="demonstration",
    read=read_demonstrations,
    content=lambda row: [turns(row.turns), row.weight],
    weight=lambda row: row.weight,
    exported="sft",
)
LABELLED = RowKind(
    noun="completion",
    read=read_labelled,
    content=lambda row: [turns(row.prompt), row.completion, row.desirable, row.weight],
    weight=lambda row: row.weight,
    exported="unpaired",
)
