"""Code answers and their tests: what is read, what passes, and what an answer that attacks gets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from alignment.verifiers.code_answers import sandbox
from alignment.verifiers.code_answers.behind_walls import Channel, Plain
from alignment.verifiers.code_answers.code_tests import code_of, make_code, read_tests
from alignment.verifiers.code_answers.sandbox import CodeTests, Limits, NoSandboxError, run_tests

DOUBLES = ("assert f(2) == 4", "assert f('a') == 'aa'")


@pytest.fixture(autouse=True)
def _sandbox() -> None:
    try:
        sandbox.walls()
    except NoSandboxError as error:
        pytest.skip(str(error))


def passed(code: str, *tests: str, **options: Any) -> list[bool]:
    return run_tests(code, CodeTests(tests=tests or DOUBLES, **options), Limits(wall_s=30, cpu_s=1))


def test_all_tests_or_their_share() -> None:
    columns = {"test_list": [json.dumps(DOUBLES), list(DOUBLES)]}
    completions = [
        "Here:\n```python\ndef f(x):\n    return x + x\n```\ndone",
        "def f(x):\n    return 2 * x if x == 2 else 0",
    ]
    assert make_code("")(completions=completions, **columns) == [1, 0]
    assert make_code("share")(completions=completions, **columns) == [1, 0.5]


def test_code_is_the_last_block_of_python() -> None:
    assert code_of("```python\na = 1\n```\nthen\n```py\nb = 2\n```\n```text\nc\n```") == "b = 2\n"
    assert code_of("```\na = 1\n```\n") == "a = 1\n"
    assert code_of("a = 1") == "a = 1"


def test_tests_are_a_text_or_a_list() -> None:
    assert read_tests("assert f() == 1", "test") == ("assert f() == 1",)
    assert read_tests("[x for x in y]", "test") == ("[x for x in y]",)
    for bad in ("", [], [""], 7, None):
        with pytest.raises(ValueError, match="column test holds"):
            read_tests(bad, "test")
    with pytest.raises(ValueError, match="no column test_list or tests or test holds tests"):
        make_code("")(completions=["f"], other=["x"])


def test_the_forms_of_data_sets() -> None:
    check = "def check(candidate):\n    assert candidate([3, 1]) == [1, 3]\n    assert candidate([]) == []\n"
    assert passed("def s(x):\n    return sorted(x)", check, entry_point="s") == [True]
    assert passed("def s(x):\n    return x", check, entry_point="s") == [False]
    assert passed("def t(x):\n    return sorted(x)", check, entry_point="s") == [False]
    pytest_style = "import math\ndef test_one():\n    assert math.isclose(f(0.5), 1.0)\n"
    assert passed("def f(x):\n    return 2 * x", pytest_style, "assert SEVEN == 7", setup="SEVEN = 7") == [True, True]


def test_values_come_back_as_they_are() -> None:
    code = """
from collections import Counter, namedtuple
class Solution:
    def __init__(self, start): self.total = start
    def add(self, x): self.total += x; return self
def mixed(): return [1, (2, 3.5), {4}, {"a": None, (1,): True}, b"x", 1j, Counter("aab"), namedtuple("P", "x")(1)]
def numbers(n):
    for number in range(n): yield number
def in_place(items, table): items.sort(); table["new"] = 1
def fails(): raise KeyError("gone")
def array():
    import numpy
    return numpy.arange(3)
"""
    tests = (
        'assert mixed() == [1, (2, 3.5), {4}, {"a": None, (1,): True}, b"x", 1j, {"a": 2, "b": 1}, (1,)]',
        "assert list(numbers(3)) == [0, 1, 2]",
        "items, table = [2, 1], {}\nin_place(items, table)\nassert (items, table) == ([1, 2], {'new': 1})",
        "assert Solution(1).add(2).add(3).total == 6",
        "try:\n    fails()\nexcept KeyError:\n    pass\nelse:\n    raise AssertionError",
        "assert array() == [0, 1, 2]",
    )
    assert passed(code, *tests) == [True] * len(tests)


FAKES = {
    "exit": "import sys; sys.exit(0)",
    "exit at once": "import os; os._exit(0)",
    "exit when called": "import os\ndef f(x): os._exit(0)",
    "print": "print('[true, true]')\ndef f(x): print('[true, true]')",
    "equal to all": "class E:\n    __eq__ = __bool__ = lambda *_: True\ndef f(x): return E()",
    "own names": "def f(x): return 0\ndef check(*_): pass\nAssertionError = Exception\nglobals()['assert'] = None",
    "patches": "import builtins\nbuiltins.AssertionError = builtins.compile = None\ndef f(x): return 0",
    "every descriptor": (
        "import os\nfor d in range(3, 64):\n    try: os.write(d, b'[true, true]')\n    except OSError: pass\ndef f(x):0"
    ),
    "frames": "import os\nfor d in range(3, 64):\n  try: os.write(d, b'x' * 99)\n  except OSError: pass\ndef f(x): 0",
    "fork bomb": "import os\nwhile True: os.fork()",
    "memory": "held = bytearray(4 << 30)\ndef f(x): return x + x",
    "recursion": "def f(x): return f(x)",
    "huge value": "def f(x): return 'x' * (1 << 24)",
}


@pytest.mark.parametrize("name", FAKES)
def test_an_answer_passes_by_right_values_alone(name: str) -> None:
    assert passed(FAKES[name]) == [False, False]


RENAMED = """
import json, os, struct, time
thing = {"object": 1}
said = [{"names": {"f": thing, "__builtins__": {"dict": [["sorted", thing]]}}}, *[{"value": 7, "args": []}] * 2]
bodies = [json.dumps(one).encode() for one in said]
for d in range(3, 64):
    try: os.write(d, b"".join(struct.pack(">I", len(body)) + body for body in bodies))
    except OSError: pass
time.sleep(1)
"""


def test_an_answer_that_speaks_for_itself_names_no_builtins() -> None:
    """Its frames come before ours: what `sorted` is in the tests is not for the answer to say."""
    assert passed(RENAMED, "assert sorted(f([2, 1])) == 7") == [False]


def test_an_answer_may_have_a_loop_of_events() -> None:
    code = "import asyncio\nasync def twice(x): return x + x\ndef f(x): return asyncio.run(twice(x))"
    assert passed(code) == [True, True]


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "while True: pass",
        "def f(x):\n    while True: pass",
        "while True: print('x' * 10000)",
        "def f(x):\n    import threading\n    for _ in range(100000): threading.Thread(target=input).start()",
    ],
)
def test_what_never_ends_is_ended(code: str) -> None:
    assert passed(code) == [False, False]


def test_what_sleeps_is_ended_by_the_clock() -> None:
    limits = Limits(wall_s=1, cpu_s=1)
    assert run_tests("import time; time.sleep(99)", CodeTests(tests=DOUBLES), limits) == [False, False]


ATTEMPTS = """
import ctypes, fcntl, os, resource, shutil, signal, socket, subprocess, tempfile
mine, folder = PLACES
libc = ctypes.CDLL(None, use_errno=True)
def refused(attempt):
    try:
        return attempt() == -1
    except OSError:
        return True
ATTEMPTS = dict(
    read=lambda: open(mine).read(), home=lambda: os.listdir(folder), users=lambda: open("/etc/passwd"),
    environment=lambda: open("/proc/self/environ"), write=lambda: open(folder + "/new", "w"),
    over=lambda: open(mine, "w"), root=lambda: open("/new", "w"),
    truncate=lambda: os.truncate(mine, 0), unlink=lambda: os.unlink(mine), rename=lambda: os.rename(mine, mine + "b"),
    link=lambda: os.link(mine, folder + "/c"), mode=lambda: os.chmod(mine, 0), times=lambda: os.utime(mine),
    make=lambda: os.mkdir(folder + "/d"), temporary=tempfile.mkdtemp, shared=lambda: open("/dev/shm/new", "w"),
    datagrams=lambda: socket.socketpair(type=socket.SOCK_DGRAM),
    socket=socket.socket, connect=lambda: socket.create_connection(("127.0.0.1", PORT)), fork=os.fork,
    run=lambda: subprocess.run(["/bin/true"]), program=lambda: os.execv("/bin/true", ["true"]),
    kill=lambda: os.kill(os.getppid(), signal.SIGTERM), everybody=lambda: os.kill(-1, 0),
    owner=lambda: fcntl.fcntl(0, fcntl.F_SETOWN, 1), others=lambda: resource.prlimit(os.getppid(), 0),
    nice=lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19), memory=lambda: os.memfd_create("m"),
    mount=lambda: libc.mount(b"none", b"/", b"tmpfs", 0, None), trace=lambda: libc.ptrace(16, os.getppid(), 0, 0),
    spaces=lambda: libc.unshare(0x10000000), segments=lambda: libc.shmget(0, 4096, 0o1600),
)
def not_refused():
    return [name for name, attempt in ATTEMPTS.items() if not refused(attempt)]
"""


def not_refused(names: tuple[str, ...], folder: Path) -> list[str]:
    """What an answer behind these walls is not kept from, by its own account."""
    mine = folder / "mine.txt"
    mine.write_text("mine")
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = ATTEMPTS.replace("PLACES", repr((str(mine), str(folder)))).replace("PORT", str(server.getsockname()[1]))
        process = sandbox._start("answer", {"code": code}, theirs.fileno(), -1, Limits(), names)
        theirs.close()
        channel = Channel(ours.detach())
        plain = Plain(channel=channel)
        try:
            told = plain.read(channel.receive()["names"]["not_refused"])()
        finally:
            sandbox._end(process)
            channel._socket.close()
    assert mine.read_text() == "mine"
    assert os.listdir(folder) == ["mine.txt"]
    return told


@pytest.mark.parametrize("names", [("landlock",), ("bubblewrap",), ("bubblewrap", "landlock")])
def test_an_answer_is_kept_from_everything_else(names: tuple[str, ...], tmp_path: Path) -> None:
    missing = "bubblewrap" in names and shutil.which("bwrap") is None
    if missing or ("landlock" in names and "landlock" not in sandbox.walls()):
        pytest.skip(f"this machine has no {' and '.join(names)}")
    assert not_refused(names, tmp_path) == []


@pytest.mark.parametrize("changed", ["kernel", "machine"])
def test_no_sandbox_is_one_line(changed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if changed == "kernel":
        monkeypatch.setattr(sandbox.behind_walls, "landlock_version", lambda: 0)
        monkeypatch.setenv("PATH", "/nowhere")
        message = r"this machine allows none: Landlock is not in its kernel, and bubblewrap \(bwrap\) is not installed"
    else:
        monkeypatch.setattr(sandbox.platform, "machine", lambda: "arm64")
        message = f"a sandbox of Linux on x86_64, this is {sys.platform} arm64"
    sandbox.walls.cache_clear()
    try:
        with pytest.raises(NoSandboxError, match=message):
            make_code("")
    finally:
        sandbox.walls.cache_clear()
