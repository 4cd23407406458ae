"""Which uncertainty sees that people now judge by another criterion? A model of helpfulness, asked about other things.

    python tests/benchmarks/changed_criterion.py --shared FOLDER --seeds 10
    python tests/benchmarks/changed_criterion.py --shared FOLDER --seeds 10 --trunk ENCODER

A Bradley-Terry head on features of prompt and answer together (`rewardkit.scoring.joint_features`; --trunk adds the
states of a network) is trained on hh_helpful_base of FOLDER. It is asked about pairs of prompts held out of these, of
helpful answers drawn in another way (hh_helpful_rs), of film reviews (the kind one is better) and of GSM8K solutions
(the right one against itself with every result one off). Printed are, by uncertainty, the AUROC of the model's errors
in each and over all of them, and of telling each from home: means over seeds, with Student's 95 % interval. A seed
splits home, draws which pairs of the other kinds are asked about (but GSM8K's, which are all), and draws members.

    spread, own rows       members fitted to rows drawn with replacement
    spread, own weights    the same, each on a first layer of random weights of its own (256 units, ReLU), not trained
    spread, own networks   networks of one hidden layer, trained whole from initial weights of their own, on own rows
    Laplace std            of the margin under the head's posterior (last layer)
    Laplace std / margin   over its mean
    probit entropy         of sigma(d / sqrt(1 + pi std^2 / 8)), whose order is that of closeness to a toss-up
    mutual information     of one vote, exact
    Mahalanobis, nearest   distance of the two answers' features from those trained on, mean of both
"""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Message, Preference
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.reward.load import load_states
from rewardkit.reward.reward import States
from rewardkit.scoring.joint_head import JointHead, head_margins
from rewardkit.stats.metrics import auroc, student_interval
from rewardkit.stats.uncertainty import binary_entropy, epistemic_std, gaussian_mutual_information, sigmoid

HOME, EVERYWHERE = "home", "all together"
ORDERED_BY = "probit entropy"  # what `rank` orders by
MOST = 400  # pairs of each kind, of the first POOL
POOL = 600
HELD_OUT = 0.16  # of the prompts of home
NUM_MEMBERS = 5
STEPS, RATE, UNITS = 100, 0.02, 32  # of networks
WIDTH = 256
SHRINKAGE = 0.1
CHUNK = 1024  # rows whose distances to all of the reference are held at once


def read_kinds(folder: Path) -> dict[str, list[Preference]]:
    """Pairs by kind."""

    def preferences(*names: str) -> list[Preference]:
        return [row for name in names for row in read_preferences(str(folder / f"hh_{name}.jsonl.gz")).rows]

    def pair(prompt: tuple[Message, ...], better: str, worse: str) -> Preference:
        return Preference(prompt=prompt, chosen=better, rejected=worse, p_chosen=1.0)

    texts: tuple[list[str], list[str]] = ([], [])
    for _, row in read_rows(str(folder / "sentence_polarity_test.jsonl.gz")):
        texts[row["label"]].append(row["text"])
    solved = [row for _, row in read_rows(str(folder / "gsm8k_dev.jsonl.gz"))]
    asked = [((Message(role="user", content=row["question"]),), row["answer"]) for row in solved]
    return {
        HOME: preferences("helpful_base_train", "helpful_base_test"),
        "helpful_rs": preferences("helpful_rs_train")[:POOL],
        "film reviews": [pair((), kind, unkind) for unkind, kind in zip(*texts, strict=False)][:POOL],
        "GSM8K": [pair(prompt, answer, one_off(answer)) for prompt, answer in asked],
    }


def draw(kinds: Mapping[str, Sequence[Preference]], seed: int) -> tuple[list[Preference], dict[str, list[Preference]]]:
    """What a seed trains on, and what it asks about by kind; no prompt of home is in both."""
    rng = np.random.default_rng([seed, 7])
    prompt = np.unique([normal_prompt(row.prompt) for row in kinds[HOME]], return_inverse=True)[1]
    is_held_out = (rng.random(prompt.max() + 1) < HELD_OUT)[prompt]
    train = [row for row, out in zip(kinds[HOME], is_held_out, strict=True) if not out]
    asked = {HOME: [row for row, out in zip(kinds[HOME], is_held_out, strict=True) if out]}
    for kind, rows in kinds.items():
        if kind != HOME:
            asked[kind] = [rows[number] for number in rng.permutation(len(rows))[:MOST]]
    return train, asked


def one_off(answer: str) -> str:
    """A solution whose every result is one too large: numbers behind `=` and `####`."""
    return re.sub(r"(=\s*\$?|#### )(\d+)", lambda found: found[1] + str(int(found[2]) + 1), answer)


def uncertainties(
    head: JointHead, first: np.ndarray, second: np.ndarray, trained_on: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """By name, (N,) of pairs with features `first` and `second`; the model's margin as `margin`."""
    margins = head_margins(head.posterior, first - second)
    closeness = np.abs(margins.mean) / np.sqrt(1.0 + np.pi / 8.0 * margins.std**2)
    rng = np.random.default_rng(seed)
    own_rows, own_weights = [], []
    for _ in range(NUM_MEMBERS):
        drawn = head.pairs.take(rng.integers(len(head.pairs), size=len(head.pairs)))
        own_rows.append((first - second) @ fit_head(drawn, prior_precision=head.prior_precision).weights)
        layer = rng.normal(size=(first.shape[1], WIDTH)), rng.normal(size=WIDTH)
        hidden = [
            np.maximum(values @ layer[0] + layer[1], 0.0) / np.sqrt(WIDTH) for values in (trained_on, first, second)
        ]
        pairs = make_pairs(hidden[0][0::2] - hidden[0][1::2], head.pairs.p_chosen, prompt=head.pairs.prompt)
        member = fit_head(
            pairs.take(rng.integers(len(pairs), size=len(pairs))), prior_precision=head.prior_precision, tolerance=1e-4
        )
        own_weights.append((hidden[1] - hidden[2]) @ member.weights)
    return {
        "margin": margins.mean,
        "spread, own rows": epistemic_std(np.array(own_rows)),
        "spread, own weights": epistemic_std(np.array(own_weights)),
        "spread, own networks": epistemic_std(own_networks(head, first, second, trained_on, seed)),
        "Laplace std": margins.std,
        "Laplace std / margin": margins.std / np.maximum(np.abs(margins.mean), 1e-12),
        "probit entropy": binary_entropy(sigmoid(closeness)),
        "mutual information": gaussian_mutual_information(margins.mean, margins.std),
        "Mahalanobis": (mahalanobis(first, trained_on) + mahalanobis(second, trained_on)) / 2,
        "nearest": (nearest_distance(first, trained_on) + nearest_distance(second, trained_on)) / 2,
    }


def own_networks(
    head: JointHead, first: np.ndarray, second: np.ndarray, trained_on: np.ndarray, seed: int
) -> np.ndarray:
    """(K, N) margins by networks r(x) = v . tanh(W x + b) / sqrt(UNITS), all weights trained from draws of their own.

    W and b begin as N(0, 1), v as N(0, 1 / prior precision of the head). Loss is the Bradley-Terry NLL, rows drawn
    with replacement, plus half the squared distance of W and b from where they began, and of v times that precision:
    away from its data a member stays what it was drawn (anchored, Pearce et al. 2020, arXiv 1810.05546).
    """
    import torch

    torch.set_num_threads(1)
    rows, asked = torch.tensor(trained_on).float(), [torch.tensor(values).float() for values in (first, second)]
    votes = torch.tensor(head.pairs.p_chosen).float()
    generator = torch.Generator().manual_seed(seed)
    precisions = (1.0, 1.0, head.prior_precision)
    margins = []

    def reward(values: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
        return torch.tanh(values @ weights[0] + weights[1]) @ weights[2] / UNITS**0.5

    for _ in range(NUM_MEMBERS):
        shapes = ((rows.shape[1], UNITS), (UNITS,), (UNITS,))
        start = [
            torch.randn(shape, generator=generator) / precision**0.5
            for shape, precision in zip(shapes, precisions, strict=True)
        ]
        weights = [weight.clone().requires_grad_() for weight in start]
        counts = torch.bincount(torch.randint(len(votes), (len(votes),), generator=generator), minlength=len(votes))
        steps = torch.optim.Adam(weights, lr=RATE)
        for _ in range(STEPS):
            rewards = reward(rows, weights)
            nll = torch.nn.functional.binary_cross_entropy_with_logits(
                rewards[0::2] - rewards[1::2], votes, weight=counts.float(), reduction="sum"
            )
            away = [
                precision / 2 * ((weight - anchor) ** 2).sum()
                for weight, anchor, precision in zip(weights, start, precisions, strict=True)
            ]
            steps.zero_grad()
            (nll + sum(away)).backward()
            steps.step()
        with torch.no_grad():
            better, worse = (reward(values, weights) for values in asked)
        margins.append((better - worse).double().numpy())
    return np.array(margins)


def mahalanobis(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(N,) sqrt((x - m)^T S^-1 (x - m)), m and S the mean and covariance (ddof = 1) of the reference.

    S is shrunk to a multiple of the identity, 0.9 S + 0.1 tr(S) / h, so that it has an inverse where there are few
    rows.  Lee et al. 2018, eq. 2 (arXiv 1807.03888), with one class.

    Args:
        features: (N, h).
        reference: (M, h), M of 2 or more.

    Raises:
        ValueError: if the reference has one row, or does not vary.
    """
    if len(reference) < 2 or not reference.std(0).any():
        raise ValueError(f"{len(reference)} rows of features have no covariance, or do not vary")
    deviations = reference - reference.mean(0)
    covariance = deviations.T @ deviations / (len(reference) - 1)
    width = len(covariance)
    shrunk = (1.0 - SHRINKAGE) * covariance + SHRINKAGE * np.trace(covariance) / width * np.eye(width)
    away = features - reference.mean(0)
    return np.sqrt((away.T * cho_solve(cho_factor(shrunk), away.T)).sum(0))


def nearest_distance(features: np.ndarray, reference: np.ndarray, *, num_neighbours: int = 5) -> np.ndarray:
    """(N,) mean Euclidean distance to the nearest rows of the reference.

    Sun et al. 2022 (arXiv 2204.06507) take the distance to the k-th; the mean is steadier where k is small.

    Args:
        features: (N, h).
        reference: (M, h), one row or more.
        num_neighbours: at most M are used.
    """
    nearest = min(num_neighbours, len(reference))
    squares = (reference**2).sum(1)
    distances = np.empty(len(features))
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK]
        between = np.maximum((part**2).sum(1)[:, None] + squares - 2.0 * part @ reference.T, 0.0)
        distances[start : start + CHUNK] = np.sqrt(np.partition(between, nearest - 1, axis=1)[:, :nearest]).mean(1)
    return distances


def one_seed(
    kinds: Mapping[str, Sequence[Preference]], states: States | None, seed: int
) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Accuracy by kind, and by uncertainty the AUROC of errors in each kind and of telling it from home."""
    train, asked = draw(kinds, seed)
    head = JointHead.fit(train, [], states=states, seed=seed)
    prompts = [row.prompt for row in train for _ in range(2)]
    trained_on = head.features(prompts, [text for row in train for text in (row.chosen, row.rejected)])
    by_kind: dict[str, dict[str, np.ndarray]] = {}
    for kind, rows in asked.items():
        first = head.features([row.prompt for row in rows], [row.chosen for row in rows])
        second = head.features([row.prompt for row in rows], [row.rejected for row in rows])
        by_kind[kind] = uncertainties(head, first, second, trained_on, seed)
    wrong = {kind: (values.pop("margin") <= 0).astype(float) for kind, values in by_kind.items()}
    errors: dict[str, dict[str, float]] = {}
    domains: dict[str, dict[str, float]] = {}
    for name, at_home in by_kind[HOME].items():
        errors[name] = {kind: auroc(values[name], wrong[kind]) for kind, values in by_kind.items()}
        everything = np.concatenate([values[name] for values in by_kind.values()])
        errors[name][EVERYWHERE] = auroc(everything, np.concatenate(list(wrong.values())))
        domains[name] = {}
        for kind in list(by_kind)[1:]:
            both = np.concatenate((at_home, by_kind[kind][name]))
            domains[name][kind] = auroc(both, (np.arange(len(both)) >= len(at_home)).astype(float))
    return {kind: 1.0 - float(values.mean()) for kind, values in wrong.items()}, errors, domains


def print_table(title: str, by_seed: Sequence[Mapping[str, Mapping[str, float]]]) -> None:
    """A Markdown table of means over seeds with their intervals; the best of a column and its gain stand below.

    Args:
        by_seed: by uncertainty and column.
    """
    columns = list(next(iter(by_seed[0].values())))
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name in by_seed[0]:
        cells = [text_of([seed[name][column] for seed in by_seed]) for column in columns]
        print(f"| {name} | {' | '.join(cells)} |")
    for column in columns:
        means = {name: np.mean([seed[name][column] for seed in by_seed]) for name in by_seed[0]}
        best = max(means, key=lambda name: means[name])
        gain = text_of([seed[best][column] - seed[ORDERED_BY][column] for seed in by_seed], digits=3)
        print(f"{column}: best is {best}, by {gain} above {ORDERED_BY}")


def text_of(values: Sequence[float], *, digits: int = 2) -> str:
    """The mean over seeds and its interval."""
    mean = student_interval(values)
    return f"{mean.value:.{digits}f} ({mean.low:.{digits}f} to {mean.high:.{digits}f})"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", required=True, help="folder of the data")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--trunk", default="", help="folder of a network whose states are features too")
    options = parser.parse_args()
    began = time.monotonic()
    kinds = read_kinds(Path(options.shared))
    states = load_states(options.trunk) if options.trunk else None
    accuracies, errors, domains = [], [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for figures, of_seed in zip((accuracies, errors, domains), one_seed(kinds, states, seed), strict=True):
            figures.append(of_seed)
        print(f"seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    for kind in accuracies[0]:
        print(f"{kind}: right on {text_of([100 * of_seed[kind] for of_seed in accuracies], digits=1)} %")
    print_table("AUROC of errors", errors)
    print_table("AUROC of not being home", domains)


if __name__ == "__main__":
    main()
