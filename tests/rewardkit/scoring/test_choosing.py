"""Rules that choose pairs, and the random share beside them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from rewardkit.data.records import Message, Preference
from rewardkit.reward.reward import Reward
from rewardkit.scoring.candidates import Answered, Candidate, EligiblePairs, eligible_pairs
from rewardkit.scoring.choosing import Choice, ChosenPair, choose_pairs, disagreement_scores, sure_errors

RULES = ("uncertainty", "epig", "coverage", "disagreement", "random")


def prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def pool(*prompts: tuple[str, list[str]]) -> EligiblePairs:
    rows = [
        Answered(prompt=prompt(text), candidates=tuple(Candidate(text=one, source="p") for one in answers))
        for text, answers in prompts
    ]
    return eligible_pairs(rows, pairs="any", near_duplicate=1.0, cut="keep", seed=0)


WORDS = ("kettle", "lamp", "tent", "printer", "cooker", "mixer", "chair", "bottle", "headset", "toaster")
POOL = pool(*((f"about my {word}", [f"{word} {k}" for k in range(4)]) for word in WORDS))
JUDGED = [Preference(prompt=prompt("about my tent"), chosen="tent 9", rejected="tent 8")]


class Numbers:
    """Members value an answer's number by factors of their own, and a `tent` the other way round."""

    factors = (1.0, 0.5, -0.2)

    def __call__(self, prompts, completions) -> Reward:
        values = np.array([float(text.split()[-1]) * (-1 if "tent" in text else 1) for text in completions])
        return Reward(members=np.array(self.factors)[:, None] * values)


def chosen(rule: str = "random", eligible: EligiblePairs = POOL, **options) -> Choice:
    defaults = {"num_pairs": 20, "random_share": 0.2, "per_prompt": 3, "seed": 0}
    return choose_pairs(eligible, rule, **{**defaults, "reward_fn": Numbers(), "judged": JUDGED, **options})  # type: ignore[arg-type]


def key(pair: ChosenPair) -> tuple[str, str]:
    return pair.a.text, pair.b.text


def test_every_rule_keeps_the_same_random_share_and_gives_each_pair_once():
    shares = {}
    for rule in RULES[:-1]:
        choice = chosen(rule)
        assert Counter(pair.rule for pair in choice.pairs) == {"random": 4, rule: 16}
        assert len({key(pair) for pair in choice.pairs}) == 20
        shares[rule] = {key(pair) for pair in choice.pairs if pair.rule == "random"}
        assert chosen(rule) == choice
    assert len({frozenset(share) for share in shares.values()}) == 1
    assert {pair.rule for pair in chosen("random").pairs} == {"random"}


def test_the_random_share_is_uniform_over_eligible_pairs():
    # 10 prompts x 6 pairs and one prompt of a single pair: 61 pairs, 6 of 30 at random; 3,000 draws
    eligible = pool(
        *((f"about my {word}", [f"{word} {k}" for k in range(4)]) for word in WORDS), ("alone", ["one 1", "two 2"])
    )
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(3000):
        share = [
            pair for pair in chosen("uncertainty", eligible, num_pairs=30, seed=seed).pairs if pair.rule == "random"
        ]
        counts.update(map(key, share))
    expected = 3000 * 6 / 61
    assert len(counts) == 61
    # chi square of 60 degrees of freedom exceeds 100 in a thousandth of cases; the seeds are fixed
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 100


def test_at_least_one_pair_is_random_and_a_beginning_holds_some():
    assert chosen("coverage", num_pairs=2, random_share=0.01).num_random == 1
    assert chosen("coverage", num_pairs=1).num_random == 1
    order = [pair.rule for pair in chosen("coverage", num_pairs=30).pairs]
    assert "random" in order[:15]
    assert order != sorted(order)


def test_the_rule_gives_no_more_than_so_many_pairs_of_a_prompt():
    for rule in RULES[:-1]:
        choice = chosen(rule, per_prompt=2, num_pairs=18, random_share=0.05)
        assert max(Counter(pair.prompt for pair in choice.pairs).values()) <= 2, rule
    short = chosen("uncertainty", per_prompt=1, num_pairs=50, random_share=0.02)
    assert len(short.pairs) == 10
    assert len(chosen("random", num_pairs=500).pairs) == 60


def test_uncertainty_takes_the_smallest_margins_first():
    # mean factor 1.3 / 3: neighbours in number have the margin 0.433, and a prompt has three such pairs
    choice = chosen("uncertainty", num_pairs=21, random_share=0.05)
    by_rule = [pair for pair in choice.pairs if pair.rule == "uncertainty"]
    assert [abs(pair.margin or 0.0) for pair in by_rule] == pytest.approx([1.3 / 3] * 20)
    # -|d| / sqrt(1 + pi std^2 / 8), std of (1, 0.5, -0.2) with ddof 1
    std = np.std([1.0, 0.5, -0.2], ddof=1)
    assert by_rule[0].score == pytest.approx(-(1.3 / 3) / np.sqrt(1 + np.pi / 8 * std**2))


def test_equal_scores_do_not_favour_the_first_prompts():
    picked = [
        pair.prompt[0].content
        for seed in range(40)
        for pair in chosen("uncertainty", num_pairs=6, random_share=0.01, seed=seed).pairs
        if pair.rule == "uncertainty"
    ]
    assert len(set(picked)) == 10


def test_coverage_gives_each_prompt_a_pair_before_any_has_two():
    choice = chosen("coverage", num_pairs=10, random_share=0.1, judged=())
    assert len({pair.prompt for pair in choice.pairs}) == 10
    twice = Counter(pair.prompt for pair in chosen("coverage", num_pairs=20, random_share=0.05, judged=()).pairs)
    assert set(twice.values()) == {2}


def test_coverage_begins_far_from_what_is_judged():
    eligible = pool(
        ("the parcel came late", ["a", "b"]),
        ("the parcel came very late", ["c", "d"]),
        ("cancel my invoice now please", ["e", "f"]),
    )
    judged = [Preference(prompt=prompt("the parcel is late"), chosen="x", rejected="y")]
    for seed in range(6):
        choice = choose_pairs(
            eligible, "coverage", num_pairs=2, random_share=0.1, per_prompt=1, seed=seed, judged=judged
        )
        (drawn,) = (pair for pair in choice.pairs if pair.rule == "random")
        (covered,) = (pair for pair in choice.pairs if pair.rule == "coverage")
        if drawn.a.text != "e":
            assert covered.a.text == "e"


def test_epig_takes_the_vote_that_lowers_the_variance_of_all_most():
    """Against a loop over every pair's update of the whole covariance of all margins."""
    rng = np.random.default_rng(3)
    texts = [f"{number} {k}" for number in range(6) for k in range(3)]
    values = dict(zip(texts, rng.normal(size=(18, 4)), strict=True))

    def reward_fn(_prompts, completions) -> Reward:
        return Reward(members=np.array([values[text] for text in completions]).T)

    eligible = pool(*((f"prompt {number}", [f"{number} {k}" for k in range(3)]) for number in range(6)))
    choice = choose_pairs(eligible, "epig", num_pairs=5, random_share=0.2, per_prompt=9, seed=1, reward_fn=reward_fn)
    margins = np.array(
        [values[eligible.candidates[i].text] - values[eligible.candidates[j].text] for i, j in eligible.pairs]
    )
    number_of = {
        (eligible.candidates[i].text, eligible.candidates[j].text): n for n, (i, j) in enumerate(eligible.pairs)
    }
    covariance = np.cov(margins, ddof=1)
    p = (1 / (1 + np.exp(-margins))).mean(1)
    s = p * (1 - p)

    def after(covariance: np.ndarray, pair: int) -> np.ndarray:
        column = covariance[:, pair]
        return covariance - np.outer(column, column) / (covariance[pair, pair] + 1 / s[pair])

    (drawn,) = (number_of[key(pair)] for pair in choice.pairs if pair.rule == "random")
    covariance, expected, used = after(covariance, drawn), {}, {drawn}
    for _ in range(4):
        gains = [np.mean(s**2 * (np.diag(covariance) - np.diag(after(covariance, n)))) for n in range(len(s))]
        best = max((n for n in range(len(s)) if n not in used), key=lambda n: gains[n])
        expected[best] = gains[best]
        used.add(best)
        covariance = after(covariance, best)
    by_rule = {number_of[key(pair)]: pair.score for pair in choice.pairs if pair.rule == "epig"}
    assert by_rule == pytest.approx(expected)


def test_disagreement_goes_where_the_model_was_surely_wrong():
    # people prefer 9 to 8 everywhere; the model does so but for tents
    judged = [
        Preference(prompt=prompt(f"about my {word}"), chosen=f"{word} 9", rejected=f"{word} 8", p_chosen=0.9)
        for word in WORDS
    ]
    errors = sure_errors(judged, Numbers())
    q = np.mean([1 / (1 + np.exp(factor)) for factor in Numbers.factors])
    assert errors.tolist() == pytest.approx([0.8 * (1 - 2 * q) if word == "tent" else 0.0 for word in WORDS])
    scores = disagreement_scores(POOL, judged * 5, np.tile(errors, 5), seed=0)
    about_tents = np.array([POOL.prompts[number][0].content == "about my tent" for number in POOL.prompt_of_pair])
    assert scores[about_tents].min() > 10 * scores[~about_tents].max()
    choice = chosen("disagreement", judged=judged * 5, num_pairs=4)
    assert all(pair.prompt[0].content == "about my tent" for pair in choice.pairs if pair.rule == "disagreement")
    assert (choice.num_judged, choice.num_sure_errors) == (50, 5)


def test_what_a_rule_cannot_do_is_one_line():
    agreeing = [Preference(prompt=prompt("about my lamp"), chosen="lamp 9", rejected="lamp 8")]
    with pytest.raises(ValueError, match="agree on all 1 judged pairs"):
        chosen("disagreement", judged=agreeing)

    def one_member(_prompts, completions) -> Reward:
        return Reward(members=np.arange(len(completions), dtype=float)[None])

    with pytest.raises(ValueError, match="train an ensemble"):
        chosen("epig", reward_fn=one_member)
    with pytest.raises(ValueError, match="no two answers make a pair that may be labelled: 2 answers empty"):
        chosen(eligible=pool(("p", ["", " ", "x"])))
