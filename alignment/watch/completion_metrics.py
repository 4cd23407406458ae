"""What a step's completions say of the policy, by the names they are logged under. Texts and arrays in, no torch.

completions/length, min_length, max_length   tokens
completions/truncated_share                  completions that reached the limit of tokens
completions/distinct_2, repetition           see `alignment.watch.text_metrics`; repetition is the mean over completions
completions/refusal_share                    completions that decline, see `rewardkit.traits.refusals`
groups/unique_share                          different texts of a group by its size, mean over groups
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignment.watch.text_metrics import distinct_n, repetition
from rewardkit.traits.refusals import is_refusal


def refusal_share(texts: Sequence[str]) -> float:
    """Replies that decline among all; nan where there is none."""
    return sum(map(is_refusal, texts)) / len(texts) if texts else float("nan")


def completion_metrics(
    texts: Sequence[str], lengths: Sequence[int], finished: Sequence[bool], group: Sequence[int]
) -> dict[str, float]:
    """The metrics of B completions that stand in the module.

    Args:
        lengths: (B,) tokens of each.
        finished: (B,) whether each ended by itself.
        group: (B,) number of each one's prompt.

    Raises:
        ValueError: if there is none.
    """
    if not texts:
        raise ValueError("metrics of 0 completions, at least 1 is needed")
    tokens = np.asarray(lengths, dtype=float)
    return {
        "completions/length": float(tokens.mean()),
        "completions/min_length": float(tokens.min()),
        "completions/max_length": float(tokens.max()),
        "completions/truncated_share": 1 - float(np.mean(finished)),
        "completions/distinct_2": distinct_n(texts, 2),
        "completions/repetition": float(np.mean([repetition(text) for text in texts])),
        "completions/refusal_share": refusal_share(texts),
        "groups/unique_share": unique_share(texts, group),
    }


def unique_share(texts: Sequence[str], group: Sequence[int]) -> float:
    """Different texts of a group by its size, mean over groups; 1/G where all of G are the same, nan for no text.

    Args:
        group: (B,) number of each text's prompt.
    """
    members: dict[int, list[str]] = {}
    for text, number in zip(texts, group, strict=True):
        members.setdefault(number, []).append(text)
    if not members:
        return float("nan")
    return float(np.mean([len(set(group_texts)) / len(group_texts) for group_texts in members.values()]))
