"""Which uncertainty sees that people now judge by another criterion? A model of helpfulness, asked about other things.

    python tests/benchmarks/changed_criterion.py --shared FOLDER

A Bradley-Terry head on features of prompt and answer together (`rewardkit.scoring.joint_features`) is trained on
hh_helpful_base_train of FOLDER. It is asked about pairs of its own test side, of helpful answers drawn in another way
(hh_helpful_rs), of film reviews (the kind one is better) and of GSM8K solutions (the right one against itself with
every result one off). Printed are, by uncertainty, the AUROC of the model's errors in each and over all of them, and of
telling each from home; intervals are 95 %, bootstrap over pairs. The seed draws members and folds.

    spread, own rows       members fitted to rows drawn with replacement
    spread, own weights    the same, each on a first layer of random weights of its own (256 units, ReLU), not trained
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
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from rewardkit.data.files import read_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Message, Preference
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.scoring.joint_head import JointHead, head_margins
from rewardkit.stats.metrics import auroc_interval
from rewardkit.stats.uncertainty import binary_entropy, epistemic_std, gaussian_mutual_information, sigmoid

HOME = "home"
MOST = 400  # pairs of each kind
NUM_MEMBERS = 5
WIDTH = 256
SHRINKAGE = 0.1
CHUNK = 1024  # rows whose distances to all of the reference are held at once
Pair = tuple[tuple[Message, ...], str, str]


def read_kinds(folder: Path) -> dict[str, list[Pair]]:
    """Pairs by kind, the better answer first."""

    def preferences(name: str) -> list[Pair]:
        return [(row.prompt, row.chosen, row.rejected) for row in read_preferences(str(folder / name)).rows[:MOST]]

    texts: tuple[list[str], list[str]] = ([], [])
    for _, row in read_rows(str(folder / "sentence_polarity_test.jsonl.gz")):
        texts[row["label"]].append(row["text"])
    solved = [row for _, row in read_rows(str(folder / "gsm8k_dev.jsonl.gz"))]
    asked = [((Message(role="user", content=row["question"]),), row["answer"]) for row in solved]
    return {
        HOME: preferences("hh_helpful_base_test.jsonl.gz"),
        "helpful_rs": preferences("hh_helpful_rs_train.jsonl.gz"),
        "film reviews": [((), kind, unkind) for unkind, kind in zip(*texts, strict=False)][:MOST],
        "GSM8K": [(prompt, answer, one_off(answer)) for prompt, answer in asked][:MOST],
    }


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
        "Laplace std": margins.std,
        "Laplace std / margin": margins.std / np.maximum(np.abs(margins.mean), 1e-12),
        "probit entropy": binary_entropy(sigmoid(closeness)),
        "mutual information": gaussian_mutual_information(margins.mean, margins.std),
        "Mahalanobis": (mahalanobis(first, trained_on) + mahalanobis(second, trained_on)) / 2,
        "nearest": (nearest_distance(first, trained_on) + nearest_distance(second, trained_on)) / 2,
    }


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


def text_of(scores: np.ndarray, positive: np.ndarray, seed: int) -> str:
    """AUROC with its interval; every pair is a unit."""
    interval = auroc_interval(scores, positive.astype(float), np.arange(len(scores)), seed=seed)
    return f"{interval.value:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def print_table(title: str, columns: Sequence[str], rows: Mapping[str, Sequence[str]]) -> None:
    """A Markdown table."""
    print(f"\n| {title} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", required=True, help="folder of the data")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(options.shared)
    kinds = read_kinds(folder)
    train: list[Preference] = read_preferences(str(folder / "hh_helpful_base_train.jsonl.gz")).rows
    head = JointHead.fit(train, [], seed=options.seed)
    prompts = [row.prompt for row in train for _ in range(2)]
    trained_on = head.features(prompts, [text for row in train for text in (row.chosen, row.rejected)])
    found: dict[str, dict[str, np.ndarray]] = {}
    for kind, pairs in kinds.items():
        first, second = (head.features([pair[0] for pair in pairs], [pair[side] for pair in pairs]) for side in (1, 2))
        found[kind] = uncertainties(head, first, second, trained_on, options.seed)
        accuracy = float((found[kind]["margin"] > 0).mean())
        print(f"{kind}: {len(pairs)} pairs, right on {100 * accuracy:.1f} %", flush=True)
    names = [name for name in found[HOME] if name != "margin"]
    wrong = {kind: values["margin"] <= 0 for kind, values in found.items()}
    everywhere = np.concatenate(list(wrong.values()))
    errors, domains = {}, {}
    for name in names:
        together = np.concatenate([values[name] for values in found.values()])
        errors[name] = [text_of(found[kind][name], wrong[kind], options.seed) for kind in found]
        errors[name].append(text_of(together, everywhere, options.seed))
        domains[name] = []
        for kind in list(found)[1:]:
            both = np.concatenate((found[HOME][name], found[kind][name]))
            domains[name].append(text_of(both, np.arange(len(both)) >= len(found[HOME][name]), options.seed))
    print_table("AUROC of errors", [*found, "all together"], errors)
    print_table("AUROC of not being home", list(found)[1:], domains)


if __name__ == "__main__":
    main()
