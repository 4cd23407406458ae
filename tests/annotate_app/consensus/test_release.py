from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate_app.consensus.consensus import REASONS, STATES, Consensus
from annotate_app.consensus.release import preference_weights, preferences, release
from annotate_app.protocol.collection_design import RULES, Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes
from rewardkit.data.records import Comparison, Message

VOTES = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(0, 4),
        st.sampled_from(["a", "a", "b", "tie", "both_bad", "skip"]),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda vote: vote[:2],
)


def build(make_votes: Callable[..., Votes], rows: list[tuple[int, int, str, int]]) -> Votes:
    item, annotator, choice, strength = zip(*rows, strict=True)
    sign = np.array([{"a": -1, "b": 1}.get(name, 0) for name in choice])
    score = (sign * np.array(strength)).astype(np.int8)
    return make_votes(item, annotator, choice, score=score, criteria={"tone": score.astype(np.float32)})


def mirrored(votes: Votes) -> Votes:
    exchange = np.arange(len(CHOICE_CODES))
    exchange[[0, 1]] = 1, 0
    criteria = {name: -values for name, values in votes.criteria.items()}
    return replace(votes, choice=exchange[votes.choice].astype(np.int8), score=-votes.score, criteria=criteria)


def states(consensus: Consensus) -> list[tuple[str, str]]:
    return [(STATES[s], REASONS[r]) for s, r in zip(consensus.state, consensus.reason, strict=True)]


def comparison(key: str) -> Comparison:
    return Comparison(
        id=key,
        prompt=(Message(role="user", content=f"question {key}"),),
        completion_a=f"first {key}",
        completion_b=f"second {key}",
        source_a="m1",
        source_b="m2",
        meta={"topic": key},
    )


@pytest.mark.parametrize("rule", RULES)
@given(rows=VOTES)
def test_exchanging_a_and_b_mirrors_the_consensus(
    rule: str, rows: list[tuple[int, int, str, int]], make_votes: Callable[..., Votes]
) -> None:
    votes = build(make_votes, rows)
    here, there = (release(v, Design(rule=rule)) for v in (votes, mirrored(votes)))
    assert there.p[:, [1, 0, 2, 3]] == pytest.approx(here.p, abs=1e-6)
    assert there.p_b == pytest.approx(1 - here.p_b, abs=1e-6)
    assert there.margin == pytest.approx(-here.margin)
    assert there.criteria["tone"] == pytest.approx(-here.criteria["tone"], nan_ok=True)
    assert (there.state == here.state).all()


@pytest.mark.parametrize("rule", RULES)
@given(rows=VOTES, seed=st.integers(0, 1000))
def test_the_order_of_votes_does_not_matter(
    rule: str, rows: list[tuple[int, int, str, int]], seed: int, make_votes: Callable[..., Votes]
) -> None:
    votes = build(make_votes, rows)
    shuffled = votes.where(np.random.default_rng(seed).permutation(len(votes)))
    here, there = (release(v, Design(rule=rule)) for v in (votes, shuffled))
    assert there.p == pytest.approx(here.p, abs=1e-6)
    assert (there.state == here.state).all()
    assert there.reliability == pytest.approx(here.reliability, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("rule", RULES)
@given(choices=st.lists(st.sampled_from(["a", "b", "tie", "both_bad"]), min_size=1, max_size=8))
def test_unanimous_items_keep_their_answer(rule: str, choices: list[str], make_votes: Callable[..., Votes]) -> None:
    rows = [(item, person, choice, 2) for item, choice in enumerate(choices) for person in range(3)]
    found = release(build(make_votes, rows), Design(rule=rule))
    assert found.choice.tolist() == [CHOICE_CODES[choice] for choice in choices]
    assert states(found) == [("released", "")] * len(choices)


@pytest.mark.parametrize("rule", RULES)
@given(rows=VOTES)
def test_every_item_has_one_state_and_a_proper_posterior(
    rule: str, rows: list[tuple[int, int, str, int]], make_votes: Callable[..., Votes]
) -> None:
    votes = build(make_votes, rows)
    found = release(votes, Design(rule=rule))
    voted = found.counts.sum(axis=1) > 0
    assert found.p[voted].sum(axis=1) == pytest.approx(1)
    assert (found.p >= 0).all()
    assert sum(found.num_by_state.values()) == len(votes.items)
    assert ((found.p_b >= 0) & (found.p_b <= 1)).all()
    assert (found.choice[found.indices("released")] >= 0).all()
    assert len(found.as_dict()["items"]) == len(votes.items)


def test_states_by_hand(make_votes: Callable[..., Votes]) -> None:
    rows = [
        *((0, p, c, 1) for p, c in enumerate("aab")),  # majority
        *((1, p, c, 1) for p, c in enumerate(("a", "b", "tie"))),  # all in, no majority
        *((2, p, c, 1) for p, c in enumerate("ab")),  # a third vote is to come
        (3, 0, "a", 1),  # one vote, one needed
        *((4, p, c, 1) for p, c in enumerate(("skip", "skip", "skip"))),  # nobody could judge it
        (5, 0, "skip", 1),
    ]
    found = release(build(make_votes, rows), Design(overlap=3))
    assert states(found) == [
        ("released", ""),
        ("queued", "no majority"),
        ("waiting", "no majority"),
        ("released", ""),
        ("queued", "fewer votes than min_votes"),
        ("waiting", "no votes yet"),
    ]
    assert found.p[0].tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert found.margin[0] == pytest.approx(-1 / 3)
    strict = release(build(make_votes, rows), Design(overlap=3, min_votes=2, min_agreement=0.7))
    assert states(strict)[0] == ("queued", "below min_agreement")
    assert states(strict)[3] == ("waiting", "fewer votes than min_votes")


def test_group_designs_wait_for_all_groups(make_votes: Callable[..., Votes]) -> None:
    rows = [(0, p, c, 1) for p, c in enumerate("aabb")]
    design = Design(overlap=1, groups={"crowd": 2, "expert": 2})
    assert states(release(build(make_votes, rows), design)) == [("queued", "no majority")]
    assert states(release(build(make_votes, rows[:2] + rows[2:3]), design)) == [("released", "")]
    assert states(release(build(make_votes, rows[1:3]), design)) == [("waiting", "no majority")]


def test_checks_stay_aside_and_do_not_vote(make_votes: Callable[..., Votes]) -> None:
    votes = make_votes(
        "ggpp",
        "xyxx",
        ("a", "b", "a", "b"),
        kind=np.array([KIND_CODES[name] for name in ("gold", "gold", "work", "repeat")], dtype=np.int8),
        item_gold=np.array([0, -1], dtype=np.int8),
    )
    found = release(votes, Design(overlap=1))
    assert states(found) == [("check", "a check item with a known answer"), ("released", "")]
    assert found.choice.tolist() == [-1, 0]


def test_adjudicators_override_votes(make_votes: Callable[..., Votes]) -> None:
    rows = [(item, person, choice, 1) for item in range(4) for person, choice in enumerate("aab")]
    decisions = {
        "0": Decision(choice="b", strength=3, criteria={"tone": 2, "length": (1, 4)}),
        "1": Decision(choice="discard"),
        "2": Decision(choice="both_bad"),
    }
    found = release(build(make_votes, rows), Design(), decisions)
    assert [state for state, _ in states(found)] == ["released", "discarded", "released", "released"]
    assert found.adjudicated.tolist() == [True, True, True, False]
    assert found.p[0].tolist() == [0, 1, 0, 0]
    assert (found.margin[0], found.p_b[0], found.criteria["tone"][0], found.criteria["length"][0]) == (3, 1, 2, 3)
    rows_out = list(preferences(found, [comparison(key) for key in found.items]))
    assert [(row.comparison_id, row.chosen) for row in rows_out] == [("0", "second 0"), ("3", "first 3")]
    with pytest.raises(ValueError, match="'nowhere'"):
        release(build(make_votes, rows), Design(), {"nowhere": Decision(choice="tie")})


def test_preference_rows_by_hand(make_votes: Callable[..., Votes]) -> None:
    rows = [
        *((0, p, c, s) for p, (c, s) in enumerate([("b", 3), ("b", 1), ("tie", 1)])),
        *((1, p, c, 2) for p, c in enumerate(("both_bad", "both_bad", "a"))),
        (2, 0, "a", 2),
    ]
    consensus = release(build(make_votes, rows), Design())
    first, second = preferences(consensus, [comparison(key) for key in ("2", "0", "1", "unknown")])
    assert (first.comparison_id, first.chosen, first.p_chosen, first.margin) == ("2", "first 2", 1, 2)
    # b, b, tie: p_chosen = 2/3 + 1/6; mean degree (3 + 1 + 0) / 3
    assert (second.chosen, second.rejected, second.source_chosen) == ("second 0", "first 0", "m2")
    assert second.p_chosen == pytest.approx(5 / 6)
    assert second.margin == pytest.approx(4 / 3)
    assert second.criteria == {"tone": pytest.approx(4 / 3)}
    assert second.votes == {"chosen": 2, "rejected": 0, "tie": 1, "both_bad": 0}
    assert (second.num_judgments, second.meta) == (3, {"topic": "0"})
    assert (first.weight, second.weight) == (0.5, 1.5)  # 1 and 3 votes, 2 in the mean
    assert np.isnan(preference_weights(consensus)[1])


def test_weighted_cross_entropy_of_rows_is_that_of_single_votes(make_votes: Callable[..., Votes]) -> None:
    rows = [*((0, p, c, 1) for p, c in enumerate("aab")), *((1, p, c, 1) for p, c in enumerate(("b", "b")))]
    consensus = release(build(make_votes, rows), Design())
    found = {row.comparison_id: row for row in preferences(consensus, [comparison("0"), comparison("1")])}
    model = {"0": 0.7, "1": 0.4}  # probability that the chosen one wins
    loss = sum(
        row.weight * (row.p_chosen * np.log(model[key]) + (1 - row.p_chosen) * np.log(1 - model[key]))
        for key, row in found.items()
    )
    single = 2 * np.log(0.7) + np.log(0.3) + 2 * np.log(0.4)
    assert loss == pytest.approx(single / 2.5)  # the mean number of votes


def test_even_tie_takes_a_as_chosen_with_a_half(make_votes: Callable[..., Votes]) -> None:
    consensus = release(build(make_votes, [(0, 0, "tie", 1), (0, 1, "tie", 1)]), Design())
    (row,) = preferences(consensus, [comparison("0")])
    assert (row.chosen, row.p_chosen, row.margin) == ("first 0", 0.5, 0)


@pytest.mark.parametrize("rule", RULES)
def test_pandalm_majority_counts(rule: str, pandalm_votes: Votes, agreement_vectors: dict) -> None:
    oracle = agreement_vectors["datasets"]["pandalm_dev"]["oracle"]
    found = release(pandalm_votes, Design(rule=rule))
    assert found.num_by_state["released"] == 503
    expected = [oracle["majority_label_counts"][label] for label in ("1", "2", "0")]
    assert np.bincount(found.choice).tolist() == expected
    if rule == "majority":
        share = dict(zip(found.annotators, found.reliability, strict=True))
        assert share == pytest.approx(oracle["annotator_vs_majority_accuracy"], abs=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_llmfao_is_aggregated_with_all_its_workers(rule: str, llmfao_votes: Votes) -> None:
    found = release(llmfao_votes, Design(rule=rule, overlap=5))
    assert len(found.reliability) == 124
    assert found.converged
    assert sum(found.num_by_state.values()) == 2139
    votes = found.counts.sum(axis=1)
    assert votes.sum() == 8931
    assert (votes[found.indices("queued")] == 5).all()
    assert found.num_by_state["released"] > 1700
