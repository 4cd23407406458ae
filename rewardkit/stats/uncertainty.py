"""What K members know together: probabilities with the uncertainty integrated out, and how much a vote would teach.

Everything is in terms of margins, chosen minus rejected reward, of which each member has its own. Arrays in, arrays
out; no torch.
"""

from __future__ import annotations

import numpy as np

NODES, REACH = 129, 8.0  # of the quadrature over a normal margin


def sigmoid(margins: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-d)), any shape, without overflow."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(margins, dtype=float)))


def epistemic_std(margins: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of the members' margins, ddof = 1; 0 for one member.

    An offset that a member gives to all answers of a prompt cancels here, other than in the std of single rewards.

    Args:
        margins: (K, N) one row per member.
    """
    _check_members(margins)
    return margins.std(0, ddof=1) if len(margins) > 1 else np.zeros(margins.shape[1])


def relative_std(margins: np.ndarray) -> np.ndarray:
    """(N,) `epistemic_std` over |mean margin|: by how little the members agree on the sign; inf where the mean is 0.

    The plain std grows with the margin, so that members differ most about the pairs that are plainest.

    Args:
        margins: (K, N).
    """
    size = np.abs(margins.mean(0))
    return np.where(size > 0, epistemic_std(margins) / np.where(size > 0, size, 1.0), np.inf)


def vote_entropy(margins: np.ndarray) -> np.ndarray:
    """(N,) entropy of the share of members that prefer the first, nats; a margin of 0 is half a vote.

    Dagan and Engelson 1995 (committee-based sampling).

    Args:
        margins: (K, N).
    """
    _check_members(margins)
    return binary_entropy((0.5 + 0.5 * np.sign(margins)).mean(0))


def integrated_probability(margins: np.ndarray) -> np.ndarray:
    """(N,) probability of chosen with the members averaged out: mean_k sigma(d_k).

    Args:
        margins: (K, N).
    """
    _check_members(margins)
    return sigmoid(margins).mean(0)


def binary_entropy(probabilities: np.ndarray) -> np.ndarray:
    """-p log p - (1 - p) log(1 - p), nats; 0 at 0 and 1. Any shape."""
    p = np.asarray(probabilities, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [np.where(q > 0, -q * np.log(q), 0.0) for q in (p, 1.0 - p)]
    return terms[0] + terms[1]


def mutual_information(probabilities: np.ndarray) -> np.ndarray:
    """(N,) what one vote on a comparison would tell about which member is right, nats: 0 up to ln 2.

    I = H[mean_k p_k] - mean_k H[p_k].  BALD, Houlsby et al. 2011, eq. 2 (arXiv 1112.5745). High where members are sure
    and disagree; 0 where they agree, also where they agree that it is a toss-up.

    Args:
        probabilities: (K, N) each member's probability of the first completion; the order of the two does not matter.
    """
    _check_members(probabilities)
    information = binary_entropy(probabilities.mean(0)) - binary_entropy(probabilities).mean(0)
    return np.maximum(information, 0.0)  # rounding may leave -1e-17


def gaussian_probability(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(N,) E sigma(d) over margins d ~ N(mean, std^2), by the quadrature of `gaussian_mutual_information`."""
    nodes, weights = _normal_nodes()
    return sigmoid(mean[:, None] + std[:, None] * nodes) @ weights


def gaussian_mutual_information(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """(N,) what one vote tells about a margin that is known to be normal, nats: 0 up to ln 2.

    I = H[E sigma(d)] - E H[sigma(d)], d ~ N(mean, std^2).  BALD (Houlsby et al. 2011, eq. 2, arXiv 1112.5745) without
    the noise of drawn members: expectations by the trapezoidal rule on NODES points within REACH standard deviations,
    whose error falls geometrically with the spacing (Trefethen and Weideman 2014); below 1e-6 nats up to std = 10.

    Args:
        mean, std: (N,) of the margins; std 0 or more.
    """
    nodes, weights = _normal_nodes()
    probabilities = sigmoid(mean[:, None] + std[:, None] * nodes)
    information = binary_entropy(probabilities @ weights) - binary_entropy(probabilities) @ weights
    return np.maximum(information, 0.0)


def _normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Points and weights of a standard normal distribution, each (NODES,)."""
    nodes = np.linspace(-REACH, REACH, NODES)
    density = np.exp(-0.5 * nodes**2)
    return nodes, density / density.sum()


def _check_members(values: np.ndarray) -> None:
    if values.ndim != 2 or len(values) == 0:
        raise ValueError(f"values have shape {values.shape}, allowed is (K, N), one row per member")
