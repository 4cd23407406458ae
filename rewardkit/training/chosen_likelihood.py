"""Which likelihood a training takes where none is named: what its rows say of who judged decides. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rewardkit.config import RewardConfig
from rewardkit.data.records import Preference
from rewardkit.run.progress import Progress


def with_likelihood(config: RewardConfig, rows: Sequence[Preference], progress: Progress) -> RewardConfig:
    """The configuration with the likelihood that `auto` stands for, which people are told.

    `crowd` where every row says how reliable its annotator is, or names one of two or more in mode head, which learns
    their reliability; else `bradley_terry` on vote shares.
    """
    if config.likelihood != "auto":
        return config
    if all(row.meta.get("reliability") is not None for row in rows):
        progress.say("likelihood crowd: every row says how reliable its annotator is")
        return replace(config, likelihood="crowd")
    annotators = {row.meta.get("annotator") for row in rows}
    if None in annotators or len(annotators) < 2:
        return replace(config, likelihood="bradley_terry")
    if config.mode != "head":
        progress.say(
            f"likelihood bradley_terry: rows name {len(annotators)} annotators, whose votes count alike; mode head "
            "learns how reliable each is"
        )
        return replace(config, likelihood="bradley_terry")
    progress.say(f"likelihood crowd: rows name {len(annotators)} annotators, whose reliability is learned")
    return replace(config, likelihood="crowd")
