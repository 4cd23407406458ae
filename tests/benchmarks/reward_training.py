"""Reward-model training beside TRL 1.16: pairs per second and peak memory, from one run.

    python tests/benchmarks/reward_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra. What both sides share and how they are measured is told in `trl_race.py`. Ours is
`rewardkit.training.loop.train`, as the command runs it; TRL's is RewardTrainer.
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path

from trl_race import (
    LEARNING_RATE,
    Figures,
    conversational,
    offline_arguments,
    parser_of,
    race,
    shape_of,
    train_trl,
    write_figures,
    write_in_both_orders,
)

from rewardkit.config import RewardConfig


def main() -> None:
    """Prepares the work, runs both sides in turn, prints a table and writes every figure."""
    options = parser_of(__file__, __doc__, token_budget=RewardConfig.token_budget).parse_args()
    write_figures(options, race(__file__, options, prepare, {"ours": run_ours, "trl": run_trl}))


def prepare(options: argparse.Namespace, work: Path) -> list[float]:
    """Writes tokenizer, weights and pairs in the order in which both sides take them."""
    from rewardkit.data.preferences import read_preferences
    from rewardkit.network.classifier import RewardScorer, make_classifier
    from rewardkit.network.models import head_of
    from rewardkit.network.tokens import tokenise, train_tokenizer

    rows = read_preferences(options.data, on_bad_row="skip").rows
    tokenizer = train_tokenizer(
        text for row in rows for text in (*(turn.content for turn in row.prompt), row.chosen, row.rejected)
    )
    answers = [(row.chosen, row.rejected) for row in rows]
    tokens, _ = tokenise([row.prompt for row in rows], answers, tokenizer, max_length=10**6)
    fits = [max(len(each.prompt) + len(branch) for branch in each.branches) <= options.max_length for each in tokens]
    count = options.steps * options.batch_size
    kept = [row for row, fit in zip(rows, fits, strict=True) if fit][:count]
    assert len(kept) == count, f"{len(kept)} pairs fit, {count} are needed"
    classifier = make_classifier(shape_of(options.model, tokenizer), seed=0)
    head_of(classifier).weight.data.copy_(RewardScorer(classifier).heads.data)
    classifier.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    write_in_both_orders(work, [conversational(row) for row in kept], options.batch_size)
    return [float(options.batch_size)] * options.steps


def run_ours(options: argparse.Namespace, work: Path) -> Figures:
    """The training loop of `rewardkit train`."""
    from rewardkit.run.training_command import keep_large_buffers

    keep_large_buffers()
    import torch

    torch.set_num_threads(options.threads)

    from rewardkit.data.preferences import read_preferences
    from rewardkit.distributed.checkpoint import Checkpoint
    from rewardkit.distributed.collectives import default_device
    from rewardkit.network.classifier import RewardScorer, load_classifier
    from rewardkit.network.models import head_of
    from rewardkit.network.tokens import load_tokenizer
    from rewardkit.run.directory import Run, read_metrics
    from rewardkit.training.loop import step_batches, train
    from rewardkit.training.reward_objective import RewardObjective, loop_options
    from rewardkit.training.rows import training_rows

    config = RewardConfig(
        model=str(work / "model"),
        data=str(work / "ours.jsonl"),
        out=str(work / f"run-{os.getpid()}"),
        batch_size=options.batch_size,
        token_budget=options.token_budget,
        max_length=options.max_length,
        learning_rate=LEARNING_RATE,
        precision=options.precision[0],
        eval_every=10**6,
    )
    tokenizer = load_tokenizer(config.model)
    preferences = read_preferences(config.data).rows
    rows = training_rows(preferences, tokenizer, max_length=config.max_length)
    held_out = training_rows(preferences[:2], tokenizer, max_length=config.max_length)
    scorer = RewardScorer(load_classifier(config.model, tokenizer, dtype=torch.float32))
    scorer.heads.data.copy_(head_of(scorer.classifier).weight.data)
    scorer.placed(default_device())
    run = Run(config.out, config)
    cpu = [time.process_time()]
    train(
        RewardObjective(scorer, rows, held_out, config),
        step_batches(len(rows), batch_size=config.batch_size, epochs=config.epochs, seed=config.seed),
        loop_options(config),
        run,
        checkpoint=Checkpoint(run.dir / "checkpoints"),
        show=lambda step, num_steps, metrics: cpu.append(time.process_time()),
    )
    logged = list(read_metrics(run.dir))
    return {
        "step_s": [row["time/step_s"] for row in logged],
        "cpu_s": [after - before for before, after in pairwise(cpu)],
        "losses": [row["loss"] for row in logged],
        "tokens": sum(row.num_tokens for row in rows.rows),
    }


def run_trl(options: argparse.Namespace, work: Path) -> Figures:
    """TRL's RewardTrainer."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl import RewardConfig as TrlConfig
    from trl import RewardTrainer

    def make_trainer(rows):
        return RewardTrainer(
            model=AutoModelForSequenceClassification.from_pretrained(work / "model", dtype=torch.float32),
            args=TrlConfig(**offline_arguments(options, work)),
            train_dataset=rows,
            processing_class=AutoTokenizer.from_pretrained(work / "model"),
        )

    return train_trl(make_trainer, options, work)


if __name__ == "__main__":
    main()
