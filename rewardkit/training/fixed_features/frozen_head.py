"""A reward model whose trunk stays as it is: features once, then heads in seconds, while people go on labeling.

Bradley-Terry head on fixed features, fitted to convergence (`rewardkit.heads.fit`), with a Laplace posterior from which
the members are drawn (`rewardkit.heads.posterior`). Numbered differences from training by gradient steps:
1. Nothing is stopped early: the prior's precision, chosen by cross-validation over training prompts, does that work.
2. Members are draws from the posterior, moved so that their mean is the fitted head; `bootstrap` has no part in it, and
   `ensemble` 1 draws NUM_MEMBERS, since they cost nothing.
3. `crowd` learns the annotators' reliabilities with the head where rows name annotators and not how reliable they are.
Features are TF-IDF's here (the recipe by cross-validation), or the states of a neural trunk, for which
`rewardkit.training.fixed_features.trunk_head` needs torch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from rewardkit.config import RewardConfig
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.records import Preference
from rewardkit.heads.annotator_reliability import fit_crowd_head
from rewardkit.heads.fit import Design, HeadFit, Pairs, PriorChoice, choose_prior_precision, fit_head, make_pairs
from rewardkit.heads.posterior import Posterior, laplace_members, laplace_posterior
from rewardkit.reward.metadata import Card, member_offsets
from rewardkit.reward.reward import criterion_names, criterion_targets
from rewardkit.reward.tfidf import RECIPES, TfidfFeatures, TfidfReward
from rewardkit.run.directory import Run
from rewardkit.run.training_command import Results, RunContext
from rewardkit.stats.calibration import fit_calibration
from rewardkit.stats.metrics import correctness, mean_interval

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded
    from rewardkit.run.progress import Progress


logger = logging.getLogger(__name__)
NUM_MEMBERS = 32
IGNORED = ("use_margin", "centring", "label_smoothing", "offload_activations")


@dataclass(frozen=True, kw_only=True)
class FittedHeads:
    """Heads on fixed features.

    Attributes:
        members: (K, h) draws from the posterior, their mean is the fitted head.
        criteria: (C, h) fitted heads of `names`.
        posterior: of the overall head; None where features are sparse.
        reliability: by annotator, where they were learned.
    """

    members: np.ndarray
    criteria: np.ndarray
    names: tuple[str, ...]
    fit: HeadFit
    prior: PriorChoice
    posterior: Posterior | None
    reliability: Mapping[str, float]

    @property
    def heads(self) -> np.ndarray:
        """(K + C, h) members, then criteria."""
        return np.concatenate((self.members, self.criteria))

    def likelihood(self, config: RewardConfig) -> dict[str, Any]:
        """For the card: name, prior, how the fit ended, what was learned of annotators."""
        values: dict[str, Any] = {
            "name": config.likelihood,
            "prior_precision": self.fit.prior_precision,
            "converged": self.fit.converged,
            "num_iterations": self.fit.num_iterations,
        }
        return values | ({"reliability": dict(self.reliability)} if self.reliability else {})


def check_options(config: RewardConfig, rows: Sequence[Preference]) -> None:
    """Raises ValueError for options that would be without effect, and for likelihoods that lack their columns."""
    if config.likelihood not in ("auto", "bradley_terry", "crowd"):
        raise ValueError(f"likelihood is {config.likelihood!r}, mode head allows bradley_terry and crowd")
    if config.model == "tfidf" and config.load_in_4bit:
        raise ValueError("load_in_4bit has no meaning for model tfidf")
    if config.model == "tfidf" and config.frozen_weights == "bf16":
        raise ValueError("frozen_weights has no meaning for model tfidf")
    if config.optimizer != "adamw":
        raise ValueError(f"optimizer is {config.optimizer}, mode head has no use for it")
    if ignored := [name for name in IGNORED if getattr(config, name)]:
        raise ValueError(f"{ignored[0]} is {getattr(config, ignored[0])}, mode head has no use for it")
    if config.criteria and not criterion_names(rows):
        raise ValueError("criteria asks for heads, but no row of the training data has judgments by criterion")
    has_column = [any(row.meta.get(name) is not None for row in rows) for name in ("reliability", "annotator")]
    if config.likelihood == "crowd" and not any(has_column):
        raise ValueError("likelihood crowd needs a column annotator or reliability, the training data has neither")


def fit_heads(
    differences: Design, rows: Sequence[Preference], config: RewardConfig, *, prior: PriorChoice | None = None
) -> FittedHeads:
    """Chooses the prior, fits the overall head and one per criterion, and draws the members.

    Args:
        differences: (N, h) features of chosen minus features of rejected, of similar scale in all columns.
        prior: where it was chosen before.
    """
    pairs = pairs_of(differences, rows)
    if not abs(differences).max() > 0:
        raise ValueError(f"the features of chosen and rejected are the same in all {len(rows)} pairs")
    prior = prior or choose_prior_precision(pairs, seed=config.seed)
    fit, reliability, annotators = fit_overall(pairs, rows, config, prior.prior_precision)
    if not fit.converged:
        logger.warning("the head did not converge in %d iterations", fit.num_iterations)
    seen = pairs if reliability is None else seen_through(pairs, reliability)
    count = NUM_MEMBERS if config.ensemble == 1 else config.ensemble
    rng = np.random.default_rng((config.seed, 2))
    posterior = laplace_posterior(fit, seen) if isinstance(differences, np.ndarray) else None
    members = posterior.members(count, rng) if posterior else laplace_members(fit, seen, count, rng)
    names = criterion_names(rows) if config.criteria else ()
    return FittedHeads(
        members=members,
        criteria=_fit_criteria(pairs, rows, names, config),
        names=names,
        fit=fit,
        prior=prior,
        posterior=posterior,
        reliability=annotators,
    )


def pairs_of(differences: Design, rows: Sequence[Preference]) -> Pairs:
    """Rows in feature space, prompts numbered by what near copies have in common."""
    numbers: dict[str, int] = {}
    return make_pairs(
        differences,
        np.array([row.p_chosen for row in rows]),
        weight=np.array([row.weight for row in rows]),
        prompt=np.array([numbers.setdefault(normal_prompt(row.prompt), len(numbers)) for row in rows]),
    )


def seen_through(pairs: Pairs, reliability: np.ndarray) -> Pairs:
    """The pairs with the reliability of each row's vote."""
    return make_pairs(
        pairs.differences, pairs.p_chosen, weight=pairs.weight, reliability=reliability, prompt=pairs.prompt
    )


def fit_overall(
    pairs: Pairs, rows: Sequence[Preference], config: RewardConfig, prior_precision: float
) -> tuple[HeadFit, np.ndarray | None, dict[str, float]]:
    """The overall head; with `crowd` also (N,) each row's reliability, and what was learned, by annotator.

    Given reliabilities are believed; a row without one counts as certain. Where no row gives one they are learned, and
    rows that name no annotator share one.
    """
    if config.likelihood != "crowd":
        return fit_head(pairs, prior_precision=prior_precision), None, {}
    if any(row.meta.get("reliability") is not None for row in rows):
        values = [row.meta.get("reliability") for row in rows]
        reliability = np.array([1.0 if value is None else float(str(value)) for value in values])
        return fit_head(seen_through(pairs, reliability), prior_precision=prior_precision), reliability, {}
    names = [str(row.meta.get("annotator") or "") for row in rows]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    annotator = np.array([numbers[name] for name in names])
    crowd = fit_crowd_head(pairs, annotator, prior_precision=prior_precision)
    learned = {name: float(crowd.reliability[number]) for name, number in numbers.items()}
    return crowd.head, crowd.reliability[annotator], learned


def _fit_criteria(pairs: Pairs, rows: Sequence[Preference], names: Sequence[str], config: RewardConfig) -> np.ndarray:
    """(C, h) Bradley-Terry heads on the rows judged by each criterion, each with its own prior where folds allow it."""
    p_chosen, weight = criterion_targets(rows, names)
    heads = np.zeros((len(names), pairs.differences.shape[1]))
    for number in range(len(names)):
        judged = np.flatnonzero(weight[number])
        some = pairs.take(judged)
        some = make_pairs(some.differences, p_chosen[number, judged], weight=weight[number, judged], prompt=some.prompt)
        if len(np.unique(some.prompt)) < 2:
            raise ValueError(f"criterion {names[number]!r} was judged on one prompt only, its head needs two or more")
        prior = choose_prior_precision(some, seed=config.seed)
        heads[number] = fit_head(some, prior_precision=prior.prior_precision).weights
    return heads


def log_prior(run: Run, fitted: FittedHeads, progress: Progress) -> None:
    """Writes the cross-validated NLL of every prior precision tried as the run's curve."""
    for step, (precision, nll) in enumerate(fitted.prior.nll.items(), start=1):
        run.log(step, {"prior_precision": precision, "eval/nll": nll})
    progress.say(
        f"prior precision {fitted.prior.prior_precision:g} by cross-validation, head fitted in "
        f"{fitted.fit.num_iterations} iterations"
    )


def finish_head(
    fitted: FittedHeads, chosen: Design, rejected: Design, loaded: Loaded, config: RewardConfig, max_length: int
) -> tuple[Card, dict[str, Any]]:
    """Calibrates on the held-out rows; returns the card to save and the run's results.

    Args:
        chosen, rejected: (M, h) features of the held-out rows, on the scale of the fit.
    """
    rows = loaded.held_out
    pairs = pairs_of(chosen - rejected, rows)
    mean_rewards, member_margins = chosen @ fitted.fit.weights, (pairs.differences @ fitted.members.T).T
    margins = pairs.differences @ fitted.fit.weights
    calibration = fit_calibration(
        member_margins, pairs.p_chosen, pairs.weight, kind=config.calibration, prompt=pairs.prompt
    )
    card = Card(
        kind="tfidf" if config.model == "tfidf" else "head",
        num_members=len(fitted.members),
        max_length=max_length,
        score_mean=float(mean_rewards.mean()),
        score_std=float(mean_rewards.std(ddof=1)) or 1.0,
        member_offsets=member_offsets((chosen @ fitted.members.T).T),
        calibration=calibration.calibration,
        likelihood=fitted.likelihood(config),
        criteria=fitted.names,
        data_hash=loaded.data_hash,
        keeps_marks=config.model != "tfidf",
    )
    decided = (pairs.p_chosen > 0.5) & (pairs.weight > 0)
    interval = mean_interval(correctness(margins)[decided], pairs.prompt[decided], pairs.weight[decided])
    results = fitted.likelihood(config) | {
        "num_train": len(loaded.train),
        "num_held_out": len(rows),
        "num_features": len(fitted.fit.weights),
        "num_members": len(fitted.members),
        "accuracy": interval.value,
        "accuracy_interval": [interval.low, interval.high],
        "nll": calibration.before.nll,
        "margin_std": float(member_margins.std(0, ddof=1).mean()),
        "calibration": calibration.results(),
    }
    return card, {name: value for name, value in results.items() if value == value}


PRIOR_PRECISIONS = (0.3, 1.0, 3.0, 10.0, 30.0)  # rows have length 1, so less range is needed


def train_tfidf_head(context: RunContext[RewardConfig], loaded: Loaded) -> Results:
    """Trains and saves into the run; returns the results."""
    config, run, progress = context.config, context.run, context.progress
    assert run is not None
    run.status(num_steps=len(RECIPES) + 1, step=0)
    features, priors = choose_features(loaded.train, config, lambda step: run.status(step=step))
    progress.say(f"TF-IDF of {features.recipe}, {features.num_features:,} features, by cross-validation")
    differences = _differences(features, loaded.train)
    fitted = fit_heads(differences, loaded.train, config, prior=priors[features.recipe])
    log_prior(run, fitted, progress)
    chosen = features.transform([row.chosen for row in loaded.held_out])
    rejected = features.transform([row.rejected for row in loaded.held_out])
    card, results = finish_head(fitted, chosen, rejected, loaded, config, config.max_length)
    TfidfReward(features, fitted.heads, replace(card, features=features.name)).save(run.dir)
    run.status(step=len(RECIPES) + 1)
    nll = {recipe: min(prior.nll.values()) for recipe, prior in priors.items()}
    return results | {"recipe": features.recipe, "recipe_nll": nll}


def choose_features(
    rows: Sequence[Preference], config: RewardConfig, done: Callable[[int], None] = lambda step: None
) -> tuple[TfidfFeatures, dict[str, PriorChoice]]:
    """The recipe with the lowest cross-validated NLL on training rows, and what was found of each.

    Vocabulary and document frequencies come from all training completions, judgments only from the other folds.
    """
    texts = [text for row in rows for text in (row.chosen, row.rejected)]
    features: dict[str, TfidfFeatures] = {}
    priors: dict[str, PriorChoice] = {}
    for step, recipe in enumerate(RECIPES, start=1):
        features[recipe] = TfidfFeatures.fit(recipe, texts, has_length=config.length_feature)
        pairs = pairs_of(_differences(features[recipe], rows), rows)
        priors[recipe] = choose_prior_precision(pairs, seed=config.seed, candidates=PRIOR_PRECISIONS)
        done(step)
    best = min(priors, key=lambda recipe: min(priors[recipe].nll.values()))
    return features[best], priors


def _differences(features: TfidfFeatures, rows: Sequence[Preference]) -> csr_array:
    """(N, h) features of chosen minus features of rejected."""
    return features.transform([row.chosen for row in rows]) - features.transform([row.rejected for row in rows])
