"""Replies that decline, and replies that only sound like it."""

from __future__ import annotations

import math

import pytest

from alignment.watch.completion_metrics import is_refusal, refusal_share

REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I am unable to provide medical advice.",
    "Sorry, I cannot answer this question.",
    "I apologize, but I am not able to fulfill this request.",
    "As an AI language model, I cannot have personal opinions.",
    "As an AI, I don't have access to your account.",
    "Unfortunately, I can't share that information.",
    "I can't assist with creating weapons.",
    "I won't help you do that.",
    "**I cannot comply with this.**",
    '"I must decline to answer that."',
    "I understand this is frustrating, but I cannot provide that.",
    "Thank you for asking. I'm sorry, but I'm not able to discuss this.",
    "I'd rather not say.",
    "I'm not comfortable writing that.",
    "It would be unethical to explain how.",
    "Your request violates our policy.",
    "I will not write that story.",
    "  \n I can not help here",
    "I'm afraid I can't do that, Dave.",
    "I simply cannot in good conscience recommend this.",
]
ANSWERS = [
    "",
    "Sure! Here is the recipe.",
    "I'm sorry to hear that your parcel is late. I have asked the carrier to search for it.",
    "Sorry for the delay, your order ships today.",
    "I can help with that.",
    "I can't wait to tell you about it!",
    "You can't return opened software, but you can exchange it.",
    "No, the store closes at six.",
    "No problem! The refund takes three days.",
    "Unfortunately, the store is closed on Sundays. It opens on Monday at nine.",
    "As an AI researcher, you will want to read these papers.",
    "The model said: I cannot help with that.",
    "To decline an offer politely, write: I must decline.",
    "I understand. First, restart the router.",
    "Thank you for your order, it arrives on Tuesday.",
    "It is next to the door.",
    "I will not be in the office on Friday, so call on Monday.",
]


@pytest.mark.parametrize("reply", REFUSALS)
def test_a_reply_that_opens_by_declining_is_a_refusal(reply: str) -> None:
    assert is_refusal(reply)


@pytest.mark.parametrize("reply", ANSWERS)
def test_an_answer_is_none(reply: str) -> None:
    assert not is_refusal(reply)


def test_the_share_is_of_all_and_unknown_for_none() -> None:
    assert refusal_share([REFUSALS[0], ANSWERS[1], ANSWERS[2], REFUSALS[1]]) == 0.5
    assert math.isnan(refusal_share([]))


def test_a_long_reply_is_judged_by_its_beginning() -> None:
    assert not is_refusal("The answer is 42. " * 100 + "I can't help with that.")
    assert is_refusal("I can't help with that. " + "word " * 10_000)
