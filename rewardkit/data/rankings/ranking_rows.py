"""Rows of a file as rankings, and rankings as rows.

A row is {"prompt", "completions": [text or turns, ...], "ranks": [1, 3, null, ...]}, with `sources`, `id`, `annotator`
and `weight` where they are known. The shapes of common datasets are read too: a list of responses that hold `rank`,
`score`, `rating` or `overall_score` themselves (Nectar, UltraFeedback), or beside the list a column `ranks`,
`rankings`, `ranking` (the rank of each response, 1 for the best; an order of positions is refused where it shows, by
its 0) or `scores`, `ratings` (the highest is the best).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rewardkit.data.columns import Reading, detect_reading, read_row_prompt
from rewardkit.data.comparison_rows import content_key, read_answers, read_row_id, read_row_meta
from rewardkit.data.conversations import Completion, RowError
from rewardkit.data.export_formats import answer_turns, turns
from rewardkit.data.files import Source, detect_format, file_name, place, read_rows
from rewardkit.data.rankings.ranking import Ranking
from rewardkit.data.records import MOST_RANKED, Comparison, Ranks, Response, content_id, dense, message_lists
from rewardkit.data.tables.cells import decode_literal, read_cell

RANK_COLUMNS = ("ranks", "rankings", "ranking")
SCORE_COLUMNS = ("scores", "ratings")


def detect_rankings(rows: Sequence[Mapping[str, Any]]) -> Reading:
    """How rows of rankings are read.

    Raises:
        ColumnError: if there is no prompt or no list of responses.
    """
    return detect_reading(rows, form="responses")


def read_ranking(row: Mapping[str, Any], reading: Reading) -> Ranking:
    """Reads one row as a ranking.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    comparison, ranks = read_ranked_responses(row, reading)
    if not ranks:
        allowed = f"a column of {', '.join((*RANK_COLUMNS, *SCORE_COLUMNS))} is needed, or a rank of each response"
        raise RowError("missing_field", "ranks", None, allowed)
    weight = row.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, int | float | None) or not 0 <= (weight or 0) < math.inf:
        raise RowError("bad_number", "weight", weight, "allowed is a number of 0 or more")
    return Ranking(
        prompt=comparison.prompt,
        responses=comparison.responses,
        ranks=ranks,
        id=comparison.id,
        annotator=str(row.get("annotator") or ""),
        weight=1.0 if weight is None else float(weight),
        meta={name: value for name, value in comparison.meta.items() if name not in ("weight", "annotator")},
    )


def read_ranked_responses(row: Mapping[str, Any], reading: Reading) -> tuple[Comparison, Ranks]:
    """The responses of a row as one comparison, and what the row says of their order, empty if nothing.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    comparison, ranks = read_responses(row, reading)
    names = (*RANK_COLUMNS, *SCORE_COLUMNS)
    stated = next((name for name in names if row.get(name) not in (None, "")), "")
    if stated:
        ranks = read_ranks(row[stated], stated, len(comparison.responses), scores=stated in SCORE_COLUMNS)
    elif all(rank is None for rank in ranks):
        return comparison, ()
    meta = {name: value for name, value in comparison.meta.items() if name not in names}
    return replace(comparison, meta=meta), dense(ranks)


def read_responses(row: Mapping[str, Any], reading: Reading) -> tuple[Comparison, tuple[float | None, ...]]:
    """All responses of a row as one comparison, and the rank that the row gives each of them (lower is better).

    Args:
        row: a row of the form responses.
        reading: how it is read.

    Raises:
        RowError: naming field and value, if the row cannot be used.
    """
    column, names = reading.columns["responses"], reading.columns.get("sources")
    answers = read_answers(read_cell(row, column), column, read_cell(row, names) if names else None)
    if not 2 <= len(answers) <= MOST_RANKED:
        allowed = f"allowed are 2 to {MOST_RANKED} responses"
        raise RowError("missing_field", column, f"a list of {len(answers)}", allowed)
    if reading.form == "ranked" and all(answer.rank is None for answer in answers):
        answers = [replace(answer, rank=float(position)) for position, answer in enumerate(answers)]
    for second, answer in enumerate(answers):
        if not answer.text.strip() and (reading.empty == "bad" or not any(one.text.strip() for one in answers)):
            raise RowError("empty_response", f"{column}[{second}]", answer.text, "an answer with a text is needed")
        for first in range(second):
            if answers[first].text.strip() == answer.text.strip() and answers[first].turns == answer.turns:
                same = f"it is the same as {column}[{first}]"
                raise RowError("identical_responses", f"{column}[{second}]", answer.text, same)
    prompt = read_row_prompt(row, reading.columns)
    responses = [Response(text=one.text, source=one.source, turns=one.turns) for one in answers]
    a, b, *further = responses
    key = read_row_id(row, reading) or (
        content_id(message_lists(prompt), [[one.text, one.source, message_lists(one.turns)] for one in responses])
        if further
        else content_key(prompt, answers[0], answers[1], a.source, b.source)
    )
    of_answers = {f"response_{index + 1}": dict(one.meta) for index, one in enumerate(answers) if one.meta}
    comparison = Comparison(
        id=key,
        prompt=prompt,
        completion_a=a.text,
        completion_b=b.text,
        source_a=a.source,
        source_b=b.source,
        meta={**read_row_meta(row, reading), **of_answers},
        turns_a=a.turns,
        turns_b=b.turns,
        further=tuple(further),
    )
    return comparison, tuple(answer.rank for answer in answers)


def read_ranks(value: object, column: str, count: int, *, scores: bool = False) -> tuple[float | None, ...]:
    """Reads a list of ranks (lowest is best) or scores (highest is best) as ranks, in whatever steps.

    Raises:
        RowError: if it is no list of as many numbers and nulls, or all are null.
    """
    items = decode_literal(value) if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, str):
        raise RowError("wrong_type", column, value, f"allowed is a list of {count} numbers, null for not ranked")
    if len(items) != count:
        raise RowError("wrong_type", column, value, f"a list of {len(items)}, allowed are {count}, one per response")
    for item in items:
        is_number = isinstance(item, int | float) and not isinstance(item, bool)
        if item is not None and not (is_number and math.isfinite(item)):
            raise RowError("bad_number", column, item, "allowed are numbers, and null for not ranked")
        if item is not None and not scores and not (item >= 1 and float(item).is_integer()):
            allowed = "allowed are the ranks of the responses in their order, whole numbers from 1 for the best"
            raise RowError("bad_number", column, item, allowed)
    if all(item is None for item in items):
        raise RowError("missing_field", column, value, "one response or more must be ranked")
    return tuple(None if item is None else -float(item) if scores else float(item) for item in items)


def load_rankings(source: Source) -> Iterator[Ranking]:
    """Reads a file of rankings, all rows or an error at the first that cannot be used.

    Raises:
        ValueError: naming the file and the line.
    """
    format, reading = detect_format(source), None
    for number, row in read_rows(source, format):
        where = place(source, number, format)
        try:
            reading = reading or detect_rankings([row])
            yield read_ranking(row, reading)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    if reading is None:
        raise ValueError(f"{file_name(source)}: the file holds no rows")


def ranking_row(ranking: Ranking, *, sources: bool = False) -> dict[str, Any]:
    """A row that `read_ranking` reads; texts as turns where one of them is more than a text."""
    listed = any(response.turns for response in ranking.responses)
    row: dict[str, Any] = {
        "id": ranking.id,
        "prompt": turns(ranking.prompt),
        "completions": [
            answer_turns(Completion(text=response.text, turns=response.turns)) if listed else response.text
            for response in ranking.responses
        ],
        "ranks": list(ranking.ranks),
    }
    if sources:
        row["sources"] = [response.source for response in ranking.responses]
    return row
