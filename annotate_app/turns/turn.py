"""The figures that one turn of the loop is held against others by; the turn itself is the store's.

A turn adds order and record. What a stage does is a job that exists without it, with that job's own configuration; what
a stage left (files, runs, pairs, figures) stands in its `result`.
"""

from __future__ import annotations

from dataclasses import dataclass

from annotate_app.store.loop.turns import STAGES, Stage, StageRecord, StageState, Turn, TurnState
from rewardkit.stats.metrics import Interval

__all__ = ["STAGES", "Stage", "StageRecord", "StageState", "Turn", "TurnFigures", "TurnState"]


@dataclass(frozen=True, kw_only=True)
class TurnFigures:
    """What a turn is held against others by; None where it is not known yet, or cannot be.

    Attributes:
        policy, reward_model: names for people, empty before they are there.
        num_pairs: pairs chosen to be judged; `num_random` of them by chance, which measure honestly.
        num_people_votes, num_judge_votes: judgments bought in this turn, on its pairs.
        num_blind_votes: judgments of people on the blind rounds that check it, which nothing learns from.
        people_seconds: that people spent on both.
        seconds: wall clock of its jobs.
        agreement: Krippendorff's alpha of people on this turn's pairs.
        accuracy_before, accuracy_after: share of this turn's random on-policy pairs that the reward model before and
            after it orders as people do; the one after is measured on pairs that it did not learn from.
        ece_before, ece_after: calibration error on the same pairs, without bounds.
        against_previous, against_first: share of blind votes that the turn's policy wins against the turn's before and
            against turn 0's; a tie is half.
        gold: mean gold reward of its policy's answers, where the world is simulated.
        proxy: mean reward of its policy's answers by the turn's reward model, on the scale of turn 0's answers (0 is
            their mean, 1 their standard deviation).
        kl: nats a reply to turn 0's policy.
        words: of a reply.
    """

    number: int
    state: TurnState
    policy: str = ""
    reward_model: str = ""
    num_pairs: int = 0
    num_random: int = 0
    num_people_votes: int = 0
    num_judge_votes: int = 0
    num_blind_votes: int = 0
    people_seconds: float = 0.0
    seconds: float = 0.0
    agreement: Interval | None = None
    accuracy_before: Interval | None = None
    accuracy_after: Interval | None = None
    ece_before: Interval | None = None
    ece_after: Interval | None = None
    against_previous: Interval | None = None
    against_first: Interval | None = None
    gold: Interval | None = None
    proxy: Interval | None = None
    kl: Interval | None = None
    words: Interval | None = None
