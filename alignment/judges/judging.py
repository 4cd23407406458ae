"""`Judge`: questions in, answers about content out. `open_judge` makes one of a spec; each kind says below what it is.

endpoint, local with reasoning   words, read by `alignment.judges.parsing`
local                            log-probabilities of the letters, one forward for each order
reward                           sigma(r_a - r_b), calibrated, mean over members; it sees no order
function                         what a Python function returns

Before endpoints and local models decide, two debaters may argue: `alignment.judges.debate`.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import numpy as np

from alignment.judges.chat import Chat, ChatAnswer, ChatRequest, JudgeError, storable
from alignment.judges.debate import Debate, added, hold_debates, transcript_of, unsaid
from alignment.judges.debate import most_spent as most_of_debate
from alignment.judges.endpoint import cost_of, estimated_tokens
from alignment.judges.opening import open_chat
from alignment.judges.parsing import declines, option_probabilities, p_first_of, parse_answer
from alignment.judges.prompt import letter_conversation, written_conversation
from alignment.judges.questions import (
    FIRST,
    SECOND,
    TIE,
    Example,
    JudgeAnswer,
    JudgeQuestion,
    JudgeRubric,
    Spend,
    Verdict,
)
from alignment.judges.questions import undo_position as content_answer
from alignment.judges.spec import WRITES, JudgeSpec
from rewardkit.data.records import Message, content_id
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward import RewardFn
from rewardkit.run.model_folder import model_folder
from rewardkit.stats.calibration import apply

if TYPE_CHECKING:
    from alignment.judges.local import LocalChat

logger = logging.getLogger(__name__)
AT_ONCE = 64  # pairs judged together where a judge works in batches


class Judge(Protocol):
    """A judge that is ready to be asked."""

    spec: JudgeSpec

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Answers as they come, those to one question together; a question is taken when there is room for it.

        Raises:
            JudgeError: if it cannot be asked, or stopped answering; what it had answered has come before.
        """
        ...

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """What it reads for one answer; nothing for a judge that reads no words of ours."""
        ...

    def close(self) -> None:
        """Ends what it holds."""
        ...


def open_judge(
    spec: JudgeSpec,
    rubric: JudgeRubric,
    *,
    examples: Sequence[Example] = (),
    chat: Chat | None = None,
    debater_chat: Chat | None = None,
) -> Judge:
    """Makes a judge ready: loads its model, starts its process, reads its key from the environment.

    Args:
        rubric: that it judges by.
        examples: pairs that people have settled, shown to judges that read words.
        chat: of an endpoint or local model that is open already.
        debater_chat: the same of the debaters, where they are not the judge's own model.

    Raises:
        ValueError: if it cannot be asked: it is of imported votes, its key or folder is missing, or examples are given
            to a judge that reads none.
        JudgeError: if its function cannot be loaded.
    """
    if examples and spec.kind not in WRITES:
        raise ValueError(f"a judge of the kind {spec.kind} reads no examples")
    match spec.kind:
        case "endpoint" | "local":
            judge = _open_reader(spec, rubric, examples, chat)
            return DebateJudge(judge, debater_chat) if spec.debate_rounds else judge
        case "reward":
            return RewardJudge(spec, rubric)
        case "function":
            from alignment.judges.function_judge import FunctionJudge

            return FunctionJudge(spec, rubric)
        case "imported":
            raise ValueError("the votes of this judge were made elsewhere: it cannot be asked")


def _open_reader(
    spec: JudgeSpec, rubric: JudgeRubric, examples: Sequence[Example], chat: Chat | None
) -> WrittenJudge | LetterJudge:
    """Makes a judge ready that reads words."""
    if spec.kind == "endpoint" or spec.reasoning:
        return WrittenJudge(spec, rubric, chat or open_chat(spec), examples)
    from alignment.judges.local import LocalChat

    return LetterJudge(spec, rubric, chat if isinstance(chat, LocalChat) else LocalChat(spec), examples)


class WrittenJudge:
    """Answers in words, asked for as JSON."""

    def __init__(self, spec: JudgeSpec, rubric: JudgeRubric, chat: Chat, examples: Sequence[Example]) -> None:
        self.spec, self.rubric, self.chat, self.examples = spec, rubric, chat, tuple(examples)

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """See `Judge.conversations`."""
        return conversations_of(self.spec, self.rubric, question, self.examples)

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """See `Judge.ask`. Where probabilities are not told, the share over all samples of a question is one."""
        waiting: dict[int, list[JudgeAnswer]] = {}
        try:
            for request, answer in self.chat.stream(self._requests(questions)):
                question, sample, number = request.key  # type: ignore[misc]
                answers = waiting.setdefault(number, [])
                answers.append(self._read(question, sample, answer))
                if len(answers) == len(question.samples):
                    yield from with_shares(waiting.pop(number))
        except JudgeError:
            for answers in waiting.values():
                yield from answers
            raise

    def close(self) -> None:
        """See `Judge.close`."""
        self.chat.close()

    def _requests(self, questions: Iterable[JudgeQuestion]) -> Iterator[ChatRequest]:
        for number, question in enumerate(questions):
            (messages,) = self.conversations(question)
            for sample in question.samples:
                yield ChatRequest(
                    key=(question, sample, number),
                    messages=messages,
                    max_new_tokens=self.spec.max_new_tokens,
                    temperature=self.spec.temperature,
                    seed=int(content_id(question.comparison.id, question.shown_first, sample)[:8], 16),
                    logprobs=True,
                )

    def _read(self, question: JudgeQuestion, sample: int, answer: ChatAnswer) -> JudgeAnswer:
        common = {"question": question, "sample": sample, "usage": answer.usage}
        raw = answer.text or answer.error
        match answer.failure:
            case "unanswered":
                return JudgeAnswer(choice="unanswered", raw=raw, **common)  # type: ignore[arg-type]
            case "refused" | "rejected":
                return JudgeAnswer(choice="refused", raw=raw, **common)  # type: ignore[arg-type]
            case "empty" | "calls":
                return JudgeAnswer(choice="unreadable", raw=raw, **common)  # type: ignore[arg-type]
            case "":
                verdict = parse_answer(answer.text, self.rubric, answer.tokens)
                if not verdict.letter and declines(answer.text):
                    return JudgeAnswer(choice="refused", raw=raw, **common)  # type: ignore[arg-type]
                return content_answer(question, sample, verdict, raw=raw, usage=answer.usage)


class LetterJudge:
    """A local model's log-probabilities of the letters, and of the numbers where a criterion is rated."""

    def __init__(self, spec: JudgeSpec, rubric: JudgeRubric, chat: LocalChat, examples: Sequence[Example]) -> None:
        self.spec, self.rubric, self.chat, self.examples = spec, rubric, chat, tuple(examples)

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """See `Judge.conversations`."""
        return conversations_of(self.spec, self.rubric, question, self.examples)

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """See `Judge.ask`."""
        waiting = iter(questions)
        while batch := list(islice(waiting, AT_ONCE)):
            started_at = time.monotonic()
            asked = [letter_questions(self.spec, self.rubric, question, self.examples) for question in batch]
            logps = self.chat.option_logps(asked)
            seconds = round((time.monotonic() - started_at) / len(batch), 4)
            for question, row, answers in zip(batch, asked, logps, strict=True):
                num_tokens = sum(self.chat.num_tokens(conversation) for conversation, _ in row)
                usage = {"prompt_tokens": num_tokens, "completion_tokens": 0, "tries": 1, "seconds": seconds}
                options = [texts for _, texts in row]
                for sample in question.samples:
                    yield self._read(question, sample, options, answers, usage)

    def close(self) -> None:
        """See `Judge.close`."""
        self.chat.close()

    def _read(
        self,
        question: JudgeQuestion,
        sample: int,
        options: Sequence[Sequence[str]],
        answers: Sequence[np.ndarray] | str,
        usage: dict[str, float],
    ) -> JudgeAnswer:
        if isinstance(answers, str):
            return JudgeAnswer(question=question, sample=sample, choice="refused", raw=answers, usage=usage)
        told = [
            {text: round(float(logp), 5) for text, logp in zip(texts, logps, strict=True)}
            for texts, logps in zip(options, answers, strict=True)
        ]
        likeliest = [max(row, key=row.__getitem__) for row in told]
        left = iter(likeliest[1:])
        criteria: dict[str, int | tuple[int, int]] = {}
        for criterion in self.rubric.criteria if self.spec.criteria else ():
            if criterion.rating is None:
                criteria[criterion.name] = {FIRST: -1, SECOND: 1, TIE: 0}[next(left)]
            else:
                criteria[criterion.name] = (int(next(left)), int(next(left)))
        verdict = Verdict(
            letter=likeliest[0],
            p_first=p_first_of(option_probabilities(told[0])),
            strength=1 if likeliest[0] in (FIRST, SECOND) else 0,
            criteria=criteria,
        )
        return content_answer(question, sample, verdict, raw=json.dumps(told), usage=usage)


class DebateJudge:
    """A judge that reads words, asked once two debaters have argued; the raw text of its answers holds the debate too.

    The first answer to a question carries what the debate took.
    """

    def __init__(self, judge: WrittenJudge | LetterJudge, debater_chat: Chat | None = None) -> None:
        self.spec, self._judge = judge.spec, judge
        self._debater = judge.spec.debater or judge.spec
        self._own = open_chat(judge.spec.debater) if judge.spec.debater and debater_chat is None else None
        self._chat = self._own or debater_chat or judge.chat

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """See `Judge.conversations`; what is said in the debate is not known yet."""
        return self._judge.conversations(question)

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """See `Judge.ask`. Debates of AT_ONCE questions are held together; one that broke off is not judged.

        Where the debaters or the judge stop to answer, what debates took is told before the error is raised.
        """
        waiting, rounds = iter(questions), self.spec.debate_rounds
        while batch := list(islice(waiting, AT_ONCE)):
            debates, stopped = hold_debates(self._chat, self._debater, self._judge.rubric, batch, num_rounds=rounds)
            argued: dict[int, tuple[JudgeQuestion, Debate]] = {}
            asked = []
            for question, debate in zip(batch, debates, strict=True):
                if debate.failure:
                    yield from _unjudged(question, debate)
                else:
                    asked.append(replace(question, arguments=debate.transcript))
                    argued[id(asked[-1])] = question, debate
            told: dict[int, set[int]] = {number: set() for number in argued}
            try:
                for answer in self._judge.ask(asked if stopped is None else ()):
                    question, debate = argued[id(answer.question)]
                    told[id(answer.question)].add(answer.sample)
                    raw = storable(f"{answer.raw}\n\nThe debate before it:\n\n{debate.transcript}")
                    is_first = answer.sample == question.samples[0]
                    usage = added(debate.usage, answer.usage) if is_first else answer.usage
                    yield replace(answer, question=question, raw=raw, usage=usage)
            except JudgeError as error:
                stopped = error
            if stopped:
                for number, (question, debate) in argued.items():
                    left = Debate(
                        transcript=debate.transcript, usage=debate.usage, failure="unanswered", error=str(stopped)
                    )
                    yield from _unjudged(question, left, told[number])
                raise stopped

    def close(self) -> None:
        """See `Judge.close`."""
        self._judge.close()
        if self._own:
            self._own.close()


def _unjudged(question: JudgeQuestion, debate: Debate, told: Collection[int] = ()) -> Iterator[JudgeAnswer]:
    """Answers to a question that the judge was not asked after a debate; `told` are samples that were answered."""
    for sample in question.samples:
        if sample not in told:
            usage = debate.usage if sample == question.samples[0] else {}
            choice = debate.failure or "unanswered"
            yield JudgeAnswer(question=question, sample=sample, choice=choice, raw=debate.error, usage=usage)


class RewardJudge:
    """A reward model: p_a = mean over members of sigma(r_a - r_b), calibrated as the model's card says."""

    def __init__(self, spec: JudgeSpec, rubric: JudgeRubric) -> None:
        self.spec = spec
        folder = str(model_folder(spec.target))
        self.card = read_card(folder)
        self._reward_fn = load_reward_fn(folder)
        names = [one.name for one in rubric.criteria if one.name in self.card.criteria] if spec.criteria else []
        self._criteria = {name: _of_criterion(self._reward_fn, name) for name in names}

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """See `Judge.conversations`."""
        return []

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """See `Judge.ask`. What each answer is worth to each member is kept as its raw text."""
        waiting = iter(questions)
        while batch := list(islice(waiting, AT_ONCE)):
            started_at = time.monotonic()
            members = _rewards(self._reward_fn, batch)
            by_criterion = {name: _rewards(fn, batch).mean(0) for name, fn in self._criteria.items()}
            difference = members[:, 0] - members[:, 1]
            p_a = np.clip(apply(self.card.calibration, difference).mean(0), 0.0, 1.0)
            seconds = round((time.monotonic() - started_at) / len(batch), 4)
            for place, question in enumerate(batch):
                choice = "a" if p_a[place] > 0.5 else "b" if p_a[place] < 0.5 else "tie"
                raw = {
                    "rewards_a": np.round(members[:, 0, place], 5).tolist(),
                    "rewards_b": np.round(members[:, 1, place], 5).tolist(),
                    "std": round(float(difference[:, place].std(ddof=1)), 5) if len(members) > 1 else 0.0,
                }
                yield from (
                    JudgeAnswer(
                        question=question,
                        sample=sample,
                        choice=choice,
                        p_a=float(p_a[place]),
                        strength=1 if choice != "tie" else 0,
                        criteria={name: int(np.sign(of[1, place] - of[0, place])) for name, of in by_criterion.items()},
                        raw=json.dumps(raw),
                        usage={"tries": 1, "seconds": seconds},
                    )
                    for sample in question.samples
                )

    def close(self) -> None:
        """See `Judge.close`."""


def conversations_of(
    spec: JudgeSpec, rubric: JudgeRubric, question: JudgeQuestion, examples: Sequence[Example] = ()
) -> list[tuple[Message, ...]]:
    """What a judge reads for one answer, without opening it; nothing for one that reads no words of ours."""
    if spec.kind == "local" and not spec.reasoning:
        return [conversation for conversation, _ in letter_questions(spec, rubric, question, examples)]
    if spec.kind in WRITES:
        options = {"criteria": spec.criteria, "reasoning": spec.reasoning}
        return [written_conversation(rubric, question, **options, examples=examples)]
    return []


def most_spent(
    spec: JudgeSpec, rubric: JudgeRubric, question: JudgeQuestion, examples: Sequence[Example] = ()
) -> Spend:
    """The most that all answers to a question take, with the debate before them."""
    heard = replace(question, arguments=transcript_of(unsaid(spec.debate_rounds)))
    talks = conversations_of(spec, rubric, heard, examples)
    debate = Spend(num_requests=0, prompt_tokens=0, completion_tokens=0, cost=0.0)
    if spec.debate_rounds:
        debate = most_of_debate(spec.debater or spec, rubric, question, num_rounds=spec.debate_rounds)
    samples, writes = len(question.samples), spec.kind == "endpoint" or (spec.kind == "local" and spec.reasoning)
    prompt_tokens = samples * sum(estimated_tokens(talk) + debate.completion_tokens for talk in talks)
    completion_tokens = samples * spec.max_new_tokens if writes else 0
    return Spend(
        num_requests=samples * len(talks) + debate.num_requests,
        prompt_tokens=prompt_tokens + debate.prompt_tokens,
        completion_tokens=completion_tokens + debate.completion_tokens,
        cost=cost_of(spec, prompt_tokens, completion_tokens) + debate.cost,
    )


def letter_questions(
    spec: JudgeSpec, rubric: JudgeRubric, question: JudgeQuestion, examples: Sequence[Example]
) -> list[tuple[tuple[Message, ...], tuple[str, ...]]]:
    """Conversations and the answers each may get: the overall question, then each criterion, rated ones twice."""
    overall = letter_conversation(rubric, question, examples=examples)
    asked = [(overall, tuple(rubric.letters))]
    for criterion in rubric.criteria if spec.criteria else ():
        options: tuple[str, ...] = (FIRST, SECOND, TIE)
        rated = ("",)
        if criterion.rating is not None:
            low, high = criterion.rating
            options, rated = tuple(str(value) for value in range(low, high + 1)), (FIRST, SECOND)
        for answer in rated:
            conversation = letter_conversation(rubric, question, criterion=criterion, rated=answer, examples=examples)
            asked.append((conversation, options))
    return asked


def with_shares(answers: Sequence[JudgeAnswer]) -> list[JudgeAnswer]:
    """Answers to one question, with the share of the samples where no probability was told.

    p_a = (samples for a + samples for a tie / 2) / (samples for a, b or a tie); one sample has no share.
    """
    values = {"a": 1.0, "b": 0.0, "tie": 0.5}
    told = [values[answer.choice] for answer in answers if answer.choice in values]
    whole = all(answer.choice != "unanswered" for answer in answers)
    if len(answers) < 2 or not whole or not told or any(answer.p_a is not None for answer in answers):
        return list(answers)
    share = sum(told) / len(told)
    return [JudgeAnswer(**{**vars(answer), "p_a": share}) if answer.choice in values else answer for answer in answers]


def _rewards(reward_fn: RewardFn, questions: Sequence[JudgeQuestion]) -> np.ndarray:
    """(K, 2, B) rewards of a and of b."""
    prompts = [question.comparison.prompt for question in questions for _ in range(2)]
    texts = [
        text for question in questions for text in (question.comparison.completion_a, question.comparison.completion_b)
    ]
    members = np.asarray(reward_fn(prompts, texts).members, dtype=float)
    if not np.isfinite(members).all():
        raise JudgeError("the reward model gives a reward that is no finite number")
    return members.reshape(len(members), len(questions), 2).transpose(0, 2, 1)


def _of_criterion(reward_fn: RewardFn, name: str) -> RewardFn:
    """The same model with one criterion's head as its reward; its weights are in memory once."""
    other = copy.copy(reward_fn)
    if hasattr(other, "members"):
        other.members = [_of_criterion(member, name) for member in other.members]  # type: ignore[attr-defined]
    else:
        other.criterion_weights = {name: 1.0}  # type: ignore[attr-defined]
    return other
