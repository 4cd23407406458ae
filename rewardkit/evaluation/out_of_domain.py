"""Whether a model is less sure of text unlike its training data: the members' spread there and at home. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewardkit.data.conversations import RowError, read_messages, read_prompt, read_text
from rewardkit.data.preferences import read_preferences
from rewardkit.data.sources import choose_split, open_source
from rewardkit.evaluation.scored_preferences import Completion, Scored, score_completions
from rewardkit.reward.reward import Reward, RewardFn
from rewardkit.stats.metrics import Interval, auroc_interval, rarer_kind, weighted_interval

PROMPTS = ("prompt", "instruction", "question", "query", "input")
TEXTS = ("completion", "response", "answer", "output", "text", "content", "final")


@dataclass(frozen=True, kw_only=True)
class OutOfDomain:
    """Spread of single rewards over members, here and there.

    The std of members is of rewards that had each member's mean over the evaluation data taken off: what a member adds
    to every text alike is no disagreement.

    Attributes:
        ratio: mean std out of domain over mean std in domain, with its interval; above 1 the model is less sure there.
        auroc: probability that a text from there has the higher std; 0.5 is chance.
    """

    source: str
    num_texts: int
    std_in_domain: float
    std_out_of_domain: float
    ratio: Interval
    auroc: Interval


def read_completions(source: str) -> list[Completion]:
    """Texts of a file with their prompts, each once: of preferences both answers, of other rows the answer they hold.

    A row without a prompt gets the answer alone.

    Raises:
        ValueError: naming file and line, if a row holds no text.
        FileNotFoundError: if there is no such source.
    """
    splits = open_source(source)
    parts = splits[choose_split(splits, source)]
    _, first = next(iter(parts[0].rows()), (0, {}))
    if {"chosen", "rejected"} <= set(first):
        rows = read_preferences(source).rows
        return list(dict.fromkeys((row.prompt, text) for row in rows for text in (row.chosen, row.rejected)))
    completions = []
    for part in parts:
        for number, row in part.rows():
            try:
                completions.append(_read_completion(row))
            except RowError as error:
                raise ValueError(f"{part.place(number)}: {error}") from error
    if not completions:
        raise ValueError(f"{source} holds no rows")
    return list(dict.fromkeys(completions))


def _read_completion(row: Mapping[str, Any]) -> Completion:
    if "messages" in row:
        messages = read_messages(row["messages"], "messages")
        return messages[:-1], messages[-1].content
    column = next((name for name in TEXTS if row.get(name) is not None), "")
    if not column:
        raise RowError("missing_field", TEXTS[0], sorted(row), f"allowed is a text in one of {', '.join(TEXTS)}")
    value = row[column]
    text = str(value) if isinstance(value, int | float) else read_text(value, column)
    prompt = next((name for name in PROMPTS if row.get(name)), "")
    return (read_prompt(row[prompt], prompt) if prompt else ()), text


def compare_domains(scored: Scored, reward_fn: RewardFn, source: str, *, seed: int = 0) -> OutOfDomain:
    """Scores the texts of `source` and compares.

    Raises:
        ValueError: if the model has one member, which has no spread, or the file cannot be read.
    """
    if scored.num_members == 1:
        raise ValueError("the model has one member, whose uncertainty cannot be compared: train an ensemble")
    home = np.concatenate((scored.chosen, scored.rejected), axis=1)
    centre = home.mean(1, keepdims=True)
    away = score_completions(read_completions(source), reward_fn)
    here, there = (Reward(members=members - centre).std for members in (home, away))
    values = np.concatenate((here, there))
    is_away = np.concatenate((np.zeros(len(here)), np.ones(len(there))))
    prompts = np.concatenate((scored.prompt, scored.prompt, scored.prompt.max() + 1 + np.arange(len(there))))

    def ratio(weight: np.ndarray) -> float:
        inside, outside = weight * (1 - is_away), weight * is_away
        if not inside.sum() or not outside.sum() or not inside @ values:
            return float("nan")
        return float((outside @ values / outside.sum()) / (inside @ values / inside.sum()))

    return OutOfDomain(
        source=source,
        num_texts=len(there),
        std_in_domain=float(here.mean()),
        std_out_of_domain=float(there.mean()),
        ratio=weighted_interval(ratio, prompts, num_units=rarer_kind(is_away, prompts), seed=seed),
        auroc=auroc_interval(values, is_away, prompts, seed=seed),
    )
