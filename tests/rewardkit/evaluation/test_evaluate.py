"""Evaluation figures on rows whose answers are known, by a reward that is a function of the text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from rewardkit.data.records import Message, Preference
from rewardkit.evaluation.baselines import compare, tfidf_margins
from rewardkit.evaluation.evaluate import evaluate, uncertainties
from rewardkit.evaluation.scored_preferences import Scored, score_completions, score_preferences
from rewardkit.reward.reward import Reward


def ask(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def pair(chosen: str, rejected: str, prompt: str = "q", **fields: object) -> Preference:
    return Preference(prompt=ask(prompt), chosen=chosen, rejected=rejected, **fields)  # type: ignore[arg-type]


def count_good(prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
    """Rewards the word good, with one member; prompts say nothing."""
    assert len(prompts) == len(completions)
    return Reward(members=np.array([[text.split().count("good") for text in completions]], dtype=float))


def two_members(_prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
    """One member counts good, the other counts fine twice."""
    counted = [[text.split().count(word) * times for text in completions] for word, times in (("good", 1), ("fine", 2))]
    return Reward(members=np.array(counted, dtype=float))


ROWS = [
    pair("good good", "bad", "one"),  # right, margin 2, chosen longer
    pair("good", "bad and long", "two"),  # right, margin 1, chosen shorter
    pair("poor", "good answer here", "three"),  # wrong, margin -1, chosen shorter
    pair("same", "even longer", "three"),  # equal rewards: half, chosen shorter
    pair("good", "bad", "four", p_chosen=0.5),  # people are even
    pair("good", "bad", "five", weight=0.0),  # weighs nothing
]


def test_margins_and_prompts_follow_the_rows() -> None:
    scored = score_preferences(ROWS, count_good)
    np.testing.assert_array_equal(scored.margins, [2, 1, -1, 0, 1, 1])
    np.testing.assert_array_equal(scored.prompt, [0, 1, 2, 2, 3, 4])
    assert scored.num_members == 1
    taken = scored.take(np.array([2, 0]))
    np.testing.assert_array_equal(taken.margins, [-1, 2])
    assert [row.prompt[0].content for row in taken.rows] == ["three", "one"]


def test_a_completion_of_several_rows_is_scored_once_and_prompts_tell_equal_texts_apart() -> None:
    asked: list[tuple[str, str]] = []

    def remember(prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        asked.extend((prompt[0].content, text) for prompt, text in zip(prompts, completions, strict=True))
        return count_good(prompts, completions)

    score_preferences([pair("good", "b"), pair("good", "c"), pair("good", "b", "other")], remember)
    assert sorted(asked) == [("other", "b"), ("other", "good"), ("q", "b"), ("q", "c"), ("q", "good")]


def test_rewards_come_back_in_order_over_several_chunks() -> None:
    completions = [(ask("q"), "good " * (number % 7)) for number in range(600)]
    told: list[tuple[int, int]] = []
    members = score_completions(completions, count_good, told=lambda *at: told.append(at))
    np.testing.assert_array_equal(members[0], [number % 7 for number in range(600)])
    assert told == [(256, 600), (512, 600), (600, 600)]


def test_a_reward_that_is_not_finite_is_refused() -> None:
    def broken(_prompts: object, completions: Sequence[str]) -> Reward:
        return Reward(members=np.full((2, len(completions)), math.nan))

    with pytest.raises(ValueError, match="2 of 2"):
        score_completions([(ask("q"), "a"), (ask("q"), "b")], broken)
    with pytest.raises(ValueError, match="nothing to score"):
        score_completions([], count_good)


def test_accuracy_by_hand() -> None:
    found = evaluate(score_preferences(ROWS, count_good))
    assert found.overall.accuracy.value == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert (found.num_pairs, found.num_prompts, found.num_undecided) == (6, 5, 2)
    assert (found.overall.num_pairs, found.overall.num_prompts) == (4, 3)
    assert found.mean_margin == pytest.approx(0.5)
    assert found.human is not None  # one row says 0.5


def test_length_bias_by_hand() -> None:
    found = evaluate(score_preferences(ROWS, count_good)).length
    by_name = {group.name: group for group in found.groups}
    assert by_name["chosen is longer"].accuracy.value == 1.0
    assert by_name["chosen is shorter"].accuracy.value == pytest.approx(1.5 / 3)
    assert found.people_choose_longer == pytest.approx(1 / 4)
    # It prefers: the longer, the shorter, the longer, neither.
    assert found.model_chooses_longer == pytest.approx(2.5 / 4)


def test_a_model_of_length_is_found_out() -> None:
    def by_length(_prompts: object, completions: Sequence[str]) -> Reward:
        return Reward(members=np.log1p(np.array([[len(text) for text in completions]], dtype=float)))

    found = evaluate(score_preferences(ROWS, by_length)).length
    assert [group.accuracy.value for group in found.groups] == [0.0, 1.0]
    assert found.model_chooses_longer == 1.0
    assert found.correlation == pytest.approx(1.0)


def test_votes_stand_beside_the_human_ceiling() -> None:
    rows = [
        pair("good", "bad", "one", p_chosen=2 / 3, votes={"chosen": 2, "rejected": 1}),
        pair("bad", "good", "two", p_chosen=1.0, votes={"chosen": 3}),
        pair("good", "bad", "three", p_chosen=1.0, votes={"chosen": 1}),  # one vote: no part of it
    ]
    found = evaluate(score_preferences(rows, count_good)).human
    assert found is not None
    assert (found.counted, found.num_pairs) == (True, 2)
    assert found.model.value == pytest.approx((2 / 3 + 0) / 2)
    assert found.ceiling.value == pytest.approx((1 / 3 + 1) / 2)
    # NLL of margins 1 and -1 under the shares 2/3 and 1
    expected = (2 / 3 * math.log1p(math.exp(-1)) + 1 / 3 * math.log1p(math.exp(1)) + math.log1p(math.exp(1))) / 2
    assert found.nll == pytest.approx(expected)
    assert found.entropy_floor == pytest.approx((math.log(3) - 2 / 3 * math.log(2)) / 2)


def test_shares_without_votes_give_a_ceiling_that_says_so_and_single_votes_none() -> None:
    rows = [pair("good", "bad", "one", p_chosen=0.8), pair("bad", "good", "two", p_chosen=0.6)]
    found = evaluate(score_preferences(rows, count_good)).human
    assert found is not None
    assert not found.counted
    assert found.model.value == pytest.approx((0.8 + 0.4) / 2)
    assert found.ceiling.value == pytest.approx(0.7)
    assert evaluate(score_preferences([pair("good", "bad")], count_good)).human is None


def test_one_member_has_one_uncertainty_and_several_have_five() -> None:
    rows = [pair("good", "x", "one"), pair("fine", "x", "two"), pair("good good fine", "x", "three")]
    assert list(uncertainties(score_preferences(rows, count_good))) == ["probability"]
    found = uncertainties(score_preferences(rows, two_members))
    np.testing.assert_allclose(found["std"], [math.sqrt(0.5), math.sqrt(2), 0.0])  # (1, 0), (0, 2), (2, 2)
    # mean margins 1/2, 1, 2
    np.testing.assert_allclose(found["relative_std"], [math.sqrt(2), math.sqrt(2), 0.0])
    # votes 1 and 1/2, 1/2 and 1, 1 and 1: the entropy of three quarters twice
    np.testing.assert_allclose(found["vote_entropy"], [0.562335, 0.562335, 0.0], atol=1e-6)
    assert found["mutual_information"][2] == pytest.approx(0.0, abs=1e-12)
    assert found["mutual_information"][1] > found["mutual_information"][0] > 0


def simulated(num_pairs: int, *, knows: bool, seed: int = 0) -> Scored:
    """Three members; errors come with disagreement (or with none)."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(num_pairs) < 0.3
    spread = np.where(wrong, 2.0, 0.2) if knows else np.full(num_pairs, 1.0)
    margins = np.where(wrong, -0.3, 1.0) + spread * np.array([[-1.0], [0.0], [1.0]])
    rows = [pair("a", "b", f"prompt {number}") for number in range(num_pairs)]
    return Scored(
        rows=rows, chosen=margins, rejected=np.zeros((3, num_pairs)), prompt=np.arange(num_pairs), calibration={}
    )


def test_an_ensemble_that_knows_its_errors_is_told_from_one_that_does_not() -> None:
    knowing = {each.name: each for each in evaluate(simulated(400, knows=True)).uncertainty}
    assert knowing["std"].auroc.low > 0.9
    assert knowing["std"].gain.low > 0
    assert knowing["std"].area == pytest.approx(knowing["std"].oracle)
    assert knowing["std"].quantiles[0].accuracy.value == 1.0
    assert knowing["std"].quantiles[-1].accuracy.value == 0.0
    blind = {each.name: each for each in evaluate(simulated(400, knows=False)).uncertainty}
    assert blind["std"].auroc.value == pytest.approx(0.5)
    assert blind["std"].gain.value == pytest.approx(0.0, abs=1e-12)
    assert blind["std"].area == pytest.approx(blind["std"].random)


def test_calibration_of_the_card_is_used_and_shown_beside_the_plain_sigmoid() -> None:
    scored = score_preferences(ROWS[:4], two_members, calibration={"kind": "temperature", "temperature": 2.0})
    found = evaluate(scored).calibration
    assert list(found) == ["sigmoid", "calibrated", "integrated"]
    margins = np.array([1.0, 0.5, -0.5, 0.0])  # of the mean
    assert found["calibrated"].nll == pytest.approx(np.logaddexp(0, -margins / 2).mean())
    members = np.array([[2.0, 1.0, -1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    integrated = (1 / (1 + np.exp(-members / 2))).mean(0)
    assert found["integrated"].nll == pytest.approx(-np.log(integrated).mean())


def test_subsets_by_source_criterion_and_column() -> None:
    rows = [
        pair("good", "bad", "one", source_chosen="x", source_rejected="y", meta={"turns": 1}),
        pair("bad", "good", "two", source_chosen="y", source_rejected="x", meta={"turns": 2}),
        pair(
            "good", "bad", "three", source_chosen="x", source_rejected="z", meta={"turns": 2}, criteria={"clear": -1.0}
        ),
        pair("good", "bad", "four", source_chosen="x", source_rejected="z", criteria={"clear": 2.0, "true": 0.0}),
    ]
    found = {each.column: each for each in evaluate(score_preferences(rows, count_good), columns=["turns"]).subsets}
    by_source = {group.name: group.accuracy.value for group in found["sources"].groups}
    assert by_source == {"x / y": 0.5, "x / z": 1.0}
    (clear,) = found["criterion"].groups  # `true` is even, no part of it
    assert (clear.name, clear.num_pairs, clear.accuracy.value) == ("clear", 2, 0.5)
    by_turns = {group.name: group.accuracy.value for group in found["turns"].groups}
    assert by_turns == {"1": 1.0, "2": 0.5, "(none)": 1.0}


def test_a_column_that_cannot_be_grouped_by_is_refused() -> None:
    rows = [pair("good", "bad", f"{number}", meta={"id": number}) for number in range(60)]
    scored = score_preferences(rows, count_good)
    with pytest.raises(ValueError, match="'nope' is not in the data, the columns are id"):
        evaluate(scored, columns=["nope"])
    with pytest.raises(ValueError, match="60 values"):
        evaluate(scored, columns=["id"])


def test_nothing_decided_is_refused() -> None:
    with pytest.raises(ValueError, match="none of 1 pairs"):
        evaluate(score_preferences([pair("a", "b", p_chosen=0.5)], count_good))


def test_weights_count() -> None:
    rows = [pair("good", "bad", "one", weight=3.0), pair("bad", "good", "two", weight=1.0)]
    assert evaluate(score_preferences(rows, count_good)).overall.accuracy.value == pytest.approx(0.75)


def test_the_longer_answer_is_a_baseline_on_the_same_pairs() -> None:
    (longer,) = compare(score_preferences(ROWS, count_good), [])
    assert (longer.name, longer.num_train) == ("longer answer", 0)
    assert longer.accuracy.value == pytest.approx(1 / 4)
    assert longer.difference.value == pytest.approx(2.5 / 4 - 1 / 4)


def test_tfidf_learns_a_word_that_people_like_on_other_prompts() -> None:
    pytest.importorskip("sklearn")
    words = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"]
    rng = np.random.default_rng(0)

    def make(start: int, count: int) -> list[Preference]:
        made = []
        for number in range(start, start + count):
            first, second = (" ".join(rng.choice(words, 6)) for _ in range(2))
            made.append(pair(f"{first} kindly", f"{second} rudely", f"prompt {number}"))
        return made

    train, rows = make(0, 60), make(100, 20)
    assert (tfidf_margins(train, rows, seed=0) > 0).all()
    baselines = {each.name: each for each in compare(score_preferences(rows, count_good), train)}
    assert baselines["TF-IDF"].accuracy.value == 1.0
    assert baselines["TF-IDF"].num_train == 60
    assert baselines["TF-IDF"].difference.value == -0.5
