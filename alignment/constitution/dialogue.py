"""What a judge is asked to write: a critique of an answer, then the answer anew. What of its words counts, and why not.

As in Bai et al. 2022, section 3.1 (arXiv 2212.08073): the conversation goes on behind the answer with a principle's
request for critique, the judge's critique, and the request for revision. No examples are shown before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from alignment.constitution.principles import Principle
from alignment.judges.chat import ChatAnswer
from rewardkit.data.records import Message
from rewardkit.traits.refusals import is_refusal

ALONE = "Write the critique alone, in a few sentences; do not write the answer anew."
ANEW = "Write the new answer alone, as it is to be sent, without a word about the change."
_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL | re.IGNORECASE)
_OPEN_THOUGHT = re.compile(r"\A\s*<think(?:ing)?>", re.IGNORECASE)
_LABEL = re.compile(
    r"\A[\s*#]*(?:here is the )?(?:(?:revised|new|rewritten) (?:answer|response|reply)|revision)\s*:[\s*]*",
    re.IGNORECASE,
)
_NO_TASK = re.compile(
    r"\bi(?: can(?:no|['’])t| can not|(?: am|['’]m) (?:not able|unable) to| won['’]t| will not) (?:\w+ ){0,4}?"
    r"(?:revis|rewrit|critiqu|critici[sz])",
    re.IGNORECASE,
)


def critique_request(prompt: Sequence[Message], answer: str, principle: Principle) -> tuple[Message, ...]:
    """The conversation whose next turn is a critique of the answer."""
    asked = Message(role="user", content=f"Critique request: {principle.critique}\n\n{ALONE}")
    return (*prompt, Message(role="assistant", content=answer), asked)


def revision_request(
    prompt: Sequence[Message], answer: str, principle: Principle, critique: str
) -> tuple[Message, ...]:
    """The conversation whose next turn is the answer anew."""
    asked = Message(role="user", content=f"Revision request: {principle.revision}\n\n{ANEW}")
    said = Message(role="assistant", content=critique)
    return (*critique_request(prompt, answer, principle), said, asked)


def words_of(text: str) -> str:
    """A text without the thoughts before it, and without a label in front; empty where it never stops thinking."""
    text = _THOUGHT.sub("", text)
    return "" if _OPEN_THOUGHT.match(text) else _LABEL.sub("", text).strip()


def failure_of(answer: ChatAnswer, *, is_revision: bool) -> str:
    """Why an answer is none: `refused`, `empty`, `cut` at the limit of tokens, or as `ChatAnswer` says; else empty.

    A revision that declines what the user asked for is a revision: it counts as refused only where it speaks of the
    revision itself. A critique that begins by declining is refused.
    """
    text = words_of(answer.text)
    if answer.failure:
        return answer.failure
    if not text:
        return "cut" if answer.cut else "empty"
    if _NO_TASK.search(" ".join(text[:300].split())) or (not is_revision and is_refusal(text)):
        return "refused"
    return "cut" if answer.cut and is_revision else ""


def is_same(one: str, other: str) -> bool:
    """Whether two answers differ in nothing but blanks."""
    return one.split() == other.split()
