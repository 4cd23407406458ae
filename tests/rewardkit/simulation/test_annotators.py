"""Simulated annotators behave as their equations say, and what went in can be recovered from what came out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from rewardkit.data.records import Comparison, Judgment, Message
from rewardkit.simulation.annotators import GoldComparison, ScaleOf, SimulatedAnnotator, simulate_judgments

SCALE = ScaleOf(degrees=3, tie=True)


def item(gold_a: float, gold_b: float, *, a: str = "yes", b: str = "yes", name: str = "c", **aspects) -> GoldComparison:
    comparison = Comparison(id=name, prompt=(Message(role="user", content="?"),), completion_a=a, completion_b=b)
    return GoldComparison(
        comparison=comparison,
        gold_a=gold_a,
        gold_b=gold_b,
        aspects=tuple((key, *values) for key, values in aspects.items()),
    )


def draws(annotator: SimulatedAnnotator, what: GoldComparison, left: str, count: int, **options) -> list[Judgment]:
    rng = np.random.default_rng(11)
    return [annotator.judge(what, left, rng, **options) for _ in range(count)]


def assert_share(found: int, count: int, share: float) -> None:
    """A binomial count within 4 standard deviations of its mean."""
    assert abs(found - count * share) < 4 * math.sqrt(max(count * share * (1 - share), 1))


def test_probabilities_by_hand() -> None:
    # u = 2 (1 - 0.5) + 0.3 = 1.3 with b on the left, h = 0.4: P(b) = s(0.9), P(a) = s(-1.7)
    attentive = SimulatedAnnotator(name="sim", reliability=1.0, sharpness=2.0, tie_width=0.4, left_bias=0.3)
    found = attentive.probabilities(item(0.5, 1.0), "b")
    assert found["b"] == pytest.approx(0.7109495, abs=1e-6)
    assert found["a"] == pytest.approx(0.1544653, abs=1e-6)
    assert found["tie"] == pytest.approx(1 - 0.7109495 - 0.1544653, abs=1e-6)
    # careless: u = -0.3 with a on the left, whatever the content; without ties P(b) = s(-0.3)
    careless = SimulatedAnnotator(name="sim", reliability=0.0, left_bias=0.3)
    assert careless.probabilities(item(-9, 9), "a", tie=False)["b"] == pytest.approx(0.4255575, abs=1e-6)
    # length: u = 0.5 ln(8 / 2) = 0.693..., so odds of b are 2 to 1
    wordy = SimulatedAnnotator(name="sim", reliability=1.0, length_bias=0.5)
    assert wordy.probabilities(item(0, 0, a="xx", b="x" * 8), "a", tie=False)["b"] == pytest.approx(2 / 3)


def test_without_bias_the_side_shown_does_not_matter_and_swapping_swaps() -> None:
    annotator = SimulatedAnnotator(name="sim", reliability=0.8, length_bias=0.7)
    one = annotator.probabilities(item(0.2, 1.1, a="long text", b="b"), "a")
    assert one == annotator.probabilities(item(0.2, 1.1, a="long text", b="b"), "b")
    other = annotator.probabilities(item(1.1, 0.2, a="b", b="long text"), "a")
    assert (one["a"], one["tie"], one["b"]) == pytest.approx((other["b"], other["tie"], other["a"]))


@pytest.mark.parametrize("left", ["a", "b"])
@pytest.mark.parametrize(
    "annotator",
    [
        SimulatedAnnotator(name="sim", reliability=0.7, sharpness=1.5, tie_width=0.5, left_bias=0.8, length_bias=0.4),
        SimulatedAnnotator(name="sim", reliability=1.0, tie_width=0.0),
        SimulatedAnnotator(name="sim", reliability=0.2, tie_width=1.2, left_bias=-1.0),
    ],
)
def test_judgments_follow_the_stated_probabilities(annotator: SimulatedAnnotator, left: str) -> None:
    what = item(0.4, 1.0, a="four", b="a dozen chars")
    counted = Counter(judgment.choice for judgment in draws(annotator, what, left, 6000))
    for choice, share in annotator.probabilities(what, left).items():
        assert_share(counted[choice], 6000, share)


def test_degrees_follow_the_ordinal_logistic_model() -> None:
    # P(degree of b is 1, 2, 3): s(h + w - u) - s(h - u), s(h + 2w - u) - s(h + w - u), the rest
    annotator = SimulatedAnnotator(name="sim", reliability=1.0, sharpness=1.0, tie_width=0.3, degree_width=1.2)
    counted = Counter(judgment.score for judgment in draws(annotator, item(0, 0.9), "a", 6000))
    below = [1 / (1 + math.exp(-(0.3 + 1.2 * step - 0.9))) for step in range(3)]
    for degree, share in ((1, below[1] - below[0]), (2, below[2] - below[1]), (3, 1 - below[2])):
        assert_share(counted[degree], 6000, share)


def test_reliability_is_recovered_from_clear_cases() -> None:
    # A difference of 40 logits: attentive answers are right, careless ones in half of the cases (no tie band).
    for reliability in (0.55, 0.8, 0.97):
        annotator = SimulatedAnnotator(name="sim", reliability=reliability, tie_width=0.0)
        right = sum(judgment.choice == "b" for judgment in draws(annotator, item(-20, 20), "a", 4000))
        found = 2 * right / 4000 - 1
        assert abs(found - reliability) < 4 * 2 * math.sqrt(0.25 / 4000)


def test_left_bias_is_recovered_from_equal_replies() -> None:
    # Log-odds of the left one between equal replies without ties; their standard error is 1 / sqrt(n p (1 - p)).
    annotator = SimulatedAnnotator(name="sim", reliability=0.9, left_bias=0.7, tie_width=0.0)
    left = sum(judgment.choice == judgment.shown_left for judgment in draws(annotator, item(0, 0), "a", 2000))
    left += sum(judgment.choice == judgment.shown_left for judgment in draws(annotator, item(0, 0), "b", 2000))
    assert abs(math.log(left / (4000 - left)) - 0.7) < 4 * 2.2 / math.sqrt(4000)


def test_length_bias_is_recovered_from_equal_replies() -> None:
    annotator = SimulatedAnnotator(name="sim", reliability=1.0, length_bias=0.6, tie_width=0.0)
    what = item(0, 0, a="x" * 30, b="x" * 10)
    longer = sum(judgment.choice == "a" for judgment in draws(annotator, what, "b", 4000))
    assert abs(math.log(longer / (4000 - longer)) / math.log(3) - 0.6) < 4 * 2.1 / math.sqrt(4000) / math.log(3)


def test_tie_rate_of_equal_replies_is_that_of_the_band() -> None:
    # P(tie) = s(h) - s(-h) = tanh(h / 2)
    annotator = SimulatedAnnotator(name="sim", reliability=1.0, tie_width=0.9)
    ties = sum(judgment.choice == "tie" for judgment in draws(annotator, item(1, 1), "a", 4000))
    assert_share(ties, 4000, math.tanh(0.45))


def test_a_scale_without_ties_gives_none() -> None:
    annotator = SimulatedAnnotator(name="sim", tie_width=3.0)
    choices = {each.choice for each in draws(annotator, item(0, 0), "a", 300, scale=ScaleOf(degrees=4, tie=False))}
    assert choices == {"a", "b"}


def test_degrees_stay_within_the_scale() -> None:
    annotator = SimulatedAnnotator(name="sim", degree_width=0.1)
    judgments = draws(annotator, item(-0.5, 0.5), "a", 400, scale=ScaleOf(degrees=2, tie=True))
    assert {each.strength for each in judgments if each.choice != "tie"} == {1, 2}


def test_each_criterion_follows_its_own_gold() -> None:
    annotator = SimulatedAnnotator(name="sim", reliability=1.0)
    what = item(0, 0, tone=(30.0, -30.0), facts=(-30.0, 30.0), unasked=(0.0, 0.0))
    criteria = [("tone", ScaleOf(degrees=1, tie=True)), ("facts", SCALE), ("unknown", SCALE)]
    for judgment in draws(annotator, what, "a", 50, criteria=criteria):
        assert judgment.criteria == {"tone": -1, "facts": 3}


def test_both_bad_and_skip_are_for_the_attentive() -> None:
    strict = SimulatedAnnotator(name="sim", reliability=0.75, both_bad_below=-1.0)
    bad = sum(each.choice == "both_bad" for each in draws(strict, item(-2, -1.5), "a", 2000))
    assert_share(bad, 2000, 0.75)
    assert all(each.choice != "both_bad" for each in draws(strict, item(-2, -0.5), "a", 200))
    leaving = SimulatedAnnotator(name="sim", reliability=0.75, skip_rate=0.4)
    skipped = [each for each in draws(leaving, item(0, 1, tone=(0.0, 1.0)), "a", 2000, criteria=[("tone", SCALE)])]
    assert_share(sum(each.choice == "skip" for each in skipped), 2000, 0.3)
    assert all(each.reason and not each.criteria for each in skipped if each.choice == "skip")


def test_seconds_grow_with_the_text_and_shrink_with_haste() -> None:
    def median(annotator: SimulatedAnnotator, text: str) -> float:
        return float(np.median([each.seconds for each in draws(annotator, item(0, 0, a=text, b=text), "a", 500)]))

    steady, hasty = SimulatedAnnotator(name="sim", reliability=1), SimulatedAnnotator(name="sim", reliability=0)
    # 3 s and 2 x 500 characters (and "?") at 25 a second: 43 s; a median of 500 is off by 1.25 x 0.35 / sqrt(500)
    assert median(steady, "x" * 500) == pytest.approx(43.04, rel=4 * 0.02)
    assert median(hasty, "x" * 500) == pytest.approx(43.04 / 3, rel=4 * 0.02)
    assert median(steady, "x" * 1500) > 2.5 * median(steady, "x" * 500)


PEOPLE = [SimulatedAnnotator(name=f"sim-{number}") for number in range(5)]


def test_each_item_is_judged_by_different_people_and_sides_are_shuffled() -> None:
    items = [item(0, 1, name=f"c{number}") for number in range(300)]
    judgments = list(simulate_judgments(items, PEOPLE, overlap=3, seed=1, started_at=100.0, spacing_s=10.0))
    assert Counter(each.comparison_id for each in judgments) == {f"c{number}": 3 for number in range(300)}
    assert len({(each.comparison_id, each.annotator) for each in judgments}) == 900
    assert_share(sum(each.shown_left == "a" for each in judgments), 900, 0.5)
    for count in Counter(each.annotator for each in judgments).values():
        assert_share(count, 900, 0.2)
    assert [each.created_at for each in judgments] == [100.0 + 10 * number for number in range(900)]


def test_the_seed_reproduces_and_more_items_change_nothing_before() -> None:
    items = [item(0, 0.5, name=f"c{number}") for number in range(60)]
    whole = list(simulate_judgments(items, PEOPLE, overlap=2, seed=5))
    assert list(simulate_judgments(items, PEOPLE, overlap=2, seed=5)) == whole
    assert list(simulate_judgments(items[:20], PEOPLE, overlap=2, seed=5)) == whole[:40]
    assert list(simulate_judgments(items, PEOPLE, overlap=2, seed=6)) != whole


@pytest.mark.parametrize("overlap", [0, 6])
def test_overlap_beyond_the_people_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap is {overlap}, allowed is 1 to 5"):
        list(simulate_judgments([item(0, 1)], PEOPLE, overlap=overlap, seed=0))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reliability": 1.2}, "reliability is 1.2, allowed is 0 to 1"),
        ({"skip_rate": -0.1}, "skip_rate is -0.1, allowed is 0 to 1"),
        ({"sharpness": 0}, "sharpness is 0, allowed is more than 0"),
        ({"degree_width": math.nan}, "degree_width is nan, allowed is more than 0"),
        ({"tie_width": -1}, "tie_width is -1, allowed is 0 or more"),
    ],
)
def test_impossible_people_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SimulatedAnnotator(name="sim", **values)


def test_the_gold_choice_is_the_better_one() -> None:
    assert [item(*golds).choice for golds in ((1, 0), (0, 1), (1, 1))] == ["a", "b", "tie"]
