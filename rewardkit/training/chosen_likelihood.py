"""Which likelihood a training takes where none is named: what its rows say of who judged decides. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rewardkit.config import RewardConfig
from rewardkit.data.records import Preference
from rewardkit.heads.voter_skill import VoterSkill, voter_skill
from rewardkit.run.progress import Progress


def with_likelihood(config: RewardConfig, rows: Sequence[Preference], progress: Progress) -> RewardConfig:
    """The configuration with the likelihood that `auto` stands for, which people are told.

    `crowd` where every row says how reliable its annotator is, or names one of two or more in mode head, which learns
    their reliability; else `bradley_terry` on vote shares. Where all votes count alike though people surely differ,
    that is said with its figure, and who weighs them.
    """
    if config.likelihood != "auto":
        if config.likelihood == "bradley_terry" and (differing := _differing(rows)):
            progress.say(
                f"{differing}, and all votes count alike: likelihood crowd in mode head learns how reliable each is"
            )
        return config
    if all(row.meta.get("reliability") is not None for row in rows):
        progress.say("likelihood crowd: every row says how reliable its annotator is")
        return replace(config, likelihood="crowd")
    annotators = {row.meta.get("annotator") for row in rows}
    if None in annotators or len(annotators) < 2:
        return replace(config, likelihood="bradley_terry")
    if config.mode != "head":
        differing = _differing(rows)
        progress.say(
            f"likelihood bradley_terry: rows name {len(annotators)} annotators, whose votes count alike; mode head "
            f"learns how reliable each is{f': {differing}' if differing else ''}"
        )
        return replace(config, likelihood="bradley_terry")
    progress.say(f"likelihood crowd: rows name {len(annotators)} annotators, whose reliability is learned")
    return replace(config, likelihood="crowd")


def _differing(rows: Sequence[Preference]) -> str:
    """How far the people whom rows name differ, in words; empty where that is not notable or somebody is not named."""
    if any(row.meta.get("annotator") is None for row in rows):
        return ""
    skill = skill_of(rows)
    return skill.words if skill.is_notable else ""


def skill_of(rows: Sequence[Preference]) -> VoterSkill:
    """`voter_skill` of rows that are single votes: a pair is a prompt and two texts, whichever was chosen.

    Of several votes of a person on a pair the last one counts.
    """
    of_vote = {(row.prompt, *sorted((row.chosen, row.rejected)), row.meta.get("annotator")): row for row in rows}
    rows = list(of_vote.values())
    pairs: dict[object, int] = {}
    people: dict[object, int] = {}
    keys = [(row.prompt, *sorted((row.chosen, row.rejected))) for row in rows]
    sides = [np.sign(row.p_chosen - 0.5) * (1 if row.chosen < row.rejected else -1) for row in rows]
    return voter_skill(
        np.array([pairs.setdefault(key, len(pairs)) for key in keys], dtype=int),
        np.array([people.setdefault(row.meta.get("annotator"), len(people)) for row in rows], dtype=int),
        np.array(sides),
    )
