"""The server's side of a labeling session, on a real store: what a browser's events do, and what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from annotate_app.access import Actor
from annotate_app.labeling.desk import Desk
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.work import submitting

ADMIN = Actor.command_line()


@pytest.fixture
def desk(store: Store, project: Project, annotator: Actor) -> Desk:
    """anna at the project's desk."""
    return Desk.open(store, annotator, project.id)


def event(kind: str, number: int, **fields: object) -> dict[str, object]:
    return {"kind": kind, "event_id": f"event-{number:06d}", **fields}


def submit(desk: Desk, number: int, overall: object = -2, token: str | None = None) -> dict[str, object]:
    token = desk.leases[0].token if token is None else token
    return event("submit", number, token=token, answer={"overall": overall}, seconds=3.5)


def statuses(desk: Desk) -> list[str]:
    return [ack.status for ack in desk.acks]


def test_a_judgment_is_stored_in_content_space_and_the_next_pair_is_in_hand(
    store: Store, project: Project, desk: Desk
) -> None:
    first, second = desk.leases
    desk.receive(store, {"events": [submit(desk, 1)]})
    assert statuses(desk) == ["saved"]
    [judgment] = store.judgments.iterate(ADMIN, project.id)
    assert (judgment.choice, judgment.strength) == (first.shown_left, 2)  # left was better
    assert (judgment.seconds, judgment.shown_left) == (3.5, first.shown_left)
    assert desk.leases[0].token == second.token
    assert len(desk.leases) == 2
    assert desk.progress.done == 1


def test_an_event_that_comes_again_counts_once_also_after_a_restart(store: Store, project: Project, desk: Desk) -> None:
    sent = submit(desk, 1)
    desk.receive(store, {"events": [sent]})
    desk.receive(store, {"events": [sent]})
    assert statuses(desk) == ["repeated"]
    restarted = Desk.open(store, desk.actor, project.id)
    restarted.receive(store, {"events": [sent]})
    assert statuses(restarted) == ["repeated"]
    assert len(list(store.judgments.iterate(ADMIN, project.id))) == 1


def test_an_event_of_an_earlier_session_is_turned_by_the_side_that_was_shown(
    store: Store, project: Project, desk: Desk
) -> None:
    lease = desk.leases[1]
    restarted = Desk.open(store, desk.actor, project.id)
    restarted.leases = []  # as if this session had never handed it out
    restarted.receive(store, {"events": [submit(desk, 1, overall=3, token=lease.token)]})
    [judgment] = store.judgments.iterate(ADMIN, project.id)
    assert judgment.choice != lease.shown_left
    assert judgment.shown_left == lease.shown_left


def test_somebody_elses_pair_is_refused(
    store: Store, project: Project, desk: Desk, make_actor: Callable[..., Actor]
) -> None:
    other = Desk.open(store, make_actor(store, "annotator", "ben", project), project.id)
    desk.receive(store, {"events": [submit(desk, 1, token=other.leases[0].token)]})
    assert statuses(desk) == ["refused"]
    assert "no longer yours" in desk.acks[0].message
    assert list(store.judgments.iterate(ADMIN, project.id)) == []


@pytest.mark.parametrize(
    "message",
    [
        None,
        "x",
        [],
        {"events": None},
        {"events": [None, 5, {}, {"event_id": "short"}, {"event_id": "x" * 65, "kind": "submit"}]},
        {"events": [{"event_id": "../../etc/passwd"}], "known": {"pairs": 3, "rubric": []}},
        {"events": {}, "known": []},
    ],
)
def test_messages_of_no_page_of_ours_do_nothing(store: Store, desk: Desk, message: object) -> None:
    desk.receive(store, message)
    assert desk.acks == []
    assert desk.data(message)["queue"] == [lease.token for lease in desk.leases]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "delete"},
        {"kind": "submit"},
        {"kind": "submit", "token": 5},
        {"kind": "submit", "token": "x" * 100},
        {"kind": "reopen", "judgment_id": "1"},
        {"kind": "reopen", "judgment_id": True},
        {"kind": "reopen", "judgment_id": 12345},
        {"kind": ["submit"]},
    ],
)
def test_events_that_make_no_sense_are_refused(store: Store, desk: Desk, fields: dict[str, object]) -> None:
    desk.receive(store, {"events": [{"event_id": "event-000001", **fields}]})
    assert statuses(desk) == ["refused"]
    assert desk.acks[0].message


@pytest.mark.parametrize(
    "answer", [{"overall": 4}, {"overall": "both_bad"}, {"overall": 1, "criteria": {"x": 1}}, None]
)
def test_what_the_rubric_does_not_allow_is_refused_and_not_stored(
    store: Store, project: Project, desk: Desk, answer: object
) -> None:
    sent = event("submit", 1, token=desk.leases[0].token, answer=answer, seconds=1)
    desk.receive(store, {"events": [sent]})
    assert statuses(desk) == ["refused"]
    assert list(store.judgments.iterate(ADMIN, project.id)) == []


def test_undo_brings_the_pair_back_first_with_its_answer_and_once(store: Store, project: Project, desk: Desk) -> None:
    token = desk.leases[0].token
    desk.receive(store, {"events": [submit(desk, 1, overall=-3)]})
    undo = event("undo", 2)
    desk.receive(store, {"events": [undo]})
    shown = desk.data(None)
    assert len(shown["queue"]) >= 2  # type: ignore[arg-type]
    first = shown["queue"][0]  # type: ignore[index]
    assert shown["given"][first]["overall"] == -3  # type: ignore[index]
    assert desk.progress.done == 0
    desk.receive(store, {"events": [undo]})
    assert desk.progress.done == 0
    assert desk.data(None)["queue"][0] == first  # type: ignore[index]
    desk.receive(store, {"events": [submit(desk, 3, overall=1, token=first)]})
    assert statuses(desk) == ["saved"]
    [judgment] = store.judgments.iterate(ADMIN, project.id)
    assert judgment.strength == 1
    assert token not in desk.data(None)["queue"]  # type: ignore[operator]


def test_nothing_to_undo_is_said(store: Store, desk: Desk) -> None:
    desk.receive(store, {"events": [event("undo", 1)]})
    assert desk.notice == "There is nothing to undo."


def test_an_edit_counts_when_it_is_submitted_and_not_before(store: Store, project: Project, desk: Desk) -> None:
    desk.receive(store, {"events": [submit(desk, 1, overall=-3)]})
    desk.receive(store, {"events": [event("history", 2)]})
    [own] = desk.history or []
    desk.receive(store, {"events": [event("reopen", 3, judgment_id=own["id"])]})
    edit = desk.data(None)["edit"]
    assert desk.data(None)["queue"][0] == edit  # type: ignore[index]
    assert [judgment.strength for judgment in store.judgments.iterate(ADMIN, project.id)] == [3]
    desk.receive(store, {"events": [event("cancel", 4)]})
    assert desk.data(None)["edit"] == ""
    desk.receive(store, {"events": [event("reopen", 5, judgment_id=own["id"])]})
    desk.receive(store, {"events": [submit(desk, 6, overall=2, token=str(desk.data(None)["edit"]))]})
    assert statuses(desk) == ["saved"]
    assert desk.data(None)["edit"] == ""
    assert [judgment.strength for judgment in store.judgments.iterate(ADMIN, project.id)] == [2]


def test_an_event_under_somebody_elses_id_is_refused_and_not_tried_for_ever(
    store: Store, project: Project, desk: Desk, make_actor: Callable[..., Actor]
) -> None:
    other = Desk.open(store, make_actor(store, "annotator", "ben", project), project.id)
    desk.receive(store, {"events": [submit(desk, 1)]})
    for kind in ("submit", "undo"):
        sent = submit(other, 1) if kind == "submit" else event("undo", 1)
        other.receive(store, {"events": [sent, submit(other, 2)]})
        assert statuses(other)[0] == "refused"
        assert other.acks[0].message
    assert [each.annotator for each in store.judgments.iterate(ADMIN, project.id)] == ["anna", "ben"]


@pytest.mark.parametrize("number", [10**30, 10**400, 2**63, -1, 0])
def test_numbers_that_nothing_takes_are_refused(store: Store, desk: Desk, number: int) -> None:
    answer = {"overall": 1, "criteria": {"tone": number}}
    events = [
        event("reopen", 1, judgment_id=number),
        submit(desk, 2, overall=number if number > 0 else 99),
        event("submit", 3, token=desk.leases[0].token, answer=answer, seconds=1),
    ]
    desk.receive(store, {"events": events})
    assert statuses(desk) == ["refused"] * 3
    desk.receive(store, {"events": [{**submit(desk, 4), "seconds": number}]})
    assert statuses(desk) == ["saved"]  # seconds are clipped


def test_what_people_wrote_is_in_no_log(
    store: Store, desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(connection: Connection, *_: object, **__: object) -> None:
        connection.execute(text("INSERT INTO nowhere VALUES (:words)"), {"words": "my secret words"})

    monkeypatch.setattr(submitting, "append", lose)
    desk.receive(store, {"events": [submit(desk, 1)]})
    assert statuses(desk) == ["failed"]
    (record,) = caplog.records
    assert record.getMessage().startswith("labeling event submit of anna failed: ")
    assert "nowhere" in record.getMessage()
    assert record.exc_info is None
    assert "secret" not in caplog.text
    with pytest.raises(DBAPIError) as caught, store.database.write() as connection:
        lose(connection)
    assert "secret" not in str(caught.value)


def test_a_store_that_fails_keeps_the_event_for_later_and_those_after_it(
    store: Store, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = [submit(desk, 1, token=desk.leases[0].token), submit(desk, 2, token=desk.leases[1].token)]

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(store.work, "submit", fail)
        desk.receive(store, {"events": sent})
    assert statuses(desk) == ["failed", "failed"]
    desk.receive(store, {"events": sent})
    assert statuses(desk) == ["saved", "saved"]


def test_the_browser_is_told_no_source_no_meta_and_no_comparison(store: Store, desk: Desk) -> None:
    told = json.dumps(desk.data({"known": {"words": "en"}}))
    assert "It is on its way" in told
    for secret in ("short model", "polite model", "row", *(f'"c{number}"' for number in range(5))):
        assert secret not in told
    pair = next(iter(desk.data(None)["pairs"].values()))  # type: ignore[union-attr]
    assert set(pair) == {"token", "messages", "left", "right"}


def test_gold_and_repeats_look_like_work(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    from annotate_app.store.projects.comparisons import Gold

    project = make_project(store, num_comparisons=8, design=Design(gold_rate=0.5))
    for key in ("c0", "c1", "c2"):
        store.comparisons.set_gold(ADMIN, project.id, key, Gold(choice="a"))
    desk = Desk.open(store, make_actor(store, "annotator", "anna", project), project.id)
    for number in range(6):
        told = desk.data({"known": {"words": "en"}})
        assert all(set(pair) == {"token", "messages", "left", "right"} for pair in told["pairs"].values())  # type: ignore[union-attr]
        assert "gold" not in json.dumps(told)
        desk.receive(store, {"events": [submit(desk, number)]})


def test_texts_that_the_browser_has_are_not_sent_again(desk: Desk) -> None:
    whole = desk.data(None)
    tokens = list(whole["pairs"])  # type: ignore[call-overload]
    known = {"known": {"pairs": tokens[:1], "rubric": whole["rubric"]["id"]}}  # type: ignore[index]
    lean = desk.data(known)
    assert list(lean["pairs"]) == tokens[1:]  # type: ignore[call-overload]
    assert lean["rubric"] == {"id": whole["rubric"]["id"]}  # type: ignore[index]
    assert lean["queue"] == whole["queue"]


def test_left_on_the_screen_is_what_the_lease_says(desk: Desk) -> None:
    for lease in desk.leases:
        left = desk.data(None)["pairs"][lease.token]["left"]["raw"]  # type: ignore[index]
        comparison = lease.comparison
        assert left == (comparison.completion_a if lease.shown_left == "a" else comparison.completion_b)


def test_leaving_shortens_leases_and_coming_back_keeps_the_pairs(store: Store, project: Project, desk: Desk) -> None:
    tokens = [lease.token for lease in desk.leases]
    assert store.work.leave(desk.actor, project.id) == 2
    again = Desk.open(store, desk.actor, project.id)
    assert [lease.token for lease in again.leases] == tokens
    [renewed] = {round(lease.leased_until) for lease in Desk.open(store, desk.actor, project.id).leases}
    assert renewed >= round(desk.leases[0].leased_until) - 1


def test_texts_come_once_and_what_the_desk_says_is_in_the_persons_language(
    store: Store, project: Project, annotator: Actor
) -> None:
    desk = Desk.open(store, annotator, project.id, "de")
    told = desk.data(None)["words"]
    assert isinstance(told, dict)
    assert told["language"] == "de"
    assert told["texts"]["form.submit"] == "Absenden"
    assert desk.data({"known": {"words": "de"}})["words"] == {"language": "de"}
    assert "texts" in desk.data({"known": {"words": "en"}})["words"]  # type: ignore[operator]
    desk.receive(store, {"events": [event("undo", 1)]})
    assert desk.notice == "Es gibt nichts zurückzunehmen."
    desk.receive(store, {"events": [submit(desk, 2, token="1-unknown")]})
    assert desk.acks[0].message.startswith("Dieses Paar gehört Ihnen nicht mehr")
    desk.receive(store, {"events": [submit(desk, 3), event("history", 4)]})
    assert desk.history is not None
    assert str(desk.history[0]["choice"]).startswith("Links ")
