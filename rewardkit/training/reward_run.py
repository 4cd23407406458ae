"""One run from preferences to a saved reward model: tokens, weights, training, calibration, report.

The tie between data (`rewardkit.data.training_data`), the loop (`rewardkit.training.train`) and the files
(`rewardkit.reward.reward_model`), for models of weights trained here; a head on fixed features is
`rewardkit.training.frozen_head`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewardkit.config import RewardConfig
from rewardkit.data.training_data import Loaded
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint
from rewardkit.network.models import (
    PRESETS,
    RewardScorer,
    add_adapters,
    head_of,
    load_classifier,
    make_classifier,
    merge_adapters,
    preset_config,
    recompute_activations,
)
from rewardkit.network.tokens import load_tokenizer, train_tokenizer
from rewardkit.reward.lora_ensemble import LoraEnsemble
from rewardkit.reward.metadata import Card, member_offsets
from rewardkit.reward.reward import criterion_names
from rewardkit.reward.reward_model import save
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.run.training_command import Interruption
from rewardkit.stats.calibration import CalibrationFit, fit_calibration
from rewardkit.stats.metrics import correctness, mean_interval
from rewardkit.training.rows import TrainingRows, training_rows
from rewardkit.training.train import Trained, score_rows, train

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What every process starts from.

    Attributes:
        model_config: of a model made here; None for one that is loaded.
        max_length: tokens kept of a conversation, at most what the model takes.
    """

    tokenizer: PreTrainedTokenizerBase
    rows: TrainingRows
    held_out: TrainingRows
    model_config: PretrainedConfig | None
    max_length: int


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What the trained model makes of the held-out pairs.

    Attributes:
        chosen, rejected: (K, N) rewards by member.
    """

    chosen: np.ndarray
    rejected: np.ndarray
    rows: TrainingRows

    @property
    def margins(self) -> np.ndarray:
        """(N,) of the mean reward."""
        return (self.chosen - self.rejected).mean(0)


def train_reward_model(
    config: RewardConfig, run: Run | None, loaded: Loaded | None, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued.

    Args:
        run, loaded: the first process's; None in the others, which only help to compute.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    device = collectives.init_process_group()
    prepared = collectives.broadcast_object(prepare(config, run, loaded) if run and loaded else None)
    assert prepared is not None
    classifier = build_classifier(config, prepared)
    adapted = None
    if config.mode == "lora" and not is_one_pass(config):
        adapted = add_adapters(classifier, rank=config.lora_rank, num_layers=config.lora_layers, seed=config.seed)
    scorer = build_scorer(config, classifier, num_criteria=len(prepared.rows.criteria)).to(device)
    collectives.broadcast_parameters(scorer.parameters())
    checkpoint = Checkpoint(Path(config.out) / "checkpoints")
    with interruption.patient():
        trained = train(
            scorer,
            prepared.rows,
            prepared.held_out,
            config,
            run,
            checkpoint=checkpoint,
            cancelled=lambda: interruption.asked,
            show=progress.step,
        )
    collectives.destroy_process_group()
    if trained.cancelled or not run or not loaded:
        return None
    if adapted is not None:
        merge_adapters(adapted, run.dir / "adapter")
    results = finish(scorer, prepared, trained, config, run, loaded)
    checkpoint.remove()
    return results


def prepare(config: RewardConfig, run: Run, loaded: Loaded) -> Prepared:
    """Tokenizer and token rows; a tokenizer made here is kept in the run, so that a resumed run has the same.

    Raises:
        ValueError: if the model cannot be read, or the likelihood asks for what the data does not say.
    """
    if (
        config.likelihood == "crowd"
        and config.mode != "head"
        and not any("reliability" in row.meta for row in loaded.train)
    ):
        raise ValueError("likelihood crowd needs a column reliability; mode head learns it from annotator")
    made_here = config.model in PRESETS
    if not made_here:
        tokenizer = _load_tokenizer(config.model)
    elif (run.dir / "tokenizer.json").exists():
        tokenizer = load_tokenizer(run.dir)
    else:
        texts = (
            text
            for row in loaded.train
            for text in (*(message.content for message in row.prompt), row.chosen, row.rejected)
        )
        tokenizer = train_tokenizer(texts)
        tokenizer.save_pretrained(run.dir)
    positions = None if made_here else check_model(config.model)
    max_length = min(config.max_length, positions or config.max_length)
    if max_length < config.max_length:
        logger.warning("max_length %d is more than the %d tokens the model takes", config.max_length, max_length)
    criteria = criterion_names(loaded.train) if config.criteria else ()
    if config.criteria and not criteria:
        raise ValueError("criteria asks for heads, but no row of the training data has judgments by criterion")
    rows, held_out = (
        training_rows(side, tokenizer, max_length=max_length, criteria=criteria)
        for side in (loaded.train, loaded.held_out)
    )
    made = preset_config(config.model, tokenizer, max_length=max(2048, max_length)) if made_here else None
    return Prepared(tokenizer=tokenizer, rows=rows, held_out=held_out, model_config=made, max_length=max_length)


def build_classifier(config: RewardConfig, prepared: Prepared) -> PreTrainedModel:
    """The classifier to train, on the CPU unless it is loaded in 4 bits."""
    if prepared.model_config is not None:
        classifier = make_classifier(prepared.model_config, seed=config.seed)
    else:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)  # of what the file does not hold
            classifier = load_classifier(
                config.model, prepared.tokenizer, dtype=torch.float32, load_in_4bit=config.load_in_4bit
            )
    if config.gradient_checkpointing:
        recompute_activations(classifier)
    return classifier


def is_one_pass(config: RewardConfig) -> bool:
    """Whether members are LoRA adapters on one trunk, see `rewardkit.reward.lora_ensemble`."""
    return config.members == "lora" and config.ensemble > 1


def build_scorer(config: RewardConfig, classifier: PreTrainedModel, *, num_criteria: int) -> RewardScorer:
    """Classifier and new heads; a single member goes on from the head of a classifier that has one of its own."""
    if is_one_pass(config):
        return LoraEnsemble(
            classifier,
            num_members=config.ensemble,
            num_criteria=num_criteria,
            rank=config.lora_rank,
            num_layers=config.lora_layers,
            seed=config.seed,
        )
    scorer = RewardScorer(classifier, num_members=config.ensemble + num_criteria, seed=config.seed)
    if config.ensemble == 1 and getattr(classifier, "has_own_head", False):
        scorer.heads.data[:1] = head_of(classifier).weight.detach().float()
        logger.info("the reward head of %s is trained further", config.model)
    return scorer


def finish(
    scorer: RewardScorer, prepared: Prepared, trained: Trained, config: RewardConfig, run: Run, loaded: Loaded
) -> Mapping[str, Any]:
    """Calibrates on the held-out pairs, saves the model into the run, and says how it went."""
    chosen, rejected = (side[: config.ensemble].numpy() for side in score_rows(scorer, prepared.held_out, config))
    held_out = HeldOut(chosen=chosen.astype(float), rejected=rejected.astype(float), rows=prepared.held_out)
    calibration = fit_calibration(
        held_out.margins,
        prepared.held_out.p_chosen.numpy(),
        prepared.held_out.weight.numpy(),
        kind=config.calibration,
        prompt=prepared.held_out.prompt.numpy(),
    )
    mean_rewards = held_out.chosen.mean(0)
    card = Card(
        kind="lora" if is_one_pass(config) else "heads",
        num_members=config.ensemble,
        max_length=prepared.max_length,
        score_mean=float(mean_rewards.mean()),
        score_std=float(mean_rewards.std(ddof=1)) or 1.0,
        member_offsets=member_offsets(held_out.chosen),
        calibration=calibration.calibration,
        likelihood=likelihood_values(config, trained),
        criteria=prepared.rows.criteria,
        data_hash=loaded.data_hash,
    )
    save(scorer, prepared.tokenizer, card, run.dir)
    return {"num_parameters": sum(p.numel() for p in scorer.classifier.parameters())} | results(
        held_out, calibration, prepared, trained
    )


def likelihood_values(config: RewardConfig, trained: Trained) -> dict[str, Any]:
    """The likelihood and its learned parameter, for the card."""
    match config.likelihood:
        case "rao_kupper":
            return {"name": "rao_kupper", "tie_threshold": float(torch.nn.functional.softplus(trained.tie.raw))}
        case "davidson":
            return {"name": "davidson", "log_tie": float(trained.tie.raw)}
        case "bradley_terry" | "crowd":
            return {"name": config.likelihood}


def results(held_out: HeldOut, calibration: CalibrationFit, prepared: Prepared, trained: Trained) -> dict[str, Any]:
    """The run's results, plain values: how it ended, what was cut, and the held-out report."""
    rows = held_out.rows
    decided = rows.p_chosen.numpy() > 0.5
    right = correctness(held_out.margins)[decided]
    interval = mean_interval(right, rows.prompt.numpy()[decided], rows.weight.numpy()[decided])
    values: dict[str, Any] = {
        "num_steps": trained.num_steps,
        "best_step": trained.best_step,
        "stopped_early": trained.stopped_early,
        "num_train": len(prepared.rows),
        "num_held_out": len(rows),
        "max_length": prepared.max_length,
        "num_conversations_cut": prepared.rows.num_cut + rows.num_cut,
        "num_identical_pairs": prepared.rows.num_identical + rows.num_identical,
        "accuracy": interval.value,
        "accuracy_interval": [interval.low, interval.high],
        "nll": calibration.before.nll,
        "calibration": calibration.results(),
    }
    if len(held_out.chosen) > 1:
        differences = held_out.chosen - held_out.rejected
        values["margin_std"] = float(differences.std(0, ddof=1).mean())
        values["member_accuracies"] = [float(correctness(member[decided]).mean()) for member in differences]
    return {name: value for name, value in values.items() if value == value}


def _load_tokenizer(model: str) -> PreTrainedTokenizerBase:
    try:
        return load_tokenizer(model)
    except OSError as error:
        raise ValueError(f"model {model!r} has no tokenizer that can be read: {error}") from error


def check_model(model: str) -> int | None:
    """How many tokens a saved model takes, where its configuration says so.

    Raises:
        ValueError: if it has no configuration that can be read.
    """
    from transformers import AutoConfig

    try:
        return getattr(AutoConfig.from_pretrained(model), "max_position_embeddings", None)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {model!r}, allowed are {', '.join(PRESETS)}, tfidf, a folder, a hub id: {error}"
        ) from error
