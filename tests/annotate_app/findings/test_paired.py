"""Reward models on the same held-out pairs: figures by hand, what is left out, tests, and what is said."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import numpy as np
import pytest
from toy_scores import labels_of, scores_of

from annotate_app.findings.paired import compare_models, sign_test, verdict
from rewardkit.stats.metrics import Interval


def sigmoid(value: float) -> float:
    return 1 / (1 + np.exp(-value))


def test_figures_are_those_worked_by_hand(make_run: Callable) -> None:
    """People: a, b, a, tie. The first orders a, a, b (1 of 3 right), the second a, b, b (2 of 3)."""
    labels = labels_of([1.0, 0.0, 1.0, 0.5])
    one, other = scores_of([2.0, 1.0, -1.0, 0.0]), scores_of([1.0, -1.0, -2.0, 1.0])
    found = compare_models([make_run(1), make_run(2, temperature=2.0)], [one, other], labels)
    assert (found.num_pairs, found.num_prompts, found.num_decided, found.num_learned) == (4, 4, 3, 0)
    first, second = found.figures
    assert first.accuracy.value == pytest.approx(1 / 3)
    assert second.accuracy.value == pytest.approx(2 / 3)
    losses = [-log(sigmoid(2)), -log(1 - sigmoid(1)), -log(sigmoid(-1)), -log(0.5)]
    assert first.nll.value == pytest.approx(np.mean(losses))
    halved = [-log(sigmoid(0.5)), -log(1 - sigmoid(-0.5)), -log(sigmoid(-1))]
    halved.append(-0.5 * (log(sigmoid(0.5)) + log(1 - sigmoid(0.5))))
    assert second.nll.value == pytest.approx(np.mean(halved))
    (difference,) = found.differences
    assert (difference.one, difference.other) == (2, 1)
    assert difference.accuracy.value == pytest.approx(1 / 3)
    assert difference.nll.value == pytest.approx(np.mean(halved) - np.mean(losses))
    assert (difference.num_only_one, difference.num_only_other) == (1, 0)
    assert difference.p_pairs == 1.0


def test_only_pairs_count_that_both_scored_people_decided_and_none_learned_from(make_run: Callable) -> None:
    keys = ["a", "b", "c", "d", "e"]
    labels = labels_of([1.0, 1.0, np.nan, 0.0, 1.0], keys=keys)
    one = scores_of([1.0] * 4, keys=keys[:4], learned=[True, False, False, False])
    other = scores_of([1.0] * 4, keys=keys[:0:-1], learned=[False, True, False, False])
    found = compare_models([make_run(1), make_run(2)], [one, other], labels)
    # a is scored by one alone, c is not released, e by the other alone; d was learned from by the other.
    assert (found.num_pairs, found.num_learned) == (1, 1)
    assert found.figures[0].accuracy.value == 1.0


def test_pairs_are_matched_by_id_and_not_by_place(make_run: Callable) -> None:
    labels = labels_of([1.0, 0.0, 1.0], keys=["x", "y", "z"])
    one = scores_of([1.0, -1.0, 1.0], keys=["x", "y", "z"])
    other = scores_of([1.0, 1.0, -1.0], keys=["z", "x", "y"])
    (difference,) = compare_models([make_run(1), make_run(2)], [one, other], labels).differences
    assert difference.accuracy.value == 0.0
    assert (difference.num_only_one, difference.num_only_other) == (0, 0)


def test_exchanged_runs_give_the_opposite_difference_and_the_same_tests(make_run: Callable) -> None:
    rng = np.random.default_rng(3)
    share = rng.choice([0.0, 1 / 3, 2 / 3, 1.0], 300)
    prompt = [f"{number // 3}" for number in range(300)]
    good = scores_of(3 * (share - 0.5) + rng.normal(size=(2, 300)), prompt=prompt)
    bad = scores_of(rng.normal(size=(2, 300)), prompt=prompt)
    runs, labels = [make_run(1), make_run(2)], labels_of(share)
    (forth,) = compare_models(runs, [bad, good], labels).differences
    (back,) = compare_models(runs[::-1], [good, bad], labels).differences
    assert forth.accuracy.value == pytest.approx(-back.accuracy.value)
    assert forth.accuracy.low == pytest.approx(-back.accuracy.high)
    assert forth.nll.low == pytest.approx(-back.nll.high)
    assert (forth.p_pairs, forth.p_prompts) == (back.p_pairs, back.p_prompts)
    assert forth.p_prompts < 0.001
    assert forth.accuracy.low > 0.1
    assert (
        forth.verdict == back.verdict == "Run 2 orders more pairs as people do than run 1; "
        "run 2 gives people's choices higher probabilities."
    )


def test_a_model_beside_itself_is_not_better(make_run: Callable) -> None:
    rng = np.random.default_rng(1)
    scores, share = scores_of(rng.normal(size=(3, 60))), rng.choice([0.0, 1.0], 60)
    found = compare_models([make_run(1), make_run(2)], [scores, scores], labels_of(share))
    assert found.differences[0].accuracy.value == found.differences[0].nll.value == 0.0
    assert found.differences[0].verdict.startswith("Not shown that run 2 or run 1 orders more pairs")
    assert found.differences[0].p_prompts == 1.0


def test_the_sign_test_is_a_coins() -> None:
    assert sign_test(0, 0) == 1.0
    assert sign_test(5, 0) == pytest.approx(2 / 32)
    assert sign_test(1, 4) == pytest.approx(2 * (1 + 5) / 32)
    assert sign_test(4, 1) == sign_test(1, 4)


def test_words_say_not_shown_unless_an_interval_is_on_one_side() -> None:
    better, unsure = Interval(value=0.1, low=0.02, high=0.2), Interval(value=0.1, low=-0.02, high=0.2)
    assert "Not shown that one or two orders more" in verdict(unsure, unsure, ("one", "two"))
    assert verdict(better, unsure, ("one", "two")).startswith("One orders more pairs as people do than two")
    assert "one gives people's choices higher" not in verdict(unsure, better, ("one", "two"))
    assert "two gives people's choices higher probabilities" in verdict(unsure, better, ("one", "two"))
    unknown = Interval(value=0.1)
    assert verdict(unknown, unknown, ("one", "two")).count("ot shown") == 2


def test_without_common_pairs_there_are_no_figures(make_run: Callable) -> None:
    runs, labels = [make_run(1), make_run(2)], labels_of([1.0, 0.0])
    found = compare_models(runs, [scores_of([1.0], keys=["p0"]), scores_of([1.0], keys=["p1"])], labels)
    assert (found.num_pairs, found.figures, found.differences) == (0, (), ())
    with pytest.raises(ValueError, match="allowed are 2 or more"):
        compare_models(runs[:1], [scores_of([1.0])], labels)
