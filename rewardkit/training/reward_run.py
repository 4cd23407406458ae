"""One run from preferences to a saved reward model: tokens, weights, training, calibration, report.

For models whose weights are trained by the loop (`rewardkit.training.loop`); a head on fixed features is
`rewardkit.training.fixed_features.frozen_head`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewardkit.config import Likelihood, RewardConfig
from rewardkit.data.training_data import Loaded, keeps_marks
from rewardkit.distributed import collectives, sharding
from rewardkit.distributed.merged_weights import full_adapters, in_full_width
from rewardkit.distributed.shared_file import whole_on_disk
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.models import (
    PRESETS,
    add_adapters,
    complete_adapters,
    merge_adapters,
    preset_config,
    saved_positions,
)
from rewardkit.network.tokens import load_tokenizer
from rewardkit.reward.lora_ensemble import LoraEnsemble
from rewardkit.reward.metadata import Card, member_offsets
from rewardkit.reward.reward import criterion_names
from rewardkit.reward.reward_model import all_weights, save, save_weights_of
from rewardkit.run.training_command import Results, RunContext
from rewardkit.stats.calibration import CalibrationFit, fit_calibration
from rewardkit.stats.metrics import correctness, mean_interval
from rewardkit.training.chosen_likelihood import with_likelihood
from rewardkit.training.loop import Trained, step_batches
from rewardkit.training.ranking_objective import make_objective
from rewardkit.training.reward_objective import RewardObjective, TieParameter, loop_options, score_rows
from rewardkit.training.rows import TrainingRows, training_rows
from rewardkit.training.starting_weights import Start, build_classifier, hold_weights, is_held_narrow, read_base
from rewardkit.training.training_run import (
    check_lengths,
    checkpoint_of,
    join_processes,
    limited_length,
    prepare_in_first,
    preset_tokenizer,
    train_in_run,
)

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Prepared(Start):
    """What every process starts from.

    Attributes:
        keeps_marks: see `rewardkit.data.training_data.keeps_marks`.
        likelihood: that of the configuration, or what its `auto` stands for with these rows.
    """

    rows: TrainingRows
    held_out: TrainingRows
    likelihood: Likelihood
    keeps_marks: bool = True


@dataclass(frozen=True, kw_only=True)
class HeldOutRewards:
    """Rewards of the held-out pairs by the trained model.

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


def train_reward_model(context: RunContext[RewardConfig], loaded: Loaded | None) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued.

    Args:
        loaded: the first process's; None in the others, which only help to compute.

    Raises:
        ValueError: if the launcher asks for what is not supported.
    """
    config = context.config
    shards = sharding.is_launched_sharded(
        load_in_4bit=config.load_in_4bit, offload_activations=config.offload_activations
    )
    device = join_processes(context.run)
    prepared = prepare_in_first(context, lambda: prepare(context, loaded))
    results = train_prepared(context, prepared, prepared.rows, loaded, device, shards=shards)
    if results is not None:
        checkpoint_of(context.config).remove()
    return results


def train_prepared(
    context: RunContext[RewardConfig],
    prepared: Prepared,
    rows: TrainingRows,
    loaded: Loaded | None,
    device: torch.device,
    *,
    trunk: RewardConfig | None = None,
    shards: bool = False,
    show: Callable[[int, int, Mapping[str, float]], None] | None = None,
) -> Results | None:
    """Builds, trains, calibrates and saves one reward model; None where it was asked to stop, or in other processes.

    Args:
        rows: to train on.
        trunk: configuration that the trunk begins from, where it is another.
        shards: whether weights are sharded over the processes.
        show: told of every step; by default steps are shown as progress.
    """
    config, run = replace(context.config, likelihood=prepared.likelihood), context.run
    trunk = trunk or config
    classifier = build_classifier(trunk, prepared)
    adapted = None
    if config.mode == "lora" and not is_one_pass(config):
        adapted = add_adapters(classifier, rank=config.lora_rank, num_layers=config.lora_layers, seed=config.seed)
    scorer = build_scorer(config, classifier, num_criteria=len(prepared.rows.criteria))
    hold_weights(scorer, config, device)
    sharded = sharding.Sharded(scorer, device) if shards else None
    if not sharded:
        scorer.placed(device)
        collectives.broadcast_parameters(scorer.parameters())
    objective = make_objective(scorer, rows, prepared.held_out, config, sharded)
    batches = step_batches(objective.num_examples, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    trained = train_in_run(context, objective, batches, loop_options(config), show=show)
    if sharded and not trained.cancelled:
        read = partial(read_base, trunk, prepared) if is_held_narrow(config, device) else None
        saved = save_sharded(objective, adapted, prepared, trained, config, loaded, read)
        collectives.destroy_process_group()
        return saved
    collectives.destroy_process_group()
    if trained.cancelled or not run or not loaded:
        return None
    base = read_base(trunk, prepared) if is_held_narrow(config, device) else None
    if adapted is not None:
        base = merge_adapters(adapted, run.dir / "adapter", base=base)
    rewards = held_out_rewards(objective, prepared, config)
    calibration = calibrate(rewards, config)
    card = card_of(rewards, calibration, objective, prepared, config, loaded)
    save(scorer, prepared.tokenizer, card, run.dir, base=base)
    if adapted is not None:
        complete_adapters(scorer.classifier, run.dir / "adapter")  # now that the classifier has the trained head
    num_parameters = sum(p.numel() for p in scorer.classifier.parameters())
    return {"num_parameters": num_parameters} | results(rewards, calibration, prepared, trained)


def prepare(context: RunContext[RewardConfig], loaded: Loaded | None) -> Prepared:
    """Tokenizer and token rows; a tokenizer made here is kept in the run, so that a resumed run has the same.

    Raises:
        ValueError: if the model cannot be read, or the likelihood asks for what the data does not say.
    """
    config, run = context.config, context.run
    assert run is not None
    assert loaded is not None
    if (
        config.likelihood == "crowd"
        and config.mode != "head"
        and not any("reliability" in row.meta for row in loaded.train)
    ):
        raise ValueError("likelihood crowd needs a column reliability; mode head learns it from annotator")
    made_here = config.model in PRESETS
    if made_here:
        texts = (
            text
            for row in loaded.train
            for text in (*(message.content for message in row.prompt), row.chosen, row.rejected)
        )
        tokenizer = preset_tokenizer(run.dir, texts)
    else:
        tokenizer = read_tokenizer(config.model)
    positions = None if made_here else check_model(config.model)
    max_length = limited_length(config.max_length, positions)
    criteria = criterion_names(loaded.train) if config.criteria else ()
    if config.criteria and not criteria:
        raise ValueError("criteria asks for heads, but no row of the training data has judgments by criterion")
    marks = keeps_marks(run.dir)
    rows, held_out = (
        training_rows(side, tokenizer, max_length=max_length, criteria=criteria, keeps_marks=marks)
        for side in (loaded.train, loaded.held_out)
    )
    for name, side in (("to train on", rows), ("held out", held_out)):
        check_lengths(
            name,
            num_rows=len(side),
            num_cut=side.num_cut,
            num_left_out=side.num_identical,
            max_length=max_length,
            noun="conversations",
            num_in_all=2 * (len(side) + side.num_identical),
        )
    made = preset_config(config.model, tokenizer, max_length=max(2048, max_length)) if made_here else None
    return Prepared(
        tokenizer=tokenizer,
        rows=rows,
        held_out=held_out,
        model_config=made,
        max_length=max_length,
        keeps_marks=marks,
        likelihood=with_likelihood(config, loaded.train, context.progress).likelihood,
    )


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
        scorer.take_own_head()
        logger.info("the reward head of %s is trained further", config.model)
    return scorer


def held_out_rewards(objective: RewardObjective, prepared: Prepared, config: RewardConfig) -> HeldOutRewards:
    """Scores the held-out pairs; in every process, where there are several."""
    sides = score_rows(objective.network, prepared.held_out, config, objective.sharded)
    chosen, rejected = (side[: config.ensemble].numpy().astype(float) for side in sides)
    return HeldOutRewards(chosen=chosen, rejected=rejected, rows=prepared.held_out)


def calibrate(rewards: HeldOutRewards, config: RewardConfig) -> CalibrationFit:
    """Fits the configured calibration to the held-out pairs."""
    rows = rewards.rows
    return fit_calibration(
        rewards.chosen - rewards.rejected,
        rows.p_chosen.numpy(),
        rows.weight.numpy(),
        kind=config.calibration,
        prompt=rows.prompt.numpy(),
    )


def card_of(
    rewards: HeldOutRewards,
    calibration: CalibrationFit,
    objective: RewardObjective,
    prepared: Prepared,
    config: RewardConfig,
    loaded: Loaded,
) -> Card:
    """What is saved beside the model."""
    mean_rewards = rewards.chosen.mean(0)
    return Card(
        kind="lora" if is_one_pass(config) else "heads",
        num_members=config.ensemble,
        max_length=prepared.max_length,
        score_mean=float(mean_rewards.mean()),
        score_std=float(mean_rewards.std(ddof=1)) or 1.0,
        member_offsets=member_offsets(rewards.chosen),
        calibration=calibration.calibration,
        likelihood=likelihood_values(config, objective.extra),
        criteria=prepared.rows.criteria,
        data_hash=loaded.data_hash,
        keeps_marks=prepared.keeps_marks,
    )


def save_sharded(
    objective: RewardObjective,
    adapted: PeftModel | None,
    prepared: Prepared,
    trained: Trained,
    config: RewardConfig,
    loaded: Loaded | None,
    read: Callable[[], PreTrainedModel] | None,
) -> Results | None:
    """Calibrates and saves a model whose weights are sharded; every process takes part, the first one gets results.

    Args:
        read: reads the classifier that training began from, where it is held in fewer bits.
    """
    scorer, out_dir = objective.network, Path(config.out)
    rewards = held_out_rewards(objective, prepared, config)
    adapters = full_adapters(adapted) if adapted is not None else {}
    files = all_weights(scorer)
    flat = {f"{file}/{name}": weight for file, weights in files.items() for name, weight in weights.items()}
    with whole_on_disk(flat, out_dir) as whole:
        if not loaded:
            return None
        weights = {file: {name: whole[f"{file}/{name}"] for name in names} for file, names in files.items()}
        if read is not None:
            weights["model"] = in_full_width(weights["model"], scorer.classifier, read())
        calibration = calibrate(rewards, config)
        card = card_of(rewards, calibration, objective, prepared, config, loaded)
        model = save_weights_of(scorer, weights, prepared.tokenizer, card, out_dir)
        if adapted is not None:
            adapted.save_pretrained(str(out_dir / "adapter"), state_dict=adapters)
            complete_adapters(scorer.classifier, out_dir / "adapter", model)
        different = {id(weight): weight.numel() for weight in model.values()}
        return {"num_parameters": sum(different.values())} | results(rewards, calibration, prepared, trained)


def likelihood_values(config: RewardConfig, tie: TieParameter) -> dict[str, Any]:
    """The likelihood and its learned parameter, for the card."""
    match config.likelihood:
        case "rao_kupper":
            return {"name": "rao_kupper", "tie_threshold": float(torch.nn.functional.softplus(tie.raw.detach()))}
        case "davidson":
            return {"name": "davidson", "log_tie": float(tie.raw.detach())}
        case "auto" | "bradley_terry" | "crowd" | "plackett_luce":
            return {"name": config.likelihood}


def results(
    held_out: HeldOutRewards, calibration: CalibrationFit, prepared: Prepared, trained: Trained
) -> dict[str, Any]:
    """The run's results, plain values: how it ended, what was cut, and the held-out report."""
    rows = held_out.rows
    decided = (rows.p_chosen.numpy() > 0.5) & (rows.weight.numpy() > 0)
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


def read_tokenizer(model: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a saved model.

    Raises:
        ValueError: naming the model, if it has none that can be read.
    """
    try:
        return load_tokenizer(model)
    except OSError as error:
        raise ValueError(f"model {model!r} has no tokenizer that can be read: {error}") from error


def check_model(model: str) -> int | None:
    """How many tokens a saved model takes, where its configuration says so.

    Raises:
        ValueError: if it has no configuration that can be read.
    """
    try:
        return saved_positions(model)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model {model!r}, allowed are {', '.join(PRESETS)}, tfidf, a folder, a hub id: {error}"
        ) from error
