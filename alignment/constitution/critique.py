"""Rounds of critique and revision of some prompts at once, the judge's vote on what came of it, and its preferences.

Every draw of chance (which principle, the judge's own) belongs to a prompt, a round and a step, so that a prompt gets
the same questions whichever prompts are asked beside it, and a run that continues goes on as it would have gone.

    round 1 ... n    a principle is drawn; critique; revision of the latest text
    vote             first answer against last revision, by the last principle that changed it, both orders
    feedback         the two first answers of a prompt, by a principle of their own, both orders

A round that gives no revision leaves the text as it is, and the next one may still change it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignment.constitution.answers import Answered
from alignment.constitution.dialogue import critique_request, failure_of, is_same, revision_request, words_of
from alignment.constitution.principles import Constitution, Principle
from alignment.constitution.votes import PairQuestion, Voter
from alignment.judges.chat import Chat, ChatAnswer, ChatRequest
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Message

CRITIQUE, REVISION = range(2)  # steps, for chance
NO_PRINCIPLE, EMPTY_ANSWER, UNCHANGED, WORSE = "no_principle", "empty_answer", "unchanged", "worse"
IDENTICAL, TIE, UNVOTED = "identical", "tie", "unvoted"
EVEN = 1e-6  # of a probability: as good as even


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who is asked, by what, and how.

    Attributes:
        rounds: of critique and revision; 0 asks for preferences alone.
        feedback: whether the two first answers of a prompt are compared.
        seed: of every draw of chance.
        max_new_tokens, temperature: of critiques and revisions.
    """

    chat: Chat
    voter: Voter
    constitution: Constitution
    rounds: int
    feedback: bool
    seed: int
    max_new_tokens: int
    temperature: float


@dataclass(kw_only=True)
class _State:
    """A prompt on its way."""

    number: int
    item: Answered
    text: str
    rounds: list[dict[str, Any]] = field(default_factory=list)
    changed_by: Principle | None = None
    vote: dict[str, Any] | None = None
    feedback: dict[str, Any] | None = None
    usage: Counter[str] = field(default_factory=Counter)

    @property
    def first(self) -> str:
        return self.item.answers[0][1]

    def failure(self) -> str:
        """Why there is no revision to learn from; empty where there is one."""
        if self.changed_by is not None and not is_same(self.text, self.first):
            if self.vote is None or self.vote["p"] is None:
                return UNVOTED
            return WORSE if self.vote["p"] < 0.5 else ""
        failures = [one["failure"] for one in self.rounds if one["failure"] not in ("", UNCHANGED)]
        return failures[0] if failures else UNCHANGED

    def record(self, has_rounds: bool) -> dict[str, Any]:
        return {
            "prompt": turns(self.item.prompt),
            "answers": [{"model": model, "text": text} for model, text in self.item.answers],
            "rounds": self.rounds,
            "revised": self.text if self.changed_by else "",
            "vote": self.vote,
            "failure": self.failure() if has_rounds else "",
            "feedback": self.feedback,
            "usage": dict(self.usage),
        }


def criticise(items: Sequence[Answered], first_number: int, asking: Asking) -> list[dict[str, Any]]:
    """Asks everything about some prompts; a record for each, as steps.jsonl holds it.

    Args:
        items: prompts with their answers.
        first_number: place of the first among all prompts, which chance depends on.

    Raises:
        JudgeError: if the judge cannot be asked at all.
    """
    states = [
        _State(number=first_number + place, item=item, text=item.answers[0][1]) for place, item in enumerate(items)
    ]
    for number in range(1, asking.rounds + 1):
        _round(states, number, asking)
    _vote(states, asking)
    if asking.feedback:
        _compare(states, asking)
    return [state.record(asking.rounds > 0) for state in states]


def _round(states: Sequence[_State], number: int, asking: Asking) -> None:
    drawn: list[tuple[_State, Principle, dict[str, Any]]] = []
    for state in states:
        principle = asking.constitution.sample(state.item.prompt, _rng(asking, state, number))
        failure = EMPTY_ANSWER if not state.text.strip() else "" if principle else NO_PRINCIPLE
        row = {"principle": principle.id if principle else "", "critique": "", "revision": "", "failure": failure}
        state.rounds.append(row)
        if principle and not failure:
            drawn.append((state, principle, row))
    critiques = _ask(
        asking,
        [(state, critique_request(state.item.prompt, state.text, principle)) for state, principle, _ in drawn],
        (number, CRITIQUE),
    )
    criticised = []
    for (state, principle, row), answer in zip(drawn, critiques, strict=True):
        row["critique"], row["failure"] = words_of(answer.text), failure_of(answer, is_revision=False)
        if not row["failure"]:
            criticised.append((state, principle, row))
    revisions = _ask(
        asking,
        [
            (state, revision_request(state.item.prompt, state.text, principle, row["critique"]))
            for state, principle, row in criticised
        ],
        (number, REVISION),
    )
    for (state, principle, row), answer in zip(criticised, revisions, strict=True):
        row["revision"], row["failure"] = words_of(answer.text), failure_of(answer, is_revision=True)
        if not row["failure"] and is_same(row["revision"], state.text):
            row["failure"] = UNCHANGED
        if not row["failure"]:
            state.text, state.changed_by = row["revision"], principle


def _ask(
    asking: Asking, questions: Sequence[tuple[_State, tuple[Message, ...]]], step: tuple[int, int]
) -> list[ChatAnswer]:
    """Answers in the order of the questions; what they took is added to each prompt's."""
    requests = [
        ChatRequest(
            key=place,
            messages=messages,
            max_new_tokens=asking.max_new_tokens,
            temperature=asking.temperature,
            seed=_seed(asking, state, *step),
        )
        for place, (state, messages) in enumerate(questions)
    ]
    answers: dict[object, ChatAnswer] = {}
    for request, answer in asking.chat.stream(requests):
        answers[request.key] = answer
    for place, (state, _) in enumerate(questions):
        _spend(state, answers[place].usage)
    return [answers[place] for place in range(len(questions))]


def _vote(states: Sequence[_State], asking: Asking) -> None:
    """Whether a revision is better than the first answer, by the judge that made it."""
    revised = [(state, state.changed_by) for state in states if not is_same(state.text, state.first)]
    questions = [
        PairQuestion(
            prompt=state.item.prompt,
            one=state.text,
            other=state.first,
            question=principle.comparison,
        )
        for state, principle in revised
        if principle
    ]
    for (state, principle), vote in zip(revised, asking.voter.vote(questions), strict=True):
        assert principle is not None
        state.vote = {"principle": principle.id, **vote.values()}
        _spend(state, vote.usage)


def _compare(states: Sequence[_State], asking: Asking) -> None:
    """Which of a prompt's two first answers the judge prefers, under a principle drawn for that."""
    asked: list[tuple[_State, Principle]] = []
    for state in states:
        if len(state.item.answers) < 2:
            continue
        principle = asking.constitution.sample(state.item.prompt, _rng(asking, state, 0))
        (_, one), (_, other) = state.item.answers[:2]
        failure = "" if principle else NO_PRINCIPLE
        if is_same(one, other) or not (one.strip() and other.strip()):  # no training takes an empty answer
            failure = IDENTICAL if is_same(one, other) else EMPTY_ANSWER
        state.feedback = {"principle": principle.id if principle else "", "p": None, "failure": failure}
        if principle and not failure:
            asked.append((state, principle))
    questions = [
        PairQuestion(
            prompt=state.item.prompt,
            one=state.item.answers[0][1],
            other=state.item.answers[1][1],
            question=principle.comparison,
        )
        for state, principle in asked
    ]
    for (state, principle), vote in zip(asked, asking.voter.vote(questions), strict=True):
        failure = UNVOTED if vote.p_one is None else TIE if abs(vote.p_one - 0.5) < EVEN else ""
        state.feedback = {"principle": principle.id, **vote.values(), "failure": failure}
        _spend(state, vote.usage)


def _spend(state: _State, usage: Mapping[str, float]) -> None:
    state.usage.update({name: float(value) for name, value in usage.items()})  # type: ignore[arg-type] (counts are sums)


def _rng(asking: Asking, state: _State, number: int) -> np.random.Generator:
    return np.random.default_rng([asking.seed, state.number, number])


def _seed(asking: Asking, state: _State, number: int, step: int) -> int:
    """Below 2^31, as endpoints take it."""
    return int(np.random.SeedSequence((asking.seed, state.number, number, step)).generate_state(1)[0]) >> 1
