"""A server asked by HTTP, JSON out and JSON in: one try, and which failures are worth another one.

httpx and tenacity are imported when a server is asked. Redirects are not followed: a POST that is redirected would
arrive without its body or at a machine that nobody named, so they are refusals that name the new address.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import httpx
    import tenacity

logger = logging.getLogger(__name__)
T = TypeVar("T")
TOO_MANY_REQUESTS = 429  # the one status of 4xx that is worth asking again
SHOWN = 200  # characters of a server's answer in an error
INSTALL = 'asking a server needs httpx and tenacity: pip install "tiebreak[train]"'


class UnansweredError(OSError):
    """A server that cannot be reached, does not answer in time, breaks off or says 5xx: worth asking again."""


class RefusedError(OSError):
    """A server that answers 3xx or 4xx: the same question gets the same answer."""


def ask(url: str, body: bytes | None, *, timeout_s: float) -> bytes:
    """Sends a POST of JSON, or a GET where there is no body; returns the whole answer.

    Args:
        timeout_s: from the first byte sent to the last one read.

    Raises:
        UnansweredError: if another try may succeed.
        RefusedError: if it would not.
        ImportError: if httpx is missing.
    """
    client = _client()
    import httpx

    deadline = time.monotonic() + timeout_s
    content = bytearray()
    method, headers = "GET" if body is None else "POST", {"Content-Type": "application/json"}
    try:
        with client.stream(method, url, content=body, headers=headers, timeout=timeout_s) as response:
            for part in response.iter_bytes():
                content += part
                if time.monotonic() > deadline:  # httpx's timeout is for a single read
                    raise UnansweredError(f"no whole answer within {timeout_s:g} s")
    except httpx.InvalidURL as error:
        raise RefusedError(f"{url} is no address: {error}") from error
    except httpx.HTTPError as error:
        raise UnansweredError(str(error) or type(error).__name__) from error
    _check_status(response, bytes(content))
    return bytes(content)


def with_retries(work: Callable[[], T], *, about: str, waits_s: Sequence[float]) -> T:
    """Runs work that asks a server, again while the server does not answer; returns its result.

    Args:
        about: what the log calls the server.
        waits_s: seconds before each further try; as many tries as waits, and one.

    Raises:
        UnansweredError: if the last try is not answered either.
        ImportError: if tenacity is missing.
    """
    try:
        import tenacity
    except ImportError as error:
        raise ImportError(INSTALL) from error

    def wait_s(state: tenacity.RetryCallState) -> float:
        return (*waits_s, 0.0)[state.attempt_number - 1]

    def warn(state: tenacity.RetryCallState) -> None:
        cause = state.outcome.exception() if state.outcome else None
        logger.warning("%s: %s; asking again in %g s", about, cause, wait_s(state))

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(UnansweredError),
        wait=wait_s,
        stop=tenacity.stop_after_attempt(len(waits_s) + 1),
        before_sleep=warn,
        reraise=True,
    )
    try:
        return retrying(work)
    except UnansweredError as error:
        raise UnansweredError(f"no answer after {len(waits_s) + 1} tries, the last: {error}") from error


def read_json(answer: bytes) -> Any:
    """Parses the JSON of an answer.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return json.loads(answer)
    except ValueError as error:
        raise ValueError(f"the answer is no JSON: {head(answer)}") from error


def head(answer: bytes) -> str:
    """Returns the beginning of an answer, in one line."""
    text = " ".join(answer[:SHOWN].decode(errors="replace").split())
    return repr(text) + ("..." if len(answer) > SHOWN else "")


@cache
def _client() -> httpx.Client:
    """Returns one client for all threads; each request opens its own connection, so a server may restart in between."""
    try:
        import httpx
    except ImportError as error:
        raise ImportError(INSTALL) from error
    return httpx.Client(limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))


def _check_status(response: httpx.Response, content: bytes) -> None:
    if response.is_success:
        return
    cause = f"HTTP status {response.status_code}: {head(content)}"
    if response.has_redirect_location:
        raise RefusedError(f"{cause}; it redirects to {response.headers['Location']}, which is not followed")
    if response.status_code < 500 and response.status_code != TOO_MANY_REQUESTS:
        raise RefusedError(cause)
    raise UnansweredError(cause)
