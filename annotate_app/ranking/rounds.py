"""What people say of a blind round: the win rate of its two sources, from the votes on its own comparisons alone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from annotate_app.agreement.bootstrap import Estimate
from annotate_app.ranking.win_rates import fit_win_rates
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


def round_result(
    votes: Votes, round: Round, keys: Collection[str], *, num_resamples: int = 2000, seed: int = 0
) -> RoundResult:
    """The result of a round from its project's votes.

    Votes on other comparisons take no part, nor do those on a comparison of the round that is not of its two sources.

    Args:
        keys: ids of the round's comparisons.
        num_resamples: bootstrap resamples of pairs behind the interval, as in `win_rates`; 0 gives none.
    """
    wanted = set(keys)
    empty = RoundResult(one=round.one, other=round.other, rate=UNJUDGED, num_pairs=len(wanted))
    if round.one not in votes.sources or round.other not in votes.sources:
        return empty
    places = [votes.sources.index(name) for name in (round.one, round.other)]
    of_round = np.fromiter((key in wanted for key in votes.items), dtype=bool, count=len(votes.items))
    of_pair = np.isin(votes.item_source_a, places) & np.isin(votes.item_source_b, places)
    played = votes.where((of_round & of_pair)[votes.item])
    rates = fit_win_rates(played, num_resamples=num_resamples, seed=seed).pairs
    if not rates:
        return empty
    (rate,) = rates
    wins, losses, share = rate.wins, rate.losses, rate.rate
    if rate.one != round.one:
        wins, losses = losses, wins
        share = replace(share, value=1 - share.value, low=1 - share.high, high=1 - share.low)
    return replace(
        empty, rate=share, wins=wins, losses=losses, ties=rate.ties + rate.both_bad, num_judged=rate.num_items
    )
