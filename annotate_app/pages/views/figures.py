"""Figures that pages share, computed once for a state of the project, not once a click.

The store is asked for the state at each run, and with it whether the reader may see figures at all; whoever may see
who wrote the responses has answers of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from annotate_app.access import Actor
from annotate_app.agreement.quality import AnnotatorQuality, annotator_quality
from annotate_app.agreement.reports.report import AgreementReport, agreement_report
from annotate_app.agreement.spans import span_agreement
from annotate_app.consensus.consensus import Consensus
from annotate_app.consensus.release import release
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.ranking.bradley_terry import Ties
from annotate_app.ranking.leaderboard import Leaderboard, fit_leaderboard
from annotate_app.ranking.win_rates import WinRates, fit_win_rates
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.turns.figures import read_figures
from annotate_app.turns.lineage import LineageStep, read_lineage
from annotate_app.turns.stages.cost import StageCost, estimate
from annotate_app.turns.turn import Stage, Turn, TurnFigures
from annotate_app.votes import Votes

NUM_RESAMPLES = 1000

Stamp = tuple[str, int, bool, int, int]
"""Database, project, whether sources are shown, and the state of what figures rest on."""


TurnsStamp = tuple[str, int, bool, tuple[object, ...], tuple[int, ...]]
"""Database, project, whether sources are shown, how turns stand, and the state of their votes."""


def stamp_of(project: Project) -> Stamp:
    """Names what the figures rest on; raises AccessError for those who may not see figures."""
    store, actor = current_store(), current_actor()
    state = store.browsing.stamp(actor, project.id)
    return (store.database.url, project.id, actor.is_at_least("lead"), *state)


def votes_of(project: Project) -> Votes:
    """The project's votes; shared between readers, never to be changed."""
    return _votes(stamp_of(project), current_actor())


def agreement_of(project: Project) -> AgreementReport:
    """The agreement report with its intervals."""
    return _agreement(stamp_of(project), current_actor())


def consensus_of(project: Project) -> Consensus:
    """What the votes come to by the project's rule, adjudicators' decisions left out."""
    return _consensus(stamp_of(project), project, current_actor())


def quality_of(project: Project) -> tuple[AnnotatorQuality, ...]:
    """How each annotator works."""
    return _quality(stamp_of(project), current_actor())


def leaderboard_of(project: Project, ties: Ties) -> Leaderboard:
    """The standings of the source models, with intervals."""
    return _leaderboard(stamp_of(project), ties, current_actor())


def win_rates_of(project: Project) -> WinRates:
    """How the source models fare against each other, with intervals."""
    return _win_rates(stamp_of(project), current_actor())


def count_of(project: Project, chosen: ComparisonFilter) -> int:
    """How many comparisons a filter chooses; those of adjudicators' decisions are counted anew each time."""
    if chosen.state == "decided":
        return current_store().browsing.count(current_actor(), project.id, chosen)
    return _count(stamp_of(project), chosen, current_actor())


def turn_figures_of(project: Project, turns: Sequence[Turn]) -> tuple[TurnFigures, ...]:
    """What the turns of the loop are held against each other by, oldest first."""
    return tuple(read_figures(current_store(), current_actor(), project.id, turns))


def lineage_of(project: Project, turns: Sequence[Turn], turn: Turn) -> tuple[LineageStep, ...]:
    """Where a turn's policy comes from, newest first."""
    stamp = _turns_stamp(project, turns)
    steps = _lineage(stamp, turns[-1].number, current_actor())  # holds the way back of most other turns too
    place = next((place for place, step in enumerate(steps) if step.turn == turn.number), None)
    return _lineage(stamp, turn.number, current_actor()) if place is None else steps[place:]


def stage_cost_of(project: Project, turn: Turn, stage: Stage) -> StageCost:
    """What a stage of a turn will take."""
    return _stage_cost(_turns_stamp(project, [turn]), turn, stage, current_actor())


def _turns_stamp(project: Project, turns: Sequence[Turn]) -> TurnsStamp:
    """Names how the turns and their votes stand."""
    states = tuple((turn.state, *((record.state, record.tries) for record in turn.stages)) for turn in turns)
    store, actor = current_store(), current_actor()
    votes = store.turn_votes.state(actor, project.id)
    return (store.database.url, project.id, actor.is_at_least("lead"), states, votes)


@st.cache_resource(max_entries=2, show_spinner=False)
def _votes(stamp: Stamp, _actor: Actor) -> Votes:
    return current_store().judgments.votes(_actor, stamp[1])


@st.cache_data(max_entries=8, show_spinner="Computing agreement")
def _agreement(stamp: Stamp, _actor: Actor) -> AgreementReport:
    votes, store, project_id = _votes(stamp, _actor), current_store(), stamp[1]
    flags = [flag.name for flag in store.projects.rubric(_actor, project_id).rubric.span_flags]
    spans = span_agreement(votes, store.judgments.spans(_actor, project_id), flags, num_resamples=NUM_RESAMPLES)
    return replace(agreement_report(votes, num_resamples=NUM_RESAMPLES), spans=spans)


@st.cache_data(max_entries=8, show_spinner="Computing the consensus")
def _consensus(stamp: Stamp, _project: Project, _actor: Actor) -> Consensus:
    return release(_votes(stamp, _actor), _project.design)


@st.cache_data(max_entries=8, show_spinner="Computing annotator quality")
def _quality(stamp: Stamp, _actor: Actor) -> tuple[AnnotatorQuality, ...]:
    return annotator_quality(_votes(stamp, _actor))


@st.cache_data(max_entries=8, show_spinner="Computing the leaderboard")
def _leaderboard(stamp: Stamp, ties: Ties, _actor: Actor) -> Leaderboard:
    return fit_leaderboard(_votes(stamp, _actor), ties=ties)


@st.cache_data(max_entries=8, show_spinner=False)
def _win_rates(stamp: Stamp, _actor: Actor) -> WinRates:
    return fit_win_rates(_votes(stamp, _actor))


@st.cache_data(max_entries=64, show_spinner=False)
def _count(stamp: Stamp, chosen: ComparisonFilter, _actor: Actor) -> int:
    return current_store().browsing.count(_actor, stamp[1], chosen)


@st.cache_data(max_entries=32, show_spinner=False)
def _lineage(stamp: TurnsStamp, number: int, _actor: Actor) -> tuple[LineageStep, ...]:
    return tuple(read_lineage(current_store(), _actor, stamp[1], turn=number))


@st.cache_data(max_entries=8, show_spinner=False)
def _stage_cost(stamp: TurnsStamp, _turn: Turn, stage: Stage, _actor: Actor) -> StageCost:
    return estimate(current_store(), _actor, _turn, stage)
