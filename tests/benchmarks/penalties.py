"""When does a penalty for an ensemble's disagreement raise gold? Best of n in a world that takes milliseconds.

    python tests/benchmarks/penalties.py [--worlds 30] [--first-world 200] [--json FILE]

A reply is a bag of 60 phrases, each with a worth of its own, a few frequent and most rare; gold is the sum of the
worths of those that occur. Votes compare pairs of replies by Bradley-Terry, and `rewardkit.heads` fits a linear reward
to them: five members by bootstrap, or drawn from the Laplace posterior. The best of n replies is then chosen by one
member, by the mean of five, and by the rules of `rewardkit.reward.reward.conservative`. At one n all rules are at one
KL (bound), so nothing wins by being slow. Two arms, which differ in one thing:

    rare        150 pairs; replies are as in the votes: members disagree about phrases that were seen seldom
    repetition  300 pairs; replies may repeat phrases, which no vote ever showed; gold counts a phrase once and takes
                0.35 for each repeat, a linear reward pays for it again

The strength of uwo is chosen on worlds 100 to 119 as the one with the most gold at the largest n, separately for each
arm and kind of members; the worlds that are reported had no part in any choice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy.stats import t as student

from rewardkit.heads.fit import Pairs, choose_prior_precision, fit_head, make_pairs
from rewardkit.heads.posterior import laplace_posterior
from rewardkit.reward.reward import Reward, conservative
from rewardkit.stats.uncertainty import sigmoid

Arm = Literal["rare", "repetition"]
Members = Literal["bootstrap", "laplace"]
NUM_PAIRS: Mapping[Arm, int] = {"rare": 150, "repetition": 300}
NUM_PHRASES, NUM_MEMBERS, NUM_MESSAGES, LARGEST = 60, 5, 100, 1024
REPEATS, COST = 0.7, 0.35  # mean number of repeats of a phrase, and what gold takes for each
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
PRIORS = (0.1, 0.3, 1.0, 3.0, 10.0)
CHOSEN_ON = range(100, 120)
SIZES = tuple(2**power for power in range(LARGEST.bit_length()))


@dataclass(frozen=True, kw_only=True)
class PhraseWorld:
    """Votes to learn from, and replies to choose from.

    Attributes:
        votes: differences of phrase counts.
        replies: (P, n, phrases) counts.
        gold: (P, n).
    """

    votes: Pairs
    replies: np.ndarray
    gold: np.ndarray


def draw_world(seed: int, arm: Arm) -> PhraseWorld:
    """A world of its own for each seed and arm."""
    rng = np.random.default_rng([seed, len(arm)])
    worth = rng.normal(size=NUM_PHRASES)
    share = rng.permutation(np.clip(0.5 / np.arange(1, NUM_PHRASES + 1) ** 0.9, 0.004, 0.5))
    first, second = (rng.random((2, NUM_PAIRS[arm], NUM_PHRASES)) < share).astype(float)
    p_first = sigmoid((first - second) @ worth)
    votes = make_pairs(first - second, (rng.random(len(p_first)) < p_first).astype(float))
    replies = (rng.random((NUM_MESSAGES, LARGEST, NUM_PHRASES)) < share).astype(float)
    if arm == "repetition":
        replies *= 1 + rng.poisson(REPEATS, replies.shape)
    gold = np.minimum(replies, 1) @ worth - COST * np.maximum(replies - 1, 0).sum(2)
    return PhraseWorld(votes=votes, replies=replies, gold=gold)


def fit_members(votes: Pairs, members: Members, seed: int) -> np.ndarray:
    """(K, phrases) weights of the members."""
    prior = choose_prior_precision(votes, seed=seed, candidates=PRIORS).prior_precision
    rng = np.random.default_rng([seed, 1])
    if members == "laplace":
        fit = fit_head(votes, prior_precision=prior)
        return laplace_posterior(fit, votes).members(NUM_MEMBERS, rng)
    draws = [votes.take(rng.integers(len(votes), size=len(votes))) for _ in range(NUM_MEMBERS)]
    return np.array([fit_head(draw, prior_precision=prior).weights for draw in draws])


def curves(seed: int, arm: Arm, members: Members) -> dict[str, np.ndarray]:
    """By rule, (sizes,) gold of the best of 1, 2, 4 .. replies above a reply, mean over messages."""
    world = draw_world(seed, arm)
    weights = fit_members(world.votes, members, seed)
    rewards = np.einsum("kd,pnd->kpn", weights, world.replies)
    rewards /= rewards.mean(0).std()  # in spreads of the mean, as a saved reward model gives them
    flat = Reward(members=rewards.reshape(NUM_MEMBERS, -1))
    scores = {"one": flat.members[0], "mean": flat.mean, "wco": conservative(flat, "wco"), "gold": world.gold.ravel()}
    scores |= {f"uwo {strength:g}": conservative(flat, "uwo", strength=strength) for strength in STRENGTHS}
    return {name: _best_of_n(score.reshape(world.gold.shape), world.gold) for name, score in scores.items()}


def _best_of_n(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    best = [np.take_along_axis(gold, scores[:, :n].argmax(1)[:, None], 1).mean() for n in SIZES]
    return np.array(best) - gold.mean()


def choose_strength(arm: Arm, members: Members) -> float:
    """The strength of uwo with the most gold at the largest n over the worlds it is chosen on."""
    found = [curves(seed, arm, members) for seed in CHOSEN_ON]
    return max(STRENGTHS, key=lambda strength: np.mean([each[f"uwo {strength:g}"][-1] for each in found]))


def run(worlds: Sequence[int], arm: Arm, members: Members) -> list[dict[str, object]]:
    """A row a rule: mean gold along n, and at the largest the paired difference from the mean with its interval."""
    chosen = f"uwo {choose_strength(arm, members):g}"
    found = [curves(seed, arm, members) for seed in worlds]
    rows = []
    for name in ("one", "mean", chosen, "uwo 1", "wco", "gold"):
        gold = np.array([each[name] for each in found])
        gains = gold[:, -1] - np.array([each["mean"][-1] for each in found])
        half = float(student.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains)))
        rows.append(
            {
                "arm": arm,
                "members": members,
                "rule": f"{name}, chosen" if name == chosen else name,
                "gold": dict(zip(SIZES, gold.mean(0).tolist(), strict=True)),
                "gain": [float(gains.mean()), float(gains.mean()) - half, float(gains.mean()) + half],
                "worlds_better": int((gains > 0).sum()),
                "peak_at": SIZES[int(gold.mean(0).argmax())],
            }
        )
    return [row for number, row in enumerate(rows) if row["rule"] not in [before["rule"] for before in rows[:number]]]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=30)
    parser.add_argument("--first-world", type=int, default=200)
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    worlds = range(options.first_world, options.first_world + options.worlds)
    rows = [row for arm in NUM_PAIRS for members in ("bootstrap", "laplace") for row in run(worlds, arm, members)]
    print(f"| arm | members | rule | best of 16 | of 256 | of {LARGEST} | beside the mean (95 %) | ", end="")
    print(f"better, of {options.worlds} | highest at n |\n|---|---|---|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        gold, (gain, low, high) = row["gold"], row["gain"]  # type: ignore[misc]
        beside = "" if row["rule"] == "mean" else f"{gain:+.2f} ({low:+.2f} to {high:+.2f})"
        better = "" if row["rule"] == "mean" else row["worlds_better"]
        along = " | ".join(f"{gold[size]:.2f}" for size in (16, 256, LARGEST))  # type: ignore[index]
        print(f"| {row['arm']} | {row['members']} | {row['rule']} | {along} | {beside} | {better} | {row['peak_at']} |")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
