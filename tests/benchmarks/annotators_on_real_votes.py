"""Does it pay to know who voted, on people's real votes? Majority, vote shares, Dawid-Skene and Crowd-BT.

    python tests/benchmarks/annotators_on_real_votes.py [--data ../shared/data] [--seeds 5] [--text-seeds 3]

The votes: PandaLM (three people on every pair), llmfao (124 people of a crowd, two to five on a pair, 39 % ties), and a
binary crowd task without texts whose true answers are known. Labels are made from people's votes:

    majority     the winner of the votes
    shares       the share of votes, ties half to each side
    dawid-skene  the probability that Dawid-Skene gives (`annotate_app.consensus.dawid_skene_mace`)
    crowd        Crowd-BT: reliabilities of people learned with the reward (`rewardkit.heads.annotator_reliability`)

Consensus: half of a pair's votes, drawn anew by each seed and rounded up, say what the others will say; a pair has a
reward difference of its own, and no text is read. Reward model: a head on TF-IDF of the answers learns from the votes
on other pairs (five folds, all pairs of a prompt in one) and is asked about pairs that it has not seen.

What is judged are votes that no method saw: cross-entropy of single votes (nats, a tie is half a vote each way) as the
margins are and after the one factor that is best for them, so that no method pays for a unit; decided votes and
majorities ordered rightly; where they are known, true answers. `named` rows are told who votes and look through what
was learned of that person. Intervals are 95 %, of the paired difference to `shares`, resampling pairs, or prompts where
texts are read; not who is careless. `--careless 0.33`: the answers of a third of the people, drawn by the seed, are
shuffled over the pairs they judged before anything is learned; what is predicted are always real votes. How much people
differ is told by `rewardkit.heads.voter_skill`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array, eye_array

from annotate_app.consensus.dawid_skene_mace import LatentTruth, Triples, dawid_skene
from rewardkit.heads.annotator_reliability import fit_crowd_head
from rewardkit.heads.fit import HeadFit, choose_prior_precision, fit_head, folds, make_pairs
from rewardkit.heads.voter_skill import voter_skill
from rewardkit.reward.tfidf import TfidfFeatures
from rewardkit.stats.metrics import bootstrap_interval, correctness
from rewardkit.stats.uncertainty import sigmoid
from rewardkit.training.fixed_features.frozen_head import PRIOR_PRECISIONS

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
A, B, TIE = 0, 1, 2
VALUES = np.array([1.0, 0.0, 0.5])  # of a vote, as a probability that a is better
METHODS = ("majority", "shares", "dawid-skene", "crowd")


@dataclass(frozen=True, kw_only=True)
class RealVotes:
    """N votes of R people on P pairs.

    Attributes:
        pair, annotator: (N,) int, from 0 without gaps.
        code: (N,) A, B or TIE.
        prompt: (P,) int, number of the pair's prompt.
        texts: P pairs of answers; none where there are no texts.
        gold: (P,) 1 where a is right, 0 where b; None where it is not known.
    """

    name: str
    pair: np.ndarray
    annotator: np.ndarray
    code: np.ndarray
    prompt: np.ndarray
    texts: Sequence[tuple[str, str]] = ()
    gold: np.ndarray | None = None

    @property
    def value(self) -> np.ndarray:
        """(N,) the votes as probabilities that a is better."""
        return VALUES[self.code]

    def at(self, chosen: np.ndarray) -> RealVotes:
        """The votes at a mask or at indices; pairs and people keep their numbers."""
        return replace(self, pair=self.pair[chosen], annotator=self.annotator[chosen], code=self.code[chosen])


def read_votes(data: Path) -> Iterator[RealVotes]:
    """The three data sets."""
    panda = pd.read_json(data / "pandalm_dev.jsonl.gz", lines=True)
    answers = panda[["annotator1", "annotator2", "annotator3"]].to_numpy()
    yield RealVotes(
        name="PandaLM",
        pair=np.repeat(np.arange(len(panda)), 3),
        annotator=np.tile(np.arange(3), len(panda)),
        code=np.array([TIE, A, B])[answers.ravel()],
        prompt=pd.factorize(panda["instruction"] + "\n" + panda["input"].fillna(""))[0],
        texts=list(zip(panda["response1"], panda["response2"], strict=True)),
    )
    pairs = pd.read_json(data / "llmfao_pairs.jsonl.gz", lines=True)
    votes = pd.read_csv(data / "llmfao_votes.csv.gz")
    yield RealVotes(
        name="llmfao",
        pair=votes["pair_id"].map({key: number for number, key in enumerate(pairs["pair_id"])}).to_numpy(),
        annotator=pd.factorize(votes["worker"], sort=True)[0],
        code=votes["winner"].map({"x": A, "y": B, "tie": TIE}).to_numpy(),
        prompt=pd.factorize(pairs["prompt_id"])[0],
        texts=list(zip(pairs["response_x"], pairs["response_y"], strict=True)),
    )
    labels = pd.read_csv(data / "crowd_binary_labels.csv.gz")
    gold = pd.read_csv(data / "crowd_binary_gold.csv.gz")
    yield RealVotes(
        name="binary crowd",
        pair=labels["item"].map({key: number for number, key in enumerate(gold["item"])}).to_numpy(),
        annotator=pd.factorize(labels["worker"], sort=True)[0],
        code=np.where(labels["label"] == 1, A, B),
        prompt=np.arange(len(gold)),
        gold=gold["gold"].to_numpy(),
    )


def careless(votes: RealVotes, share: float, rng: np.random.Generator) -> RealVotes:
    """The votes after the answers of a share of the people were shuffled over the pairs that each of them judged."""
    num_people = int(votes.annotator.max()) + 1
    code = votes.code.copy()
    for person in rng.choice(num_people, round(share * num_people), replace=False):
        rows = np.flatnonzero(votes.annotator == person)
        code[rows] = rng.permutation(code[rows])
    return replace(votes, code=code)


def split_votes(pair: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(N,) whether a vote is seen: half of each pair's, rounded up, by chance."""
    order = np.lexsort((rng.random(len(pair)), pair))
    counts = np.bincount(pair)
    place = np.empty(len(pair), dtype=int)
    place[order] = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place < (counts[pair] + 1) // 2


def counts_of(votes: RealVotes, num_pairs: int) -> tuple[np.ndarray, np.ndarray]:
    """(P,) votes, and those for a, a tie as half."""
    return np.bincount(votes.pair, minlength=num_pairs), np.bincount(votes.pair, votes.value, num_pairs)


def skene(votes: RealVotes, num_pairs: int, num_people: int) -> tuple[LatentTruth, np.ndarray]:
    """Dawid-Skene's fit, and (P,) its probability that a is better, ties half."""
    num_codes = 3 if (votes.code == TIE).any() else 2
    sizes = {"num_items": num_pairs, "num_annotators": num_people, "num_codes": num_codes}
    fit = dawid_skene(Triples.of(votes.pair, votes.annotator, votes.code, **sizes))
    return fit, fit.p @ VALUES[:num_codes]


def log_odds(p: np.ndarray) -> np.ndarray:
    """log p / (1 - p), at most 14 either way."""
    p = np.clip(p, 1e-6, 1.0 - 1e-6)
    return np.log(p / (1.0 - p))


def consensus(seen: RealVotes, unseen: RealVotes) -> dict[str, np.ndarray]:
    """(M,) margin of a over b that each method gives to each unseen vote."""
    num_pairs, num_people = len(seen.prompt), int(max(seen.annotator.max(), unseen.annotator.max())) + 1
    number, for_a = counts_of(seen, num_pairs)
    fit, p = skene(seen, num_pairs, num_people)
    by_vote = make_pairs(csr_array(eye_array(num_pairs))[seen.pair], seen.value)
    precision = choose_prior_precision(by_vote, seed=0).prior_precision
    everybody, person = np.unique(seen.annotator, return_inverse=True)
    crowd = fit_crowd_head(by_vote, person, prior_precision=precision)
    reliability = np.full(num_people, float(crowd.reliability.mean()))
    reliability[everybody] = crowd.reliability
    q, margin = reliability[unseen.annotator], crowd.head.weights[unseen.pair]
    through = np.einsum("nk,nkc->nc", fit.p[unseen.pair], fit.confusion[unseen.annotator])
    return {
        "majority": np.sign(for_a - number / 2.0)[unseen.pair],
        "shares": np.log((for_a + 0.5) / (number - for_a + 0.5))[unseen.pair],
        "dawid-skene": log_odds(p)[unseen.pair],
        "dawid-skene, named": log_odds(through @ VALUES[: through.shape[1]]),
        "crowd": margin,
        "crowd, named": log_odds(q * sigmoid(margin) + (1.0 - q) * sigmoid(-margin)),
    }


def learned(votes: RealVotes, seed: int) -> dict[str, np.ndarray]:
    """(P,) margins that a head on TF-IDF gives to pairs of the fold left out, by the labels it learned from."""
    texts = np.array(votes.texts, dtype=object)
    margins = {name: np.zeros(len(texts)) for name in METHODS}
    for train, test in folds(votes.prompt, num_folds=5, seed=seed):
        features = TfidfFeatures.fit("words", texts[train].ravel().tolist(), has_length=False)
        design = features.transform(texts[:, 0].tolist()) - features.transform(texts[:, 1].tolist())
        for name, weights in heads(votes, design, train, seed).items():
            margins[name][test] = design[test] @ weights
    return margins


def heads(votes: RealVotes, design: csr_array, train: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The head that each form of labels makes of the votes on some pairs, its prior by cross-validation on them."""
    known = votes.at(np.isin(votes.pair, train))
    number, for_a = (column[train] for column in counts_of(known, len(votes.prompt)))
    p = skene(known, len(votes.prompt), int(votes.annotator.max()) + 1)[1][train]
    winner = 0.5 + 0.5 * np.sign(for_a - number / 2.0)

    def fitted(labels: np.ndarray, some: np.ndarray | slice = slice(None)) -> HeadFit:
        pairs = make_pairs(
            design[train[some]], labels[some], weight=number[some] * 1.0, prompt=votes.prompt[train[some]]
        )
        choice = choose_prior_precision(pairs, seed=seed, candidates=PRIOR_PRECISIONS)
        return fit_head(pairs, prior_precision=choice.prior_precision)

    shares = fitted(for_a / number)
    by_vote = make_pairs(design[known.pair], known.value, prompt=votes.prompt[known.pair])
    person = np.unique(known.annotator, return_inverse=True)[1]
    return {
        "majority": fitted(winner, np.flatnonzero(winner != 0.5)).weights,
        "shares": shares.weights,
        "dawid-skene": fitted(p).weights,
        "crowd": fit_crowd_head(by_vote, person, prior_precision=shares.prior_precision).head.weights,
    }


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Votes that no method saw, and the margin that each method gives them.

    Attributes:
        pair: (M,) int.
        value: (M,) the votes.
        majority: (M,) sign of the majority of a pair's unseen votes, 0 for a draw.
        margins: by method, (M,).
    """

    pair: np.ndarray
    value: np.ndarray
    majority: np.ndarray
    margins: Mapping[str, np.ndarray]


def asked(unseen: RealVotes, margins: Mapping[str, np.ndarray]) -> Asked:
    """Votes and what they were predicted to be."""
    number, for_a = counts_of(unseen, len(unseen.prompt))
    majority = np.sign(for_a - number / 2.0)[unseen.pair]
    return Asked(pair=unseen.pair, value=unseen.value, majority=majority, margins=margins)


def best_scale(margins: np.ndarray, values: np.ndarray) -> float:
    """The factor, 0.02 to 50, at which the cross-entropy of the votes is lowest."""
    logs = np.log([0.02, 50.0])
    return float(np.exp(minimize_scalar(lambda log: vote_losses(margins * np.exp(log), values).mean(), bounds=logs).x))


def vote_losses(margins: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(M,) cross-entropy of votes, nats."""
    return values * np.logaddexp(0.0, -margins) + (1.0 - values) * np.logaddexp(0.0, margins)


def figures(draws: Sequence[Asked], gold: np.ndarray | None) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """By method and figure, the sum over each pair's votes of all draws and what it counts, (P,) each."""
    pair, value, majority = (
        np.concatenate([getattr(draw, name) for draw in draws]) for name in ("pair", "value", "majority")
    )
    side = np.sign(value - 0.5)
    num_pairs = int(pair.max()) + 1
    result = {}
    for method in draws[0].margins:
        margins = np.concatenate([draw.margins[method] for draw in draws])
        scaled = np.concatenate([draw.margins[method] * best_scale(draw.margins[method], draw.value) for draw in draws])
        columns = {
            "nll": (vote_losses(margins, value), np.ones(len(pair))),
            "scaled": (vote_losses(scaled, value), np.ones(len(pair))),
            "vote": (correctness(margins * side), side != 0),
            "majority": (correctness(margins * majority), majority != 0),
        }
        if gold is not None:
            columns["gold"] = (correctness(margins * (2 * gold[pair] - 1)), np.ones(len(pair)))
        result[method] = {
            name: tuple(np.bincount(pair, part, num_pairs) for part in (values * counts, counts))
            for name, (values, counts) in columns.items()
        }
    return result


def compared(draws: Sequence[Asked], gold: np.ndarray | None, group: np.ndarray) -> list[dict[str, Any]]:
    """A row a method: each figure, and its difference to shares with its interval over groups (P,) of pairs."""
    sums = figures(draws, gold)
    rows = []
    for method, columns in sums.items():
        row: dict[str, Any] = {"method": method}
        for name, (total, count) in columns.items():
            row[name] = float(total.sum() / count.sum())
            gap, counts = (np.bincount(group, part) for part in (total - sums["shares"][name][0], count))
            interval = bootstrap_interval(
                lambda times, gap=gap, counts=counts: (times @ gap) / (times @ counts), np.arange(len(gap))
            )
            row[f"{name}_gap"] = [interval.value, interval.low, interval.high]
        rows.append(row)
    return rows


def measure(votes: RealVotes, rate: float, seeds: Sequence[int], text_seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The two comparisons on a data set, with a share of its people made careless."""
    draws, spreads = [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 0])
        shown = careless(votes, rate, rng)
        seen = split_votes(votes.pair, rng)
        margins = consensus(shown.at(seen), votes.at(~seen))
        if rate:  # somebody whose answers were shuffled is asked for real ones: to know them is to be misled
            margins = {name: column for name, column in margins.items() if not name.endswith(", named")}
        draws.append(asked(votes.at(~seen), margins))
        skill = voter_skill(shown.pair, shown.annotator, shown.value - 0.5)
        spreads.append((skill.spread, skill.p_value))
    about = {"data": votes.name, "careless": rate, "spreads": spreads}
    yield {**about, "comparison": "consensus", "rows": compared(draws, votes.gold, np.arange(len(votes.prompt)))}
    if votes.texts:
        draws = []
        for seed in text_seeds:
            margins = learned(careless(votes, rate, np.random.default_rng([seed, 0])), seed)
            draws.append(asked(votes, {name: column[votes.pair] for name, column in margins.items()}))
        yield {**about, "comparison": "reward model", "rows": compared(draws, None, votes.prompt)}


def print_table(part: Mapping[str, Any]) -> None:
    """One comparison as a table."""
    names = [name for name in ("nll", "scaled", "vote", "majority", "gold") if name in part["rows"][0]]
    print(f"\n{part['comparison']}, {part['data']}, {part['careless']:.0%} of the people careless")
    spreads = [f"{spread:.2f} (p {p_value:.1g})" for spread, p_value in dict.fromkeys(part["spreads"])]
    print(f"spread of skill {', '.join(spreads)}\n")
    print("| method | " + " | ".join(f"{name} | to shares (95 %)" for name in names) + " |")
    print("|---|" + "---:|---|" * len(names))
    for row in part["rows"]:
        cells = [f"{row[name]:.4f} | {gap_text(row[f'{name}_gap'])}" for name in names]
        print(f"| {row['method']} | {' | '.join(cells)} |", flush=True)


def gap_text(gap: Sequence[float]) -> str:
    """A difference with its interval; empty where nothing differs."""
    return f"{gap[0]:+.4f} ({gap[1]:+.4f} to {gap[2]:+.4f})" if gap[0] or gap[1] == gap[1] else ""


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the votes")
    parser.add_argument("--seeds", type=int, default=5, help="draws of the votes that are seen, and of who is careless")
    parser.add_argument("--text-seeds", type=int, default=3, help="draws of the folds, and of who is careless")
    parser.add_argument("--careless", type=float, nargs="*", default=[0.0, 0.33])
    parser.add_argument("--json", help="file to write the figures to")
    options = parser.parse_args()
    if not (options.data / "llmfao_votes.csv.gz").is_file():
        sys.exit(f"no votes in {options.data}: nothing was measured; --data names the folder")
    report = []
    for votes in read_votes(options.data):
        for rate in options.careless:
            for part in measure(votes, rate, range(options.seeds), range(options.text_seeds)):
                print_table(part)
                report.append(part)
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
