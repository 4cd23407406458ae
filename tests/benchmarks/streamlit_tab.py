"""A browser tab of the labeling page without a browser: Streamlit's own WebSocket protocol, in its own messages.

A tab signs in at the entrance, opens the WebSocket as a page does, and sends what `frontend/labeler.js` sends: one
event per judgment, named by an id of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any

import websockets.asyncio.client as websocket
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

PASSWORD = "annotators on the bench"
PATIENCE_S = 60.0


@dataclass
class Record:
    """What one annotator saw: event ids in the order sent, what became of them, and how long it took in seconds."""

    name: str
    sent: list[str] = field(default_factory=list)
    saved: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ended: str = ""


class Tab:
    """A labeling tab of one account."""

    def __init__(self, server: str, name: str) -> None:
        self.server = server
        self.record = Record(name=name)
        self.data: dict[str, Any] = {}
        self.pairs: dict[str, Any] = {}
        self.rubric: dict[str, Any] = {}
        self._random = random.Random(name)
        self._element = ""
        self._fragment = ""
        self._page = ""

    async def open(self) -> None:
        """Signs in, connects, and waits for the first pairs."""
        cookie = await self._sign_in()
        self._socket = await websocket.connect(
            self.server.replace("http", "ws", 1) + "/_stcore/stream",
            additional_headers={"Cookie": cookie},
            origin=self.server,  # type: ignore[arg-type]
            subprotocols=["streamlit"],  # type: ignore[list-item]
            compression=None,
            max_size=None,
            ping_interval=None,
            proxy=None,
        )
        await self._send(BackMsg(), [])
        await asyncio.wait_for(self._read_until(lambda: bool(self.data)), PATIENCE_S)

    async def close(self) -> None:
        """Leaves as a closed tab does."""
        await self._socket.close()

    async def judge(self) -> bool:
        """Submits the pair at the head of the queue; False where there is none."""
        token = next((token for token in self.data["queue"] if token in self.pairs), None)
        if token is None:
            return False
        event_id = uuid.uuid4().hex
        event = {
            "event_id": event_id,
            "kind": "submit",
            "token": token,
            "answer": self._answer(),
            "seconds": 12.5,
        }
        known = {"pairs": list(self.pairs), "rubric": self.rubric["id"], "words": "en"}
        state = WidgetState(id=f"$$STREAMLIT_INTERNAL_KEY_{self._element}__events")
        state.json_trigger_value = json.dumps([{"event": "message", "value": {"events": [event], "known": known}}])
        self.record.sent.append(event_id)
        start = time.perf_counter()
        await self._send(BackMsg(), [state])
        await asyncio.wait_for(self._read_until(lambda: event_id in self._acks()), PATIENCE_S)
        self.record.seconds.append(time.perf_counter() - start)
        match self._acks()[event_id]:
            case "saved" | "repeated":
                self.record.saved.append(event_id)
            case _:
                self.record.refused.append(event_id)
        return True

    def _answer(self) -> dict[str, Any]:
        """An answer to everything the rubric asks."""
        criteria: dict[str, Any] = {}
        for item in self.rubric["criteria"]:
            rated = [self._random.randint(item["low"], item["high"]) for _ in range(2)]
            criteria[item["name"]] = rated if item["kind"] == "rate" else self._score(item["scale"])
        rationale = "The left one answers what was asked." if self.rubric["rationale"] == "required" else ""
        return {"overall": self._score(self.rubric["scale"]), "criteria": criteria, "rationale": rationale}

    def _score(self, scale: dict[str, Any]) -> int:
        degree = self._random.randint(1, scale["steps"] // 2)
        return degree if self._random.random() < 0.5 else -degree

    def _acks(self) -> dict[str, str]:
        return {ack["event_id"]: ack["status"] for ack in self.data.get("acks", [])}

    async def _sign_in(self) -> str:
        """The session cookie, from the form of the entrance."""
        parts = urllib.parse.urlsplit(self.server)
        body = urllib.parse.urlencode({"name": self.record.name, "password": PASSWORD})
        request = (
            f"POST /sign-in HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: {self.server}\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(request.encode())
        head = (await asyncio.wait_for(reader.read(), PATIENCE_S)).decode("latin-1").partition("\r\n\r\n")[0]
        writer.close()
        lines = head.split("\r\n")
        cookies = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("set-cookie:")]
        if " 303 " not in lines[0] or not cookies:
            raise ConnectionError(f"{self.record.name} could not sign in: {lines[0]}")
        return cookies[0].partition(";")[0]

    async def _send(self, message: BackMsg, changed: list[WidgetState]) -> None:
        """Asks for a rerun: of the page at first, of the labeling fragment from then on."""
        rerun = message.rerun_script
        rerun.page_name = "" if self._page else "label"
        rerun.page_script_hash = self._page
        rerun.fragment_id = self._fragment if changed else ""
        rerun.context_info.timezone = "UTC"
        rerun.context_info.locale = "en-US"
        rerun.context_info.url = f"{self.server}/label"
        rerun.widget_states.widgets.extend(changed)
        await self._socket.send(message.SerializeToString())

    async def _read_until(self, done: Any) -> None:
        """Follows the page until something holds."""
        while not done():
            message = ForwardMsg()
            message.ParseFromString(await self._socket.recv(decode=False))
            match message.WhichOneof("type"):
                case "new_session":
                    self._page = message.new_session.page_script_hash or self._page
                case "navigation":
                    self._page = message.navigation.page_script_hash or self._page
                case "delta" if message.delta.new_element.WhichOneof("type") == "bidi_component":
                    component = message.delta.new_element.bidi_component
                    self._element, self._fragment = component.id, message.delta.fragment_id
                    self._take(json.loads(component.json))
                case "delta" if message.delta.new_element.WhichOneof("type") == "exception":
                    raise RuntimeError(message.delta.new_element.exception.message)

    def _take(self, data: dict[str, Any]) -> None:
        """What the page does with the component's data: texts it has are not sent again."""
        self.data = data
        self.pairs |= data["pairs"]
        self.pairs = {token: pair for token, pair in self.pairs.items() if token in data["queue"]}
        if "title" in data["rubric"]:
            self.rubric = data["rubric"]
