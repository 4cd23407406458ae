"""A reward model that answers line by line: `python -m rewardkit.scoring.lines MODEL`, until its input ends.

    in    {"id": 1, "prompt": [{"role": "user", "content": "..."}], "completions": ["...", "..."]}
    out   {"id": 1, "members": [[...], ...]}   one list per member, one reward per completion
    out   {"id": 1, "error": "..."}

A line with "parts": true is answered with what else there is of each completion, beside its rewards:

    "criteria"   by criterion head, one reward per completion, mean over members
    "words"      of a model that counts words, per completion [[start, end, value], ...]: what each word adds, and
    "length"     what the number of words adds; both null for other models

See `rewardkit.run.line_server` for how it begins and ends.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from rewardkit.data.conversations import read_messages
from rewardkit.data.records import Message
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
    members = reward_fn([prompt] * len(completions), completions).members.tolist()
    return {"members": members} | (parts_of(reward_fn, prompt, completions) if request.get("parts") else {})


def parts_of(reward_fn: RewardFn, prompt: Sequence[Message], completions: Sequence[str]) -> dict[str, object]:
    """What a model's criterion heads say of completions, and what their words add, where it counts words."""
    names: Sequence[str] = reward_fn.card.criteria  # type: ignore[attr-defined]
    models: list[Any] = (getattr(reward_fn, "members", None) or [reward_fn]) if names else []
    own = [model.criterion_weights for model in models]
    criteria = {}
    try:
        for name in names:
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


def main(model: str) -> int:
    """Loads a model and serves standard input; the exit code."""

    def load() -> Answer:
        from rewardkit.reward.load import load_reward_fn

        reward_fn = load_reward_fn(model)
        return lambda request: answer(request, reward_fn)

    return serve_model(load)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
