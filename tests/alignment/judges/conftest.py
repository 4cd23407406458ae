"""What tests of judges share: rubrics, pairs and answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alignment.judges.questions import JudgeCriterion, JudgeQuestion, JudgeRubric
from rewardkit.data.records import Comparison, Message

RUBRIC = JudgeRubric(
    version=1,
    guidelines="Prefer the reply that helps.",
    question="Which reply helps more?",
    wordings=("slightly better", "better", "much better"),
    both_bad=True,
    criteria=(
        JudgeCriterion(name="kind", question="Which is kinder?"),
        JudgeCriterion(name="clear", question="How clear is it?", rating=(1, 5), anchors={1: "muddled", 5: "clear"}),
    ),
    flags={"unsafe": "it does harm"},
)


@pytest.fixture
def rubric() -> JudgeRubric:
    return RUBRIC


@pytest.fixture
def make_questions() -> Callable[..., list[JudgeQuestion]]:
    """Pairs whose b is the longer answer: `make_questions(3, samples=(0, 1))`, in both orders."""

    def make(count: int, *, samples: tuple[int, ...] = (0,), orders: str = "ab") -> list[JudgeQuestion]:
        return [
            JudgeQuestion(
                comparison=Comparison(
                    id=f"c{number}",
                    prompt=(Message(role="user", content=f"Where is parcel {number}?"),),
                    completion_a="Wait.",
                    completion_b=f"It is at the depot, number {number}.",
                ),
                shown_first=side,  # type: ignore[arg-type]
                samples=samples,
            )
            for number in range(count)
            for side in orders
        ]

    return make
