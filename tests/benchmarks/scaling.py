"""Throughput and memory by model size, sequence length, group size and ensemble size, and two processes against one.

    python tests/benchmarks/scaling.py

Every point is a process of its own that makes a model of random weights and rows of random tokens, takes a few
optimizer steps (or draws a few batches) with the parts that trainings are made of, and tells the median of its tokens a
second, of its tokens a CPU second, and its peak memory. Tokens are those of full sequences, a prompt counted once for
each of its completions; of drawing, the new ones. A point that would take more than half of what is free is left out.
Writes a page with the curves, and the figures as JSON beside it. Under thirty minutes on two cores; --quick in a few.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from markupsafe import Markup

from rewardkit.report.charts import Axis, Line, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.run.training_command import keep_large_buffers, peak_mb, sleep_between_products

VOCABULARY = 8192
STEPS, WARM_UP, MINUTES = 4, 1, 30
BYTES_A_WEIGHT = 20  # weights, gradients, both moments of AdamW, and a copy while they are saved or read


@dataclass(frozen=True, kw_only=True)
class Point:
    """What is measured.

    Attributes:
        work: learn a policy from completions, draw them, or train a reward model on pairs.
        width, layers: of the model; a head has 64 numbers, or 32 where the width is 128.
        length: tokens of a sequence, half of them the prompt's.
        rows: prompts of a step.
        group: completions of a prompt.
        members: of the ensemble; as heads on one trunk, or as adapters on its two top layers.
        processes, threads: that work together, and of each.
    """

    work: str = "learn"
    width: int = 384
    layers: int = 6
    length: int = 256
    rows: int = 8
    group: int = 1
    members: int = 1
    adapters: bool = False
    processes: int = 1
    threads: int = 2

    @property
    def num_weights(self) -> int:
        return 12 * self.layers * self.width**2 + 2 * VOCABULARY * self.width


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points along one quantity.

    Attributes:
        x: of each point, what it is drawn over.
    """

    name: str
    points: Sequence[Point]
    x: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Study:
    """Curves over one quantity, which doubles from mark to mark."""

    heading: str
    axis: str
    curves: Sequence[Curve]


@dataclass(frozen=True, kw_only=True)
class Doublings(Axis):
    """An axis of powers of two."""

    def write(self, mark: float) -> str:
        return f"{2**mark:,.0f}" if mark >= 0 else f"{2**mark:g}"


def studies(quick: bool) -> list[Study]:
    """What is measured in all."""
    short = 3 if quick else 99
    sizes = [(128, 4), (384, 6), (512, 8), (768, 12), (1024, 16)][:short]
    lengths = [128, 256, 512, 1024, 2048, 4096][: short + 1]
    groups = [1, 2, 4, 8, 16, 32, 64][: short + 1]
    members = [1, 2, 4, 8, 16, 32][:short]

    def curve(name: str, points: Sequence[Point], x: Sequence[float]) -> Curve:
        return Curve(name=name, points=points, x=x)

    def by_size(work: str) -> Curve:
        points = [Point(work=work, width=width, layers=layers, rows=4) for width, layers in sizes]
        return curve(NAMES[work], points, [point.num_weights / 1e6 for point in points])

    by_length = [Point(work="pairs", length=length, rows=max(1, 2048 // length)) for length in lengths]
    groups_of = {work: [Point(work=work, rows=64 // group, group=group) for group in groups] for work in NAMES}
    heads = [Point(work="pairs", members=count) for count in members]
    adapters = [Point(work="pairs", members=count, adapters=True) for count in members[:4]]
    return [
        Study(heading="Model size", axis="millions of weights", curves=[by_size(work) for work in NAMES]),
        Study(heading="Sequence length", axis="tokens", curves=[curve(NAMES["pairs"], by_length, lengths)]),
        Study(
            heading="Group size, 64 completions a step",
            axis="completions of a prompt",
            curves=[curve(NAMES[work], groups_of[work], groups) for work in ("learn", "draw")],
        ),
        Study(
            heading="Ensemble size",
            axis="members",
            curves=[
                curve("heads on one trunk", heads, members),
                curve("adapters on the two top layers", adapters, members[:4]),
            ],
        ),
    ]


TOGETHER = {
    "one process, one thread": Point(threads=1),
    "one process, two threads": Point(),
    "two processes, one thread each": Point(threads=1, processes=2),
}
NAMES = {"learn": "learning a policy", "draw": "drawing", "pairs": "training a reward model"}


def config_of(point: Point) -> Any:
    """Of Llama's shape."""
    from transformers import LlamaConfig

    heads = max(point.width // 64, 4)
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=point.width,
        intermediate_size=8 * point.width // 3,
        num_hidden_layers=point.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=8192,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def branched_rows(point: Point, num_branches: int) -> list[Any]:
    """Rows of random tokens, half prompt and half completion."""
    import numpy as np

    from rewardkit.network.packed_rows import Branched

    rng, half = np.random.default_rng(0), point.length // 2

    def tokens() -> tuple[int, ...]:
        return tuple(rng.integers(3, VOCABULARY, half).tolist())

    return [Branched(prompt=tokens(), branches=tuple(tokens() for _ in range(num_branches))) for _ in range(point.rows)]


class SummedLogps:
    """Minus the sum of all log-probabilities; see `alignment.offline.objective.RowLoss`."""

    names: tuple[str, ...] = ()
    reads_squares = False

    def total(self, rows: Any, batch: Sequence[int]) -> float:
        return float(len(batch))

    def prepare(self, rows: Any, batch: Sequence[int]) -> None:
        return None

    def part(self, logps: Any, rows: Any, indices: Sequence[int], prepared: Any) -> Any:
        from rewardkit.training.steps import Part

        loss = -logps.token_logps.sum()
        return Part(loss=loss, sums=loss.new_zeros(0), weights=loss.new_zeros(0))


def learning(point: Point) -> tuple[Callable[[], object], int]:
    """An optimizer step of a policy on all rows, and its tokens."""
    import torch

    from alignment.offline.objective import PolicyObjective
    from alignment.policy.policy import make_network
    from alignment.policy.policy_forward import Forward
    from alignment.policy.rows import PolicyRows
    from rewardkit.network.logps import can_pack_policy

    rows, ones = branched_rows(point, point.group), torch.ones(point.rows)
    targets = {"weight": ones, "p_chosen": ones, "margin": ones, "desirable": ones.bool()}
    policy_rows = PolicyRows(rows=rows, keep=None, prompts=[()] * point.rows, **targets)
    network = make_network(config_of(point), seed=0)
    forward = Forward(network=network, packed=can_pack_policy(network), token_budget=4096, precision="fp32")
    objective = PolicyObjective(forward=forward, loss=SummedLogps(), rows=policy_rows, held_out=policy_rows)
    return optimizer_steps(objective, point), sum(row.num_padded_free_tokens for row in rows)


def drawing(point: Point) -> tuple[Callable[[], object], int]:
    """A batch of completions, and its new tokens."""
    from alignment.generation.generate import Sampling, generate
    from alignment.policy.policy import make_network

    policy, prompts = make_network(config_of(point), seed=0).eval(), [row.prompt for row in branched_rows(point, 1)]
    num_new = min(point.length // 2, 64)

    def draw() -> object:
        sampling = Sampling(max_new_tokens=num_new)
        return generate(policy, prompts, sampling, num_samples=point.group, token_budget=2**16)

    return draw, num_new * point.rows * point.group


def pairs(point: Point) -> tuple[Callable[[], object], int]:
    """An optimizer step of a reward model or an ensemble, and its tokens."""
    import torch

    from rewardkit.config import RewardConfig
    from rewardkit.network.classifier import RewardScorer, make_classifier
    from rewardkit.reward.lora_ensemble import LoraEnsemble
    from rewardkit.training.reward_objective import RewardObjective
    from rewardkit.training.rows import TrainingRows

    rows, ones = branched_rows(point, 2), torch.ones(point.rows)
    training_rows = TrainingRows(
        rows=rows,
        p_chosen=ones,
        weight=ones,
        margin=0 * ones,
        outcome_shares=torch.tensor([[1.0, 0.0, 0.0]]).expand(point.rows, 3),
        reliability_logits=0 * ones,
        prompt=torch.arange(point.rows),
    )
    config = RewardConfig(model="small", data="none", out="none", ensemble=point.members, precision="fp32")
    classifier = make_classifier(config_of(point), seed=0)
    if point.adapters:
        scorer: RewardScorer = LoraEnsemble(classifier, num_members=point.members, rank=16, num_layers=2)
    else:
        scorer = RewardScorer(classifier, num_members=point.members)
    objective = RewardObjective(scorer, training_rows, training_rows, config)
    return optimizer_steps(objective, point), sum(row.num_padded_free_tokens for row in rows)


def optimizer_steps(objective: Any, point: Point) -> Callable[[], object]:
    """Takes a step on all rows, shared out to the processes there are."""
    from rewardkit.distributed.optimization import adamw
    from rewardkit.training.loop import sum_parts
    from rewardkit.training.steps import optimizer_step

    optimizer = adamw(objective.parameter_groups(), 1e-5)
    objective.network.train()

    def step() -> object:
        sums = sum_parts(objective, range(point.rows), measures=False, learns=True)
        return optimizer_step(optimizer, sums, max_grad_norm=1.0)

    return step


WORK = {"learn": learning, "draw": drawing, "pairs": pairs}


def measure(point: Point) -> dict[str, float]:
    """In this process, alone or one of several, whose CPU seconds and memory are added."""
    keep_large_buffers()  # as a command does before torch
    import torch

    from rewardkit.distributed import collectives

    torch.set_num_threads(point.threads)
    collectives.init_process_group()
    step, tokens = WORK[point.work](point)
    wall, cpu = [], []
    for _ in range(STEPS):
        started, before = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - before)
    of_all = collectives.all_gather_object((median(cpu[WARM_UP:]), peak_mb()))
    return {
        "tokens_per_s": tokens / median(wall[WARM_UP:]),
        "tokens_per_cpu_s": tokens / sum(cpu_s for cpu_s, _ in of_all),
        "peak_mb": sum(peak for _, peak in of_all),
    }


def run(point: Point) -> dict[str, float] | None:
    """A point in processes of its own; None where memory does not suffice."""
    if point.num_weights * BYTES_A_WEIGHT > free_bytes() / 2:
        return None
    words = [__file__, f"--point={json.dumps(asdict(point))}"]
    if point.processes > 1:
        words = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={point.processes}", *words]
    environment = os.environ | {"OMP_NUM_THREADS": str(point.threads), "CUDA_VISIBLE_DEVICES": ""}
    sleep_between_products(environment)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *words], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    print(f"{asdict(point)}: {figures}", file=sys.stderr, flush=True)
    return figures


def free_bytes() -> float:
    """Of memory; endless where the system does not say."""
    file = Path("/proc/meminfo")
    lines = file.read_text().splitlines() if file.exists() else []
    return next((int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable")), float("inf"))


def main() -> None:
    """Measures all points and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller points")
    parser.add_argument("--out", default="build/scaling.html", help="page; figures go beside it as JSON")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which no further point begins")
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        found = measure(Point(**json.loads(options.point)))
        if os.environ.get("RANK", "0") == "0":
            print(json.dumps(found), flush=True)
        os._exit(0)  # as one of several processes ends
    all_studies, deadline = studies(options.quick), time.monotonic() + 60 * options.minutes
    points = [point for study in all_studies for curve in study.curves for point in curve.points]
    figures: dict[Point, dict[str, float]] = {}
    for point in sorted({*points, *TOGETHER.values()}, key=lambda one: (one.num_weights, one.length)):
        if time.monotonic() < deadline and (found := run(point)):
            figures[point] = found
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page(all_studies, figures), encoding="utf-8")
    rows = [asdict(point) | found for point, found in figures.items()]
    out.with_suffix(".json").write_text(json.dumps(rows, indent=1))
    print(out)


FIGURES = {"tokens_per_s": "tokens a second", "tokens_per_cpu_s": "tokens a CPU second", "peak_mb": "peak, MB"}


def page(all_studies: Sequence[Study], figures: Mapping[Point, Mapping[str, float]]) -> str:
    """All curves, and every point in a table."""
    charts = [
        (f"{study.heading}: {name}", chart(study, figures, figure, name))
        for study in all_studies
        for figure, name in FIGURES.items()
    ]
    tables = [
        Table(
            heading=study.heading,
            header=["", study.axis, *FIGURES.values()],
            rows=[
                [curve.name, f"{x:,.4g}", *(f"{figures[point][figure]:,.0f}" for figure in FIGURES)]
                for curve in study.curves
                for point, x in zip(curve.points, curve.x, strict=True)
                if point in figures
            ],
        )
        for study in all_studies
    ]
    return experiment_page(
        "Scaling",
        summary=f"Random weights and tokens, fp32, medians of {STEPS - WARM_UP} steps. Processes together:",
        header=["", *FIGURES.values()],
        rows=[
            [name, *(f"{figures[point][figure]:,.0f}" for figure in FIGURES)]
            for name, point in TOGETHER.items()
            if point in figures
        ],
        charts=charts,
        tables=tables,
    )


def chart(study: Study, figures: Mapping[Point, Mapping[str, float]], figure: str, name: str) -> Markup:
    """A figure over the quantity of a study."""
    lines = []
    for number, curve in enumerate(study.curves, start=1):
        there = [(math.log2(x), figures[p][figure]) for p, x in zip(curve.points, curve.x, strict=True) if p in figures]
        lines.append(Line(name=curve.name, x=[x for x, _ in there], y=[y for _, y in there], series=number, dots=3))
    ends = [x for line in lines for x in line.x] or [0.0]
    along = Doublings(
        name=study.axis, low=math.floor(min(ends)), high=max(math.ceil(max(ends)), math.floor(min(ends)) + 1), step=1.0
    )
    up = number_axis(name, [0.0, *(y for line in lines for y in line.y)])
    return line_chart(f"{study.heading}: {name}", along, up, lines)


if __name__ == "__main__":
    main()
