"""Intervals of Conger's kappa and of the mean of Cohen's kappas, against resampled items read anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate_app.agreement import annotator_bootstrap
from annotate_app.agreement.annotator_bootstrap import conger_estimate, draw_blocks, mean_kappa_estimate, shared_answers
from annotate_app.agreement.bootstrap import Estimate
from annotate_app.agreement.coefficients import Totals, fleiss_kappa, percent_agreement
from annotate_app.agreement.pairs import (
    PairTables,
    cohen_influence,
    cohen_kappa,
    conger_kappa,
    kappa_values,
    pair_tables,
)
from annotate_app.agreement.vote_categories import Ballots, overall_ballots
from annotate_app.votes import Votes

CHOICES = np.array(["a", "tie", "b"])


def random_votes(make_votes: Callable[..., Votes], num_items: int, seed: int = 0) -> Votes:
    """One to four of six people an item, who see a common truth through noise, the last of them mostly a."""
    rng = np.random.default_rng(seed)
    rows = []
    for item in range(num_items):
        truth = rng.normal()
        for person in rng.permutation(6)[: rng.integers(1, 5)].tolist():
            degree = np.digitize(truth + rng.normal() - (person == 5), [-0.3, 0.3])
            rows.append((f"i{item:05d}", f"p{person}", CHOICES[degree]))
    return make_votes(*zip(*rows, strict=True))


def tables_of(ballots: Ballots) -> PairTables:
    sizes = {"num_items": ballots.num_items, "num_annotators": ballots.num_annotators}
    return pair_tables(ballots.item, ballots.annotator, ballots.answer, num_codes=len(ballots.categories), **sizes)


def percent_of(ballots: Ballots) -> float:
    return float(percent_agreement(Totals.of(ballots.nominal_tally.counts)))


def both(ballots: Ballots, num_resamples: int, seed: int = 1) -> tuple[Estimate, Estimate]:
    blocks = draw_blocks(ballots, num_resamples, np.random.default_rng(seed))
    return (
        conger_estimate(ballots, percent_of(ballots), blocks),
        mean_kappa_estimate(ballots, tables_of(ballots), blocks),
    )


def naive(votes: Votes, num_resamples: int, seed: int = 1) -> np.ndarray:
    """(B, 2) both figures of the resamples that the same seed draws, each item repeated as often as it was drawn."""
    ballots = overall_ballots(votes)
    weights = draw_blocks(ballots, num_resamples, np.random.default_rng(seed)).weights.astype(int)
    found = []
    for drawn in weights:
        items = np.repeat(np.arange(ballots.num_items), drawn)
        picked = [np.flatnonzero(votes.item == item) for item in items]
        rows = np.concatenate(picked)
        again = votes.where(rows)
        item = np.repeat(np.arange(len(items)), [len(each) for each in picked]).astype(np.int32)
        copy = overall_ballots(again)
        fields = {name: getattr(copy, name) for name in ("annotator", "nominal", "degree", "categories", "levels")}
        drawn_ballots = Ballots(**fields, item=item, num_items=len(items), num_annotators=copy.num_annotators)
        kappas = cohen_kappa(tables_of(drawn_ballots).tables).value
        conger = conger_kappa(drawn_ballots.annotator_counts(), np.asarray(percent_of(drawn_ballots)))
        found.append((float(conger), float(np.nanmean(kappas))))
    return np.array(found)


def test_intervals_are_those_of_items_drawn_again(make_votes: Callable[..., Votes]) -> None:
    votes = random_votes(make_votes, 60)
    samples = naive(votes, 40)
    conger, mean = both(overall_ballots(votes), 40)
    column = samples[:, 0]
    assert (conger.low, conger.high) == pytest.approx(tuple(np.percentile(column, [2.5, 97.5])), abs=1e-12)
    assert conger.standard_error == pytest.approx(np.std(column, ddof=1), abs=1e-12)
    assert conger.low < conger.value < conger.high
    # the mean of kappas is linearised, of like spread; tables of few items that repeat some spread more
    assert 0.6 < mean.standard_error / np.std(samples[:, 1], ddof=1) < 1


def test_blocks_of_items_give_the_spread_of_all_items(
    make_votes: Callable[..., Votes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ballots = overall_ballots(random_votes(make_votes, 900))
    exact = both(ballots, 2000)
    monkeypatch.setattr(annotator_bootstrap, "BLOCKS", 300)
    for few, all_items in zip(both(ballots, 2000), exact, strict=True):
        # 300 blocks know the spread to 1 / sqrt(600), 4 %.
        assert few.standard_error == pytest.approx(all_items.standard_error, rel=0.13)
        assert few.value == all_items.value


def sparse_ballots(make_votes: Callable[..., Votes], num_items: int, seed: int = 0) -> Ballots:
    """Three of forty people an item, so that most pairs of people share one item or two."""
    rng = np.random.default_rng(seed)
    rows = []
    for item in range(num_items):
        truth = rng.integers(3)
        for person in rng.choice(40, 3, replace=False).tolist():
            answer = truth if rng.random() < 0.7 else rng.integers(3)
            rows.append((f"i{item:05d}", f"p{person:02d}", CHOICES[answer]))
    return overall_ballots(make_votes(*zip(*rows, strict=True)))


def test_pairs_who_share_little_do_not_pull_the_mean_of_kappas_down(make_votes: Callable[..., Votes]) -> None:
    ballots = sparse_ballots(make_votes, 500)
    fleiss = float(fleiss_kappa(Totals.of(ballots.nominal_tally.counts)))
    tables = tables_of(ballots).tables
    plain = float(np.nanmean(kappa_values(tables)))
    _, mean = both(ballots, 500)
    assert plain < fleiss - 0.1  # pairs with one item have a kappa only where they disagree, 0
    assert mean.value == pytest.approx(fleiss, abs=0.08)
    assert mean.low < mean.value < mean.high
    assert (mean.low + mean.high) / 2 == pytest.approx(mean.value, abs=0.15 * (mean.high - mean.low))


def test_the_mean_of_kappas_weighs_pairs_by_shared_items(make_votes: Callable[..., Votes]) -> None:
    # p and q share 8 items, all alike but one; p and r share 6 of these, where r says the opposite once more
    one, two, three = "aabbabab", "aabbabaa", "aabbbb"
    rows = [(f"i{k}", name, answer) for name, said in (("p", one), ("q", two)) for k, answer in enumerate(said)]
    rows += [(f"i{k}", "r", answer) for k, answer in enumerate(three)]
    ballots = overall_ballots(make_votes(*zip(*rows, strict=True)))
    pairs = tables_of(ballots)
    kappas = cohen_kappa(pairs.tables).value
    assert pairs.num_items.tolist() == [8, 6, 6]
    assert kappas.max() - kappas.min() > 0.05
    _, mean = both(ballots, 0)
    assert mean.value == pytest.approx(float(kappas @ [8, 6, 6]) / 20)


def test_what_two_votes_on_an_item_say_adds_up_to_the_tables(make_votes: Callable[..., Votes]) -> None:
    ballots = overall_ballots(random_votes(make_votes, 200))
    pairs = tables_of(ballots)
    counts = np.zeros(pairs.tables.size)
    for _, cell in shared_answers(ballots, pairs):
        counts += np.bincount(cell, minlength=counts.size)
    np.testing.assert_array_equal(counts.reshape(pairs.tables.shape), pairs.tables)


def test_influence_is_the_derivative_and_its_square_the_variance() -> None:
    table = np.array([[20.0, 5.0, 1.0], [3.0, 12.0, 4.0], [2.0, 6.0, 9.0]])
    influence = cohen_influence(table)
    step = 1e-6
    for cell in np.ndindex(3, 3):
        more, less = table.copy(), table.copy()
        more[cell] += step
        less[cell] -= step
        slope = (kappa_values(more) - kappa_values(less)) / (2 * step)
        assert influence[cell] == pytest.approx(float(slope), abs=1e-8)
    assert (table * influence**2).sum() == pytest.approx(cohen_kappa(table).standard_error ** 2)


def test_exchanging_a_and_b_changes_nothing(make_votes: Callable[..., Votes]) -> None:
    ballots = overall_ballots(random_votes(make_votes, 80))
    mirrored = Ballots(**{**vars_of(ballots), "nominal": np.array([2, 1, 0, 3])[ballots.nominal]})
    for one, other in zip(both(ballots, 50), both(mirrored, 50), strict=True):
        assert one.as_dict() == pytest.approx(other.as_dict())


def vars_of(ballots: Ballots) -> dict[str, object]:
    names = ("item", "annotator", "nominal", "degree", "categories", "levels", "num_items", "num_annotators")
    return {name: getattr(ballots, name) for name in names}


def test_too_little_gives_figures_without_intervals(make_votes: Callable[..., Votes]) -> None:
    alone = overall_ballots(make_votes(["i"], ["p"], ["a"]))
    for estimate in both(alone, 10):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    two = overall_ballots(random_votes(make_votes, 30))
    for estimate in both(two, 0):
        assert not np.isnan(estimate.value)
        assert np.isnan([estimate.low, estimate.high]).all()
