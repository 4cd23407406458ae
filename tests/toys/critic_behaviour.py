"""What a local endpoint answers that criticises, revises and compares by rule, rows for it, and a tiny policy."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from judge_endpoint import Behaviour, Reply, answers_of, said
from toy_models import config_for, save_policy

from rewardkit.network.tokens import train_tokenizer

PADDING = " We are always happy to hear from you."


def request_of(body: dict[str, Any]) -> str:
    """What is asked: critique, revision, or vote."""
    last = body["messages"][-1]["content"]
    return "critique" if last.startswith("Critique request") else "revision" if last.startswith("Revision") else "vote"


def shortener(
    *,
    critique: Callable[[str], Reply] = lambda answer: said(f"{len(answer)} characters."),
    revision: Callable[[str], Reply] = lambda answer: said(answer.replace(PADDING, "")),
    lean: float = 0.0,
) -> Behaviour:
    """Cuts the padding out of an answer, and prefers the shorter one: p of A is sigma((L_B - L_A) / 10 + lean)."""

    def behaviour(body: dict[str, Any], _number: int) -> Reply:
        answer = [message["content"] for message in body["messages"] if message["role"] == "assistant"]
        match request_of(body):
            case "critique":
                return critique(answer[0])
            case "revision":
                return revision(answer[0])
            case _:
                first, second = answers_of(body)
                pull = (len(second) - len(first)) / 10 + lean
                logps = {"A": -math.log1p(math.exp(-pull)), "B": -math.log1p(math.exp(pull))}
                letter = "A" if pull > 0 else "B"
                return said(json.dumps({"overall": letter}), logps=logps)

    return behaviour


def rows_of(answers: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    """A row a prompt, its answers written by policy-7."""
    return [
        {
            "prompt": [{"role": "user", "content": f"Where is order {number}?"}],
            "responses": [{"model": "policy-7", "text": text} for text in texts],
        }
        for number, texts in enumerate(answers)
    ]


def critic_policy(folder: Path, *, seed: int) -> Path:
    """A policy of random weights that takes long questions, and prefers some tokens to others."""
    texts = ["My kettle broke. What now? Which answer is briefer? Answer with the letter alone. A B"] * 3
    tokenizer = train_tokenizer(texts, vocab_size=300)
    config = config_for(tokenizer, max_position_embeddings=2048, initializer_range=0.3)
    return save_policy(folder, config, tokenizer, seed=seed)
