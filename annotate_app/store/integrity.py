"""Soundness of what is stored: the file itself, and the rules that every transaction keeps.

Written apart from the code that keeps the rules, so that a mistake there shows here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, Select, and_, func, inspect, or_, select, text, tuple_
from sqlalchemy.exc import DBAPIError

from annotate_app.protocol.collection_design import Design
from annotate_app.store.base.answers import MADE_AT, SPENT_S, directions
from annotate_app.store.base.database import Database, failure, read_pairs
from annotate_app.store.base.pending import JUDGMENT_SHOWN, SLOT_SHOWN_OF_MANY, SLOT_WAITS
from annotate_app.store.base.slots import JUDGED, LEASED, OPEN, base_group, member_groups
from annotate_app.store.loop.turns import STAGES
from annotate_app.store.schema import loop_tables, tables, whole_schema
from annotate_app.store.schema.desk_tables import answer_steps
from rewardkit.data.records import check_step_labels, content_id

EXAMPLES = 5
MOST_LINES = 20
CHUNK = 1000


def find_problems(database: Database) -> list[str]:
    """One line for each rule that is broken, with the first ids that break it; empty when all is sound."""
    checks: dict[str, Callable[[Connection], Iterable[str]]] = {
        rule: partial(_select_ids, query=query) for rule, query in (_rules() | _loop_rules()).items()
    }
    checks |= {
        "comparisons with too many or too few open work slots": _wrong_overlap,
        "texts that do not match their hash": _changed_texts,
        "judgments whose directions are not those of their criteria": _wrong_directions,
        "judgments whose labels are not one for each step of their answer": _wrong_step_labels,
        "answers whose scores are not one for each step": _wrong_step_scores,
        "projects whose rubric versions have gaps": _rubric_gaps,
        "projects whose design cannot be read": _bad_designs,
        "tables that are missing": _missing_tables,
    }
    problems: list[str] = []
    if database.is_sqlite:
        problems += _tried("damage of the file", _damaged_file, database)
        checks["rows that refer to nothing"] = _orphans
    for rule, check in checks.items():
        problems += _tried(rule, partial(_broken, rule, check), database)
    if database.is_sqlite:  # on PostgreSQL a transaction that is rolled back leaves a gap in the numbers
        problems += _tried("lines of the audit log that are missing", _audit_gaps, database)
    return problems


def _tried(what: str, check: Callable[[Connection], list[str]], database: Database) -> list[str]:
    """The problems that a check finds; or that it cannot look, so damaged is what it looks at.

    Each in a transaction of its own: where a damaged page was read, SQLite fails to end it.
    """
    try:
        with database.read() as connection:
            return check(connection)
    except (DBAPIError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = failure(error) or f"{type(error).__name__}: {error}".splitlines()[0]
        return [f"cannot look for {what}: {reason[:200]}"]


def count_rows(database: Database) -> dict[str, int]:
    """The number of rows by table, without the tables that cannot be read."""
    counts: dict[str, int] = {}
    for table in whole_schema.metadata.sorted_tables:
        with suppress(DBAPIError), database.read() as connection:
            counts[table.name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return counts


def _select_ids(connection: Connection, query: Select) -> list[str]:
    return [str(row[0]) for row in connection.execute(query)]


def _broken(rule: str, check: Callable[[Connection], Iterable[str]], connection: Connection) -> list[str]:
    ids = list(check(connection))
    if not ids:
        return []
    more = ", ..." if len(ids) > EXAMPLES else ""
    return [f"{len(ids)} {rule}: {', '.join(ids[:EXAMPLES])}{more}"]


def _damaged_file(connection: Connection) -> list[str]:
    lines = [row[0] for row in connection.execute(text("PRAGMA integrity_check"))]
    problems = [f"database file: {line}" for line in lines if line != "ok"]
    more = [f"database file: {len(problems) - MOST_LINES} more such lines"] if len(problems) > MOST_LINES else []
    return problems[:MOST_LINES] + more


def _orphans(connection: Connection) -> list[str]:
    return [f"{row[0]} {row[1]} -> {row[2]}" for row in connection.execute(text("PRAGMA foreign_key_check"))]


def _rules() -> dict[str, Select]:
    """Queries for ids that break a rule, by the problem's name."""
    slot, judgment, comparison = tables.slot.c, tables.judgment.c, tables.comparison.c
    counts = and_(judgment.newest, judgment.choice != "withdrawn")
    of_slot = and_(
        counts,
        judgment.slot_id == slot.id,
        judgment.user_id == slot.user_id,
        judgment.comparison_id == slot.comparison_id,
        or_(judgment.choice != "skip", slot.kind != "work", judgment.kind == "import"),
    )
    judged = select(slot.id).outerjoin(tables.judgment, and_(of_slot, JUDGMENT_SHOWN))
    judged = judged.where(slot.state == JUDGED, slot.kind != "skipped", ~SLOT_WAITS)
    answered = select(judgment.id).outerjoin(tables.slot, and_(of_slot, slot.state == JUDGED))
    prompts, answers = tables.prompt.c, tables.response.c
    return {
        "judged slots without exactly one judgment that counts": judged.group_by(slot.id).having(
            func.count(judgment.id) != 1
        ),
        "judgments that count without a judged slot of their own": answered.where(
            counts, judgment.choice != "skip", slot.id.is_(None)
        ),
        "judgments that count twice for one person and comparison": select(func.max(judgment.id))
        .where(judgment.newest, JUDGMENT_SHOWN)
        .group_by(judgment.comparison_id, judgment.user_id, judgment.kind)
        .having(func.count() > 1),
        "leased slots without a holder, a token or an end": select(slot.id).where(
            slot.state == LEASED, or_(slot.user_id.is_(None), slot.token.is_(None), slot.leased_until.is_(None))
        ),
        "open slots with a holder": select(slot.id).where(slot.state == OPEN, slot.user_id.is_not(None)),
        "open slots that are no work": select(slot.id).where(slot.state == OPEN, slot.kind != "work"),
        "slots in another project than their comparison": select(slot.id)
        .join(tables.comparison, comparison.id == slot.comparison_id)
        .where(comparison.project_id != slot.project_id),
        "judgments in another project than their comparison": select(judgment.id)
        .join(tables.comparison, comparison.id == judgment.comparison_id)
        .where(comparison.project_id != judgment.project_id),
        "comparisons in another project than their prompt": select(comparison.id)
        .join(tables.prompt, prompts.id == comparison.prompt_id)
        .where(prompts.project_id != comparison.project_id),
        "comparisons of responses to another prompt": select(comparison.id)
        .join(tables.response, answers.id.in_((comparison.response_a, comparison.response_b)))
        .where(answers.prompt_id != comparison.prompt_id),
        "judgments whose time is none (they count as of an unknown time)": select(judgment.id).where(
            judgment.created_at != MADE_AT
        ),
        "judgments whose duration is none (it counts as 0)": select(judgment.id).where(judgment.seconds != SPENT_S),
        "open slots that a member would never be handed": _stranded(),
        "members whose count of judgments is wrong": _miscounted(),
    }


def _loop_rules() -> dict[str, Select]:
    """The same about turns and blind rounds."""
    turn, stage, comparison = loop_tables.turn.c, loop_tables.turn_stage.c, tables.comparison.c
    pair, round, blind = loop_tables.turn_pair.c, loop_tables.blind_round.c, loop_tables.blind_pair.c
    return {
        "turns without all of their stages": select(turn.id)
        .outerjoin(loop_tables.turn_stage, and_(stage.turn_id == turn.id, stage.stage.in_(STAGES)))
        .group_by(turn.id)
        .having(func.count(stage.stage) != len(STAGES)),
        "projects with several open turns": select(turn.project_id)
        .where(turn.state == "open")
        .group_by(turn.project_id)
        .having(func.count() > 1),
        "pairs of a turn in another project": select(pair.comparison_id)
        .join(loop_tables.turn, turn.id == pair.turn_id)
        .join(tables.comparison, comparison.id == pair.comparison_id)
        .where(comparison.project_id != turn.project_id),
        "pairs of a blind round in another project": select(blind.comparison_id)
        .join(loop_tables.blind_round, round.id == blind.round_id)
        .join(tables.comparison, comparison.id == blind.comparison_id)
        .where(comparison.project_id != round.project_id),
    }


def _stranded() -> Select:
    """Selects open slots behind both cursors of a member who may take them; see `queue_cursor`."""
    slot, place, member = tables.slot.c, tables.place.c, tables.membership.c
    other = tables.slot.alias("other")
    touched = select(other.c.id).where(other.c.comparison_id == slot.comparison_id, other.c.user_id == place.user_id)
    takes = and_(member.project_id == place.project_id, member.user_id == place.user_id)
    return (
        select(slot.id)
        .join(tables.place, place.project_id == slot.project_id)
        .join(tables.membership, and_(takes, member.group_name == place.group_name))
        .where(
            slot.state == OPEN,
            slot.kind == "work",
            SLOT_SHOWN_OF_MANY,
            slot.group_name.in_(("", place.group_name)),
            tuple_(slot.rank, slot.id) <= tuple_(place.cursor_rank, place.cursor_slot),
            or_(slot.returned.is_(None), slot.returned <= place.cursor_returned),
            ~touched.exists(),
        )
        .distinct()
    )


def _miscounted() -> Select:
    judgment, place = tables.judgment.c, tables.place.c
    own: ColumnElement[int] = (
        select(func.count())
        .where(
            judgment.user_id == place.user_id,
            judgment.project_id == place.project_id,
            judgment.newest,
            judgment.kind != "import",
            judgment.choice.not_in(("withdrawn", "skip")),
        )
        .scalar_subquery()
    )
    return select(place.user_id).where(place.num_judged != own)


def _wrong_overlap(connection: Connection) -> Iterator[str]:
    """Keys of comparisons whose open work slots are not what the design still wants."""
    slot, comparison = tables.slot.c, tables.comparison.c
    designs = {
        project_id: Design.from_dict(design)
        for project_id, design in read_pairs(connection, select(tables.project.c.id, tables.project.c.design)).items()
    }
    query = (
        select(comparison.project_id, comparison.key, comparison.overlap, comparison.gold, comparison.excluded)
        .add_columns(slot.group_name, slot.state)
        .outerjoin(tables.slot, and_(slot.comparison_id == comparison.id, slot.kind == "work"))
        .order_by(comparison.id)
    )
    rows = connection.execute(query.execution_options(yield_per=CHUNK))
    members: dict[int, dict[int, str]] = {}
    for (project_id, key), group in groupby(rows, key=lambda row: (row.project_id, row.key)):
        slots = list(group)
        design = designs[project_id]
        if project_id not in members:
            members[project_id] = member_groups(connection, project_id)
        by_group = [(row.state, base_group(row.group_name or "", design, members[project_id])) for row in slots]
        open_by_group = Counter(name for state, name in by_group if state == OPEN)
        taken = Counter(name for state, name in by_group if state in (LEASED, JUDGED))
        if slots[0].gold or slots[0].excluded:
            expected: dict[str, int] = {}
        elif design.groups:
            expected = {name: count - taken[name] for name, count in design.groups.items()}
        else:
            expected = {"": (slots[0].overlap or design.overlap) - taken.total()}
        if open_by_group != Counter({name: count for name, count in expected.items() if count > 0}):
            yield repr(key)


def _changed_texts(connection: Connection) -> Iterator[str]:
    prompt, response = tables.prompt, tables.response
    for row in connection.execute(select(prompt).execution_options(yield_per=CHUNK)):
        if content_id(row.messages) != row.content_hash:
            yield f"prompt {row.id}"
    for row in connection.execute(select(response).execution_options(yield_per=CHUNK)):
        if content_id(row.text, row.source) != row.content_hash:
            yield f"response {row.id}"


def _wrong_directions(connection: Connection) -> Iterator[str]:
    columns = tables.judgment.c
    query = select(columns.id, columns.criteria, columns.directions)
    for row in connection.execute(query.execution_options(yield_per=CHUNK)):
        if directions(row.criteria) != row.directions:
            yield str(row.id)


def _wrong_step_labels(connection: Connection) -> Iterator[str]:
    """Labels beside steps of which there are more or fewer, or none; judgments of steps without labels."""
    columns = tables.judgment.c
    query = (
        select(columns.id, columns.step_labels, answer_steps.c.steps)
        .outerjoin(answer_steps, answer_steps.c.comparison_id == columns.comparison_id)
        .where(
            or_(
                columns.step_labels.is_not(None),
                and_(answer_steps.c.steps.is_not(None), columns.choice.not_in(("skip", "withdrawn"))),
            )
        )
    )
    for row in connection.execute(query.execution_options(yield_per=CHUNK)):
        if not _is_one_for_each(row.step_labels, row.steps):
            yield str(row.id)


def _wrong_step_scores(connection: Connection) -> Iterator[str]:
    query = (
        select(tables.comparison.c.key, answer_steps.c.steps, answer_steps.c.scores)
        .join(tables.comparison, tables.comparison.c.id == answer_steps.c.comparison_id)
        .where(answer_steps.c.scores.is_not(None))
    )
    for row in connection.execute(query.execution_options(yield_per=CHUNK)):
        if not _is_one_for_each(row.scores, row.steps):
            yield repr(row.key)


def _is_one_for_each(labels: list[float | None] | None, steps: list[str] | None) -> bool:
    try:
        check_step_labels(labels or (), len(steps or ()))
    except (TypeError, ValueError):
        return False
    return True


def _missing_tables(connection: Connection) -> list[str]:
    return sorted(set(whole_schema.metadata.tables) - set(inspect(connection).get_table_names()))


def _bad_designs(connection: Connection) -> Iterator[str]:
    for name, design in read_pairs(connection, select(tables.project.c.name, tables.project.c.design)).items():
        try:
            Design.from_dict(design)
        except (ValueError, TypeError) as error:
            yield f"{name!r} ({error})"


def _rubric_gaps(connection: Connection) -> Iterator[str]:
    version = tables.rubric.c.version
    query = (
        select(tables.project.c.name)
        .outerjoin(tables.rubric, tables.rubric.c.project_id == tables.project.c.id)
        .group_by(tables.project.c.name)
        .having(or_(func.count(version) == 0, func.min(version) != 1, func.max(version) != func.count(version)))
    )
    for row in connection.execute(query):
        yield repr(row.name)


def _audit_gaps(connection: Connection) -> list[str]:
    column = tables.audit.c.id
    count, first, last = connection.execute(select(func.count(), func.min(column), func.max(column))).one()
    if count and (first, last) != (1, count):
        return [f"the audit log has {count} lines numbered {first} to {last}: lines are missing"]
    return []
