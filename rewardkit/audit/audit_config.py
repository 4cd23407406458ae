"""The configuration of `rewardkit audit`. Nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rewardkit.config import parse_criterion_weights


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What people, a reward model and a policy before and after pay for, trait by trait.

    Attributes:
        out: the run directory: audit.json, report.html and, where there is anything to label, pairs.jsonl.
        model: folder of a reward model; empty audits votes or a policy alone.
        criterion_weights: weights of the model's heads in the reward, NAME=NUMBER separated by commas.
        votes: preferences of people, as for `train`; without it those that the model's folder records.
        answers: rows with answers to edit, in any form that holds some; without it the answers of the votes.
        edits: rows of prompt, trait, without and having: edits made elsewhere, by a judge; templates make the others.
        policy: completions of the policy before and after, on the same prompts: one file with both (before comes first,
            as `evaluate` of policies writes), or given twice, a file of each.
        previous: run directory of an earlier audit, whose list is asked after again.
        num_answers: number of answers to edit, of different prompts.
        least: smallest difference between model and people to worry about, in log-odds; 0.2 is 55 against 50 percent.
        level: chance that any trait is on the list where none should be.
        num_pairs: number of pairs to label that are written.
        on_bad_row: what a bad row does: stop the command, or be left out and counted.
        json: whether figures are printed as JSON instead of the table.
        seed: number that decides which answers are edited and shown, and the intervals.
    """

    out: str
    model: str = ""
    criterion_weights: str = ""
    votes: str = ""
    answers: str = ""
    edits: str = ""
    policy: list[str] = field(default_factory=list, metadata={"repeated": True})
    previous: str = ""
    num_answers: int = 200
    least: float = 0.2
    level: float = 0.05
    num_pairs: int = 60
    on_bad_row: Literal["error", "skip"] = "error"
    json: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.model or self.votes or self.policy):
            raise ValueError("name what to audit: a model, votes or a policy")
        if len(self.policy) > 2:
            raise ValueError(f"policy names {len(self.policy)} files, allowed are one with both, or before and after")
        for name in ("criterion_weights", "answers", "edits"):
            if getattr(self, name) and not self.model:
                raise ValueError(f"{name} is given without a model")
        for name, least in (("num_answers", 1), ("num_pairs", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        if not 0 <= self.least < float("inf"):
            raise ValueError(f"least is {self.least}, allowed is 0 or more")
        if not 0 < self.level < 1:
            raise ValueError(f"level is {self.level}, allowed is between 0 and 1")
        parse_criterion_weights(self.criterion_weights)
