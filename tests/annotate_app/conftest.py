"""Fixtures for what runs as a server of its own (the app behind its door, accounts to come in with), and votes."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from annotate_app.access import Actor, UserRole
from annotate_app.demo import create_demo
from annotate_app.store.store import Store
from annotate_app.votes import CHOICE_CODES, KIND_CODES, Votes

PASSWORD = "correct horse battery"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a server said to one request; redirects are not followed."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def cookie(self) -> str:
        """The session cookie it set, as `name=value`."""
        cookies = [value.partition(";")[0] for value in self.headers.get_all("set-cookie") or []]
        return next((cookie for cookie in cookies if cookie.startswith("tiebreak_session=")), "")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running app."""

    url: str
    database: str
    process: subprocess.Popen[str]
    log: Path

    def ask(
        self, path: str, *, cookie: str = "", form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """One request, as a page of the server itself makes it; a form is posted."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        all_headers = {"Origin": self.url} | ({"Cookie": cookie} if cookie else {}) | (headers or {})
        request = urllib.request.Request(self.url + path, data=data, headers=all_headers)
        opener = urllib.request.build_opener(_KeepRedirects)
        try:
            with opener.open(request, timeout=30) as response:
                return Answer(status=response.status, headers=response.headers, text=response.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(status=error.code, headers=error.headers, text=error.read().decode())

    def sign_in(self, name: str, password: str = PASSWORD) -> str:
        """The session cookie of an account."""
        answer = self.ask("/sign-in", form={"name": name, "password": password})
        assert answer.status == 303, answer.text
        return answer.cookie

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits for the end; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(20)


class _KeepRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def launch(folder: Path, database: str, *options: str, port: int = 0) -> Server:
    """Starts `annotate-app serve` in a folder, on a free port or on `port`, and waits until it answers."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        port = probe.getsockname()[1]
    log = folder / f"server-{len(list(folder.glob('server-*.log')))}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "annotate_app", "serve", "--port", str(port), "--no-browser", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"TIEBREAK_DB": database},
            cwd=folder,
            text=True,
        )
    server = Server(url=f"http://127.0.0.1:{port}", database=database, process=process, log=log)
    deadline = time.monotonic() + 60
    try:
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if server.ask("/health").status == 200:
                    return server
            except OSError:
                time.sleep(0.05)
    except BaseException:
        process.kill()
        process.wait()
        raise


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server: `start_server(url, "--demo", port=0)`; it ends with the test."""
    started: list[Server] = []

    def start(database: str, *options: str, port: int = 0) -> Server:
        started.append(launch(tmp_path, database, *options, port=port))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.stop(signal.SIGKILL)


@pytest.fixture(scope="module")
def shared_server(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server a module, with the annotator anna and the admin ada, for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    url = f"sqlite:///{shutil.copy(sqlite_template, folder / 'tiebreak.db')}"
    store = Store.open(url, migrate=False)
    for name, role in (("anna", "annotator"), ("ada", "admin")):
        store.people.add(Actor.command_line(), name, role=role, password=PASSWORD)  # type: ignore[arg-type]
    store.close()
    server = launch(folder, url, "--no-worker")
    yield server
    server.stop(signal.SIGKILL)


@pytest.fixture
def add_account(sqlite_url: str) -> Callable[..., Actor]:
    """Makes an account that signs in with PASSWORD, in the database of `sqlite_url`."""

    def add(name: str, role: UserRole = "annotator") -> Actor:
        store = Store.open(sqlite_url, migrate=False)
        user = store.people.add(Actor.command_line(), name, role=role, password=PASSWORD)
        store.close()
        return store.people.actor_of(user)

    return add


@pytest.fixture(scope="session")
def hostile_texts() -> dict[str, str]:
    """Texts that want to be more than text, by the trick they try; they call `http://outside.example:9`."""
    parts = Path(__file__).with_name("hostile.txt").read_text(encoding="utf-8").split("%% ")[1:]
    return {name: text.rstrip("\n") for name, _, text in (part.partition("\n") for part in parts)}


@pytest.fixture
def invite_in() -> Callable[[str], str]:
    """The path of the invitation in a text."""
    return lambda text: re.search(r"/invite/[\w-]+", text)[0]  # type: ignore[index]


@pytest.fixture(scope="session")
def make_votes() -> Callable[..., Votes]:
    """A maker of votes from plain columns: (item, annotator, choice) names and codes, anything else by keyword."""
    return votes_of


def votes_of(item: Sequence, annotator: Sequence, choice: Sequence[str], **columns: object) -> Votes:
    """Votes with neutral values in every column that is not given; items and annotators sorted by name."""
    items, item_index = np.unique(np.asarray(list(item)), return_inverse=True)
    names, annotator_index = np.unique(np.asarray(list(annotator)), return_inverse=True)
    codes = np.array([CHOICE_CODES[name] for name in choice], dtype=np.int8)
    values: dict[str, object] = {
        "items": tuple(map(str, items.tolist())),
        "annotators": tuple(map(str, names.tolist())),
        "sources": ("",),
        "item": item_index.astype(np.int32),
        "annotator": annotator_index.astype(np.int32),
        "choice": codes,
        "score": np.select([codes == CHOICE_CODES["a"], codes == CHOICE_CODES["b"]], [-1, 1], 0).astype(np.int8),
        "kind": np.zeros(len(codes), dtype=np.int8),
        "shown_left": np.full(len(codes), -1, dtype=np.int8),
        "seconds": np.zeros(len(codes), dtype=np.float32),
        "created_at": np.zeros(len(codes)),
        "criteria": {},
        "item_source_a": np.zeros(len(items), dtype=np.int32),
        "item_source_b": np.zeros(len(items), dtype=np.int32),
        "item_length_a": np.ones(len(items), dtype=np.int32),
        "item_length_b": np.ones(len(items), dtype=np.int32),
        "item_gold": np.full(len(items), -1, dtype=np.int8),
    }
    return Votes(**(values | columns))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def agreement_vectors(shared_data: Path) -> dict:
    """Published agreement examples and the figures of the real files."""
    return json.loads((shared_data / "agreement_vectors.json").read_text())


@pytest.fixture(scope="session")
def pandalm_votes(shared_data: Path) -> Votes:
    """503 items by three annotators, labels 1, 2 or 0 for a tie."""
    rows = pd.read_json(shared_data / "pandalm_dev.jsonl.gz", lines=True)
    names = ("annotator1", "annotator2", "annotator3")
    label = {0: "tie", 1: "a", 2: "b"}
    triples = [(row["id"], name, label[row[name]]) for row in rows.to_dict("records") for name in names]
    return votes_of(*zip(*triples, strict=True))


@pytest.fixture(scope="session")
def llmfao_votes(shared_data: Path) -> Votes:
    """2,139 pairs of answers of 59 models, 8,931 votes of 124 workers."""
    rows = pd.read_csv(shared_data / "llmfao_votes.csv.gz")
    pairs = rows.drop_duplicates("pair_id").sort_values("pair_id")
    sources = sorted(set(rows.model_x) | set(rows.model_y))
    number = {name: code for code, name in enumerate(sources)}
    return votes_of(
        rows.pair_id,
        rows.worker,
        rows.winner.map({"x": "a", "y": "b", "tie": "tie"}),
        kind=np.full(len(rows), KIND_CODES["import"], dtype=np.int8),
        shown_left=np.where(rows.x_shown == "left", 0, 1).astype(np.int8),
        sources=tuple(sources),
        item_source_a=pairs.model_x.map(number).to_numpy(dtype=np.int32),
        item_source_b=pairs.model_y.map(number).to_numpy(dtype=np.int32),
    )


@pytest.fixture(scope="session")
def demo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the demo project, to copy."""
    path = tmp_path_factory.mktemp("demo") / "demo.db"
    with Store.open(f"sqlite:///{path}") as store:
        create_demo(store, now=1_700_000_000.0)
    return path
