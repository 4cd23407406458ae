"""The turn: one time round the loop, its stages in order, and the figures that one turn is held against others by.

A turn adds order and record. What a stage does is a job that exists without it, with that job's own configuration; what
a stage left (files, runs, pairs, figures) stands in its `result`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from rewardkit.stats.metrics import Interval

Stage = Literal["write", "choose", "judge", "learn", "align", "check"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""In order: the policy writes candidates, pairs are chosen from them, people and judges judge, a reward model learns
from all votes so far, a policy is aligned with it, and people check the policy blindly."""

StageState = Literal["waiting", "running", "people", "done", "failed", "skipped"]
"""`people` waits for people, for days where it has to; `failed` holds what was cancelled or lost too."""
TurnState = Literal["open", "done", "stopped"]


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """How a stage of a turn stands.

    Attributes:
        job_id: the newest job that worked on it; None where none did.
        adopted: whether it was done by hand and taken over.
        tries: how often it was begun.
        result: what it left, by name; empty before.
        started_at, ended_at: unix seconds, None before.
    """

    stage: Stage
    state: StageState = "waiting"
    job_id: int | None = None
    adopted: bool = False
    tries: int = 0
    result: Mapping[str, Any] = field(default_factory=dict)
    started_at: float | None = None
    ended_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One time round the loop.

    Attributes:
        number: from 1 within the project. The policy that turn 1 writes with is turn 0's.
        parent: number of the turn whose policy and reward model it begins from; None for the first.
        plan: what was asked for, see `annotate_app.turns.plan`.
        stages: in the order of STAGES.
    """

    id: int
    project_id: int
    number: int
    parent: int | None
    plan: Mapping[str, Any]
    state: TurnState
    created_by: str
    created_at: float
    ended_at: float | None
    stages: tuple[StageRecord, ...]

    def stage(self, name: Stage) -> StageRecord:
        """One stage."""
        return self.stages[STAGES.index(name)]


@dataclass(frozen=True, kw_only=True)
class TurnFigures:
    """What a turn is held against others by; None where it is not known yet, or cannot be.

    Attributes:
        policy, reward_model: names for people, empty before they are there.
        num_pairs: pairs chosen to be judged; `num_random` of them by chance, which measure honestly.
        num_people_votes, num_judge_votes: judgments bought in this turn.
        people_seconds: that people spent on them.
        seconds: wall clock of its jobs.
        agreement: Krippendorff's alpha of people on this turn's pairs.
        accuracy_before, accuracy_after: share of this turn's random on-policy pairs that the reward model before and
            after it orders as people do; the one after is measured on pairs that it did not learn from.
        ece_before, ece_after: calibration error on the same pairs.
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
