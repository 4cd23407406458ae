"""How far every line of the speed table is from its floor: the time of its matrix products alone, on this machine.

    python tests/benchmarks/floors.py

Every line is the work of its own benchmark, by its own functions, in two processes: one takes the times of its steps,
the other counts the matrix products of the same steps (`matrix_products.py`). Then each different product is timed by
itself in this process, with its operands in the cache where they fit, and a step's products are added up. What a step
takes beyond that are reads and writes of memory, softmax, norms, optimizer, tokenising and Python. Wall seconds, and
CPU seconds of all threads, whose share other load on the machine changes little.

Data is made here (conversations of one to four turns of `rewardkit.simulation.support_desk_world`), or taken from
--data, a preference file, of which the first --rows are read.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import generation
import grpo_training
import policy_training
import ppo_training
import reward_training
import scoring_speed
from trl_race import conversational

from alignment.config.online import GrpoConfig, PpoConfig
from alignment.config.training import TrainingConfig
from rewardkit.config import RewardConfig
from rewardkit.run.training_command import keep_large_buffers, sleep_between_products

Step = Callable[..., Any]
Work = tuple[argparse.Namespace, Path]


@dataclass
class Watch:
    """Takes the times of every call of a step, or counts its products."""

    counts: bool
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    products: list[Mapping[Any, float]] = field(default_factory=list)

    def over(self, step: Step) -> Step:
        """The step, watched."""
        from matrix_products import ProductCounter

        def watched(*arguments: Any, **options: Any) -> Any:
            if self.counts:
                with ProductCounter() as counter:
                    result = step(*arguments, **options)
                self.products.append(counter.counts)
                return result
            started, cpu = time.perf_counter(), time.process_time()
            result = step(*arguments, **options)
            self.wall.append(time.perf_counter() - started)
            self.cpu.append(time.process_time() - cpu)
            return result

        return watched

    def figures(self) -> dict[str, Any]:
        """As JSON takes them."""
        products = [
            [(*product.sizes, *product.turned, product.dtype, product.reordered, times) for product, times in counted]
            for counted in (counts.items() for counts in self.products)
        ]
        return {"wall": self.wall, "cpu": self.cpu, "products": products}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the table.

    Attributes:
        unit: of work.
        options: of its benchmark.
        prepare: writes what its steps read; returns the units of each step.
        run: takes the steps, watched.
        warm_up: first steps that are not counted.
    """

    unit: str
    options: Mapping[str, Any]
    prepare: Callable[[argparse.Namespace, Path], Sequence[float]]
    run: Callable[[argparse.Namespace, Path, Watch], None]
    warm_up: int = 1


def prepare_generation(options: argparse.Namespace, work: Path) -> Sequence[float]:
    generation.prepare(options, work)
    num_prompts, num_samples = generation.TASKS[options.task]
    return [float(num_prompts * num_samples * options.new_tokens)] * options.steps


def prepare_scoring(options: argparse.Namespace, work: Path) -> Sequence[float]:
    return [float(options.texts)] * options.steps  # the model is made where it scores


def run_offline(module: Any, options: argparse.Namespace, work: Path, watch: Watch) -> None:
    """The steps of `rewardkit.training.loop`."""
    from rewardkit.training import loop

    with mock.patch.object(loop, "_take_step", watch.over(loop._take_step)):
        module.run_ours(options, work)


def run_grpo(options: argparse.Namespace, work: Path, watch: Watch) -> None:
    from alignment.online.grpo import Grpo

    with mock.patch.object(Grpo, "step", watch.over(Grpo.step)):
        grpo_training.run_ours(options, work)


def run_ppo(options: argparse.Namespace, work: Path, watch: Watch) -> None:
    from alignment.online.ppo import Ppo

    with mock.patch.object(Ppo, "step", watch.over(Ppo.step)):
        ppo_training.run_ours(options, work)


def run_generation(options: argparse.Namespace, work: Path, watch: Watch) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    num_prompts, num_samples = generation.TASKS[options.task]
    prompts = json.loads((work / "prompts.json").read_text())[:num_prompts]
    policy = AutoModelForCausalLM.from_pretrained(work / "model", dtype=torch.float32).eval()
    draw = watch.over(generation.ours(policy, prompts, num_samples, options.precision[0]))
    for _ in range(options.steps):
        draw(options.new_tokens)


def run_scoring(options: argparse.Namespace, work: Path, watch: Watch) -> None:
    import torch

    score = watch.over(scoring_speed.prepare(options, work)["ours"])
    with torch.inference_mode():
        for _ in range(options.steps):
            score(slice(None))


def pairs(task: str, num_rows: int = 8) -> Line:
    """A line of policies trained on pairs or on texts."""
    options = {"task": task, "batch_size": num_rows, "token_budget": TrainingConfig.token_budget, "max_length": 512}
    unit, run = "tokens" if task == "sft" else "pairs", partial(run_offline, policy_training)
    return Line(unit=unit, options=options | {"steps": 4}, prepare=policy_training.prepare, run=run)


def lines() -> dict[str, Line]:
    """The table, by line."""
    reward = {"batch_size": 8, "token_budget": RewardConfig.token_budget, "max_length": 512, "steps": 4}
    train_reward = partial(run_offline, reward_training)
    grpo = {"batch_size": 8, "token_budget": GrpoConfig.token_budget, "max_length": 256, "steps": 3}
    ppo = {"batch_size": 32, "token_budget": PpoConfig.token_budget, "max_length": 256, "steps": 2, "task": "trunk"}
    drawing = {"new_tokens": 64, "max_prompt": 256, "steps": 3}
    online = {"prepare": prepare_generation, "run": run_generation}
    scoring = {"texts": 100, "max_length": 2048, "steps": 2}
    return {
        "reward model": Line(unit="pairs", options=reward, prepare=reward_training.prepare, run=train_reward),
        "SFT": pairs("sft", 16),
        "DPO, live": pairs("dpo"),
        "DPO, precomputed": pairs("precomputed"),
        "DPO, LoRA": pairs("lora"),
        "GRPO": Line(unit="completions", options=grpo, prepare=grpo_training.prepare, run=run_grpo),
        "PPO": Line(unit="completions", options=ppo, prepare=ppo_training.prepare, run=run_ppo),
        "generation, batch 64": Line(unit="tokens", options=drawing | {"task": "batch"}, **online),
        "generation, groups of 8": Line(unit="tokens", options=drawing | {"task": "groups"}, **online),
        "scoring": Line(unit="texts", options=scoring, prepare=prepare_scoring, run=run_scoring),
    }


def main() -> None:
    """Runs every line, measures its products, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="", help="preference file; conversations are made here if not given")
    parser.add_argument("--rows", type=int, default=3000, help="of the file, at most")
    parser.add_argument("--model", default="small", help="preset")
    parser.add_argument("--lines", nargs="*", default=list(lines()), choices=list(lines()))
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", help="file of all figures")
    parser.add_argument("--watch", choices=["time", "count"], help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sleep_between_products()
    os.environ |= {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1"}
    keep_large_buffers()  # as a command does before torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    if options.watch:
        (name,), line = options.lines, lines()[options.lines[0]]
        watch = Watch(counts=options.watch == "count")
        line.run(options_of(line, options), Path(options.work), watch)
        print(json.dumps({"line": name} | watch.figures()))
        return
    with tempfile.TemporaryDirectory() as folder:
        options.data = str(write_data(Path(folder) / "pairs.jsonl", options.data, options.rows))
        rows = [measured_line(name, options, Path(folder)) for name in options.lines]
    print(table(rows))
    if options.json:
        Path(options.json).write_text(json.dumps({"options": vars(options), "lines": rows}, indent=1))


def options_of(line: Line, options: argparse.Namespace) -> argparse.Namespace:
    """What the line's benchmark is told."""
    shared = {"data": options.data, "model": options.model, "threads": options.threads}
    return argparse.Namespace(**shared, precision=[options.precision], **line.options)


def write_data(file: Path, source: str, num_rows: int) -> Path:
    """Writes preferences as lines: the first of a file, or of a world whose prompts have one to four turns."""
    from rewardkit.data.preferences import read_preferences
    from rewardkit.data.records import Message, Preference
    from rewardkit.simulation.support_desk_world import World

    if source:
        preferences = read_preferences(source, on_bad_row="skip").rows[:num_rows]
    else:
        messages, place, preferences = list(World(seed=0, num_prompts=1600).prompts()), 0, []
        while place + 4 <= len(messages):
            *earlier, last = messages[place : place + 1 + len(preferences) % 4]
            turns = [
                turn
                for message in earlier
                for turn in (*message.prompt, Message(role="assistant", content=message.responses[0].text))
            ]
            better, worse = sorted(last.responses, key=lambda reply: -reply.gold)
            prompt = (*turns, *last.prompt)
            preferences.append(Preference(prompt=prompt, chosen=better.text, rejected=worse.text))
            place += 1 + len(earlier)
    file.write_text("".join(json.dumps(conversational(row)) + "\n" for row in preferences))
    return file


def measured_line(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Runs a line twice, then its products by themselves; returns its figures by step, medians over steps."""
    line, work = lines()[name], folder / name
    work.mkdir()
    units = line.prepare(options_of(line, options), work)
    times, counted = (watched(name, options, work, how) for how in ("time", "count"))
    figures = step_figures(times, counted["products"], units, warm_up=line.warm_up)
    shares = f"share {figures['share']:.2f}, of CPU seconds {figures['cpu_share']:.2f}"
    seconds = f"{figures['step_s']:.3f} s, products {figures['products_s']:.3f} s"
    print(f"{name}: {seconds}, {shares}", file=sys.stderr, flush=True)
    return {"line": name, "unit": line.unit} | figures


def watched(name: str, options: argparse.Namespace, work: Path, how: str) -> dict[str, Any]:
    """What one process found."""
    words = ["--data", options.data, "--model", options.model, "--precision", options.precision]
    words += ["--threads", str(options.threads), "--lines", name, "--watch", how, "--work", str(work)]
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path)}
    done = subprocess.run(
        [sys.executable, __file__, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def step_figures(
    times: Mapping[str, Any], products: Sequence[Any], units: Sequence[float], *, warm_up: int
) -> dict[str, Any]:
    """Medians over the counted steps; every different product is measured once."""
    from matrix_products import Product, alone, flops, measure

    counts: list[Counter[Product]] = []
    for step in products[warm_up:]:
        counts.append(Counter())
        for *sizes, first, second, dtype, reordered, number in step:
            product = Product(sizes=tuple(sizes), turned=(first, second), dtype=dtype, reordered=reordered)
            counts[-1][product] += number
    costs = {product: measure(product) for product in {product for step in counts for product in step}}
    floors = [alone(step, costs) for step in counts]
    wall, cpu = times["wall"][warm_up:], times["cpu"][warm_up:]
    per_s = [number / seconds for number, seconds in zip(units[warm_up:], wall, strict=True)]
    done = [flops(step) for step in counts]
    return {
        "step_s": median(wall),
        "cpu_s": median(cpu),
        "units_per_s": median(per_s),
        "products_s": median(cost.wall for cost in floors),
        "share": median(cost.wall / seconds for cost, seconds in zip(floors, wall, strict=True)),
        "cpu_share": median(cost.cpu / seconds for cost, seconds in zip(floors, cpu, strict=True)),
        "gflop": median(done) / 1e9,
        "gflop_per_s": median(number / cost.wall for number, cost in zip(done, floors, strict=True)) / 1e9,
        "num_products": len(costs),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """In Markdown."""
    header = (
        "line",
        "a second",
        "step, s",
        "products alone, s",
        "share",
        "share of CPU time",
        "GFLOP a step",
        "GFLOP/s",
    )
    text = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    for row in rows:
        cells = (
            row["line"],
            f"{row['units_per_s']:.4g} {row['unit']}",
            f"{row['step_s']:.3f}",
            f"{row['products_s']:.3f}",
            f"{row['share']:.2f}",
            f"{row['cpu_share']:.2f}",
            f"{row['gflop']:.1f}",
            f"{row['gflop_per_s']:.0f}",
        )
        text.append("| " + " | ".join(cells) + " |")
    return "\n".join(text)


if __name__ == "__main__":
    main()
