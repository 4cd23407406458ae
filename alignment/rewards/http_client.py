"""A server asked by HTTP, JSON out and JSON in: one try, and what is worth another one."""

from __future__ import annotations

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")
TOO_MANY = 429  # the one answer of 4xx that is worth asking again
SHOWN = 200  # characters of a server's answer in an error


class UnansweredError(OSError):
    """A server that cannot be reached, does not answer in time, breaks off or says 5xx: worth asking again."""


class RefusedError(OSError):
    """A server that says 4xx: the same question gets the same answer."""


def ask(url: str, body: bytes | None, *, timeout_s: float) -> bytes:
    """The whole answer to a POST of JSON, or to a GET where there is no body.

    Args:
        timeout_s: from the first byte sent to the last one read.

    Raises:
        UnansweredError: see there.
        RefusedError: see there.
    """
    try:
        return _ask(urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"}), timeout_s)
    except (UnansweredError, RefusedError):
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise UnansweredError(f"{reason}" if str(reason) else type(reason).__name__) from error


def patiently(work: Callable[[], T], *, about: str, waits_s: Sequence[float]) -> T:
    """The result of work that asks a server, begun again while the server does not answer.

    Args:
        about: what the log calls the server.
        waits_s: seconds before each further try; as many tries as waits, and one.

    Raises:
        UnansweredError: if the last try is not answered either.
    """
    for wait_s in waits_s:
        try:
            return work()
        except UnansweredError as error:
            logger.warning("%s: %s; asking again in %g s", about, error, wait_s)
        time.sleep(wait_s)
    try:
        return work()
    except UnansweredError as error:
        raise UnansweredError(f"no answer after {len(waits_s) + 1} tries, the last: {error}") from error


def read_json(answer: bytes) -> Any:
    """What an answer holds.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(answer)
    except ValueError as error:
        raise ValueError(f"the answer is no JSON: {head(answer)}") from error


def head(answer: bytes) -> str:
    """The beginning of an answer, in one line."""
    text = " ".join(answer[:SHOWN].decode(errors="replace").split())
    return repr(text) + ("..." if len(answer) > SHOWN else "")


def _ask(request: urllib.request.Request, timeout_s: float) -> bytes:
    deadline = time.monotonic() + timeout_s
    parts = bytearray()
    try:
        opened = urllib.request.urlopen(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            cause = f"HTTP status {error.code}: {head(error.read())}"
        if error.code < 500 and error.code != TOO_MANY:
            raise RefusedError(cause) from error
        raise UnansweredError(cause) from error
    with opened as response:
        while part := response.read1(1 << 16):
            parts += part
            if time.monotonic() > deadline:  # the socket's own timeout is for a single read
                raise TimeoutError(f"no whole answer within {timeout_s:g} s")
        if response.length:
            raise http.client.IncompleteRead(bytes(parts), response.length)
    return bytes(parts)
