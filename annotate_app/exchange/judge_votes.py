"""Votes of judges as rows of files: what leaves the house, and what was judged elsewhere."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.exchange.comparisons_in import BadRow, Tell, unspool
from annotate_app.exchange.judgments_in import BallotOptions, stage_judgments
from annotate_app.store.loop.judge_votes import JudgeVote, vote_of
from annotate_app.store.loop.judges import JudgeRow
from annotate_app.store.store import Store
from rewardkit.data.files import Source, detect_format, place, read_rows, write_rows
from rewardkit.data.judgments import MOST_WHOLE, read_criteria
from rewardkit.data.times import read_time

Row = dict[str, Any]
AT_ONCE = 1000
NUMBERS = {"p_a": float, "strength": int, "sample": int, "rubric_version": int}


@dataclass(frozen=True, kw_only=True)
class ImportedVotes:
    """The result of importing votes of a judge; rows that are bad are listed."""

    num_rows: int
    num_added: int
    num_existing: int
    bad: tuple[BadRow, ...] = ()


def vote_row(vote: JudgeVote) -> Row:
    """A vote as `judge votes` writes it and `judge import` and whole projects read it."""
    return {
        "comparison_id": vote.comparison_id,
        "judge": vote.judge,
        "choice": vote.choice,
        "p_a": vote.p_a,
        "strength": vote.strength,
        "criteria": dict(vote.criteria),
        "shown_first": vote.shown_first,
        "sample": vote.sample,
        "rubric_version": vote.rubric_version,
        "examples": vote.examples,
        "raw": vote.raw,
        "usage": dict(vote.usage),
        "created_at": vote.created_at,
    }


def export_votes(store: Store, actor: Actor, project_id: int, out: str | Path, judge: JudgeRow | None = None) -> int:
    """Writes the votes of a judge, or of all, to a JSONL, CSV or Parquet file; the number of rows. Lead or above.

    Raises:
        ValueError: if the name of the file says none of these.
    """
    votes = store.judges.iterate(actor, project_id, judge.id if judge else None)
    form = detect_format(Path(out))
    rows = (vote_row(vote) for vote in votes)
    return write_rows(Path(out), rows if form in ("jsonl", "json") else map(_flat, rows), form)


def _flat(row: Row) -> Row:
    """A row for files of columns: mappings as JSON."""
    return {name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()}


def import_votes(
    store: Store,
    actor: Actor,
    project_id: int,
    name: str,
    sources: Sequence[Source],
    options: BallotOptions | None = None,
    tell: Tell | None = None,
) -> ImportedVotes:
    """Takes votes made elsewhere for a judge, in the rows of `vote_row` or of `judgments import`: all of them or none.

    A judge of that name is made where there is none; who voted in rows of `vote_row` does not matter. Several votes on
    one comparison become its samples, in the order of the file; those that are there already count once. Lead or above.

    Raises:
        BadRowsError, ValueError: as `annotate_app.exchange.judgments_in.import_judgments`.
    """
    actor.require("lead", "importing the votes of a judge", project_id)
    if all(_holds_votes(source) for source in sources):
        votes = [_vote_at(source, number, row) for source in sources for number, row in read_rows(source)]
        return _store_votes(store, actor, project_id, name, votes, num_rows=len(votes))
    written = store.comparisons.sources(actor, project_id)
    with tempfile.TemporaryFile() as spool:
        staged = stage_judgments(sources, options or BallotOptions(), written, spool, tell)
        samples: dict[tuple[str, str], int] = {}
        votes = []
        for judgment in unspool(spool):
            shown = (judgment.comparison_id, judgment.shown_left)
            samples[shown] = samples.get(shown, -1) + 1
            votes.append(vote_of(judgment, sample=samples[shown]))
    return _store_votes(store, actor, project_id, name, votes, num_rows=staged.num_rows, bad=staged.bad)


def _store_votes(
    store: Store,
    actor: Actor,
    project_id: int,
    name: str,
    votes: Sequence[JudgeVote],
    *,
    num_rows: int,
    bad: tuple[BadRow, ...] = (),
) -> ImportedVotes:
    with store.together():
        known = {judge.name: judge for judge in store.judges.list(actor, project_id)}
        judge = known.get(name) or store.judges.add(actor, project_id, name, JudgeSpec(kind="imported"))
        num_added = sum(
            store.judges.add_votes(judge.id, votes[start : start + AT_ONCE]) for start in range(0, len(votes), AT_ONCE)
        )
    return ImportedVotes(num_rows=num_rows, num_added=num_added, num_existing=len(votes) - num_added, bad=bad)


def _holds_votes(source: Source) -> bool:
    """Whether its first row is one of `vote_row`."""
    _, row = next(iter(read_rows(source)), (0, {}))
    return {"shown_first", "sample", "p_a", "usage"} <= row.keys()


def _vote_at(source: Source, number: int, row: Mapping[str, Any]) -> JudgeVote:
    """A vote from a row of a file, in which mappings are JSON and numbers may be text.

    Raises:
        ValueError: with its place, if a value is none that is allowed.
    """
    values = dict(row)
    try:
        for name in ("criteria", "usage"):
            values[name] = json.loads(row[name]) if isinstance(row[name], str) else row[name]
        for name, kind in (NUMBERS | {"created_at": float}).items():
            if isinstance(row[name], str):
                values[name] = kind(row[name]) if row[name] else None
        for name in ("shown_first", "examples", "raw"):
            values[name] = row[name] or ""  # files of columns leave empty texts out
        return read_vote_row(values)
    except KeyError as error:
        raise ValueError(f"{place(source, number, detect_format(source))}: {error} is missing") from error
    except ValueError as error:
        raise ValueError(f"{place(source, number, detect_format(source))}: {error}") from error


def judge_rows(store: Store, actor: Actor, project_id: int) -> list[Row]:
    """The judges of a project for an export of all of it: what they are, without where they lie or answer."""
    return [
        {"name": judge.name, "spec": portable(judge.spec).as_dict(), "archived": judge.archived}
        for judge in store.judges.list(actor, project_id)
    ]


def portable(spec: JudgeSpec) -> JudgeSpec:
    """A judge as another installation takes it: the name of what has voted; it runs no code and calls nobody there."""
    return JudgeSpec(kind="imported", model=spec.model or spec.about)


def read_judge_row(row: Mapping[str, Any]) -> tuple[str, JudgeSpec, bool]:
    """Name, what it was, and whether it is put away.

    Raises:
        ValueError: if a value is none that is allowed.
    """
    name, spec = row["name"], row["spec"]
    if not isinstance(name, str) or not isinstance(spec, dict):
        raise ValueError(f"a judge is {str(row)[:60]!r}, allowed is a name and a spec")
    return name, portable(JudgeSpec.from_dict(spec)), row.get("archived") is True


def read_vote_row(row: Mapping[str, Any]) -> JudgeVote:
    """A vote from a row of `vote_row`.

    Raises:
        ValueError: if a value is none that is allowed.
    """
    values: dict[str, Any] = {}
    for name in ("comparison_id", "judge", "choice", "shown_first", "examples", "raw"):
        if not isinstance(row[name], str):
            raise ValueError(f"{name} is {str(row[name])[:40]!r}, allowed is text")
        values[name] = row[name]
    for name, kind in NUMBERS.items():
        value = row[name]
        values[name] = value
        if name == "p_a" and value is None:
            continue
        if not isinstance(value, int if kind is int else int | float) or isinstance(value, bool):
            raise ValueError(f"{name} is {str(value)[:40]!r}, allowed is a number")
        if not -MOST_WHOLE <= value <= MOST_WHOLE:
            raise ValueError(f"{name} is {value}, allowed is {-MOST_WHOLE} to {MOST_WHOLE}")
    if len(values["examples"]) > 16:
        raise ValueError(f"examples is {values['examples'][:40]!r}, allowed are 16 characters")
    usage = row["usage"]
    if not isinstance(usage, dict) or not all(isinstance(value, int | float) for value in usage.values()):
        raise ValueError(f"usage is {str(usage)[:40]!r}, allowed is a mapping to numbers")
    return JudgeVote(
        **values,
        criteria=read_criteria(row["criteria"], "criteria"),
        usage=usage,
        created_at=read_time(row["created_at"], "created_at") if row["created_at"] else 0.0,
    )
