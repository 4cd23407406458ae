"""A reward model that answers line by line: `python -m rewardkit.scoring.lines MODEL`, until its input ends.

    in    {"id": 1, "prompt": [{"role": "user", "content": "..."}], "completions": ["...", "..."]}
    out   {"id": 1, "members": [[...], ...]}   one list per member, one reward per completion
    out   {"id": 1, "error": "..."}

A line with "parts": true is answered with what else there is of each completion, beside its rewards:

    "criteria"   by criterion head, one reward per completion, mean over members
    "words"      of a model that counts words, per completion [[start, end, value], ...]: what each word adds, and
    "length"     what the number of words adds; both null for other models

The first line out is {"ready": true}, once the model is loaded, or {"error": "..."}, after which it ends with code 2.
For programs that keep a model at hand without importing torch themselves.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rewardkit.data.conversations import read_messages
from rewardkit.data.records import Message
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
    parts = parts_of(reward_fn, prompt, completions) if request.get("parts") else {}
    return {"id": request.get("id"), "members": reward.members.tolist(), **parts}


def parts_of(reward_fn: RewardFn, prompt: Sequence[Message], completions: Sequence[str]) -> dict[str, object]:
    """What a model's criterion heads say of completions, and what their words add, where it counts words."""
    models: list[Any] = getattr(reward_fn, "members", None) or [reward_fn]
    own = [model.criterion_weights for model in models]
    criteria = {}
    try:
        for name in reward_fn.card.criteria:  # type: ignore[attr-defined]
            for model in models:
                model.criterion_weights = {name: 1.0}
            criteria[name] = reward_fn([prompt] * len(completions), completions).mean.tolist()
    finally:
        for model, weights in zip(models, own, strict=True):
            model.criterion_weights = weights
    if not hasattr(reward_fn, "word_contributions"):
        return {"criteria": criteria, "words": None, "length": None}
    added = [reward_fn.word_contributions(text) for text in completions]  # type: ignore[attr-defined]
    words = [[[one.start, one.end, one.value] for one in contributions] for contributions, _ in added]
    return {"criteria": criteria, "words": words, "length": [length for _, length in added]}


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
