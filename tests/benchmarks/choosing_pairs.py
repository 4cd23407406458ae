"""Which pairs of candidates are worth a label? Each rule of `rewardkit choose` in the world with a known gold reward.

    python tests/benchmarks/choosing_pairs.py --seeds 10

A model is trained on `--start` judged pairs, a rule chooses `--step` pairs of 8 answers to each of 200 messages, one
simulated annotator (reliability 0.95) judges them, and the model is trained again with both. Printed are, by rule, the
share of its pairs that are a toss-up (equal in gold), the share of the others of which the model was wrong, and the
accuracy on pairs of other messages after, against the random rule by seeds, with standard errors. Two models: a TF-IDF
head, which sees the words of an answer alone, and a head on the world's traits, which can express the gold reward
exactly and lacks nothing but labels. Members are drawn from its Laplace posterior.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from scipy.sparse import csr_array

from rewardkit.config import ChoiceRule
from rewardkit.data.records import Comparison, Message, Preference
from rewardkit.heads.fit import choose_prior_precision, fit_head, make_pairs
from rewardkit.heads.posterior import laplace_members
from rewardkit.reward.reward import Reward
from rewardkit.reward.tfidf import TfidfFeatures
from rewardkit.scoring.candidates import Answered, Candidate, EligiblePairs, eligible_pairs
from rewardkit.scoring.choosing import choose_pairs
from rewardkit.simulation.annotators import GoldComparison, SimulatedAnnotator, simulate_judgments
from rewardkit.simulation.support_desk_world import WEIGHTS, World, read_traits
from rewardkit.stats.metrics import auroc
from rewardkit.stats.uncertainty import (
    epistemic_std,
    integrated_probability,
    mutual_information,
    relative_std,
    sigmoid,
    vote_entropy,
)

RULES: tuple[ChoiceRule, ...] = get_args(ChoiceRule)
Featurise = Callable[[Sequence[Sequence[Message]], Sequence[str]], csr_array]
UNCERTAINTIES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "closeness of the integrated probability to a half": lambda d: -np.abs(integrated_probability(d) - 0.5),
    "spread over the mean margin": relative_std,
    "entropy of the members' votes": vote_entropy,
    "mutual information": lambda d: mutual_information(sigmoid(d)),
    "spread of the members": epistemic_std,
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """Heads of K members on features; a `RewardFn`."""

    featurise: Featurise
    heads: np.ndarray

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        return Reward(members=np.asarray((self.featurise(prompts, completions) @ self.heads.T).T))


def by_traits(prompts: Sequence[Sequence[Message]], texts: Sequence[str]) -> csr_array:
    """(B, h) the traits of each answer."""
    traits = [read_traits(prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    return csr_array(np.array([[float(one[name]) for name in WEIGHTS] for one in traits]))


def by_words(texts: Sequence[str]) -> Featurise:
    """TF-IDF of the answer, its vocabulary from texts."""
    features = TfidfFeatures.fit("words", texts, has_length=False)
    return lambda _prompts, texts: features.transform(texts)


def judge(world: World, comparisons: Sequence[Comparison], seed: int) -> list[Preference]:
    """Preferences of one annotator; a tie has p_chosen 0.5."""
    gold = [
        GoldComparison(
            comparison=one,
            gold_a=world.gold(one.prompt, one.completion_a),
            gold_b=world.gold(one.prompt, one.completion_b),
        )
        for one in comparisons
    ]
    choices = {
        vote.comparison_id: vote.choice
        for vote in simulate_judgments(gold, [SimulatedAnnotator(name="one")], overlap=1, seed=seed)
    }
    preferences = []
    for one in comparisons:
        choice = choices[one.id]
        first = one if choice != "b" else one.swap()
        preferences.append(
            Preference(
                prompt=one.prompt,
                chosen=first.completion_a,
                rejected=first.completion_b,
                p_chosen=1.0 if choice in ("a", "b") else 0.5,
            )
        )
    return preferences


def fit(rows: Sequence[Preference], featurise: Featurise, seed: int, num_members: int) -> Model:
    """A head on judged pairs with members from its posterior."""
    prompts = [row.prompt for row in rows]
    differences = featurise(prompts, [row.chosen for row in rows]) - featurise(prompts, [row.rejected for row in rows])
    number = np.unique([prompt[-1].content for prompt in prompts], return_inverse=True)[1]
    pairs = make_pairs(csr_array(differences), np.array([row.p_chosen for row in rows]), prompt=number)
    precision = choose_prior_precision(pairs, seed=seed, candidates=(0.1, 0.3, 1.0, 3.0, 10.0)).prior_precision
    head = fit_head(pairs, prior_precision=precision)
    return Model(featurise=featurise, heads=laplace_members(head, pairs, num_members, np.random.default_rng(seed)))


def gold_margins(world: World, eligible: EligiblePairs) -> np.ndarray:
    """(N,) gold of the first of each pair minus that of the second."""
    gold = np.array(
        [
            world.gold(eligible.prompts[number], one.text)
            for number, one in zip(eligible.prompt_of, eligible.candidates, strict=True)
        ]
    )
    return gold[eligible.pairs[:, 0]] - gold[eligible.pairs[:, 1]]


def pool_of(world: World) -> EligiblePairs:
    """All pairs of the replies to the messages of a world."""
    rows = [
        Answered(prompt=one.prompt, candidates=tuple(Candidate(text=reply.text) for reply in one.responses))
        for one in world.prompts()
    ]
    return eligible_pairs(rows, pairs="any", near_duplicate=0.9, cut="keep", seed=0)


def accuracy(model: Model, pool: EligiblePairs, gold: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of the pairs with a better side that the model orders right, and its (K, N) margins."""
    prompts = [pool.prompts[number] for number in pool.prompt_of]
    members = model(prompts, [one.text for one in pool.candidates]).members
    margins = members[:, pool.pairs[:, 0]] - members[:, pool.pairs[:, 1]]
    decided = gold != 0
    return float((np.sign(margins.mean(0)) == np.sign(gold))[decided].mean()), margins


def run_seed(seed: int, words: bool, start: int, step: int, num_members: int) -> dict[str, float]:
    """The figures of one seed: by rule the error share and the accuracy, and the AUROC of each uncertainty."""
    first = World(seed=1000 + seed, num_prompts=start)
    known = judge(first, [item.comparison for item in first.comparisons()], seed)
    world, other = (World(seed=base + seed, num_prompts=200, num_responses=8) for base in (2000, 3000))
    pool, test = pool_of(world), pool_of(other)
    gold, test_gold = gold_margins(world, pool), gold_margins(other, test)
    texts = [text for row in known for text in (row.chosen, row.rejected)] + [one.text for one in pool.candidates]
    featurise = by_words(texts) if words else by_traits
    model = fit(known, featurise, seed, num_members)
    figures = {"accuracy before": accuracy(model, test, test_gold)[0]}
    margins = accuracy(model, pool, gold)[1]
    wrong = np.sign(margins.mean(0)) != np.sign(gold)
    for name, measure in UNCERTAINTIES.items():
        figures[f"auroc {name}"] = auroc(measure(margins)[gold != 0], wrong[gold != 0])
    number_of = {
        (pool.prompts[pool.prompt_of[i]], pool.candidates[i].text, pool.candidates[j].text): n
        for n, (i, j) in enumerate(pool.pairs)
    }
    for rule in RULES:
        try:
            choice = choose_pairs(
                pool, rule, num_pairs=step, random_share=0.2, per_prompt=3, seed=seed, reward_fn=model, judged=known
            )
        except ValueError:  # the model is right of all that it has seen: there is no disagreement to be near to
            figures |= {f"{name} {rule}": np.nan for name in ("wrong", "toss-ups", "accuracy")}
            continue
        chosen = [
            Comparison(id=str(n), prompt=pair.prompt, completion_a=pair.a.text, completion_b=pair.b.text)
            for n, pair in enumerate(choice.pairs)
        ]
        places = np.array(
            [number_of[pair.prompt, pair.a.text, pair.b.text] for pair in choice.pairs if pair.rule == rule]
        )
        decided = wrong[places][gold[places] != 0]
        figures[f"wrong {rule}"] = float(decided.mean()) if len(decided) else np.nan
        figures[f"toss-ups {rule}"] = float((gold[places] == 0).mean())
        after = fit([*known, *judge(world, chosen, seed)], featurise, seed, num_members)
        figures[f"accuracy {rule}"] = accuracy(after, test, test_gold)[0]
    return figures


def mean_and_error(values: Sequence[float]) -> str:
    """Of the seeds that have a value, with the standard error."""
    values = [value for value in values if not np.isnan(value)] or [np.nan]
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.3f}"


def main() -> None:
    """Prints a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=200)
    parser.add_argument("--step", type=int, default=100)
    parser.add_argument("--members", type=int, default=8)
    options = parser.parse_args()
    for words in (False, True):
        numbers = range(options.first_seed, options.first_seed + options.seeds)
        seeds = [run_seed(seed, words, options.start, options.step, options.members) for seed in numbers]
        print(f"\n{'TF-IDF' if words else 'traits'}, {options.seeds} seeds; accuracy before "
              f"{mean_and_error([one['accuracy before'] for one in seeds])}")  # fmt: skip
        for name in UNCERTAINTIES:
            print(f"| {name} | {mean_and_error([one[f'auroc {name}'] for one in seeds])} |")
        for rule in RULES:
            gains = [one[f"accuracy {rule}"] - one["accuracy random"] for one in seeds]
            better = sum(gain > 0 for gain in gains)
            wrong = mean_and_error([one[f"wrong {rule}"] for one in seeds])
            after = mean_and_error([one[f"accuracy {rule}"] for one in seeds])
            toss_ups = mean_and_error([one[f"toss-ups {rule}"] for one in seeds])
            print(f"| {rule} | {toss_ups} | {wrong} | {after} | {mean_and_error(gains)} | {better} |")


if __name__ == "__main__":
    main()
