"""A reward model that answers line by line: `python -m rewardkit.scoring.lines MODEL`, until its input ends.

    in    {"id": 1, "prompt": [{"role": "user", "content": "..."}], "completions": ["...", "..."]}
    out   {"id": 1, "members": [[...], ...]}   one list per member, one reward per completion
    out   {"id": 1, "error": "..."}

See `rewardkit.run.line_server` for how it begins and ends.
"""

from __future__ import annotations

import sys
from typing import Any

from rewardkit.data.conversations import read_messages
from rewardkit.reward.reward import RewardFn
from rewardkit.run.line_server import Answer, serve_model


def answer(request: dict[str, Any], reward_fn: RewardFn) -> dict[str, object]:
    """The rewards that a request asks for.

    Raises:
        ValueError: if it cannot be read, or the model cannot read what it asks.
    """
    try:
        prompt = read_messages(request["prompt"], "prompt") if request["prompt"] else ()
        completions = [str(text) for text in request["completions"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a line takes id, prompt and completions: {error!r}") from error
    return {"members": reward_fn([prompt] * len(completions), completions).members.tolist()}


def main(model: str) -> int:
    """Loads a model and serves standard input; the exit code."""

    def load() -> Answer:
        from rewardkit.reward.load import load_reward_fn

        reward_fn = load_reward_fn(model)
        return lambda request: answer(request, reward_fn)

    return serve_model(load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
