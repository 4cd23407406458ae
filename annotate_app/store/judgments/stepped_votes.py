"""Labels of steps as votes on steps: what `votes` reads them as, see `annotate_app.votes.Votes`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from annotate_app.store.base.pending import COMPARISON_SHOWN
from annotate_app.store.judgments.ranked_votes import CHOICE, SCORE, SECONDS, SHOWN_LEFT
from annotate_app.store.schema.desk_tables import answer_steps
from annotate_app.store.schema.tables import comparison
from annotate_app.votes import CHOICE_CODES
from rewardkit.data.records import step_choice, step_id

SCORES = {CHOICE_CODES["a"]: -1, CHOICE_CODES["b"]: 1}


def read_step_lengths(connection: Connection, project_id: int) -> dict[int, list[int]]:
    """By comparison, the characters of each step of its answer."""
    query = (
        select(answer_steps.c.comparison_id, answer_steps.c.steps)
        .join(comparison, comparison.c.id == answer_steps.c.comparison_id)
        .where(comparison.c.project_id == project_id, COMPARISON_SHOWN)
    )
    return {comparison_id: [len(step) for step in steps] for comparison_id, steps in connection.execute(query)}


def expand_steps(
    items: Mapping[str, Any],
    item_ids: np.ndarray,
    lengths: Mapping[int, list[int]],
    item: np.ndarray,
    codes: np.ndarray,
    labels: Mapping[int, str],
    judgment_ids: np.ndarray,
) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    """Items with one for each step, and the votes on them: `a` is right, `b` wrong, a tie neither.

    Args:
        items: fields of Votes about the comparisons.
        item_ids: (I,) database ids of the comparisons.
        lengths: of `read_step_lengths`.
        item: (N,) index of the comparison of each judgment.
        codes: (N, 6) as of `ranked_votes.Answers`.
        labels: by judgment id, the stored labels as JSON text.
        judgment_ids: (N,) their ids.

    Returns:
        Fields of Votes about the items; and by vote its judgment, its item and its codes (M, 6).
    """
    counts = np.array([len(lengths.get(int(key), (0,))) for key in item_ids], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    cluster = np.repeat(np.arange(len(item_ids), dtype=np.int32), counts)
    keys = [
        step_id(key, place) if int(comparison_id) in lengths else key
        for key, comparison_id, count in zip(items["items"], item_ids.tolist(), counts.tolist(), strict=True)
        for place in range(count)
    ]
    fields = {name: values[cluster] for name, values in items.items() if isinstance(values, np.ndarray)}
    # The known answer of a check is about the whole: of one that is right throughout, every step is.
    fields["item_gold"] = np.where(fields["item_gold"] == CHOICE_CODES["a"], fields["item_gold"], -1).astype(np.int8)
    own = [length for comparison_id in item_ids.tolist() for length in lengths.get(comparison_id, (0,))]
    fields |= {
        "items": tuple(keys),
        "sources": items["sources"],
        "item_length_a": np.array(own, dtype=np.int32),
        "item_length_b": np.zeros(len(keys), dtype=np.int32),
        "item_cluster": cluster,
    }
    judged: list[int] = []
    voted: list[int] = []
    rows: list[np.ndarray] = []
    for number, (of_item, judgment_id) in enumerate(zip(item.tolist(), judgment_ids.tolist(), strict=True)):
        choice = int(codes[number, CHOICE])
        count = int(counts[of_item])
        skipped = tuple((place, choice) for place in range(count)) if choice == CHOICE_CODES["skip"] else ()
        for place, vote in _voted(labels[judgment_id]) if judgment_id in labels else skipped:
            row = codes[number].copy()
            row[CHOICE], row[SCORE], row[SHOWN_LEFT] = vote, SCORES.get(vote, 0), -1
            row[SECONDS] /= count
            judged.append(number)
            voted.append(int(first[of_item]) + place)
            rows.append(row)
    expanded = np.array(rows).reshape(-1, codes.shape[1])
    return fields, np.array(judged, dtype=np.int64), np.array(voted, dtype=np.int64), expanded


@lru_cache(maxsize=4096)
def _voted(labels: str) -> tuple[tuple[int, int], ...]:
    """The steps that were judged, by place, with the choice of each."""
    given = enumerate(json.loads(labels))
    return tuple((place, CHOICE_CODES[step_choice(label)]) for place, label in given if label is not None)
