"""A judge's preference between two answers: both orders undone, what is missing named."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from critic_behaviour import critic_policy, shortener
from judge_endpoint import serve

pytest.importorskip("torch")

from alignment.constitution.votes import GUIDELINES, PairQuestion, Voter, vote_of
from alignment.judges.opening import open_chat
from alignment.judges.questions import JudgeAnswer, JudgeQuestion
from alignment.judges.spec import JudgeSpec
from rewardkit.data.records import Comparison, Message

PROMPT = (Message(role="user", content="Where is it?"),)
COMPARISON = Comparison(id="c", prompt=PROMPT, completion_a="one", completion_b="other")


def sigma(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def pair(one: str, other: str, question: str = "Which is shorter?") -> PairQuestion:
    return PairQuestion(prompt=PROMPT, one=one, other=other, question=question)


def answer(side: str, **values: object) -> JudgeAnswer:
    question = JudgeQuestion(comparison=COMPARISON, shown_first=side)  # type: ignore[arg-type]
    return JudgeAnswer(question=question, sample=0, **values)  # type: ignore[arg-type]


def test_a_vote_is_the_mean_of_both_orders() -> None:
    """0.9 and 0.3 make 0.6; tokens and seconds are those of both."""
    vote = vote_of(
        answer("a", choice="a", p_a=0.9, raw="A", usage={"prompt_tokens": 3}),
        answer("b", choice="b", p_a=0.3, raw="A", usage={"prompt_tokens": 4, "seconds": 0.5}),
    )
    assert (vote.p_one, vote.orders, vote.raw, vote.failure) == (pytest.approx(0.6), (0.9, 0.3), ("A", "A"), "")
    assert vote.usage == {"prompt_tokens": 7, "seconds": 0.5}


def test_a_choice_without_a_probability_is_certain_and_an_order_without_a_choice_ends_the_vote() -> None:
    assert vote_of(answer("a", choice="a"), answer("b", choice="tie")).p_one == 0.75
    missing = vote_of(answer("a", choice="a", p_a=0.8), answer("b", choice="unreadable"))
    assert (missing.p_one, missing.failure) == (None, "unreadable")


def test_an_endpoint_is_asked_in_both_orders_and_its_lean_to_the_first_goes() -> None:
    """Lengths 10 and 30 pull by 2, the lean to the first by 1: sigma(3) and 1 - sigma(-1)."""
    spec = JudgeSpec(kind="endpoint", target="http://x", model="toy", samples=3, temperature=0.5)
    with serve(shortener(lean=1.0)) as endpoint:
        chat = open_chat(JudgeSpec(kind="endpoint", target=endpoint.url, model="toy"))
        votes = Voter(spec, chat).vote([pair("s" * 10, "l" * 30), pair("l" * 30, "s" * 10, "Which is brief?")])
        chat.close()
    shown = [body["messages"][-1]["content"] for body in endpoint.bodies]
    assert votes[0].orders == (pytest.approx(sigma(3.0)), pytest.approx(1 - sigma(-1.0)))
    assert votes[1].orders == (pytest.approx(sigma(-1.0)), pytest.approx(1 - sigma(3.0)))
    assert votes[0].p_one == pytest.approx((sigma(3.0) + sigma(1.0)) / 2)
    assert votes[1].p_one == pytest.approx(1 - (sigma(3.0) + sigma(1.0)) / 2)
    assert len(shown) == 4
    assert sum("Which is shorter?" in text for text in shown) == 2
    assert all(GUIDELINES in text and "about equally good" not in text for text in shown)


def test_a_local_model_votes_by_the_probabilities_of_its_letters(tmp_path: Path) -> None:
    spec = JudgeSpec(kind="local", target=str(critic_policy(tmp_path, seed=1)))
    voter = Voter(spec, open_chat(spec))
    vote, same = voter.vote([pair("now", "later"), pair("now", "now")])
    (first,), (second,) = (json.loads(raw) for raw in vote.raw)
    orders = [sigma(first["A"] - first["B"]), sigma(second["B"] - second["A"])]
    assert vote.orders == pytest.approx(orders, abs=1e-4)
    assert vote.p_one == pytest.approx(sum(orders) / 2, abs=1e-4)
    assert orders[0] != pytest.approx(orders[1], abs=1e-3)  # random weights lean to a letter
    assert same.p_one == pytest.approx(0.5, abs=1e-5)
