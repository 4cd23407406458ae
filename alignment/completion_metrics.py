"""What a step's completions are like, as numbers for its record; no torch beyond the rollouts' own tensors."""

from __future__ import annotations

from alignment.rollouts import Rollouts
from alignment.sample_metrics import distinct_n, repetition


def completion_metrics(rollouts: Rollouts) -> dict[str, float]:
    """Length, how many were cut, variety and repetition of a step's completions.

    distinct_2 is over all of them; unique_share is the mean over groups of different texts by completions.
    """
    size, lengths = rollouts.group_size, rollouts.lengths.float()
    groups = [rollouts.texts[start : start + size] for start in range(0, len(rollouts), size)]
    return {
        "completions/length": float(lengths.mean()),
        "completions/min_length": float(lengths.min()),
        "completions/max_length": float(lengths.max()),
        "completions/truncated_share": float((~rollouts.finished).float().mean()),
        "completions/distinct_2": distinct_n(rollouts.texts, 2),
        "completions/repetition": sum(map(repetition, rollouts.texts)) / len(rollouts),
        "groups/unique_share": sum(len(set(group)) / size for group in groups) / len(groups),
    }
