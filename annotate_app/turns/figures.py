"""The figures of all turns of a project, from its votes as they stand and from what the stages left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotate_app.access import Actor
from annotate_app.agreement.bootstrap import Part, estimate, tally
from annotate_app.agreement.coefficients import krippendorff_alpha
from annotate_app.ranking.rounds import round_results
from annotate_app.store.loop.turns import Turn
from annotate_app.store.store import Store
from annotate_app.turns.chain import policy_of, read_interval
from annotate_app.turns.turn import TurnFigures
from annotate_app.votes import CHOICE_CODES, Votes
from rewardkit.stats.metrics import Interval

NUM_RESAMPLES = 1000
RANDOM = "random"
MOST_KNOWN = 16
_KNOWN: dict[tuple[str, int], tuple[tuple[object, ...], list[TurnFigures]]] = {}
"""By database and project, the figures of a state of turns and votes: a page draws itself at every click."""


def read_figures(store: Store, actor: Actor, project_id: int) -> list[TurnFigures]:
    """The figures of each turn, in their order. Lead or above.

    Votes are those that count now: a turn whose people still judge has the figures of what they said so far.
    """
    turns = store.turns.list(actor, project_id)
    if not turns:
        return []
    key, state = (store.database.url, project_id), (turns, store.turns.state_of_votes(actor, project_id))
    known = _KNOWN.get(key)
    if known is None or known[0] != state:
        if key not in _KNOWN and len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[key] = (state, _compute(store, actor, project_id, turns))
    return list(known[1])


def _compute(store: Store, actor: Actor, project_id: int, turns: Sequence[Turn]) -> list[TurnFigures]:
    rules = store.turns.rules(actor, project_id)
    judge_votes = store.turns.judge_votes(actor, project_id)
    votes = store.judgments.votes(actor, project_id).counted()
    places = {key: number for number, key in enumerate(votes.items)}
    took = {
        job.id: job.ended_at - job.started_at
        for job in store.jobs.list(actor, project_id, limit=10_000)
        if job.started_at is not None and job.ended_at is not None
    }
    rates = _rates(store, actor, project_id, turns, votes)
    figures = []
    for turn in turns:
        chosen = rules.get(turn.number, {})
        members = np.zeros(len(votes.items), dtype=bool)
        members[[places[key] for key in chosen if key in places]] = True
        own = votes.where(members[votes.item]) if len(votes) else votes
        learn, check = turn.stage("learn").result, turn.stage("check").result
        policy, measured = policy_of(turns, turn), check.get("figures", {})
        against = {name: rates.get(number) for name, number in check.get("rounds", {}).items()}
        figures.append(
            TurnFigures(
                number=turn.number,
                state=turn.state,
                policy=policy.name if policy else "",
                reward_model=_model_name(learn),
                num_pairs=len(chosen),
                num_random=sum(rule == RANDOM for rule in chosen.values()),
                num_people_votes=len(own),
                num_judge_votes=judge_votes.get(turn.number, 0),
                people_seconds=float(own.seconds.sum()),
                seconds=_seconds(turn, took),
                agreement=_agreement(own),
                accuracy_before=read_interval(learn.get("before", {}).get("accuracy")),
                accuracy_after=read_interval(learn.get("after", {}).get("accuracy")),
                ece_before=_alone(learn.get("before", {}).get("ece")),
                ece_after=_alone(learn.get("after", {}).get("ece")),
                against_previous=against.get("previous"),
                against_first=against.get("first"),
                gold=read_interval(measured.get("gold")),
                proxy=read_interval(measured.get("proxy")),
                kl=read_interval(measured.get("kl")),
                words=read_interval(measured.get("words")),
            )
        )
    return figures


def _rates(store: Store, actor: Actor, project_id: int, turns: Sequence[Turn], votes: Votes) -> dict[int, Interval]:
    """By number of the round, the share of blind votes that its turn's policy wins; without unjudged rounds."""
    numbers = {number for turn in turns for number in turn.stage("check").result.get("rounds", {}).values()}
    keys = store.rounds.all_keys(actor, project_id) if numbers else {}
    rounds = [one for one in store.rounds.list(actor, project_id) if one.id in numbers] if numbers else []
    results = round_results(votes, [(one, keys[one.id]) for one in rounds], num_resamples=NUM_RESAMPLES)
    return {one.id: result.rate for one, result in zip(rounds, results, strict=True) if result.num_votes}


def _agreement(votes: Votes) -> Interval | None:
    """Krippendorff's alpha of people's answers as names, with its interval over pairs; None where nobody overlaps."""
    items, item = np.unique(votes.item, return_inverse=True)
    if len(items) == len(votes):
        return None
    counts = tally(item, votes.choice, len(items), len(CHOICE_CODES))
    part = Part(patterns=counts.patterns, coefficients={"alpha": krippendorff_alpha})
    rng = np.random.default_rng(0)
    alpha = estimate([part], counts.multiplicity(), num_resamples=NUM_RESAMPLES, rng=rng)["alpha"]
    return None if alpha.value != alpha.value else alpha


def _seconds(turn: Turn, took: Mapping[int, float]) -> float:
    """Wall clock of the jobs of a turn's stages."""
    numbers: set[int] = set()
    for record in turn.stages:
        numbers |= {record.job_id} if record.job_id is not None else set()
        numbers |= set(_numbers(record.result.get("jobs", ())))
    return sum(took.get(number, 0.0) for number in numbers)


def _numbers(values: Sequence[object]) -> list[int]:
    return [value for value in values if isinstance(value, int)]


def _model_name(learn: Mapping[str, object]) -> str:
    return f"run-{learn['run']}" if "run" in learn else str(learn.get("model") or "")


def _alone(value: float | None) -> Interval | None:
    """A figure without bounds."""
    return None if value is None else Interval(value=value)
