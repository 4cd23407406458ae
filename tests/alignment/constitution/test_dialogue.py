"""What a judge is asked to write, and which of its words count."""

from __future__ import annotations

import pytest

from alignment.constitution.dialogue import critique_request, failure_of, is_same, revision_request, words_of
from alignment.constitution.principles import Principle
from alignment.judges.chat import ChatAnswer
from rewardkit.data.records import Message

KIND = Principle(id="kind", critique="Say where it is rude.", revision="Be kind.", comparison="Which is kinder?")
PROMPT = (Message(role="system", content="Be brief."), Message(role="user", content="Where is it?"))


def test_a_revision_goes_on_behind_the_critique_of_the_answer() -> None:
    asked = revision_request(PROMPT, "Who knows.", KIND, "It is curt.")
    assert asked[: len(PROMPT)] == PROMPT
    assert [message.role for message in asked] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert asked[:4] == critique_request(PROMPT, "Who knows.", KIND)
    assert [message.content for message in asked[2::2]] == ["Who knows.", "It is curt."]
    assert asked[3].content.startswith("Critique request: Say where it is rude.")
    assert asked[5].content.startswith("Revision request: Be kind.")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  It left.\n", "It left."),
        ("**Revised answer:** It left.", "It left."),
        ("Here is the revised response:\n\nIt left.", "It left."),
        ("Revision: It left.", "It left."),
        ("<think>Hm.\nShorter.</think>\nIt left.", "It left."),
        ("<think>It never", ""),
        ("The new answer is: none.", "The new answer is: none."),
        ("I wrote <think> in it.", "I wrote <think> in it."),
    ],
)
def test_thoughts_and_labels_are_no_part_of_an_answer(text: str, words: str) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    ("answer", "of_critique", "of_revision"),
    [
        (ChatAnswer(text="It left."), "", ""),
        (ChatAnswer(text="I'm sorry, but I can't help with that."), "refused", ""),
        (ChatAnswer(text="I cannot revise this answer."), "refused", "refused"),
        (ChatAnswer(text=" \n"), "empty", "empty"),
        (ChatAnswer(text="<think>on and on", cut=True), "cut", "cut"),
        (ChatAnswer(text="It left and", cut=True), "", "cut"),
        (ChatAnswer(failure="unanswered", error="no answer after 5 tries"), "unanswered", "unanswered"),
        (ChatAnswer(text="No.", failure="refused", error="content filter"), "refused", "refused"),
    ],
)
def test_why_an_answer_does_not_count(answer: ChatAnswer, of_critique: str, of_revision: str) -> None:
    """To decline what the user asked for may be the very revision; half a critique still says something."""
    assert failure_of(answer, is_revision=False) == of_critique
    assert failure_of(answer, is_revision=True) == of_revision


def test_answers_that_differ_in_blanks_are_the_same() -> None:
    assert is_same("It  left.\n", "It left.")
    assert not is_same("It left.", "it left.")
