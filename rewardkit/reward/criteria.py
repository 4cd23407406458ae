"""Rewards by criterion, combined at scoring time. Arrays in, arrays out; no torch.

A model with criterion heads gives K scores of the overall head's members and one score per criterion. Weights such as
`helpful=1,correct=2` make one reward of them; `overall` names the overall head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rewardkit.data.records import Preference

OVERALL = "overall"


def parse_criterion_weights(text: str) -> dict[str, float]:
    """Reads `helpful=1,correct=2`; empty for an empty text.

    Raises:
        ValueError: if a part is not NAME=NUMBER, a name occurs twice or no weight differs from 0.
    """
    weights: dict[str, float] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, mark, number = part.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not mark or not name.strip() or name.strip() in weights or not math.isfinite(value):
            raise ValueError(f"criterion weight {part!r}, allowed is NAME=NUMBER, each name once")
        weights[name.strip()] = value
    if weights and not any(weights.values()):
        raise ValueError(f"criterion weights {text!r} are all 0")
    return weights


def check_criterion_weights(weights: Mapping[str, float], criteria: Sequence[str]) -> None:
    """Raises ValueError if a weight names no criterion of the model."""
    if unknown := [name for name in weights if name not in (OVERALL, *criteria)]:
        known = ", ".join((OVERALL, *criteria))
        raise ValueError(f"criterion {unknown[0]!r} is not one of the model's, which are {known}")


def combine(scores: np.ndarray, *, criteria: Sequence[str], weights: Mapping[str, float]) -> np.ndarray:
    """Members of the combined reward.

    r_k = w_overall r_k,overall + sum_c w_c r_c;  without weights the overall head's members as they are.

    Args:
        scores: (K + C, B) members of the overall head, then one row per criterion.
        criteria: C names, in the order of their rows.
        weights: by criterion and `overall`; what is not named weighs 0.

    Returns:
        (K, B); one row where the overall head weighs 0, because a criterion has one head.
    """
    members, rows = scores[: len(scores) - len(criteria)], scores[len(scores) - len(criteria) :]
    if not weights:
        return members
    check_criterion_weights(weights, criteria)
    by_name = dict(zip(criteria, rows, strict=True))
    fixed = np.zeros_like(scores[0])
    for name, weight in weights.items():
        if name != OVERALL:
            fixed = fixed + weight * by_name[name]
    if not weights.get(OVERALL):
        return fixed[None]
    return weights[OVERALL] * members + fixed


def criterion_names(rows: Sequence[Preference]) -> tuple[str, ...]:
    """Names of all criteria that any row was judged by, sorted."""
    return tuple(sorted({name for row in rows for name in row.criteria}))


def criterion_targets(rows: Sequence[Preference], criteria: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """What is asked of each criterion's head.

    Returns:
        (C, N) probability that chosen is better by the criterion (1, 0.5 for a tie, 0), and the (C, N) weight of the
        row, 0 where it was not judged by the criterion.
    """
    degrees = np.array([[row.criteria.get(name, math.nan) for row in rows] for name in criteria])
    degrees = degrees.reshape(len(criteria), len(rows))
    judged = ~np.isnan(degrees)
    p_chosen = np.where(judged, 0.5 + 0.5 * np.sign(np.nan_to_num(degrees)), 0.5)
    return p_chosen, judged * np.array([row.weight for row in rows])
