"""A head on features of prompt and answer together, fitted to the labels at hand, and what they leave to be learned.

The head is a Bradley-Terry head with a Laplace posterior (`rewardkit.heads`), so that margins are normal and what a
vote tells of them is known without drawing members. `find_headroom` says first whether more labels are worth choosing:
where the learning curve of the labels at hand is flat, no rule can gain anything on random pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.records import Message, Preference
from rewardkit.heads.fit import Pairs, choose_prior_precision, fit_head, folds, make_pairs
from rewardkit.heads.posterior import Posterior, laplace_posterior
from rewardkit.reward.reward import Reward, RewardFn, States
from rewardkit.scoring.acquisition import Informativeness, measure, measure_normal
from rewardkit.scoring.greedy import GaussianMargins
from rewardkit.scoring.joint_features import JointFeatures
from rewardkit.stats.metrics import Interval, correctness, mean_interval, share_difference_interval
from rewardkit.stats.uncertainty import gaussian_probability

NUM_MEMBERS = 64
PRIOR_PRECISIONS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
REPEATS = 2  # of the cross-validation behind the learning curve
Answer = tuple[Sequence[Message], str]


@dataclass(frozen=True, kw_only=True)
class JointHead:
    """A fitted head; a `RewardFn` whose members are drawn from the posterior.

    Attributes:
        pairs: what it was fitted to.
        prior_precision: chosen by cross-validation over prompts.
    """

    features: JointFeatures
    posterior: Posterior
    pairs: Pairs
    prior_precision: float
    seed: int

    @classmethod
    def fit(
        cls, rows: Sequence[Preference], pool: Sequence[Answer], *, states: States | None = None, seed: int = 0
    ) -> JointHead:
        """Fits features to all texts and the head to the labelled ones.

        Args:
            rows: labels at hand, of two prompts or more.
            pool: answers without a label, with their prompts.

        Raises:
            ValueError: if labels are of fewer than two prompts, or words too few.
        """
        labelled = [(row.prompt, text) for row in rows for text in (row.chosen, row.rejected)]
        texts = [*labelled, *pool]
        features = JointFeatures.fit(
            [prompt for prompt, _ in texts], [text for _, text in texts], states=states, seed=seed
        )
        values = features([prompt for prompt, _ in labelled], [text for _, text in labelled])
        numbers = np.unique([normal_prompt(row.prompt) for row in rows], return_inverse=True)[1]
        pairs = make_pairs(
            values[0::2] - values[1::2],
            np.array([row.p_chosen for row in rows]),
            weight=np.array([row.weight for row in rows]),
            prompt=numbers,
        )
        prior_precision = choose_prior_precision(pairs, seed=seed, candidates=PRIOR_PRECISIONS).prior_precision
        posterior = laplace_posterior(fit_head(pairs, prior_precision=prior_precision), pairs)
        return cls(features=features, posterior=posterior, pairs=pairs, prior_precision=prior_precision, seed=seed)

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        """Rewards of B completions, one prompt each, by NUM_MEMBERS draws."""
        heads = self.posterior.members(NUM_MEMBERS, np.random.default_rng([self.seed, 4]))
        return Reward(members=heads @ self.features(prompts, completions).T)

    def margins(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], first: np.ndarray, second: np.ndarray
    ) -> GaussianMargins:
        """Margins of pairs of the given completions, numbers in `first` minus numbers in `second`, each (N,)."""
        values = self.features(prompts, completions)
        return head_margins(self.posterior, values[first] - values[second])


def head_margins(posterior: Posterior, differences: np.ndarray) -> GaussianMargins:
    """Margins of a head with a normal posterior, from (N, h) feature differences."""
    root = solve_triangular(posterior.factor, differences.T, lower=True).T
    mean = differences @ posterior.mean
    return GaussianMargins(mean=mean, root=root, probability=gaussian_probability(mean, np.sqrt((root**2).sum(1))))


def measure_pairs(
    reward_fn: RewardFn,
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[str],
    first: np.ndarray,
    second: np.ndarray,
) -> Informativeness:
    """What a model says of pairs of completions: exactly for a `JointHead`, by its members for any other.

    Args:
        first, second: (N,) int, numbers of the completions.

    Raises:
        FloatingPointError: if a reward is not finite.
    """
    if isinstance(reward_fn, JointHead):
        return measure_normal(reward_fn.margins(prompts, completions, first, second))
    members = reward_fn(prompts, completions).members
    if bad := int((~np.isfinite(members)).any(0).sum()):
        raise FloatingPointError(f"the model gives {bad} of {len(prompts)} answers a reward that is not finite")
    return measure(Reward(members=members[:, first]), Reward(members=members[:, second]))


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """What the learning curve of the labels at hand promises of more.

    Attributes:
        num_labels: at hand.
        accuracy: on held-out prompts, of a head on all labels of the other folds.
        a_doubling: what each doubling of the labels brought, share; from a quarter of the labels to all, by pairs.
        num_doublings: until all of the pool is labelled.
        at_all: accuracy with all labels if the curve went on as a straight line; it bends down, so that this is high.
    """

    num_labels: int
    accuracy: Interval
    a_doubling: Interval
    num_doublings: float
    at_all: float

    @property
    def is_shown(self) -> bool:
        """Whether labels are shown to have brought anything, so that choosing them can."""
        return self.a_doubling.against(0.0) > 0

    def summary(self) -> dict[str, object]:
        """For programs."""
        bounds = {
            name: [interval.value, interval.low, interval.high]
            for name, interval in (("accuracy", self.accuracy), ("a_doubling", self.a_doubling))
        }
        return {"num_labels": self.num_labels, **bounds, "at_all": self.at_all, "is_shown": self.is_shown}

    def __str__(self) -> str:
        accuracy, gain = self.accuracy, self.a_doubling
        said = (
            f"headroom: {self.num_labels:,} labels give {100 * accuracy.value:.1f} % right on other prompts "
            f"({100 * accuracy.low:.1f} to {100 * accuracy.high:.1f}); a doubling of labels brought "
            f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}), so that "
            f"all of the pool gives {100 * self.at_all:.1f} % at the most"
        )
        flat = ". The curve is not shown to rise: take random pairs, or features that say more"
        return said + ("" if self.is_shown else flat)


def find_headroom(pairs: Pairs, *, prior_precision: float, num_unlabelled: int, seed: int = 0) -> Headroom:
    """The learning curve of labelled pairs by cross-validation over prompts: heads on a quarter and on all of a fold.

    a_doubling = mean_n (right_n(all) - right_n(a quarter)) / 2 over decided held-out pairs, bootstrap over prompts.

    Raises:
        ValueError: if there are fewer than two prompts, or no label says that one answer is better.
    """
    decided = (pairs.p_chosen != 0.5) & (pairs.weight > 0)
    if not decided.any():
        raise ValueError(
            f"none of the {len(pairs)} labels says which answer is better: nothing can be learned from them"
        )
    right = np.zeros((2, len(pairs)))
    for repeat in range(REPEATS):
        rng = np.random.default_rng([seed, repeat])
        for train, test in folds(pairs.prompt, num_folds=5, seed=seed * REPEATS + repeat):
            shuffled = rng.permutation(train)
            for row, share in enumerate((0.25, 1.0)):
                rows = pairs.take(shuffled[: max(1, round(share * len(shuffled)))])
                head = fit_head(rows, prior_precision=prior_precision)
                side = np.where(pairs.p_chosen[test] > 0.5, 1.0, -1.0)
                right[row, test] += correctness(side * (pairs.differences[test] @ head.weights)) / REPEATS
    of_quarter, of_all = right[:, decided]
    prompt, weight = pairs.prompt[decided], pairs.weight[decided]
    accuracy = mean_interval(of_all, prompt, weight, seed=seed)
    gain = share_difference_interval(of_all, of_quarter, prompt, weight, seed=seed)
    num_doublings = float(np.log2(1.0 + num_unlabelled / len(pairs)))
    return Headroom(
        num_labels=len(pairs),
        accuracy=accuracy,
        a_doubling=Interval(value=gain.value / 2.0, low=gain.low / 2.0, high=gain.high / 2.0),
        num_doublings=num_doublings,
        at_all=min(1.0, accuracy.value + max(0.0, gain.value / 2.0) * num_doublings),
    )
