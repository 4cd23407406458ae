"""Leaderboard and win rates as each group of annotators sees them."""

from __future__ import annotations

from dataclasses import dataclass

from annotate_app.agreement.reports.groups import Grouping
from annotate_app.ranking.bradley_terry import Ties
from annotate_app.ranking.leaderboard import Leaderboard, fit_leaderboard
from annotate_app.ranking.win_rates import WinRates, fit_win_rates
from annotate_app.votes import Votes


@dataclass(frozen=True, kw_only=True)
class GroupRanking:
    """The models by the votes of one group alone; intervals are over comparisons."""

    name: str
    num_people: int
    leaderboard: Leaderboard
    win_rates: WinRates

    def as_dict(self) -> dict[str, object]:
        """Plain values."""
        rankings = {"leaderboard": self.leaderboard.as_dict(), "win_rates": self.win_rates.as_dict()}
        return {"name": self.name, "num_people": self.num_people, **rankings}


def rank_by_group(
    votes: Votes, grouping: Grouping, *, ties: Ties = "half", num_resamples: int = 500
) -> tuple[GroupRanking, ...]:
    """The ranking of each group that is not small."""
    rankings = []
    for index in grouping.shown:
        own = grouping.votes_of(votes, index)
        rankings.append(
            GroupRanking(
                name=grouping.groups[index].name,
                num_people=grouping.groups[index].num_people,
                leaderboard=fit_leaderboard(own, ties=ties, num_resamples=num_resamples),
                win_rates=fit_win_rates(own, num_resamples=num_resamples),
            )
        )
    return tuple(rankings)
