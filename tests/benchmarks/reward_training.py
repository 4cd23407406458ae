"""Reward-model training beside TRL 1.16: pairs per second and peak memory, from one run.

    python tests/benchmarks/reward_training.py --data ../shared/data/hh_helpful_base_train.jsonl.gz

Needs the [bench] extra. Both sides start from the same weights of the preset, take the same pairs in the same order by
the same AdamW, learning rates and clipping, and are run as processes of their own, in turn. Times are those of whole
optimizer steps, the warm-up left out: wall seconds, and CPU seconds, which other load on the machine changes little
(with --threads 1 the fairer ones there). Memory is the peak resident set of the process, start-up, tokenising and all.
Ours is `rewardkit.train.train`, as the command runs it; TRL's is RewardTrainer without gradient checkpointing (its
default, which is slower), in bf16 by its own autocast.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from rewardkit.config import RewardConfig

LEARNING_RATE = 1e-4
SIDES = ("ours", "trl")


def main() -> None:
    """Prepares the work, runs both sides in turn, prints a table and writes every figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="preference file")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--batch-size", type=int, default=8, help="pairs per step")
    budget = RewardConfig.token_budget
    parser.add_argument("--token-budget", type=int, default=budget, help="ours: tokens per micro-batch")
    parser.add_argument("--max-length", type=int, default=512, help="longer conversations are left out, as TRL does")
    parser.add_argument("--steps", type=int, default=13, help="per process")
    parser.add_argument("--warm-up", type=int, default=3, help="first steps that are not counted")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side and precision")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run = run_ours if options.side == "ours" else run_trl
        print(json.dumps(run(options, Path(options.work))))
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(options, Path(folder))
        figures = [
            {"precision": precision, "side": side} | run_side(options, precision, side, folder)
            for precision in options.precision
            for repeat in range(options.repeats)
            for side in (SIDES if repeat % 2 == 0 else SIDES[::-1])
        ]
    for precision in options.precision:
        print(report([row for row in figures if row["precision"] == precision], options))
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": figures}, indent=1))


def prepare(options: argparse.Namespace, work: Path) -> None:
    """Writes tokenizer, weights and pairs in the order in which both sides take them."""
    from rewardkit.batch import epoch_order
    from rewardkit.model import RewardScorer, head_of, make_classifier, preset_config
    from rewardkit.preferences import read_preferences
    from rewardkit.tokens import tokenise, train_tokenizer

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
    classifier = make_classifier(preset_config(options.model, tokenizer), seed=0)
    head_of(classifier).weight.data.copy_(RewardScorer(classifier).heads.data)
    classifier.save_pretrained(work / "model")
    tokenizer.save_pretrained(work / "model")
    order = [index for batch in epoch_order(count, batch_size=options.batch_size, seed=0, epoch=0) for index in batch]
    inverse = {index: place for place, index in enumerate(order)}
    by_place = sorted(range(count), key=lambda index: inverse[index])
    for name, numbers in (("ours", range(count)), ("trl", by_place)):
        with (work / f"{name}.jsonl").open("w") as file:
            for number in numbers:
                file.write(json.dumps(conversational(kept[number])) + "\n")


def conversational(row) -> dict:
    """A preference as TRL reads it."""
    return {
        "prompt": [{"role": turn.role, "content": turn.content} for turn in row.prompt],
        "chosen": [{"role": "assistant", "content": row.chosen}],
        "rejected": [{"role": "assistant", "content": row.rejected}],
    }


def run_side(options: argparse.Namespace, precision: str, side: str, folder: str) -> dict:
    """One process; returns its step times in seconds, losses and peak memory in MB."""
    passed = {"batch-size": options.batch_size, "token-budget": options.token_budget, "steps": options.steps}
    passed |= {"max-length": options.max_length, "threads": options.threads}
    words = [f"--{name}={value}" for name, value in passed.items()]
    command = [sys.executable, __file__, f"--data={options.data}", *words, "--precision", precision]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    done = subprocess.run(
        [*command, f"--side={side}", f"--work={folder}"], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    figures = json.loads(done.stdout.splitlines()[-1])
    wall, cpu = (statistics.median(figures[name][options.warm_up :]) for name in ("step_s", "cpu_s"))
    print(
        f"{precision} {side}: median step {wall:.3f} s, of CPU {cpu:.3f} s, peak {figures['peak_mb']:.0f} MB,"
        f" losses {figures['losses'][0]:.5f} ... {figures['losses'][-1]:.5f}",
        file=sys.stderr,
        flush=True,
    )
    return figures


def run_ours(options: argparse.Namespace, work: Path) -> dict:
    """The training loop of `rewardkit train`."""
    from rewardkit.allocator import keep_large_buffers

    keep_large_buffers()
    import torch

    torch.set_num_threads(options.threads)
    from rewardkit.checkpoint import Checkpoint
    from rewardkit.model import RewardScorer, head_of, load_classifier
    from rewardkit.preferences import read_preferences
    from rewardkit.runs import Run, read_metrics
    from rewardkit.tokens import load_tokenizer
    from rewardkit.train import train
    from rewardkit.training_rows import training_rows

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
    run = Run(config.out, config)
    cpu = [time.process_time()]
    train(
        scorer,
        rows,
        held_out,
        config,
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
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_trl(options: argparse.Namespace, work: Path) -> dict:
    """TRL's RewardTrainer with our optimizer, learning rates and order."""
    import datasets
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
    from trl import RewardConfig as TrlConfig
    from trl import RewardTrainer

    from rewardkit.optimization import schedule

    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    times: list[float] = []
    cpu_times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            self.started, self.cpu = time.perf_counter(), time.process_time()

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            times.append(time.perf_counter() - self.started)
            cpu_times.append(time.process_time() - self.cpu)

    model = AutoModelForSequenceClassification.from_pretrained(work / "model", dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0, fused=True)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(step, options.steps, 0.05))
    arguments = TrlConfig(
        output_dir=str(work / f"trl-{os.getpid()}"),
        per_device_train_batch_size=options.batch_size,
        max_steps=options.steps,
        max_length=options.max_length,
        max_grad_norm=1.0,
        bf16=options.precision[0] == "bf16",
        gradient_checkpointing=False,
        train_sampling_strategy="sequential",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = RewardTrainer(
        model=model,
        args=arguments,
        train_dataset=datasets.Dataset.from_json(str(work / "trl.jsonl")),
        processing_class=AutoTokenizer.from_pretrained(work / "model"),
        optimizers=(optimizer, rates),
        callbacks=[Clock()],
    )
    with open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        trainer.train()
        sys.stdout = stdout
    return {
        "step_s": times,
        "cpu_s": cpu_times,
        "losses": [row["loss"] for row in trainer.state.log_history if "loss" in row],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def report(rows: list[dict], options: argparse.Namespace) -> str:
    """One line of a precision: medians over all counted steps of all processes, and their ratios."""
    sides = {side: [row for row in rows if row["side"] == side] for side in SIDES}

    def median(side: str, name: str) -> float:
        return statistics.median(time for row in sides[side] for time in row[name][options.warm_up :])

    peak_mb = {side: statistics.median(row["peak_mb"] for row in sides[side]) for side in SIDES}
    speed = {side: options.batch_size / median(side, "step_s") for side in SIDES}
    difference = max(
        abs(ours - theirs) for ours, theirs in zip(*(sides[side][0]["losses"] for side in SIDES), strict=True)
    )
    return (
        f"{rows[0]['precision']}, {options.threads} threads: ours {speed['ours']:.2f}, TRL {speed['trl']:.2f} pairs/s,"
        f" ratio {speed['ours'] / speed['trl']:.2f},"
        f" of CPU seconds {median('trl', 'cpu_s') / median('ours', 'cpu_s'):.2f};"
        f" peak {peak_mb['ours']:.0f} and {peak_mb['trl']:.0f} MB, ratio {peak_mb['ours'] / peak_mb['trl']:.2f};"
        f" losses differ by at most {difference:.1e}"
    )


if __name__ == "__main__":
    main()
