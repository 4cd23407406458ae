"""A trainer here beside TRL's on the same work: processes in turn, times of optimizer steps, peak memory, losses.

What the benchmarks against TRL share. Both sides start from the same weights, take the same rows in the same order by
the same AdamW, learning rates and clipping, and are run as processes of their own. Times are those of whole optimizer
steps, the warm-up left out: wall seconds, and CPU seconds, which other load on the machine changes little (with
--threads 1 the fairer ones there). Memory is the peak resident set of the process, start-up, tokenising and all. TRL
runs without gradient checkpointing (its default, which is slower), in bf16 by its own autocast.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

LEARNING_RATE = 1e-4
SIDES = ("ours", "trl")
Figures = dict[str, Any]


def parser_of(script: str, description: str | None, *, token_budget: int) -> argparse.ArgumentParser:
    """The options that every race takes; a benchmark adds its own."""
    parser = argparse.ArgumentParser(
        prog=Path(script).name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="preference file")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--batch-size", type=int, default=8, help="rows per step")
    parser.add_argument("--token-budget", type=int, default=token_budget, help="ours: tokens per micro-batch")
    parser.add_argument("--max-length", type=int, default=512, help="longer conversations are left out, as TRL does")
    parser.add_argument("--steps", type=int, default=13, help="per process")
    parser.add_argument("--warm-up", type=int, default=3, help="first steps that are not counted")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side and precision")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser


def race(
    script: str,
    options: argparse.Namespace,
    prepare: Callable[[argparse.Namespace, Path], Sequence[float]],
    runs: Mapping[str, Callable[[argparse.Namespace, Path], Figures]],
    *,
    task: str = "",
    unit: str = "pairs",
) -> list[Figures]:
    """One side's figures in a process that was told its side; else both sides in turn, a line for each precision.

    Args:
        prepare: writes what both sides read into a folder; returns the units of work of each step.
        runs: by side, what trains and measures.
        task: of several that the script knows, passed on to its processes.
    """
    if options.side:
        print(json.dumps(runs[options.side](options, Path(options.work))))
        return []
    with tempfile.TemporaryDirectory() as folder:
        units = prepare(options, Path(folder))
        figures = [
            {"task": task, "precision": precision, "side": side, "units": list(units)}
            | run_side(script, options, precision, side, folder, task)
            for precision in options.precision
            for repeat in range(options.repeats)
            for side in (SIDES if repeat % 2 == 0 else SIDES[::-1])
        ]
    for precision in options.precision:
        rows = [row for row in figures if row["precision"] == precision]
        print(f"{task + ', ' if task else ''}{report(rows, options, unit)}", flush=True)
    return figures


def write_figures(options: argparse.Namespace, figures: Sequence[Figures]) -> None:
    """All figures, where they were asked for."""
    if options.out:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": list(figures)}, indent=1))


def run_side(script: str, options: argparse.Namespace, precision: str, side: str, folder: str, task: str) -> Figures:
    """One process; returns its step times in seconds, losses and peak memory in MB."""
    names = ("batch_size", "token_budget", "steps", "max_length", "threads", "data")
    words = [f"--{name.replace('_', '-')}={getattr(options, name)}" for name in names]
    if task:
        words.append(f"--tasks={task}")
    command = [sys.executable, script, *words, f"--precision={precision}", f"--side={side}", f"--work={folder}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    wall, cpu = (statistics.median(figures[name][options.warm_up :]) for name in ("step_s", "cpu_s"))
    print(
        f"{task} {precision} {side}: median step {wall:.3f} s, of CPU {cpu:.3f} s, peak {figures['peak_mb']:.0f} MB,"
        f" losses {figures['losses'][0]:.5f} ... {figures['losses'][-1]:.5f}".lstrip(),
        file=sys.stderr,
        flush=True,
    )
    return figures


def report(rows: Sequence[Figures], options: argparse.Namespace, unit: str) -> str:
    """One line of a precision: medians over all counted steps of all processes, and their ratios."""
    sides = {side: [row for row in rows if row["side"] == side] for side in SIDES}

    def median(side: str, name: str) -> float:
        """Of a step, per unit of work."""
        return statistics.median(
            seconds / units
            for row in sides[side]
            for seconds, units in list(zip(row[name], row["units"], strict=True))[options.warm_up :]
        )

    peak_mb = {side: statistics.median(row["peak_mb"] for row in sides[side]) for side in SIDES}
    speed = {side: 1.0 / median(side, "step_s") for side in SIDES}
    difference = max(
        abs(ours - theirs) for ours, theirs in zip(*(sides[side][0]["losses"] for side in SIDES), strict=True)
    )
    return (
        f"{rows[0]['precision']}, {options.threads} threads: ours {speed['ours']:.2f}, TRL {speed['trl']:.2f} {unit}/s,"
        f" ratio {speed['ours'] / speed['trl']:.2f},"
        f" of CPU seconds {median('trl', 'cpu_s') / median('ours', 'cpu_s'):.2f};"
        f" peak {peak_mb['ours']:.0f} and {peak_mb['trl']:.0f} MB, ratio {peak_mb['ours'] / peak_mb['trl']:.2f};"
        f" losses differ by at most {difference:.1e}"
    )


def write_in_both_orders(work: Path, rows: Sequence[Mapping[str, Any]], batch_size: int) -> list[int]:
    """Writes rows for ours as they are, and for TRL in the order in which ours takes them; returns that order."""
    from rewardkit.batch import epoch_order

    batches = epoch_order(len(rows), batch_size=batch_size, seed=0, epoch=0)
    order = [index for batch in batches for index in batch]
    for name, numbers in (("ours", range(len(rows))), ("trl", order)):
        with (work / f"{name}.jsonl").open("w") as file:
            for number in numbers:
                file.write(json.dumps(rows[number]) + "\n")
    return order


def conversational(row: Any) -> dict[str, Any]:
    """A preference as TRL reads it."""
    return {
        "prompt": [{"role": turn.role, "content": turn.content} for turn in row.prompt],
        "chosen": [{"role": "assistant", "content": row.chosen}],
        "rejected": [{"role": "assistant", "content": row.rejected}],
    }


def peak_mb() -> float:
    """Peak resident set of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def trl_arguments(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What every trainer of TRL is told here."""
    return {
        "output_dir": str(work / f"trl-{os.getpid()}"),
        "per_device_train_batch_size": options.batch_size,
        "max_steps": options.steps,
        "max_length": options.max_length,
        "max_grad_norm": 1.0,
        "bf16": options.precision[0] == "bf16",
        "gradient_checkpointing": False,
        "train_sampling_strategy": "sequential",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "dataloader_pin_memory": False,
    }


def train_trl(make_trainer: Callable[[Any], Any], options: argparse.Namespace, work: Path) -> Figures:
    """Trains by TRL with our optimizer, learning rates and order; `make_trainer` is given the training data."""
    import datasets
    import torch
    from transformers import TrainerCallback

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

    with open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        trainer = make_trainer(datasets.Dataset.from_json(str(work / "trl.jsonl")))
        trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        trainer.optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda step: schedule(step, options.steps, 0.05)
        )
        trainer.add_callback(Clock())
        trainer.train()
        sys.stdout = stdout
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"step_s": times, "cpu_s": cpu_times, "losses": losses, "peak_mb": peak_mb()}
