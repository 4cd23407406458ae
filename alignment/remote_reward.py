"""A reward server: one POST of JSON for each batch, asked again while it cannot be reached or says 5xx.

out   {"prompts": [[{"role": "user", "content": "..."}], ...], "completions": ["...", ...],
       "columns": {"answer": [...], ...}}
in    {"rewards": [...]}, one number for each completion, or {"members": [[...], ...]}, a list for each member
"""

from __future__ import annotations

import http.client
import json
import logging
import time
import urllib.error
import urllib.request
from typing import Any

import numpy as np

from alignment.reward_source import RewardBatch, RewardError
from rewardkit.preference_rows import turns
from rewardkit.reward import Reward

logger = logging.getLogger(__name__)
WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before each further try
TOO_MANY = 429  # the one answer of 4xx that is worth asking again
SHOWN = 200  # characters of a server's answer in an error


class RemoteReward:
    """A reward server as a source of rewards; see the module.

    Args:
        url: to post to.
        name: what errors call it.
        timeout_s: for one try.
        waits_s: seconds before each further try; as many tries as waits, and one.
    """

    def __init__(self, url: str, *, name: str, timeout_s: float = 60.0, waits_s: tuple[float, ...] = WAITS_S) -> None:
        self.url, self.timeout_s, self.waits_s = url, timeout_s, waits_s
        self.about = f"{name} ({url})"

    def __call__(self, batch: RewardBatch) -> Reward:
        """Rewards of the B completions, by as many members as the server has.

        Raises:
            RewardError: if the server cannot be reached after all tries, refuses, or answers anything else.
        """
        answer = self._post(self._body(batch), batch)
        try:
            found = json.loads(answer)
        except ValueError as error:
            raise RewardError(self.about, f"the answer is no JSON: {_head(answer)}", batch) from error
        members = found.get("members", [found.get("rewards")]) if isinstance(found, dict) else None
        if not isinstance(members, list) or not members or not all(isinstance(row, list) for row in members):
            raise RewardError(self.about, f"the answer has neither rewards nor members: {_head(answer)}", batch)
        for row in members:
            if len(row) != len(batch):
                raise RewardError(self.about, f"{len(row)} rewards for {len(batch)} completions", batch)
            for index, value in enumerate(row):
                if not isinstance(value, int | float):
                    raise RewardError(self.about, f"the reward is {value!r:.80}, allowed is a number", batch, index)
        return Reward(members=np.array(members, dtype=np.float64))

    def close(self) -> None:
        """Holds no connection."""

    def _body(self, batch: RewardBatch) -> bytes:
        asked = {
            "prompts": [turns(prompt) for prompt in batch.prompts],
            "completions": list(batch.completions),
            "columns": {name: list(values) for name, values in batch.columns.items()},
        }
        try:
            return json.dumps(asked, default=_plain).encode()
        except TypeError as error:
            raise RewardError(self.about, f"a column cannot be sent as JSON: {error}") from error

    def _post(self, body: bytes, batch: RewardBatch) -> bytes:
        """The answer's body, after as many tries as it takes."""
        cause = ""
        for wait_s in (*self.waits_s, None):
            try:
                return self._try(body)
            except urllib.error.HTTPError as error:
                with error:
                    cause = f"HTTP status {error.code}: {_head(error.read())}"
                if error.code < 500 and error.code != TOO_MANY:
                    raise RewardError(self.about, cause, batch) from error
            except (OSError, http.client.HTTPException) as error:
                reason = error.reason if isinstance(error, urllib.error.URLError) else error
                cause = f"{reason}" if str(reason) else type(reason).__name__
            if wait_s is not None:
                logger.warning("reward %s: %s; asking again in %g s", self.about, cause, wait_s)
                time.sleep(wait_s)
        raise RewardError(self.about, f"no rewards after {len(self.waits_s) + 1} tries, the last: {cause}", batch)

    def _try(self, body: bytes) -> bytes:
        deadline = time.monotonic() + self.timeout_s
        request = urllib.request.Request(self.url, data=body, headers={"Content-Type": "application/json"})
        parts = bytearray()
        with urllib.request.urlopen(request, timeout=self.timeout_s) as response:
            while part := response.read1(1 << 16):
                parts += part
                if time.monotonic() > deadline:  # the socket's own timeout is for a single read
                    raise TimeoutError(f"no whole answer within {self.timeout_s:g} s")
            if response.length:
                raise http.client.IncompleteRead(bytes(parts), response.length)
        return bytes(parts)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is none of JSON's types")


def _head(answer: bytes) -> str:
    text = " ".join(answer[:SHOWN].decode(errors="replace").split())
    return repr(text) + ("..." if len(answer) > SHOWN else "")
