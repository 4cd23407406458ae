"""How much a trait is paid: the same equation for people's votes and for a model's answers to edits.

    people   logit P(a over b) = (x_a - x_b) . beta + (s_a - s_b) . alpha     votes, logistic
    model    log-odds of having over without = (x_having - x_without) . gamma  edits, least squares

x are the traits (`rewardkit.traits`), s says which source wrote an answer: what a strong model writes often is not
taken for what makes its answers good. beta and gamma are in log-odds of preference for a unit of the trait, all other
traits alike, so that they can be held against each other. The first is style control as of LMArena (Chiang et al.
2024, arXiv 2403.04132; Li et al. 2024): differences are divided by their standard deviation, with a normal prior of
variance 1 on the scaled coefficients. Covariances are sandwiches with prompts as clusters (Liang and Zeger 1986),
G / (G - 1) times. What votes cannot tell: a trait that comes with worth that no source and no other trait stands for
looks paid; people's votes on edits, which share all but the trait, can. So where at least LEAST prompts have such
votes, beta of the trait rests on them alone: its differences in all other pairs have a coefficient of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.stats.metrics import Interval
from rewardkit.stats.small_samples import LEAST, mean_bounds
from rewardkit.stats.uncertainty import sigmoid

PRIOR_PRECISION = 1.0
MOST_SOURCES = 50


@dataclass(frozen=True, kw_only=True)
class Effects:
    """Effects of J traits on a preference, in log-odds for a unit of each.

    Attributes:
        traits: their names.
        values, errors: (J,) estimate and standard error; nan for a trait that fewer than LEAST prompts vary in.
        scales: (J,) standard deviation of the trait's differences; value times scale is the effect of one.
        num_prompts: (J,) prompts with a pair that differs in the trait.
    """

    traits: tuple[str, ...]
    values: np.ndarray
    errors: np.ndarray
    scales: np.ndarray
    num_prompts: np.ndarray

    def interval(self, trait: str) -> Interval:
        """The effect with its 95 % interval."""
        at = self.traits.index(trait)
        if not math.isfinite(self.values[at]):
            return Interval(value=math.nan)
        value, error = float(self.values[at]), float(self.errors[at])
        low, high = mean_bounds(value, error, int(self.num_prompts[at]))
        return Interval(value=value, low=low, high=high)

    def p_values(self) -> np.ndarray:
        """(J,) two-sided, of no effect; nan where there is no estimate."""
        return np.array([2 * upper_tail(z_of(abs(value), error)) for value, error in zip(*self.both(), strict=True)])

    def both(self) -> tuple[list[float], list[float]]:
        """Values and errors as lists."""
        return self.values.tolist(), self.errors.tolist()


def vote_effects(
    traits: Sequence[str],
    differences: np.ndarray,
    p_chosen: np.ndarray,
    prompt: np.ndarray,
    *,
    weight: np.ndarray | None = None,
    sources: Sequence[tuple[str, str]] = (),
    is_edit: np.ndarray | None = None,
) -> Effects:
    """Effects on votes.

    Args:
        differences: (N, J) traits of chosen minus those of rejected.
        p_chosen: (N,) shares of votes for chosen.
        prompt: (N,) number of each pair's prompt.
        sources: (N,) what wrote chosen and rejected; none, or more than MOST_SOURCES different ones, are not used.
        is_edit: (N,) bool, whether the two answers are one without and with a trait; None for no such pairs.

    Raises:
        ValueError: if no pair has weight.
    """
    asked = _asked_of(traits, differences, prompt, is_edit)
    elsewhere = np.where(is_edit[:, None], 0.0, differences)[:, asked] if is_edit is not None else differences[:, :0]
    columns = np.column_stack([differences, elsewhere, _source_columns(sources, len(differences))])
    scales = np.sqrt((columns**2).mean(0))  # about 0, as which of the two is called chosen means nothing
    varied = scales > 0
    scaled = columns[:, varied] / scales[varied]
    weight = np.ones(len(scaled)) if weight is None else weight
    fit = fit_head(make_pairs(scaled, p_chosen, weight=weight, prompt=prompt), prior_precision=PRIOR_PRECISION)
    q = sigmoid(scaled @ fit.weights)
    information = (scaled * (weight * q * (1 - q))[:, None]).T @ scaled + PRIOR_PRECISION * np.eye(scaled.shape[1])
    scores = scaled * (weight * (p_chosen - q))[:, None]
    rests_on = differences.copy()
    rests_on[:, asked] -= elsewhere
    return _effects(traits, rests_on, prompt, fit.weights, _sandwich(information, scores, prompt), scales, varied)


def edit_effects(traits: Sequence[str], differences: np.ndarray, log_odds: np.ndarray, prompt: np.ndarray) -> Effects:
    """Effects on what a model says of edits, by least squares through 0.

    Args:
        differences: (N, J) traits of the answer that has the edited one minus those of the other.
        log_odds: (N,) of the first over the second, by the model.
        prompt: (N,) number of each edit's prompt.
    """
    scales = np.sqrt((differences**2).mean(0))
    varied = scales > 0
    scaled = differences[:, varied] / scales[varied]
    information = scaled.T @ scaled
    inverse = np.linalg.pinv(information)
    weights = inverse @ (scaled.T @ log_odds)
    scores = scaled * (log_odds - scaled @ weights)[:, None]
    return _effects(traits, differences, prompt, weights, _sandwich(information, scores, prompt), scales, varied)


def upper_tail(z: float) -> float:
    """Probability that a standard normal is above z."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def z_of(value: float, error: float) -> float:
    """value / error; of an effect that does not vary, infinite with its sign, and 0 of none."""
    if error == 0:
        return math.copysign(math.inf, value) if value else 0.0
    return value / error


def holm(p_values: np.ndarray) -> np.ndarray:
    """(J,) p-values adjusted so that those below a level hold together at it. Holm 1979.

    Sorted, p_(i) becomes max_{k <= i} min(1, (m - k + 1) p_(k)); nan is no test and stays.
    """
    adjusted = np.full(len(p_values), np.nan)
    tests = np.flatnonzero(np.isfinite(p_values))
    order = tests[np.argsort(p_values[tests], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def _asked_of(
    traits: Sequence[str], differences: np.ndarray, prompt: np.ndarray, is_edit: np.ndarray | None
) -> np.ndarray:
    """(M,) numbers of the traits that at least LEAST prompts have votes on edits of.

    An edit is of the only trait but length that its answers differ in, or of length where they differ in no other.
    """
    if is_edit is None:
        return np.zeros(0, dtype=np.int64)
    differs = differences != 0
    is_length = np.array([name == "length" for name in traits])
    num_others = differs[:, ~is_length].sum(1)
    of_trait = differs & np.where(is_length, num_others[:, None] == 0, num_others[:, None] == 1) & is_edit[:, None]
    return np.array(
        [at for at in range(len(traits)) if len(np.unique(prompt[of_trait[:, at]])) >= LEAST], dtype=np.int64
    )


def _source_columns(sources: Sequence[tuple[str, str]], num_pairs: int) -> np.ndarray:
    """(N, S) 1 for the source of chosen, -1 for that of rejected; 0 in pairs of one source, or with one unnamed."""
    sources = [pair if all(pair) else ("", "") for pair in sources]
    names = sorted({name for one, other in sources for name in (one, other) if one != other})
    if not 2 <= len(names) <= MOST_SOURCES:
        return np.zeros((num_pairs, 0))
    at = {name: number for number, name in enumerate(names)}
    columns = np.zeros((num_pairs, len(names)))
    for row, (chosen, rejected) in enumerate(sources):
        if chosen != rejected:
            columns[row, at[chosen]], columns[row, at[rejected]] = 1, -1
    return columns


def _sandwich(information: np.ndarray, scores: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """(M, M) covariance: information^-1 (sum over prompts of s s') information^-1 G / (G - 1)."""
    _, group = np.unique(prompt, return_inverse=True)
    sums = np.zeros((int(group.max()) + 1, scores.shape[1]))
    np.add.at(sums, group, scores)
    inverse = np.linalg.pinv(information)
    return inverse @ (sums.T @ sums) @ inverse * len(sums) / max(1, len(sums) - 1)


def _effects(
    traits: Sequence[str],
    differences: np.ndarray,
    prompt: np.ndarray,
    weights: np.ndarray,
    covariance: np.ndarray,
    scales: np.ndarray,
    varied: np.ndarray,
) -> Effects:
    num_traits = len(traits)
    values, errors = np.full(len(scales), np.nan), np.full(len(scales), np.nan)
    values[varied] = weights / scales[varied]
    errors[varied] = np.sqrt(np.maximum(0.0, np.diag(covariance))) / scales[varied]
    num_prompts = np.array([len(np.unique(prompt[differences[:, at] != 0])) for at in range(num_traits)])
    enough = num_prompts >= LEAST
    return Effects(
        traits=tuple(traits),
        values=np.where(enough, values[:num_traits], np.nan),
        errors=np.where(enough, errors[:num_traits], np.nan),
        scales=scales[:num_traits],
        num_prompts=num_prompts,
    )
