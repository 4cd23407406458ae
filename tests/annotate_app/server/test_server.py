"""The launcher: what cannot be seen from the outside and matters most is measured inside the running server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import annotators
from streamlit_tab import Tab

from annotate_app.jobs.processes import started_at
from annotate_app.server.server import Serving, bind

# Starts the server as `annotate-app serve` does and writes down, at its end, who collected garbage and what was loaded.
WATCHED = """
import gc, json, sys, traceback
collect, callers = gc.collect, []
def watched(*arguments):
    callers.append(traceback.extract_stack(limit=2)[0].filename)
    return collect(*arguments)
gc.collect = watched
from annotate_app.__main__ import main
code = main(sys.argv[2:])
json.dump({"callers": callers, "torch": "torch" in sys.modules}, open(sys.argv[1], "w"))
sys.exit(code)
"""


@pytest.mark.slow
def test_no_garbage_is_collected_after_a_rerun_and_torch_stays_out(sqlite_url, tmp_path, monkeypatch):
    names = annotators.prepare(sqlite_url, annotators=1, comparisons=40, size=200)
    notes = tmp_path / "notes.json"
    # The environment variable does not reach a server started by uvicorn; it must not be what switches it off.
    monkeypatch.setenv("STREAMLIT_RUNNER_POST_SCRIPT_GC", "true")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", WATCHED, str(notes), "serve", "--port", str(port), "--no-worker"]
    process = subprocess.Popen(command, env=os.environ | {"TIEBREAK_DB": sqlite_url}, stdout=subprocess.DEVNULL)
    try:
        asyncio.run(judge_some(f"http://127.0.0.1:{port}", names[0], 10))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    seen = json.loads(notes.read_text())
    assert not [caller for caller in seen["callers"] if "script_runner" in caller]
    assert not seen["torch"]


async def judge_some(server: str, name: str, count: int) -> None:
    tab = Tab(server, name)
    deadline = time.monotonic() + 60
    while True:
        try:
            await tab.open()
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
    for _ in range(count):
        assert await tab.judge()
    await tab.close()


def test_small_answers_are_sent_at_once():
    async def nodelay() -> int:
        accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
        listener = bind("127.0.0.1", 0)
        server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listener)
        _, ours = await asyncio.open_connection(*listener.getsockname())
        theirs = await accepted
        option = theirs.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for writer in (ours, theirs):
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()
        return option

    assert asyncio.run(nodelay()) != 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_worker_ends_with_the_server_however_that_ends(start_server, sqlite_url, number):
    server = start_server(sqlite_url)
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    worker = int(children.read_text().split()[0])
    assert started_at(worker)
    code = server.stop(number)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    deadline = time.monotonic() + 15
    while started_at(worker):
        assert time.monotonic() < deadline, "the worker lives on"
        time.sleep(0.05)


def test_it_listens_on_this_machine_only_unless_told_otherwise():
    assert Serving(url="sqlite://").host == "127.0.0.1"
    assert Serving(url="sqlite://", host="0.0.0.0", port=80).address == "http://localhost:80"
