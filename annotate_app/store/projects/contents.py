"""Prompts, responses and comparisons in bulk; equal prompts and equal responses to them are stored once.

Everything that takes time is done before the write lock is taken: comparisons are checked, hashed and laid down in a
temporary file (`stage_contents`), and what the project has of them is looked up (`find_known`). Under the lock rows are
only handed to the driver (`insert_batch`).
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any

from sqlalchemy import Connection, func, select

from annotate_app.protocol.collection_design import Design
from annotate_app.store.base.database import bulk_insert, new_ids, to_json
from annotate_app.store.base.pending import COMPARISON_SHOWN, IMPORTED_AT_ONCE
from annotate_app.store.base.rights import checked_content, checked_text
from annotate_app.store.base.slots import OPEN, batches, slot_places, wanted_groups
from annotate_app.store.projects.further import further_hashes
from annotate_app.store.projects.stepped import check_steps
from annotate_app.store.schema.desk_tables import answer_steps, further_response
from annotate_app.store.schema.tables import comparison, prompt, response, slot
from rewardkit.data.records import (
    LETTERS,
    MOST_RANKED,
    Comparison,
    Message,
    check_step_labels,
    content_id,
    message_lists,
)

TURNS = "tiebreak: turns of the completions"  # where the metadata of a comparison holds them
HASH_BYTES = 8  # of `content_id`


@dataclass(frozen=True, kw_only=True)
class StagedBatch:
    """Rows of a staged import but for their ids; contents go by their number in it, in the order they came.

    Attributes:
        first_prompt, first_response: numbers of the first prompt and response in it.
        prompts: hash and messages of those that no earlier batch has.
        responses: number of the prompt, hash, text and source, likewise.
        comparisons: key, numbers of prompt and of the first two responses, meta, characters of all responses, numbers
            of the responses after the first two.
        steps: by key, of an answer in steps these and what a model gives them, as JSON.
    """

    first_prompt: int
    first_response: int
    prompts: list[tuple[str, str]]
    responses: list[tuple[int, str, str, str]]
    comparisons: list[tuple[str, int, int, int, str, int, list[int]]]
    steps: dict[str, tuple[str, str | None]] = field(default_factory=dict)


@dataclass(kw_only=True)
class StagedContents:
    """Comparisons of one import, each once, in a file; in memory only their hashes.

    Attributes:
        file: holds pickled batches.
        num_seen: comparisons that came, with those that came again.
        num_rankings: of them, those of more than two responses.
        num_stepped: of them, answers in steps.
        hashes: by comparison id, the hashes of its prompt and of its responses (text and source) in a row.
        prompts: number by hash.
        responses: number by the hashes of prompt and response in a row.
    """

    file: IO[bytes]
    num_seen: int = 0
    num_rankings: int = 0
    num_stepped: int = 0
    hashes: dict[str, bytes] = field(default_factory=dict)
    prompts: dict[bytes, int] = field(default_factory=dict)
    responses: dict[bytes, int] = field(default_factory=dict)

    def take(self, items: Sequence[Comparison]) -> None:
        """Lays a batch down.

        Raises:
            ValueError: if an id has come with other content, or a text cannot be stored.
        """
        batch = StagedBatch(
            first_prompt=len(self.prompts), first_response=len(self.responses), prompts=[], responses=[], comparisons=[]
        )
        for item in items:
            hashes = b"".join(bytes.fromhex(content_hash) for content_hash in _hashes(item))
            self.num_seen += 1
            self.num_rankings += bool(item.further)
            self.num_stepped += bool(item.steps)
            if self.hashes.setdefault(item.id, hashes) is not hashes:
                if self.hashes[item.id] != hashes:
                    raise ValueError(_differs(item.id))
                continue
            prompt_hash, *of_responses = (hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES))
            num_prompts = len(self.prompts)
            prompt_number = self.prompts.setdefault(prompt_hash, num_prompts)
            if len(self.prompts) > num_prompts:
                batch.prompts.append((prompt_hash.hex(), to_json(message_lists(item.prompt))))
            numbers = []
            for content_hash, one in zip(of_responses, item.responses, strict=True):
                number = len(self.responses)
                numbers.append(self.responses.setdefault(prompt_hash + content_hash, number))
                if len(self.responses) > number:
                    batch.responses.append((prompt_number, content_hash.hex(), one.text, one.source))
            read = item.responses[:1] if item.steps else item.responses
            meta, length = to_json(_stored_meta(item)), sum(len(one.text) for one in read)
            if item.steps:
                scores = to_json(list(item.step_scores)) if item.step_scores else None
                batch.steps[item.id] = (to_json(list(item.steps)), scores)
            batch.comparisons.append((item.id, prompt_number, numbers[0], numbers[1], meta, length, numbers[2:]))
        pickle.dump(batch, self.file, protocol=pickle.HIGHEST_PROTOCOL)

    def batches(self) -> Iterator[StagedBatch]:
        """What was laid down."""
        self.file.seek(0)
        while True:
            try:
                yield pickle.load(self.file)
            except EOFError:
                return


@contextmanager
def stage_contents(comparisons: Iterable[Comparison]) -> Iterator[StagedContents]:
    """Comparisons, read once and checked, ready to be added while the block lasts; see `StagedContents.take`."""
    stream = iter(comparisons)
    with tempfile.TemporaryFile() as file:
        staged = StagedContents(file=file)
        while batch := list(islice(stream, IMPORTED_AT_ONCE)):
            staged.take(batch)
        yield staged


@dataclass(kw_only=True)
class Known:
    """The part of an import that a project of `num_comparisons` has: keys, and ids by the import's numbers.

    Mutable: `insert_batch` adds the ids of what it inserts.
    """

    num_comparisons: int
    keys: set[str] = field(default_factory=set)
    prompts: dict[int, int] = field(default_factory=dict)
    responses: dict[int, int] = field(default_factory=dict)


def count_comparisons(connection: Connection, project_id: int) -> int:
    """The number of a project's comparisons: they are only ever added, so what was known of as many still holds."""
    chosen = (comparison.c.project_id == project_id, COMPARISON_SHOWN)
    query = select(func.count()).select_from(comparison).where(*chosen)
    return connection.execute(query).scalar_one()


def find_known(connection: Connection, project_id: int, staged: StagedContents) -> Known:
    """Finds which contents of a staged import the project has already.

    Raises:
        ValueError: if an id is there with other content.
    """
    present = Known(num_comparisons=count_comparisons(connection, project_id))
    if not present.num_comparisons:
        return present
    a, b = response.alias("a"), response.alias("b")
    stored = (
        select(comparison.c.key, prompt.c.content_hash, a.c.content_hash, b.c.content_hash)
        .join(prompt, prompt.c.id == comparison.c.prompt_id)
        .join(a, a.c.id == comparison.c.response_a)
        .join(b, b.c.id == comparison.c.response_b)
        .where(comparison.c.project_id == project_id)
    )
    for keys in batches(list(staged.hashes)):
        further = further_hashes(connection, project_id, keys)
        for key, *hashes in connection.execute(stored.where(comparison.c.key.in_(keys))):
            if staged.hashes[key] != bytes.fromhex("".join([*hashes, *further.get(key, ())])):
                raise ValueError(_differs(key))
            present.keys.add(key)
    prompts = select(prompt.c.id, prompt.c.content_hash).where(prompt.c.project_id == project_id)
    responses = select(response.c.id, response.c.prompt_id, response.c.content_hash)
    for hashes in batches([content_hash.hex() for content_hash in staged.prompts]):
        hash_by_id = {
            row[0]: bytes.fromhex(row[1])
            for row in connection.execute(prompts.where(prompt.c.content_hash.in_(hashes)))
        }
        present.prompts.update(
            (staged.prompts[content_hash], prompt_id) for prompt_id, content_hash in hash_by_id.items()
        )
        for row in connection.execute(responses.where(response.c.prompt_id.in_(hash_by_id))):
            number = staged.responses.get(hash_by_id[row.prompt_id] + bytes.fromhex(row.content_hash))
            if number is not None:
                present.responses[number] = row.id
    return present


def insert_batch(
    connection: Connection,
    project_id: int,
    design: Design,
    batch: StagedBatch,
    present: Known,
    overlap: int | None,
    overlaps: Mapping[str, int],
    *,
    import_id: int | None = None,
) -> int:
    """Inserts what is not known of the next batch, with work slots; returns the number of new comparisons.

    Args:
        present: what is known; knows afterwards what was inserted.
        overlap: judgments wanted of each new comparison, where it is not the design's.
        overlaps: the same by comparison id, for single ones.
        import_id: of an import in parts, which shows its comparisons at its end.
    """
    prompts, responses, comparisons, further, steps, slots = [], [], [], [], [], []
    asked = enumerate(batch.prompts, batch.first_prompt)
    new = [(number, row) for number, row in asked if number not in present.prompts]
    for key, (number, row) in zip(new_ids(connection, prompt, len(new)), new, strict=True):
        present.prompts[number] = key
        prompts.append((key, project_id, *row))
    answers = enumerate(batch.responses, batch.first_response)
    fresh = [(number, row) for number, row in answers if number not in present.responses]
    for key, (number, (of_prompt, *content)) in zip(new_ids(connection, response, len(fresh)), fresh, strict=True):
        present.responses[number] = key
        responses.append((key, present.prompts[of_prompt], *content))
    missing = [row for row in batch.comparisons if row[0] not in present.keys]
    for comparison_id, row in zip(new_ids(connection, comparison, len(missing)), missing, strict=True):
        key, of_prompt, a, b, meta, length, more = row
        for position, number in enumerate(more, start=2):
            further.append((comparison_id, position, present.responses[number]))
        if key in batch.steps:
            steps.append((comparison_id, *batch.steps[key]))
        wanted = overlaps.get(key, overlap)
        contents = (present.prompts[of_prompt], present.responses[a], present.responses[b])
        comparisons.append((comparison_id, project_id, key, *contents, wanted, 0.0, "", meta, length, import_id))
        for group, rank in slot_places(comparison_id, wanted_groups(design, wanted), design, 0.0):
            slots.append((project_id, comparison_id, "work", group, OPEN, "", rank))
    bulk_insert(connection, prompt, PROMPT_COLUMNS, prompts)
    bulk_insert(connection, response, RESPONSE_COLUMNS, responses)
    bulk_insert(connection, comparison, COMPARISON_COLUMNS, comparisons)
    bulk_insert(connection, further_response, ("comparison_id", "position", "response_id"), further)
    bulk_insert(connection, answer_steps, ("comparison_id", "steps", "scores"), steps)
    bulk_insert(connection, slot, SLOT_COLUMNS, slots)
    return len(missing)


PROMPT_COLUMNS = ("id", "project_id", "content_hash", "messages")
RESPONSE_COLUMNS = ("id", "prompt_id", "content_hash", "text", "source")
COMPARISON_COLUMNS = (
    *("id", "project_id", "key", "prompt_id", "response_a", "response_b"),
    *("overlap", "priority", "gold_use", "meta", "length", "import_id"),
)
SLOT_COLUMNS = ("project_id", "comparison_id", "kind", "group_name", "state", "shown_left", "rank")


def _hashes(item: Comparison) -> tuple[str, ...]:
    """Of the prompt and of the responses (text and source); a ValueError for what cannot be stored."""
    label = f"comparison {item.id[:200]!r}"
    checked_text(item.id, "comparison id", 200)
    for message in (*item.prompt, *(turn for one in item.responses for turn in one.turns)):
        checked_content(message.content, f"{label}, prompt")
        checked_content(message.more, f"{label}, prompt")
    if len(item.responses) > MOST_RANKED:
        raise ValueError(f"{label} has {len(item.responses)} responses, allowed are {MOST_RANKED} at most")
    if item.steps:
        check_steps(item.steps, label)
        for step in item.steps:
            checked_content(step, f"{label}, steps")
        if item.step_scores:
            check_step_labels(item.step_scores, len(item.steps))
    for name, one in zip(LETTERS, item.responses, strict=False):
        checked_content(one.text, f"{label}, completion {name}")
        checked_text(one.source, f"{label}, source {name}", 200, empty=True)
    return (content_id(message_lists(item.prompt)), *(content_id(one.text, one.source) for one in item.responses))


def _stored_meta(item: Comparison) -> dict[str, object]:
    """The metadata, and with it the turns of completions that are more than their text."""
    turns = [message_lists(one.turns) for one in item.responses]
    return {**item.meta, TURNS: turns} if any(turns) else dict(item.meta)


def take_turns(meta: dict[str, Any]) -> tuple[dict[str, Any], tuple[tuple[Message, ...], ...]]:
    """Stored metadata as the metadata, and the turns of the completions: of two or more."""
    if TURNS not in meta:
        return meta, ((), ())
    turns = tuple(read_messages(lists) for lists in meta[TURNS])
    return {name: value for name, value in meta.items() if name != TURNS}, turns


def read_messages(lists: Sequence[Sequence[str]]) -> tuple[Message, ...]:
    """Messages from how `message_lists` writes them."""
    return tuple(Message(role=role, content=content, more="".join(more)) for role, content, *more in lists)  # type: ignore[arg-type]


def _differs(key: str) -> str:
    return f"comparison {key!r} is there already with another prompt, completion or source"
