"""A training from the beginning to the end of its run: what reward models and policies share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from rewardkit.distributed import collectives
from rewardkit.distributed.bf16_trial import keep_through_run
from rewardkit.distributed.checkpoint import Checkpoint
from rewardkit.network.tokens import load_tokenizer, train_tokenizer
from rewardkit.run.directory import Run
from rewardkit.run.training_command import RunContext, RunOptions
from rewardkit.training.loop import LoopOptions, Objective, Trained, train

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)
T = TypeVar("T")
LEAST_ROWS = 2  # of each side


def join_processes(run: Run | None) -> torch.device:
    """Joins the other processes, if there are any, and silences transformers' progress bars; the device to use.

    Args:
        run: the first process's, which keeps what `precision: auto` means on a CPU.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    device = collectives.init_process_group()
    keep_through_run(run, device)
    return device


def prepare_in_first(context: RunContext[RunOptions], prepare: Callable[[], T]) -> T:
    """What the first process prepares, in every process."""
    prepared = collectives.broadcast_object(prepare() if context.run else None)
    assert prepared is not None
    return prepared


def checkpoint_of(config: RunOptions) -> Checkpoint:
    """The training state of a run."""
    return Checkpoint(Path(config.out) / "checkpoints")


def train_in_run(
    context: RunContext[RunOptions],
    objective: Objective,
    batches: Sequence[Sequence[int]],
    options: LoopOptions,
    *,
    show: Callable[[int, int, Mapping[str, float]], None] | None = None,
    evaluated: Callable[[int, int, bool], None] = lambda step, number, last: None,
) -> Trained:
    """Runs the loop with the checkpoints of a run; an interruption ends it after the step.

    Args:
        show, evaluated: see `rewardkit.training.loop.train`; by default steps are shown as progress.
    """
    checkpoint = checkpoint_of(context.config)
    checkpoint.check_base(objective.network)
    with context.interruption.patient():
        return train(
            objective,
            batches,
            options,
            context.run,
            checkpoint=checkpoint,
            cancelled=lambda: context.interruption.asked,
            show=show or context.progress.step,
            evaluated=evaluated,
        )


def preset_tokenizer(run_dir: Path, texts: Iterable[str]) -> PreTrainedTokenizerBase:
    """A tokenizer trained on texts and kept in the run, so that a resumed run has the same."""
    if not (run_dir / "tokenizer.json").exists():
        train_tokenizer(texts).save_pretrained(run_dir)
    return load_tokenizer(run_dir)


def check_lengths(
    name: str,
    *,
    num_rows: int,
    num_cut: int,
    num_left_out: int,
    max_length: int,
    noun: str = "rows",
    num_in_all: int = 0,
) -> None:
    """Warns of rows that `max_length` cut or emptied.

    Args:
        name: what the rows are for.
        num_rows: that are left.
        noun: of what was cut.
        num_in_all: of these there are; 0 is as many as rows.

    Raises:
        ValueError: if too few rows are left.
    """
    if num_cut:
        total = num_in_all or num_rows
        logger.warning("%d of %d %s %s are longer than %d tokens and were cut", num_cut, total, noun, name, max_length)
    if num_left_out:
        logger.warning("%d rows %s left out: cut, nothing is left to learn from", num_left_out, name)
    if num_rows < LEAST_ROWS:
        raise ValueError(f"{num_rows} rows {name}, at least {LEAST_ROWS} are needed")


def limited_length(max_length: int, positions: int | None) -> int:
    """The configured length in tokens, at most the positions of the model; warns where that is less."""
    length = min(max_length, positions or max_length)
    if length < max_length:
        logger.warning("max_length %d is more than the %d tokens the model takes", max_length, length)
    return length
