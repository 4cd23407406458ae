"""Webhooks through the worker's own messenger and a real receiver on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from sqlalchemy import update

from annotate_app.access import Actor
from annotate_app.client import ApiError
from annotate_app.jobs import webhook_sending
from annotate_app.jobs.webhook_sending import Messenger, UndeliveredError, refuse_address, send
from annotate_app.store.projects import webhook_deliveries
from annotate_app.store.schema.door_tables import webhook_delivery
from annotate_app.webhook_signature import sign, verify
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


@dataclass
class Receiver:
    """A server that writes down what it is sent, and answers as it is told."""

    url: str
    statuses: list[int] = field(default_factory=list)  # of the next answers; then 200
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    def events(self) -> list[tuple[str, Any]]:
        return [(body["event"], body["data"]) for body in (json.loads(raw) for _, raw in self.got)]

    def wait(self, num: int, seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while len(self.got) < num:
            assert time.monotonic() < deadline, f"{len(self.got)} of {num} arrived"
            time.sleep(0.02)


@contextmanager
def receiving(*statuses: int) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status = receiver.statuses.pop(0) if receiver.statuses else 200
            self.send_response(status)
            if status in (301, 302):
                self.send_header("location", receiver.url)
            self.send_header("content-length", "4")
            self.end_headers()
            self.wfile.write(b"no!\n")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(url=f"http://127.0.0.1:{server.server_port}/hook?a=b", statuses=list(statuses))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries again at once, and looks often."""
    monkeypatch.setattr(webhook_deliveries, "RETRY_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(webhook_sending, "POLL_S", 0.05)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("at_once")
def test_a_receiver_that_fails_twice_gets_a_signed_delivery_once_it_answers(served) -> None:
    hooks = served.client("ada").project("desk").webhooks
    with receiving(500, 302) as receiver:
        made = hooks.create(receiver.url, events=["judgment"], private=True)
        comparison = served.judge("anna", "b")
        with Messenger(served.store):
            receiver.wait(3)
            until(lambda: next(hooks.deliveries(made["webhook"]["id"]))["state"] == "sent")
        headers, body = receiver.got[-1]
        assert [raw for _, raw in receiver.got] == [body] * 3  # the redirect was not followed, the body is the same
        assert verify(made["secret"], headers["x-tiebreak-signature"], body)
        assert not verify("whsec_other", headers["x-tiebreak-signature"], body)
        assert not verify(made["secret"], headers["x-tiebreak-signature"], body + b" ")
        assert (headers["x-tiebreak-event"], headers["x-tiebreak-delivery"]) == ("judgment", "1")
        told = json.loads(body)
        assert (told["id"], told["project"]) == (1, {"id": served.project.id, "name": "desk"})
        (judgment,) = told["data"]["judgments"]
        assert (judgment["comparison_id"], judgment["choice"], judgment["strength"]) == (comparison, "b", 1)
    (delivery,) = hooks.deliveries(made["webhook"]["id"])
    assert (delivery["tries"], delivery["message"], delivery["event"]) == (3, "answered 200", "judgment")


@pytest.mark.usefixtures("at_once")
def test_what_came_while_no_worker_ran_is_told_later_in_order(served) -> None:
    hooks = served.client("ada").project("desk").webhooks
    with receiving() as receiver:
        hooks.create(receiver.url, private=True)
        done = [served.judge("anna") for _ in range(4)]
        job = served.client("lea").call("POST", f"/projects/{served.project.id}/exports", json={})
        served.client("lea").call("POST", f"/jobs/{job['id']}/cancel")
        with Messenger(served.store):
            receiver.wait(4)
            time.sleep(0.3)
        events = receiver.events()
    assert [name for name, _ in events] == ["judgment", "item.complete", "project.complete", "job.ended"]
    assert [each["comparison_id"] for each in events[0][1]["judgments"]] == done
    assert events[1][1] == {"comparison_ids": done}
    assert events[2][1] == {"num_judged": 4}
    assert (events[3][1]["job"]["id"], events[3][1]["job"]["state"]) == (job["id"], "cancelled")


@pytest.mark.usefixtures("at_once")
def test_an_undo_is_told_and_an_edit_completes_nothing_again(served_sqlite) -> None:
    served = served_sqlite
    hooks = served.client("ada").project("desk").webhooks
    with receiving() as receiver:
        hooks.create(receiver.url, private=True, events=["judgment", "item.complete"])
        with Messenger(served.store):
            first = served.judge("anna")
            receiver.wait(2)
            served.store.work.undo(served.actor("anna"), served.project.id)
            receiver.wait(3)
            again = served.judge("anna", "b")
            receiver.wait(5)
    assert first == again
    told = [
        (name, data.get("comparison_ids") or [one["choice"] for one in data["judgments"]])
        for name, data in receiver.events()
    ]
    assert told == [
        ("judgment", ["a"]),
        ("item.complete", [first]),
        ("judgment", ["withdrawn"]),
        ("judgment", ["b"]),
        ("item.complete", [first]),
    ]


@pytest.mark.usefixtures("at_once")
def test_a_dead_receiver_is_given_up_shown_and_stops_no_other(served_sqlite) -> None:
    served = served_sqlite
    hooks = served.client("ada").project("desk").webhooks
    with receiving() as alive, receiving(*[503] * 4) as dead:
        bad = hooks.create(dead.url, private=True, events=["judgment"])["webhook"]["id"]
        hooks.create(alive.url, private=True, events=["judgment"])
        with Messenger(served.store):
            served.judge("anna")
            alive.wait(1)
            until(lambda: next(hooks.deliveries(bad))["state"] == "failed")
            (given_up,) = hooks.deliveries(bad)
            assert (given_up["tries"], given_up["message"]) == (4, "answered 503: no!")
            assert hooks.list()[0]["num_failed"] == 1
            served.judge("anna")  # the next one arrives, though the first was given up
            dead.wait(5)
            hooks.send_again(given_up["id"])
            dead.wait(6)
            until(lambda: [each["state"] for each in hooks.deliveries(bad)] == ["sent", "sent"])
    assert len(alive.got) == 2


@pytest.mark.usefixtures("at_once")
def test_one_switched_off_is_told_later_and_one_removed_never(served_sqlite) -> None:
    served = served_sqlite
    hooks = served.client("ada").project("desk").webhooks
    with receiving() as receiver, Messenger(served.store):
        hook = hooks.create(receiver.url, private=True, events=["judgment"])["webhook"]
        assert hooks.change(hook["id"], active=False)["active"] is False
        served.judge("anna")
        time.sleep(0.3)
        assert receiver.got == []
        hooks.change(hook["id"], active=True)
        receiver.wait(1)
        hooks.remove(hook["id"])
        served.judge("anna")
        time.sleep(0.3)
        assert len(receiver.got) == 1
        assert hooks.list() == []


def test_two_messengers_send_a_delivery_once(served_sqlite) -> None:
    served = served_sqlite
    hooks = served.client("ada").project("desk").webhooks
    with receiving() as receiver:
        hooks.create(receiver.url, private=True, events=["judgment"])
        served.judge("anna")
        deliveries = served.store.webhook_deliveries
        assert [deliveries.collect(), deliveries.collect()] == [1, 0]
        (first,) = deliveries.due()
        assert deliveries.claim(first) is not None
        assert deliveries.claim(first) is None
        assert deliveries.due() == []
        with served.store.database.write() as connection:  # the worker died: its claim runs out
            connection.execute(update(webhook_delivery).values(next_at=1.0))
        parcel = deliveries.claim(first)
        assert parcel is not None
        assert parcel.tries == 2
        assert send(parcel) == "answered 200"


def test_tries_are_further_and_further_apart_over_hours(served_sqlite) -> None:
    served = served_sqlite
    served.store.webhooks.create(ADMIN, served.project.id, "http://127.0.0.1:9/", ["judgment"], private=True)
    served.judge("anna")
    deliveries = served.store.webhook_deliveries
    deliveries.collect()
    waits = []
    for tries in range(1, 10):
        with served.store.database.write() as connection:
            connection.execute(update(webhook_delivery).values(next_at=1.0))
        assert deliveries.claim(1).tries == tries
        deliveries.failed(1, tries, "no")
        (delivery,) = served.store.webhooks.deliveries(ADMIN, served.project.id, 1)
        if delivery.state == "waiting":
            waits.append(round(delivery.next_at - time.time()))
    assert delivery.state == "failed"
    assert waits == [10, 30, 120, 600, 1800, 3600, 7200, 14400]


def test_a_test_says_what_the_receiver_answers(served_sqlite) -> None:
    hooks = served_sqlite.client("ada").project("desk").webhooks
    with receiving(200, 404) as receiver:
        hook = hooks.create(receiver.url, private=True)["webhook"]["id"]
        assert hooks.test(hook) == {"delivered": True, "message": "answered 200"}
        assert hooks.test(hook) == {"delivered": False, "message": "answered 404: no!"}
        assert receiver.events() == [("test", {}), ("test", {})]
    assert hooks.test(hook)["delivered"] is False  # nobody listens any more
    assert list(hooks.deliveries(hook)) == []


def test_leads_make_no_way_into_the_own_network(served_sqlite) -> None:
    lead = served_sqlite.client("lea").project("desk").webhooks
    for url in (
        "http://example.org/",
        "https://",
        "ftp://example.org",
        "https://a:b@example.org/",
        "https://ex ample.org",
    ):
        with pytest.raises(ApiError) as error:
            lead.create(url)
        assert (error.value.status, error.value.field) == (422, "url")
    with pytest.raises(ApiError) as error:
        lead.create("http://10.0.0.1/", private=True)
    assert error.value.status == 403
    by_number = lead.create("https://127.0.0.1/")["webhook"]["id"]
    assert "own network, which an admin has to allow" in lead.test(by_number)["message"]
    metadata = served_sqlite.client("ada").project("desk").webhooks.create("http://169.254.169.254/", private=True)
    assert "no webhook goes there" in lead.test(metadata["webhook"]["id"])["message"]
    own = served_sqlite.client("ada").project("desk").webhooks.create("http://127.0.0.1:9/", private=True)["webhook"]
    moved = lead.change(own["id"], url="https://127.0.0.1:10/")
    assert moved["private"] is False  # a lead moves it, and it loses what the admin allowed
    with pytest.raises(ApiError):
        lead.change(own["id"], private=True)


@pytest.mark.parametrize(
    ("address", "allowed", "allowed_if_private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1:248:1893:25c8:1946", True, True),
        ("10.1.2.3", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("fd12::1", False, True),
        ("100.64.0.1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("::ffff:169.254.169.254", False, False),
        ("::ffff:127.0.0.1", False, True),
        ("2002:a9fe:a9fe::1", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("fd00:ec2::254", False, False),
        ("0.0.0.0", False, False),
        ("224.0.0.1", False, False),
    ],
)
def test_addresses_that_webhooks_go_to(address: str, allowed: bool, allowed_if_private: bool) -> None:
    assert (not refuse_address(address, private=False)) == allowed
    assert (not refuse_address(address, private=True)) == allowed_if_private


def test_a_name_that_points_into_the_own_network_is_refused(served_sqlite, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = served_sqlite.store.webhooks.create(ADMIN, 1, "https://rebound.example/").webhook
    answers = [[(2, 1, 6, "", ("93.184.216.34", 443)), (2, 1, 6, "", ("192.168.1.1", 443))]]
    monkeypatch.setattr(webhook_sending.socket, "getaddrinfo", lambda *_, **__: answers[0])
    parcel = served_sqlite.store.webhook_deliveries.trial(ADMIN, 1, hook.id)
    with pytest.raises(UndeliveredError, match=r"rebound\.example is 192\.168\.1\.1, an address of the own network"):
        send(parcel)


def test_a_signature_is_what_the_page_says() -> None:
    import hashlib
    import hmac

    header = sign("whsec_x", b'{"a":1}', 1_700_000_000)
    digest = hmac.new(b"whsec_x", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert header == f"t=1700000000,v1={digest}"
    assert not verify("whsec_x", header, b'{"a":1}')  # too old
    assert verify("whsec_x", header, b'{"a":1}', tolerance_s=1e12)


def test_imports_are_told_when_they_have_ended(served_sqlite) -> None:
    served = served_sqlite
    served.store.webhooks.create(ADMIN, 1, "https://example.org/", ["judgment", "item.complete"])
    votes = [Judgment(comparison_id=f"c{number % 4}", annotator=f"p{number}", choice="tie") for number in range(250)]
    served.store.judgments.import_many(ADMIN, 1, votes)
    assert served.store.webhook_deliveries.collect() == 4  # 100, 100 and 50 judgments; four items
    assert served.store.webhook_deliveries.collect() == 0
