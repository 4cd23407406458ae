"""The completions of a prompt with their rewards, and which of them become rows of a dataset. No torch.

A completion without a text is no row, and two with the same text are one: the first that was drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alignment.best_of_n.votes import elected
from alignment.config.sampling import BonConfig
from rewardkit.data.conversations import read_messages
from rewardkit.data.export_formats import turn, turns
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward
from rewardkit.stats.uncertainty import integrated_probability


@dataclass(frozen=True, kw_only=True)
class ScoredCompletion:
    """A completion and what it is worth.

    Attributes:
        reward: what it is chosen by.
        members: rewards by the members, before a conservative rule and other terms.
        audit: reward by which nothing is chosen; None without one.
    """

    text: str
    finished: bool
    num_tokens: int
    reward: float
    members: Sequence[float]
    audit: float | None = None

    @property
    def std(self) -> float:
        return float(Reward(members=np.array(self.members)[:, None]).std[0])


@dataclass(frozen=True, kw_only=True)
class ScoredGroup:
    """All completions of a prompt."""

    prompt: tuple[Message, ...]
    completions: tuple[ScoredCompletion, ...]

    def elected(self, *, weighted: bool) -> int | None:
        """Place of the completion that a vote chooses, see `alignment.best_of_n.votes`."""
        texts, rewards = [one.text for one in self.completions], [one.reward for one in self.completions]
        return elected(texts, rewards, weighted=weighted)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values, which `from_json` reads back."""
        return {"prompt": turns(self.prompt), "completions": [asdict(one) for one in self.completions]}

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> ScoredGroup:
        """Reads what `to_json` wrote."""
        completions = tuple(ScoredCompletion(**one) for one in row["completions"])
        return cls(prompt=read_messages(row["prompt"], "prompt"), completions=completions)

    def different(self) -> list[ScoredCompletion]:
        """Returns the completions that have a text, one of each text."""
        by_text: dict[str, ScoredCompletion] = {}
        for one in self.completions:
            if one.text.strip():
                by_text.setdefault(one.text.strip(), one)
        return list(by_text.values())


def chosen_rows(group: ScoredGroup, config: BonConfig, *, model: str) -> list[dict[str, Any]]:
    """Returns a prompt's rows: none where no reward is high enough, or no two completions differ in reward.

    Args:
        model: name of the policy, for the rows.
    """
    completions = group.different()
    if not completions:
        return []
    best = max(completions, key=lambda one: one.reward)
    match config.keep:
        case "best":
            return [_row(group.prompt, best, model)]
        case "majority" | "weighted_majority":
            place = group.elected(weighted=config.keep == "weighted_majority")
            return [] if place is None else [_row(group.prompt, group.completions[place], model)]
        case "above":
            assert config.threshold is not None
            least = config.threshold
            if config.threshold_of == "quantile":
                least = float(np.quantile([one.reward for one in group.completions], least))
            return [_row(group.prompt, one, model) for one in completions if one.reward >= least]
        case "pairs":
            worst = min(completions, key=lambda one: one.reward)
            if best.reward == worst.reward:
                return []
            return [_pair(group.prompt, best, worst, model, soft_label=config.soft_labels)]


def soft_labels(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """(B,) probability that chosen is better, the members averaged out.

    max(1/2, mean_k sigma(chosen_k - rejected_k)).
    Which one is chosen may have been decided by more than the members' rewards; where these say the opposite, the pair
    is a tie.

    Args:
        chosen, rejected: (K, B) rewards of the members, log-odds.
    """
    return np.maximum(integrated_probability(chosen - rejected), 0.5)


def _row(prompt: Sequence[Message], one: ScoredCompletion, model: str) -> dict[str, Any]:
    row = {"prompt": turns(prompt), "completion": [turn("assistant", one.text)], "model": model}
    row |= {"reward": one.reward, "reward_std": one.std}
    if one.audit is not None:
        row["audit_reward"] = one.audit
    return row | {"finished": one.finished, "num_tokens": one.num_tokens}


def _pair(
    prompt: Sequence[Message], best: ScoredCompletion, worst: ScoredCompletion, model: str, *, soft_label: bool
) -> dict[str, Any]:
    sides = {"chosen": best, "rejected": worst}
    row: dict[str, Any] = {"prompt": turns(prompt)}
    row |= {side: [turn("assistant", one.text)] for side, one in sides.items()}
    row["margin"] = best.reward - worst.reward
    if soft_label:
        row["p_chosen"] = float(soft_labels(*(np.array(one.members)[:, None] for one in (best, worst)))[0])
    for side, one in sides.items():
        row |= {f"reward_{side}": one.reward, f"reward_std_{side}": one.std}
        if one.audit is not None:
            row[f"audit_reward_{side}"] = one.audit
    return row | {"model": model}
