"""Preference data of every form, read into `Preference` rows; what cannot be used is named, never dropped in silence.

Forms: chosen and rejected (with a prompt, or sharing one as their common start; texts or lists of turns), raw
dialogues, two responses with a choice (one row a vote, where there are several annotators), and responses with ranks or
scores.
Where the data lies is `rewardkit.data.sources`, what a training makes of it `rewardkit.data.training_data`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Generic, Literal, TypeVar

from rewardkit.data.choices import Vocabulary, detect_vocabulary, read_choice
from rewardkit.data.columns import Reading, detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.conversations import RowError, decode_list
from rewardkit.data.judgments import ALIASES
from rewardkit.data.preference_columns import (
    OPTIONAL,
    SOFT,
    is_absent,
    read_annotator,
    read_ranks,
    read_soft,
    read_weight,
)
from rewardkit.data.records import Choice, Comparison, Preference
from rewardkit.data.sources import Part, choose_split, open_source

OnBadRow = Literal["error", "skip"]
FIRST_ROWS = 200  # from which form and columns are found
CHOICES = (*ALIASES["choice"], "preferred", "better", "chosen")  # columns that say which of two is better
RANKS = ("ranks", "rank", "ranking")  # a list beside the responses


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A row, or a pair of a ranked row, that cannot be used.

    Attributes:
        place: `file:line`, or file and record number.
        reason: in one word, see `rewardkit.data.conversations.RowError`; `unreadable` where the file itself is broken
        there. problem: what is wrong, with field and value.
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
MakeReader = Callable[[Sequence[Part], Sequence[Mapping[str, Any]], str], tuple[ReadRow[R], str]]
"""From parts, their first rows and the source's name: what reads a row, and the form it found."""


def read_preferences(source: str, *, on_bad_row: OnBadRow = "error") -> Preferences:
    """Reads JSONL, JSON, CSV or Parquet (gzipped too), a folder with one split, a saved `datasets` folder or a hub id.

    Rows of one pair may say `p_chosen` (0.5 to 1), `margin`, `criteria` (by name, the signed degree in favour of
    chosen, or chosen, rejected, tie), `votes` and `num_judgments`; every row may say `weight`, `annotator` and
    `reliability` (probability that the annotator is right, 0 to 1), of which the last two are kept in `meta`. A choice
    `tie` becomes p_chosen 0.5, and the strength of a choice the margin.

    K ranked responses become P = K (K - 1) / 2 pairs that weigh 1 / P each, so that a row of any K weighs 1 (times its
    own `weight`) like a pair does: Ouyang et al. 2022, eq. 1 (arXiv 2203.02155). Pairs of equal rank are ties; where
    a pair of identical responses is left out, P counts the others.

    Args:
        source: a path or hub id; `SOURCE:SPLIT` names one split of several.
        on_bad_row: stop with an error that names the first bad row and counts the others, or list them and go on.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
        FileNotFoundError: if there is no such source.
        ImportError: if the source takes the `datasets` library and that is not installed.
    """
    splits = open_source(source)
    return read_parts(splits[choose_split(splits, source)], source, on_bad_row=on_bad_row)


def read_parts(parts: Sequence[Part], source: str, *, on_bad_row: OnBadRow = "error") -> Preferences:
    """Reads the parts of one split, see `read_preferences`."""
    return read_each(parts, source, preference_reader, on_bad_row=on_bad_row)


def read_each(
    parts: Sequence[Part], source: str, make_reader: MakeReader[R], *, on_bad_row: OnBadRow = "error"
) -> ReadRows[R]:
    """Reads every row of the parts of one split by a reader made for their form.

    Raises:
        ValueError: naming file and line, if a row is bad or no form fits.
    """
    bad_rows: list[BadRow] = []
    first = [row for _, _, row in islice(_rows(parts, []), FIRST_ROWS)]
    if not first:
        for _ in _rows(parts, bad_rows):
            raise AssertionError("rows appeared")
        said = f": {bad_rows[0].place}: {bad_rows[0].problem}" if bad_rows else ""
        raise ValueError(f"{source} holds no rows{said}")
    read, form = make_reader(parts, first, source)
    rows: list[R] = []
    for part, number, row in _rows(parts, bad_rows):
        refuse = partial(_refuse, bad_rows, part, number)
        try:
            rows.extend(read(row, refuse))
        except RowError as error:
            refuse(error)
    if bad_rows and on_bad_row == "error":
        others = f" (and {len(bad_rows) - 1} more bad rows)" if len(bad_rows) > 1 else ""
        hint = "; --on-bad-row skip leaves them out and lists them"
        raise ValueError(f"{bad_rows[0].place}: {bad_rows[0].problem}{others}{hint}")
    return ReadRows(rows=rows, bad_rows=bad_rows, form=form)


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
    parts: Sequence[Part], first: Sequence[Mapping[str, Any]], source: str
) -> tuple[ReadRow[Preference], str]:
    """A function that reads one row of the form that the first ones have."""
    names = {name for row in first for name in row}
    try:
        reading = detect_reading(first, empty="bad")
        if {"chosen", "rejected"} <= names and reading.form not in ("chosen_rejected", "dialogues"):
            reading = detect_reading(first, form="chosen_rejected", empty="bad")  # the other columns are metadata
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    match reading.form:
        case "chosen_rejected" | "dialogues":
            return partial(_read_pair, reading), reading.form
        case "responses" | "ranked":
            return partial(_read_ranking, reading), "ranked"
        case "pairs":
            column = next((name for name in CHOICES if name in names), "")
            if not column:
                columns = ", ".join(sorted(names))
                raise ValueError(f"{source}: no column says which response is better, the columns are {columns}")
            values = (row.get(column) for _, _, row in _rows(parts, []))
            try:
                vocabulary = detect_vocabulary((value for value in values if not is_absent(value)), {})
            except ValueError as error:
                said = str(error).partition(";")[0]
                raise ValueError(f"{source}: column {column}: {said}; write a, b or tie") from error
            return partial(_read_vote, reading, column, vocabulary), reading.form


def _read_pair(reading: Reading, row: Mapping[str, Any], _refuse: Refuse) -> list[Preference]:
    parsed = parse_row(row, reading)
    (comparison,) = parsed.comparisons
    return [_preference(comparison, parsed.labels[comparison.id], row, read_soft(row))]


def _read_vote(
    reading: Reading, column: str, vocabulary: Vocabulary, row: Mapping[str, Any], _refuse: Refuse
) -> list[Preference]:
    (comparison,) = parse_row(row, reading).comparisons
    value = row.get(column)
    if is_absent(value):
        raise RowError("missing_field", column, value, "a choice is needed")
    choice, strength = read_choice(value, vocabulary, {}, column)
    return [_preference(comparison, choice, row, {"margin": float(strength), **read_soft(row)}, column)]


def _read_ranking(reading: Reading, row: Mapping[str, Any], refuse: Refuse) -> list[Preference]:
    if given := next((name for name in SOFT if not is_absent(row.get(name))), ""):
        raise RowError("wrong_type", given, row[given], "a ranked row says nothing of single pairs, allowed is weight")
    column = reading.columns["responses"]
    parsed = parse_row(_with_ranks(row, column), reading)
    if not parsed.labels:
        raise RowError("missing_field", column, "responses", "each response needs a rank or a score, or the row ranks")
    for problem in parsed.problems:
        refuse(problem)
    weight = read_weight(row) / len(parsed.comparisons)
    rows = [_preference(each, parsed.labels.get(each.id), row, {}, column) for each in parsed.comparisons]
    return [replace(each, weight=weight) for each in rows]


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
    comparison: Comparison, choice: Choice | None, row: Mapping[str, Any], soft: Mapping[str, Any], column: str = ""
) -> Preference:
    """The preference that a choice makes of a comparison; what `soft` says goes before what the choice says."""
    match choice:
        case "a":
            pair, p_chosen = comparison, 1.0
        case "b":
            pair, p_chosen = comparison.swap(), 1.0
        case "tie":
            pair, p_chosen = comparison, 0.5
        case "both_bad" | "skip":
            raise RowError("no_preference", column, choice, "neither response is preferred")
        case None:
            raise RowError("missing_field", column, choice, "each response needs a rank or a score")
    meta = {key: value for key, value in comparison.meta.items() if key not in OPTIONAL and key != column}
    return Preference(
        prompt=pair.prompt,
        chosen=pair.completion_a,
        rejected=pair.completion_b,
        weight=read_weight(row),
        comparison_id=pair.id,
        source_chosen=pair.source_a,
        source_rejected=pair.source_b,
        meta=meta | read_annotator(row),
        **{"p_chosen": p_chosen, **soft},
    )
