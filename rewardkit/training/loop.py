"""The loop of every training on fixed rows (reward models, SFT, DPO, KTO); what is trained is an `Objective`.

1. A step is normalised by its whole batch, so micro-batches and processes never change it.
2. Nothing in it is random but the order of rows, which seed and epoch decide: a resumed run takes the same steps.
3. Numbers leave the device once a step.

Trainings on a policy's own samples have a loop of their own; both share `rewardkit.training.steps`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor

from rewardkit.config import OptimizerName, TrainedWeights
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint, TrainingState, write_aside
from rewardkit.distributed.optimization import adamw
from rewardkit.network import router_loss
from rewardkit.network.packed_rows import divide, epoch_order, token_budget_batches
from rewardkit.run.directory import Run
from rewardkit.training.steps import Part, begin_run, is_due, means, optimizer_step, set_learning_rate


@dataclass(frozen=True, kw_only=True)
class MicroBatch:
    """Some rows of a batch.

    Attributes:
        places: of the rows in the batch.
        share: 1.0; 0.0 where a process only computes along with the others, and its rows are counted elsewhere.
    """

    places: list[int]
    share: float = 1.0


def micro_batches(lengths: Sequence[int], *, token_budget: int, equally_many: bool = False) -> list[MicroBatch]:
    """This process's share of rows of the given lengths, divided by tokens.

    Args:
        equally_many: whether all processes need equally many, as sharded weights do; the shortest row then fills up.
    """
    shares = divide(lengths, collectives.world_size())

    def batches(share: Sequence[int]) -> list[MicroBatch]:
        micros = token_budget_batches([lengths[index] for index in share], token_budget=token_budget)
        return [MicroBatch(places=[share[index] for index in micro]) for micro in micros]

    own = batches(shares[collectives.rank()])
    if not equally_many:
        return own
    shortest = min(range(len(lengths)), key=lengths.__getitem__)
    most = max(len(batches(share)) for share in shares)
    return own + [MicroBatch(places=[shortest], share=0.0)] * (most - len(own))


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """An evaluation of held-out rows.

    Attributes:
        loss: the number whose lowest value is the best evaluation.
        metrics: logged under `eval/`.
    """

    loss: float
    metrics: Mapping[str, float]


class Objective(Protocol):
    """What is trained, by a loss that is a sum over rows, divided by a total over the whole batch.

    Attributes:
        names: of the M metrics of a step, besides its loss.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def network(self) -> torch.nn.Module: ...

    @property
    def extra(self) -> torch.nn.Module:
        """What is trained or kept besides the network; an empty module without."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def is_sharded(self) -> bool: ...

    def parameter_groups(self) -> Sequence[tuple[Sequence[torch.nn.Parameter], float]]:
        """Trained parameters, each group with its weight decay."""
        ...

    def num_tokens(self, batch: Sequence[int]) -> int:
        """Tokens of a batch, for the log."""
        ...

    def micro_batches(self, batch: Sequence[int]) -> list[MicroBatch]: ...

    def total(self, batch: Sequence[int]) -> float:
        """What the sum of losses of a batch is divided by."""
        ...

    def prepare(self, batch: Sequence[int]) -> Tensor | None:
        """What the micro-batches need of their whole batch; called in every process."""
        ...

    def part(self, indices: Sequence[int], prepared: Tensor | None, *, measures: bool) -> Part:
        """Loss and metrics of some rows; with `measures` also those that the loss does not need."""
        ...

    def evaluate(self) -> HeldOut:
        """Evaluates the held-out rows; called in every process, with the same result."""
        ...


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """The numbers of the loop.

    Attributes:
        learning_rate: the peak.
        eval_every: steps between evaluations; 0 makes ten.
        checkpoint_every: steps between checkpoints; 0 writes one at each evaluation.
        measures_every: steps between measurements of what the loss does not need; 0 leaves them out.
        patience: evaluations without a lower held-out loss before training stops; 0 never stops early.
        keep: which weights are left in the network at the end.
        optimizer, trained_weights, seed: of `rewardkit.distributed.optimization.adamw`.
    """

    learning_rate: float
    warmup_share: float
    max_grad_norm: float
    eval_every: int
    checkpoint_every: int
    measures_every: int = 0
    patience: int = 0
    keep: Literal["best", "last"] = "best"
    optimizer: OptimizerName = "adamw"
    trained_weights: TrainedWeights = "fp32"
    seed: int = 0

    def is_out_of_patience(self, state: TrainingState) -> bool:
        """Whether so many evaluations brought nothing that training stops."""
        return bool(self.patience) and state.num_without_gain >= self.patience


@dataclass(frozen=True, kw_only=True)
class Trained:
    """How a training ended.

    Attributes:
        num_steps: optimizer steps taken.
        best_step, best_loss: the evaluation with the lowest held-out loss.
        stopped_early: whether patience ran out.
        cancelled: whether it was asked to stop; its last checkpoint continues it.
        held_out: of the weights that are left in the network; None where these were not evaluated last.
    """

    num_steps: int
    best_step: int
    best_loss: float
    stopped_early: bool
    cancelled: bool
    held_out: HeldOut | None = None


def train(
    objective: Objective,
    batches: Sequence[Sequence[int]],
    options: LoopOptions,
    run: Run | None,
    *,
    checkpoint: Checkpoint,
    cancelled: Callable[[], bool] = lambda: False,
    show: Callable[[int, int, Mapping[str, float]], None] = lambda step, num_steps, metrics: None,
    evaluated: Callable[[int, int, bool], None] = lambda step, number, last: None,
) -> Trained:
    """Trains in place and leaves the weights that `options.keep` asks for in the network.

    Args:
        batches: the rows of every step.
        run: where metrics go; None in all processes but the first, which write nothing.
        checkpoint: where training state is kept; one that holds a state is continued from it.
        cancelled: asked after every step.
        show: told of every step, how many there are, and its metrics.
        evaluated: told of every evaluation, its step, its number and whether it is the last; for samples. Called where
            `run` is given; with sharded weights in every process.

    Raises:
        FloatingPointError: if loss or gradient is not finite; the batch is noted beside the checkpoint.
    """
    network, extra, num_steps = objective.network, objective.extra, len(batches)
    writes = run is not None or objective.is_sharded
    optimizer = adamw(
        objective.parameter_groups(),
        options.learning_rate,
        optimizer=options.optimizer,
        trained_weights=options.trained_weights,
        seed=options.seed,
    )
    eval_every = options.eval_every or max(1, num_steps // 10)
    state = checkpoint.restore(network, extra, optimizer, needs_best=options.keep == "best")
    begin_run(run, step=state.step, num_steps=num_steps)
    num_tokens = sum(objective.num_tokens(batch) for batch in batches[: state.step])
    network.train()
    stopped_early, stop_asked, held_out = options.is_out_of_patience(state), False, None
    while state.step < num_steps and not stopped_early and not stop_asked:
        started = time.perf_counter()
        batch, step = batches[state.step], state.step + 1
        metrics = _take_step(
            objective,
            batch,
            optimizer,
            options,
            step=step,
            num_steps=num_steps,
            checkpoint_dir=checkpoint.dir if run else None,
        )
        batch_tokens = objective.num_tokens(batch)
        num_tokens += batch_tokens
        metrics |= {"num_tokens": num_tokens, "time/step_s": time.perf_counter() - started}
        metrics["tokens_per_s"] = batch_tokens / metrics["time/step_s"]
        state = state.after_step()
        last = step == num_steps
        if step % eval_every == 0 or last:
            held_out = objective.evaluate()
            metrics |= {f"eval/{name}": value for name, value in held_out.metrics.items()}
            state = state.after_evaluation(held_out.loss)
            stopped_early = options.is_out_of_patience(state) and not last
            if writes:
                evaluated(step, math.ceil(step / eval_every), last)
                if options.keep == "best" and state.best_step == step:
                    checkpoint.write_best(step, network, extra)
        stop_asked = collectives.any_true(cancelled(), objective.device) and not last
        if run:
            run.log(step, metrics)
            run.status(step=step)
            show(step, num_steps, metrics)
        if writes and (stopped_early or stop_asked or last or step % (options.checkpoint_every or eval_every) == 0):
            checkpoint.write(state, network, extra, optimizer)
    if options.keep == "best" and not stop_asked:
        _load_best(objective, checkpoint, state, writes=writes)
    is_left = options.keep == "last" or state.best_step == state.step
    return Trained(
        num_steps=state.step,
        best_step=state.best_step,
        best_loss=state.best_nll,
        stopped_early=stopped_early,
        cancelled=stop_asked,
        held_out=held_out if is_left else None,
    )


def _take_step(
    objective: Objective,
    batch: Sequence[int],
    optimizer: torch.optim.Optimizer,
    options: LoopOptions,
    *,
    step: int,
    num_steps: int,
    checkpoint_dir: Path | None,
) -> dict[str, float]:
    """Takes one optimizer step; its metrics."""
    rate = set_learning_rate(
        optimizer, options.learning_rate, step=step, num_steps=num_steps, warmup_share=options.warmup_share
    )
    sums = sum_parts(objective, batch, measures=is_due(step, options.measures_every), learns=True)
    try:
        stepped = optimizer_step(optimizer, sums, max_grad_norm=options.max_grad_norm)
    except FloatingPointError as error:
        noted = f", batch noted in {write_aside(checkpoint_dir, step, batch)}" if checkpoint_dir else ""
        raise FloatingPointError(f"step {step}: {error}{noted}") from error
    extra_names = (router_loss.METRIC,) if router_loss.has_router_loss(objective.network) else ()
    metrics = means(("loss", *objective.names, *extra_names), stepped.sums)
    return metrics | {"grad_norm": stepped.grad_norm, "learning_rate": rate}


def sum_parts(objective: Objective, batch: Sequence[int], *, measures: bool, learns: bool) -> Tensor:
    """Computes this process's part of a batch, micro-batch by micro-batch; with `learns` adds its gradient.

    Returns:
        (2, 1 + M): weighted sums and weights of the loss and the objective's metrics; with `learns` and a network that
        balances its experts also of that loss.
    """
    total, prepared = objective.total(batch), objective.prepare(batch)
    balances = learns and router_loss.has_router_loss(objective.network)
    sums = torch.zeros(2, 1 + len(objective.names) + balances, device=objective.device)
    for micro in objective.micro_batches(batch):
        with router_loss.router_losses() as auxiliary:
            part = objective.part([batch[index] for index in micro.places], prepared, measures=measures)
        if balances:
            num_rows = len(micro.places)
            part = part.with_router_loss(auxiliary, num_rows=num_rows, share=total * num_rows / len(batch))
        if learns:
            (part.loss * micro.share / total).backward()
        sums += part.columns() * micro.share
    if collectives.rank() == 0:
        sums[1, 0] = total
    return sums


def _load_best(objective: Objective, checkpoint: Checkpoint, state: TrainingState, *, writes: bool) -> None:
    """Loads the weights of the best evaluation in every process."""
    if writes:
        checkpoint.load_best(state, objective.network, objective.extra)
    if not objective.is_sharded:
        collectives.broadcast_parameters([*objective.network.parameters(), *objective.extra.parameters()])


def step_batches(num_rows: int, *, batch_size: int, epochs: int, seed: int, max_steps: int = 0) -> list[list[int]]:
    """The rows of every step: `epochs` passes over them, or as many as `max_steps` takes."""

    def endless() -> Iterator[list[int]]:
        for epoch in count():
            if not max_steps and epoch == epochs:
                return
            yield from epoch_order(num_rows, batch_size=batch_size, seed=seed, epoch=epoch)

    batches = endless()
    return [next(batches) for _ in range(max_steps)] if max_steps else list(batches)
