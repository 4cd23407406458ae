"""Policies held against each other: blind rounds of people, and reward models on the same answers.

A round's answers are pairs of the project, so that a reward model that has scored the project has scored them: the same
prompts, answered by both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from annotate_app.access import Actor
from annotate_app.findings.pair_scores import PairScores, read_scores
from annotate_app.ranking.rounds import RoundResult, round_results
from annotate_app.store.loop.rounds import Round
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun
from annotate_app.votes import Votes
from rewardkit.stats.metrics import Interval, average_interval, correctness, mean_interval


@dataclass(frozen=True, kw_only=True)
class RewardDifference:
    """What a reward model says of a round.

    Attributes:
        reward_model: number of its run, and `name`.
        difference: reward of `one`'s answers minus that of `other`'s, paired by prompt, in the model's unit.
        share: of pairs in which `one` is rewarded more, equal rewards as half.
        num_pairs: scored pairs of the round.
        taught: whether one of the two policies learned from this reward, which then flatters it.
    """

    reward_model: int
    name: str
    difference: Interval
    share: Interval
    num_pairs: int
    taught: bool


@dataclass(frozen=True, kw_only=True)
class PolicyRound:
    """A blind round as it stands.

    Attributes:
        one, other: runs' numbers, None for what is no run of the project.
    """

    round: Round
    result: RoundResult
    one: int | None
    other: int | None
    rewards: tuple[RewardDifference, ...] = ()

    def values(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "round": self.round.id,
            "created_at": self.round.created_at,
            **self.result.as_dict(),
            "one_run": self.one,
            "other_run": self.other,
            "rewards": [asdict(one) for one in self.rewards],
        }


def read_rounds(
    store: Store, actor: Actor, project_id: int, runs: Sequence[ModelRun], votes: Votes, *, of: Iterable[ModelRun] = ()
) -> list[PolicyRound]:
    """The blind rounds of a project, newest first, with votes so far and the rewards of what has scored them.

    Args:
        runs: the project's.
        of: runs of which one has to take part, or if there are several both sides; empty for all rounds.
    """
    numbers = {run.number for run in of}
    own_rounds = []
    for round_ in store.rounds.list(actor, project_id):
        sides = tuple(_run_of(round_, side, runs) for side in ("one", "other"))
        taking_part = {run.number for run in sides if run is not None}
        if not numbers or (taking_part >= numbers if len(numbers) < 2 else len(taking_part & numbers) == 2):
            own_rounds.append((round_, sides))
    if not own_rounds:
        return []
    source_of, all_keys = _sources(votes), store.rounds.all_keys(actor, project_id)
    scored = [(run, scores) for run in runs if run.is_scorer and (scores := read_scores(run)) is not None]
    results = round_results(votes, [(round_, all_keys[round_.id]) for round_, _ in own_rounds])
    return [
        PolicyRound(
            round=round_,
            result=result,
            one=sides[0].number if sides[0] else None,
            other=sides[1].number if sides[1] else None,
            rewards=tuple(
                one
                for run, scores in scored
                if (one := _rewards(run, scores, round_, all_keys[round_.id], source_of, sides)) is not None
            ),
        )
        for (round_, sides), result in zip(own_rounds, results, strict=True)
    ]


def _sources(votes: Votes) -> dict[str, str]:
    """By comparison id, what wrote its a."""
    return {key: votes.sources[number] for key, number in zip(votes.items, votes.item_source_a.tolist(), strict=True)}


def _run_of(round_: Round, side: str, runs: Sequence[ModelRun]) -> ModelRun | None:
    """The run on one side: by the folder of its model, else by its name as a source."""
    model, name = round_.detail.get(f"{side}_model"), getattr(round_, side)
    return next((run for run in runs if str(run.model) == model or (not model and f"run-{run.number}" == name)), None)


def _rewards(
    run: ModelRun,
    scores: PairScores,
    round_: Round,
    keys: Sequence[str],
    source_of: Mapping[str, str],
    sides: Sequence[ModelRun | None],
) -> RewardDifference | None:
    """None where the model has scored no pair of the round that is still shown."""
    place = {key: number for number, key in enumerate(scores.keys)}
    there = [key for key in keys if key in place and key in source_of]
    if not there:
        return None
    places = np.array([place[key] for key in there])
    sign = np.array([1.0 if source_of[key] == round_.one else -1.0 for key in there])
    gaps = sign * (scores.rewards[0] - scores.rewards[1])[places]
    prompt = scores.prompt[places]
    taught = any(
        str(run.model) in str(reward) for side in sides if side is not None for reward in side.option("reward") or ()
    )
    return RewardDifference(
        reward_model=run.number,
        name=run.title,
        difference=average_interval(gaps, prompt),
        share=mean_interval(correctness(gaps), prompt),
        num_pairs=len(there),
        taught=taught,
    )
