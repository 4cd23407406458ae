"""An OpenAI-compatible endpoint on this machine that really answers: by rule, by a policy, or badly, as it is told.

`serve(behaviour)` runs it in a thread; `python judge_endpoint.py PORT SERVICE_S PLACES` as a process of its own, whose
answers take a fixed time, so many at once.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MATERIAL = re.compile(r"<<answer ([AB]) (\w+)>>\n(.*?)\n<<end \2>>", re.DOTALL)


@dataclass(kw_only=True)
class Reply:
    """What is sent back: a status with headers and a body of bytes; `drop` breaks off in the middle of it."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False
    wait_s: float = 0.0


Behaviour = Callable[[dict[str, Any], int], Reply]
"""From the body that was asked and the number of the request, from 0."""


def answers_of(body: dict[str, Any]) -> tuple[str, str]:
    """The two answers that a question is about: the last ones in it, behind those of examples."""
    found = MATERIAL.findall(body["messages"][-1]["content"])
    return found[-2][2], found[-1][2]


def longer(body: dict[str, Any]) -> str:
    """A for the longer answer, T for equal lengths."""
    first, second = answers_of(body)
    return "A" if len(first) > len(second) else "B" if len(second) > len(first) else "T"


def said(text: str | None, *, logps: dict[str, float] | None = None, **message: Any) -> Reply:
    """A chat completion of this text; with the log-probabilities of the letters in place of the only one in it."""
    finish = message.pop("finish_reason", "stop")
    usage = message.pop("usage", {"prompt_tokens": 100, "completion_tokens": 10})
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text, **message},
        "finish_reason": finish,
    }
    if logps is not None and text is not None:
        tokens = []
        for part in re.findall(r'(?<=": ")[ABTX](?=")|.', text, re.DOTALL):
            is_letter = part in "ABTX" and len(part) == 1 and part in logps
            top = logps if is_letter else {part: 0.0}
            tokens.append(
                {
                    "token": part,
                    "logprob": top[part],
                    "top_logprobs": [{"token": token, "logprob": logp} for token, logp in top.items()],
                }
            )
        choice["logprobs"] = {"content": tokens}
    return Reply(body=json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode())


def by_length(body: dict[str, Any], number: int) -> Reply:
    """Prefers the longer answer."""
    return said(json.dumps({"overall": longer(body), "strength": 2}))


class Endpoint:
    """A running endpoint: `url`, and what came to it."""

    def __init__(self, behaviour: Behaviour, *, places: int = 0, port: int = 0) -> None:
        self.behaviour = behaviour
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked_at: list[float] = []
        self.most_at_once = self._at_once = 0
        self._lock = threading.Lock()
        self._places = threading.Semaphore(places) if places else None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                """A client that went away is no news."""

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(dict(handler.headers))
            self.asked_at.append(time.monotonic())
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self._places is None:
                reply = self.behaviour(body, number)
            else:
                with self._places:
                    reply = self.behaviour(body, number)
            time.sleep(reply.wait_s)
        finally:
            with self._lock:
                self._at_once -= 1
        handler.send_response(reply.status)
        for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(reply.body)))
        handler.end_headers()
        if reply.drop:
            handler.wfile.write(reply.body[: len(reply.body) // 2])
            handler.close_connection = True
            handler.connection.close()
            return
        handler.wfile.write(reply.body)


@contextmanager
def serve(behaviour: Behaviour, *, places: int = 0) -> Iterator[Endpoint]:
    """An endpoint of this behaviour while the block lasts.

    Args:
        places: answers at the same time; 0 is no limit.
    """
    endpoint = Endpoint(behaviour, places=places)
    thread = threading.Thread(target=endpoint.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        endpoint.server.shutdown()
        endpoint.server.server_close()


def main(port: int, service_s: float, places: int) -> None:
    """Serves until it is killed, every answer after the same time."""

    def behaviour(body: dict[str, Any], number: int) -> Reply:
        time.sleep(service_s)
        return by_length(body, number)

    endpoint = Endpoint(behaviour, places=places, port=port)
    print(endpoint.url, flush=True)
    endpoint.server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
