"""The figures of all turns of a project, from its votes as they stand and from what the stages left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from annotate_app.access import Actor
from annotate_app.agreement.bootstrap import Part, estimate
from annotate_app.agreement.coefficients import krippendorff_alpha
from annotate_app.ranking.win_rates import win_rate
from annotate_app.store.loop.turn_votes import Pattern
from annotate_app.store.loop.turns import Turn
from annotate_app.store.store import Store
from annotate_app.turns.chain import policy_of, read_interval
from annotate_app.turns.turn import TurnFigures
from rewardkit.stats.metrics import Interval

NUM_RESAMPLES = 1000
RANDOM = "random"
MOST_COMPUTED = 4096
"""Intervals kept by the counts that they follow from: a vote changes those of its own turn alone."""
MOST_KNOWN = 16
_KNOWN: dict[tuple[str, int], tuple[tuple[object, ...], list[TurnFigures]]] = {}
"""By database and project, the figures of a state of turns and votes: a page draws itself at every click."""


def read_figures(store: Store, actor: Actor, project_id: int, turns: Sequence[Turn] | None = None) -> list[TurnFigures]:
    """The figures of each turn, in their order. Lead or above.

    Votes are those that count now: a turn whose people still judge has the figures of what they said so far.

    Args:
        turns: all of the project, where they are read already.
    """
    turns = store.turns.list(actor, project_id) if turns is None else list(turns)
    if not turns:
        return []
    key, state = (store.database.url, project_id), (turns, store.turn_votes.state(actor, project_id))
    known = _KNOWN.get(key)
    if known is None or known[0] != state:
        if key not in _KNOWN and len(_KNOWN) >= MOST_KNOWN:
            _KNOWN.clear()
        known = _KNOWN[key] = (state, _compute(store, actor, project_id, turns))
    return list(known[1])


def _compute(store: Store, actor: Actor, project_id: int, turns: Sequence[Turn]) -> list[TurnFigures]:
    rules = store.turn_votes.num_by_rule(actor, project_id)
    judges = store.turn_votes.judges(actor, project_id)
    people, blind = store.turn_votes.of_turns(actor, project_id), store.turn_votes.of_rounds(actor, project_id)
    took = {
        job.id: job.ended_at - job.started_at
        for job in store.jobs.list(actor, project_id, limit=10_000)
        if job.started_at is not None and job.ended_at is not None
    }
    figures = []
    for turn in turns:
        chosen, own = rules.get(turn.number, {}), people.get(turn.number, [])
        learn, check = turn.stage("learn").result, turn.stage("check").result
        policy, measured = policy_of(turns, turn), check.get("figures", {})
        rounds = check.get("rounds", {})
        against = {name: _rate(blind.get(number, [])) for name, number in rounds.items()}
        voted = [pattern for number in set(rounds.values()) for pattern in blind.get(number, [])]
        before, after = learn.get("before", {}), learn.get("after", {})
        figures.append(
            TurnFigures(
                number=turn.number,
                state=turn.state,
                policy=policy.name if policy else "",
                reward_model=_model_name(learn),
                num_pairs=sum(chosen.values()),
                num_random=chosen.get(RANDOM, 0),
                num_people_votes=sum(pattern.num_votes for pattern in own),
                num_blind_votes=sum(pattern.num_votes for pattern in voted),
                num_judge_votes=sum(judges.get(turn.number, {}).values()),
                people_seconds=sum(pattern.seconds for pattern in (*own, *voted)),
                seconds=_seconds(turn, took),
                agreement=_agreement(own),
                accuracy_before=read_interval(before.get("accuracy")),
                accuracy_after=read_interval(after.get("accuracy")),
                ece_before=read_interval({"value": before.get("ece")}),
                ece_after=read_interval({"value": after.get("ece")}),
                against_previous=against.get("previous"),
                against_first=against.get("first"),
                gold=read_interval(measured.get("gold")),
                proxy=read_interval(measured.get("proxy")),
                kl=read_interval(measured.get("kl")),
                words=read_interval(measured.get("words")),
            )
        )
    return figures


def _rate(patterns: Sequence[Pattern]) -> Interval | None:
    """The share of a round's votes that its first policy wins; None where nobody has judged it."""
    return _rate_of(*_columns(patterns)) if patterns else None


def _agreement(patterns: Sequence[Pattern]) -> Interval | None:
    """Krippendorff's alpha of people's answers as names, with its interval over pairs; None where nobody overlaps."""
    if not any(sum(pattern.counts) > 1 for pattern in patterns):
        return None
    alpha = _alpha_of(*_columns(patterns))
    return alpha if math.isfinite(alpha.value) else None


def _columns(patterns: Sequence[Pattern]) -> tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]:
    return tuple(pattern.counts for pattern in patterns), tuple(pattern.num_pairs for pattern in patterns)


@lru_cache(maxsize=MOST_COMPUTED)
def _rate_of(counts: tuple[tuple[int, ...], ...], num_pairs: tuple[int, ...]) -> Interval:
    by_pair = np.repeat(np.array(counts), num_pairs, axis=0)
    return win_rate("one", "other", by_pair, NUM_RESAMPLES, np.random.default_rng(0)).rate


@lru_cache(maxsize=MOST_COMPUTED)
def _alpha_of(counts: tuple[tuple[int, ...], ...], num_pairs: tuple[int, ...]) -> Interval:
    part = Part(patterns=np.array(counts), coefficients={"alpha": krippendorff_alpha})
    return estimate([part], np.array(num_pairs), num_resamples=NUM_RESAMPLES, rng=np.random.default_rng(0))["alpha"]


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
