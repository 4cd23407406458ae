"""The policy that a KL holds, in closed form, among those that write phrases independently of one another. No torch.

    maximise  E_q[r(x)] - beta KL(q || p),   KL(q || p) = sum of the phrases' own

For a reward that adds up over phrases, r(x) = sum_i r_i(x_i), the optimum over all policies writes phrases
independently: log q_i = log p_i + r_i / beta + constant. uwo takes the members' variance off, which phrases have in
common; a policy with independent phrases is then found phrase by phrase, each in closed form while the others stay,
which never lowers the objective, until nothing moves.
"""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

TOLERANCE = 3e-4  # of the mean count of a phrase
MAX_SWEEPS = 1000


def tilted(shares: np.ndarray, rewards: np.ndarray, inverse_beta: np.ndarray) -> np.ndarray:
    """(D, V, N) optimum for a reward that adds up over phrases, for each of N betas: q proportional to p exp(r / beta).

    Args:
        shares: (D, V) p, rows add up to 1, none is 0.
        rewards: (D, V) of a phrase that occurs 0, 1, .. times.
        inverse_beta: (N,) 0 or more; 0 gives p.
    """
    return softmax(np.log(shares)[:, :, None] + inverse_beta * rewards[:, :, None], axis=1)


def uwo_optimum(shares: np.ndarray, members: np.ndarray, inverse_beta: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """(D, V, N) policy with independent phrases for mean_k r_k - strength var_k r_k of linear members.

    r_k(x) = sum_i w_ki x_i, variance with ddof = 1 as in `rewardkit.reward.reward.conservative`. With C = cov_k(w_k)
    and m_j = E_q[x_j], E[var_k r_k | x_i] = C_ii x_i^2 + 2 x_i sum_{j != i} C_ij m_j + what x_i does not move.
    The ascent begins at the mean's optimum, so it is never worse than that one; of several tops it finds one.

    Args:
        shares: (D, V) p, rows add up to 1, none is 0.
        members: (K, D) w, two members or more.
        inverse_beta, strength: (N,) each, a setting each; a strength of 0 is the mean.

    Raises:
        FloatingPointError: if phrases still move after many sweeps.
    """
    counts = np.arange(shares.shape[1], dtype=float)
    mean, covariance = members.mean(0), np.cov(members.T, ddof=1)
    q = tilted(shares, mean[:, None] * counts, inverse_beta)
    moving = np.flatnonzero(strength > 0)
    for _ in range(MAX_SWEEPS):
        if not len(moving):
            return q
        q[:, :, moving], moved = _swept(
            q[:, :, moving], shares, mean, covariance, inverse_beta[moving], strength[moving]
        )
        moving = moving[moved > TOLERANCE]
    raise FloatingPointError(f"the best policy still moves after {MAX_SWEEPS} sweeps over its phrases")


def _swept(
    q: np.ndarray,
    shares: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
    inverse_beta: np.ndarray,
    strength: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The policies with each phrase at its best in turn, and (N,) the largest move of a phrase's mean count."""
    counts = np.arange(shares.shape[1], dtype=float)[:, None]
    expected = np.einsum("dvn,v->dn", q, counts[:, 0])
    before, pulled, logs = expected.copy(), inverse_beta * strength, np.log(shares)
    for i, own in enumerate(covariance.diagonal()):
        shared = covariance[i] @ expected - own * expected[i]
        exponent = counts * (inverse_beta * mean[i] - 2 * pulled * shared) - counts**2 * (own * pulled)
        exponent += logs[i][:, None]
        weights = np.exp(exponent - exponent.max(0))
        q[i] = weights / weights.sum(0)
        expected[i] = counts[:, 0] @ q[i]
    return q, np.abs(expected - before).max(0)


def divergence(q: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(N,) KL(q || p), nats a reply, of (D, V, N) policies from (D, V)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(q > 0, q * (np.log(q) - np.log(shares)[:, :, None]), 0.0)
    return terms.sum((0, 1))


def expected_sum(q: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(N,) mean over a policy's replies of what adds up over phrases, values (D, V)."""
    return np.einsum("dvn,dv->n", q, values)
