"""In a world of known worth: does DPO on what people said raise the gold reward over SFT, and what does beta do?

Simulated annotators judge pairs of replies; a `tiny` policy is made here and fine-tuned on the replies as they come
(SFT), then by plain DPO from the shares of votes at several betas. Both then answer held-out messages, and the gold
reward is read off what they write (`rewardkit.simulation.support_desk_world.read_traits`), most of it for the step and
the amount that fit the message. KL to the SFT policy is k1, from the DPO policy's own samples. All that is not told
here is a default.

The settings were chosen on seed 100. How long SFT trains matters most: a policy that does not read the message yet has
no right step to prefer, and DPO only pushes it away.

    python tests/benchmarks/dpo_gold_world.py [--seeds 0,1,2] [--betas 0.03,0.1,0.3,1,3] [--page FILE.html] [--json]

Needs no network and no GPU. A seed takes some six minutes on two cores; `--seeds 0 --betas 0.1` is the shortest.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from alignment.lab.gold_evaluation import Worth, draw_replies, load_sampler, worth_of_texts
from alignment.lab.steps import Step, run_step, sft_step
from alignment.simulated_world import NUM_TRAIN, held_out_replies, write_world
from rewardkit.data.prompts import read_prompts
from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import experiment_page
from rewardkit.stats.metrics import Interval, average_interval, difference_interval

NUM_SAMPLES = 2  # replies to a held-out message


@dataclass(frozen=True, kw_only=True)
class Result:
    """One policy of one seed on the held-out messages.

    Attributes:
        beta: 0 is SFT alone, None a demonstration, which SFT imitates.
        gold: mean gold reward of its replies.
        gain: gold minus that of SFT, paired by message; None for SFT.
        kl: nats a reply.
        words: of a reply.
        training_s: wall clock of its own training.
    """

    seed: int
    beta: float | None
    gold: Interval
    gain: Interval | None
    kl: float
    words: float
    training_s: float


def run_seed(seed: int, betas: list[float], folder: Path) -> list[Result]:
    """SFT once, then DPO at each beta."""
    files = write_world(folder / "world", seed=seed)
    prompts = read_prompts(files.held_out).rows
    common = ["--batch-size=16", "--sample-every=0", "--entropy-every=0", f"--seed={seed}"]
    took = run_step(sft_step(seed, folder, files), tell).seconds
    reference = load_sampler(str(folder / "sft"))
    base = draw_replies(reference, prompts, n=NUM_SAMPLES, seed=seed).worth(None, None)
    texts = held_out_replies(seed=seed, num_train=NUM_TRAIN)
    shown = worth_of_texts(prompts, texts, None)
    found = [replace(result_of(seed, None, shown, base, 0.0), kl=float("nan")), result_of(seed, 0.0, base, base, took)]
    for beta in betas:
        out = folder / f"dpo-{beta:g}"
        words = [
            *("alignment", "dpo", f"--model={folder / 'sft'}", f"--data={files.preferences}", f"--beta={beta}"),
            *(f"--reference-cache={folder / 'reference'}", *common),
        ]
        took = run_step(Step(name=f"seed {seed}: DPO, beta {beta:g}", words=words, out=out), tell).seconds
        replies = draw_replies(load_sampler(str(out)), prompts, n=NUM_SAMPLES, seed=seed)
        found.append(result_of(seed, beta, replies.worth(reference, None), base, took))
    return found


def tell(said: str) -> None:
    """Says what is going on."""
    print(said, file=sys.stderr, flush=True)


def result_of(seed: int, beta: float | None, worth: Worth, base: Worth, training_s: float) -> Result:
    """Figures of a policy."""
    gold = worth.gold.ravel()
    numbers = np.repeat(np.arange(len(worth.gold)), NUM_SAMPLES)
    return Result(
        seed=seed,
        beta=beta,
        gold=average_interval(gold, numbers),
        gain=None if beta == 0 else difference_interval(gold, base.gold.ravel(), numbers),
        kl=float(worth.kl.mean()),
        words=float(worth.words.mean()),
        training_s=training_s,
    )


def name_of(result: Result) -> str:
    """What stands behind a result."""
    if result.beta is None:
        return "demonstration"
    return f"DPO {result.beta:g}" if result.beta else "SFT"


def table(results: list[Result]) -> str:
    """For people."""
    lines = [f"{'seed':>4} {'policy':<13} {'gold (95 %)':>24} {'above SFT (95 %)':>26} {'KL':>7} {'words':>6} {'s':>5}"]
    for each in results:
        name = name_of(each)
        gold = f"{each.gold.value:+.2f} ({each.gold.low:+.2f} to {each.gold.high:+.2f})"
        gain = f"{each.gain.value:+.2f} ({each.gain.low:+.2f} to {each.gain.high:+.2f})" if each.gain else ""
        lines.append(
            f"{each.seed:>4} {name:<13} {gold:>24} {gain:>26} {each.kl:>7.2f} {each.words:>6.1f} "
            f"{each.training_s:>5.0f}"
        )
    for beta in sorted({each.beta for each in results if each.beta}):
        gains = [each.gain.value for each in results if each.beta == beta and each.gain]
        kls = [each.kl for each in results if each.beta == beta]
        lines.append(
            f"beta {beta:g}: gold {np.mean(gains):+.2f} above SFT (lowest seed {min(gains):+.2f}), "
            f"KL {np.mean(kls):.2f}, {len(gains)} seeds"
        )
    return "\n".join(lines)


def curve(results: list[Result]) -> str:
    """A page with gold reward against KL, a line a seed from SFT through the betas."""
    seeds = sorted({each.seed for each in results})
    lines = []
    for number, seed in enumerate(seeds):
        moved = (each for each in results if each.seed == seed and each.beta is not None)
        points = sorted(moved, key=lambda each: each.kl)
        x, y = [each.kl for each in points], [each.gold.value for each in points]
        lines.append(Line(name=f"seed {seed}", x=x, y=y, series=1 + number % 3, dots=4))
    kl = number_axis("KL to SFT, nats a reply", [value for line in lines for value in line.x])
    gold = number_axis("gold reward", [value for line in lines for value in line.y])
    rows = [[str(each.seed), name_of(each), f"{each.gold.value:+.2f}", f"{each.kl:.2f}"] for each in results]
    chart = line_chart("Gold reward against KL", kl, gold, lines)
    return experiment_page(
        "DPO in a world of known worth",
        header=["seed", "policy", "gold", "KL"],
        rows=rows,
        charts=[("Gold reward against KL", chart)],
    )


def main() -> None:
    """Runs all seeds and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="0,1,2", help="of the worlds, separated by commas")
    parser.add_argument("--betas", default="0.03,0.1,0.3,1,3", help="separated by commas")
    parser.add_argument("--page", type=Path, help="write the curve there, as HTML")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    options = parser.parse_args()
    betas = [float(part) for part in options.betas.split(",")]
    results: list[Result] = []
    for seed in (int(part) for part in options.seeds.split(",")):
        with tempfile.TemporaryDirectory(prefix="tiebreak-gold-") as folder:
            results += run_seed(seed, betas, Path(folder))
    if options.page:
        options.page.write_text(curve(results), encoding="utf-8")
    print(json.dumps([asdict(each) for each in results], indent=1) if options.json else table(results))


if __name__ == "__main__":
    main()
