"""A Python reward function in a process of its own: `python -P worker.py FD PARENT`, until its socket closes.

Frames of pickle both ways, each behind its length. The first one in says what to load, from which `sys.path`, and what
it returns (numbers, or with `returns` "json" values that JSON can write, as judges do); the answer is
`("ready", names, needed, place)`: the keyword names that the function takes (None for all), those it cannot do without,
and where it stands. Then each frame in holds the number of completions and the keywords, each answer is
`("rewards", values)`, `("values", values)` or `("problem", index, text)`, the index None where only the batch is known.
A reward is a number, or a list of numbers or pairs of them (`alignment.rewards.spans`).

Standard library alone, and imported by path, so that it starts at once whatever the function needs. What the function
prints goes to the standard error: standard output belongs to the command.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import os
import pickle
import socket
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

LENGTH = struct.Struct(">Q")
LOOK_EVERY_S = 1.0


def send(channel: socket.socket, value: object) -> None:
    """Writes one frame."""
    body = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    channel.sendall(LENGTH.pack(len(body)) + body)


Function = Callable[..., Any]


def load(target: str, argument: str | None) -> Function:
    """Returns the function that `module:function` or `file.py:function` names; with an argument, its result for it."""
    module_name, _, name = target.rpartition(":")
    if module_name.endswith(".py"):
        spec = importlib.util.spec_from_file_location(Path(module_name).stem, module_name)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(Path(module_name).resolve().parent))  # its neighbours, as when it is run
        sys.modules.setdefault(spec.name, module)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(module_name)
    function: Function | None = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise LookupError(f"{module_name} has no function {name}; it has {', '.join(functions) or 'none'}")
    made: Any = function if argument is None else function(argument)
    return made


def names_of(function: Callable[..., Any]) -> tuple[list[str] | None, list[str]]:
    """Returns the keyword names that a function takes (None for any), and those that are required."""
    parameters = inspect.signature(function).parameters.values()
    if positional := [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_ONLY]:
        raise TypeError(f"it takes {', '.join(positional)} by position, allowed are keywords")
    named = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    ]
    needed = [parameter.name for parameter in named if parameter.default is parameter.empty]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None, needed
    return [parameter.name for parameter in named], needed


def place_of(function: Callable[..., Any]) -> str:
    """Returns file and line of a function, as far as it has them."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)


def call(function: Callable[..., Any], keywords: Mapping[str, Any], count: int) -> tuple[Any, ...]:
    """Answers one batch of `count` completions."""
    try:
        returned = function(**keywords)
    except BaseException as error:  # a reward function may even call sys.exit
        return "problem", None, f"{type(error).__name__}: {error}{_raised_at(error, function)}"
    values = returned.tolist() if hasattr(returned, "tolist") else returned
    if not isinstance(values, list | tuple):
        return "problem", None, f"it returned {type(returned).__name__}, allowed is a list of numbers"
    if len(values) != count:
        return "problem", None, f"it returned {len(values)} rewards for {count} completions"
    rewards: list[Any] = []
    for index, value in enumerate(values):
        try:
            rewards.append(_numbers(value))
        except TypeError as error:
            return "problem", index, f"the reward is {error}, allowed is a number, or a list of them by span"
    return "rewards", rewards


def _numbers(value: Any) -> Any:
    """A number, or a list of numbers or of lists of them, of numpy and torch too, as Python's own."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(plain, list | tuple):
        return [_numbers(one) for one in plain]
    if not isinstance(plain, Real):
        raise TypeError(f"{plain!r:.80}")
    return int(plain) if isinstance(plain, Integral) else float(plain)


def call_for_values(function: Function, keywords: Mapping[str, Any], count: int) -> tuple[Any, ...]:
    """Answers one batch with `count` values as JSON writes them: nothing of the function's own types leaves here."""
    try:
        returned = function(**keywords)
    except BaseException as error:
        return "problem", None, f"{type(error).__name__}: {error}{_raised_at(error, function)}"
    values = returned.tolist() if hasattr(returned, "tolist") else returned
    if not isinstance(values, list | tuple):
        return "problem", None, f"it returned {type(returned).__name__}, allowed is a list"
    if len(values) != count:
        return "problem", None, f"it returned {len(values)} answers to {count} questions"
    for index, value in enumerate(values):
        try:
            json.dumps(value, allow_nan=False, default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            return "problem", index, f"the answer is {value!r:.80}: {error}"
    return "values", json.loads(json.dumps(list(values), default=_plain))


def _plain(value: Any) -> Any:
    """A number or list of numpy or torch as Python's own."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can write")


def _raised_at(error: BaseException, function: Callable[..., Any]) -> str:
    """Returns the last line of the function's own file in the traceback, or the innermost line."""
    own_file = place_of(function).rpartition(":")[0]
    frames = traceback.extract_tb(error.__traceback__)[1:]
    if not frames:
        return ""
    frame = next((candidate for candidate in reversed(frames) if candidate.filename == own_file), frames[-1])
    return f", at {frame.filename}:{frame.lineno}"


def receive(channel: socket.socket) -> Any:
    """Reads one frame; ends the process where the socket is closed."""
    (size,) = LENGTH.unpack(_read(channel, LENGTH.size))
    return pickle.loads(_read(channel, size))


def _read(channel: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            os._exit(0)
        parts += part
    return bytes(parts)


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, even within a function that does not return."""
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY_S)
    os._exit(1)


def main(descriptor: int, parent: int) -> None:
    """Serves one parent."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with socket.socket(fileno=descriptor) as channel:
        channel.setblocking(True)
        wanted = receive(channel)
        sys.path[:] = wanted["path"]
        try:
            function = load(wanted["target"], wanted["argument"])
            names, needed = names_of(function)
        except BaseException as error:
            own = traceback.extract_tb(error.__traceback__)[-1]
            send(channel, ("problem", None, f"{type(error).__name__}: {error}, at {own.filename}:{own.lineno}"))
            return
        send(channel, ("ready", names, needed, place_of(function)))
        while True:
            count, keywords = receive(channel)
            answer = call_for_values if wanted.get("returns") == "json" else call
            send(channel, answer(function, keywords, count))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
