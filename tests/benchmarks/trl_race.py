"""A trainer here beside TRL's on the same work: processes in turn, times of steps, peak memory, losses or rewards.

What the benchmarks against TRL share. Both sides start from the same weights and are run as processes of their own; on
given completions they take the same rows in the same order by the same AdamW, learning rates and clipping. Times are
those of whole steps, the warm-up left out: wall seconds, and where they were taken CPU seconds, which other load on the
machine changes little (with --threads 1 the fairer ones there). Memory is the peak resident set of the process,
start-up, tokenising and all; on a GPU, which both sides take where there is one, it is what torch had allocated there.
TRL runs without gradient checkpointing (its default, which is slower), in bf16 by its own autocast.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardkit.run.training_command import peak_mb, sleep_between_products

LEARNING_RATE = 1e-4
SIDES = ("ours", "trl")
TIMES = ("step_s", "cpu_s")
OUTCOMES = ("losses", "rewards")
Figures = dict[str, Any]
# The shape of Qwen2.5-0.5B without its biases, with random weights.
HALF_BILLION = {
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": True,
    "rope_theta": 1e6,
}


def parser_of(script: str, description: str | None, **defaults: int) -> argparse.ArgumentParser:
    """The options that every race takes; a benchmark adds its own and sets defaults."""
    parser = argparse.ArgumentParser(
        prog=Path(script).name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="preference file")
    parser.add_argument("--model", default="small", help="preset, or 0.5b: the shape of Qwen2.5-0.5B")
    parser.add_argument("--batch-size", type=int, default=8, help="rows or prompts of a step")
    parser.add_argument("--token-budget", type=int, help="ours: tokens per micro-batch")
    parser.add_argument("--max-length", type=int, default=512, help="longer rows or prompts are left out")
    parser.add_argument("--steps", type=int, default=13, help="per process")
    parser.add_argument("--warm-up", type=int, default=3, help="first steps that are not counted")
    parser.add_argument("--repeats", type=int, default=3, help="processes per side and precision")
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", help="JSON file of all figures")
    parser.add_argument("--alone", action="store_true", help="ours only, where there is no TRL")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.set_defaults(**defaults)
    return parser


def shape_of(model: str, tokenizer: Any) -> Any:
    """The configuration of a preset, or of the model of half a billion weights."""
    from transformers import LlamaConfig

    from rewardkit.network.models import preset_config

    if model != "0.5b":
        return preset_config(model, tokenizer)
    ids = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    return LlamaConfig(**HALF_BILLION, max_position_embeddings=4096, **ids)


def peak_memory_mb() -> float:
    """The most memory of this process: what torch had allocated on the GPU, or what was resident without one."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else peak_mb()


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
        print(json.dumps(runs[options.side](options, Path(options.work)) | {"peak_mb": peak_memory_mb()}))
        return []
    sides = SIDES[:1] if options.alone else SIDES
    with tempfile.TemporaryDirectory() as folder:
        units = prepare(options, Path(folder))
        passed = [f"--tasks={task}"] if task else []
        figures = [
            {"task": task, "precision": precision, "side": side, "units": list(units)}
            | run_side(script, options, [f"--precision={precision}", *passed], side, folder)
            for precision in options.precision
            for repeat in range(options.repeats)
            for side in (sides if repeat % 2 == 0 else sides[::-1])
        ]
    for precision in options.precision:
        rows = [row for row in figures if row["precision"] == precision]
        print(f"{task + ', ' if task else ''}{report(rows, options, unit)}", flush=True)
    return figures


def write_figures(options: argparse.Namespace, figures: Sequence[Figures]) -> None:
    """All figures, where they were asked for; a process of one side has none."""
    if options.out and not options.side:
        Path(options.out).write_text(json.dumps({"options": vars(options), "figures": list(figures)}, indent=1))


def run_side(script: str, options: argparse.Namespace, words: Sequence[str], side: str, folder: str) -> Figures:
    """One process, told what this one was told and some more words; returns what the side measured."""
    command = [sys.executable, script, *sys.argv[1:], *words, f"--side={side}", f"--work={folder}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(options.threads)}
    sleep_between_products(environment)  # as our commands do
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    seconds = [f"{name} {statistics.median(figures[name][options.warm_up :]):.3f}" for name in TIMES if name in figures]
    (outcome,) = (f"{name} {figures[name][0]:.5f} ... {figures[name][-1]:.5f}" for name in OUTCOMES if name in figures)
    said = [*words, side, *seconds, f"peak_mb {figures['peak_mb']:.0f}", outcome]
    print(", ".join(said), file=sys.stderr, flush=True)
    return figures


def report(rows: Sequence[Figures], options: argparse.Namespace, unit: str) -> str:
    """One line of a precision: medians over all counted steps of all processes, and their ratios."""
    sides = {side: [row for row in rows if row["side"] == side] for side in dict.fromkeys(row["side"] for row in rows)}

    def median(side: str, name: str) -> float:
        """Of a step, per unit of work."""
        return statistics.median(
            seconds / units
            for row in sides[side]
            for seconds, units in list(zip(row[name], row["units"], strict=True))[options.warm_up :]
        )

    peak_mb = {side: statistics.median(row["peak_mb"] for row in sides[side]) for side in sides}
    speed = {side: 1.0 / median(side, "step_s") for side in sides}
    if "trl" not in sides:
        return f"{rows[0]['precision']}: ours {speed['ours']:.2f} {unit}/s, peak {peak_mb['ours']:.0f} MB"
    of_cpu = ""
    if all("cpu_s" in row for row in rows):
        of_cpu = f", of CPU seconds {median('trl', 'cpu_s') / median('ours', 'cpu_s'):.2f}"
    return (
        f"{rows[0]['precision']}, {options.threads} threads: ours {speed['ours']:.2f}, TRL {speed['trl']:.2f} {unit}/s,"
        f" ratio {speed['ours'] / speed['trl']:.2f}{of_cpu};"
        f" peak {peak_mb['ours']:.0f} and {peak_mb['trl']:.0f} MB, ratio {peak_mb['ours'] / peak_mb['trl']:.2f};"
        f" {agreement(*(sides[side][0] for side in SIDES))}"
    )


def agreement(ours: Figures, theirs: Figures) -> str:
    """How far losses of the same rows differ, or the mean rewards of what each side drew."""
    if "rewards" in ours:
        means = (statistics.mean(side["rewards"]) for side in (ours, theirs))
        return "mean rewards " + " and ".join(f"{mean:.3f}" for mean in means)
    difference = max(abs(one - other) for one, other in zip(ours["losses"], theirs["losses"], strict=True))
    return f"losses differ by at most {difference:.1e}"


def write_in_both_orders(work: Path, rows: Sequence[Mapping[str, Any]], batch_size: int) -> list[int]:
    """Writes rows for ours as they are, and for TRL in the order in which ours takes them; returns that order."""
    from rewardkit.network.packed_rows import epoch_order

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


def trl_arguments(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What every trainer of TRL is told here."""
    import torch

    return {
        "output_dir": str(work / f"trl-{os.getpid()}"),
        "per_device_train_batch_size": options.batch_size,
        "bf16": options.precision[0] == "bf16",
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
    }


def offline_arguments(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """What its trainers on given completions are told."""
    return trl_arguments(options, work) | {
        "max_steps": options.steps,
        "max_length": options.max_length,
        "max_grad_norm": 1.0,
        "train_sampling_strategy": "sequential",
    }


def step_clock() -> Any:
    """A callback of TRL's trainers with lists `step_s` and `cpu_s`; PPO's tells only the ends of its steps."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.step_s: list[float] = []
            self.cpu_s: list[float] = []

        def on_step_begin(self, *args: object, **kwargs: object) -> None:
            self.started, self.cpu = time.perf_counter(), time.process_time()

        on_train_begin = on_step_begin

        def on_step_end(self, *args: object, **kwargs: object) -> None:
            self.step_s.append(time.perf_counter() - self.started)
            self.cpu_s.append(time.process_time() - self.cpu)
            self.on_step_begin()

    return Clock()


def train_trl(make_trainer: Callable[[Any], Any], options: argparse.Namespace, work: Path) -> Figures:
    """Trains by TRL with our optimizer, learning rates and order; `make_trainer` is given the training data."""
    import datasets
    import torch

    from rewardkit.distributed.optimization import schedule

    torch.set_num_threads(options.threads)
    datasets.disable_progress_bars()
    clock = step_clock()
    with open(os.devnull, "w") as nowhere:
        stdout, sys.stdout = sys.stdout, nowhere
        trainer = make_trainer(datasets.Dataset.from_json(str(work / "trl.jsonl")))
        trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
        trainer.optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0, fused=True)
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            trainer.optimizer, lambda step: schedule(step, options.steps, 0.05)
        )
        trainer.add_callback(clock)
        trainer.train()
        sys.stdout = stdout
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {"step_s": clock.step_s, "cpu_s": clock.cpu_s, "losses": losses}
