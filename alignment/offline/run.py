"""One run from data to a saved policy: tokens, weights, reference, training, samples, model card.

For every algorithm on fixed rows; the data is read by `alignment.policy.data`, the loop is `rewardkit.training.loop`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic

from alignment.config.training import DpoConfig, PolicyConfig, PreferenceConfig, TrainingConfig
from alignment.offline.objective import PolicyObjective, RowLoss, loop_options
from alignment.policy.policy import Policy, build_policy, check_model, prepare_tokenizer
from alignment.policy.policy_forward import Forward, place
from alignment.policy.publishing import open_tracker, push_to_hub, write_model_card
from alignment.policy.reference import LiveReference, with_reference
from alignment.policy.rows import PolicyRows
from alignment.rollouts.training_samples import draw_samples, write_samples
from rewardkit.data.splitting import Row
from rewardkit.data.training_data import LoadedRows, keeps_marks
from rewardkit.distributed import collectives, sharding
from rewardkit.run.directory import Run
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.loop import HeldOut, Trained, step_batches
from rewardkit.training.training_run import (
    check_lengths,
    checkpoint_of,
    join_processes,
    limited_length,
    prepare_in_first,
    train_in_run,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

SMALL = 100_000_000  # parameters, below which a model takes the learning rate of a small one


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """Default peak learning rates: for a small model, a larger one's adapters, and all weights of a larger one.

    The rates of papers are for models of billions of weights; one of a few millions would hardly move by them.
    """

    small: float
    lora: float
    full: float

    def peak(self, config: PolicyConfig, num_parameters: int) -> float:
        """Returns the configured learning rate, or the default for the model's size and whether it trains adapters."""
        if config.learning_rate:
            return config.learning_rate
        if num_parameters < SMALL:
            return self.small
        return self.lora if config.lora else self.full


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[Row]):
    """What one algorithm contributes to a run.

    Attributes:
        method: for people.
        texts: of a row, for a tokenizer that is trained on them.
        tokenise: makes token rows; is given rows, tokenizer, `max_length` and `keeps_marks`.
        loss: its loss; is given the policy's forward, and the reference where that is live.
        needs_reference: whether the loss asks for log-probabilities of a reference.
    """

    method: str
    texts: Callable[[Row], Iterable[str]]
    tokenise: Callable[..., PolicyRows]
    loss: Callable[[Forward, LiveReference | None], RowLoss]
    learning_rates: LearningRates
    needs_reference: bool


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What every process starts from; `max_length` is at most what the model takes."""

    tokenizer: PreTrainedTokenizerBase
    rows: PolicyRows
    held_out: PolicyRows
    max_length: int


def train_policy(
    context: RunContext[TrainingConfig], loaded: LoadedRows[Row] | None, recipe: Recipe[Row]
) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued.

    Args:
        loaded: the first process's; None in the others, which only help to compute.
    """
    config, run = context.config, context.run
    shards = shards_weights(config)
    tracker = open_tracker(config, run)
    device = join_processes(run)
    prepared = prepare_in_first(context, lambda: prepare(context, loaded, recipe))
    policy = build_policy(config, prepared.tokenizer, max_length=prepared.max_length, device=device)
    forward, live = policy_and_reference(policy, config, device, needs_reference=recipe.needs_reference, shards=shards)
    if recipe.needs_reference and isinstance(config, PreferenceConfig) and not live:
        prepared = with_precomputed(prepared, config, forward, is_first=run is not None)
    objective = PolicyObjective(
        forward=forward,
        loss=recipe.loss(forward, live),
        rows=prepared.rows,
        held_out=prepared.held_out,
        weight_decay=config.weight_decay,
    )

    def show(step: int, num_steps: int, metrics: Mapping[str, float]) -> None:
        context.progress.step(step, num_steps, metrics)
        tracker.log(metrics, step)

    def evaluated(step: int, number: int, last: bool) -> None:
        if config.sample_every and (last or number % config.sample_every == 0):
            draw = partial(draw_samples, policy, prepared.held_out.prompts, step=step, seed=config.seed)
            lines = forward.sharded.in_step(draw) if forward.sharded else draw()
            if run:
                write_samples(run.dir, lines, step=step)

    trained = train_in_run(
        context,
        objective,
        batches_of(len(prepared.rows), config),
        loop_options(config, learning_rate=recipe.learning_rates.peak(config, policy.network.num_parameters())),
        show=show,
        evaluated=evaluated,
    )
    held_out = trained.held_out
    if held_out is None and not trained.cancelled:
        held_out = objective.evaluate()
    if shards and not trained.cancelled:
        policy.save(Path(config.out))
    collectives.destroy_process_group()
    tracker.finish()
    if held_out is None or trained.cancelled or not run or not loaded:
        return None
    results = results_of(trained, held_out, prepared, policy)
    if not shards:
        policy.save(run.dir)
    finish(config, run, loaded, recipe.method, results)
    checkpoint_of(config).remove()
    return results


def batches_of(num_rows: int, config: TrainingConfig) -> list[list[int]]:
    """Returns the row numbers of every step."""
    return step_batches(
        num_rows, batch_size=config.batch_size, epochs=config.epochs, seed=config.seed, max_steps=config.max_steps
    )


def policy_and_reference(
    policy: Policy, config: TrainingConfig, device: torch.device, *, needs_reference: bool, shards: bool
) -> tuple[Forward, LiveReference | None]:
    """Brings the weights to the device, sharded where that is asked for.

    Returns:
        The policy's forward, and a live reference where the configuration asks for one.
    """
    forward = place(policy, config, device, will_be_sharded=shards)
    if isinstance(config, DpoConfig):
        forward = replace(forward, ld_alpha=config.ld_alpha)
    live = None
    if needs_reference and isinstance(config, PreferenceConfig) and config.reference == "live":
        live = LiveReference(policy, forward)  # before the weights are sharded, which could not be copied
    if shards:
        forward = forward.shard(device)
        if live:
            live.shard(forward)
    return forward, live


def finish(
    config: TrainingConfig,
    run: Run,
    loaded: LoadedRows[Row],
    method: str,
    results: Mapping[str, Any],
) -> None:
    """Writes the card of a saved model into the run, and uploads both where that is asked for."""
    data = f"{loaded.description}\n\nSHA-256 of the rows in their order: `{loaded.data_hash}`"
    write_model_card(run.dir, config, method, data=data, results=results)
    push_to_hub(config, run.dir)


def with_precomputed(prepared: Prepared, config: PreferenceConfig, forward: Forward, *, is_first: bool) -> Prepared:
    """Adds the reference's log-probabilities to the rows."""
    cache_dir = Path(config.reference_cache or Path(config.out) / "reference")
    rows, held_out = with_reference(
        prepared.rows, prepared.held_out, forward=forward, cache_dir=cache_dir, is_first=is_first
    )
    return replace(prepared, rows=rows, held_out=held_out)


def prepare(context: RunContext[TrainingConfig], loaded: LoadedRows[Row] | None, recipe: Recipe[Row]) -> Prepared:
    """Builds the tokenizer and the token rows.

    Raises:
        ValueError: if the model cannot be read, or too few rows are left.
    """
    config, run = context.config, context.run
    assert run is not None
    assert loaded is not None
    positions = check_model(config.model)
    texts = (text for row in loaded.train for text in recipe.texts(row))
    tokenizer = prepare_tokenizer(config, run.dir, texts)
    max_length = limited_length(config.max_length, positions)
    marks = keeps_marks(run.dir)
    rows, held_out = (
        recipe.tokenise(side, tokenizer, max_length=max_length, keeps_marks=marks)
        for side in (loaded.train, loaded.held_out)
    )
    for name, side in (("to train on", rows), ("held out", held_out)):
        check_lengths(
            name,
            num_rows=len(side),
            num_cut=side.num_cut,
            num_left_out=side.num_left_out,
            max_length=max_length,
            num_in_all=len(side) + side.num_left_out,
        )
    return Prepared(tokenizer=tokenizer, rows=rows, held_out=held_out, max_length=max_length)


def shards_weights(config: PolicyConfig) -> bool:
    """Whether the launcher asks for sharded weights.

    Raises:
        ValueError: if it asks for something that is not supported, or the weights are quantised.
    """
    return sharding.is_launched_sharded(
        load_in_4bit=config.load_in_4bit, offload_activations=config.offload_activations
    )


def results_of(trained: Trained, held_out: HeldOut, prepared: Prepared, policy: Policy) -> dict[str, Any]:
    """Collects the run's results as plain values: how it ended, what was cut, and the held-out evaluation."""
    rows, held_out_rows = prepared.rows, prepared.held_out
    return {
        "num_steps": trained.num_steps,
        "best_step": trained.best_step,
        "num_train": len(rows),
        "num_held_out": len(held_out_rows),
        "max_length": prepared.max_length,
        "num_rows_cut": rows.num_cut + held_out_rows.num_cut,
        "num_rows_left_out": rows.num_left_out + held_out_rows.num_left_out,
        "num_parameters": sum(p.numel() for p in policy.network.parameters()),
        "num_trained_parameters": sum(p.numel() for p in policy.network.parameters() if p.requires_grad),
        **{f"eval/{name}": value for name, value in held_out.metrics.items()},
    }
