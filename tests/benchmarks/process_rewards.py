"""Is a label of a step worth more than a label of an answer? A process reward model beside an outcome model.

    python tests/benchmarks/process_rewards.py --seeds 3

Problems are sums of five digits, worked out in four steps, each modulo 10 and each restating what it adds to what
("7 + 2 = 9"); a generator errs in a step with probability 0.2 and goes on from its error. The process model is trained
on `--labels` step labels (right: neither this step nor one before it errs), the outcome model on as many answers as
there are labels, each labelled by its end alone, so four times as many answers; a third one is an outcome model on the
process model's own answers. All are `rewardkit train` on the same random network of two layers, with labels of a tenth
of the problems held out; the outcome models are trained on rows whose last step alone has a label.

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
        return self.result == sum(self.problem) % 10


def problem(rng: np.random.Generator) -> tuple[int, ...]:
    return (int(rng.integers(10)), *(int(digit) for digit in rng.integers(1, LARGEST + 1, NUM_STEPS)))


def solve(digits: tuple[int, ...], rng: np.random.Generator) -> Solution:
    """One answer of the generator."""
    value, steps, labels, right = digits[0], [], [], 1.0
    for digit in digits[1:]:
        result = (value + digit) % 10
        if rng.random() < ERRS:
            result, right = int((result + rng.integers(1, 10)) % 10), 0.0
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


def make_network(folder: Path, seed: int) -> None:
    """Random weights of two layers, and a tokenizer of single characters, nearly."""
    rng = np.random.default_rng(seed)
    texts = [text for _ in range(100) for one in [solve(problem(rng), rng)] for text in (one.prompt, *one.steps)]
    tokenizer = train_tokenizer(texts, vocab_size=264)
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **shape, **ids)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def trained(folder: Path, name: str, rows: Path, *, epochs: int, seed: int) -> ProcessRewardModel:
    options = {"epochs": epochs, "batch-size": 32, "learning-rate": 2e-3, "patience": 0, "precision": "fp32"}
    words = [f"--{option}={value}" for option, value in options.items()]
    paths = [f"--model={folder}/network", f"--data={rows}", f"--out={folder}/{name}"]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        # Sums repeat: a prompt may be drawn twice, but the split is by prompt.
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
    return float(result == sum(group[0].problem) % 10)


def one_seed(seed: int, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """(P,) hits by way of choosing."""
    rng = np.random.default_rng(seed)
    solutions = [solve(problem(rng), rng) for _ in range(options.labels)]
    few = solutions[: options.labels // NUM_STEPS]
    seen = {one.problem for one in solutions}
    fresh: list[tuple[int, ...]] = []
    while len(fresh) < options.problems:
        if (digits := problem(rng)) not in seen:
            seen.add(digits)
            fresh.append(digits)
    groups = [[solve(digits, rng) for _ in range(options.n)] for digits in fresh]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_network(folder / "network", seed)
        for rows, which, outcome in (("steps", few, False), ("outcomes", solutions, True), ("few", few, True)):
            write_rows(folder / f"{rows}.jsonl", which, outcome=outcome)
        process = trained(folder, "prm", folder / "steps.jsonl", epochs=options.epochs, seed=seed)
        outcome_model = trained(folder, "orm", folder / "outcomes.jsonl", epochs=options.epochs, seed=seed)
        of_few = trained(folder, "few", folder / "few.jsonl", epochs=options.epochs, seed=seed)
        found = {f"process, {rule}": hits(process, groups, rule) for rule in ("min", "product", "last", "mean")}
        found["outcome, as many labels"] = hits(outcome_model, groups, "last")
        found["outcome, as many answers"] = hits(of_few, groups, "last")
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
    parser.add_argument("--problems", type=int, default=150)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=15)
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
