"""Draws blind rounds of a policy: how they stand, and the form that holds it against another one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from annotate_app.findings.policy_rounds import PolicyRound, read_rounds
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.figures import votes_of
from annotate_app.pages.views.runs.model_pairs_view import interval_text
from annotate_app.store.jobs import ENDED
from annotate_app.times import ago
from annotate_app.trainings.plans import PRESETS, model_name
from annotate_app.trainings.runs import ModelRun
from annotate_app.turns.blind_rounds import KIND, hold_against
from rewardkit.stats.metrics import Interval

MOST_PROMPTS = 2000


def draw_blind_rounds(runs: Sequence[ModelRun], of: Sequence[ModelRun]) -> None:
    """The rounds in which a policy, or two policies, took part."""
    project = current_project()
    rounds = read_rounds(current_store(), current_actor(), project.id, runs, votes_of(project), of=of)
    jobs = current_store().jobs.list(current_actor(), project.id, limit=100)
    for job in jobs:
        if job.kind == KIND and job.state not in ENDED and any(f"run-{run.number}" in job.title.split() for run in of):
            st.caption(f":material/hourglass_empty: {as_markdown(job.title)}: being answered, then for people.")
    newest = next((job for job in jobs if job.kind == KIND), None)
    if newest is not None and newest.state in ("failed", "lost") and newest.message:
        st.warning("The last round could not be made:", icon=":material/error:")
        st.text(newest.message)
    for one in rounds:
        draw_round(one)
    if not rounds and len(of) > 1:
        st.caption("No blind round between them yet; open one of them to make one.")


def draw_round(one: PolicyRound) -> None:
    """One round: votes so far, the win rate, and what reward models say of the same answers."""
    result = one.result
    with st.container(border=True, key=f"runs-round-{one.round.id}"):
        left, right = st.columns([3, 2], vertical_alignment="center")
        left.text(f"Round {one.round.id}: {result.one} against {result.other}")
        right.caption(f"{as_markdown(one.round.created_by)}, {ago(one.round.created_at)}", text_alignment="right")
        st.progress(
            result.num_judged / max(1, result.num_pairs),
            f"{result.num_judged:,} of {result.num_pairs:,} pairs judged, {result.num_votes:,} votes",
        )
        if result.num_votes:
            rate = Interval(value=result.rate.value, low=result.rate.low, high=result.rate.high)
            st.text(
                f"{result.one} wins {interval_text(rate, percent=True)} of the votes, a tie as half: "
                f"{result.wins:,} won, {result.ties:,} tied, {result.losses:,} lost."
            )
        st.text(result.sentence())
        for reward in one.rewards:
            taught = ", from which one of them learned" if reward.taught else ""
            st.caption(
                f"By reward model of run {reward.reward_model}{taught}: {result.one}'s answers are worth "
                f"{interval_text(reward.difference, signed=True)} more on {reward.num_pairs:,} prompts, and the better "
                f"ones in {interval_text(reward.share, percent=True)}."
            )


def draw_hold_against(run: ModelRun, runs: Sequence[ModelRun]) -> None:
    """A policy's blind rounds, and the form that makes another one, with what it will cost."""
    draw_blind_rounds(runs, [run])
    with st.expander("Hold against another policy: a blind round", icon=":material/balance:"):
        if not (run.is_policy and run.has_model):
            st.caption("There is no policy in this run yet.")
            return
        project, key = current_project(), f"runs-hold-{run.number}"
        others = {str(one.number): f"Run {one.name}" for one in runs if can_answer(one) and one.number != run.number}
        base = str(run.option("model") or "")
        known = {str(one.model) for one in runs}
        if base and base not in PRESETS and base not in known and (not Path(base).is_absolute() or Path(base).is_dir()):
            others[base] = f"What it began from: {model_name(base)}"
        if not others:
            st.caption("There is no other policy in this project, and it began from random weights.")
            return
        first = next((str(one.number) for one in runs if str(one.model) == base and str(one.number) in others), None)
        options = list(others)
        left, middle, right, last = st.columns([4, 2, 2, 2], vertical_alignment="bottom")
        index = options.index(first) if first else 0
        other = left.selectbox("Against", options, index, format_func=others.__getitem__, key=f"{key}-other")
        number = middle.number_input("Prompts", 1, MOST_PROMPTS, 100, key=f"{key}-num")
        temperature = right.number_input("Temperature", 0.0, 2.0, 0.7, 0.1, key=f"{key}-temperature")
        seed = last.number_input("Seed", 0, 2**31 - 1, 0, key=f"{key}-seed")
        votes = project.design.votes_wanted
        st.caption(
            f"Costs at most {2 * number:,} answers of the two, drawn by a job, and {number * votes:,} judgments of "
            f"people: {number:,} pairs, {votes} each. They go first in the queue, and nobody sees whose answer is "
            "whose."
        )
        st.button(
            "Make the round",
            key=f"{key}-make",
            type="primary",
            icon=":material/balance:",
            on_click=act,
            args=("Queued.", hold_against, current_store(), current_actor(), project.id, str(run.number), other),
            kwargs={"num_prompts": int(number), "temperature": float(temperature), "seed": int(seed)},
        )
        st.page_link(page_at("jobs_page"), label="Jobs", icon=":material/arrow_forward:")


def can_answer(run: ModelRun) -> bool:
    """Whether there is a policy in a run."""
    return run.is_policy and run.has_model
