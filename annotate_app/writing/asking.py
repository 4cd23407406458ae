"""A request to write, how it is carried out, and how two of its answers become a comparison.

Policies and the reward model live in processes (`annotate_app.jobs.model_processes`); here requests are checked, asked
of all policies at once, and their answers handed on as they are ready.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from annotate_app.access import Actor
from annotate_app.jobs.model_processes import MOST_MODELS, ModelProcesses, model_processes
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.scorer import LONGEST_TEXT, Scorers
from annotate_app.writing.writers import Models, Writer
from rewardkit.data.export_formats import turns
from rewardkit.data.records import Comparison, Message, content_id, message_lists

MODULE = "alignment.generation.lines"
WRITE_S = 600.0
"""Longest wait for a policy's answers, loading included."""
MOST_WRITERS = MOST_MODELS - 1  # a reward model has room beside them
MOST_ANSWERS, LONGEST_ANSWER, HOTTEST = 8, 4096, 5.0


@dataclass(frozen=True, kw_only=True)
class WriteRequest:
    """What is asked; equal requests have equal answers.

    Attributes:
        writers: keys of `annotate_app.writing.writers.Writer`.
        prompt: the conversation up to the turn to be written.
        item: key of the comparison that the prompt is of; empty for one of one's own.
        n: answers of each policy.
        scorer: number of a reward model's run; empty for none.
    """

    writers: tuple[str, ...]
    prompt: tuple[Message, ...]
    item: str = ""
    temperature: float = 1.0
    top_p: float = 1.0
    max_new_tokens: int = 256
    n: int = 1
    seed: int = 0
    scorer: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.writers) <= MOST_WRITERS:
            raise ValueError(f"{len(self.writers)} policies are asked, allowed are 1 to {MOST_WRITERS} at once")
        if len(set(self.writers)) < len(self.writers):
            raise ValueError("a policy is named twice; for several answers of one ask for more samples")
        length = sum(len(message.content) for message in self.prompt)
        if not any(message.content.strip() for message in self.prompt):
            raise ValueError("the prompt is empty")
        if length > LONGEST_TEXT:
            raise ValueError(f"the prompt has {length:,} characters, allowed are {LONGEST_TEXT:,}")
        for name, low, high in (
            ("temperature", 0, HOTTEST),
            ("max_new_tokens", 1, LONGEST_ANSWER),
            ("n", 1, MOST_ANSWERS),
            ("seed", 0, 2**31 - 1),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}, allowed is {low} to {high}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}, allowed is above 0 and up to 1")
        if self.n > 1 and self.temperature == 0:
            raise ValueError(f"n is {self.n} at temperature 0, where all answers of a policy are the same")

    @property
    def options(self) -> dict[str, float]:
        """How answers are drawn."""
        return {name: getattr(self, name) for name in ("temperature", "top_p", "max_new_tokens", "n", "seed")}


@dataclass(frozen=True, kw_only=True)
class WrittenAnswer:
    """One answer.

    Attributes:
        source: of its writer.
        number: its place among the writer's answers, from 1.
        finished: whether it ended by itself, and was not cut.
        logp: sum of its tokens' log-probabilities at the request's temperature (1 if that is 0), nats.
        reward, reward_std: mean and standard deviation (ddof 1, 0 for one) of the reward model's members, in units of
            its own; None without one.
    """

    source: str
    number: int
    text: str
    finished: bool
    num_tokens: int
    logp: float
    reward: float | None = None
    reward_std: float | None = None

    @property
    def num_words(self) -> int:
        return len(self.text.split())


@dataclass(frozen=True, kw_only=True)
class Written:
    """What one policy wrote.

    Attributes:
        problem: why there is no answer, or answers have no reward, in one line; empty where all went well.
        seconds: until they were there, loading included.
    """

    writer: Writer
    answers: tuple[WrittenAnswer, ...]
    problem: str
    seconds: float


def write(request: WriteRequest, models: Models, *, processes: ModelProcesses | None = None) -> Iterator[Written]:
    """Asks all policies at once and gives what each wrote as soon as it is there.

    A policy that cannot answer says why in `Written.problem`; the others are not held up.

    Raises:
        ValueError: before anything is asked, if a run is none that can be.
    """
    writers, scorer = models.choose(request.writers), models.scorer(request.scorer)
    table = processes or model_processes()
    return _as_they_are_ready(request, writers, scorer, table)


def _as_they_are_ready(
    request: WriteRequest, writers: Sequence[Writer], scorer: ModelRun | None, table: ModelProcesses
) -> Iterator[Written]:
    pool = ThreadPoolExecutor(max_workers=len(writers))
    try:
        asked = [pool.submit(_ask, request, writer, table) for writer in writers]
        for future in as_completed(asked):
            written = future.result()
            yield _rewarded(request, written, scorer, table) if scorer and written.answers else written
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # whoever stopped listening does not wait for the rest


def _ask(request: WriteRequest, writer: Writer, table: ModelProcesses) -> Written:
    started = time.monotonic()
    question = {"prompt": turns(request.prompt), **request.options}
    try:
        said = table.ask(MODULE, writer.folder, question, timeout_s=WRITE_S)
    except ValueError as error:
        return Written(writer=writer, answers=(), problem=str(error), seconds=time.monotonic() - started)
    answers = tuple(
        WrittenAnswer(
            source=writer.source,
            number=number,
            text=str(one["text"]),
            finished=bool(one["finished"]),
            num_tokens=int(one["num_tokens"]),
            logp=float(one["logp"]),
        )
        for number, one in enumerate(said["answers"], start=1)
    )
    return Written(writer=writer, answers=answers, problem="", seconds=time.monotonic() - started)


def _rewarded(request: WriteRequest, written: Written, scorer: ModelRun, table: ModelProcesses) -> Written:
    try:
        members = Scorers(table).rewards(scorer.model, request.prompt, [one.text for one in written.answers])
    except ValueError as error:
        return replace(written, problem=f"no rewards: {error}")
    means = members.mean(0)
    stds = members.std(0, ddof=1) if len(members) > 1 else 0.0 * means
    answers = tuple(
        replace(one, reward=float(mean), reward_std=float(std))
        for one, mean, std in zip(written.answers, means, stds, strict=True)
    )
    return replace(written, answers=answers)


def item_prompt(store: Store, actor: Actor, project_id: int, item: str) -> tuple[Message, ...]:
    """The prompt of a comparison of the project. Lead or above.

    Raises:
        ValueError: if there is no such comparison.
    """
    actor.require("lead", "letting policies write")
    return store.comparisons.get(actor, project_id, item).prompt


def send_pair(
    store: Store, actor: Actor, project_id: int, request: WriteRequest, one: WrittenAnswer, other: WrittenAnswer
) -> str:
    """Adds two answers of different policies to the project as a comparison to judge; its key. Lead or above.

    People see two answers and not whose they are. The same two answers are one comparison, however often they are sent.

    Raises:
        ValueError: if both are of one policy, say the same, or one is empty.
    """
    if one.source == other.source:
        raise ValueError(f"both answers are of {one.source}, a comparison takes answers of two policies")
    if one.text.strip() == other.text.strip():
        raise ValueError("both answers are the same text, which nobody can judge")
    if not (one.text.strip() and other.text.strip()):
        raise ValueError("one of the answers is empty")
    prompt = message_lists(request.prompt)
    a, b = sorted((one, other), key=lambda answer: content_id(prompt, answer.source, answer.text))
    comparison = Comparison(
        id=content_id(prompt, a.text, b.text, a.source, b.source),
        prompt=request.prompt,
        completion_a=a.text,
        completion_b=b.text,
        source_a=a.source,
        source_b=b.source,
        meta={"written": {**request.options, "by": actor.name}, **({"item": request.item} if request.item else {})},
    )
    store.comparisons.add(actor, project_id, [comparison])
    return comparison.id


def written_values(written: Written) -> Mapping[str, object]:
    """What one policy wrote as plain values, for JSON."""
    return {
        "run": written.writer.key,
        "source": written.writer.source,
        "answers": [
            {
                "text": one.text,
                "finished": one.finished,
                "num_tokens": one.num_tokens,
                "num_words": one.num_words,
                "logp": one.logp,
                "reward": one.reward,
                "reward_std": one.reward_std,
            }
            for one in written.answers
        ],
        "problem": written.problem,
        "seconds": round(written.seconds, 3),
    }
