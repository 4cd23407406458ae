"""What to label next: by how much each rule values the label of a comparison. Arrays in, arrays out; no torch.

Reading comparisons and scoring them is `rewardkit.scoring.ranking`. A priority says who goes first, higher before
lower; only their order is comparable between rules. Equal priorities keep the order in which the comparisons came.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np

from rewardkit.config import Rule
from rewardkit.reward.reward import Reward
from rewardkit.scoring.greedy import GaussianMargins, greedy_order
from rewardkit.stats.uncertainty import epistemic_std, gaussian_mutual_information, mutual_information, sigmoid

RULES: tuple[Rule, ...] = get_args(Rule)
EULER_GAMMA = 0.5772156649015329
CHUNK = 1024  # prompts whose distances to all others are held at once


@dataclass(frozen=True, kw_only=True)
class Informativeness:
    """What a model says of N comparisons; the order of a comparison's completions only turns the sign of `margin`.

    Attributes:
        mutual_information: (N,) nats that one vote would tell about the model (BALD), 0 up to ln 2.
        std: (N,) standard deviation of the margins, over members with ddof = 1; 0 for one member.
        margin: (N,) mean reward of a minus mean reward of b.
        margins: how the margins hang together, for the rules that choose one after the other.
    """

    mutual_information: np.ndarray
    std: np.ndarray
    margin: np.ndarray
    margins: GaussianMargins | None = None


@dataclass(frozen=True, kw_only=True)
class PromptSpace:
    """Where the prompts of the pool, and of what is labelled already, lie.

    Attributes:
        features: (P, d) float, one row per different prompt; distances are Euclidean.
        prompt_of: (N,) int, the prompt of each comparison of the pool.
        num_labelled: (P,) int, comparisons of each prompt that are labelled already.
    """

    features: np.ndarray
    prompt_of: np.ndarray
    num_labelled: np.ndarray

    def __post_init__(self) -> None:
        num_prompts = len(self.features)
        if self.num_labelled.shape != (num_prompts,):
            raise ValueError(f"num_labelled has shape {self.num_labelled.shape}, allowed is ({num_prompts},)")
        if len(self.prompt_of) and not 0 <= self.prompt_of.min() <= self.prompt_of.max() < num_prompts:
            raise ValueError(f"prompt_of reaches to {self.prompt_of.max()}, there are {num_prompts} prompts")


def measure(reward_a: Reward, reward_b: Reward) -> Informativeness:
    """What members say of N comparisons, from the rewards of their two completions.

    Args:
        reward_a, reward_b: (K, N) members in the same order.
    """
    margins = reward_a.members - reward_b.members
    probabilities = sigmoid(margins)
    deviations = (margins - margins.mean(0)) / np.sqrt(max(1, len(margins) - 1))
    return Informativeness(
        mutual_information=mutual_information(probabilities),
        std=epistemic_std(margins),
        margin=margins.mean(0),
        margins=GaussianMargins(mean=margins.mean(0), root=deviations.T, probability=probabilities.mean(0)),
    )


def measure_normal(margins: GaussianMargins) -> Informativeness:
    """The same from margins that are normal, without drawing members: mutual information by quadrature."""
    return Informativeness(
        mutual_information=gaussian_mutual_information(margins.mean, margins.std),
        std=margins.std,
        margin=margins.mean,
        margins=margins,
    )


def prioritise(
    informativeness: Informativeness,
    rule: Rule,
    *,
    seed: int = 0,
    prompts: PromptSpace | None = None,
    top: int = 0,
) -> np.ndarray:
    """(N,) priorities.

    probability: -|d| / sqrt(1 + pi std^2 / 8), d the mean margin: nearest first to a toss-up with the members averaged
    out, by the approximation of the integrated logistic function (MacKay 1992; uncertainty sampling, Lewis and Gale
    1994).  mutual_information, std: the value itself.  margin: -|d|.  bal_pm: see `bal_pm_priorities`.  epig,
    log_det: how many are chosen after it by `rewardkit.scoring.greedy`, each with those before it taken for answered.
    random: uniform in [0, 1).

    Args:
        seed: of `random`; the others draw nothing.
        prompts: needed by `bal_pm`.
        top: how many `epig` and `log_det` choose, what is left over has priority 0; 0 chooses all.

    Raises:
        ValueError: if bal_pm has no prompts, or epig and log_det do not know how the margins hang together.
    """
    match rule:
        case "probability":
            return -np.abs(informativeness.margin) / np.sqrt(1.0 + np.pi / 8.0 * informativeness.std**2)
        case "mutual_information":
            return informativeness.mutual_information
        case "std":
            return informativeness.std
        case "margin":
            return -np.abs(informativeness.margin)
        case "bal_pm":
            if prompts is None:
                raise ValueError("rule bal_pm needs the prompts' features")
            return bal_pm_priorities(informativeness.mutual_information, prompts)
        case "epig" | "log_det":
            if informativeness.margins is None:
                raise ValueError(f"rule {rule} needs the covariance of the margins")
            priorities = np.zeros(len(informativeness.margin))
            count = min(top or len(priorities), len(priorities))
            for place, pair in enumerate(greedy_order(informativeness.margins, rule, count)):
                priorities[pair] = count - place
            return priorities
        case "random":
            return np.random.default_rng(seed).random(len(informativeness.margin))


def order(priorities: np.ndarray) -> np.ndarray:
    """(N,) indices, highest priority first, equal ones as they came."""
    return np.argsort(-priorities, kind="stable")


def bal_pm_priorities(
    information: np.ndarray, prompts: PromptSpace, *, entropy_weight: float = 1.0, num_neighbours: int = 5
) -> np.ndarray:
    """(N,) priorities that weigh what a vote tells against how well its prompt is covered, chosen one after the other.

        score_i = I_i / std(I) + entropy_weight e_i / std(log D),   e_i = log D_i - psi(n_i + 1) / d

    D_i is the distance of prompt i to its num_neighbours-th neighbour among all prompts, n_i the number of comparisons
    labelled or chosen so far whose prompt lies within D_i, d the number of features: e_i is the prompt's term in the
    Kraskov entropy estimate of the prompts that will have been labelled. The highest score is chosen, its prompt
    counted, and so on; the priority is the score at that moment. As n only grows, priorities fall with every choice.

    After Melo et al. 2024 (BAL-PM, section 4 of arXiv 2406.10023) and Kraskov et al. 2004, eq. 8. Differences: both
    terms are taken in units of their spread over the pool, so that the weight has no unit, and comparisons of one
    prompt share its neighbourhood. Takes time and memory in P^2 and P.

    Args:
        information: (N,) I, nats.
        entropy_weight: 0 leaves the order of the information alone.
        num_neighbours: 1 or more; at most P - 1 are used.

    Raises:
        ValueError: if a weight or count is out of range.
    """
    if entropy_weight < 0 or num_neighbours < 1:
        raise ValueError(
            f"entropy_weight is {entropy_weight}, num_neighbours {num_neighbours}: allowed are 0 or more, 1 or more"
        )
    log_distance, covers = _neighbourhoods(prompts.features, num_neighbours)
    counts = np.zeros(len(log_distance), dtype=np.int64)
    for prompt, number in enumerate(prompts.num_labelled):
        counts[covers[prompt]] += number
    scale = entropy_weight / _spread(log_distance)
    psi = _digamma(int(counts.max(initial=0)) + len(information) + 2)
    cost = psi * scale / max(1, prompts.features.shape[1])
    value = information / _spread(information)
    comparisons_of: list[list[int]] = [[] for _ in log_distance]
    for number in np.lexsort((np.arange(len(value)), -value)):
        comparisons_of[prompts.prompt_of[number]].append(int(number))
    comparisons_of = [numbers[::-1] for numbers in comparisons_of]  # the best one last, to pop
    return _choose_all(value, comparisons_of, scale * log_distance, cost, counts, covers)


def _choose_all(
    value: np.ndarray,
    comparisons_of: list[list[int]],
    distance_term: np.ndarray,
    cost: np.ndarray,
    counts: np.ndarray,
    covers: list[np.ndarray],
) -> np.ndarray:
    """Greedy choice over prompts, of each of which only the best comparison left, its last, can be next."""
    priorities = np.empty(len(value))
    position = np.array([numbers[-1] if numbers else len(value) for numbers in comparisons_of])
    best = np.array([value[numbers[-1]] if numbers else -np.inf for numbers in comparisons_of])
    gain = distance_term - cost[counts + 1]
    for _ in range(len(value)):
        scores = best + gain
        highest = np.flatnonzero(scores == scores.max())
        prompt = highest[np.argmin(position[highest])]
        left = comparisons_of[prompt]
        priorities[left.pop()] = scores[prompt]
        best[prompt], position[prompt] = (value[left[-1]], left[-1]) if left else (-np.inf, len(value))
        near = covers[prompt]
        counts[near] += 1
        gain[near] = distance_term[near] - cost[counts[near] + 1]
    return priorities


def _neighbourhoods(features: np.ndarray, num_neighbours: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """(P,) log D, and for each prompt the prompts in whose neighbourhood it lies, itself among them."""
    num_prompts = len(features)
    if num_prompts < 2:
        return np.zeros(num_prompts), [np.arange(num_prompts)] * num_prompts
    nearest = min(num_neighbours, num_prompts - 1)
    squares = (features**2).sum(1)
    distance = np.empty(num_prompts)
    pairs: list[np.ndarray] = []
    for start in range(0, num_prompts, CHUNK):
        part = slice(start, start + CHUNK)
        between = np.maximum(squares[part, None] + squares - 2.0 * features[part] @ features.T, 0.0)
        between[np.arange(len(between)), np.arange(start, start + len(between))] = -1.0  # itself comes first
        distance[part] = np.sqrt(np.maximum(np.partition(between, nearest, axis=1)[:, nearest], 0.0))
        inside, covering = np.nonzero(between <= distance[part, None] ** 2 * (1 + 1e-9))
        pairs.append(np.stack((inside + start, covering)))
    inside, covering = np.concatenate(pairs, axis=1)
    inside = inside[np.argsort(covering, kind="stable")]
    covers = np.split(inside, np.cumsum(np.bincount(covering, minlength=num_prompts))[:-1])
    positive = distance[distance > 0]
    floor = positive.min() if len(positive) else 1.0  # several prompts at one place have no logarithm of their own
    return np.log(np.maximum(distance, floor)), covers


def _spread(values: np.ndarray) -> float:
    """Standard deviation, ddof = 0; 1 where there is none, or no more than rounding makes of equal values."""
    spread = float(values.std()) if len(values) else 0.0
    return spread if spread > 1e-12 * float(np.abs(values).max(initial=0.0)) else 1.0


def _digamma(num: int) -> np.ndarray:
    """(num,) psi at 0, 1, 2, ...: psi(n) = H_{n-1} - gamma; the pole at 0 is NaN."""
    harmonic = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, max(1, num - 1)))))
    return np.concatenate(([np.nan], harmonic - EULER_GAMMA))[:num]
