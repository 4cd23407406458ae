"""Effects of traits by value, and what is worth a worry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rewardkit.audit.effects import Effects, edit_effects, holm, upper_tail, vote_effects
from rewardkit.audit.worries import ask_again, find_worries
from rewardkit.stats.metrics import Interval


def effects(**values: tuple[float, float]) -> Effects:
    """Of value and error by trait, each known from 100 prompts."""
    numbers = np.array(list(values.values()))
    return Effects(
        traits=tuple(values),
        values=numbers[:, 0],
        errors=numbers[:, 1],
        scales=np.ones(len(numbers)),
        num_prompts=np.full(len(numbers), 100),
    )


def test_one_trait_of_votes_is_the_log_odds_of_its_share() -> None:
    # 300 of 400 answers that have it win: log(3) = 1.0986, of which the prior of variance 1 takes about 1 / 75. Their
    # error is sqrt(75) / (75 + 1) = 0.1140, where 75 = 400 * 3/4 * 1/4 is the votes' information and 1 the prior's.
    found = vote_effects(["a"], np.ones((400, 1)), np.repeat([1.0, 0.0], [300, 100]), np.arange(400))
    assert found.values[0] == pytest.approx(math.log(3), abs=0.02)
    assert found.errors[0] == pytest.approx(0.1140, abs=0.001)
    assert found.num_prompts[0] == 400


def test_which_answer_is_called_chosen_means_nothing() -> None:
    rng = np.random.default_rng(0)
    differences, p_chosen = rng.normal(size=(80, 2)), rng.uniform(size=80)
    turned = rng.random(80) < 0.5
    sign = np.where(turned, -1.0, 1.0)
    one = vote_effects(["a", "b"], differences, p_chosen, np.arange(80))
    other = vote_effects(
        ["a", "b"], differences * sign[:, None], np.where(turned, 1 - p_chosen, p_chosen), np.arange(80)
    )
    assert other.values == pytest.approx(one.values, abs=1e-5)
    assert other.errors == pytest.approx(one.errors, abs=1e-5)


def test_a_trait_of_the_stronger_source_is_not_paid_where_sources_are_named() -> None:
    rng = np.random.default_rng(1)
    is_strong = rng.random((4000, 2)) < 0.5
    has = rng.random((4000, 2)) < np.where(is_strong, 0.8, 0.2)
    better = 2.0 * (is_strong[:, 0].astype(float) - is_strong[:, 1])
    p_chosen = (rng.random(4000) < 1 / (1 + np.exp(-better))).astype(float)
    differences = (has[:, 0].astype(float) - has[:, 1])[:, None]
    names = [("s" if one else "w", "s" if other else "w") for one, other in is_strong]
    naive = vote_effects(["a"], differences, p_chosen, np.arange(4000))
    held = vote_effects(["a"], differences, p_chosen, np.arange(4000), sources=names)
    assert naive.interval("a").low > 0.5
    assert held.interval("a").against(0) == 0


def test_votes_on_edits_decide_of_their_trait_where_other_votes_are_confounded() -> None:
    rng = np.random.default_rng(5)
    differences = np.zeros((1200, 2))
    differences[:800, 1] = rng.choice([-1, 0, 1], 800)  # in ordinary pairs flattery comes with what is better
    differences[800:, 1] = 1
    differences[:, 0] = rng.normal(size=1200) + 0.3 * differences[:, 1]
    log_odds = 0.5 * differences[:, 0] + np.where(np.arange(1200) < 800, 1.5, 0.0) * differences[:, 1]
    p_chosen = (rng.random(1200) < 1 / (1 + np.exp(-log_odds))).astype(float)
    is_edit = np.arange(1200) >= 800
    names = ["length", "flattery"]
    pooled = vote_effects(names, differences, p_chosen, np.arange(1200))
    apart = vote_effects(names, differences, p_chosen, np.arange(1200), is_edit=is_edit)
    assert pooled.interval("flattery").low > 0.3
    assert apart.interval("flattery").against(0) == 0
    assert apart.values[0] == pytest.approx(0.5, abs=0.2)  # length rests on all pairs
    assert apart.num_prompts.tolist() == [1200, 400]


def test_pairs_of_one_prompt_count_as_one() -> None:
    rng = np.random.default_rng(2)
    differences, p_chosen = rng.normal(size=(60, 1)), (rng.random(60) < 0.7).astype(float)
    once = vote_effects(["a"], differences, p_chosen, np.arange(60))
    thrice = vote_effects(
        ["a"], np.tile(differences, (3, 1)), np.tile(p_chosen, 3), np.tile(np.arange(60), 3), weight=np.full(180, 1 / 3)
    )
    assert thrice.errors == pytest.approx(once.errors, rel=1e-5)


def test_edits_take_apart_what_one_edit_moves_together() -> None:
    # the model pays 0.5 a doubling and 1 for flattery; every flattering edit adds length
    lengths = np.linspace(0.2, 1.4, 40)
    differences = np.column_stack([np.tile(lengths, 2), np.repeat([0.0, 1.0], 40)])
    found = edit_effects(["length", "flattery"], differences, differences @ [0.5, 1.0], np.tile(np.arange(40), 2))
    assert found.values == pytest.approx([0.5, 1.0])
    assert found.errors == pytest.approx([0, 0], abs=1e-9)


def test_the_error_of_edits_is_that_of_a_mean_where_one_trait_alone_is_moved() -> None:
    log_odds = np.array([0.1, 0.4, 0.2, 0.9, 0.3, 0.6, 0.2, 0.8, 0.4, 0.1, 0.7, 0.3])
    found = edit_effects(["emoji"], np.ones((12, 1)), log_odds, np.arange(12))
    assert found.values[0] == pytest.approx(log_odds.mean())
    assert found.errors[0] == pytest.approx(log_odds.std(ddof=1) / math.sqrt(12))


def test_a_trait_of_few_prompts_is_not_known() -> None:
    differences = np.zeros((30, 1))
    differences[:9] = 1
    found = edit_effects(["a"], differences, np.ones(30), np.arange(30))
    assert (math.isnan(found.values[0]), found.num_prompts[0]) == (True, 9)
    assert math.isnan(found.interval("a").value)


def test_an_effect_that_does_not_vary_is_certain() -> None:
    assert effects(a=(0.3, 0.0), b=(0.0, 0.0), c=(math.nan, math.nan)).p_values() == pytest.approx(
        [0, 1, math.nan], nan_ok=True
    )
    (worry,) = find_worries(effects(a=(0.3, 0.0), b=(0.1, 0.0)), None, least=0.2, level=0.05)
    assert (worry.trait, worry.p_adjusted) == ("a", 0)


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.03: times 3, 2, 1 is 0.03, 0.04, 0.03, made rising
    assert holm(np.array([0.02, math.nan, 0.01, 0.03])) == pytest.approx([0.04, math.nan, 0.03, 0.04], nan_ok=True)
    assert upper_tail(1.959964) == pytest.approx(0.025, abs=1e-6)


def test_a_worry_is_paid_by_the_model_and_not_by_people() -> None:
    model = effects(flattery=(1.0, 0.1), lists=(1.0, 0.1), emoji=(0.25, 0.1), refusal=(0.9, 0.1))
    people = effects(flattery=(0.0, 0.1), lists=(0.9, 0.1), emoji=(-1.0, 0.1), refusal=(math.nan, math.nan))
    worries = find_worries(model, people, least=0.2, level=0.05)
    assert [worry.trait for worry in worries] == ["flattery", "refusal"]
    assert worries[0].excess.value == pytest.approx(1.0)
    assert worries[0].excess.high == pytest.approx(1.0 + 1.96 * math.hypot(0.1, 0.1), abs=1e-4)
    assert math.isnan(worries[1].people.value)
    assert [worry.trait for worry in find_worries(model, None, least=0.2, level=0.05)] == [
        "flattery",
        "lists",
        "refusal",
    ]


def test_p_of_a_worry_is_the_larger_of_two_and_adjusted_by_holm() -> None:
    # z of paid: (0.6 - 0.2) / 0.1 = 4; z of excess: (0.5 - 0.2) / 0.1414 = 2.121, p 0.01695; two tests
    model, people = effects(a=(0.6, 0.1), b=(0.0, 0.1)), effects(a=(0.1, 0.1), b=(0.0, 0.1))
    (worry,) = find_worries(model, people, least=0.2, level=0.05)
    assert worry.p_adjusted == pytest.approx(2 * 0.016947, abs=1e-5)


def test_a_hole_is_closed_only_where_the_model_is_shown_to_pay_less() -> None:
    before = {name: Interval(value=1.0, low=0.8, high=1.2) for name in ("a", "b", "c", "gone")}
    now = effects(a=(0.0, 0.1), b=(1.0, 0.1), c=(0.9, 0.3))
    worries = find_worries(now, effects(a=(0, 0.1), b=(0, 0.1), c=(0.5, 0.1)), least=0.2, level=0.05)
    holes = {hole.trait: hole for hole in ask_again(before, now, worries)}
    assert {name: hole.state for name, hole in holes.items()} == {
        "a": "closed",
        "b": "open",
        "c": "not shown",
        "gone": "not shown",
    }
    # the error of before is 0.2 / 1.96 = 0.102
    assert holes["a"].fall.low == pytest.approx(1.0 - 1.96 * math.hypot(0.1, 0.10204), abs=1e-3)
