"""A leaderboard of source models from the votes: Bradley-Terry strengths with ties, intervals, win rates, ranks.

The fit itself lives in `annotate_app.ranking.bradley_terry`. Both-bad votes count as ties: neither model won.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from annotate_app.agreement.pairs import Z_95
from annotate_app.ranking.bradley_terry import (
    TIES,
    Strengths,
    Ties,
    components,
    fit_bradley_terry,
    fit_resamples,
    is_finite,
)
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.stats.metrics import percentile_interval
from rewardkit.stats.small_samples import LEAST

MOST_CELLS = 4_000_000  # of the tables of resamples that are held at once
NUDGE = 0.5  # of a comparison, half won by each, lent to every pair that met where no finite strengths fit


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One model's place.

    Attributes:
        group: models of one group are connected by votes; strengths of different groups cannot be compared.
        rank: 1 + the number of models of the group whose interval lies wholly above this one's; a model with fewer than
            LEAST comparisons is ranked below none, and none below it.
        log_strength: mean zero within the group; low and high its 95 % interval.
        standard_error: from the Fisher information.
        win_rate: wins plus half the ties over its votes.
        num_votes: votes on comparisons with this model; num_items the comparisons.
    """

    name: str
    group: int
    rank: int
    log_strength: float
    low: float
    high: float
    standard_error: float
    win_rate: float
    num_votes: int
    num_items: int

    def as_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """The standings, best first within each group, groups by size.

    Attributes:
        ties: how ties entered the fit.
        sources: the models that took part, in the order of `wins` and `tied`.
        wins: (M, M) wins of row over column; tied (M, M) symmetric.
        log_tie: by group, log of Davidson's tie parameter (NaN where ties count half).
        num_left_out: votes that compare a model with itself or with an unnamed source.
        connected: whether all models stand on one scale.
        notes: what a reader has to know, in words.
    """

    standings: tuple[Standing, ...]
    ties: Ties
    sources: tuple[str, ...]
    wins: np.ndarray
    tied: np.ndarray
    log_tie: tuple[float, ...]
    num_votes: int
    num_left_out: int
    connected: bool
    converged: bool
    num_iterations: int
    notes: tuple[str, ...]

    @property
    def win_rates(self) -> np.ndarray:
        """(M, M) share of wins of row over column, ties as half; NaN where they never met."""
        games = self.wins + self.wins.T + self.tied
        return np.where(games > 0, (self.wins + self.tied / 2) / np.maximum(games, 1), np.nan)

    def as_dict(self) -> dict[str, object]:
        return {
            "ties": self.ties,
            "connected": self.connected,
            "converged": self.converged,
            "num_iterations": self.num_iterations,
            "num_votes": self.num_votes,
            "num_left_out": self.num_left_out,
            "log_tie": list(self.log_tie),
            "notes": list(self.notes),
            "standings": [standing.as_dict() for standing in self.standings],
            "sources": list(self.sources),
            "wins": self.wins.tolist(),
            "ties_by_pair": self.tied.tolist(),
        }


@dataclass(frozen=True, kw_only=True)
class Games:
    """Results by item: Q distinct (row model, column model, wins, losses, ties), with how many items show each.

    Where items hang together, as the pairs of a ranking do, `item` (V,) says which of the Q each item shows, and
    `cluster` (V,) which comparison it belongs to; both are empty where each stands for itself.
    """

    rows: np.ndarray
    columns: np.ndarray
    results: np.ndarray
    multiplicity: np.ndarray
    item: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    cluster: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(Q,) how many items show each in a resample: of items, or of the clusters that they belong to."""
        if not len(self.cluster):
            total = int(self.multiplicity.sum())
            return rng.multinomial(total, self.multiplicity / total)
        _, number = np.unique(self.cluster, return_inverse=True)
        size = int(number.max()) + 1
        times = rng.multinomial(size, np.full(size, 1 / size))
        return np.bincount(self.item, times[number], minlength=len(self.multiplicity))

    def tables(self, weights: np.ndarray, num_models: int) -> tuple[np.ndarray, np.ndarray]:
        """Wins (..., M, M) and symmetric ties (..., M, M) with the items weighted (..., Q)."""
        tables, size = np.atleast_2d(weights), num_models**2
        cell = np.arange(len(tables))[:, None] * size + self.rows * num_models + self.columns
        won, lost, tied = (
            np.bincount(cell.ravel(), (tables * column).ravel(), minlength=len(tables) * size).reshape(
                *weights.shape[:-1], num_models, num_models
            )
            for column in self.results.T
        )
        return won + lost.swapaxes(-1, -2), tied + tied.swapaxes(-1, -2)

    def of(self, members: np.ndarray) -> Games:
        """The games among models at indices `members`, renumbered."""
        position = np.full(max(int(self.rows.max(initial=0)), int(self.columns.max(initial=0)), *members) + 1, -1)
        position[members] = np.arange(len(members))
        inside = (position[self.rows] >= 0) & (position[self.columns] >= 0)
        kept = inside[self.item] if len(self.item) else np.zeros(0, dtype=bool)
        return Games(
            item=(np.cumsum(inside) - 1)[self.item[kept]],
            cluster=self.cluster[kept],
            rows=position[self.rows[inside]],
            columns=position[self.columns[inside]],
            results=self.results[inside],
            multiplicity=self.multiplicity[inside],
        )


def fit_leaderboard(votes: Votes, *, ties: Ties = "half", num_resamples: int = 500, seed: int = 0) -> Leaderboard:
    """Fits the leaderboard of a project's counted votes.

    Args:
        ties: `half` counts a tie as half a win for both, `davidson` models ties by a parameter of their own.
        num_resamples: bootstrap resamples of items behind the intervals (votes on one item hang together); 0 takes
            normal intervals from the Fisher information, which treat every vote as independent. Of models with fewer
            than LEAST comparisons, without a finite strength, or whose strength no resample changes, intervals are from
            a fit and its Fisher information in which each comparison counts as one vote.

    Raises:
        ValueError: on an unknown treatment of ties.
    """
    if ties not in TIES:
        raise ValueError(f"ties is {ties!r}, allowed are {', '.join(TIES)}")
    counted = votes.counted()
    named = np.array([bool(name) for name in votes.sources], dtype=bool)
    a, b = votes.item_source_a[counted.item], votes.item_source_b[counted.item]
    usable = named[a] & named[b] & (a != b) if len(counted) else np.zeros(0, dtype=bool)
    played = counted.where(usable)
    games = _games(played)
    wins, tied = games.tables(games.multiplicity, len(votes.sources))
    present = np.flatnonzero((wins + wins.T + tied).sum(axis=1) > 0)
    labels = components(wins + wins.T + tied)[present] if len(present) else np.zeros(0, dtype=int)
    groups = [present[labels == label] for label in np.unique(labels)]
    groups.sort(key=lambda group: (-len(group), group[0]))
    rng = np.random.default_rng(seed)
    standings: list[Standing] = []
    fits: list[Strengths] = []
    notes: list[str] = []
    for number, group in enumerate(groups):
        names = [votes.sources[model] for model in group]
        fitted, rows, group_notes = _fit_group(games.of(group), names, number, ties, num_resamples, rng)
        fits.append(fitted)
        standings += rows
        notes += group_notes
    if len(groups) > 1:
        notes.insert(0, f"the models fall into {len(groups)} groups without a comparison between them: compare within")
    return Leaderboard(
        standings=tuple(standings),
        ties=ties,
        sources=tuple(votes.sources[model] for model in present),
        wins=wins[np.ix_(present, present)],
        tied=tied[np.ix_(present, present)],
        log_tie=tuple(fitted.log_tie for fitted in fits),
        num_votes=len(played),
        num_left_out=len(counted) - len(played),
        connected=len(groups) <= 1,
        converged=all(fitted.converged for fitted in fits),
        num_iterations=max((fitted.num_iterations for fitted in fits), default=0),
        notes=tuple(notes),
    )


def _games(played: Votes) -> Games:
    results = np.zeros((len(played.items), 3), dtype=np.int64)
    column = np.full(len(CHOICE_CODES), 2)
    column[CHOICE_CODES["a"]], column[CHOICE_CODES["b"]] = 0, 1
    np.add.at(results, (played.item, column[played.choice]), 1)
    voted = np.flatnonzero(results.any(axis=1))
    keys = np.column_stack([played.item_source_a[voted], played.item_source_b[voted], results[voted]])
    rows, item, multiplicity = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    hang = {"item": item.reshape(-1), "cluster": played.item_cluster[voted]} if played.is_clustered else {}
    return Games(rows=rows[:, 0], columns=rows[:, 1], results=rows[:, 2:], multiplicity=multiplicity, **hang)


def _fit_group(
    games: Games, names: list[str], number: int, ties: Ties, num_resamples: int, rng: np.random.Generator
) -> tuple[Strengths, list[Standing], list[str]]:
    size = len(names)
    wins, tied = games.tables(games.multiplicity, size)
    notes: list[str] = []
    nudge, is_endless = np.zeros((size, size)), np.zeros(size, dtype=bool)
    if not is_finite(wins, tied, ties):
        nudge = NUDGE / 2 * ((wins + wins.T + tied) > 0)
        is_endless = _endless(wins + tied / 2)
        notes.append(_lent(np.array(names)[is_endless]))
        is_endless |= not is_endless.any()
    fitted = fit_bradley_terry(wins + nudge, tied, rule=ties)
    error = fitted.standard_errors()
    low, high = fitted.log_strength - Z_95 * error, fitted.log_strength + Z_95 * error
    num_items = np.bincount(games.rows, games.multiplicity, size) + np.bincount(games.columns, games.multiplicity, size)
    is_few = num_items < LEAST
    is_unsure = is_few | is_endless  # games that are all won are won in every resample
    if num_resamples:
        samples = _resample(games, nudge, fitted.log_strength, ties, num_resamples, rng)
        if len(samples) * 2 > num_resamples:
            low, high = np.array([percentile_interval(column) for column in samples.T]).T
            is_unsure |= np.isnan(low)
        else:
            is_unsure[:] = True
    if is_unsure.any():
        by_item = _fit_items(games, nudge, ties)
        reach = Z_95 * by_item.standard_errors()
        low = np.where(is_unsure, np.minimum(by_item.log_strength - reach, fitted.log_strength), low)
        high = np.where(is_unsure, np.maximum(by_item.log_strength + reach, fitted.log_strength), high)
        notes.append(_unsure(np.array(names), is_few, is_unsure))
    num_votes = (wins + wins.T + tied).sum(axis=1)
    rates = (wins + tied / 2).sum(axis=1) / num_votes
    standings = [
        Standing(
            name=names[k],
            group=number,
            rank=1 if is_few[k] else 1 + int(((low > high[k]) & ~is_few).sum()),
            log_strength=float(fitted.log_strength[k]),
            low=float(low[k]),
            high=float(high[k]),
            standard_error=float(error[k]),
            win_rate=float(rates[k]),
            num_votes=int(num_votes[k]),
            num_items=int(num_items[k]),
        )
        for k in np.argsort(-fitted.log_strength, kind="stable")
    ]
    return fitted, standings, notes


def _fit_items(games: Games, nudge: np.ndarray, ties: Ties) -> Strengths:
    """The fit in which the votes on an item together count as one: what is known if they all say the same."""
    results = games.results / games.results.sum(axis=1, keepdims=True)
    wins, tied = replace(games, results=results).tables(games.multiplicity, len(nudge))
    return fit_bradley_terry(wins + nudge, tied, rule=ties)


def _unsure(names: np.ndarray, is_few: np.ndarray, is_unsure: np.ndarray) -> str:
    """Writes the note on intervals that are no bootstrap, and why."""
    why = f"fewer than {LEAST} comparisons of {', '.join(names[is_few])}: ranked with the rest" if is_few.any() else ""
    if (is_unsure & ~is_few).any():
        why += f"{'; ' if why else ''}no spread among resamples of {', '.join(names[is_unsure & ~is_few])}"
    return f"{why}; intervals are from the Fisher information, each comparison counted as one vote"


def _endless(beats: np.ndarray) -> np.ndarray:
    """Which models have no finite strength beside the largest set of models that all beat one another, over others."""
    circles = components(beats, strong=True)
    sizes = np.bincount(circles)
    return np.ones(len(beats), dtype=bool) if sizes.max() == 1 else circles != sizes.argmax()


def _lent(outside: np.ndarray) -> str:
    """Writes the note on the wins that were lent to every pair, and why."""
    why = (
        f"only ever better or only ever worse than the rest: {', '.join(outside)}; that has no finite strength"
        if len(outside)
        else "some models drew but never won, which leaves strengths and ties without finite values"
    )
    return f"{why}, so {NUDGE / 2} wins for each side were lent to every pair that met"


def _resample(
    games: Games, nudge: np.ndarray, start: np.ndarray, ties: Ties, num_resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """(B', M) log strengths over resampled items; resamples without a finite fit are left out."""
    size = len(start)
    step = max(1, MOST_CELLS // size**2)
    samples: list[np.ndarray] = []
    for first in range(0, num_resamples, step):
        weights = np.array([games.draw(rng) for _ in range(min(step, num_resamples - first))])
        wins, tied = games.tables(weights, size)
        samples.append(fit_resamples(wins + nudge, tied, rule=ties, start=start))
    return np.concatenate(samples)
