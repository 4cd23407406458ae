"""In a world of known worth: does DPO on what people said raise the gold reward over SFT, and what does beta do?

Simulated annotators judge pairs of replies; a `tiny` policy is made here and fine-tuned on the replies as they come
(SFT), then by plain DPO from the shares of votes at several betas. Both then answer held-out messages, and the gold
reward is read off what they write (`rewardkit.world.read_traits`), most of it for the step and the amount that fit the
message. KL to the SFT policy is k1, from the DPO policy's own samples. All that is not told here is a default.

The settings were chosen on seed 100. How long SFT trains matters most: a policy that does not read the message yet has
no right step to prefer, and DPO only pushes it away.

    python tests/benchmarks/dpo_gold_world.py [--seeds 0,1,2] [--betas 0.03,0.1,0.3,1,3] [--page FILE.html] [--json]

Needs no network and no GPU. A seed takes some six minutes on two cores; `--seeds 0 --betas 0.1` is the shortest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from alignment.__main__ import main as alignment
from alignment.evaluation_config import SampleConfig
from alignment.sample_metrics import estimate_kl
from alignment.sampler import Sampler, load_samplers
from rewardkit.data import Message
from rewardkit.html_page import page
from rewardkit.html_page import table as html_table
from rewardkit.metrics import Interval, difference_interval
from rewardkit.preference_rows import turn, turns
from rewardkit.simulation import SimulatedAnnotator, simulate_judgments
from rewardkit.svg import Line, line_chart, number_axis
from rewardkit.world import World
from rewardkit.writing import write_rows

NUM_TRAIN, NUM_HELD_OUT, NUM_SAMPLES = 2000, 100, 2
SFT = ("--epochs", "4", "--learning-rate", "3e-3")
ANNOTATORS = [SimulatedAnnotator(name=f"sim-{name}") for name in ("ada", "ben", "cyd", "dov", "eve")]
OVERLAP = 3


@dataclass(frozen=True, kw_only=True)
class Result:
    """One policy of one seed on the held-out messages.

    Attributes:
        beta: 0 is SFT alone.
        gold: mean gold reward of its replies.
        gain: gold minus that of SFT, paired by message; None for SFT.
        kl: nats a reply.
        words: of a reply.
        training_s: wall clock of its own training.
    """

    seed: int
    beta: float
    gold: Interval
    gain: Interval | None
    kl: float
    words: float
    cut: float
    training_s: float


def write_data(world: World, folder: Path, seed: int) -> None:
    """demonstrations.jsonl, a reply a message as they come, and preferences.jsonl with shares of votes."""
    prompts = list(world.prompts())[:NUM_TRAIN]
    rng = np.random.default_rng([seed, 7])
    write_rows(
        folder / "demonstrations.jsonl",
        (
            {"prompt": turns(each.prompt), "completion": [turn("assistant", str(each.responses[rng.integers(2)].text))]}
            for each in prompts
        ),
    )
    items = list(world.comparisons())[:NUM_TRAIN]
    votes: dict[str, list[float]] = {}
    for judgment in simulate_judgments(items, ANNOTATORS, overlap=OVERLAP, seed=seed):
        share = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": 0.5}.get(judgment.choice)
        if share is not None:
            votes.setdefault(judgment.comparison_id, []).append(share)
    rows = []
    for item in items:
        p_a = float(np.mean(votes[item.comparison.id]))
        one, other = item.comparison.completion_a, item.comparison.completion_b
        chosen, rejected = (one, other) if p_a >= 0.5 else (other, one)
        p_chosen = max(p_a, 1 - p_a)
        rows.append(
            {"prompt": turns(item.comparison.prompt), "chosen": chosen, "rejected": rejected, "p_chosen": p_chosen}
        )
    write_rows(folder / "preferences.jsonl", rows)


def train(*words: str) -> float:
    """Runs one training command; seconds it took."""
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        code = alignment(list(words))
    if code:
        raise SystemExit(f"alignment {' '.join(words)} ended with {code}")
    return time.perf_counter() - start


def measure(folder: Path, world: World, held_out: list[tuple[Message, ...]], reference: Sampler | None, seed: int):
    """(messages x samples,) gold rewards, and the sampler with its completions."""
    (sampler,) = load_samplers([str(folder)])
    config = SampleConfig(model=[str(folder)], prompts="-", out="-", max_new_tokens=128, seed=seed)
    drawn = [one for group in sampler.draw(held_out, config, n=NUM_SAMPLES) for one in group]
    prompts = [prompt for prompt in held_out for _ in range(NUM_SAMPLES)]
    gold = np.array([world.gold(prompt, one.text) for prompt, one in zip(prompts, drawn, strict=True)])
    kl = 0.0
    if reference:
        logps = reference.logps([one.sampled for one in drawn], temperature=1.0)
        own = [np.array(one.sampled.logps) for one in drawn]
        kl = estimate_kl(
            own, logps, np.repeat(np.arange(len(held_out)), NUM_SAMPLES), estimator="k1"
        ).per_sequence.value
    words = float(np.mean([len(one.text.split()) for one in drawn]))
    cut = float(np.mean([not one.sampled.finished for one in drawn]))
    return sampler, gold, kl, words, cut


def run_seed(seed: int, betas: list[float], folder: Path) -> list[Result]:
    """SFT once, then DPO at each beta."""
    world = World(seed=seed, num_prompts=NUM_TRAIN + NUM_HELD_OUT)
    held_out = [each.prompt for each in world.prompts()][NUM_TRAIN:]
    write_data(world, folder, seed)
    common = ["--seed", str(seed), "--batch-size", "16", "--sample-every", "0", "--entropy-every", "0"]
    sft = folder / "sft"
    took = train(
        "sft", "--model", "tiny", "--data", str(folder / "demonstrations.jsonl"), "--out", str(sft), *SFT, *common
    )
    numbers = np.repeat(np.arange(len(held_out)), NUM_SAMPLES)
    reference, base, _, words, cut = measure(sft, world, held_out, None, seed)
    zeros = np.zeros(len(base))
    gold = difference_interval(base, zeros, numbers)
    found = [Result(seed=seed, beta=0.0, gold=gold, gain=None, kl=0.0, words=words, cut=cut, training_s=took)]
    for beta in betas:
        out = folder / f"dpo-{beta:g}"
        took = train(
            *("dpo", "--model", str(sft), "--data", str(folder / "preferences.jsonl"), "--out", str(out)),
            *("--beta", str(beta), "--reference-cache", str(folder / "reference"), *common),
        )
        _, drawn, kl, words, cut = measure(out, world, held_out, reference, seed)
        gold, gain = difference_interval(drawn, zeros, numbers), difference_interval(drawn, base, numbers)
        found.append(Result(seed=seed, beta=beta, gold=gold, gain=gain, kl=kl, words=words, cut=cut, training_s=took))
    return found


def table(results: list[Result]) -> str:
    """For people."""
    lines = [
        f"{'seed':>4} {'policy':<12} {'gold (95 %)':>24} {'above SFT (95 %)':>26} "
        f"{'KL':>7} {'words':>6} {'cut':>5} {'s':>5}"
    ]
    for each in results:
        name = f"DPO {each.beta:g}" if each.beta else "SFT"
        gold = f"{each.gold.value:+.2f} ({each.gold.low:+.2f} to {each.gold.high:+.2f})"
        gain = f"{each.gain.value:+.2f} ({each.gain.low:+.2f} to {each.gain.high:+.2f})" if each.gain else ""
        lines.append(
            f"{each.seed:>4} {name:<12} {gold:>24} {gain:>26} {each.kl:>7.2f} {each.words:>6.1f} {each.cut:>5.0%} "
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
        points = sorted((each for each in results if each.seed == seed), key=lambda each: each.kl)
        x, y = [each.kl for each in points], [each.gold.value for each in points]
        lines.append(Line(name=f"seed {seed}", x=x, y=y, series=1 + number % 3, dots=4))
    kl = number_axis("KL to SFT, nats a reply", [value for line in lines for value in line.x])
    gold = number_axis("gold reward", [value for line in lines for value in line.y])
    rows = [
        [str(each.seed), f"{each.beta:g}" if each.beta else "SFT", f"{each.gold.value:+.2f}", f"{each.kl:.2f}"]
        for each in results
    ]
    chart = line_chart("Gold reward against KL", kl, gold, lines)
    return page("DPO in a world of known worth", [chart, html_table(["seed", "beta", "gold", "KL"], rows)])


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
