"""The types between an annotator and the store: leases, submissions and receipts.

Content space throughout: the page turns left and right into a and b by a lease's `shown_left`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from annotate_app.protocol.assignment import Side
from annotate_app.protocol.rubric import Criterion, Rubric, Scale
from annotate_app.words import FALLBACK, say
from rewardkit.data.records import (
    LETTERS,
    Comparison,
    Judgment,
    check_ranks,
    check_step_labels,
    choice_of_steps,
    dense,
    first_choice,
)
from rewardkit.data.stepwise.stepped_answer import first_error

MAX_RATIONALE = 20_000
MAX_REASON = 200
MAX_SPANS = 500
MAX_EDITED = 200_000


class LeaseError(ValueError):
    """Raised where a pair is not, or no longer, the annotator's to answer; the message is meant for them.

    Attributes:
        key: of the message among the interface's texts, without its section `lease`.
    """

    def __init__(self, key: str) -> None:
        self.key = key
        super().__init__(self.in_language(FALLBACK))

    def in_language(self, language: str) -> str:
        """The message in a language."""
        return say(language, f"lease.{self.key}")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A pair in somebody's hands.

    Attributes:
        token: names the lease in `submit`; a new one each time a pair is handed out.
        comparison: without sources and meta, which annotators never see.
        shown_left: which completion stands on the left.
        leased_until: unix seconds after which a silent annotator's pair may go to someone else.
        previous: the own answer that was undone or is being edited, None for a new pair.
        questions: what annotators asked about the comparison and a lead answered, as (question, answer).
    """

    token: str
    comparison: Comparison
    shown_left: Side
    leased_until: float
    previous: Judgment | None = None
    questions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Submission:
    """An answer to a lease.

    Attributes:
        token: of the lease.
        event_id: made by the browser, at most 64 characters; the same one sent again counts once.
        judgment: what was answered. The store knows by the token who judged what and which side stood left, sets the
            time and the rubric's version itself, and believes the judgment about none of these.
        language: in which the annotator is told of a gold item.
    """

    token: str
    event_id: str
    judgment: Judgment
    language: str = FALLBACK


@dataclass(frozen=True, kw_only=True)
class OwnProgress:
    """How far an annotator is.

    Attributes:
        done: own judgments that stand, checks included, skips not; in a qualification round its items answered.
        target: judgments expected of them; in a qualification round the number of its items.
        state: qualifying, active, paused, failed or completed; only the first two are given pairs.
        remaining_available: whether there is a pair for them now.
    """

    done: int
    target: int
    state: str
    remaining_available: bool


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Says that a judgment is on disk.

    Attributes:
        duplicate: it was there before, under the same event id.
        feedback: what to tell the annotator about a gold item, None for everything else.
        leases: the pairs now in their hands, oldest first.
    """

    accepted: bool
    duplicate: bool
    feedback: str | None
    leases: list[Lease]
    progress: OwnProgress


@dataclass(frozen=True, kw_only=True)
class OwnJudgment:
    """An own earlier judgment; the comparison is without sources and meta.

    Attributes:
        shown_left: what stood left, empty for an imported judgment.
        can_edit: whether `reopen` takes it: not where a check's answer was shown, nor what was imported.
    """

    judgment_id: int
    comparison: Comparison
    judgment: Judgment
    shown_left: Literal["a", "b", ""]
    can_edit: bool


def check_submission(submission: Submission, rubric: Rubric, num_responses: int = 2, num_steps: int = 0) -> None:
    """Checks that an answer is one the rubric asks for.

    Args:
        submission: the answer.
        rubric: what was asked.
        num_responses: of the comparison.
        num_steps: of its answer, where steps are judged.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    judgment = submission.judgment
    if not 0 < len(submission.event_id) <= 64:
        raise ValueError(f"event_id has {len(submission.event_id)} characters, allowed are 1 to 64")
    if not (math.isfinite(judgment.seconds) and judgment.seconds >= 0):
        raise ValueError(f"seconds is {judgment.seconds}, allowed is 0 or more")
    match rubric.task:
        case "compare":
            _check_choice(judgment, rubric)
        case "rank" | "best":
            _check_ranking(judgment, rubric, num_responses)
        case "steps":
            _check_steps(judgment, num_steps)
    if judgment.step_labels and rubric.task != "steps":
        raise ValueError("labels of steps are given, this rubric asks for none (task: steps asks for them)")
    _check_criteria(judgment, rubric)
    _check_flags(judgment, rubric, num_responses if rubric.task != "compare" else 2)
    _check_spans(judgment, rubric)
    _check_edited(judgment, rubric)
    _check_words(judgment, rubric)


def check_against_texts(judgment: Judgment, comparison: Comparison) -> None:
    """Checks that spans lie within the responses they mark, that an edit changes a response of one text, and that there
    is a label for each step.

    Raises:
        ValueError: naming the span, edit or label and what is allowed.
    """
    if judgment.step_labels:
        check_step_labels(judgment.step_labels, len(comparison.steps))
    texts = {"a": comparison.completion_a, "b": comparison.completion_b}
    for span in judgment.spans:
        if span.end > len(texts[span.side]):
            allowed = f"response {span.side} has {len(texts[span.side])} characters"
            raise ValueError(f"span {span.start} to {span.end} of {span.flag!r} ends behind its text, {allowed}")
    for side, text in judgment.edited.items():
        if comparison.turns_a if side == "a" else comparison.turns_b:
            raise ValueError(f"edited.{side} is given of a response that is more than a text, which cannot be edited")
        if text == texts[side]:
            raise ValueError(f"edited.{side} is the response as it was, allowed is another text")


def feedback_text(
    choice: str,
    gold: Mapping[str, object],
    left: Side,
    language: str = FALLBACK,
    shown: Sequence[int] = (),
    steps: bool = False,
) -> str:
    """What an annotator is told after a gold item, in terms of what stood where.

    Args:
        shown: of a ranking, the order of its responses on the screen: the answer is then told by their letters.
        steps: whether steps were judged: the known answer is then whether one of them is wrong.
    """
    expected = gold["choice"]
    values: dict[str, str] = {}
    match expected:
        case "a" | "b" | "tie" if steps:
            wanted = {"a": "steps_right", "b": "steps_wrong", "tie": "steps_neutral"}[str(expected)]
        case "a" | "b" if shown:
            a, b = (LETTERS[list(shown).index(place)].upper() for place in (0, 1))
            wanted, values = "ranked", {"name": a if expected == "a" else b, "other": b if expected == "a" else a}
        case "a" | "b":
            wanted = "left" if expected == left else "right_side"
        case "tie" | "both_bad":
            wanted = expected
        case _:
            raise ValueError(f"gold choice is {expected!r}, allowed are a, b, tie, both_bad")
    told = say(
        language, "gold.right" if choice == expected else "gold.wrong", wanted=say(language, f"gold.{wanted}", **values)
    )
    explanation = str(gold.get("explanation") or "").strip()
    return f"{told} {explanation}".rstrip()


def _check_choice(judgment: Judgment, rubric: Rubric) -> None:
    """Checks what `Judgment` itself cannot know: the scale's degrees, ties, both_bad."""
    choice, strength, scale = judgment.choice, judgment.strength, rubric.scale
    if judgment.ranks:
        raise ValueError("ranks are given, this rubric asks for none (task: rank asks for them)")
    if not _is_whole(strength) or strength > scale.degrees:
        raise ValueError(f"strength is {strength!r} with choice {choice!r}, allowed is 1 to {scale.degrees}")
    if choice == "tie" and not _allows_tie(scale):
        raise ValueError("choice is 'tie', this rubric takes no ties")
    if choice == "both_bad" and not rubric.both_bad:
        raise ValueError("choice is 'both_bad', this rubric does not take it")


def _check_ranking(judgment: Judgment, rubric: Rubric, num_responses: int) -> None:
    if judgment.choice in ("skip", "both_bad"):
        if judgment.ranks:
            raise ValueError(f"ranks are given with choice {judgment.choice!r}, allowed are none")
        if judgment.choice == "both_bad" and not rubric.both_bad:
            raise ValueError("choice is 'both_bad', this rubric does not take it")
        return
    check_ranks(judgment.ranks, num_responses)
    if judgment.ranks != dense(judgment.ranks):
        raise ValueError(f"ranks are {list(judgment.ranks)}, allowed are 1, 2, 3 ... without gaps")
    if (judgment.choice, judgment.strength) != first_choice(judgment.ranks):
        raise ValueError(f"choice is {judgment.choice!r}, which is not what the ranks {list(judgment.ranks)} say")
    if rubric.task == "best" and sum(rank is not None for rank in judgment.ranks) != 1:
        raise ValueError(f"ranks are {list(judgment.ranks)}, allowed is one best response, the others null")


def _check_steps(judgment: Judgment, num_steps: int) -> None:
    """Checks the labels that a person gives: right, neutral or wrong, of each step up to the first wrong one."""
    labels = judgment.step_labels
    if judgment.choice == "skip":
        if labels:
            raise ValueError("labels of steps are given with a skip, allowed are none")
        return
    check_step_labels(labels, num_steps)
    if other := next((label for label in labels if label not in (None, 0.0, 0.5, 1.0)), None):
        raise ValueError(f"labels holds {other!r}, allowed are 1 (right), 0.5 (neutral), 0 (wrong) and null")
    if first_error(labels) is None:
        allowed = "allowed is null only behind the first wrong step"
        raise ValueError(f"label of step {labels.index(None) + 1} is null, {allowed}")
    if (judgment.choice, judgment.strength) != choice_of_steps(labels):
        raise ValueError(f"choice is {judgment.choice!r}, which is not what the labels {list(labels)} say")


def _check_criteria(judgment: Judgment, rubric: Rubric) -> None:
    criteria_by_name = {criterion.name: criterion for criterion in rubric.criteria}
    for name, value in judgment.criteria.items():
        if name not in criteria_by_name:
            allowed = ", ".join(criteria_by_name) or "none"
            raise ValueError(f"criteria.{name} is not in the rubric, allowed are {allowed}")
        _check_criterion(criteria_by_name[name], value)
    if judgment.choice == "skip":
        return
    for criterion in rubric.criteria:
        if criterion.required and criterion.name not in judgment.criteria:
            raise ValueError(f"criteria.{criterion.name} is missing, the rubric requires it")


def _check_criterion(criterion: Criterion, value: object) -> None:
    field = f"criteria.{criterion.name}"
    match criterion.kind:
        case "compare":
            degrees = criterion.scale.degrees
            least = 0 if _allows_tie(criterion.scale) else 1
            if not (isinstance(value, int) and _is_whole(value) and least <= abs(value) <= degrees):
                raise ValueError(f"{field} is {value!r}, allowed is {least} to {degrees}, negative where a is better")
        case "rate":
            allowed = f"two ratings (a, b) from {criterion.low} to {criterion.high}"
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise ValueError(f"{field} is {value!r}, allowed are {allowed}")
            for rating in value:
                if not _is_whole(rating) or not criterion.low <= rating <= criterion.high:
                    raise ValueError(f"{field} is {value!r}, allowed are {allowed}")


def _check_flags(judgment: Judgment, rubric: Rubric, num_responses: int) -> None:
    allowed = [flag.name for flag in rubric.flags]
    for side, names in judgment.flags.items():
        if side not in tuple(LETTERS[:num_responses]):
            raise ValueError(f"flags.{side} names no response, allowed are {', '.join(LETTERS[:num_responses])}")
        for name in names:
            if name not in allowed:
                raise ValueError(f"flags.{side} holds {name!r}, allowed are {', '.join(allowed) or 'none'}")


def _check_spans(judgment: Judgment, rubric: Rubric) -> None:
    allowed = [flag.name for flag in rubric.span_flags]
    if len(judgment.spans) > MAX_SPANS:
        raise ValueError(f"spans are {len(judgment.spans)}, allowed are {MAX_SPANS}")
    for span in judgment.spans:
        if span.flag not in allowed:
            raise ValueError(f"spans hold the flag {span.flag!r}, allowed are {', '.join(allowed) or 'none'}")
        if span.flag not in judgment.flags.get(span.side, ()):
            raise ValueError(f"flags.{span.side} lacks {span.flag!r}, which words of it are marked with")


def _check_edited(judgment: Judgment, rubric: Rubric) -> None:
    if judgment.edited and rubric.edit == "off":
        raise ValueError("edited is given, this rubric asks for no edited response")
    for side, text in judgment.edited.items():
        if not text.strip():
            raise ValueError(f"edited.{side} is empty, allowed is a text, or no edit")
        if len(text) > MAX_EDITED:
            raise ValueError(f"edited.{side} has {len(text)} characters, allowed are {MAX_EDITED}")
        _refuse_unstorable(f"edited.{side}", text)


def _refuse_unstorable(field: str, text: str) -> None:
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"{field} holds a character that cannot be stored (NUL or half a surrogate pair)")


def _check_words(judgment: Judgment, rubric: Rubric) -> None:
    for field, text, limit in (
        ("rationale", judgment.rationale, MAX_RATIONALE),
        ("reason", judgment.reason, MAX_REASON),
    ):
        if len(text) > limit:
            raise ValueError(f"{field} has {len(text)} characters, allowed are {limit}")
        _refuse_unstorable(field, text)
    if judgment.choice == "skip":
        if rubric.skip_reasons and not judgment.reason.strip():
            raise ValueError(f"reason is empty, for example: {', '.join(rubric.skip_reasons)}")
        return
    if judgment.reason:
        raise ValueError(f"reason is {judgment.reason!r} with choice {judgment.choice!r}, allowed only for a skip")
    match rubric.rationale:
        case "off":
            if judgment.rationale:
                raise ValueError("rationale is given, this rubric asks for none")
        case "required":
            if not judgment.rationale.strip():
                raise ValueError("rationale is empty, this rubric requires one")
        case "optional":
            pass


def _allows_tie(scale: Scale) -> bool:
    return scale.tie or scale.steps % 2 == 1


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
