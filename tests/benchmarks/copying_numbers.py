"""What makes a small policy copy a number, and so reach the demonstrations that it imitates?

In the simulated world a reply may name the amount of the message. SFT on the same number of demonstrations begins with
four policies of random weights, which differ in one thing after another:

    tiny            four layers; amounts are any of 181, most of them one token of a tokenizer trained on the messages
    digits          the same as wide, and every digit is a token of its own
    wide            two layers whose weights are drawn with a standard deviation of 0.08 instead of 0.02
    eight           the same as wide, and there are eight amounts; the start of `alignment compare`
    eight, 4000     the same, with twice the demonstrations and half the epochs

Told are gold of SFT's replies to held-out messages, a demonstration's, the difference paired by message, and how often
a reply names the right amount, or another.

    python tests/benchmarks/copying_numbers.py [--seeds 100] [--starts tiny digits eight]

Needs no network and no GPU; a start of a seed takes some 45 CPU seconds (`tiny` 90).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import pre_tokenizers

from alignment.lab.gold_evaluation import NUM_SAMPLES, draw_replies, load_sampler, worth_of_texts
from alignment.lab.steps import Step, run_step
from alignment.policy.policy import make_network
from alignment.simulated_world import (
    SFT_BATCH,
    SFT_RATE,
    START_LAYERS,
    START_SPREAD,
    WorldFiles,
    held_out_replies,
    write_world,
)
from rewardkit.data.files import read_rows
from rewardkit.data.prompts import read_prompts
from rewardkit.network.models import preset_config
from rewardkit.network.tokens import train_tokenizer
from rewardkit.report.table import signed_text, text_table
from rewardkit.simulation.support_desk_world import read_traits
from rewardkit.stats.metrics import difference_interval


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where SFT begins, and in which world."""

    num_numbers: int = 0
    is_wide: bool = True
    has_digits: bool = False
    num_demonstrations: int = 2000
    epochs: int = 4


STARTS: Mapping[str, Start] = {
    "tiny": Start(is_wide=False),
    "digits": Start(has_digits=True),
    "wide": Start(),
    "eight": Start(num_numbers=8),
    "eight, 4000": Start(num_numbers=8, num_demonstrations=4000, epochs=2),
}


def write_policy(files: WorldFiles, start: Start, seed: int) -> None:
    """Writes random weights and a tokenizer."""
    rows = (row for _, row in read_rows(files.demonstrations))
    texts = [message["content"] for row in rows for message in (*row["prompt"], *row["completion"])]
    tokenizer = train_tokenizer(texts)
    if start.has_digits:
        digits = pre_tokenizers.Digits(individual_digits=True)
        words = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, words])
        template = tokenizer.chat_template
        tokenizer = tokenizer.train_new_from_iterator(texts, 8192)
        tokenizer.chat_template = template
    config = preset_config("tiny", tokenizer)
    if start.is_wide:
        config.num_hidden_layers, config.initializer_range = START_LAYERS, START_SPREAD
    make_network(config, seed=seed).save_pretrained(files.start)
    tokenizer.save_pretrained(files.start)


def line(name: str, seed: int, folder: Path) -> list[str]:
    """Trains, draws and tells."""
    start = STARTS[name]
    world = {"seed": seed, "num_train": start.num_demonstrations, "num_numbers": start.num_numbers}
    files = write_world(folder / "world", **world)
    write_policy(files, start, seed)
    words = [
        *("alignment", "sft", f"--model={files.start}", f"--data={files.demonstrations}", f"--epochs={start.epochs}"),
        *(f"--learning-rate={SFT_RATE}", f"--batch-size={SFT_BATCH}", "--sample-every=0", "--entropy-every=0"),
        f"--seed={seed}",
    ]
    spent = run_step(
        Step(name=f"seed {seed}: {name}", words=words, out=folder / "sft"), lambda said: print(said, file=sys.stderr)
    )
    prompts = read_prompts(files.held_out).rows
    replies = draw_replies(load_sampler(str(folder / "sft")), prompts, n=NUM_SAMPLES, seed=seed)
    own, shown = replies.worth(None, None).gold, worth_of_texts(prompts, held_out_replies(**world), None).gold
    behind = difference_interval(own.mean(1), shown.mean(1), np.arange(len(prompts)))
    repeated = [prompt for prompt in prompts for _ in range(NUM_SAMPLES)]
    traits = [read_traits(prompt, one.text) for prompt, one in zip(repeated, replies.drawn, strict=True)]
    shares = [
        float(np.mean([each[trait] for each in traits])) for trait in ("right_step", "right_amount", "wrong_amount")
    ]
    means = [f"{own.mean():+.2f}", f"{shown.mean():+.2f}", signed_text(behind)]
    return [name, str(seed), *means, *(f"{share:.2f}" for share in shares), str(spent.num_updates)]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100])
    parser.add_argument("--starts", nargs="+", choices=list(STARTS), default=list(STARTS))
    options = parser.parse_args()
    header = (
        "start",
        "seed",
        "SFT",
        "demonstration",
        "SFT beside it",
        "right step",
        "right amount",
        "wrong",
        "updates",
    )
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            line(name, seed, Path(folder) / f"{seed}-{number}")
            for seed in options.seeds
            for number, name in enumerate(options.starts)
        ]
    print(text_table(header, rows))


if __name__ == "__main__":
    main()
