"""Choosing and searching by rewards of steps: the best of a policy's own answers, votes, and beams, of as many answers.

    python tests/benchmarks/step_search.py [--seeds 3]

A problem adds five small numbers to a first one, modulo 5, `4 + 3 + 2 ...`; an answer works it out line by line,
`4 + 3 = 2`. A policy of two layers is fine-tuned on demonstrations in which a fifth of the lines slip, so that
few of its own answers are right. It answers further problems, and each line of these answers is checked (does it go on
from the line before, by the problem's next digit, to the right result, and did all lines before it?), and so is the
result. All reward models begin from the policy, with the same options and as many optimizer steps:

- prm: on a label for each line of an answer;
- orm: on as many labels in all, one an answer, its result's: so on five times as many answers;
- orm, same answers: on the answers of prm, a label each.

All choose among the same answers to held-out problems; beams are drawn anew, as many at a time. Intervals are of 95
percent, by bootstrap over the problems of all seeds; differences are paired by problem.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from alignment.__main__ import main as alignment_main
from alignment.best_of_n.beam import beam_search
from alignment.best_of_n.votes import elected
from alignment.config.rewards import RewardOptions
from alignment.config.sampling import BonConfig
from alignment.generation.completion_sampler import Sampler, load_samplers
from alignment.rewards.rewards import load_rewards
from alignment.rewards.source import RewardBatch
from rewardkit.__main__ import main as rewardkit_main
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.network.tokens import train_tokenizer
from rewardkit.stats.metrics import Interval, mean_interval, share_difference_interval

LINES, MODULUS, SLIPS, LARGEST = 5, 5, 0.2, 3
DEMONSTRATIONS, LABELLED, HELD_OUT = 1500, 4000, 200
EPOCHS = 12  # over the answers of prm
SIZES = (4, 16)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """A problem: the first number, and those that are added to it line by line."""

    start: int
    digits: tuple[int, ...]

    @property
    def prompt(self) -> str:
        return " + ".join(map(str, (self.start, *self.digits)))

    def lines(self, slips: Sequence[int]) -> str:
        """The answer, with a line's result off by its slip; the lines after it go on from there."""
        value, lines = self.start, []
        for digit, slip in zip(self.digits, slips, strict=True):
            lines.append(f"{value} + {digit} = {(value + digit + slip) % MODULUS}")
            value = (value + digit + slip) % MODULUS
        return "\n".join(lines)

    def labels(self, steps: Sequence[str]) -> list[bool]:
        """Of each line of an answer whether it and all before it are as they should be."""
        right = self.lines([0] * LINES).split("\n")
        so_far = [step == line for step, line in zip(steps, right, strict=False)] + [False] * (len(steps) - LINES)
        return [all(so_far[: number + 1]) for number in range(len(steps))]

    def is_solved(self, text: str) -> bool:
        """Whether the last number of an answer is the right one."""
        return text.rstrip().rpartition(" ")[2] == str((self.start + sum(self.digits)) % MODULUS)


def draw_chains(rng: np.random.Generator, count: int, held_out: Collection[Chain] = ()) -> list[Chain]:
    """Problems, drawn with equal chances among those that are not held out."""
    every = [
        Chain(start=start, digits=digits)
        for start in range(MODULUS)
        for digits in product(range(1, LARGEST + 1), repeat=LINES)
    ]
    free = [one for one in every if one not in held_out]
    return [free[int(place)] for place in rng.integers(0, len(free), count)]


def demonstrations(rng: np.random.Generator, held_out: Collection[Chain]) -> list[dict[str, str]]:
    """Answers of which a share of lines slip."""
    slips = rng.integers(1, MODULUS, (DEMONSTRATIONS, LINES)) * (rng.random((DEMONSTRATIONS, LINES)) < SLIPS)
    chains = draw_chains(rng, DEMONSTRATIONS, held_out)
    return [
        {"prompt": one.prompt, "completion": one.lines(row)} for one, row in zip(chains, slips.tolist(), strict=True)
    ]


def make_network(folder: Path, texts: Sequence[str], seed: int) -> None:
    """Random weights of two layers, and a tokenizer of single characters, nearly.

    The weights are as large as layers this narrow need, 1 / sqrt(64); from 0.02, which suits wide ones, nothing is
    learned for the first thousand steps.
    """
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(texts, vocab_size=264)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.12,
    }
    config = LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape, **ids)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(main: Callable[[list[str]], int], *words: str) -> None:
    """Runs a command of ours, which says nothing."""
    with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
        code = main(list(words))
    if code:
        raise RuntimeError(f"{' '.join(words)}: {told.getvalue()[-2000:]}")


def write_rows(file: Path, rows: Sequence[Mapping[str, object]]) -> str:
    """Writes JSON lines; returns the path."""
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(file)


def train_models(
    seed: int, folder: Path, rng: np.random.Generator, held_out: Collection[Chain]
) -> tuple[Sampler, BonConfig]:
    """The policy, and in folders of their names the reward models that learned from its answers."""
    rows = demonstrations(rng, held_out)
    make_network(folder / "network", [text for row in rows[:200] for text in row.values()], seed)
    words = [f"--seed={seed}", "--batch-size=32", "--learning-rate=2e-3", "--precision=fp32"]
    data, sft = write_rows(folder / "demonstrations.jsonl", rows), str(folder / "sft")
    more = [f"--data={data}", f"--out={sft}", "--epochs=12", "--sample-every=0"]
    run(alignment_main, "sft", f"--model={folder}/network", *more, *words)
    (sampler,) = load_samplers([sft])
    options = {"model": sft, "prompts": "-", "out": "-", "reward": ["numeric"], "n": max(SIZES), "seed": seed}
    config = BonConfig(**options, search="beam", max_new_tokens=80, token_budget=65536)  # pyright: ignore
    problems = draw_chains(rng, LINES * LABELLED, held_out)
    groups = sampler.draw([row_of(one).prompt for one in problems], config, n=1)
    answers = [(chain, split_steps(one.text)) for chain, (one,) in zip(problems, groups, strict=True)]
    for name, part in (("prm", answers[:LABELLED]), ("orm", answers), ("orm, same answers", answers[:LABELLED])):
        of_lines = name == "prm"
        rows = [
            {
                "prompt": chain.prompt,
                "completions": list(steps),
                "labels": chain.labels(steps) if of_lines else [None] * (len(steps) - 1) + [chain.is_solved(steps[-1])],
            }
            for chain, steps in part
            if steps
        ]
        data, epochs = write_rows(folder / f"{name}.jsonl", rows), EPOCHS * LABELLED // len(part)
        more = [f"--data={data}", f"--out={folder}/{name}", f"--epochs={epochs}", "--patience=0"]
        run(rewardkit_main, "train", f"--model={sft}", *more, *words)
    return sampler, config


def row_of(chain: Chain) -> PromptRow:
    """The problem as a prompt."""
    return PromptRow(prompt=(Message(role="user", content=chain.prompt),), columns={})


def run_seed(seed: int, folder: Path) -> dict[str, np.ndarray]:
    """(P,) whether the held-out problems are solved, by way of choosing and number of answers; all by one policy."""
    rng = np.random.default_rng(seed)
    chains = list(dict.fromkeys(draw_chains(rng, 2 * HELD_OUT)))[:HELD_OUT]  # each once
    sampler, config = train_models(seed, folder, rng, chains)
    rows, every = [row_of(one) for one in chains], range(HELD_OUT)
    keys = range(LINES * LABELLED, LINES * LABELLED + HELD_OUT)
    drawn = sampler.draw([row.prompt for row in rows], config, n=max(SIZES), keys=keys)
    batch, texts = RewardBatch.of_groups(rows, drawn), [[one.text for one in group] for group in drawn]
    solved = np.array([[one.is_solved(text) for text in of_one] for one, of_one in zip(chains, texts, strict=True)])
    rewards: dict[str, np.ndarray] = {}
    ways = (("prm", "min"), ("prm", "product"), ("prm", "last"), ("orm", "last"), ("orm, same answers", "last"))
    for name, rule in ways:
        with load_rewards(RewardOptions(reward=[str(folder / name)], step_reward=rule)) as source:
            key = f"{name}, {rule}" if name == "prm" else name
            rewards[key] = source.score(batch).total.reshape(solved.shape)
    hits: dict[str, np.ndarray] = {}
    for n in SIZES:
        hits[f"one answer {n}"] = solved.mean(1)
        picks = {name: values[:, :n].argmax(1).tolist() for name, values in rewards.items()}
        for name in ("majority", *rewards):
            weights = rewards.get(name, np.zeros(solved.shape))[:, :n].tolist()
            weighted = name in rewards
            elect = [elected(of[:n], by, weighted=weighted) or 0 for of, by in zip(texts, weights, strict=True)]
            picks[f"vote, weighted by {name}" if weighted else name] = elect
        hits |= {f"{name} {n}": solved[every, pick].astype(float) for name, pick in picks.items()}
        with load_rewards(RewardOptions(reward=[str(folder / "prm")])) as source:
            beams = beam_search(replace(config, n=n), rows, sampler, source, keys=keys)
            totals = iter(source.score(RewardBatch.of_groups(rows, beams)).total.tolist())
        best = [max(zip(islice(totals, len(of)), of, strict=True), key=lambda pair: pair[0])[1].text for of in beams]
        found = [one.is_solved(text) for one, text in zip(chains, best, strict=True)]
        hits[f"beams by prm, min {n}"] = np.array(found, dtype=float)
        hits[f"any of them {n}"] = solved[:, :n].any(1).astype(float)
    return hits


def table(by_seed: Sequence[Mapping[str, np.ndarray]]) -> str:
    """A row a way of choosing: the share solved at each n, and by how much prm, min lies above it at the largest."""
    hits = {name: np.concatenate([one[name] for one in by_seed]) for name in by_seed[0]}
    problems, most = np.arange(len(hits[f"majority {SIZES[0]}"])), max(SIZES)
    heads = " | ".join(f"of {n}, %" for n in SIZES)
    lines = [f"| chosen by | {heads} | prm, min above it, of {most} |", f"|---|{'---:|' * (len(SIZES) + 1)}"]
    for name in dict.fromkeys(key.rpartition(" ")[0] for key in hits):
        shares = " | ".join(shown(mean_interval(hits[f"{name} {n}"], problems)) for n in SIZES)
        lead = hits[f"prm, min {most}"], hits[f"{name} {most}"]
        beside = "" if name == "prm, min" else shown(share_difference_interval(*lead, problems))
        lines.append(f"| {name} | {shares} | {beside} |")
    return "\n".join(lines)


def shown(share: Interval) -> str:
    """In percent, or points."""
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def main() -> None:
    """Prints the table after every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    by_seed = []
    for seed in range(parser.parse_args().seeds):
        with tempfile.TemporaryDirectory() as folder:
            by_seed.append(run_seed(seed, Path(folder)))
        print(f"{seed + 1} seeds\n{table(by_seed)}\n", flush=True)


if __name__ == "__main__":
    main()
