"""A process that walls itself in and then runs code of somebody else: `python -I -S behind_walls.py ROLE FD ...`.

Its standard input holds the job as JSON. Before a line of the job runs, the process gives up what it has:

    user        of root it becomes nobody, where nobody can read Python's own files; capabilities go
    limits      CPU time, memory, open files, core; it can write no file at all
    files       Landlock (kernel 5.13): Python's own libraries are read, nothing else is, and nothing is written
    calls       seccomp: only the system calls of WITH_ANY and SOME; no process, program, socket or signal to others

Two roles, so that an answer cannot pass by anything but right values. `answer` loads the answer and does what it is
asked over a socket: read a name, call a function. `tests` runs the tests, where each name that the answer defines
stands for a question over that socket; values come back as plain ones (numbers, texts, lists, tuples, sets, dicts), so
no object of the answer's own, no patched assertion and no exit reaches the process that says what passed.

Standard library alone, and nothing of this repository: whatever walls there are, this one file has to be read.
"""

from __future__ import annotations

import builtins
import ctypes
import json
import os
import resource
import socket
import struct
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

MOST_BYTES = 1 << 20  # of a frame
MOST_ITEMS = 10_000  # of an iterator that an answer returns
NOBODY = 65534
_LENGTH = struct.Struct(">I")

# System calls of x86_64. With any arguments:
WITH_ANY = (
    *range(16),  # files that may be opened, memory, signals to itself
    *range(17, 29),  # read and write, access, pipe, select, memory
    *(32, 33, 34, 35, 36, 37, 38, 39),  # dup, sleep, timers, getpid
    *(44, 45, 46, 47, 48, 51, 55),  # sockets that are open
    *(60, 63, 73, 74, 78, 79, 80, 89, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 115, 127, 128, 131),
    *(186, 201, 202, 204, 213, 217, 218, 219, 228, 229, 230, 231, 232, 233),
    *(257, 262, 267, 269, 270, 271, 273, 290, 291, 292, 293, 309, 318, 324, 332, 334, 439),
)
_CLONE, _CLONE3, _FCNTL, _IOCTL, _KILL, _TGKILL, _PRLIMIT, _SOCKETPAIR = 56, 435, 72, 16, 62, 234, 302, 53
_THREAD = 0x10000
# By call, the place of an argument and the values that it may have; own process stands for its id.
SOME = {
    _FCNTL: (1, (0, 1, 2, 3, 4, 5, 6, 7, 1030)),  # no owner: that is how a signal is sent elsewhere
    _IOCTL: (1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    _PRLIMIT: (0, (0,)),
    _SOCKETPAIR: (1, (1, 0x801, 0x80001, 0x80801)),  # of streams: a datagram reaches any socket of a name, a log's
}


def wall_in(libraries: Sequence[str], *, cpu_s: int, memory: int, with_landlock: bool) -> None:
    """Gives up all that the module's docstring says.

    Args:
        libraries: files and folders that stay readable.

    Raises:
        OSError: where a wall cannot be built.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getppid()
    ruleset = _landlock_rules(libc, libraries) if with_landlock else -1
    _become_nobody()
    _check(libc.prctl(1, 9, 0, 0, 0), "PR_SET_PDEATHSIG")
    if os.getppid() != parent:
        os._exit(1)
    for limit, value in (
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))
    _drop_capabilities(libc)
    _check(libc.prctl(38, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS")
    if with_landlock:
        _check(libc.syscall(446, ruleset, 0), "landlock_restrict_self")
        os.close(ruleset)
    _allow_calls(libc)


def landlock_version() -> int:
    """Version of Landlock that the kernel has; 0 for none."""
    return max(ctypes.CDLL(None).syscall(444, None, 0, 1), 0)


def _check(result: int, name: str) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
    return result


def _become_nobody() -> None:
    """Where it is root, and Python's files can be read by everybody."""
    if os.geteuid() != 0:
        return
    try:
        os.setgroups([])
        os.seteuid(NOBODY)
    except OSError:  # a container that maps no other user
        return
    readable = os.access(os.__file__, os.R_OK, effective_ids=True)
    os.seteuid(0)
    if readable:
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    header = struct.pack("Ii", 0x20080522, 0)
    _check(libc.capset(header, bytes(24)), "capset")


def _landlock_rules(libc: ctypes.CDLL, libraries: Sequence[str]) -> int:
    """A ruleset that forbids every access to files but reading some, and, where known, TCP and signals."""
    version = landlock_version()
    num_rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)
    rights = struct.pack("QQQ", (1 << num_rights) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _check(libc.syscall(444, rights, size, 0), "landlock_create_ruleset")
    for path in libraries:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        read_file, read_folder = 1 << 2, 1 << 3
        rule = struct.pack("=Qi", read_file | (read_folder if os.path.isdir(path) else 0), place)
        _check(libc.syscall(445, ruleset, 1, rule, 0), f"landlock_add_rule {path}")
        os.close(place)
    return ruleset


def _allow_calls(libc: ctypes.CDLL) -> None:
    """Installs the filter of system calls: what is not allowed fails with EPERM, clone3 with ENOSYS."""
    load, equal, any_bit, least, leave = 0x20, 0x15, 0x45, 0x35, 0x06
    allow, refuse, unknown, kill = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
    program: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4), (equal, 1, 0, 0xC000003E), (leave, 0, 0, kill),  # another architecture
        (load, 0, 0, 0), (least, 0, 1, 0x40000000), (leave, 0, 0, refuse),  # x32
        (equal, 0, 1, _CLONE3), (leave, 0, 0, unknown),
        (equal, 0, 4, _CLONE), (load, 0, 0, 16), (any_bit, 0, 1, _THREAD), (leave, 0, 0, allow), (leave, 0, 0, refuse),
    ]  # fmt: skip
    for call in WITH_ANY:
        program += [(equal, 0, 1, call), (leave, 0, 0, allow)]
    own = os.getpid()
    for call, (place, values) in {**SOME, _KILL: (0, (own,)), _TGKILL: (0, (own,))}.items():
        program += [(equal, 0, 2 + 2 * len(values), call), (load, 0, 0, 16 + 8 * place)]
        for value in values:
            program += [(equal, 0, 1, value), (leave, 0, 0, allow)]
        program.append((leave, 0, 0, refuse))
    program.append((leave, 0, 0, refuse))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    whole = struct.pack("@HP", len(program), ctypes.addressof(code))
    _check(libc.prctl(22, 2, whole, 0, 0), "PR_SET_SECCOMP")


class Plain:
    """Values as JSON and back: plain ones as they are, anything else as a number that stands for it.

    Args:
        objects: by number, what is not plain; a list on the side that holds them, None on the side that asks.
    """

    def __init__(self, objects: list[Any] | None = None, channel: Channel | None = None) -> None:
        self.objects, self.channel = objects, channel

    def write(self, value: Any) -> Any:
        if value is None or type(value) in (bool, int, float, str):
            return value
        for name, kind in (("list", list), ("tuple", tuple), ("set", set), ("frozenset", frozenset)):
            if isinstance(value, kind):
                return {name: [self.write(one) for one in value]}
        if isinstance(value, dict):
            return {"dict": [[self.write(key), self.write(one)] for key, one in value.items()]}
        if isinstance(value, complex):
            return {"complex": [value.real, value.imag]}
        if isinstance(value, bytes | bytearray):
            return {"bytes": list(value)}
        if isinstance(value, Remote):
            return {"object": value._number}
        if callable(getattr(type(value), "tolist", None)):  # of numpy
            return self.write(value.tolist())
        if self.objects is None:
            raise TypeError(f"{type(value).__name__} is no plain value, which alone goes to an answer")
        if isinstance(value, Iterator | range | type({}.keys()) | type({}.values()) | type({}.items())):
            return {"iterator": [self.write(one) for one in islice(value, MOST_ITEMS)]}
        self.objects.append(value)
        return {"object": len(self.objects) - 1}

    def read(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        ((kind, inside),) = value.items()
        match kind:
            case "list" | "tuple" | "set" | "frozenset" | "iterator":
                make = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "iterator": iter}[kind]
                return make([self.read(one) for one in inside])
            case "dict":
                return {self.read(key): self.read(one) for key, one in inside}
            case "complex":
                return complex(*inside)
            case "bytes":
                return bytes(inside)
            case "object" if self.objects is not None:
                return self.objects[inside]
            case "object":
                assert self.channel is not None
                return Remote(self.channel, int(inside))
        raise ValueError(f"{kind} is no kind of value")


class Channel:
    """Frames of JSON over a socket."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)

    def send(self, value: object) -> None:
        body = json.dumps(value).encode()
        if len(body) > MOST_BYTES:
            raise ValueError(f"a value takes {len(body)} bytes, allowed is {MOST_BYTES}")
        self._socket.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> Any:
        (size,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if size > MOST_BYTES:
            raise ValueError(f"a frame of {size} bytes, allowed is {MOST_BYTES}")
        return json.loads(self._read(size))

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._socket.recv(size - len(parts))
            if not part:
                raise EOFError("the answer's process has ended")
            parts += part
        return bytes(parts)


class Remote:
    """Something of the answer that is no plain value: a function, a class, an object of one.

    It is neither true nor equal to anything: a test that asks for that fails.
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, channel: Channel, number: int) -> None:
        self._channel, self._number = channel, number

    def __bool__(self) -> bool:
        raise TypeError("an object of the answer is neither true nor false")

    def __eq__(self, other: object) -> bool:
        raise TypeError("an object of the answer is not compared")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask({"of": self._number, "get": name}, ())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain = Plain(channel=self._channel)
        question = {"of": self._number, "args": [plain.write(one) for one in args]}
        return self._ask({**question, "kwargs": {name: plain.write(one) for name, one in kwargs.items()}}, args)

    def _ask(self, question: Mapping[str, Any], args: tuple[Any, ...]) -> Any:
        self._channel.send(question)
        reply, plain = self._channel.receive(), Plain(channel=self._channel)
        if "raised" in reply:
            kind, text = reply["raised"]
            known = getattr(builtins, str(kind), None)
            if isinstance(known, type) and issubclass(known, Exception):
                raise known(str(text))
            raise RuntimeError(str(text))
        for before, after in zip(args, reply["args"], strict=False):  # lists and dicts that it has changed
            changed = plain.read(after)
            if isinstance(before, list) and isinstance(changed, list):
                before[:] = changed
            elif isinstance(before, dict | set) and type(changed) is type(before) and before != changed:
                before.clear()
                before.update(changed)
        return plain.read(reply["value"])


def serve_answer(code: str, channel: Channel) -> None:
    """Loads an answer and does what it is asked until nobody asks."""
    module = types.ModuleType("answer")
    sys.modules["answer"] = module
    try:
        exec(compile(code, "<answer>", "exec"), module.__dict__)
    except BaseException as error:
        channel.send({"problem": f"{type(error).__name__}: {error}"[:200]})
        return
    objects: list[Any] = [module]
    plain = Plain(objects)
    own = {
        name: plain.write(value)
        for name, value in vars(module).copy().items()
        if callable(value) and getattr(value, "__module__", None) == "answer" and not name.startswith("__")
    }
    channel.send({"names": own})
    while True:
        question = channel.receive()
        args = [plain.read(one) for one in question.get("args", ())]
        try:
            target = objects[question["of"]]
            if "get" in question:
                value = getattr(target, question["get"])
            else:
                value = target(*args, **{name: plain.read(one) for name, one in question["kwargs"].items()})
            channel.send({"value": plain.write(value), "args": [plain.write(one) for one in args]})
        except BaseException as error:
            known = next((kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"), "")
            channel.send({"raised": [known, str(error)[:1000]]})


def run_tests(job: Mapping[str, Any], channel: Channel) -> list[bool]:
    """Whether each test passes; a text is one test, with `check` of the entry point and its functions `test_...`."""
    hello = channel.receive()
    if "problem" in hello:
        return [False] * len(job["tests"])
    plain = Plain(channel=channel)
    names = {name: plain.read(value) for name, value in hello["names"].items()}
    entry = job.get("entry_point")
    # An answer that writes to the socket itself may name anything, `__builtins__` too: its functions alone count.
    scope: dict[str, Any] = {
        name: one
        for name, one in names.items()
        if isinstance(one, Remote) and not name.startswith("__") and (name == entry or not hasattr(builtins, name))
    }
    scope["__name__"] = "tests"
    passed = []
    try:
        exec(compile(job.get("setup") or "", "<setup>", "exec"), scope)
    except BaseException:
        return [False] * len(job["tests"])
    for text in job["tests"]:
        try:
            exec(compile(text, "<tests>", "exec"), scope)
            own = {name: value for name, value in scope.items() if isinstance(value, types.FunctionType)}
            if entry and "check" in own:
                own["check"](scope[entry])
            for test in [value for name, value in own.items() if name.startswith("test_")]:
                test()
            passed.append(True)
        except BaseException:
            passed.append(False)
    return passed


def main(role: str, descriptor: int, result: int, cpu_s: int, memory: int, with_landlock: bool) -> None:
    """Walls in, then plays one role."""
    job = json.loads(sys.stdin.buffer.read())
    sys.path += job["packages"]
    wall_in(job["libraries"], cpu_s=cpu_s, memory=memory, with_landlock=with_landlock)
    channel = Channel(descriptor)
    if role == "answer":
        serve_answer(job["code"], channel)
    else:
        os.write(result, json.dumps(run_tests(job, channel)).encode())


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:6]), with_landlock=sys.argv[6] == "landlock")
