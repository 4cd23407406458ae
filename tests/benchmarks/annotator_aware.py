"""Does it pay to know who voted? Recovers a known reward from votes of people of different reliability.

    python tests/benchmarks/annotator_aware.py [--seeds 10] [--first-seed 0] [--people mixed] [--json FILE]

The world of `rewardkit.simulation.support_desk_world` gives messages with two replies each, simulated annotators vote,
three on a pair: `mixed` is twelve people (a third attentive, a third now and then, a third careless), `attentive`
twelve who all are, `many` the mixed ones five times over, with some twenty votes each. A vote of somebody attentive in
a share r of votes says what the reward prefers with q = (1 + r) / 2 in the sense of Crowd-BT (Chen et al. 2013), so the
true q is known. From the same votes heads are fitted on the same features (the replies' traits, and as many numbers
that mean nothing); every prior is chosen by cross-validation on the votes:

    majority    Bradley-Terry on the winner of each pair, pairs without one left out
    dawid-skene Bradley-Terry on the winner by votes weighted with annotators' reliability, learned from agreement alone
    posterior   Bradley-Terry on the probability that Dawid-Skene gives the winner
    shares      Bradley-Terry on vote shares
    one         Crowd-BT on vote shares, one reliability for all, as nobody is named
    crowd       Crowd-BT, reliabilities learned jointly
    known       Crowd-BT with the true reliabilities

and judged on replies they have not seen: cross-entropy against the gold probability, the same after the best scale of
the margins (what is left once somebody tells how sure to be), Kendall's tau of the margins.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import kendalltau
from scipy.stats import t as student

from rewardkit.heads.annotator_reliability import CrowdFit, fit_crowd_head
from rewardkit.heads.fit import Pairs, choose_prior_precision, fit_head, make_pairs, with_reliability
from rewardkit.simulation.annotators import SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import WEIGHTS, World
from rewardkit.stats.metrics import negative_log_likelihood
from rewardkit.stats.uncertainty import binary_entropy, sigmoid

MIXED = (0.95, 0.9, 0.9, 0.85, 0.6, 0.5, 0.5, 0.4, 0.1, 0.1, 0.05, 0.0)  # shares of attentive answers
PEOPLE = {"mixed": MIXED, "attentive": (1.0, 0.95, 0.95, 0.95, 0.9, 0.9) * 2, "many": MIXED * 5}
OVERLAP = 3
NUM_TRAIN, NUM_TEST = 400, 1000


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One draw of the world.

    Attributes:
        votes: one row a vote, p_chosen 1 for a and 0 for b; prompt numbers the pairs.
        annotator: (N,) who voted.
        reliability: (A,) true q.
        test: (M, h) differences, and their gold margins.
    """

    votes: Pairs
    annotator: np.ndarray
    reliability: np.ndarray
    test: np.ndarray
    test_margins: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What a method makes of the votes.

    Attributes:
        excess_nll: held-out cross-entropy against the gold probability, nats over its lowest value.
        scaled: the same after the best scale of the margins.
        tau: rank correlation of the margins.
    """

    excess_nll: float
    scaled: float
    tau: float


def draw_setting(seed: int, num_train: int = NUM_TRAIN, people: str = "mixed") -> Setting:
    """Votes to learn from, and unseen replies to judge by."""
    annotators = [
        SimulatedAnnotator(name=f"sim-{number}", reliability=share, tie_width=0.0)
        for number, share in enumerate(PEOPLE[people])
    ]
    train = World(seed=2 * seed, num_prompts=num_train)
    differences, _ = _pairs(train, np.random.default_rng([seed, 0]))
    test, test_margins = _pairs(World(seed=2 * seed + 1, num_prompts=NUM_TEST), np.random.default_rng([seed, 1]))
    number_of = {item.comparison.id: number for number, item in enumerate(train.comparisons())}
    who_is = {annotator.name: number for number, annotator in enumerate(annotators)}
    votes = list(simulate_judgments(train.comparisons(), annotators, overlap=OVERLAP, seed=seed))
    pair = np.array([number_of[vote.comparison_id] for vote in votes])
    return Setting(
        votes=make_pairs(differences[pair], np.array([float(vote.choice == "a") for vote in votes]), prompt=pair),
        annotator=np.array([who_is[vote.annotator] for vote in votes]),
        reliability=(1.0 + np.array(PEOPLE[people])) / 2.0,
        test=test,
        test_margins=test_margins,
    )


def _pairs(world: World, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Differences in traits and in as many numbers that mean nothing, and gold margins."""
    differences, margins = [], []
    for prompt in world.prompts():
        a, b = prompt.responses
        differences.append([a.traits[name] - b.traits[name] for name in WEIGHTS])
        margins.append(a.gold - b.gold)
    noise = rng.normal(size=(len(margins), len(WEIGHTS)))
    return np.hstack((np.array(differences, dtype=float), noise)), np.array(margins)


def recover(setting: Setting, seed: int) -> tuple[Mapping[str, Recovered], np.ndarray]:
    """What each method makes of a setting, and the reliabilities that Crowd-BT learned."""
    votes = setting.votes
    num_pairs = int(votes.prompt.max()) + 1
    first = np.unique(votes.prompt, return_index=True)[1]
    shares = np.bincount(votes.prompt, votes.p_chosen) / np.bincount(votes.prompt)
    by_pair = make_pairs(votes.differences[first], shares, weight=np.bincount(votes.prompt).astype(float))
    skilled = _dawid_skene(votes, setting.annotator, num_pairs)
    weights = {
        "majority": _fit(_winners(by_pair, shares), seed),
        "dawid-skene": _fit(_winners(by_pair, skilled), seed),
        "posterior": _fit(replace(by_pair, p_chosen=skilled), seed),
        "shares": _fit(by_pair, seed),
        "one": _crowd(by_pair, np.zeros(len(by_pair), dtype=int), seed).head.weights,
        "known": _fit(with_reliability(votes, setting.reliability[setting.annotator]), seed),
    }
    crowd = _crowd(votes, setting.annotator, seed)
    weights["crowd"] = crowd.head.weights
    truth = sigmoid(setting.test_margins)
    lowest = float(binary_entropy(truth).mean())
    return {
        name: Recovered(
            excess_nll=negative_log_likelihood(setting.test @ head, truth) - lowest,
            scaled=best_scale_nll(setting.test @ head, truth) - lowest,
            tau=float(kendalltau(setting.test @ head, setting.test_margins).statistic),
        )
        for name, head in weights.items()
    }, crowd.reliability


def _winners(pairs: Pairs, p_a: np.ndarray) -> Pairs:
    kept = pairs.take(np.flatnonzero(p_a != 0.5))
    return make_pairs(kept.differences, (p_a[p_a != 0.5] > 0.5).astype(float), weight=kept.weight)


def _dawid_skene(votes: Pairs, annotator: np.ndarray, num_pairs: int) -> np.ndarray:
    """(P,) posterior of a, from agreement alone: one accuracy per annotator, no look at the replies; 50 steps of EM."""
    signs = 2.0 * votes.p_chosen - 1.0
    right = np.full(annotator.max() + 1, 0.7)
    for _ in range(50):
        odds = np.bincount(votes.prompt, signs * np.log(right / (1.0 - right))[annotator], num_pairs)
        posterior = sigmoid(odds)
        agrees = np.where(signs > 0, posterior[votes.prompt], 1.0 - posterior[votes.prompt])
        right = (np.bincount(annotator, agrees) + 1.4) / (np.bincount(annotator) + 2.0)
    return posterior


def _crowd(votes: Pairs, annotator: np.ndarray, seed: int) -> CrowdFit:
    precision = choose_prior_precision(votes, seed=seed).prior_precision
    return fit_crowd_head(votes, annotator, prior_precision=precision)


def best_scale_nll(margins: np.ndarray, truth: np.ndarray) -> float:
    """Cross-entropy of margins times the factor, 0.02 to 50, that makes it lowest."""
    logs = np.log([0.02, 50.0])
    found = minimize_scalar(lambda log: negative_log_likelihood(margins * np.exp(log), truth), bounds=logs)
    return float(found.fun)


def _fit(pairs: Pairs, seed: int) -> np.ndarray:
    precision = choose_prior_precision(pairs, seed=seed).prior_precision
    return fit_head(pairs, prior_precision=precision).weights


def run(seeds: Sequence[int], people: str = "mixed") -> dict[str, Any]:
    """All methods over seeds: means, 95 % intervals of their difference from majority, wins, and reliabilities."""
    results, correlations, errors = [], [], []
    for seed in seeds:
        setting = draw_setting(seed, people=people)
        recovered, learned = recover(setting, seed)
        results.append(recovered)
        correlations.append(float(np.corrcoef(learned, setting.reliability)[0, 1]))
        errors.append(float(np.abs(learned - setting.reliability).mean()))
    rows = [_row(name, results) for name in results[0]]
    rows.sort(key=lambda row: -row["excess_nll"])
    return {
        "num_seeds": len(results),
        "people": people,
        "methods": rows,
        "reliability_correlation": {"mean": float(np.mean(correlations)), "least": float(np.min(correlations))},
        "reliability_mean_error": float(np.mean(errors)),
    }


def _row(name: str, results: Sequence[Mapping[str, Recovered]]) -> dict[str, Any]:
    """A method's means over seeds, and its gains over majority paired by seed."""
    values = {
        field: np.array([getattr(each[name], field) for each in results]) for field in ("excess_nll", "scaled", "tau")
    }
    gains = np.array([each["majority"].excess_nll for each in results]) - values["excess_nll"]
    taus = values["tau"] - np.array([each["majority"].tau for each in results])
    error = float(gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
    half = error * float(student.ppf(0.975, len(gains) - 1)) if len(gains) > 1 else 0.0
    return {
        "method": name,
        **{field: float(column.mean()) for field, column in values.items()},
        "gain": float(gains.mean()),
        "gain_interval": [float(gains.mean()) - half, float(gains.mean()) + half],
        "gain_standard_error": error,
        "seeds_better": int((gains > 0).sum()),
        "seeds_ordering_better": int((taus > 0).sum()),
    }


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--people", choices=list(PEOPLE), default="mixed")
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    report = run(range(options.first_seed, options.first_seed + options.seeds), options.people)
    print("| method | held-out NLL above its lowest value, nats | gain over majority (95 %) | ", end="")
    print(f"seeds better, of {options.seeds} | at the best scale | Kendall's tau | seeds ordering better |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for row in report["methods"]:
        same = row["method"] == "majority"
        low, high = row["gain_interval"]
        gain = "" if same else f"{row['gain']:+.4f} ({low:+.4f} to {high:+.4f})"
        better, ordering = ("", "") if same else (row["seeds_better"], row["seeds_ordering_better"])
        figures = f"{row['scaled']:.4f} | {row['tau']:.3f} | {ordering}"
        print(f"| {row['method']} | {row['excess_nll']:.4f} | {gain} | {better} | {figures} |")
    correlation = report["reliability_correlation"]
    print(
        f"\nlearned against true reliabilities: correlation {correlation['mean']:.3f} "
        f"(least {correlation['least']:.3f}), mean error {report['reliability_mean_error']:.3f}"
    )
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
