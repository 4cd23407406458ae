"""Trying a rubric: answers are checked as at a real desk, and forgotten."""

from __future__ import annotations

import pytest

from annotate_app.access import Actor
from annotate_app.labeling.trial import NO_PROJECT, TrialDesk
from annotate_app.protocol.rubric import Criterion, Flag, Rubric, Scale, Task
from rewardkit.data.records import Comparison, Message, Response

RUBRIC = Rubric(title="t", guidelines="g", scale=Scale(steps=3), criteria=(Criterion(name="tone", question="Tone?"),))
PAIRS = [
    Comparison(
        id=f"c{number}",
        prompt=(Message(role="user", content="Hi"),),
        completion_a=f"a{number}",
        completion_b=f"b{number}",
        source_a="secret-model",
    )
    for number in range(2)
]


def open_trial(rubric: Rubric = RUBRIC, comparisons: list[Comparison] = PAIRS) -> TrialDesk:
    return TrialDesk.open(Actor.command_line(), rubric, comparisons)


def send(trial: TrialDesk, number: int, **event: object) -> dict[str, object]:
    trial.receive({"events": [{"event_id": f"event-{number:04}", **event}]})
    return trial.data(None)


def test_pairs_come_with_changing_sides_and_without_sources() -> None:
    data = open_trial().data(None)
    assert data["queue"] == ["trial-0", "trial-1"]
    assert data["project"] == NO_PROJECT
    assert TrialDesk.open(Actor.command_line(), RUBRIC, PAIRS, images_of=7).data(None)["images"] == 7
    pairs = data["pairs"]
    assert isinstance(pairs, dict)
    assert [pairs[token]["left"]["raw"] for token in ("trial-0", "trial-1")] == ["a0", "b1"]
    assert "secret-model" not in str(data)


def test_an_answer_is_checked_by_the_rubric_and_the_next_pair_comes() -> None:
    trial = open_trial()
    data = send(trial, 1, kind="submit", token="trial-0", answer={"overall": -1}, seconds=2.0)
    acks = data["acks"]
    assert isinstance(acks, list)
    assert (acks[0]["status"], data["queue"]) == ("refused", ["trial-0", "trial-1"])
    assert "tone" in acks[0]["message"]
    data = send(trial, 2, kind="submit", token="trial-0", answer={"overall": -1, "criteria": {"tone": 1}}, seconds=2.0)
    assert data["queue"] == ["trial-1"]
    assert data["progress"] == {"done": 1, "target": 2}
    assert "Nothing was" in str(data["notice"])


def test_undo_brings_the_pair_back_with_its_answer() -> None:
    trial = open_trial()
    send(trial, 1, kind="skip", token="trial-0", answer={"reason": "other"}, seconds=1.0)
    data = send(trial, 2, kind="undo")
    queue, given = data["queue"], data["given"]
    assert isinstance(queue, list)
    assert isinstance(given, dict)
    assert len(queue) == 2
    assert queue[0] in given
    assert data["progress"] == {"done": 0, "target": 2}
    data = send(trial, 3, kind="undo")
    assert data["notice"] == "There is nothing to undo."


def test_what_is_no_event_is_passed_over() -> None:
    trial = open_trial()
    for message in (None, 7, {"events": 3}, {"events": [None, {"event_id": 4}, {"event_id": "x"}]}):
        trial.receive(message)
    assert trial.data(None)["acks"] == []
    data = send(trial, 1, kind="submit", token="of-somebody-else", answer={"overall": -1}, seconds=1.0)
    assert data["queue"] == ["trial-0", "trial-1"]


THREE = Comparison(id="c3", prompt=(), completion_a="first", completion_b="second", further=(Response(text="third"),))


@pytest.mark.parametrize(
    ("task", "comparison", "refused", "taken"),
    [
        ("rank", PAIRS[0], [1, 3], [2, 1]),
        ("rank", THREE, [1, 2], [2, 1, 2]),
        ("best", PAIRS[0], [1, 2], [None, 1]),
        ("best", THREE, [1, None, 2], [None, 1, None]),
    ],
)
def test_a_ranking_is_tried_on_pairs_and_on_more(
    task: Task, comparison: Comparison, refused: list[int | None], taken: list[int | None]
) -> None:
    trial = TrialDesk.open(Actor.command_line(), Rubric(title="t", guidelines="g", task=task), [comparison])
    data = send(trial, 1, kind="submit", token="trial-0", answer={"ranks": refused}, seconds=1.0)
    assert data["queue"] == ["trial-0"]
    data = send(trial, 2, kind="submit", token="trial-0", answer={"ranks": taken}, seconds=1.0)
    assert data["queue"] == [], data["acks"]
    assert "B >" in str(data["notice"]) or "B, " in str(data["notice"])
    data = send(trial, 3, kind="undo")
    queue, given = data["queue"], data["given"]
    assert isinstance(queue, list)
    assert isinstance(given, dict)
    assert given[queue[0]]["ranks"] == taken


def test_marked_words_and_edits_are_held_against_the_texts() -> None:
    rubric = Rubric(title="t", guidelines="g", edit="optional", flags=(Flag(name="wrong", label="wrong", spans=True),))
    trial = TrialDesk.open(Actor.command_line(), rubric, PAIRS[:1])
    for number, answer in enumerate(
        ({"spans": {"left": [[0, 9, "wrong"]]}}, {"edited": {"left": "a0"}, "spans": {"left": [[0, 2, "wrong"]]}})
    ):
        data = send(trial, number, kind="submit", token="trial-0", answer={"overall": -1, **answer}, seconds=1.0)
        assert data["queue"] == ["trial-0"]
    answer = {"overall": -1, "spans": {"left": [[0, 2, "wrong"]]}, "edited": {"left": "a0, anew"}}
    data = send(trial, 3, kind="submit", token="trial-0", answer=answer, seconds=1.0)
    assert data["queue"] == [], data["acks"]


def test_two_are_compared_of_a_comparison_of_more() -> None:
    trial = TrialDesk.open(Actor.command_line(), Rubric(title="t", guidelines="g"), [PAIRS[0], THREE])
    data = trial.data(None)
    pairs = data["pairs"]
    assert isinstance(pairs, dict)
    assert pairs["trial-1"]["right"]["raw"] == "first"
    data = send(trial, 1, kind="submit", token="trial-1", answer={"overall": -1}, seconds=1.0)
    assert data["queue"] == ["trial-0"], data["acks"]
