"""Preference data of every form, read into `Preference` rows; what cannot be used is named, never dropped in silence.

Forms: chosen and rejected (with a prompt, or sharing one as their common start; texts or lists of turns), raw
dialogues, two responses with a choice (one row a vote, where there are several annotators), and responses with ranks or
scores. The rows that the app exports (`rewardkit.data.export_formats`) are chosen and rejected in one of three layouts,
and are read here like any others. Optional columns of a row say p_chosen, weight, margin, criteria, votes, who judged
and how reliably.

First come `read_preferences` and the reading of rows of any kind (`read_each`), then the forms, then the optional
columns. Where the data lies is `rewardkit.data.sources`, what a training makes of it `rewardkit.data.training_data`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from rewardkit.data.choices import ONE_HOT, NumberScale, find_scale, named_choice, read_choice, read_one_hot
from rewardkit.data.columns import Reading, detect_reading
from rewardkit.data.comparison_rows import parse_row, read_pair, read_source, refuse_turns
from rewardkit.data.conversations import RowError, decode_list, read_text
from rewardkit.data.export_formats import VOTES
from rewardkit.data.judgments import ALIASES
from rewardkit.data.records import RANKING, Choice, Comparison, Preference, content_id
from rewardkit.data.sources import Part, choose_split, open_source
from rewardkit.data.tables.content_parts import shows_image
from rewardkit.data.tables.json_rows import decode_json

OnBadRow = Literal["error", "skip"]
Empty = Literal["keep", "bad"]
FIRST_ROWS = 200  # from which form and columns are found
CHOICES = (*ALIASES["choice"], "preferred", "better", "chosen")  # columns that say which of two is better
UNRANKED = 1e9  # where a list of ranks has null: below all that are ranked, and not compared with its like
RANKS = ("ranks", "rank", "ranking", "rankings")  # a list beside the responses
SOFT = ("p_chosen", "margin", "criteria", "votes", "num_judgments")  # what only a row of one pair can say
OPTIONAL = frozenset({*SOFT, "weight", "reliability", *ALIASES["annotator"]})
DEGREES = {"chosen": 1.0, "rejected": -1.0, "tie": 0.0}


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row, or a pair of a ranked row, that cannot be used.

    Attributes:
        place: `file:line`, or file and record number.
        reason: in one word, see `rewardkit.data.conversations.RowError`; `unreadable` where the file itself is broken.
        problem: what is wrong, with field and value.
    """

    place: str
    reason: str
    problem: str


R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class ReadRows(Generic[R]):
    """What a source holds; `form` is how its rows say it, of preferences how they say which completion is better."""

    rows: list[R]
    bad_rows: list[BadRow]
    form: str


Preferences = ReadRows[Preference]
Refuse = Callable[[RowError], None]
ReadRow = Callable[[Mapping[str, Any], Refuse], list[R]]
"""Reads one row of a file; raises RowError where it gives nothing, or refuses part of it."""
Check = Callable[[R, str], None]
"""Takes a row and its place (`file:line`) and raises RowError if it cannot be used all the same."""
MakeReader = Callable[[Sequence[Part], Sequence[Mapping[str, Any]], str], tuple[ReadRow[R], str]]
"""From parts, their first rows and the source's name: what reads a row, and the form it found."""


def read_preferences(
    source: str, *, on_bad_row: OnBadRow = "error", empty: Empty = "bad", check: Check[Preference] | None = None
) -> Preferences:
    """Reads JSONL, JSON, CSV or Parquet (gzipped too), a folder with one split, a saved `datasets` folder or a hub id.

    Rows of one pair may say `p_chosen` (0.5 to 1), `margin`, `criteria` (by name, the signed degree in favour of
    chosen, or chosen, rejected, tie), `votes` and `num_judgments`; every row may say `weight`, `annotator` and
    `reliability` (probability that the annotator is right, 0 to 1), of which the last two are kept in `meta`. A choice
    `tie` becomes p_chosen 0.5, and the strength of a choice the margin.

    K ranked responses become P = K (K - 1) / 2 pairs that weigh 1 / P each, so that a row of any K weighs 1 (times its
    own `weight`) like a pair does: Ouyang et al. 2022, eq. 1 (arXiv 2203.02155). Pairs of equal rank are ties; where
    a pair of identical responses is left out, P counts the others. A rank of null in a list of ranks is a response that
    was not ranked: below the others, and not paired with its like. All pairs of a row carry its id in meta `ranking`.

    Args:
        source: a path or hub id; `SOURCE:SPLIT` names one split of several.
        on_bad_row: stop with an error that names the first bad row and counts the others, or list them and go on.
        empty: whether a row with one empty completion is kept or bad. A project may hold such comparisons (a model may
            say nothing, and be judged for it), so that its exports may hold such rows.
        check: asked for every row.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
        FileNotFoundError: if there is no such source.
        ImportError: if the source takes the `datasets` library and that is not installed.
    """
    splits = open_source(source)
    return read_parts(splits[choose_split(splits, source)], source, on_bad_row, check, empty=empty)


def read_parts(
    parts: Sequence[Part],
    source: str,
    on_bad_row: OnBadRow = "error",
    check: Check[Preference] | None = None,
    *,
    empty: Empty = "bad",
) -> Preferences:
    """Reads the parts of one split, see `read_preferences`."""
    return read_each(parts, source, partial(preference_reader, empty=empty), on_bad_row=on_bad_row, check=check)


def read_each(
    parts: Sequence[Part],
    source: str,
    make_reader: MakeReader[R],
    *,
    on_bad_row: OnBadRow = "error",
    check: Check[R] | None = None,
) -> ReadRows[R]:
    """Reads every row of the parts of one split by a reader made for their form.

    Args:
        check: asked for everything that a row gives; what it refuses makes the row bad.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
    """
    bad_rows: list[BadRow] = []
    first = [row for _, _, row in islice(_rows(parts, []), FIRST_ROWS)]
    if not first:
        for _ in _rows(parts, bad_rows):
            raise AssertionError("rows appeared")
        reason = f": {bad_rows[0].place}: {bad_rows[0].problem}" if bad_rows else ""
        raise ValueError(f"{source} holds no rows{reason}")
    read, form = make_reader(parts, first, source)
    rows: list[R] = []
    for part, number, row in _rows(parts, bad_rows):
        refuse = partial(_refuse, bad_rows, part, number)
        try:
            refuse_images(row)
            from_row = read(row, refuse)
            if check:
                for one in from_row:
                    check(one, part.place(number))
            rows.extend(from_row)
        except RowError as error:
            refuse(error)
    if bad_rows and on_bad_row == "error":
        others = f" (and {len(bad_rows) - 1} more bad rows)" if len(bad_rows) > 1 else ""
        hint = "; --on-bad-row skip leaves them out and lists them"
        raise ValueError(f"{bad_rows[0].place}: {bad_rows[0].problem}{others}{hint}")
    return ReadRows(rows=rows, bad_rows=bad_rows, form=form)


def refuse_images(row: Mapping[str, Any]) -> None:
    """Refuses a row whose texts show images: a model of texts would read their names.

    Raises:
        RowError: naming the column.
    """
    for name, value in row.items():
        if shows_image(value):
            raise RowError(
                "wrong_type", name, value, "it shows an image; allowed here are texts, which a model can read"
            )


def count_reasons(bad_rows: Sequence[BadRow]) -> str:
    """For people: how many bad rows there are of each kind."""
    reasons = Counter(row.reason for row in bad_rows)
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())


def _rows(parts: Sequence[Part], bad_rows: list[BadRow]) -> Iterator[tuple[Part, int, dict[str, Any]]]:
    for part in parts:

        def on_bad(number: int, problem: str, part: Part = part) -> None:
            bad_rows.append(BadRow(place=part.place(number), reason="unreadable", problem=problem))

        for number, row in part.rows(on_bad):
            yield part, number, row


def _refuse(bad_rows: list[BadRow], part: Part, number: int, error: RowError) -> None:
    bad_rows.append(BadRow(place=part.place(number), reason=error.reason, problem=str(error)))


def preference_reader(
    parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str, *, empty: Empty = "bad"
) -> tuple[ReadRow[Preference], str]:
    """A function that reads one row of the form that the first ones have; see `read_preferences`."""
    names = {name for row in first for name in row}
    try:
        reading = detect_reading(first, empty=empty)
        if {"chosen", "rejected"} <= names and reading.form not in ("chosen_rejected", "dialogues"):
            reading = detect_reading(first, form="chosen_rejected", empty=empty)  # the other columns are metadata
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    match reading.form:
        case "chosen_rejected" | "dialogues":
            return partial(_read_pair, reading), reading.form
        case "responses" | "ranked":
            return partial(_read_ranking, reading), "ranked"
        case "pairs":
            column = next((name for name in CHOICES if name in names), "")
            if not column and names >= ONE_HOT.keys():
                return partial(_read_one_hot, reading), reading.form
            if not column:
                columns = ", ".join(sorted(names))
                problem = f"no column says which response is better, the columns are {columns}"
                raise ValueError(f"{source}: {problem}; call the one that does {CHOICES[0]}")
            values = (row.get(column) for _, _, row in _rows(parts, []))
            try:
                scale = find_scale((value for value in values if not is_absent(value)), {})
            except ValueError as error:
                raise ValueError(f"{source}: column {column}: {error}; write a, b or tie") from error
            return partial(_read_vote, reading, column, scale), reading.form


def _read_pair(reading: Reading, row: Mapping[str, Any], _refuse: Refuse) -> list[Preference]:
    return [_preference(read_pair(row, reading), "a", row, read_soft(row), fields=_fields(reading))]


def _read_vote(
    reading: Reading, column: str, scale: NumberScale | None, row: Mapping[str, Any], _refuse: Refuse
) -> list[Preference]:
    comparison = read_pair(row, reading)
    value = row.get(column)
    if is_absent(value):
        raise RowError("missing_field", column, value, "a choice is needed")
    named = named_choice(value, (comparison.source_a, comparison.source_b))
    choice, strength = (named, 1) if named else read_choice(value, scale, {}, column)
    soft = {"margin": float(strength), **read_soft(row)}
    return [_preference(comparison, choice, row, soft, column, fields=_fields(reading))]


def _read_one_hot(reading: Reading, row: Mapping[str, Any], refuse: Refuse) -> list[Preference]:
    others = {name: value for name, value in row.items() if name not in ONE_HOT}
    return _read_vote(reading, CHOICES[0], None, {**others, CHOICES[0]: read_one_hot(row)}, refuse)


def _fields(reading: Reading) -> tuple[str, str]:
    first, second = ("response_a", "response_b") if reading.form == "pairs" else ("chosen", "rejected")
    return reading.columns[first], reading.columns[second]


def _read_ranking(reading: Reading, row: Mapping[str, Any], refuse: Refuse) -> list[Preference]:
    if soft := next((name for name in SOFT if not is_absent(row.get(name))), ""):
        raise RowError("wrong_type", soft, row[soft], "a ranked row says nothing of single pairs, allowed is weight")
    column = reading.columns["responses"]
    parsed = parse_row(_with_ranks(row, column), reading)
    if not parsed.labels:
        raise RowError("missing_field", column, "responses", "each response needs a rank or a score, or the row ranks")
    for problem in parsed.problems:
        refuse(problem)
    pairs = [pair for pair in parsed.comparisons if not _are_unranked(pair)]
    if not pairs:
        raise RowError("missing_field", column, "responses", "one response or more must be ranked")
    weight = read_weight(row) / len(pairs)
    rows = [_preference(pair, parsed.labels.get(pair.id), row, {}, column, fields=(column, column)) for pair in pairs]
    said = [[one.comparison_id, one.chosen, one.rejected, one.p_chosen] for one in rows]
    key = content_id(rows[0].meta.get("annotator", ""), said)  # people who rank the same responses are told apart
    return [replace(one, weight=weight, meta={**one.meta, RANKING: key}) for one in rows]


def _are_unranked(pair: Comparison) -> bool:
    answers = (pair.meta.get(name) for name in ("response_a", "response_b"))
    return all(isinstance(answer, Mapping) and answer.get("rank") == UNRANKED for answer in answers)


def _with_ranks(row: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    """The row with the ranks that stand in a list beside its responses put into these."""
    name = next((name for name in RANKS if not is_absent(row.get(name))), "")
    if not name:
        return row
    ranks, answers = read_ranks(row[name], name), decode_list(row.get(column))
    if not isinstance(answers, Sequence) or isinstance(answers, str) or len(answers) != len(ranks):
        raise RowError("wrong_type", name, row[name], "allowed is a list with one rank per response")
    ranked = [
        {**(answer if isinstance(answer, Mapping) else {"text": answer}), "rank": rank}
        for answer, rank in zip(answers, ranks, strict=True)
    ]
    return {**{key: value for key, value in row.items() if key != name}, column: ranked}


def _preference(
    comparison: Comparison,
    choice: Choice | None,
    row: Mapping[str, Any],
    soft: Mapping[str, Any],
    column: str = "",
    *,
    fields: tuple[str, str],
) -> Preference:
    """The preference that a choice makes of a comparison; what `soft` says goes before what the choice says.

    `column` holds the choice, `fields` the completions.
    """
    match choice:
        case "a" | "tie":
            chosen_first = comparison
        case "b":
            chosen_first = comparison.swap()
        case "both_bad" | "skip":
            raise RowError("no_preference", column, choice, "neither response is preferred")
        case None:
            raise RowError("missing_field", column, choice, "each response needs a rank or a score")
    for turns, name in zip((comparison.turns_a, comparison.turns_b), fields, strict=True):
        refuse_turns(turns, name)
    others = {*OPTIONAL, RANKING, column}  # a file's own column `ranking` does not tie pairs together
    meta = {key: value for key, value in comparison.meta.items() if key not in others}
    return Preference(
        prompt=chosen_first.prompt,
        chosen=chosen_first.completion_a,
        rejected=chosen_first.completion_b,
        weight=read_weight(row),
        comparison_id=chosen_first.id,
        source_chosen=chosen_first.source_a,
        source_rejected=chosen_first.source_b,
        meta=meta | read_annotator(row),
        **{"p_chosen": 0.5 if choice == "tie" else 1.0, **soft},
    )


def is_absent(value: object) -> bool:
    """Whether a cell holds nothing: null, or an empty text."""
    return value is None or value == ""


def read_number(value: object, field: str, low: float = -math.inf, high: float = math.inf, more: str = "") -> float:
    """A finite number within bounds, also written as text.

    Raises:
        RowError: bad_number, otherwise.
    """
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if math.isfinite(number) and low <= number <= high:
        return number
    bounds = {(-math.inf, math.inf): "a number", (0.0, math.inf): "a number of 0 or more"}
    raise RowError("bad_number", field, value, f"allowed is {bounds.get((low, high), f'{low:g} to {high:g}')}{more}")


def read_soft(row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Preference that the row gives: p_chosen, margin, criteria, votes, num_judgments.

    Raises:
        RowError: naming the field that is out of its range.
    """
    soft: dict[str, Any] = {}
    if not is_absent(value := row.get("p_chosen")):
        hint = "; below 0.5 the other completion is the chosen one" if _is_below_half(value) else ""
        soft["p_chosen"] = read_number(value, "p_chosen", 0.5, 1.0, hint)
    if not is_absent(value := row.get("margin")):
        soft["margin"] = read_number(value, "margin")
    if not is_absent(value := row.get("num_judgments")):
        soft["num_judgments"] = _read_count(value, "num_judgments")
    if not is_absent(value := row.get("criteria")):
        degrees = _mapping(value, "criteria").items()
        judged = [(name, degree) for name, degree in degrees if not is_absent(degree)]
        soft["criteria"] = {name: _degree(degree, f"criteria.{name}") for name, degree in judged}
    if not is_absent(value := row.get("votes")):
        counts = _mapping(value, "votes")
        if unknown := next((name for name in counts if name not in VOTES), ""):
            raise RowError("wrong_type", "votes", unknown, f"allowed are {', '.join(VOTES)}")
        numbers = {name: _read_count(count or 0, f"votes.{name}") for name, count in counts.items()}
        soft["votes"] = {name: number for name, number in numbers.items() if number}
    return soft


def read_weight(row: Mapping[str, Any]) -> float:
    """The row's weight, 1 if it gives none."""
    value = row.get("weight")
    return 1.0 if is_absent(value) else read_number(value, "weight", 0.0)


def read_annotator(row: Mapping[str, Any]) -> dict[str, object]:
    """`annotator` and `reliability`, where the row names them."""
    annotator: dict[str, object] = {}
    column = next((name for name in ALIASES["annotator"] if not is_absent(row.get(name))), "")
    if column:
        annotator["annotator"] = read_source(row[column], column)
    if not is_absent(value := row.get("reliability")):
        annotator["reliability"] = read_number(value, "reliability", 0.0, 1.0)
    return annotator


def read_ranks(value: object, field: str) -> list[float]:
    """A list of numbers, which CSV carries as JSON text."""
    ranks = _decoded(value, field)
    if isinstance(ranks, Sequence) and not isinstance(ranks, str) and any(rank is not None for rank in ranks):
        ranks = [UNRANKED if rank is None else rank for rank in ranks]
    if not isinstance(ranks, Sequence) or isinstance(ranks, str):
        raise RowError("wrong_type", field, value, "allowed is a list of ranks, the best one lowest")
    return [read_number(rank, f"{field}[{index}]") for index, rank in enumerate(ranks)]


def _is_below_half(value: object) -> bool:
    try:
        return 0 <= float(value) < 0.5  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def _read_count(value: object, field: str) -> int:
    number = read_number(value, field, 0.0)
    if not number.is_integer():
        raise RowError("bad_number", field, value, "allowed is a whole number")
    return int(number)


def _degree(value: object, field: str) -> float:
    if isinstance(value, str) and value in DEGREES:
        return DEGREES[value]
    return read_number(value, field, more=f", or {', '.join(DEGREES)}")


def _mapping(value: object, field: str) -> Mapping[str, Any]:
    mapping = _decoded(value, field)
    if not isinstance(mapping, Mapping):
        raise RowError("wrong_type", field, value, "allowed is a mapping, as JSON text in a CSV file")
    for name in mapping:
        read_text(name, field)
    return mapping


def _decoded(value: object, field: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return decode_json(value)
    except ValueError as error:
        raise RowError("wrong_type", field, value, "the text is no JSON") from error
