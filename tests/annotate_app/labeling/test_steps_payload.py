"""Steps between the store and the browser: as one acknowledged judgment, checked, undone, divided anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotate_app.access import AccessError, Actor
from annotate_app.labeling.desk import Desk
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, parse_rubric, rubric_text
from annotate_app.protocol.rubric_preview import answer_rows
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

ADMIN = Actor.command_line()
STEPPED = Rubric(title="T", guidelines="G", question="Is each step right?", task="steps")
STEPS = ("2 + 3 = 5", "5 * 2 = 11", "11 - 1 = 10")


def stepped(key: str, steps: tuple[str, ...] = STEPS, scores: tuple[float | None, ...] = ()) -> Comparison:
    """An answer in steps, which stands as both completions."""
    text = "\n".join(steps)
    return Comparison(
        id=key,
        prompt=(Message(role="user", content=f"Question {key}"),),
        completion_a=text,
        completion_b=text,
        source_a="secret",
        source_b="secret",
        steps=steps,
        step_scores=scores,
    )


@pytest.fixture
def desk(store: Store, make_actor: Callable[..., Actor]) -> Desk:
    """An annotator at a project with three answers in steps, the first of them scored by a model."""
    project = store.projects.create(ADMIN, "steps", rubric_text=rubric_text(STEPPED), design=Design(overlap=1))
    scored = stepped("c0", scores=(0.9, 0.2, None))
    store.comparisons.add(ADMIN, project.id, [scored, stepped("c1"), stepped("c2")])
    return Desk.open(store, make_actor(store, "annotator", "anna", project), project.id)


def submit(desk: Desk, number: int, **answer: object) -> dict[str, object]:
    token = desk.leases[0].token
    return {"kind": "submit", "event_id": f"event-{number:06d}", "token": token, "seconds": 8.0, "answer": answer}


def test_steps_go_out_and_their_labels_come_back_as_one_judgment_that_can_be_undone(store: Store, desk: Desk) -> None:
    data = desk.data(None)
    pairs = {lease.comparison.id: data["pairs"][lease.token] for lease in desk.leases}  # type: ignore[index]
    assert pairs["c0"]["kind"] == "steps"
    assert [step["raw"] for step in pairs["c0"]["steps"]] == list(STEPS)
    assert (pairs["c0"]["scores"], pairs["c1"]["scores"]) == ([0.9, 0.2, None], [])
    assert "secret" not in str(data["pairs"])
    event = submit(desk, 1, labels=[1, 0, None], rationale="5 * 2 is 10")
    desk.receive(store, {"events": [event, event]})
    assert [ack.status for ack in desk.acks] == ["saved", "repeated"]
    [judgment] = store.judgments.iterate(ADMIN, desk.project_id)
    assert judgment.step_labels == (1.0, 0.0, None)
    assert (judgment.choice, judgment.strength, judgment.rationale) == ("b", 1, "5 * 2 is 10")
    desk.receive(store, {"events": [{"kind": "history", "event_id": "event-000009"}]})
    assert desk.history is not None
    assert desk.history[0]["choice"] == "First wrong step 2 of 3"
    desk.receive(store, {"events": [{"kind": "undo", "event_id": "event-000010"}]})
    [given] = desk.data(None)["given"].values()  # type: ignore[union-attr]
    assert given["labels"] == [1.0, 0.0, None]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"labels": [1, 1]}, "labels has 2 entries, allowed are 3"),
        ({"labels": [None] * 3}, "all null"),
        ({"labels": [1, 0.7, 0]}, "labels holds '0.7', allowed are 1, 0.5, 0 and null"),
        ({"labels": [1, True, 0]}, "labels holds 'True'"),
        ({"labels": [1, None, 0]}, "label of step 2 is null, allowed is null only behind the first wrong step"),
        ({"labels": [1, 0.5, None]}, "label of step 3 is null"),
        ({"overall": -1}, "labels is 'None'"),
    ],
)
def test_what_is_no_label_of_each_step_is_refused_in_one_line(
    store: Store, desk: Desk, answer: dict, problem: str
) -> None:
    desk.receive(store, {"events": [submit(desk, 1, **answer)]})
    [ack] = desk.acks
    assert ack.status == "refused"
    assert problem in ack.message
    assert list(store.judgments.iterate(ADMIN, desk.project_id)) == []


def test_an_answer_is_divided_anew_until_somebody_judges_it_or_has_it_in_hand(store: Store, desk: Desk) -> None:
    project_id, in_hand = desk.project_id, [lease.comparison.id for lease in desk.leases]
    [free] = {"c0", "c1", "c2"} - set(in_hand)
    store.comparisons.divide(ADMIN, project_id, free, ["2 + 3 = 5, 5 * 2 = 11", "11 - 1 = 10"])
    assert store.comparisons.get(ADMIN, project_id, free).steps == ("2 + 3 = 5, 5 * 2 = 11", "11 - 1 = 10")
    assert store.comparisons.get(ADMIN, project_id, f"{free}#s2").completion_a == "11 - 1 = 10"
    with pytest.raises(ValueError, match="step 2 is empty"):
        store.comparisons.divide(ADMIN, project_id, free, ["one", " "])
    with pytest.raises(ValueError, match="somebody has the answer in hand"):
        store.comparisons.divide(ADMIN, project_id, in_hand[0], ["one"])
    desk.receive(store, {"events": [submit(desk, 1, labels=[1, 1, 1])]})
    with pytest.raises(ValueError, match="the answer has judgments"):
        store.comparisons.divide(ADMIN, project_id, in_hand[0], ["one"])
    with pytest.raises(AccessError):
        store.comparisons.divide(desk.actor, project_id, free, ["one"])


def test_a_project_holds_answers_in_steps_or_responses_to_compare(store: Store, desk: Desk) -> None:
    pair = Comparison(id="p", prompt=stepped("c").prompt, completion_a="one", completion_b="two")
    with pytest.raises(ValueError, match="the project's rubric judges steps"):
        store.comparisons.add(ADMIN, desk.project_id, [pair])
    with pytest.raises(ValueError, match="task is 'compare', but the project has answers in steps"):
        store.projects.save_rubric(ADMIN, desk.project_id, "title: T\nguidelines: G")
    other = store.projects.create(ADMIN, "pairs", rubric_text="title: T\nguidelines: G", design=Design(overlap=1))
    with pytest.raises(ValueError, match="set task: steps first"):
        store.comparisons.add(ADMIN, other.id, [stepped("c9")])
    store.comparisons.add(ADMIN, other.id, [pair])
    with pytest.raises(ValueError, match="task is 'steps', but the project has responses to compare"):
        store.projects.save_rubric(ADMIN, other.id, rubric_text(STEPPED))


def test_a_rubric_of_steps_is_read_written_shown_and_refused_at_its_line() -> None:
    assert parse_rubric(rubric_text(STEPPED)) == STEPPED
    assert parse_rubric("title: T\nguidelines: G\ntask: steps").question == "Is each step right?"
    assert [key for key, _ in answer_rows(STEPPED)[0].answers] == ["1", "2", "3", "F", "A"]
    for text, problem in (
        ("scale: {steps: 7}", "4: scale has no meaning with task: steps"),
        ("flags: [unsafe]", "4: flags has no meaning with task: steps"),
        ("both_bad: true", "4: both_bad has no meaning with task: steps"),
    ):
        with pytest.raises(ValueError, match=problem):
            parse_rubric(f"title: T\nguidelines: G\ntask: steps\n{text}")
