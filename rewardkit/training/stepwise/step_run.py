"""One run from answers in steps to a saved process reward model: tokens, weights, training, calibration, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.config import RewardConfig
from rewardkit.data.stepwise.stepped_answer import SEPARATOR, SteppedAnswer
from rewardkit.data.training_data import LoadedRows
from rewardkit.distributed import collectives, sharding
from rewardkit.evaluation.steps import ScoredSteps, evaluate_steps, fit_step_calibration
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.models import (
    PRESETS,
    add_adapters,
    complete_adapters,
    merge_adapters,
    preset_config,
)
from rewardkit.reward.metadata import Card
from rewardkit.reward.process_reward import save_process_reward, two_labels
from rewardkit.reward.step_rewards import aggregate
from rewardkit.run.training_command import Results, RunContext
from rewardkit.stats.calibration import CalibrationFit
from rewardkit.training.loop import Trained, step_batches
from rewardkit.training.reward_objective import loop_options
from rewardkit.training.reward_run import check_model, read_tokenizer
from rewardkit.training.starting_weights import Start, build_classifier, hold_weights, is_held_narrow, read_base
from rewardkit.training.stepwise.step_objective import (
    StepObjective,
    StepTrainingRows,
    held_out_logits,
    step_training_rows,
)
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
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

LoadedAnswers = LoadedRows[SteppedAnswer]


@dataclass(frozen=True, kw_only=True)
class PreparedSteps(Start):
    """What every process starts from."""

    rows: StepTrainingRows
    held_out: StepTrainingRows


def check_options(config: RewardConfig) -> None:
    """Refuses what is said of pairs, and what process reward models do not have.

    Raises:
        ValueError: naming the option.
    """
    if config.mode == "head":
        raise ValueError("answers in steps train modes full and lora, not a head on fixed features")
    if config.ensemble > 1 and config.members == "lora":
        raise ValueError(
            "members is lora, a process reward model has heads or full: full with mode lora gives each an adapter"
        )
    if config.likelihood not in ("auto", "bradley_terry"):
        raise ValueError(f"likelihood is {config.likelihood}, which is one of pairs: leave it out for answers in steps")
    for name in ("criteria", "use_margin", "centring"):
        if getattr(config, name):
            raise ValueError(f"{name} is {getattr(config, name)}, which is one of pairs: leave it out")
    if config.calibration == "isotonic":
        raise ValueError("calibration isotonic is one of pairs: answers in steps take temperature or none")


def train_process_reward(context: RunContext[RewardConfig], loaded: LoadedAnswers | None) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued.

    Args:
        loaded: the first process's; None in the others, which only help to compute.

    Raises:
        ValueError: if an option does not go with answers in steps.
    """
    config, run = context.config, context.run
    check_options(config)
    if sharding.is_launched_sharded(load_in_4bit=config.load_in_4bit, offload_activations=config.offload_activations):
        raise ValueError("process reward models train with whole weights in every process: launch without FSDP")
    device = join_processes(run)
    prepared = prepare_in_first(context, lambda: prepare(context, loaded))
    results = train_prepared(context, prepared, loaded, device)
    if results is not None:
        checkpoint_of(config).remove()
    return results


def train_prepared(
    context: RunContext[RewardConfig],
    prepared: PreparedSteps,
    loaded: LoadedAnswers | None,
    device: torch.device,
    *,
    trunk: RewardConfig | None = None,
    weights: torch.Tensor | None = None,
    show: Callable[[int, int, Mapping[str, float]], None] | None = None,
) -> Results | None:
    """Builds, trains, calibrates and saves one process reward model; None where it was asked to stop.

    Args:
        trunk: configuration that the trunk begins from, where it is another.
        weights: (K, R) how often each member sees each row; without them those of the configuration.
        show: told of every step; by default steps are shown as progress.
    """
    config, run = context.config, context.run
    trunk = trunk or config
    classifier = build_classifier(trunk, prepared, per_token=True)
    adapted = None
    if config.mode == "lora":
        adapted = add_adapters(classifier, rank=config.lora_rank, num_layers=config.lora_layers, seed=config.seed)
    scorer = RewardScorer(classifier, num_members=config.ensemble, seed=config.seed, trains_bias=True)
    if config.ensemble == 1 and getattr(classifier, "has_own_head", False):
        scorer.take_own_head()
    hold_weights(scorer, config, device)
    scorer.placed(device)
    collectives.broadcast_parameters(scorer.parameters())
    objective = StepObjective(scorer, prepared.rows, prepared.held_out, config, weights)
    batches = step_batches(objective.num_examples, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    trained = train_in_run(context, objective, batches, loop_options(config), show=show)
    collectives.destroy_process_group()
    if trained.cancelled or not run or not loaded:
        return None
    base = read_base(trunk, prepared, per_token=True) if is_held_narrow(config, device) else None
    return _finish(objective, adapted, base, prepared, trained, context, loaded)


def prepare(context: RunContext[RewardConfig], loaded: LoadedAnswers | None) -> PreparedSteps:
    """Tokenizer and token rows; a tokenizer made here is kept in the run, so that a resumed run has the same.

    Raises:
        ValueError: if the model cannot be read, or a side has nothing to learn from.
    """
    config, run = context.config, context.run
    assert run is not None
    assert loaded is not None
    made_here = config.model in PRESETS
    if made_here:
        texts = (text for row in loaded.train for text in (*(message.content for message in row.prompt), row.answer()))
        tokenizer = preset_tokenizer(run.dir, texts)
    else:
        tokenizer = read_tokenizer(config.model)
    max_length = limited_length(config.max_length, None if made_here else check_model(config.model))
    rows, held_out = (
        step_training_rows(side, tokenizer, max_length=max_length) for side in (loaded.train, loaded.held_out)
    )
    for name, side in (("to train on", rows), ("held out", held_out)):
        check_lengths(
            name,
            num_rows=len(side.answers),
            num_cut=side.num_cut,
            num_left_out=0,
            max_length=max_length,
            noun="answers",
        )
    made = preset_config(config.model, tokenizer, max_length=max(2048, max_length)) if made_here else None
    return PreparedSteps(tokenizer=tokenizer, rows=rows, held_out=held_out, model_config=made, max_length=max_length)


def _finish(
    objective: StepObjective,
    adapted: PeftModel | None,
    base: PreTrainedModel | None,
    prepared: PreparedSteps,
    trained: Trained,
    context: RunContext[RewardConfig],
    loaded: LoadedAnswers,
) -> Results:
    """Calibrates on the held-out steps and saves."""
    config, scorer, out_dir = context.config, objective.network, Path(context.config.out)
    if adapted is not None:
        base = merge_adapters(adapted, out_dir / "adapter", base=base)
    logits = held_out_logits(scorer, prepared.held_out, config)
    card, calibrated = card_of(logits, prepared, config, loaded)
    save_process_reward(scorer, prepared.tokenizer, card, out_dir, base=base)
    if adapted is not None:
        with two_labels(scorer.classifier):
            complete_adapters(scorer.classifier, out_dir / "adapter", task="TOKEN_CLS")
    num_parameters = sum(parameter.numel() for parameter in scorer.classifier.parameters())
    return {"num_parameters": num_parameters} | results_of(calibrated, prepared, trained, config)


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """The held-out steps with calibrated probabilities, and how these were fitted."""

    scored: ScoredSteps
    fit: CalibrationFit


def card_of(
    logits: Sequence[np.ndarray], prepared: PreparedSteps, config: RewardConfig, loaded: LoadedAnswers
) -> tuple[Card, Calibrated]:
    """What is saved beside a model with these logits of the held-out answers, each (K, S)."""
    answers = prepared.held_out.answers
    fit = fit_step_calibration(answers, logits, kind=config.calibration)
    scored = ScoredSteps.of(answers, logits, fit.calibration)
    rewards = np.array([aggregate(one.members.mean(0), "min") for one in scored.rewards])
    card = Card(
        kind="steps",
        num_members=config.ensemble,
        max_length=prepared.max_length,
        keeps_marks=True,
        score_mean=float(rewards.mean()),
        score_std=float(rewards.std(ddof=1)) or 1.0,
        likelihood={"name": "steps"},
        steps={"separator": SEPARATOR, "plain_prompt": False, "calibration": fit.calibration},
        data_hash=loaded.data_hash,
    )
    return card, Calibrated(scored=scored, fit=fit)


def results_of(
    calibrated: Calibrated, prepared: PreparedSteps, trained: Trained, config: RewardConfig
) -> dict[str, Any]:
    """The run's results, plain values: how it ended, what was cut, and the held-out report."""
    evaluation, fit = evaluate_steps(calibrated.scored, seed=config.seed), calibrated.fit
    values: dict[str, Any] = {
        "num_steps": trained.num_steps,
        "best_step": trained.best_step,
        "stopped_early": trained.stopped_early,
        "num_train": len(prepared.rows.answers),
        "num_held_out": len(prepared.held_out.answers),
        "num_unjudged_answers": prepared.rows.num_unjudged + prepared.held_out.num_unjudged,
        "num_judged_steps": sum(answer.num_judged for answer in prepared.rows.answers),
        "max_length": prepared.max_length,
        "num_answers_cut": prepared.rows.num_cut + prepared.held_out.num_cut,
        "accuracy": evaluation.accuracy.value,
        "accuracy_interval": [evaluation.accuracy.low, evaluation.accuracy.high],
        "first_error_accuracy": evaluation.first_error.value,
        "nll": fit.before.nll,
        "calibration": fit.results(),
    }
    return {name: value for name, value in values.items() if value == value}
