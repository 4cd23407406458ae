"""Intervals over items for figures in which it matters who answered: Conger's kappa and the mean of Cohen's kappas.

Neither has an interval where items are too few to resample, or where no resample differs.

Hardly two items have the same people with the same answers, so there are no patterns to tally as in
`annotate_app.agreement.bootstrap`. Of up to BLOCKS items each is resampled by itself; of more, random blocks of them
are, whose sums vary as those of items do: the spread is then known to 1 / sqrt(2 BLOCKS), about 2 %, which is less than
what a thousand resamples leave open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.coefficients import divide, item_statistics
from annotate_app.agreement.pairs import PairTables, cohen_influence, conger_kappa, kappa_values
from annotate_app.agreement.vote_categories import Ballots
from rewardkit.stats.small_samples import LEAST

BLOCKS = 1000
LEAST_SHARED = 5  # items of a pair of people whose kappa says something
CHUNK_VOTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Resamples of the items that have a vote.

    Attributes:
        of_item: (I,) int, the block of each item, 0 for those without a vote.
        weights: (B, G) how often each resample has each block.
    """

    of_item: np.ndarray
    weights: np.ndarray

    @property
    def num_blocks(self) -> int:
        """G, 0 where there is nothing to resample."""
        return self.weights.shape[1]


def draw_blocks(
    ballots: Ballots, num_resamples: int, rng: np.random.Generator, cluster: np.ndarray | None = None
) -> Blocks:
    """Blocks of a question's items, and the resamples of them: none where fewer than LEAST items have two votes.

    Args:
        cluster: (I,) of items that hang together, which then share a block; None where each stands for itself.
    """
    votes = np.bincount(ballots.item, minlength=ballots.num_items)
    rated = np.flatnonzero(votes)
    of_item = np.zeros(ballots.num_items, dtype=np.int64)
    several = votes >= 2
    units = int(several.sum()) if cluster is None else len(np.unique(cluster[several]))
    if not num_resamples or units < LEAST:
        return Blocks(of_item=of_item, weights=np.zeros((0, 0)))
    number = np.arange(len(rated)) if cluster is None else np.unique(cluster[rated], return_inverse=True)[1]
    num_units = int(number.max()) + 1
    size = min(num_units, BLOCKS)
    of_item[rated] = number if size == num_units else (rng.permutation(num_units) % size)[number]
    weights = rng.multinomial(size, np.full(size, 1 / size), size=num_resamples).astype(np.float64)
    return Blocks(of_item=of_item, weights=weights)


def conger_estimate(ballots: Ballots, percent: float, blocks: Blocks) -> Estimate:
    """Conger's kappa with its interval.

    Args:
        percent: the observed agreement (`coefficients.percent_agreement`).
    """
    value = float(conger_kappa(ballots.annotator_counts(), np.asarray(percent)))
    if not blocks.num_blocks:
        return Estimate(value=value)
    width = len(ballots.categories)
    tally = ballots.nominal_tally
    statistics = item_statistics(tally.patterns)
    shares = statistics[:, 2 + width + width**2 : 2 + width + 2 * width**2].reshape(-1, width, width)
    agreed = np.trace(shares, axis1=1, axis2=2)[tally.pattern]
    paired = statistics[:, 1][tally.pattern]
    size = blocks.num_blocks
    observed = divide(
        blocks.weights @ np.bincount(blocks.of_item, agreed, size),
        blocks.weights @ np.bincount(blocks.of_item, paired, size),
    )
    per_block = ballots.num_annotators * width
    cell = blocks.of_item[ballots.item] * per_block + ballots.annotator * width + ballots.answer
    counts = np.bincount(cell, minlength=size * per_block).reshape(size, per_block)
    resampled = (blocks.weights @ counts).reshape(-1, ballots.num_annotators, width)
    return Estimate.of_samples(value, conger_kappa(resampled, observed))


def mean_kappa_estimate(ballots: Ballots, pairs: PairTables, blocks: Blocks) -> Estimate:
    """The mean of Cohen's kappa over the pairs where it is defined, weighted by their shared items, with its interval.

    sum n_p kappa_p / sum n_p. Pairs who share fewer than LEAST_SHARED items are left out where others share more: a
    pair with one item has a kappa only if it disagrees, and then 0. The interval is of the linearised mean, to which
    each item adds its influence, (n_p dkappa_p + kappa_p - mean) / sum n_p: resampled tables of few items would repeat
    items, which moves their kappas to one side.
    """
    values, shared = kappa_values(pairs.tables), pairs.num_items.astype(np.float64)
    counts = ~np.isnan(values)
    if (counts & (shared >= LEAST_SHARED)).any():
        counts &= shared >= LEAST_SHARED
    if not counts.any():
        return Estimate(value=float("nan"))
    weights = np.where(counts, shared, 0.0) / shared[counts].sum()
    value = float(weights[counts] @ values[counts])
    if not blocks.num_blocks:
        return Estimate(value=value)
    per_item = shared[:, None, None] * cohen_influence(pairs.tables) + (values - value)[:, None, None]
    influence = np.where(counts[:, None, None], per_item, 0.0) * (weights / np.maximum(shared, 1))[:, None, None]
    sums = np.zeros(blocks.num_blocks)
    for item, cell in shared_answers(ballots, pairs):
        sums += np.bincount(blocks.of_item[item], influence.reshape(-1)[cell], blocks.num_blocks)
    return Estimate.of_samples(value, value + blocks.weights @ sums - sums.sum())


def shared_answers(ballots: Ballots, pairs: PairTables) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """In parts, of every two votes on one item: the item and the cell in `pairs.tables`, flattened."""
    width = len(ballots.categories)
    position = np.zeros((ballots.num_annotators, ballots.num_annotators), dtype=np.int64)
    position[pairs.first, pairs.second] = np.arange(len(pairs.first))
    order = np.argsort(ballots.item, kind="stable")
    votes = np.bincount(ballots.item, minlength=ballots.num_items)
    start = np.cumsum(votes) - votes
    for count in np.unique(votes[votes >= 2]).tolist():
        items = np.flatnonzero(votes == count)
        left, right = np.triu_indices(count, k=1)
        step = max(1, CHUNK_VOTES // len(left))
        for chunk in (items[at : at + step] for at in range(0, len(items), step)):
            chosen = order[start[chunk][:, None] + np.arange(count)]
            people, answers = ballots.annotator[chosen], ballots.answer[chosen]
            one, two = people[:, left], people[:, right]
            x, y = answers[:, left], answers[:, right]
            ordered = one < two
            rows = position[np.minimum(one, two), np.maximum(one, two)]
            cell = (rows * width + np.where(ordered, x, y)) * width + np.where(ordered, y, x)
            yield np.repeat(chunk, len(left)), cell.reshape(-1)
