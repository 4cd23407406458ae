"""A judge asked over a project: what is left to ask, what it will cost, and the answers kept as they come.

What is asked already under the same version of the rubric and the same examples is not asked again, so that a run that
was interrupted goes on. Answers are written in small batches: what counts as done is on disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from alignment.judges.chat import JudgeError, one_line
from alignment.judges.endpoint import cost_of
from alignment.judges.judging import Judge, most_spent, open_judge
from alignment.judges.prompt import examples_hash
from alignment.judges.questions import Example, JudgeAnswer, JudgeCriterion, JudgeQuestion, JudgeRubric
from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.judges.examples import choose_examples, note_examples
from annotate_app.protocol.assignment import shown_left
from annotate_app.protocol.rubric import parse_rubric
from annotate_app.store.loop.judges import JudgeRow, JudgeVote
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison
from rewardkit.data.tables.content_parts import shows_image

WRITE_AT, WRITE_S = 50, 1.0  # answers written at once, and seconds that one waits at most
Tell = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What of a project a judge is asked, and how much it may cost.

    Attributes:
        keys: ids of the comparisons; None for all.
        samples: answers to each question; 0 is as many as the judge says.
        examples, seed: number of examples to show, and what they are drawn by.
        max_cost: most to spend in this run, in the currency of the prices; 0 is no limit.
        max_comparisons: most comparisons to judge in this run; 0 is no limit.
    """

    keys: Sequence[str] | None = None
    samples: int = 0
    examples: int = 0
    seed: int = 0
    max_cost: float = 0.0
    max_comparisons: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "examples", "max_cost", "max_comparisons"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 or more")


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What is left to ask.

    Attributes:
        num_comparisons: of the project that were chosen, the examples left out.
        num_asked: answers that are kept already.
        questions: in the order they are asked.
        num_images: comparisons left out because their texts show images, which no judge sees.
    """

    judge: JudgeRow
    spec: JudgeSpec
    rubric: JudgeRubric
    examples: tuple[Example, ...]
    seed: int
    num_comparisons: int
    num_asked: int
    questions: tuple[JudgeQuestion, ...]
    num_images: int = 0

    @property
    def num_answers(self) -> int:
        """Answers that are wanted yet."""
        return sum(len(question.samples) for question in self.questions)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will cost.

    Attributes:
        num_requests: conversations that are sent.
        prompt_tokens: rather too many: three bytes of UTF-8 a token.
        completion_tokens: by the judge's answers so far, or the most there may be.
        cost: of these tokens, in the currency of the prices; of a judge with a debater the most there may be.
        seconds: by the judge's answers so far and its limits; None where nothing is known.
        measured: whether the judge has answered before.
    """

    num_comparisons: int
    num_answers: int
    num_requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float
    seconds: float | None
    measured: bool


@dataclass(kw_only=True)
class RunResult:
    """What a run did; `stopped` says in a line why it ended before everything was asked, empty where it did not."""

    num_answers: int = 0
    num_kept: int = 0
    num_refused: int = 0
    num_unreadable: int = 0
    num_unanswered: int = 0
    num_asked_before: int = 0
    prompt_tokens: float = 0
    completion_tokens: float = 0
    cost: float = 0.0
    seconds: float = 0.0
    stopped: str = ""
    failed: bool = False
    unanswered: str = ""


def plan_run(store: Store, actor: Actor, project: Project, name: str, options: RunOptions) -> RunPlan:
    """Finds what is left to ask a judge. Lead or above.

    Raises:
        ValueError: if there is no such judge or comparison, it cannot be asked, or an option does not fit it.
    """
    judge = store.judges.get(actor, project.id, name)
    if judge.archived:
        raise ValueError(f"the judge {name} is put away; `judge remove --undo` takes it back")
    if judge.spec.kind == "imported":
        raise ValueError(f"the votes of {name} were made elsewhere: it cannot be asked")
    spec = replace(judge.spec, samples=options.samples) if options.samples else judge.spec
    if options.max_cost and not spec.has_prices:
        raise ValueError(f"max_cost is {options.max_cost:g}, but the judge {name} has no prices")
    rubric = read_rubric(store, actor, project.id)
    examples = choose_examples(store, actor, project, judge, rubric, number=options.examples, seed=options.seed)
    asked = store.judges.asked(judge.id, rubric.version, examples_hash(examples))
    shown = {example.comparison.id for example in examples}
    chosen = None if options.keys is None else set(options.keys)
    if chosen is not None and (missing := sorted(chosen - store.comparisons.sources(actor, project.id).keys())):
        raise ValueError(f"the project has no comparison {missing[0]!r:.80}")
    questions: list[JudgeQuestion] = []
    num_comparisons = num_new = num_asked = num_images = 0
    for comparison in store.comparisons.iterate(actor, project.id):
        if comparison.further or comparison.steps:
            continue  # judges compare two responses
        if comparison.id in shown or (chosen is not None and comparison.id not in chosen):
            continue
        if _shows_images(comparison):
            num_images += 1
            continue
        num_comparisons += 1
        left = []
        for side in orders(spec, comparison.id, judge.name):
            samples = [number for number in range(spec.samples) if (comparison.id, side, number) not in asked]
            num_asked += spec.samples - len(samples)
            if samples:
                left.append(JudgeQuestion(comparison=comparison, shown_first=side, samples=tuple(samples)))  # type: ignore[arg-type]
        if left and not (options.max_comparisons and num_new >= options.max_comparisons):
            num_new += 1
            questions.extend(left)
    return RunPlan(
        judge=judge,
        spec=spec,
        rubric=rubric,
        examples=examples,
        seed=options.seed,
        num_comparisons=num_comparisons,
        num_asked=num_asked,
        questions=tuple(questions),
        num_images=num_images,
    )


def _shows_images(comparison: Comparison) -> bool:
    turns = (turn.content for turn in (*comparison.prompt, *comparison.turns_a, *comparison.turns_b))
    return any(map(shows_image, (comparison.completion_a, comparison.completion_b, *turns)))


def read_rubric(store: Store, actor: Actor, project_id: int) -> JudgeRubric:
    """The newest rubric of a project, as a judge reads it."""
    version = store.projects.rubric(actor, project_id)
    rubric = parse_rubric(version.text)
    return JudgeRubric(
        version=version.version,
        guidelines=rubric.guidelines,
        question=rubric.question,
        wordings=rubric.scale.wordings,
        tie=rubric.scale.tie,
        both_bad=rubric.both_bad,
        criteria=tuple(
            JudgeCriterion(
                name=one.name,
                question=one.question,
                rating=(one.low, one.high) if one.kind == "rate" else None,
                anchors=dict(one.anchors),
            )
            for one in rubric.criteria
        ),
        flags={one.name: one.help or one.label for one in rubric.flags},
    )


def orders(spec: JudgeSpec, key: str, judge: str) -> tuple[str, ...]:
    """Which answers come first when a judge is asked about a comparison: each once, or the one that a hash decides."""
    if not spec.sees_order:
        return ("",)
    return ("a", "b") if spec.both_orders else (shown_left(key, judge, 0, "judge"),)


def estimate(store: Store, actor: Actor, plan: RunPlan) -> Estimate:
    """What the rest of a run will cost; asks nobody anything."""
    spec = plan.spec
    spent = store.judges.vote_table(actor, plan.judge.project_id, plan.judge.id).spent
    known = {name: float(np.nanmean(values)) for name, values in spent.items() if np.isfinite(values).any()}
    most = [most_spent(spec, plan.rubric, question, plan.examples) for question in plan.questions]
    num_requests = sum(one.num_requests for one in most)
    prompt_tokens = sum(one.prompt_tokens for one in most)
    completion_tokens, cost = sum(one.completion_tokens for one in most), sum(one.cost for one in most)
    if "completion_tokens" in known and completion_tokens:
        completion_tokens = int(plan.num_answers * known["completion_tokens"])
        cost = cost if spec.debater else cost_of(spec, prompt_tokens, completion_tokens)
    seconds = None
    if "seconds" in known:
        seconds = plan.num_answers * known["seconds"] / (spec.concurrency if spec.kind == "endpoint" else 1)
    if spec.requests_per_minute and spec.kind == "endpoint":
        seconds = max(seconds or 0.0, num_requests * 60 / spec.requests_per_minute)
    return Estimate(
        num_comparisons=len({question.comparison.id for question in plan.questions}),
        num_answers=plan.num_answers,
        num_requests=num_requests,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cost=cost,
        seconds=seconds,
        measured="seconds" in known,
    )


def run(
    store: Store,
    plan: RunPlan,
    *,
    max_cost: float = 0.0,
    tell: Tell = lambda _done, _total: None,
    stopping: Callable[[], bool] = lambda: False,
    judge: Judge | None = None,
) -> RunResult:
    """Asks what is left and keeps the answers.

    Args:
        max_cost: most to spend; a question is asked only while its dearest answer would stay below it.
        tell: takes the number of answers that are kept and of all there are.
        stopping: whether no further question is to be asked; those under way are waited for.
        judge: that is open already.

    Raises:
        ValueError: as `alignment.judges.judging.open_judge`.
    """
    result = RunResult(num_asked_before=plan.num_asked)
    started_at = time.monotonic()
    if not plan.questions:
        return result
    judge = judge or open_judge(plan.spec, plan.rubric, examples=plan.examples)
    purse = _Purse(plan, max_cost, stopping)
    shown = note_examples(store, plan.judge, plan.examples, plan.seed, plan.rubric.version)
    keeper = _Keeper(store, plan, shown, result, tell)
    try:
        while purse.begins():
            for answer in judge.ask(purse.affordable()):
                purse.pay(answer)
                keeper.keep(answer, at_once=stopping())
    except JudgeError as error:
        result.stopped, result.failed = one_line(str(error), 500), True
    finally:
        keeper.write()
        judge.close()
        result.seconds = time.monotonic() - started_at
    if not result.stopped and stopping():
        result.stopped = "stopped as asked"
    elif not result.stopped and purse.is_empty:
        result.stopped = f"the next answer might cost more than what is left of max_cost {max_cost:g}"
    return result


class _Purse:
    """Hands out questions while they can be paid for: what is under way counts with its dearest answer."""

    def __init__(self, plan: RunPlan, max_cost: float, stopping: Callable[[], bool]) -> None:
        self._plan, self._max_cost, self._stopping = plan, max_cost, stopping
        self._left: Iterator[JudgeQuestion] = iter(plan.questions)
        self._next: JudgeQuestion | None = next(self._left, None)
        self._spent = 0.0
        self._reserved: dict[int, tuple[float, int]] = {}  # by question: of each answer, and answers to come
        self._handed_out = -1

    @property
    def is_empty(self) -> bool:
        """Whether a question is left that cannot be paid for."""
        return self._next is not None and not self._stopping()

    def begins(self) -> bool:
        """Whether to ask (again): at first, and when what was under way turned out cheaper than it might have been."""
        goes_on = self._next is not None and self._handed_out != 0 and not self._stopping()
        self._handed_out = 0
        return goes_on

    def affordable(self) -> Iterator[JudgeQuestion]:
        while self._next is not None and not self._stopping():
            question = self._next
            dearest = self._dearest(question) if self._max_cost else 0.0
            reserved = sum(price * number for price, number in self._reserved.values())
            if self._max_cost and self._spent + reserved + dearest * len(question.samples) > self._max_cost:
                return
            self._next = next(self._left, None)
            self._handed_out += 1
            if self._max_cost:
                self._reserved[id(question)] = (dearest, len(question.samples))
            yield question

    def pay(self, answer: JudgeAnswer) -> None:
        self._spent += answer.usage.get("cost", 0.0)
        price, number = self._reserved.pop(id(answer.question), (0.0, 0))
        if number > 1:
            self._reserved[id(answer.question)] = (price, number - 1)

    def _dearest(self, question: JudgeQuestion) -> float:
        most = most_spent(self._plan.spec, self._plan.rubric, question, self._plan.examples)
        return most.cost / len(question.samples)


class _Keeper:
    """Writes answers in small batches and counts them."""

    def __init__(self, store: Store, plan: RunPlan, examples: str, result: RunResult, tell: Tell) -> None:
        self._store, self._plan, self._examples, self._result, self._tell = store, plan, examples, result, tell
        self._waiting: list[JudgeVote] = []
        self._written_at = time.monotonic()

    def keep(self, answer: JudgeAnswer, *, at_once: bool) -> None:
        result = self._result
        result.num_answers += 1
        result.cost += answer.usage.get("cost", 0.0)
        result.prompt_tokens += answer.usage.get("prompt_tokens", 0)
        result.completion_tokens += answer.usage.get("completion_tokens", 0)
        if answer.choice == "unanswered":
            result.num_unanswered += 1
            result.unanswered = one_line(answer.raw)
            return
        result.num_refused += answer.choice == "refused"
        result.num_unreadable += answer.choice == "unreadable"
        self._waiting.append(
            JudgeVote(
                comparison_id=answer.question.comparison.id,
                rubric_version=self._plan.rubric.version,
                choice=answer.choice,
                shown_first=answer.question.shown_first,
                sample=answer.sample,
                p_a=answer.p_a,
                strength=answer.strength,
                criteria=answer.criteria,
                raw=answer.raw,
                usage=answer.usage,
                examples=self._examples,
                created_at=time.time(),
            )
        )
        if at_once or len(self._waiting) >= WRITE_AT or time.monotonic() - self._written_at >= WRITE_S:
            self.write()

    def write(self) -> None:
        self._written_at = time.monotonic()
        if self._waiting:
            self._result.num_kept += self._store.judges.add_votes(self._plan.judge.id, self._waiting)
            self._waiting = []
        self._tell(self._result.num_kept, self._plan.num_answers)


def summary(result: RunResult) -> str:
    """A run in one line."""
    parts = [f"{result.num_kept:,} answers kept"]
    for number, words in (
        (result.num_refused, "refused"),
        (result.num_unreadable, "unreadable"),
        (result.num_unanswered, "without an answer, which another run asks again"),
        (result.num_asked_before, "asked before"),
    ):
        if number:
            parts.append(f"{number:,} {words}")
    if result.cost:
        parts.append(f"cost {result.cost:.4g}")
    parts.append(f"{result.seconds:.1f} s")
    return ", ".join(parts)


def read_keys(lines: Iterable[str]) -> list[str]:
    """Ids of comparisons, one a line; empty lines are passed over."""
    return [key for line in lines if (key := line.rstrip("\r\n"))]
