from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.consensus.dawid_skene_mace import LatentTruth, Triples, dawid_skene, mace

MODELS = (dawid_skene, mace)
VOTES = st.lists(
    st.tuples(st.integers(0, 7), st.integers(0, 4), st.integers(0, 2)),
    min_size=1,
    max_size=40,
    unique_by=lambda vote: vote[:2],
)


def as_triples(votes: list[tuple[int, int, int]], num_codes: int = 3) -> Triples:
    item, annotator, code = map(np.array, zip(*votes, strict=True))
    return Triples.of(item, annotator, code, num_items=8, num_annotators=5, num_codes=num_codes)


@pytest.fixture(scope="module")
def crowd(shared_data: Path) -> tuple[Triples, np.ndarray]:
    """1,000 items with five labels each, and the gold labels."""
    labels = pd.read_csv(shared_data / "crowd_binary_labels.csv.gz")
    gold = pd.read_csv(shared_data / "crowd_binary_gold.csv.gz").set_index("item").gold
    items, item = np.unique(labels.item, return_inverse=True)
    workers, worker = np.unique(labels.worker, return_inverse=True)
    sizes = {"num_items": len(items), "num_annotators": len(workers), "num_codes": 2}
    return Triples.of(item, worker, labels.label.to_numpy(), **sizes), gold.loc[items].to_numpy()


def test_dawid_skene_on_the_crowd_equals_the_oracle(crowd: tuple[Triples, np.ndarray], agreement_vectors: dict) -> None:
    votes, gold = crowd
    oracle = agreement_vectors["datasets"]["crowd_binary"]["oracle"]
    found = dawid_skene(votes, smoothing=0)
    assert found.converged
    assert found.log_likelihood == pytest.approx(oracle["dawid_skene_em_log_likelihood"], abs=0.01)
    assert found.prevalence == pytest.approx(oracle["dawid_skene_em_prevalence"], abs=1e-3)
    assert (found.p.argmax(axis=1) == gold).mean() == pytest.approx(oracle["dawid_skene_em_accuracy"], abs=0.0011)
    assert (votes.vote_shares().argmax(axis=1) == gold).mean() == pytest.approx(oracle["majority_vote_accuracy"])


@pytest.mark.parametrize("model", MODELS)
def test_defaults_beat_the_majority_on_the_crowd(
    model: Callable[..., LatentTruth], crowd: tuple[Triples, np.ndarray]
) -> None:
    votes, gold = crowd
    found = model(votes)
    assert found.converged
    assert (found.p.argmax(axis=1) == gold).mean() >= 0.709


def naive_dawid_skene(votes: list[tuple[int, int, int]], num_codes: int, steps: int, smoothing: float) -> np.ndarray:
    """Posterior (items, codes) by loops over votes."""
    items = sorted({item for item, _, _ in votes})
    p = {}
    for item in items:
        said = [code for other, _, code in votes if other == item]
        p[item] = [said.count(k) / len(said) for k in range(num_codes)]
    for _ in range(steps):
        prevalence = [sum(p[item][k] for item in items) / len(items) for k in range(num_codes)]
        confusion = {}
        for person in {annotator for _, annotator, _ in votes}:
            for k in range(num_codes):
                row = [smoothing * (1 + (k == c)) / (num_codes + 1) for c in range(num_codes)]
                for item, annotator, code in votes:
                    if annotator == person:
                        row[code] += p[item][k]
                confusion[person, k] = [value / sum(row) for value in row]
        for item in items:
            score = list(prevalence)
            for other, annotator, code in votes:
                if other == item:
                    score = [score[k] * confusion[annotator, k][code] for k in range(num_codes)]
            p[item] = [value / sum(score) for value in score]
    return np.array([p[item] for item in items])


@given(votes=VOTES)
def test_dawid_skene_equals_loops(votes: list[tuple[int, int, int]]) -> None:
    found = dawid_skene(as_triples(votes), smoothing=0.7, max_iterations=4, tolerance=-1)
    items = sorted({item for item, _, _ in votes})
    assert found.num_iterations == 4
    assert not found.converged
    assert found.p[items] == pytest.approx(naive_dawid_skene(votes, 3, 4, 0.7), abs=1e-9)


def test_mace_first_step_by_hand() -> None:
    # theta 0.8, habit 1/2: says the truth 0.9, else 0.1. Votes 0, 0, 1: odds of 0 are 0.9^2 0.1 / (0.1^2 0.9) = 9.
    votes = Triples.of(np.zeros(3), np.arange(3), np.array([0, 0, 1]), num_items=1, num_annotators=3, num_codes=2)
    found = mace(votes, max_iterations=1)
    assert found.p[0] == pytest.approx([0.9, 0.1])
    assert found.log_likelihood == pytest.approx(np.log((0.9**2 * 0.1 + 0.1**2 * 0.9) / 2))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3, 2.0])
@given(votes=VOTES)
def test_the_objective_never_falls(
    model: Callable[..., LatentTruth], smoothing: float, votes: list[tuple[int, int, int]]
) -> None:
    found = model(as_triples(votes), smoothing=smoothing, max_iterations=60)
    steps = np.diff(found.objective)
    assert (steps >= -1e-9 * np.abs(found.objective[-1]) - 1e-9).all()
    assert found.p.sum(axis=1) == pytest.approx(1)
    assert found.confusion.sum(axis=2) == pytest.approx(1)


@pytest.mark.parametrize("model", MODELS)
@given(votes=VOTES, seed=st.integers(0, 1000))
def test_names_and_order_do_not_matter(
    model: Callable[..., LatentTruth], votes: list[tuple[int, int, int]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    items, people, codes = rng.permutation(8), rng.permutation(5), rng.permutation(3)
    renamed = [(int(items[i]), int(people[r]), int(codes[c])) for i, r, c in rng.permutation(votes).tolist()]
    here, there = (model(as_triples(rows), max_iterations=15) for rows in (votes, renamed))
    assert there.p[items][:, codes] == pytest.approx(here.p, abs=1e-6)
    assert there.reliability[people] == pytest.approx(here.reliability, abs=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_known_reliability_is_recovered(model: Callable[..., LatentTruth]) -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 1500)
    skill = np.array([0.95, 0.9, 0.8, 0.6, 0.35])
    item, person = np.divmod(np.arange(1500 * 5), 5)
    knows = rng.random(len(item)) < skill[person]
    code = np.where(knows, truth[item], rng.integers(0, 3, len(item)))
    found = model(Triples.of(item, person, code, num_items=1500, num_annotators=5, num_codes=3))
    right = skill + (1 - skill) / 3  # chance of naming the truth
    assert found.reliability == pytest.approx(right if model is dawid_skene else skill, abs=0.06)
    assert (found.p.argmax(axis=1) == truth).mean() > 0.95


def test_a_systematic_mistake_is_undone_by_dawid_skene() -> None:
    # Two people confuse 0 and 1 always, three tell the truth: even on items that only the two confused judged.
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    item, person = np.divmod(np.arange(300 * 5), 5)
    kept = (item < 250) | (person < 2)
    code = np.where(person < 2, 1 - truth[item], truth[item])
    found = dawid_skene(Triples.of(item[kept], person[kept], code[kept], num_items=300, num_annotators=5, num_codes=2))
    assert (found.p.argmax(axis=1) == truth).all()


@pytest.mark.bench
def test_dawid_skene_equals_crowd_kit(crowd: tuple[Triples, np.ndarray]) -> None:
    aggregation = pytest.importorskip("crowdkit.aggregation", exc_type=ImportError)
    votes, _ = crowd
    item, column = votes.matrix.nonzero()
    frame = pd.DataFrame({"task": item, "worker": column // 2, "label": column % 2})
    theirs = aggregation.DawidSkene(n_iter=100).fit_predict_proba(frame).sort_index()[[0, 1]].to_numpy()
    ours = dawid_skene(votes, smoothing=0).p
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() > 0.99
