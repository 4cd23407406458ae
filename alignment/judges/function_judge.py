"""A Python function as a judge, in a worker process of its own, as functions of rewards are.

It is called `function(prompts=..., first=..., second=...)`, with those keywords that it takes:

    prompts    texts; a longer conversation as turns
    first      the answers shown first, texts; second the others
    rubric     the guidelines and the question, one text for all
    criteria   names of the rubric's criteria
    samples    number of the answer to the same question, for each

and returns a list with an answer for each: a letter (A the first, B the second, T a tie, X both bad), the probability
that the first is better, or a mapping with `overall` (either of these) and perhaps `strength` and `criteria`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from alignment.judges.chat import JudgeError, storable
from alignment.judges.parsing import read_values
from alignment.judges.questions import JudgeAnswer, JudgeQuestion, JudgeRubric, undo_position
from alignment.judges.spec import JudgeSpec
from alignment.rewards.functions import LOADING_S, Worker, WorkerEndedError
from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.records import Message

logger = logging.getLogger(__name__)
AT_ONCE = 64


class FunctionJudge:
    """See the module.

    Raises:
        JudgeError: if the function cannot be loaded, or takes what there is not.
    """

    def __init__(self, spec: JudgeSpec, rubric: JudgeRubric) -> None:
        self.spec, self.rubric = spec, rubric
        self._worker = self._started()

    def conversations(self, question: JudgeQuestion) -> list[tuple[Message, ...]]:
        """See `alignment.judges.judging.Judge`."""
        return []

    def ask(self, questions: Iterable[JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """See `alignment.judges.judging.Judge`."""
        waiting = ((question, sample) for question in questions for sample in question.samples)
        while batch := list(islice(waiting, AT_ONCE)):
            started_at = time.monotonic()
            values = self._values(batch)
            seconds = round((time.monotonic() - started_at) / len(batch), 4)
            for (question, sample), value in zip(batch, values, strict=True):
                verdict_values = value if isinstance(value, dict) else {"overall": value}
                raw = storable(json.dumps(value, ensure_ascii=False))
                usage = {"tries": 1, "seconds": seconds}
                yield undo_position(question, sample, read_values(verdict_values, self.rubric), raw=raw, usage=usage)

    def close(self) -> None:
        """Ends the worker."""
        self._worker.end()

    def _started(self) -> Worker:
        try:
            worker = Worker(self.spec.target, None, returns="json")
        except TimeoutError as error:
            raise JudgeError(f"{self.spec.target} is not loaded after {LOADING_S:g} s") from error
        except WorkerEndedError as error:
            raise JudgeError(f"the worker {error} while {self.spec.target} was loaded") from error
        if worker.ready[0] == "problem":
            worker.end()
            raise JudgeError(f"{self.spec.target} cannot be loaded: {worker.ready[2]}")
        return worker

    def _values(self, batch: Sequence[tuple[JudgeQuestion, int]]) -> list[Any]:
        """What the function returns; a worker that ends by itself is started once more."""
        _, names, needed, place = self._worker.ready
        available: dict[str, Any] = {
            "prompts": [plain_prompt(question.comparison.prompt) for question, _ in batch],
            "first": [question.first for question, _ in batch],
            "second": [question.second for question, _ in batch],
            "rubric": f"{self.rubric.guidelines.strip()}\n\n{self.rubric.question}",
            "criteria": [one.name for one in self.rubric.criteria] if self.spec.criteria else [],
            "samples": [sample for _, sample in batch],
        }
        about = f"{self.spec.target} ({place})"
        if missing := [name for name in needed if name not in available]:
            raise JudgeError(f"{about} takes {', '.join(missing)}, there are {', '.join(available)}")
        keywords = {name: value for name, value in available.items() if names is None or name in names}
        for is_last in (False, True):
            try:
                answer = self._worker.exchange((len(batch), keywords), self.spec.timeout_s)
            except TimeoutError as error:
                raise JudgeError(f"{about} has not answered within {self.spec.timeout_s:g} s") from error
            except WorkerEndedError as error:
                if is_last:
                    raise JudgeError(f"{about}: the worker {error}, and again after it was started anew") from error
                logger.warning("%s: the worker %s and is started again", about, error)
                self._worker = self._started()
                continue
            if answer[0] == "problem":
                where = "" if answer[1] is None else f" at comparison {batch[answer[1]][0].comparison.id}"
                raise JudgeError(f"{about}{where}: {' '.join(str(answer[2]).split())}")
            return answer[1]
        raise AssertionError
