"""Priorities from a file, as `rewardkit rank` writes it: checked as a whole, then set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import BadRow, BadRowsError
from annotate_app.store.store import Store
from rewardkit.data.comparison_rows import plain_key
from rewardkit.data.conversations import RowError
from rewardkit.data.files import Source, detect_format, place, read_rows

COLUMNS = ("comparison_id", "priority")


@dataclass(frozen=True, kw_only=True)
class Prioritised:
    """What an import of priorities did: comparisons set, rows read, and rows left out."""

    num_set: int
    num_rows: int
    bad: tuple[BadRow, ...] = ()


def import_priorities(
    store: Store, actor: Actor, project_id: int, source: Source, *, skip_bad_rows: bool = False
) -> Prioritised:
    """Sets the priorities of a file with the columns comparison_id and priority; other columns are not read.

    Comparisons that the file does not name keep theirs.

    Raises:
        BadRowsError: if a row names no comparison of the project, names one a second time, or has no finite number;
            nothing is changed then. With `skip_bad_rows` such rows are left out and listed.
        ValueError: if the file cannot be read.
        AccessError: for anybody below lead.
    """
    actor.require("lead", "setting priorities", project_id)
    comparison_ids = {comparison.id for comparison in store.comparisons.iterate(actor, project_id, excluded=True)}
    format = detect_format(source)
    bad: list[BadRow] = []
    priorities: dict[str, float] = {}
    num_rows = 0

    def on_bad(number: int, message: str) -> None:
        bad.append(BadRow.unreadable(place(source, number, format), message))

    for number, row in read_rows(source, format, on_bad):
        num_rows += 1
        try:
            key, priority = _read(row, comparison_ids)
            if key in priorities:
                raise RowError("duplicate_id", "comparison_id", key, "an earlier row has it")
        except RowError as error:
            bad.append(BadRow.of(place(source, number, format), error))
            continue
        priorities[key] = priority
    if not num_rows and not bad:
        raise ValueError(f"{source}: the file holds no rows")
    if bad and not skip_bad_rows:
        raise BadRowsError(bad)
    store.comparisons.set_priorities(actor, project_id, priorities)
    return Prioritised(num_set=len(priorities), num_rows=num_rows, bad=tuple(bad))


def _read(row: Mapping[str, Any], comparison_ids: set[str]) -> tuple[str, float]:
    for name in COLUMNS:
        if row.get(name) in (None, ""):
            raise RowError("missing_field", name, row.get(name), "it is needed")
    key, value = plain_key(row["comparison_id"]), row["priority"]
    if key not in comparison_ids:
        raise RowError("unknown_id", "comparison_id", key, "the project has no such comparison")
    try:
        priority = float(value) if not isinstance(value, bool) else math.nan
    except (TypeError, ValueError):
        priority = math.nan
    if not math.isfinite(priority):
        raise RowError("wrong_type", "priority", value, "allowed is a finite number")
    return key, priority
