"""From grades to a reward. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def rubric_reward(grades: np.ndarray, weights: Sequence[float], gates: Sequence[float]) -> np.ndarray:
    """(K,) rewards of one answer by K samples of the judge.

        reward_k = sum_n w_n g_kn / P,   P = sum of the weights above 0   (1 where every weight is 0: gates alone)
        reward_k = N / P where a gate is closed, g_kn < gate_n,           N = sum of the weights below 0

    Explicit aggregation of Gunjal et al. 2025, eq. 1 (arXiv 2507.17746); with faults of negative weight as HealthBench
    has them (Arora et al. 2025, arXiv 2505.08775), not clipped at 0. A closed gate gives the least that any answer can
    get, 0 where no weight is negative: an unsafe answer never earns more than a safe one.

    Args:
        grades: (K, N) 0 to 1.
        weights: (N,).
        gates: (N,) least grade that keeps the reward; 0 for no gate.
    """
    weight, gate = np.asarray(weights, dtype=np.float64), np.asarray(gates, dtype=np.float64)
    most = weight[weight > 0].sum()
    sums = grades @ weight / most if most else np.ones(len(grades))
    least = weight[weight < 0].sum() / most if most else 0.0
    return np.where((grades < gate).any(axis=1), least, sums)
