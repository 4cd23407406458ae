"""What people say of a blind round: the win rate of its two sources, from the votes on its own comparisons alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.ranking.win_rates import WinRate, fit_win_rates
from annotate_app.votes import Votes

if TYPE_CHECKING:
    from annotate_app.store.loop.rounds import Round

UNJUDGED = Estimate(value=float("nan"), low=float("nan"), high=float("nan"))


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """How a round stands.

    Attributes:
        rate: share of votes that `one` wins, ties and both-bad votes as half a win, with its interval over resampled
            pairs; nan before anybody has voted.
        wins, ties, losses: votes, seen from `one`; both-bad votes are ties.
        num_judged: pairs with a vote or more, of `num_pairs`.
    """

    one: str
    other: str
    rate: Estimate
    wins: int = 0
    ties: int = 0
    losses: int = 0
    num_judged: int = 0
    num_pairs: int

    @property
    def num_votes(self) -> int:
        """Votes on the round, ties among them."""
        return self.wins + self.ties + self.losses

    def sentence(self) -> str:
        """What it says, in words."""
        if not self.num_votes:
            return f"Nobody has judged {self.one} against {self.other} yet."
        if self.rate.against(0.5) == 0:
            return f"Not shown that people prefer {self.one} or {self.other}."
        winner, loser = (self.one, self.other) if self.rate.value > 0.5 else (self.other, self.one)
        return f"People prefer {winner} to {loser}."

    def as_dict(self) -> dict[str, object]:
        names = ("one", "other", "wins", "ties", "losses", "num_votes", "num_judged", "num_pairs")
        return {name: getattr(self, name) for name in names} | {
            "rate": self.rate.as_dict(),
            "sentence": self.sentence(),
        }


def round_results(
    votes: Votes, rounds: Sequence[tuple[Round, Collection[str]]], *, num_resamples: int = 2000, seed: int = 0
) -> list[RoundResult]:
    """The results of rounds, each with the ids of its comparisons, from their project's votes.

    Votes on other comparisons take no part, nor do those on a comparison of the round that is not of its two sources.

    Args:
        num_resamples: bootstrap resamples of pairs behind the intervals, as in `win_rates`; 0 gives none.
    """
    places = {key: number for number, key in enumerate(votes.items)}
    sources = {name: number for number, name in enumerate(votes.sources)}
    by_item = np.argsort(votes.item, kind="stable")
    starts = np.searchsorted(votes.item[by_item], np.arange(len(votes.items) + 1))
    results = []
    for round, keys in rounds:
        both = [sources.get(round.one, -1), sources.get(round.other, -1)]
        items = np.array(sorted(places[key] for key in set(keys) if key in places), dtype=np.int64)
        if -1 in both:
            items = items[:0]
        of_pair = np.isin(votes.item_source_a[items], both) & np.isin(votes.item_source_b[items], both)
        parts = [by_item[starts[item] : starts[item + 1]] for item in items[of_pair]]
        played = votes.where(np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *parts])))
        rates = fit_win_rates(_of_items(played, items), num_resamples=num_resamples, seed=seed).pairs
        results.append(_result(round, len(set(keys)), rates[0] if rates else None))
    return results


def _of_items(votes: Votes, items: np.ndarray) -> Votes:
    """The votes with these items (ascending) alone, on which they all are."""
    fields = {name: getattr(votes, name) for name in votes.__dataclass_fields__}
    for name in fields:
        if name.startswith("item_"):
            fields[name] = fields[name][items]
    fields["items"] = tuple(votes.items[item] for item in items)
    fields["item"] = np.searchsorted(items, votes.item).astype(np.int32)
    return Votes(**fields)


def _result(round: Round, num_pairs: int, rate: WinRate | None) -> RoundResult:
    """The rate of a round's two sources, seen from `one`."""
    empty = RoundResult(one=round.one, other=round.other, rate=UNJUDGED, num_pairs=num_pairs)
    if rate is None:
        return empty
    wins, losses, share = rate.wins, rate.losses, rate.rate
    if rate.one != round.one:
        wins, losses = losses, wins
        share = replace(share, value=1 - share.value, low=1 - share.high, high=1 - share.low)
    return replace(
        empty, rate=share, wins=wins, losses=losses, ties=rate.ties + rate.both_bad, num_judged=rate.num_items
    )
