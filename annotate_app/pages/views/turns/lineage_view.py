"""Draws where a turn's policy comes from, from the policy back to the votes; every step a link."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from annotate_app.pages.kit.page_list import page_at
from annotate_app.turns.lineage import LineageStep

SHOWN_NAMES = 6


def draw_lineage(steps: Sequence[LineageStep]) -> None:
    """One line a turn, the newest first: policy, reward model, votes, pairs, and who wrote the answers."""
    if not steps:
        return
    st.header("Where this policy comes from", anchor=False)
    draw_step(steps[0])
    if steps[1:]:
        with st.expander(f"And before that: {len(steps) - 1} {'turn' if len(steps) == 2 else 'turns'} back to turn 0"):
            for step in steps[1:]:
                draw_step(step)
    st.caption(f"Turn 0's policy: {steps[-1].from_policy.name}")


def draw_step(step: LineageStep) -> None:
    """A turn of the way back."""
    with st.container(border=True, key=f"lineage-{step.turn}", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**Turn {step.turn}**", width="content")
            if step.align_run is not None:
                draw_run(step.align_run, f"{step.policy.name}")
            else:
                st.text(step.policy.name, width="content")
            st.markdown(":material/arrow_back: learned from", width="content")
            if step.learn_run is not None:
                draw_run(step.learn_run, f"reward model, run {step.learn_run}")
            else:
                st.text(f"reward model {Path(step.reward_model).name}" if step.reward_model else "no reward model")
            st.markdown(":material/arrow_back: learned from", width="content")
            st.page_link(page_at("comparisons"), label=votes_words(step), width="content")
        st.text(f"The pairs: {pairs_words(step)}, written by {step.from_policy.name}")
        for name, number in step.rounds.items():
            st.text(f"Blind round {number}, against {'turn 0' if name == 'first' else 'the turn before'}")


def draw_run(number: int, label: str) -> None:
    """A link to a run."""
    st.page_link(page_at("runs"), label=label, query_params={"run": str(number)}, width="content")


def votes_words(step: LineageStep) -> str:
    """How many judgments, of whom."""
    words = f"{sum(step.people_votes.values()):,} judgments by {names_words(list(step.people_votes))}"
    if step.judge_votes:
        words += f" and {sum(step.judge_votes.values()):,} by {names_words(list(step.judge_votes))}"
    return words


def names_words(names: Sequence[str]) -> str:
    """Names, or how many there are of them where they are many."""
    if not names:
        return "nobody yet"
    return ", ".join(names) if len(names) <= SHOWN_NAMES else f"{len(names)} people"


def pairs_words(step: LineageStep) -> str:
    """How many pairs were chosen by which rule."""
    return ", ".join(f"{count:,} by {rule}" for rule, count in step.pairs.items()) or "none"
