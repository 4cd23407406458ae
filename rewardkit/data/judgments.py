"""Rows of a file as judgments: one a row (long), or a column per annotator (wide), and what their choices mean.

What a number means can be told only from the choices of a whole file (`rewardkit.data.choices`), so a row is first read
as a `Ballot`, whose choice stands as written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rewardkit.data.choices import Answer, NumberScale, choice_key, named_choice, read_choice
from rewardkit.data.columns import ALIASES as COMPARISON_ALIASES
from rewardkit.data.columns import ColumnError, check_column
from rewardkit.data.comparison_rows import plain_key
from rewardkit.data.conversations import RowError, read_text
from rewardkit.data.records import (
    LETTERS,
    Judgment,
    Ranks,
    Span,
    StepLabels,
    check_ranks,
    check_step_labels,
    choice_of_steps,
    dense,
    first_choice,
    with_span_flags,
)
from rewardkit.data.tables.cells import decode_literal, read_cell
from rewardkit.data.tables.json_rows import decode_json
from rewardkit.data.times import read_duration, read_time

Layout = Literal["long", "wide"]
ALIASES: dict[str, tuple[str, ...]] = {
    "comparison": ("comparison_id", "comparison", "pair_id", "item_id", "item", "question_id", "task_id", "id"),
    "annotator": ("annotator", "annotator_id", "worker", "worker_id", "rater", "user", "judge", "labeler", "evaluator"),
    "choice": ("choice", "winner", "preference", "label", "vote", "judgment", "overall_preference", "score"),
    "strength": ("strength",),
    "criteria": ("criteria",),
    "flags": ("flags",),
    "spans": ("spans",),
    "edited": ("edited",),
    "rationale": ("rationale", "justification", "explanation", "comment"),
    "reason": ("reason", "skip_reason"),
    "seconds": ("seconds", "duration_s", "duration", "time_spent"),
    "shown_left": ("shown_left",),
    "created_at": ("created_at", "timestamp", "tstamp", "date", "time"),
    "rubric_version": ("rubric_version",),
    "kind": ("kind",),
    "ranks": ("ranks", "ranking"),
    "shown": ("shown",),
    "step_labels": ("step_labels",),
    "source_a": COMPARISON_ALIASES["source_a"],
    "source_b": COMPARISON_ALIASES["source_b"],
}
FIELDS = tuple(ALIASES)
WIDE = re.compile(r"(annotator|rater|worker|judge|labeler|labeller|vote|expert|crowd)[ _-]?(\d+|[a-z])", re.IGNORECASE)
LONGEST_NAME = 120
MOST_WHOLE = 32_767  # what every database stores as a degree
CHECKS = ("gold", "repeat", "qualification")
"""Kinds of our own judgments that check people; they are no votes on the comparison, so they are not read."""
SPAN_PARTS = ("side", "start", "end", "flag")


@dataclass(frozen=True, kw_only=True)
class BallotReading:
    """How a file of judgments is read: its layout, its columns by field, and in wide layout those of the annotators."""

    layout: Layout
    columns: Mapping[str, str]
    annotators: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """One vote as the file has it: `value` is its choice as written, `column` where, `sources` who wrote a and b."""

    comparison_id: str
    annotator: str
    value: object
    column: str
    sources: tuple[str, str] = ("", "")
    more: Mapping[str, Any] = field(default_factory=dict)


def detect_ballots(
    rows: Iterable[Mapping[str, Any]],
    *,
    layout: Layout | None = None,
    columns: Mapping[str, str] | None = None,
    annotators: Sequence[str] = (),
) -> BallotReading:
    """Finds layout and columns from the first rows; a given layout or column takes precedence.

    Raises:
        ColumnError: if a column is missing.
        ValueError: if a field or column that was given is unknown.
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    mapping = dict(columns or {})
    for name, column in mapping.items():
        if name not in FIELDS:
            raise ValueError(f"unknown field {name!r} in the mapping, allowed are {', '.join(FIELDS)}")
        check_column(column, name, rows)
    for column in annotators:
        check_column(column, "an annotator", rows)
    wide = list(annotators) or [name for name in names if WIDE.fullmatch(name) and name not in mapping.values()]
    recognised = _find(names, mapping, wide if annotators or layout == "wide" else ())
    is_long = "annotator" in recognised and bool({"choice", "ranks", "step_labels"} & set(recognised))
    chosen: Layout = layout or ("wide" if annotators or (wide and not is_long) else "long")
    if chosen == "wide":
        recognised = {name: recognised[name] for name in ("comparison", "source_a", "source_b") if name in recognised}
        if not wide:
            raise ColumnError("annotators", f"no columns of annotators in {', '.join(names)}")
    ranked = "ranks" in recognised or "step_labels" in recognised
    for name in ("comparison",) if chosen == "wide" else ("comparison", "annotator", "choice"):
        if name not in recognised and not (name == "choice" and ranked):
            raise ColumnError(name, f"no column of {', '.join(names)} is the {name}")
    return BallotReading(layout=chosen, columns=recognised, annotators=tuple(wide) if chosen == "wide" else ())


def _find(names: Sequence[str], mapping: Mapping[str, str], taken: Iterable[str]) -> dict[str, str]:
    spelled = {name.strip().lower().replace(" ", "_").replace("-", "_"): name for name in reversed(names)}
    recognised, used = dict(mapping), {*mapping.values(), *taken}
    for name, aliases in ALIASES.items():
        column = next((spelled[alias] for alias in aliases if alias in spelled and spelled[alias] not in used), None)
        if name not in recognised and column is not None:
            recognised[name] = column
            used.add(column)
    return recognised


def parse_ballots(row: Mapping[str, Any], reading: BallotReading) -> list[Ballot]:
    """The votes of a row; an empty cell of the wide layout is none, nor is one of `CHECKS`.

    Raises:
        RowError: naming the field that cannot be read.
    """
    columns = reading.columns
    if "kind" in columns and read_cell(row, columns["kind"]) in CHECKS:
        return []
    column = columns["comparison"]
    key = read_cell(row, column)
    broken = isinstance(key, bool) or (isinstance(key, float) and not key.is_integer())
    if key is None or broken or not str(key).strip():
        raise RowError("missing_field", column, key, "the id of a comparison is needed")
    key = read_text(plain_key(key), column).strip()
    sources = tuple(_source(read_cell(row, columns.get(name, ""))) for name in ("source_a", "source_b"))
    common = {"comparison_id": key, "sources": sources}
    if reading.layout == "wide":
        cells = [(name, read_cell(row, name)) for name in reading.annotators]
        filled = [(name, value) for name, value in cells if value is not None and str(value).strip()]
        return [Ballot(annotator=name, value=value, column=name, **common) for name, value in filled]
    column = columns["annotator"]
    person = read_cell(row, column)
    name = "" if person is None else read_text(plain_key(person), column).strip()
    if not name or len(name) > LONGEST_NAME:
        raise RowError("missing_field", column, person, f"a name of 1 to {LONGEST_NAME} characters is needed")
    cells = {field: read_cell(row, column) for field, column in columns.items()}
    value = cells.get("choice")
    if any(cells.get(name) not in (None, "", [], "[]") for name in ("ranks", "step_labels")):
        value = "tie"  # the ranks or labels say it: `read_judgment`
    if value is None or not str(value).strip():
        raise RowError("missing_field", columns.get("choice", "choice"), value, "a choice is needed")
    filled = {field: value for field, value in cells.items() if value not in (None, "")}
    more = {field: value for field, value in filled.items() if field in _READERS}
    return [Ballot(annotator=name, value=value, column=columns.get("choice", "ranks"), more=more, **common)]


def _source(value: object) -> str:
    return "" if value is None else plain_key(value).strip()


def read_judgment(
    ballot: Ballot, scale: NumberScale | None, mapping: Mapping[str, Answer], sources: tuple[str, ...]
) -> Judgment:
    """A ballot as a judgment of the stored comparison.

    Args:
        ballot: the vote.
        scale: what the numbers of its file mean.
        mapping: choices spelled out by the user.
        sources: what wrote a and b of the stored comparison, and its further responses. A vote may be for one of these
            names; and where the file names a and b in the other order, its a is our b.

    Raises:
        RowError: naming the field that cannot be read.
    """
    if "ranks" in ballot.more:
        return _read_ranking(ballot, len(sources))
    if "step_labels" in ballot.more:
        return _read_step_labels(ballot)
    both, text = (sources[0], sources[1]), plain_key(ballot.value).strip()
    named = None if choice_key(text) in mapping else named_choice(text, both)
    if named:
        choice, strength, flipped = named, 1, False
    else:
        choice, strength = read_choice(ballot.value, scale, mapping, ballot.column)
        flipped = _is_flipped(ballot, both)
    more = {name: _READERS[name](value, name) for name, value in ballot.more.items()}
    if choice in ("a", "b"):
        strength = more.pop("strength", strength) or 1
    else:
        strength = 0
        more.pop("strength", None)
    if more.get("spans"):
        more["flags"] = with_span_flags(more.get("flags", {}), more["spans"])
    try:
        judgment = Judgment(
            comparison_id=ballot.comparison_id, annotator=ballot.annotator, choice=choice, strength=strength, **more
        )
    except ValueError as error:
        raise RowError("bad_number", "strength", strength, str(error)) from error
    return flip(judgment) if flipped else judgment


def _read_ranking(ballot: Ballot, count: int) -> Judgment:
    """A ballot with ranks as a judgment of a comparison of `count` responses."""
    more = {name: _READERS[name](value, name) for name, value in ballot.more.items() if name != "strength"}
    ranks: Ranks = more.pop("ranks")
    try:
        check_ranks(ranks, count)
    except ValueError as error:
        raise RowError("wrong_type", "ranks", list(ranks), str(error)) from error
    if more.get("shown") and sorted(more["shown"]) != list(range(count)):
        allowed = f"allowed are the numbers 0 to {count - 1}, each once"
        raise RowError("wrong_type", "shown", list(more["shown"]), allowed)
    choice, strength = first_choice(ranks)
    return Judgment(
        comparison_id=ballot.comparison_id,
        annotator=ballot.annotator,
        choice=choice,
        strength=strength,
        ranks=dense(ranks),
        **more,
    )


def _read_step_labels(ballot: Ballot) -> Judgment:
    """A ballot with labels of steps; whether there is one for each step is known where the steps are."""
    more = {name: _READERS[name](value, name) for name, value in ballot.more.items() if name != "strength"}
    choice, strength = choice_of_steps(more["step_labels"])
    about = {"comparison_id": ballot.comparison_id, "annotator": ballot.annotator}
    return Judgment(**about, choice=choice, strength=strength, **more)


def _is_flipped(ballot: Ballot, sources: tuple[str, str]) -> bool:
    if not all(ballot.sources) or not all(sources) or ballot.sources == sources:
        return False
    if ballot.sources == (sources[1], sources[0]):
        return True
    allowed = f"the comparison is between {sources[0]!r} and {sources[1]!r}"
    raise RowError("unknown_comparison", "sources", " and ".join(ballot.sources), allowed)


def flip(judgment: Judgment) -> Judgment:
    """The judgment of the comparison with a and b exchanged."""
    sides = {"a": "b", "b": "a"}
    return replace(
        judgment,
        choice=sides.get(judgment.choice, judgment.choice),
        shown_left=sides.get(judgment.shown_left, ""),
        criteria={
            name: -value if isinstance(value, int) else (value[1], value[0])
            for name, value in judgment.criteria.items()
        },
        flags={sides.get(side, side): names for side, names in judgment.flags.items()},
        spans=tuple(sorted(replace(span, side=sides[span.side]) for span in judgment.spans)),
        edited={sides[side]: text for side, text in judgment.edited.items()},
    )


def _mapping(value: object, field: str) -> dict[str, Any]:
    decoded = value
    if isinstance(value, str):
        try:
            decoded = decode_json(value)
        except ValueError:
            decoded = None
    if not isinstance(decoded, Mapping):
        raise RowError("wrong_type", field, value, "allowed is a mapping, in CSV as JSON")
    return {read_text(str(name), field): item for name, item in decoded.items()}


def read_criteria(value: object, field: str) -> dict[str, int | tuple[int, int]]:
    """By criterion, a signed degree or two ratings, from a mapping or its JSON."""
    criteria: dict[str, int | tuple[int, int]] = {}
    for name, degree in _mapping(value, field).items():
        match degree:
            case int() if not isinstance(degree, bool):
                criteria[name] = degree
            case [int() as of_a, int() as of_b]:
                criteria[name] = (of_a, of_b)
            case _:
                allowed = "allowed is a whole number, or two for two ratings"
                raise RowError("wrong_type", f"{field}.{name}", degree, allowed)
    return criteria


def _flags(value: object, field: str) -> dict[str, tuple[str, ...]]:
    flags = _mapping(value, field)
    if not all(side in tuple(LETTERS) and isinstance(names, list | tuple) for side, names in flags.items()):
        raise RowError("wrong_type", field, value, "allowed is a mapping from a, b, ... to a list of names")
    return {side: tuple(read_text(name, field) for name in names) for side, names in flags.items()}


def read_spans(value: object, field: str) -> tuple[Span, ...]:
    """Marked words, from a list of `{side, start, end, flag}` or `[side, start, end, flag]`, or its JSON."""
    decoded = value
    if isinstance(value, str):
        try:
            decoded = decode_json(value)
        except ValueError:
            decoded = None
    if not isinstance(decoded, list | tuple):
        raise RowError("wrong_type", field, value, "allowed is a list of side, start, end and flag, in CSV as JSON")
    spans = [_span(item, field) for item in decoded]
    if len(set(spans)) < len(spans):
        twice = next(item for item, span in zip(decoded, spans, strict=True) if spans.count(span) > 1)
        raise RowError("wrong_type", field, twice, "it stands there twice, allowed is each span once")
    return tuple(sorted(spans))


def _span(item: object, field: str) -> Span:
    parts: Any = [item.get(name) for name in SPAN_PARTS] if isinstance(item, Mapping) else item
    if not isinstance(parts, list | tuple) or len(parts) != len(SPAN_PARTS):
        raise RowError("wrong_type", field, item, f"allowed are {', '.join(SPAN_PARTS)} of each")
    side, start, end, flag = parts
    try:
        return Span(side=side, start=start, end=end, flag=read_text(flag, field))
    except RowError:
        raise
    except ValueError as error:
        raise RowError("wrong_type", field, item, str(error)) from error


def _edited(value: object, field: str) -> dict[str, str]:
    texts = {side: text for side, text in _mapping(value, field).items() if text is not None}
    if not all(side in ("a", "b") and isinstance(text, str) for side, text in texts.items()):
        raise RowError("wrong_type", field, value, "allowed is a mapping from a or b to a text")
    return {side: read_text(text, f"{field}.{side}") for side, text in texts.items()}


def _int(value: object, field: str) -> int:
    try:
        number = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        number = math.nan
    if not number.is_integer() or not 0 <= number <= MOST_WHOLE:
        raise RowError("bad_number", field, value, f"allowed is a whole number of 0 to {MOST_WHOLE}")
    return int(number)


def _numbers(value: object, field: str) -> tuple[Any, ...]:
    items: Any = decode_literal(value) if isinstance(value, str) else value
    listed = isinstance(items, Sequence) and not isinstance(items, str)
    if not listed or not all(item is None or _is_whole(item) for item in items):
        raise RowError("wrong_type", field, value, "allowed is a list of whole numbers, null for not ranked")
    return tuple(None if item is None else int(item) for item in items)


def _labels(value: object, field: str) -> StepLabels:
    items: Any = decode_literal(value) if isinstance(value, str) else value
    try:
        check_step_labels(items, len(items))
    except (TypeError, ValueError) as error:
        allowed = "allowed is a list of numbers from 0 (wrong) to 1 (right), null for not judged"
        raise RowError("wrong_type", field, value, allowed) from error
    return tuple(None if item is None else float(item) for item in items)


def _is_whole(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()


def _side(value: object, field: str) -> str:
    if value not in ("a", "b"):
        raise RowError("wrong_type", field, value, "allowed are a and b")
    return str(value)


def _text(value: object, field: str) -> str:
    return read_text(value if isinstance(value, str) else str(value), field)


_READERS = {
    "strength": _int,
    "criteria": read_criteria,
    "flags": _flags,
    "spans": read_spans,
    "edited": _edited,
    "rationale": _text,
    "reason": _text,
    "seconds": read_duration,
    "shown_left": _side,
    "created_at": read_time,
    "rubric_version": _int,
    "ranks": _numbers,
    "shown": _numbers,
    "step_labels": _labels,
}
