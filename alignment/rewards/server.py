"""A reward server: one POST of JSON for each batch, asked again while it cannot be reached or says 5xx.

out   {"prompts": [[{"role": "user", "content": "..."}], ...], "completions": ["...", ...],
       "columns": {"answer": [...], ...}}
in    {"rewards": [...]}, one number for each completion, or {"members": [[...], ...]}, a list for each member

Instead of a number a completion may have rewards of its spans, [[end, reward], ...], see `alignment.rewards.spans`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from alignment.rewards.http_client import RefusedError, UnansweredError, ask, head, read_json, with_retries
from alignment.rewards.source import RewardBatch, RewardError
from alignment.rewards.spans import SpanError, SpanReward, is_number, read_spans
from rewardkit.data.export_formats import turns
from rewardkit.reward.reward import Reward

WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before each further try


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

    def __call__(self, batch: RewardBatch) -> Reward | SpanReward:
        """Rewards of the B completions, by as many members as the server has.

        Raises:
            RewardError: if the server cannot be reached after all tries, refuses, or answers anything else.
        """
        body = self._body(batch)
        try:
            answer = with_retries(
                lambda: ask(self.url, body, timeout_s=self.timeout_s),
                about=f"reward {self.about}",
                waits_s=self.waits_s,
            )
            content = read_json(answer)
        except (UnansweredError, RefusedError, ValueError) as error:
            raise RewardError(self.about, str(error), batch) from error
        members = content.get("members", [content.get("rewards")]) if isinstance(content, dict) else None
        if not isinstance(members, list) or not members or not all(isinstance(row, list) for row in members):
            raise RewardError(self.about, f"the answer has neither rewards nor members: {head(answer)}", batch)
        for row in members:
            if len(row) != len(batch):
                raise RewardError(self.about, f"{len(row)} rewards for {len(batch)} completions", batch)
        if all(is_number(value) for row in members for value in row):
            return Reward(members=np.array(members, dtype=np.float64))
        try:
            rows = [read_spans(row, batch.completions, batch.num_tokens) for row in members]
        except SpanError as error:
            raise RewardError(self.about, str(error), batch, error.index) from error
        first = rows[0]
        if any(row.completion.tolist() != first.completion.tolist() for row in rows) or any(
            row.ends.tolist() != first.ends.tolist() for row in rows
        ):
            raise RewardError(self.about, "members give rewards of other spans than the first one", batch)
        return replace(first, members=np.concatenate([row.members for row in rows]))

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


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is none of JSON's types")
