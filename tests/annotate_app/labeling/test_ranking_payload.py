"""Rankings between the store and the browser: shuffled out, turned back in, checked against the rubric."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from annotate_app.access import Actor
from annotate_app.labeling.desk import Desk
from annotate_app.protocol.assignment import shown_order
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import feedback_text
from annotate_app.protocol.rubric import Rubric, parse_rubric, rubric_text
from annotate_app.protocol.rubric_preview import answer_rows
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message, Response

ADMIN = Actor.command_line()
RANKED = Rubric(title="T", guidelines="G", task="rank", both_bad=True, flags=())
TEXTS = ("one", "two", "three", "four")


@pytest.fixture
def desk(store: Store, make_actor: Callable[..., Actor]) -> Desk:
    """An annotator at a project with three comparisons of four responses."""
    project = store.projects.create(ADMIN, "ranked", rubric_text=rubric_text(RANKED), design=Design(overlap=1))
    store.comparisons.add(
        ADMIN,
        project.id,
        [
            Comparison(
                id=f"c{number}",
                prompt=(Message(role="user", content=f"Question {number}"),),
                completion_a="one",
                completion_b="two",
                source_a="secret",
                further=(Response(text="three", source="secret"), Response(text="four", source="secret")),
            )
            for number in range(3)
        ],
    )
    actor = make_actor(store, "annotator", "anna", project)
    return Desk.open(store, actor, project.id)


def submit(desk: Desk, number: int, **answer: object) -> dict[str, object]:
    return {
        "kind": "submit",
        "event_id": f"event-{number:06d}",
        "token": desk.leases[0].token,
        "answer": answer,
        "seconds": 8.0,
    }


def test_responses_go_out_shuffled_and_ranks_come_back_in_their_places(store: Store, desk: Desk) -> None:
    data = desk.data(None)
    token = data["queue"][0]  # type: ignore[index]
    pair = data["pairs"][token]  # type: ignore[index]
    assert pair["kind"] == "rank"
    shown = [response["raw"] for response in pair["responses"]]
    assert sorted(shown) == sorted(TEXTS)
    assert "secret" not in str(data["pairs"])
    wanted = {"one": 2, "two": None, "three": 1, "four": 2}
    desk.receive(store, {"events": [submit(desk, 1, ranks=[wanted[text] for text in shown])]})
    assert [ack.status for ack in desk.acks] == ["saved"]
    [judgment] = store.judgments.iterate(ADMIN, desk.project_id)
    assert judgment.ranks == (2, None, 1, 2)
    assert (judgment.choice, judgment.strength) == ("a", 1)
    assert [TEXTS[place] for place in judgment.shown] == shown
    desk.receive(store, {"events": [{"kind": "history", "event_id": "event-000009"}]})
    assert desk.history is not None
    letters = {text: "ABCD"[at] for at, text in enumerate(shown)}
    said = str(desk.history[0]["choice"])
    assert said.startswith(letters["three"])
    assert said.endswith(f"{letters['two']} not ranked")
    desk.receive(store, {"events": [{"kind": "undo", "event_id": "event-000010"}]})
    [given] = desk.data(None)["given"].values()  # type: ignore[union-attr]
    assert given["ranks"] == [wanted[text] for text in shown]


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ({"ranks": [1, 2]}, "a list of 4"),
        ({"ranks": [None] * 4}, "all null"),
        ({"ranks": [1, 2, 3, 9]}, "ranks holds '9', allowed are 1 to 4 and null"),
        ({"ranks": [1, 2, 3, True]}, "ranks holds 'True'"),
        ({"ranks": [1, 2, 3, 4], "flags": {"7": ["x"]}}, "flags.7 names no response"),
        ({"ranks": [1, 2, 3, 4], "flags": {"1": ["x"]}}, "holds 'x'"),
        ({"overall": -1}, "ranks is 'None'"),
    ],
)
def test_what_is_no_ranking_is_refused_in_one_line(store: Store, desk: Desk, answer: dict, problem: str) -> None:
    desk.receive(store, {"events": [submit(desk, 1, **answer)]})
    [ack] = desk.acks
    assert ack.status == "refused"
    assert problem in ack.message
    assert list(store.judgments.iterate(ADMIN, desk.project_id)) == []


def test_all_bad_is_an_answer_and_has_no_ranks(store: Store, desk: Desk) -> None:
    desk.receive(store, {"events": [submit(desk, 1, overall="both_bad", ranks=[None] * 4)]})
    [judgment] = store.judgments.iterate(ADMIN, desk.project_id)
    assert (judgment.choice, judgment.ranks) == ("both_bad", ())


def test_the_order_on_the_screen_is_a_hash_and_a_repeat_turns_it_round() -> None:
    orders = [shown_order(f"c{number}", 7, "a", 4) for number in range(400)]
    assert len(set(orders)) == 12  # of 24: those with the first before the second
    assert all(order.index(0) < order.index(1) for order in orders)
    assert shown_order("c1", 7, "b", 4) == tuple(reversed(shown_order("c1", 7, "a", 4)))
    firsts = [shown_order(f"c{number}", 7, "ab"[number % 2], 4)[0] for number in range(2000)]  # type: ignore[arg-type]
    assert all(430 < firsts.count(place) < 570 for place in range(4))


def test_a_rubric_of_a_ranking_is_read_written_shown_and_refused_at_its_line() -> None:
    assert parse_rubric(rubric_text(RANKED)) == RANKED
    assert parse_rubric("title: T\nguidelines: G\ntask: best").question == "Which response is the best?"
    assert "scale" not in rubric_text(RANKED)
    assert [key for key, _ in answer_rows(RANKED)[0].answers] == ["1 2 3 …", "=", "⌫", "B"]
    for text, line, problem in (
        ("task: sort", 3, "compare, rank, best"),
        ("task: rank\nscale: {steps: 7}", 4, "scale has no meaning with task: rank, leave it out"),
        ("task: best\ncriteria: [{name: tone, question: Q}]", 4, "criteria has no meaning with task: best"),
    ):
        with pytest.raises(ValueError, match=problem) as caught:
            parse_rubric(f"title: T\nguidelines: G\n{text}", "r.yaml")
        assert str(caught.value).startswith(f"r.yaml:{line}")


def test_a_known_answer_is_told_by_the_letters_of_the_screen() -> None:
    gold = {"choice": "b", "explanation": "See above."}
    told = feedback_text("a", gold, "a", shown=(2, 1, 3, 0))
    assert told.endswith("response B is better than D. See above.")
    assert "Antwort B" in feedback_text("a", gold, "a", "de", shown=(2, 1, 3, 0))
