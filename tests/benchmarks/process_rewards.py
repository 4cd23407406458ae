"""Is a label of a step worth more than a label of an answer? A process reward model beside an outcome model.

    python tests/benchmarks/process_rewards.py --seeds 3

Problems are sums of five digits, worked out in four steps, each modulo 5 and each restating what it adds to what
("4 + 2 = 1"); a generator errs in a step with probability 0.2 and goes on from its error. The process model is trained
on `--labels` step labels (right: neither this step nor one before it errs), the outcome model on as many answers as
there are labels, each labelled by its end alone, so four times as many answers; a third one is an outcome model on the
process model's own answers. All are `rewardkit train` on the same random network of two layers for about `--steps`
optimizer steps, with labels of a tenth of the problems held out; the outcome models are trained on rows whose last step
alone has a label.

Printed is, over seeds and held-out problems of `--n` candidates each, how often the candidate that a model puts first
ends right (best of n), beside majority vote, the first candidate, and whether any candidate is right; then paired
differences, 95 percent bootstrap intervals over problems.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from transformers import LlamaConfig, LlamaForCausalLM

from rewardkit.__main__ import main as rewardkit_main
from rewardkit.data.records import Message
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward.process_reward import ProcessRewardModel
from rewardkit.reward.step_rewards import aggregate
from rewardkit.stats.metrics import Interval, mean_interval, share_difference_interval

NUM_STEPS, ERRS = 4, 0.2
BATCH, MODULUS = 16, 5
LARGEST = 3  # digits to add; the first digit is any


@dataclass(frozen=True, kw_only=True)
class Solution:
    """An answer to a problem; `labels` says of each step whether nothing up to it errs."""

    problem: tuple[int, ...]
    steps: tuple[str, ...]
    labels: tuple[float, ...]
    result: int

    @property
    def prompt(self) -> str:
        return " + ".join(map(str, self.problem)) + " = ?"

    @property
    def is_right(self) -> bool:
        return self.result == sum(self.problem) % MODULUS


def solve(digits: tuple[int, ...], rng: np.random.Generator) -> Solution:
    """One answer of the generator."""
    value, steps, labels, right = digits[0], [], [], 1.0
    for digit in digits[1:]:
        result = (value + digit) % MODULUS
        if rng.random() < ERRS:
            result, right = int((result + rng.integers(1, MODULUS)) % MODULUS), 0.0
        steps.append(f"{value} + {digit} = {result}")
        labels.append(right)
        value = result
    return Solution(problem=digits, steps=tuple(steps), labels=tuple(labels), result=value)


def write_rows(path: Path, solutions: Sequence[Solution], *, outcome: bool) -> None:
    """Rows for `rewardkit train`; with `outcome` only the last step has a label: whether the result is right."""
    lines = []
    for one in solutions:
        labels = [None] * (NUM_STEPS - 1) + [float(one.is_right)] if outcome else list(one.labels)
        lines.append(json.dumps({"prompt": one.prompt, "completions": one.steps, "labels": labels}))
    path.write_text("\n".join(lines) + "\n")


def make_network(folder: Path) -> None:
    """Random weights of two layers, and a tokenizer of single characters, nearly."""
    tokenizer = train_tokenizer(["1 + 2 = 3 + 4 = ?", "5 + 6 = 7 + 8 = 9 + 0 = ?"], vocab_size=264)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape, **ids)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trained(folder: Path, name: str, rows: Path, *, epochs: int, seed: int) -> ProcessRewardModel:
    options = {"epochs": epochs, "batch-size": BATCH, "learning-rate": 2e-3, "patience": 0, "precision": "fp32"}
    words = [f"--{option}={value}" for option, value in options.items()]
    paths = [f"--model={folder}/network", f"--data={rows}", f"--out={folder}/{name}"]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert rewardkit_main(["train", *paths, *words, f"--seed={seed}"]) == 0
    return ProcessRewardModel.load(folder / name)


def hits(model: ProcessRewardModel, groups: Sequence[Sequence[Solution]], rule: str) -> np.ndarray:
    """(P,) whether the candidate that the model puts first ends right."""
    answers = [one for group in groups for one in group]
    scored = model.score_steps(
        [(Message(role="user", content=one.prompt),) for one in answers], [a.steps for a in answers]
    )
    rewards = np.array([aggregate(one.mean, rule) for one in scored]).reshape(len(groups), -1)  # type: ignore[arg-type]
    return np.array([float(group[int(best)].is_right) for group, best in zip(groups, rewards.argmax(1), strict=True)])


def majority(group: Sequence[Solution]) -> float:
    result = Counter(one.result for one in group).most_common(1)[0][0]
    return float(result == sum(group[0].problem) % MODULUS)


def one_seed(seed: int, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """(P,) hits by way of choosing."""
    rng = np.random.default_rng(seed)
    problems = list(product(range(MODULUS), *[range(1, LARGEST + 1)] * NUM_STEPS))
    rng.shuffle(problems)
    held_out, to_train = problems[: options.problems], problems[options.problems :]
    solutions = [solve(to_train[int(rng.integers(len(to_train)))], rng) for _ in range(options.labels)]
    few = solutions[: options.labels // NUM_STEPS]
    groups = [[solve(tuple(digits), rng) for _ in range(options.n)] for digits in held_out]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_network(folder / "network")
        for rows, which, outcome in (("steps", few, False), ("outcomes", solutions, True), ("few", few, True)):
            write_rows(folder / f"{rows}.jsonl", which, outcome=outcome)
        models = {}
        for rows, which in (("steps", few), ("outcomes", solutions), ("few", few)):
            epochs = max(1, round(options.steps * BATCH / len(which)))
            models[rows] = trained(folder, f"{rows}_model", folder / f"{rows}.jsonl", epochs=epochs, seed=seed)
        found = {f"process, {rule}": hits(models["steps"], groups, rule) for rule in ("min", "product", "last", "mean")}
        found["outcome, as many labels"] = hits(models["outcomes"], groups, "last")
        found["outcome, as many answers"] = hits(models["few"], groups, "last")
    found["majority vote"] = np.array([majority(group) for group in groups])
    found["first candidate"] = np.array([float(group[0].is_right) for group in groups])
    found["any candidate"] = np.array([float(any(one.is_right for one in group)) for group in groups])
    return found


def shown(share: Interval) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=1600)
    parser.add_argument("--problems", type=int, default=120)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--steps", type=int, default=1200)
    options = parser.parse_args()
    by_seed = [one_seed(seed, options) for seed in range(options.seeds)]
    found = {name: np.concatenate([one[name] for one in by_seed]) for name in by_seed[0]}
    problems = np.arange(options.seeds * options.problems)
    print(f"| chosen by | best of {options.n} ends right, % | by seed |\n|---|---|---|")
    for name, values in found.items():
        each = ", ".join(f"{100 * one[name].mean():.1f}" for one in by_seed)
        print(f"| {name} | {shown(mean_interval(values, problems))} | {each} |")
    print("\n| paired difference | points |\n|---|---|")
    for name in ("process, min", "process, product"):
        for other in ("outcome, as many labels", "outcome, as many answers", "majority vote"):
            difference = share_difference_interval(found[name], found[other], problems)
            print(f"| {name} minus {other} | {shown(difference)} |")
    difference = share_difference_interval(found["outcome, as many labels"], found["majority vote"], problems)
    print(f"| outcome, as many labels minus majority vote | {shown(difference)} |")


if __name__ == "__main__":
    main()
