from dataclasses import replace

import pytest

from annotate_app.protocol.leases import MAX_RATIONALE, Submission, check_submission, feedback_text
from annotate_app.protocol.rubric import Criterion, Flag, Rubric, Scale
from rewardkit.data.records import Judgment

RUBRIC = Rubric(
    title="Help",
    guidelines="Read both.",
    scale=Scale(steps=8, tie=False),
    both_bad=True,
    criteria=(
        Criterion(name="truth", question="Which is truer?", scale=Scale(steps=5)),
        Criterion(name="tone", question="How polite?", kind="rate", low=1, high=4, required=False),
    ),
    flags=(Flag(name="unsafe", label="Unsafe"),),
    rationale="optional",
)
GOOD = Judgment(comparison_id="c1", annotator="anna", choice="b", strength=4, criteria={"truth": -2, "tone": (1, 4)})
SKIP = Judgment(comparison_id="c1", annotator="anna", choice="skip", reason="other")


def check(judgment: Judgment, rubric: Rubric, event_id: str = "e1") -> None:
    check_submission(Submission(token="1-x", event_id=event_id, judgment=judgment), rubric)


def test_a_good_submission_passes():
    check(GOOD, RUBRIC)
    check(replace(GOOD, flags={"a": ("unsafe",)}, rationale="because", seconds=12.5), RUBRIC)
    check(replace(GOOD, choice="both_bad", strength=0), RUBRIC)
    check(SKIP, RUBRIC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"choice": "left"}, "choice is 'left', allowed are a, b, tie, both_bad, skip"),
        ({"strength": 5}, "strength is 5 with choice 'b', allowed is 1 to 4"),
        ({"strength": 0}, "strength is 0 with choice 'b'"),
        ({"strength": True}, "strength is True"),
        ({"strength": 2.0}, "strength is 2.0"),
        ({"choice": "tie"}, "strength is 4 with choice 'tie'"),
        ({"choice": "tie", "strength": 0}, "choice is 'tie', this rubric takes no ties"),
        ({"criteria": {}}, "criteria.truth is missing"),
        ({"criteria": {"truth": 3}}, "criteria.truth is 3, allowed is 0 to 2"),
        ({"criteria": {"truth": (1, 2)}}, r"criteria.truth is \(1, 2\)"),
        ({"criteria": {"truth": 1, "tone": 2}}, "criteria.tone is 2, allowed are two ratings"),
        ({"criteria": {"truth": 1, "tone": (0, 2)}}, r"criteria.tone is \(0, 2\), .* from 1 to 4"),
        ({"criteria": {"truth": 1, "style": 2}}, "criteria.style is not in the rubric, allowed are truth, tone"),
        ({"flags": {"left": ("unsafe",)}}, "flags.left names no response"),
        ({"flags": {"a": ("rude",)}}, "flags.a holds 'rude', allowed are unsafe"),
        ({"rationale": "x" * (MAX_RATIONALE + 1)}, "rationale has 20001 characters"),
        ({"rationale": "a\x00b"}, "rationale holds a character that cannot be stored"),
        ({"rationale": "\ud800"}, "rationale holds a character that cannot be stored"),
        ({"reason": "other"}, "reason is 'other' with choice 'b', allowed only for a skip"),
        ({"choice": "skip", "strength": 0}, "reason is empty"),
        ({"seconds": float("nan")}, "seconds is nan"),
        ({"seconds": -1.0}, "seconds is -1.0"),
    ],
)
def test_a_mistake_is_named_by_its_field(change, message):
    with pytest.raises(ValueError, match=message):
        check(replace(GOOD, **change), RUBRIC)


@pytest.mark.parametrize(("event_id", "length"), [("", 0), ("x" * 65, 65)])
def test_an_event_has_a_name_of_bounded_length(event_id, length):
    with pytest.raises(ValueError, match=f"event_id has {length} characters, allowed are 1 to 64"):
        check(GOOD, RUBRIC, event_id)


def test_ties_come_with_odd_scales_or_where_they_are_on():
    tie = replace(GOOD, choice="tie", strength=0)
    check(tie, replace(RUBRIC, scale=Scale(steps=8, tie=True)))
    check(tie, replace(RUBRIC, scale=Scale(steps=7, tie=False)))


def test_both_bad_only_where_it_is_on():
    with pytest.raises(ValueError, match="choice is 'both_bad', this rubric does not take it"):
        check(replace(GOOD, choice="both_bad", strength=0), replace(RUBRIC, both_bad=False))


def test_a_compared_criterion_without_ties_takes_no_zero():
    strict = replace(RUBRIC, criteria=(Criterion(name="truth", question="?", scale=Scale(steps=4, tie=False)),))
    with pytest.raises(ValueError, match=r"criteria\.truth is 0, allowed is 1 to 2"):
        check(replace(GOOD, criteria={"truth": 0}), strict)


def test_a_rationale_is_refused_when_off_and_asked_for_when_required():
    with pytest.raises(ValueError, match="rationale is given"):
        check(replace(GOOD, rationale="because"), replace(RUBRIC, rationale="off"))
    with pytest.raises(ValueError, match="rationale is empty"):
        check(replace(GOOD, rationale="  "), replace(RUBRIC, rationale="required"))
    check(SKIP, replace(RUBRIC, rationale="required"))


def test_feedback_speaks_of_the_screen():
    gold = {"choice": "b", "explanation": "It cites the policy."}
    assert feedback_text("b", gold, "a") == "Right: the right response is better. It cites the policy."
    assert feedback_text("b", gold, "b") == "Right: the left response is better. It cites the policy."
    wrong = feedback_text("tie", {"choice": "a"}, "a")
    assert wrong == "This was a check, and the expected answer is another one: the left response is better."
    assert feedback_text("b", gold, "a", "de") == "Richtig: die rechte Antwort ist besser. It cites the policy."
    assert feedback_text("tie", {"choice": "tie"}, "a") == "Right: both are equally good."
    assert feedback_text("a", {"choice": "both_bad"}, "a").endswith("both are bad.")
