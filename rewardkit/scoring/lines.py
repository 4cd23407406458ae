"""A reward model that answers line by line: `python -m rewardkit.scoring.lines MODEL`, until its input ends.

    in    {"id": 1, "prompt": [{"role": "user", "content": "..."}], "completions": ["...", "..."]}
    out   {"id": 1, "members": [[...], ...]}   one list per member, one reward per completion
    out   {"id": 1, "error": "..."}

The first line out is {"ready": true}, once the model is loaded, or {"error": "..."}, after which it ends with code 2.
For programs that keep a model at hand without importing torch themselves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import TextIO

from rewardkit.data.conversations import read_messages
from rewardkit.reward.reward import RewardFn
from rewardkit.run.training_command import sleep_between_products


def answer(line: str, reward_fn: RewardFn) -> dict[str, object]:
    """The answer to one line."""
    try:
        request = json.loads(line)
    except ValueError as error:
        return {"error": f"not readable as JSON ({error})"}
    try:
        prompt = read_messages(request["prompt"], "prompt") if request["prompt"] else ()
        completions = [str(text) for text in request["completions"]]
    except (KeyError, TypeError, ValueError) as error:
        return {"error": f"a line takes id, prompt and completions: {error!r}"}
    try:
        reward = reward_fn([prompt] * len(completions), completions)
    except (ValueError, RuntimeError) as error:
        return {"id": request.get("id"), "error": " ".join(str(error).split())}
    return {"id": request.get("id"), "members": reward.members.tolist()}


def serve(lines: Iterable[str], out: TextIO, reward_fn: RewardFn) -> None:
    """Answers every line, in order, as soon as it is there."""
    for line in lines:
        _say(out, answer(line, reward_fn))


def main(model: str) -> int:
    """Loads a model and serves standard input; the exit code."""
    out = os.fdopen(os.dup(1), "w")  # libraries that print must not get between the answers
    os.dup2(2, 1)
    sleep_between_products()
    try:
        from rewardkit.reward.load import load_reward_fn

        reward_fn = load_reward_fn(model)
    except (ValueError, OSError, ImportError) as error:
        _say(out, {"error": " ".join(str(error).split())})
        return 2
    _say(out, {"ready": True})
    serve(sys.stdin, out, reward_fn)
    return 0


def _say(out: TextIO, values: dict[str, object]) -> None:
    out.write(json.dumps(values) + "\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
