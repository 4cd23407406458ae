"""Training of the TF-IDF reward model: recipe by cross-validation, head with posterior, calibration, folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scipy.sparse import csr_array

from rewardkit.config import RewardConfig
from rewardkit.data.records import Preference
from rewardkit.heads.fit import PriorChoice, choose_prior_precision
from rewardkit.reward.tfidf import RECIPES, TfidfFeatures, TfidfReward
from rewardkit.run.directory import Run
from rewardkit.training.frozen_head import finish_head, fit_heads, log_prior, pairs_of

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded
    from rewardkit.run.progress import Progress

PRIOR_PRECISIONS = (0.3, 1.0, 3.0, 10.0, 30.0)  # rows have length 1, so less range is needed


def train_tfidf_head(config: RewardConfig, run: Run, loaded: Loaded, progress: Progress) -> Mapping[str, Any]:
    """Trains and saves into the run; returns the results."""
    run.status(num_steps=len(RECIPES) + 1, step=0)
    features, priors = choose_features(loaded.train, config, lambda step: run.status(step=step))
    progress.say(f"TF-IDF of {features.recipe}, {features.num_features:,} features, by cross-validation")
    differences = _differences(features, loaded.train)
    fitted = fit_heads(differences, loaded.train, config, prior=priors[features.recipe])
    log_prior(run, fitted, progress)
    chosen = features.transform([row.chosen for row in loaded.held_out])
    rejected = features.transform([row.rejected for row in loaded.held_out])
    card, results = finish_head(fitted, chosen, rejected, loaded, config, config.max_length)
    TfidfReward(features, fitted.heads, card).save(run.dir)
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
    found: dict[str, TfidfFeatures] = {}
    priors: dict[str, PriorChoice] = {}
    for step, recipe in enumerate(RECIPES, start=1):
        found[recipe] = TfidfFeatures.fit(recipe, texts)
        pairs = pairs_of(_differences(found[recipe], rows), rows)
        priors[recipe] = choose_prior_precision(pairs, seed=config.seed, candidates=PRIOR_PRECISIONS)
        done(step)
    best = min(priors, key=lambda recipe: min(priors[recipe].nll.values()))
    return found[best], priors


def _differences(features: TfidfFeatures, rows: Sequence[Preference]) -> csr_array:
    """(N, h) features of chosen minus features of rejected."""
    return features.transform([row.chosen for row in rows]) - features.transform([row.rejected for row in rows])
