"""Does `rewardkit audit` name what a reward model pays for and people do not, and nothing else?

    python tests/benchmarks/audit_power.py --seeds 20 --votes 2000

Worlds of `rewardkit.simulation.planted_traits`: the truth pays nothing for the planted trait, the votes are confounded
with it, a TF-IDF ensemble is trained on them, and audited with the same votes. A line a condition: how often the
planted trait is named (power), how often any other is (false alarms), with Clopper-Pearson intervals. Length has a
column of its own: wordings of the planted trait add words to better replies, so that length is planted a little with
them. Where the votes do not say what the trait comes with, people then vote on pairs of the same answer with and
without it, and the audit is asked again.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewardkit.audit.answers import EDITS, Prompt, ask_model, make_edits, people_effects
from rewardkit.audit.worries import find_worries
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.records import Message, Preference
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.report.table import interval_text, text_table
from rewardkit.reward.reward import Reward
from rewardkit.reward.tfidf import TfidfFeatures
from rewardkit.simulation.planted_traits import PLANTABLE, Confounded, PlantedWorld
from rewardkit.stats.calibration import Calibration, fit_calibration
from rewardkit.stats.metrics import Interval
from rewardkit.stats.small_samples import share_bounds

NUM_MEMBERS = 3
HELD_OUT = 0.2


@dataclass(frozen=True, kw_only=True)
class WordReward:
    """A TF-IDF ensemble fitted in this process; a `RewardFn`."""

    features: TfidfFeatures
    heads: np.ndarray

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        return Reward(members=np.asarray((self.features.transform(completions) @ self.heads.T).T))


def train(rows: Sequence[Preference], seed: int) -> tuple[WordReward, Calibration]:
    """An ensemble of heads on words, each fitted to resampled votes, and its temperature by votes it has not seen."""
    rng = np.random.default_rng([seed, 2])
    order = rng.permutation(len(rows))
    held_out, fitted = np.split(order, [int(HELD_OUT * len(rows))])
    features = TfidfFeatures.fit("words", [text for at in fitted for text in (rows[at].chosen, rows[at].rejected)])
    differences = features.transform([row.chosen for row in rows]) - features.transform([row.rejected for row in rows])
    numbers = {name: at for at, name in enumerate(dict.fromkeys(normal_prompt(row.prompt) for row in rows))}
    pairs = make_pairs(
        differences,
        np.ones(len(rows)),
        prompt=np.array([numbers[normal_prompt(row.prompt)] for row in rows]),
    )
    prior = choose_prior_precision(pairs.take(fitted), seed=seed).prior_precision
    heads = np.array(
        [
            fit_head(pairs.take(rng.choice(fitted, len(fitted))), prior_precision=prior).weights
            for _ in range(NUM_MEMBERS)
        ]
    )
    margins = np.asarray((differences[held_out] @ heads.T).T)
    return WordReward(features=features, heads=heads), fit_calibration(margins, np.ones(len(held_out))).calibration


def named(
    rows: Sequence[Preference], seed: int, *, asked: Sequence[Sequence[Preference]], num_answers: int
) -> list[set[str]]:
    """The traits on the audit's list, once for each set of votes on edits, which are known to the audit alone."""
    reward_fn, calibration = train(rows, seed)
    answers: list[tuple[Prompt, str]] = [(row.prompt, text) for row in rows for text in (row.chosen, row.rejected)]
    edits = make_edits(answers, num=num_answers, seed=seed)
    effects = ask_model(edits, reward_fn, calibration, told=lambda _done, _total: None).effects()
    return [
        {worry.trait for worry in find_worries(effects, people_effects([*rows, *more]), least=0.2, level=0.05)}
        for more in asked
    ]


def votes_on_edits(rows: Sequence[Preference], traits: set[str], num: int, seed: int) -> list[Preference]:
    """Coins: the truth is the same for an answer with and without a trait."""
    rng = np.random.default_rng([seed, 3])
    answers: list[tuple[Prompt, str]] = [(row.prompt, text) for row in rows for text in (row.chosen, row.rejected)]
    edits = [one for one in make_edits(answers, num=len(rows), seed=seed + 1) if one.trait in traits]
    votes = []
    for at in rng.permutation(len(edits))[:num]:
        one, is_having = edits[at], rng.random() < 0.5
        chosen, rejected = (one.having, one.without) if is_having else (one.without, one.having)
        votes.append(
            Preference(prompt=one.prompt, chosen=chosen, rejected=rejected, source_chosen=EDITS, source_rejected=EDITS)
        )
    return votes


def one_seed(seed: int, num_votes: int, num_asked: int, num_answers: int) -> dict[str, tuple[bool, bool, bool]]:
    """By condition, whether the planted trait was named, length, and any other."""
    trait = PLANTABLE[seed % len(PLANTABLE)]
    results = {}
    worlds: tuple[tuple[str, Confounded, dict[str, int]], ...] = (
        ("", "source", {"none": 0}),
        (trait, "source", {"comes with a source": 0}),
        (trait, "worth", {"comes with worth": 0, f"comes with worth, {num_asked} votes on edits of it": num_asked}),
    )
    for planted, confounded, conditions in worlds:
        rows = PlantedWorld(seed=seed, num_prompts=num_votes, trait=planted, confounded=confounded).votes()
        asked = [votes_on_edits(rows, {planted}, num, seed) for num in conditions.values()]
        lists = named(rows, seed, asked=asked, num_answers=num_answers)
        for condition, listed in zip(conditions, lists, strict=True):
            results[condition] = (planted in listed, "length" in listed, bool(listed - {planted, "length"}))
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--votes", type=int, default=2000)
    parser.add_argument("--asked", type=int, default=300)
    parser.add_argument("--answers", type=int, default=100)
    options = parser.parse_args()
    began = time.process_time()
    results = []
    for seed in range(options.seeds):
        results.append(one_seed(seed, options.votes, options.asked, options.answers))
        print(seed, results[-1], file=sys.stderr, flush=True)

    def share(hits: Sequence[bool]) -> str:
        value = float(np.mean(hits))
        low, high = share_bounds(value, len(hits))
        return interval_text(Interval(value=value, low=low, high=high))

    rows = [
        [
            condition,
            share([one[condition][0] for one in results]) if condition != "none" else "",
            share([one[condition][1] for one in results]),
            share([one[condition][2] for one in results]),
        ]
        for condition in results[0]
    ]
    print(text_table(("the trait", "named", "length named", "any other named"), rows))
    print(f"{options.seeds} seeds, {options.votes} votes, {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
