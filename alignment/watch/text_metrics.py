"""What samples of policies say of them: KL to a reference, variety, repetition, wins. Arrays and texts in, numbers out.

No torch. A KL is estimated from samples of the policy, r = log reference(token) - log policy(token), per token:

    k1 = -r                    unbiased, may be negative in a sample
    k3 = exp(r) - 1 - r        unbiased and never negative, usually of lower variance

Schulman 2020, "Approximating KL divergence". A sequence's KL is the sum over its tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.stats.metrics import Interval, average_interval, mean_interval

REPEATED_N = 4


@dataclass(frozen=True, kw_only=True)
class Kl:
    """KL of the policy to the reference by one estimator, nats, with bootstrap intervals over prompts.

    Attributes:
        estimator: `k1` or `k3`.
        per_sequence: mean over completions of the sum over their tokens.
        per_token: sum over all tokens by their number, so that long completions weigh more.
    """

    estimator: str
    per_sequence: Interval
    per_token: Interval


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """How often one policy's completion is the better one of a pair.

    Attributes:
        rate: wins plus half the ties, with its bootstrap interval over prompts.
        wins, ties, losses: numbers of pairs.
    """

    rate: Interval
    wins: int
    ties: int
    losses: int

    @property
    def num_pairs(self) -> int:
        return self.wins + self.ties + self.losses

    @property
    def tie_share(self) -> float:
        return self.ties / self.num_pairs


def kl_tokens(policy_logps: np.ndarray, reference_logps: np.ndarray, estimator: str) -> np.ndarray:
    """(T,) one estimate per token, nats; see the module.

    Args:
        policy_logps, reference_logps: (T,) of tokens that the policy drew.
        estimator: `k1` or `k3`.

    Raises:
        ValueError: on another estimator.
    """
    r = reference_logps - policy_logps
    match estimator:
        case "k1":
            return -r
        case "k3":
            return np.expm1(r) - r
        case _:
            raise ValueError(f"estimator is {estimator!r}, allowed are k1 and k3")


def estimate_kl(
    policy_logps: Sequence[np.ndarray],
    reference_logps: Sequence[np.ndarray],
    prompt: np.ndarray,
    *,
    estimator: str,
    seed: int = 0,
) -> Kl:
    """KL from B completions, each given by the log-probabilities of its tokens; `prompt` (B,) numbers their prompts."""
    pairs = zip(policy_logps, reference_logps, strict=True)
    sums = np.array([kl_tokens(policy, reference, estimator).sum() for policy, reference in pairs])
    lengths = np.array([len(logps) for logps in policy_logps], dtype=float)
    return Kl(
        estimator=estimator,
        per_sequence=average_interval(sums, prompt, seed=seed),
        per_token=average_interval(sums / lengths, prompt, lengths, seed=seed),
    )


def distinct_n(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words by all n-grams of all texts; nan where there is none.

    Li et al. 2016 (arXiv 1510.03055). It falls with the number of words: compare it between as many texts of like
    length.
    """
    grams = Counter(gram for text in texts for gram in _grams(text, n))
    return len(grams) / grams.total() if grams else float("nan")


def repetition(text: str) -> float:
    """Share of a text's 4-grams of words that stood in it before: 1 - different / all; 0 for fewer than four words.

    Welleck et al. 2020, seq-rep-4 (arXiv 1908.04319).
    """
    grams = _grams(text, REPEATED_N)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def win_rate(
    values: np.ndarray, others: np.ndarray, prompt: np.ndarray, *, same: np.ndarray | None = None, seed: int = 0
) -> WinRate:
    """Wins of N pairs by their rewards: the higher one wins, equal ones tie.

    Args:
        values, others: (N,) rewards of the two completions of each pair.
        prompt: (N,) number of each pair's prompt.
        same: (N,) bool, pairs of the same text, which tie whatever rounding says.
    """
    signs = np.sign(values - others)
    if same is not None:
        signs = np.where(same, 0.0, signs)
    return WinRate(
        rate=mean_interval(0.5 + 0.5 * signs, prompt, seed=seed),
        wins=int((signs > 0).sum()),
        ties=int((signs == 0).sum()),
        losses=int((signs < 0).sum()),
    )


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = text.split()
    return [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
