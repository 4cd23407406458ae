"""Comparisons: adding them in bulk, their priorities and gold answers, reading them back."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from sqlalchemy import Connection, Row, Select, bindparam, func, select, update

from annotate_app.access import Actor, MissingError
from annotate_app.protocol.collection_design import MOST_OVERLAP
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.pending import (
    COMPARISON_COUNTED,
    COMPARISON_SHOWN,
    IMPORTED_AT_ONCE,
    import_in_parts,
    write_alone,
)
from annotate_app.store.base.rights import checked_content, lock_design, require_member
from annotate_app.store.base.slots import BATCH, batches, rank_slots, remake_slots, rewind
from annotate_app.store.projects.contents import (
    StagedContents,
    count_comparisons,
    find_known,
    insert_batch,
    read_messages,
    stage_contents,
    take_turns,
)
from annotate_app.store.projects.further import (
    further_responses,
    further_sources,
    read_further,
    refuse_rankings,
)
from annotate_app.store.projects.stepped import (
    divide_anew,
    refuse_other_task,
    step_scores_of,
    steps_of,
    write_scores,
)
from annotate_app.store.schema import tables
from rewardkit.data.records import (
    CHOICES,
    Choice,
    Comparison,
    StepLabels,
    pair_of,
    pairs_of,
    split_pair_id,
    split_step_id,
    step_of,
)


@dataclass(frozen=True, kw_only=True)
class Added:
    """The result of adding comparisons: new rows, and rows that were there already."""

    num_added: int
    num_existing: int


@dataclass(frozen=True, kw_only=True)
class Gold:
    """The known answer of a comparison; `use` says whether it checks people at work or lets them in."""

    choice: Choice
    explanation: str = ""
    use: Literal["gold", "qualification"] = "gold"

    def __post_init__(self) -> None:
        if self.choice not in CHOICES or self.choice == "skip":
            raise ValueError(f"gold choice is {self.choice!r}, allowed are a, b, tie, both_bad")
        if self.use not in ("gold", "qualification"):
            raise ValueError(f"gold use is {self.use!r}, allowed are gold, qualification")


class Comparisons:
    """Stores comparisons. Roles below lead get them without sources and meta."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, actor: Actor, project_id: int, comparisons: Iterable[Comparison], *, overlap: int | None = None
    ) -> Added:
        """Adds comparisons with their work slots, all or none; those that are there already stay as they are.

        Args:
            comparisons: read once, before anything is locked; an error raised while reading leaves the project as it
                was.
            overlap: judgments wanted of each new one, where it is not the design's.

        Raises:
            ValueError: if an id is there with another prompt, completion or source, or a text cannot be stored.
        """
        check_overlap(overlap)
        with stage_contents(comparisons) as staged:
            return self.add_staged(actor, project_id, staged, overlap=overlap)

    def add_staged(
        self,
        actor: Actor,
        project_id: int,
        staged: StagedContents,
        *,
        overlap: int | None = None,
        overlaps: Mapping[str, int] | None = None,
    ) -> Added:
        """As `add`, of comparisons that were made ready before; `overlaps` go by comparison id, before `overlap`."""
        for count in (overlap, *(overlaps or {}).values()):
            check_overlap(count)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "adding comparisons", "lead")
            if staged.num_rankings:
                refuse_rankings(connection, project_id)
            num_whole = staged.num_seen - staged.num_stepped
            refuse_other_task(connection, project_id, num_stepped=staged.num_stepped, num_whole=num_whole)
            present = find_known(connection, project_id, staged)
        if self._database.divides and len(staged.hashes) > IMPORTED_AT_ONCE:
            return self._add_in_parts(actor, project_id, staged, overlap, overlaps or {})
        with write_alone(self._database, project_id) as connection:
            require_member(connection, actor, project_id, "adding comparisons", "lead")
            design = lock_design(connection, project_id)
            if count_comparisons(connection, project_id) != present.num_comparisons:  # somebody else was faster
                present = find_known(connection, project_id, staged)
            num_added = sum(
                insert_batch(connection, project_id, design, batch, present, overlap, overlaps or {})
                for batch in staged.batches()
            )
            return _end_adding(connection, actor, project_id, staged, num_added)

    def _add_in_parts(
        self,
        actor: Actor,
        project_id: int,
        staged: StagedContents,
        overlap: int | None,
        overlaps: Mapping[str, int],
    ) -> Added:
        """As `add_staged`, in many short transactions; see `pending`."""
        num_added = 0
        with import_in_parts(self._database, project_id) as parts:
            with self._database.read() as connection:
                present = find_known(connection, project_id, staged)
            for batch in staged.batches():
                with parts.part() as connection:
                    design = lock_design(connection, project_id)
                    num_added += insert_batch(
                        connection, project_id, design, batch, present, overlap, overlaps, import_id=parts.id
                    )
            with parts.part(last=True) as connection:
                require_member(connection, actor, project_id, "adding comparisons", "lead")
                return _end_adding(connection, actor, project_id, staged, num_added)

    def set_priorities(self, actor: Actor, project_id: int, priorities: Mapping[str, float]) -> int:
        """Sets priorities by comparison id, higher goes first; the number of comparisons. Lead or above."""
        for key, value in priorities.items():
            if not math.isfinite(value):
                raise ValueError(f"priority of comparison {key!r} is {value}, allowed are finite numbers")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting priorities", "lead")
            design = lock_design(connection, project_id)
            for keys in batches(list(priorities)):
                ids = keys_to_ids(connection, project_id, keys)
                for key in keys:
                    if key not in ids:
                        raise MissingError(f"there is no comparison {key!r} in the project")
                rows = [{"of_comparison": ids[key], "new_priority": float(priorities[key])} for key in keys]
                chosen = tables.comparison.c.id == bindparam("of_comparison")
                connection.execute(
                    update(tables.comparison).where(chosen).values(priority=bindparam("new_priority")), rows
                )
                if design.policy == "priority":
                    rank_slots(connection, project_id, design, list(ids.values()))
            audit.record(connection, actor, "priorities set", project_id=project_id, detail={"num": len(priorities)})
        return len(priorities)

    def set_gold(self, actor: Actor, project_id: int, key: str, gold: Gold | None) -> None:
        """Makes a comparison a check with a known answer, or work again. Lead or above.

        The work slots of a check that nobody has taken are removed; work again gets them back.
        """
        if gold is not None:
            checked_content(gold.explanation, "gold explanation")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting a gold answer", "lead")
            design = lock_design(connection, project_id)
            comparison_id = keys_to_ids(connection, project_id, [key]).get(key)
            if comparison_id is None:
                raise MissingError(f"there is no comparison {key!r} in the project")
            value = None if gold is None else asdict(gold)
            connection.execute(
                update(tables.comparison)
                .where(tables.comparison.c.id == comparison_id)
                .values(gold=value, gold_use="" if gold is None else gold.use)
            )
            remake_slots(connection, project_id, design, [comparison_id])
            audit.record(connection, actor, "gold set", project_id=project_id, subject=key, detail={"gold": value})

    def set_overlap(self, actor: Actor, project_id: int, key: str, overlap: int | None) -> None:
        """Sets how many judgments one comparison gets, None for what the design asks. Lead or above.

        Judgments that are there stay; unused where the design asks by group.
        """
        check_overlap(overlap)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting an overlap", "lead")
            design = lock_design(connection, project_id)
            comparison_id = keys_to_ids(connection, project_id, [key]).get(key)
            if comparison_id is None:
                raise MissingError(f"there is no comparison {key!r} in the project")
            chosen = tables.comparison.c.id == comparison_id
            connection.execute(update(tables.comparison).where(chosen).values(overlap=overlap))
            remake_slots(connection, project_id, design, [comparison_id])
            audit.record(connection, actor, "overlap set", project_id=project_id, subject=key, detail={"num": overlap})

    def golds(self, actor: Actor, project_id: int) -> dict[str, Gold]:
        """The known answers by comparison id. Lead or above."""
        columns = tables.comparison.c
        query = select(columns.key, columns.gold).where(columns.project_id == project_id, columns.gold.is_not(None))
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading gold answers", "lead")
            return {key: Gold(**gold) for key, gold in connection.execute(query.order_by(columns.id))}

    def get(self, actor: Actor, project_id: int, key: str) -> Comparison:
        """One comparison, or a pair of the responses or a step of one by its id. Adjudicator or above."""
        query = select_comparisons(project_id)
        pair, step = split_pair_id(key), split_step_id(key)
        whole_key = pair[0] if pair else step[0] if step else None
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a comparison", "adjudicator")
            row = connection.execute(query.where(tables.comparison.c.key == key)).first()
            part = query.where(tables.comparison.c.key == whole_key)
            of_part = connection.execute(part).first() if row is None and whole_key else None
        if row is not None:
            return _for_reader(read_comparison(row), actor)
        whole = None if of_part is None else read_comparison(of_part)
        if whole is not None and step is not None and step[1] < len(whole.steps):
            return _for_reader(step_of(whole, step[1]), actor)
        if whole is None or pair is None or not whole.further or pair[2] >= len(whole.responses):
            raise MissingError(f"there is no comparison {key!r} in the project")
        return _for_reader(pair_of(whole, pair[1], pair[2]), actor)

    def pairs(self, actor: Actor, project_id: int) -> Iterator[Comparison]:
        """All comparisons as pairs, those of more than two responses as each two of them; answers in steps are none.

        Adjudicator or above.
        """
        for comparison in self.iterate(actor, project_id):
            if not comparison.steps:
                yield from pairs_of(comparison)

    def divide(self, actor: Actor, project_id: int, key: str, steps: Sequence[str]) -> None:
        """Divides an answer into other steps, as long as nobody has judged it or has it in hand. Lead or above.

        Raises:
            ValueError: if it may not be divided any more, or a step is empty.
        """
        for number, step in enumerate(steps, start=1):
            checked_content(step, f"step {number}")
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "dividing an answer into steps", "lead")
            lock_design(connection, project_id)
            comparison_id = keys_to_ids(connection, project_id, [key]).get(key)
            if comparison_id is None:
                raise MissingError(f"there is no comparison {key!r} in the project")
            divide_anew(connection, comparison_id, steps)
            detail = {"num": len(steps)}
            audit.record(connection, actor, "steps set", project_id=project_id, subject=key, detail=detail)

    def set_step_scores(self, actor: Actor, project_id: int, scores: Mapping[str, StepLabels]) -> None:
        """Sets what a model gives the steps of answers, by comparison id: people find it filled in. Lead or above.

        Raises:
            ValueError: naming the answer whose scores are not one for each step, or that is not there.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "setting scores of steps", "lead")
            write_scores(connection, project_id, scores)
            detail = {"num": len(scores)}
            audit.record(connection, actor, "step scores set", project_id=project_id, detail=detail)

    def iterate(self, actor: Actor, project_id: int, *, excluded: bool = False) -> Iterator[Comparison]:
        """All comparisons in the order they came, read as they are asked for. Adjudicator or above.

        Args:
            excluded: whether those that were excluded are among them.
        """
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading comparisons", "adjudicator")
            query = select_comparisons(project_id).execution_options(yield_per=BATCH)
            if not excluded:
                query = query.where(COMPARISON_COUNTED)
            with connection.execute(query) as rows:  # closed where the reader stops early too
                for row in rows:
                    yield _for_reader(read_comparison(row), actor)

    def sources(self, actor: Actor, project_id: int) -> dict[str, tuple[str, ...]]:
        """By comparison id, what wrote its responses, without the texts; excluded ones too. Lead or above."""
        query = (
            select(tables.comparison.c.key, ANSWER_A.c.source, ANSWER_B.c.source)
            .join(ANSWER_A, ANSWER_A.c.id == tables.comparison.c.response_a)
            .join(ANSWER_B, ANSWER_B.c.id == tables.comparison.c.response_b)
            .where(tables.comparison.c.project_id == project_id, COMPARISON_SHOWN)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading sources", "lead")
            further = further_sources(connection, project_id)
            return {key: (a, b, *further.get(key, ())) for key, a, b in connection.execute(query)}

    def count(self, actor: Actor, project_id: int) -> int:
        """The number of comparisons that are not excluded. Adjudicator or above."""
        chosen = (tables.comparison.c.project_id == project_id, COMPARISON_COUNTED)
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "counting comparisons", "adjudicator")
            return connection.execute(select(func.count()).select_from(tables.comparison).where(*chosen)).scalar_one()


ANSWER_A = tables.response.alias("answer_a")
ANSWER_B = tables.response.alias("answer_b")


def select_comparisons(project_id: int) -> Select:
    """The query whose rows `read_comparison` takes, ordered by the database id `comparison_id`."""
    return (
        select(
            tables.comparison.c.id.label("comparison_id"),
            tables.comparison.c.key,
            tables.comparison.c.meta,
            tables.prompt.c.messages,
            ANSWER_A.c.text.label("completion_a"),
            ANSWER_B.c.text.label("completion_b"),
            ANSWER_A.c.source.label("source_a"),
            ANSWER_B.c.source.label("source_b"),
            further_responses(tables.comparison.c.id).label("further"),
            steps_of(tables.comparison.c.id).label("steps"),
            step_scores_of(tables.comparison.c.id).label("step_scores"),
        )
        .join(tables.prompt, tables.prompt.c.id == tables.comparison.c.prompt_id)
        .join(ANSWER_A, ANSWER_A.c.id == tables.comparison.c.response_a)
        .join(ANSWER_B, ANSWER_B.c.id == tables.comparison.c.response_b)
        .where(tables.comparison.c.project_id == project_id, COMPARISON_SHOWN)
        .order_by(tables.comparison.c.id)
    )


def read_comparison(row: Row) -> Comparison:
    """A comparison from a row of `select_comparisons`."""
    meta, turns = take_turns(row.meta)
    return Comparison(
        id=row.key,
        prompt=read_messages(row.messages),
        completion_a=row.completion_a,
        completion_b=row.completion_b,
        source_a=row.source_a,
        source_b=row.source_b,
        meta=meta,
        turns_a=turns[0],
        turns_b=turns[1],
        further=read_further(row.further, turns[2:]),
        steps=tuple(row.steps or ()),
        step_scores=tuple(row.step_scores or ()),
    )


def blind(comparison: Comparison) -> Comparison:
    """The comparison without what could tell who wrote it."""
    further = tuple(replace(response, source="") for response in comparison.further)
    return replace(comparison, source_a="", source_b="", meta={}, further=further)


def keys_to_ids(connection: Connection, project_id: int, keys: Iterable[str]) -> dict[str, int]:
    """Database ids by comparison id, without those that are not there."""
    columns = tables.comparison.c
    chosen = (columns.project_id == project_id, columns.key.in_(list(keys)), COMPARISON_SHOWN)
    query = select(columns.key, columns.id).where(*chosen)
    return read_pairs(connection, query)


def _end_adding(connection: Connection, actor: Actor, project_id: int, staged: StagedContents, num_added: int) -> Added:
    added = Added(num_added=num_added, num_existing=staged.num_seen - num_added)
    if num_added:
        rewind(connection, project_id)
        audit.record(connection, actor, "comparisons add", project_id=project_id, detail=asdict(added))
    return added


def check_overlap(overlap: int | None) -> None:
    """Raises ValueError for a number of judgments that cannot be wanted of one comparison."""
    whole = isinstance(overlap, int) and not isinstance(overlap, bool)
    if overlap is not None and not (whole and 1 <= overlap <= MOST_OVERLAP):
        raise ValueError(f"overlap is {overlap!r}, allowed is 1 to {MOST_OVERLAP}")


def _for_reader(comparison: Comparison, actor: Actor) -> Comparison:
    return comparison if actor.is_at_least("lead") else blind(comparison)
