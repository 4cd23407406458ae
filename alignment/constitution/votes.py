"""Which of two answers a judge prefers under a principle, asked in both orders so that its lean to one place goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alignment.judges.chat import Chat
from alignment.judges.judging import Judge, open_judge
from alignment.judges.questions import JudgeAnswer, JudgeQuestion, JudgeRubric
from alignment.judges.spec import JudgeSpec
from rewardkit.data.records import Comparison, Message, content_id, message_lists

GUIDELINES = "Judge by the question below alone, whatever else speaks for one of the answers or against it."
CERTAIN = {"a": 1.0, "b": 0.0, "tie": 0.5}


@dataclass(frozen=True, kw_only=True)
class PairQuestion:
    """Two answers to a prompt, and the question that a principle asks of them."""

    prompt: tuple[Message, ...]
    one: str
    other: str
    question: str


@dataclass(frozen=True, kw_only=True)
class Vote:
    """A judge's preference.

    Attributes:
        p_one: probability that the first of the two is better, the mean of both orders; None where one has none.
        orders: the same as told with the first answer shown first, and with the other shown first.
        raw: what was answered to each.
        failure: why an order has no probability, as `alignment.judges.questions.Choice` names it; else empty.
        usage: of both questions together.
    """

    p_one: float | None
    orders: tuple[float | None, ...]
    raw: tuple[str, ...]
    failure: str = ""
    usage: Mapping[str, float] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """What is kept of it."""
        return {"p": self.p_one, "orders": list(self.orders), "raw": list(self.raw), "failure": self.failure}


class Voter:
    """A judge that is asked one question a pair, whichever principle it comes from.

    Args:
        spec: of the judge; its criteria and samples are left aside.
        chat: that is open already.
        debater_chat: the same of its debaters, where they are not the judge's own model.
    """

    def __init__(self, spec: JudgeSpec, chat: Chat, debater_chat: Chat | None = None) -> None:
        self.spec, self.chat, self.debater_chat = replace(spec, criteria=False, samples=1), chat, debater_chat
        self._judges: dict[str, Judge] = {}

    def vote(self, pairs: Sequence[PairQuestion]) -> list[Vote]:
        """A vote on each pair, in their order.

        Raises:
            JudgeError: if the judge cannot be asked at all.
        """
        answers: dict[tuple[int, str], JudgeAnswer] = {}
        for question in dict.fromkeys(pair.question for pair in pairs):
            places = {str(place): pair for place, pair in enumerate(pairs) if pair.question == question}
            asked = [
                JudgeQuestion(comparison=_comparison(place, pair), shown_first=side)
                for place, pair in places.items()
                for side in ("a", "b")
            ]
            for answer in self._judge(question).ask(asked):
                place = int(answer.question.comparison.meta["place"])  # type: ignore[call-overload]
                answers[place, answer.question.shown_first] = answer
        return [vote_of(answers[place, "a"], answers[place, "b"]) for place in range(len(pairs))]

    def _judge(self, question: str) -> Judge:
        if question not in self._judges:
            rubric = JudgeRubric(version=0, guidelines=GUIDELINES, question=question, tie=False)
            self._judges[question] = open_judge(self.spec, rubric, chat=self.chat, debater_chat=self.debater_chat)
        return self._judges[question]


def vote_of(*answers: JudgeAnswer) -> Vote:
    """The vote that answers in both orders make: the mean of their probabilities; a choice without one is certain."""
    told = [answer.p_a if answer.p_a is not None else CERTAIN.get(answer.choice) for answer in answers]
    known = [p for p in told if p is not None]
    usage: Counter[str] = Counter()
    for answer in answers:
        usage.update({name: float(value) for name, value in answer.usage.items()})  # type: ignore[arg-type]
    return Vote(
        p_one=sum(known) / len(known) if len(known) == len(answers) else None,
        orders=tuple(told),
        raw=tuple(answer.raw for answer in answers),
        failure=next((answer.choice for answer, p in zip(answers, told, strict=True) if p is None), ""),
        usage=usage,
    )


def _comparison(place: str, pair: PairQuestion) -> Comparison:
    key = content_id(message_lists(pair.prompt), pair.one, pair.other, pair.question)
    return Comparison(id=key, prompt=pair.prompt, completion_a=pair.one, completion_b=pair.other, meta={"place": place})
