"""A model that answers line by line: JSON in, JSON out, until its input ends. For programs that never import torch.

The first line out is {"ready": true}, once the model is loaded, or {"error": "..."}, after which it ends with code 2.
What a line asks, and how it is answered, is the model's: `rewardkit.scoring.lines` rewards,
`alignment.generation.lines` writes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from rewardkit.run.training_command import sleep_between_products

Answer = Callable[[dict[str, Any]], dict[str, Any]]
"""Takes a request and returns what is said to it besides its id; ValueErrors and RuntimeErrors become one line."""


def serve_model(load: Callable[[], Answer]) -> int:
    """Loads a model and serves standard input; the exit code."""
    out = os.fdopen(os.dup(1), "w")  # libraries that print must not get between the answers
    os.dup2(2, 1)
    sleep_between_products()
    try:
        answer = load()
    except (ValueError, OSError, ImportError, RuntimeError, MemoryError) as error:
        _say(out, {"error": say_error(error)})
        return 2
    _say(out, {"ready": True})
    serve(sys.stdin, out, answer)
    return 0


def serve(lines: Iterable[str], out: TextIO, answer: Answer) -> None:
    """Answers every line, in order, as soon as it is there."""
    for line in lines:
        _say(out, answer_line(line, answer))


def answer_line(line: str, answer: Answer) -> dict[str, Any]:
    """What is said to one line: its id with the answer, or with what is wrong."""
    try:
        request = json.loads(line)
    except ValueError as error:
        return {"error": f"not readable as JSON ({error})"}
    if not isinstance(request, dict):
        return {"error": f"a line takes an object, not {line.strip()[:80]!r}"}
    try:
        return {"id": request.get("id"), **answer(request)}
    except (ValueError, RuntimeError, MemoryError) as error:
        return {"id": request.get("id"), "error": say_error(error)}


def say_error(error: BaseException) -> str:
    """The error in one line; memory that ran out in plain words."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory ran out; ask for fewer or shorter answers"
    return " ".join(str(error).split()) or type(error).__name__


def _say(out: TextIO, values: dict[str, Any]) -> None:
    out.write(json.dumps(values) + "\n")
    out.flush()
