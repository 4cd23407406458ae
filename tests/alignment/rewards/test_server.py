"""A reward server over HTTP: a small reference server, and everything that can go wrong with one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from alignment.rewards.server import RemoteReward
from alignment.rewards.source import RewardBatch, RewardError, ask
from alignment.rewards.spans import SpanReward
from rewardkit.data.records import Message

BATCH = RewardBatch(
    prompts=[(Message(role="user", content="q"),), (Message(role="user", content="r"),)],
    completions=["a", "bb"],
    columns={"answer": np.array([1, 2])},  # type: ignore[dict-item]
)
Answer = tuple[int, bytes]
WAITS = (0.01, 0.01)


class RewardServer(ThreadingHTTPServer):
    """The reference: rewards by what `answer` says of a request; `asked` keeps the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[dict], Answer] = lambda asked: rewarded(
            rewards=[len(text) for text in asked["completions"]]
        )
        self.asked: list[dict] = []
        self.location = ""

    def handle_error(self, request, client_address) -> None:
        """A client that went away is what some tests are about."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/score"


class _Handler(BaseHTTPRequestHandler):
    server: RewardServer

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(asked)
        status, body = self.server.answer(asked)
        self.send_response(status)
        if self.server.location:
            self.send_header("Location", self.server.location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def rewarded(**values: object) -> Answer:
    return 200, json.dumps(values).encode()


@pytest.fixture
def server() -> Iterator[RewardServer]:
    """A running reward server."""
    with RewardServer() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def failure(source: RemoteReward) -> RewardError:
    with pytest.raises(RewardError) as caught:
        ask(source, BATCH)
    assert "\n" not in str(caught.value)
    return caught.value


def test_rewards_of_a_server(server: RewardServer) -> None:
    np.testing.assert_array_equal(ask(RemoteReward(server.url, name="far"), BATCH).members, [[1, 2]])
    assert server.asked == [
        {
            "prompts": [[{"role": "user", "content": "q"}], [{"role": "user", "content": "r"}]],
            "completions": ["a", "bb"],
            "columns": {"answer": [1, 2]},
        }
    ]


def test_members_of_a_server(server: RewardServer) -> None:
    server.answer = lambda _asked: rewarded(members=[[1, 2], [3, 4], [5, 6.5]])
    np.testing.assert_array_equal(ask(RemoteReward(server.url, name="far"), BATCH).members, [[1, 2], [3, 4], [5, 6.5]])


def test_members_of_a_server_reward_the_same_spans(server: RewardServer) -> None:
    server.answer = lambda asked: rewarded(members=[[1, [[1, 0.5], [2, 2]]], [3, [[1, 0.25], [2, 4]]]])
    spans = ask(RemoteReward(server.url, name="judge"), BATCH)
    assert isinstance(spans, SpanReward)
    assert spans.ends.tolist() == [1, 1, 2]
    assert spans.members.tolist() == [[1.0, 0.5, 2.0], [3.0, 0.25, 4.0]]
    server.answer = lambda asked: rewarded(members=[[1, [[1, 0.5], [2, 2]]], [3, [[2, 4]]]])
    assert "of other spans than the first one" in str(failure(RemoteReward(server.url, name="judge")))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(
    server: RewardServer, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    answers = iter([(status, b"busy"), (status, b"busy"), rewarded(rewards=[1, 2])])
    server.answer = lambda _asked: next(answers)
    np.testing.assert_array_equal(ask(RemoteReward(server.url, name="far", waits_s=WAITS), BATCH).members, [[1, 2]])
    assert len(server.asked) == 3
    assert f"HTTP status {status}: 'busy'; asking again in 0.01 s" in caplog.text


def test_a_server_that_stays_in_trouble_is_one_error(server: RewardServer) -> None:
    server.answer = lambda _asked: (500, b"out of\nmemory " * 100)
    error = failure(RemoteReward(server.url, name="far", waits_s=WAITS))
    assert f"reward far ({server.url}) in a batch of 2, which sample is not known" in str(error)
    assert "no answer after 3 tries, the last: HTTP status 500: 'out of memory" in str(error)
    assert len(str(error)) < 500
    assert len(server.asked) == 3


def test_a_refusal_is_not_asked_again(server: RewardServer) -> None:
    server.answer = lambda _asked: (404, b"no such model")
    assert "HTTP status 404: 'no such model'" in str(failure(RemoteReward(server.url, name="far", waits_s=WAITS)))
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_refused_with_the_address_it_names(server: RewardServer, status: int) -> None:
    """A POST that is redirected would come as a GET without its batch, or tell a stranger what people wrote."""
    server.location = "http://127.0.0.1:9/elsewhere"
    server.answer = lambda _asked: (status, b"moved")
    said = str(failure(RemoteReward(server.url, name="far", waits_s=WAITS)))
    assert f"HTTP status {status}: 'moved'; it redirects to http://127.0.0.1:9/elsewhere, which is not followed" in said
    assert len(server.asked) == 1


def test_what_is_no_address_is_one_error() -> None:
    assert "http://host:1x/ is no address: Invalid port" in str(failure(RemoteReward("http://host:1x/", name="far")))


def test_nobody_listening_is_one_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/score"
    error = failure(RemoteReward(url, name="far", waits_s=WAITS))
    assert "no answer after 3 tries, the last: [Errno 111] Connection refused" in str(error)


def test_a_server_that_hangs_is_one_error(server: RewardServer) -> None:
    let_go = threading.Event()

    def wait(_asked: dict) -> Answer:
        let_go.wait(20)
        return 503, b""

    server.answer = wait
    start = time.monotonic()
    error = failure(RemoteReward(server.url, name="far", timeout_s=0.2, waits_s=(0.01,)))
    let_go.set()
    assert time.monotonic() - start < 5
    assert "no answer after 2 tries, the last: timed out" in str(error)


def test_a_server_that_drips_is_one_error() -> None:
    """Each byte comes in time, the whole answer does not."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                try:
                    while True:
                        connection.sendall(b" ")
                        time.sleep(0.05)
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        error = failure(RemoteReward(url, name="far", timeout_s=0.3, waits_s=()))
        thread.join(10)
    assert "no whole answer within 0.3 s" in str(error)


def test_an_answer_that_breaks_off_is_one_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def break_off() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"rewards": [1, 2]}')
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):  # to close before all is read would reset the connection
                    pass

        thread = threading.Thread(target=break_off)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        error = failure(RemoteReward(url, name="far", waits_s=()))
        thread.join(10)
    assert "without sending complete message body (received 19 bytes, expected 1000)" in str(error)


@pytest.mark.parametrize(
    ("body", "index", "message"),
    [
        (b"<html>", None, "the answer is no JSON: '<html>'"),
        (b"[1, 2]", None, "the answer has neither rewards nor members: '[1, 2]'"),
        (b'{"scores": [1, 2]}', None, "neither rewards nor members"),
        (b'{"rewards": 3}', None, "neither rewards nor members"),
        (b'{"members": []}', None, "neither rewards nor members"),
        (b'{"rewards": [1]}', None, "1 rewards for 2 completions"),
        (b'{"members": [[1, 2], [1, 2, 3]]}', None, "3 rewards for 2 completions"),
        (b'{"rewards": [1, null]}', 1, "the reward is None, allowed is a number"),
        (b'{"rewards": ["1", 2]}', 0, "the reward is '1', allowed is a number"),
        (b'{"rewards": [1, NaN]}', 1, "the reward is nan, allowed is a finite number"),
        (b'{"members": [[1, 2], [Infinity, 2]]}', 0, "the reward of member 1 is inf"),
    ],
)
def test_anything_but_a_number_for_each_is_an_error(
    server: RewardServer, body: bytes, index: int | None, message: str
) -> None:
    server.answer = lambda _asked: (200, body)
    error = failure(RemoteReward(server.url, name="far"))
    assert message in str(error)
    assert error.index == index
    assert len(server.asked) == 1


def test_a_column_that_json_cannot_carry_is_named() -> None:
    batch = RewardBatch(prompts=BATCH.prompts, completions=BATCH.completions, columns={"image": [b"x", b"y"]})
    with pytest.raises(RewardError, match="a column cannot be sent as JSON: bytes is none of JSON's types"):
        RemoteReward("http://localhost:1/", name="far")(batch)


def test_the_client_is_imported_when_a_server_is_asked() -> None:
    code = "import sys, alignment.rewards.rewards; print(*sorted({'httpx', 'tenacity', 'torch'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
