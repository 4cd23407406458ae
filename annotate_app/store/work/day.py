"""Somebody's own day on a project: pairs, time, checks, and whether a break is due; one query."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, Row, bindparam, select

from annotate_app.protocol.assignment import is_right
from annotate_app.store.people.pay import own_rate, payment
from annotate_app.store.schema.tables import comparison, judgment
from annotate_app.store.work.member_at_work import Seat

BREAK_S = 300.0
"""A gap this long between two judgments is a break."""
BREAK_DUE_S = 3000.0
"""After this much active time without a break one is due."""
MOST = 2000  # newest judgments looked at

_newest = (
    select(judgment.c.id, judgment.c.comparison_id, judgment.c.kind, judgment.c.choice)
    .add_columns(judgment.c.seconds, judgment.c.newest, judgment.c.created_at)
    .where(judgment.c.user_id == bindparam("of_user"), judgment.c.project_id == bindparam("of_project"))
    .order_by(judgment.c.id.desc())
    .limit(MOST)
    .subquery()
)
_TODAY = (
    select(_newest, comparison.c.gold)
    .outerjoin(comparison, (comparison.c.id == _newest.c.comparison_id) & (_newest.c.kind == "gold"))
    .where(_newest.c.created_at >= bindparam("since"), _newest.c.kind != "import")
    .order_by(_newest.c.id)
)


@dataclass(frozen=True, kw_only=True)
class OwnDay:
    """What somebody did on a project since the day began.

    Attributes:
        num_pairs: judgments that stand, checks included, skips not.
        median_s: the median of their active seconds, None without any.
        active_s: active seconds of all answers, also of skips and of those that were changed later: what is paid.
        num_gold: gold items answered; 0 where the design tells nobody how they did.
        num_right: of these, answered as expected.
        since_break_s: active seconds since the last break.
        rate: what an hour of theirs is worth in `currency`; 0 where nothing is paid.
    """

    num_pairs: int
    median_s: float | None
    active_s: float
    num_gold: int
    num_right: int
    since_break_s: float
    rate: float
    currency: str

    @property
    def break_due(self) -> bool:
        """Whether somebody has worked for `BREAK_DUE_S` without a break."""
        return self.since_break_s >= BREAK_DUE_S

    @property
    def earned(self) -> str:
        """What the day comes to so far, with its currency; empty where nothing is paid."""
        return f"{payment(self.active_s, self.rate):,.2f} {self.currency}".strip() if self.rate else ""


def own_day(connection: Connection, seat: Seat, since: float, now: float) -> OwnDay:
    """The day since `since`, in unix seconds; see `Work.own_day`."""
    keys = {"of_user": seat.user_id, "of_project": seat.project_id, "since": since}
    rows = connection.execute(_TODAY, keys).all()
    answers = [row for row in rows if row.newest and row.choice not in ("skip", "withdrawn")]
    gold = [row for row in answers if row.kind == "gold" and row.gold and seat.design.gold_feedback]
    return OwnDay(
        num_pairs=len(answers),
        median_s=statistics.median(row.seconds for row in answers) if answers else None,
        active_s=sum(row.seconds for row in rows),
        num_gold=len(gold),
        num_right=sum(is_right(row.choice, row.gold["choice"]) for row in gold),
        since_break_s=_since_break(rows, now),
        rate=own_rate(connection, seat.project_id, seat.user_id, seat.design),
        currency=seat.design.currency,
    )


def _since_break(rows: Iterable[Row], now: float) -> float:
    """Active seconds since the last gap of `BREAK_S`; none while such a gap lasts."""
    active, last = 0.0, 0.0
    for row in rows:
        if row.created_at - row.seconds - last >= BREAK_S:
            active = 0.0
        active, last = active + row.seconds, row.created_at
    return 0.0 if now - last >= BREAK_S else active
