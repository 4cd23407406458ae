"""Votes on the pairs of turns and of blind rounds, counted where they lie.

A hundred thousand votes show a few hundred patterns (how often each choice was made of a pair), which is all that
agreement and win rates need; to read the votes themselves would take seconds. Counted are the same votes as by
`annotate_app.votes.Votes.counted`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select

from annotate_app.access import Actor
from annotate_app.store.base.answers import SPENT_S
from annotate_app.store.base.database import Database, read_pairs
from annotate_app.store.base.pending import COMPARISON_COUNTED, JUDGMENT_SHOWN
from annotate_app.store.base.rights import require_member
from annotate_app.store.schema import loop_tables, tables
from annotate_app.votes import COLLECTED_KINDS

_judgment = tables.judgment.c
COUNTED: tuple[ColumnElement[bool], ...] = (
    _judgment.newest,
    _judgment.kind.in_(COLLECTED_KINDS),
    _judgment.choice.not_in(("withdrawn", "skip")),
    JUDGMENT_SHOWN,
    COMPARISON_COUNTED,
)
"""Votes of people that count: the newest of their slot, collected, no skip, shown. Their comparison says of which
project, so that a database begins at the pairs, not at all judgments."""
NEWEST = 1000
"""Judgments from which a project's pace is read."""


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Pairs on which the votes fell alike.

    Attributes:
        counts: of a turn, votes for a, b, tie and both-bad; of a round, wins, losses, ties and both-bad votes of `one`.
        num_pairs: pairs of which this is so; `seconds` people spent on them in all.
    """

    counts: tuple[int, int, int, int]
    num_pairs: int
    seconds: float

    @property
    def num_votes(self) -> int:
        """Votes on all of these pairs."""
        return sum(self.counts) * self.num_pairs


class TurnVotes:
    """Counts votes by turn and by round. For leads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_turns(self, actor: Actor, project_id: int) -> dict[int, list[Pattern]]:
        """By number of the turn, its pairs that people judged, by pattern."""
        judgment, pair, turn = tables.judgment.c, loop_tables.turn_pair.c, loop_tables.turn.c
        chose = [judgment.choice == choice for choice in ("a", "b", "tie", "both_bad")]
        by_pair = (
            _count(turn.number, pair.comparison_id, chose)
            .join(loop_tables.turn, turn.id == pair.turn_id)
            .join(tables.judgment, judgment.comparison_id == pair.comparison_id)
            .join(tables.comparison, tables.comparison.c.id == pair.comparison_id)
            .where(turn.project_id == project_id, *COUNTED)
        )
        return self._patterns(actor, project_id, by_pair)

    def of_rounds(self, actor: Actor, project_id: int) -> dict[int, list[Pattern]]:
        """By number of the round, its pairs that people judged, by pattern seen from `one`.

        A comparison of the round that is not of its two sources takes no part.
        """
        judgment, pair, round = tables.judgment.c, loop_tables.blind_pair.c, loop_tables.blind_round.c
        comparison = tables.comparison.c
        a, b = tables.response.alias("a"), tables.response.alias("b")
        first, second = (and_(x.c.source == round.one, y.c.source == round.other) for x, y in ((a, b), (b, a)))
        won, lost = (
            or_(and_(judgment.choice == "a", mine), and_(judgment.choice == "b", other))
            for mine, other in ((first, second), (second, first))
        )
        by_pair = (
            _count(round.id, pair.comparison_id, [won, lost, judgment.choice == "tie", judgment.choice == "both_bad"])
            .join(loop_tables.blind_round, round.id == pair.round_id)
            .join(tables.judgment, judgment.comparison_id == pair.comparison_id)
            .join(tables.comparison, comparison.id == pair.comparison_id)
            .join(a, a.c.id == comparison.response_a)
            .join(b, b.c.id == comparison.response_b)
            .where(round.project_id == project_id, or_(first, second), *COUNTED)
        )
        return self._patterns(actor, project_id, by_pair)

    def _patterns(self, actor: Actor, project_id: int, by_pair: Select) -> dict[int, list[Pattern]]:
        rows = by_pair.subquery().c
        columns = (rows.number, rows.c0, rows.c1, rows.c2, rows.c3)
        query = select(*columns, func.count(), func.sum(rows.seconds)).group_by(*columns).order_by(*columns)
        patterns: dict[int, list[Pattern]] = {}
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading turns", "lead")
            for number, a, b, tie, bad, num_pairs, seconds in connection.execute(query):
                counts = (int(a), int(b), int(tie), int(bad))
                one = Pattern(counts=counts, num_pairs=num_pairs, seconds=float(seconds))
                patterns.setdefault(number, []).append(one)
        return patterns

    def num_by_rule(self, actor: Actor, project_id: int) -> dict[int, dict[str, int]]:
        """By number of the turn, how many pairs each rule chose, most first."""
        turn, pair = loop_tables.turn.c, loop_tables.turn_pair.c
        query = (
            select(turn.number, pair.rule, func.count())
            .join(loop_tables.turn_pair, pair.turn_id == turn.id)
            .where(turn.project_id == project_id)
            .group_by(turn.number, pair.rule)
        )
        return self._counters(actor, project_id, query)

    def people(self, actor: Actor, project_id: int) -> dict[int, dict[str, int]]:
        """By number of the turn, how many votes on its pairs each person gave, most first."""
        judgment, pair, turn, user = tables.judgment.c, loop_tables.turn_pair.c, loop_tables.turn.c, tables.user.c
        query = (
            select(turn.number, user.name, func.count())
            .select_from(loop_tables.turn_pair)
            .join(loop_tables.turn, turn.id == pair.turn_id)
            .join(tables.judgment, judgment.comparison_id == pair.comparison_id)
            .join(tables.comparison, tables.comparison.c.id == pair.comparison_id)
            .join(tables.user, user.id == judgment.user_id)
            .where(turn.project_id == project_id, *COUNTED)
            .group_by(turn.number, user.name)
        )
        return self._counters(actor, project_id, query)

    def judges(self, actor: Actor, project_id: int) -> dict[int, dict[str, int]]:
        """By number of the turn, how many answers on its pairs each judge that is no person gave, most first."""
        turn, pair, vote, judge = (
            loop_tables.turn.c,
            loop_tables.turn_pair.c,
            loop_tables.judge_vote.c,
            loop_tables.judge.c,
        )
        query = (
            select(turn.number, judge.name, func.count())
            .select_from(loop_tables.turn_pair)
            .join(loop_tables.turn, turn.id == pair.turn_id)
            .join(loop_tables.judge_vote, vote.comparison_id == pair.comparison_id)
            .join(loop_tables.judge, judge.id == vote.judge_id)
            .join(tables.comparison, tables.comparison.c.id == pair.comparison_id)
            .where(turn.project_id == project_id, ~tables.comparison.c.excluded)
            .group_by(turn.number, judge.name)
        )
        return self._counters(actor, project_id, query)

    def _counters(self, actor: Actor, project_id: int, query: Select) -> dict[int, dict[str, int]]:
        counters: dict[int, Counter[str]] = {}
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading turns", "lead")
            for number, name, count in connection.execute(query.order_by(*list(query.selected_columns)[:2])):
                counters.setdefault(number, Counter())[name] = count
        return {number: dict(counter.most_common()) for number, counter in counters.items()}

    def newest_seconds(self, actor: Actor, project_id: int) -> list[float]:
        """What people spent on each of the newest judgments of a project, where that is known."""
        columns = tables.judgment.c
        query = (
            select(SPENT_S.label("seconds"))
            .where(columns.project_id == project_id, columns.newest, SPENT_S > 0, JUDGMENT_SHOWN)
            .order_by(columns.id.desc())
            .limit(NEWEST)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading votes", "lead")
            return [float(seconds) for seconds in connection.execute(query).scalars()]

    def judge_prices(self, actor: Actor, project_id: int) -> dict[int, float]:
        """By id of the judge, what an answer of it has cost on average, where it is known."""
        columns = loop_tables.judge_vote.c
        cost = columns.usage["cost"].as_float()
        query = (
            select(columns.judge_id, func.avg(cost))
            .where(columns.project_id == project_id, cost.is_not(None))
            .group_by(columns.judge_id)
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading a judge", "lead")
            return {number: float(price) for number, price in read_pairs(connection, query).items()}

    def state(self, actor: Actor, project_id: int) -> tuple[int, ...]:
        """Numbers that change whenever votes of a project do, its judges' among them; read in a few milliseconds."""
        judgment, vote, pair = tables.judgment.c, loop_tables.judge_vote.c, loop_tables.turn_pair.c
        queries = (
            select(func.coalesce(func.max(judgment.id), 0), func.count()).where(judgment.project_id == project_id),
            select(func.coalesce(func.max(vote.id), 0), func.count()).where(vote.project_id == project_id),
            select(func.count()).where(tables.pending_import.c.project_id == project_id),
            select(func.count()).where(
                pair.turn_id == loop_tables.turn.c.id, loop_tables.turn.c.project_id == project_id
            ),
        )
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading turns", "lead")
            return tuple(number for query in queries for number in connection.execute(query).one())


def _count(number: ColumnElement[int], comparison_id: ColumnElement[int], chose: list[Any]) -> Select:
    """The query of votes by pair: its columns, with the groups that they belong to."""
    counts = [func.sum(case((choice, 1), else_=0)).label(f"c{place}") for place, choice in enumerate(chose)]
    columns = (number.label("number"), *counts, func.sum(SPENT_S).label("seconds"))
    table = comparison_id.table
    return select(*columns).select_from(table).group_by(number, comparison_id)
