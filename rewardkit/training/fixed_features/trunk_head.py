"""Training of a head on a frozen neural trunk: tokens, features once, head with posterior, calibration, folder.

    posterior.npz    `mean` (h,) and `factor` (h, h), the lower Cholesky factor of the precision, in feature units

beside what `rewardkit.reward.reward_model` writes: an ordinary sequence classifier whose head is the fitted one.
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rewardkit.config import RewardConfig
from rewardkit.distributed.optimization import autocast
from rewardkit.heads.posterior import Posterior
from rewardkit.network.classifier import RewardScorer
from rewardkit.reward.reward_model import save
from rewardkit.run.directory import Run
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.fixed_features.features import trunk_features
from rewardkit.training.fixed_features.frozen_head import FittedHeads, finish_head, fit_heads, log_prior
from rewardkit.training.reward_run import Prepared, prepare
from rewardkit.training.starting_weights import build_classifier, hold_weights, is_held_narrow, read_base
from rewardkit.training.training_run import join_processes

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded
    from rewardkit.run.progress import Progress


def train_trunk_head(context: RunContext[RewardConfig], loaded: Loaded) -> Results:
    """Trains and saves into the run; returns the results."""
    config, run, progress = context.config, context.run, context.progress
    assert run is not None
    prepared = prepare(context, loaded)
    sides = (loaded.train, prepared.rows), (loaded.held_out, prepared.held_out)
    train, held_out = ([side[number] for number in rows.numbers] for side, rows in sides)
    loaded = replace(loaded, train=train, held_out=held_out)  # without pairs that are the same tokens
    device = join_processes(run)
    scorer = RewardScorer(build_classifier(config, prepared).requires_grad_(False))
    hold_weights(scorer, config, device)
    scorer.placed(device)
    started = time.perf_counter()
    chosen, rejected = pair_features(scorer, prepared, config, run, progress)
    feature_s = time.perf_counter() - started
    count = len(loaded.train)
    scale = feature_scale(np.concatenate((chosen[:count], rejected[:count])))
    chosen, rejected = chosen / scale, rejected / scale
    fitted = fit_heads(chosen[:count] - rejected[:count], loaded.train, config)
    log_prior(run, fitted, progress)
    card, results = finish_head(fitted, chosen[count:], rejected[count:], loaded, config, prepared.max_length)
    scorer.heads = torch.nn.Parameter(torch.from_numpy(fitted.heads / scale).float())
    base = read_base(config, prepared) if is_held_narrow(config, device) else None
    save(scorer, prepared.tokenizer, card, run.dir, base=base)
    write_posterior(unscaled(fitted, scale), run.dir)
    return {
        **results,
        "time/features_s": feature_s,
        "max_length": prepared.max_length,
        "num_conversations_cut": prepared.rows.num_cut + prepared.held_out.num_cut,
        "num_identical_pairs": prepared.rows.num_identical + prepared.held_out.num_identical,
    }


def pair_features(
    scorer: RewardScorer, prepared: Prepared, config: RewardConfig, run: Run, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Features of chosen and of rejected, each (N + M, h) float64: training rows, then held-out rows."""

    def show(done: int, total: int) -> None:
        run.status(step=done, num_steps=total)
        progress.step(done, total, {})

    features = trunk_features(
        scorer,
        [*prepared.rows.rows, *prepared.held_out.rows],
        cache_dir=cache_dir(config.model, run.dir),
        token_budget=config.token_budget,
        precision=partial(autocast, config.precision, scorer.heads.device),
        progress=show,
    ).astype(np.float64)
    if not np.isfinite(features).all():
        raise FloatingPointError(f"{int((~np.isfinite(features)).any(1).sum())} conversations have features not finite")
    return features[0::2], features[1::2]


def cache_dir(model: str, run_dir: Path) -> Path:
    """Where features are kept: beside the trunk for the next run on it, or in the run where that is not writable."""
    folder = Path(model)
    return folder if folder.is_dir() and os.access(folder, os.W_OK) else run_dir


def feature_scale(features: np.ndarray) -> np.ndarray:
    """(h,) standard deviation of each feature (ddof = 0), 1 where it is constant.

    The prior treats all features alike, so they are brought to one scale; means cancel in differences. Dividing a head
    by the scale gives the same scores on features as they are.
    """
    spread = features.std(0)
    return np.where(spread > 1e-8 * (np.abs(features).max(0) + 1e-30), spread, 1.0)


def unscaled(fitted: FittedHeads, scale: np.ndarray) -> Posterior:
    """The posterior of the head on features as they are: precision D H D, D = diag(scale)."""
    assert fitted.posterior is not None
    return replace(
        fitted.posterior, mean=fitted.posterior.mean / scale, factor=scale[:, None] * fitted.posterior.factor
    )


def write_posterior(posterior: Posterior, folder: Path) -> None:
    """Writes posterior.npz."""
    temporary = folder / "posterior.writing.npz"
    np.savez(temporary, mean=posterior.mean, factor=posterior.factor)
    temporary.replace(folder / "posterior.npz")
