"""Rankings of more than two responses as votes on pairs: what `votes` reads them as, see `annotate_app.votes.Votes`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from annotate_app.store.base.pending import COMPARISON_SHOWN
from annotate_app.store.schema.desk_tables import further_response
from annotate_app.store.schema.tables import comparison, response
from annotate_app.votes import CHOICE_CODES, KIND_CODES
from rewardkit.data.records import pair_id, relation

CHOICE, SCORE, KIND, SHOWN_LEFT, SECONDS = range(5)  # columns of `Answers.codes`
CHECKS = (KIND_CODES["gold"], KIND_CODES["qualification"])


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Judgments before they are expanded.

    Attributes:
        item: (N,) index of the comparison.
        codes: (N, 6) choice, score, kind, shown_left, seconds, created_at.
        rankings: by judgment id, the stored ranking as JSON text.
    """

    item: np.ndarray
    codes: np.ndarray
    rankings: Mapping[int, str]


def read_further_responses(
    connection: Connection, project_id: int, with_sources: bool
) -> dict[int, list[tuple[str, int]]]:
    """By comparison, source and length of its third and later responses, in their order."""
    query = (
        select(comparison.c.id, response.c.source, func.length(response.c.text))
        .join(further_response, further_response.c.comparison_id == comparison.c.id)
        .join(response, response.c.id == further_response.c.response_id)
        .where(comparison.c.project_id == project_id, COMPARISON_SHOWN)
        .order_by(comparison.c.id, further_response.c.position)
    )
    further: dict[int, list[tuple[str, int]]] = {}
    for comparison_id, source, length in connection.execute(query):
        further.setdefault(comparison_id, []).append((source if with_sources else "", length))
    return further


def expand(
    items: Mapping[str, Any],
    item_ids: np.ndarray,
    further: Mapping[int, list[tuple[str, int]]],
    answers: Answers,
    judgment_ids: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    """Items with a pair for each two responses, and the votes on them.

    Args:
        items: fields of Votes about the comparisons.
        item_ids: (I,) database ids of the comparisons.
        further: of `read_further_responses`.
        answers: the judgments.
        judgment_ids: (N,) their ids.

    Returns:
        Fields of Votes about the items; and by vote its judgment, its item and its codes (M, 6).
    """
    fields, first = _expand_items(items, item_ids, further)
    num_responses = np.array([2 + len(further.get(int(key), ())) for key in item_ids], dtype=np.int64)
    expanded: list[int] = []
    item: list[int] = []
    rows: list[np.ndarray] = []
    for number, (of_item, judgment_id) in enumerate(zip(answers.item.tolist(), judgment_ids.tolist(), strict=True)):
        codes = answers.codes[number]
        votes = _votes(int(num_responses[of_item]), codes, answers.rankings.get(judgment_id))
        for pair, choice, shown_left in votes:
            expanded.append(number)
            item.append(int(first[of_item]) + pair)
            row = codes.copy()
            if num_responses[of_item] > 2:
                row[CHOICE], row[SHOWN_LEFT] = choice, shown_left
                row[SCORE] = {CHOICE_CODES["a"]: -1, CHOICE_CODES["b"]: 1}.get(choice, 0)
                row[SECONDS] *= 2 / num_responses[of_item]
            rows.append(row)
    codes = np.array(rows).reshape(-1, answers.codes.shape[1])
    return fields, np.array(expanded, dtype=np.int64), np.array(item, dtype=np.int64), codes


def _expand_items(
    items: Mapping[str, Any], item_ids: np.ndarray, further: Mapping[int, list[tuple[str, int]]]
) -> tuple[dict[str, Any], np.ndarray]:
    """The fields about pairs, and (I,) the first pair of each comparison."""
    sources = sorted({*items["sources"], *(source for more in further.values() for source, _ in more)})
    number = {source: code for code, source in enumerate(sources)}
    keys: list[str] = []
    first, cluster, gold = [], [], []
    source_a, source_b, length_a, length_b = [], [], [], []
    for place, comparison_id in enumerate(item_ids.tolist()):
        first.append(len(keys))
        key, more = items["items"][place], further.get(comparison_id, [])
        written = [items["sources"][items[f"item_source_{side}"][place]] for side in "ab"] + [one for one, _ in more]
        lengths = [int(items[f"item_length_{side}"][place]) for side in "ab"] + [length for _, length in more]
        for i, j in combinations(range(len(written)), 2):
            keys.append(pair_id(key, i, j) if more else key)
            cluster.append(place)
            gold.append(int(items["item_gold"][place]) if (i, j) == (0, 1) else -1)
            source_a.append(number[written[i]])
            source_b.append(number[written[j]])
            length_a.append(lengths[i])
            length_b.append(lengths[j])
    fields = {
        "items": tuple(keys),
        "sources": tuple(sources),
        "item_source_a": np.array(source_a, dtype=np.int32),
        "item_source_b": np.array(source_b, dtype=np.int32),
        "item_length_a": np.array(length_a, dtype=np.int32),
        "item_length_b": np.array(length_b, dtype=np.int32),
        "item_gold": np.array(gold, dtype=np.int8),
        "item_cluster": np.array(cluster, dtype=np.int32),
    }
    return fields, np.array(first, dtype=np.int64)


def _votes(count: int, codes: np.ndarray, ranking: str | None) -> list[tuple[int, int, int]]:
    """A judgment's votes on the pairs of its comparison: the pair's number, choice and which of the two stood first."""
    choice, kind, shown_left = int(codes[CHOICE]), int(codes[KIND]), int(codes[SHOWN_LEFT])
    if count == 2:
        return [(0, choice, shown_left)]
    if ranking is None and choice in (CHOICE_CODES["skip"], CHOICE_CODES["both_bad"]) and kind not in CHECKS:
        return [(pair, choice, -1) for pair in range(count * (count - 1) // 2)]
    if ranking is None or kind in CHECKS:
        return [(0, choice, shown_left)]
    return list(_ranked(ranking))


@lru_cache(maxsize=4096)
def _ranked(ranking: str) -> tuple[tuple[int, int, int], ...]:
    stored = json.loads(ranking)
    ranks, shown = stored["ranks"], stored.get("shown") or []
    votes = []
    for pair, (i, j) in enumerate(combinations(range(len(ranks)), 2)):
        said = relation(ranks, i, j)
        if said is not None:
            stood = -1 if not shown else 0 if shown.index(i) < shown.index(j) else 1
            votes.append((pair, CHOICE_CODES[said], stood))
    return tuple(votes)
