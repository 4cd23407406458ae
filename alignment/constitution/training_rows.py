"""From the records of steps.jsonl to rows that `sft`, `dpo`, `rewardkit train`, TRL and `annotate-app import` read.

sft.jsonl      prompt, completion: the last revision
pairs.jsonl    prompt, chosen, rejected, p_chosen: revision over first answer; of two answers the one the judge prefers

Every row names where it comes from under `provenance`, with the same keys in each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignment.constitution.principles import Constitution
from rewardkit.data.export_formats import turn

Record = Mapping[str, Any]
LONGER = 1.2  # times as long: worth a word


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What all rows of a run have in common."""

    constitution: Constitution
    judge: str
    seed: int


def demonstration_of(record: Record, origin: Origin) -> dict[str, Any] | None:
    """The row of sft.jsonl that a record gives, if it does."""
    if not record["revised"] or record["failure"]:
        return None
    completion = [turn("assistant", record["revised"])]
    return {
        "prompt": record["prompt"],
        "completion": completion,
        "model": revised_name(record),
        "provenance": _of_revision(record, origin),
    }


def revision_pair(record: Record, origin: Origin) -> dict[str, Any] | None:
    """The pair of the last revision over the first answer, if there is one."""
    if not record["revised"] or record["failure"]:
        return None
    first = record["answers"][0]
    return {
        "prompt": record["prompt"],
        "chosen": [turn("assistant", record["revised"])],
        "rejected": [turn("assistant", first["text"])],
        "p_chosen": 1.0,
        "source_chosen": revised_name(record),
        "source_rejected": first["model"],
        "provenance": _of_revision(record, origin),
    }


def feedback_pair(record: Record, origin: Origin) -> dict[str, Any] | None:
    """The pair of a prompt's two first answers with the judge's preference, if it has one."""
    vote = record["feedback"]
    if vote is None or vote["failure"]:
        return None
    one, other = record["answers"][:2]
    p_one = vote["p"]
    chosen, rejected = (one, other) if p_one > 0.5 else (other, one)
    principles = [vote["principle"]]
    return {
        "prompt": record["prompt"],
        "chosen": [turn("assistant", chosen["text"])],
        "rejected": [turn("assistant", rejected["text"])],
        "p_chosen": max(p_one, 1 - p_one),
        "source_chosen": chosen["model"],
        "source_rejected": rejected["model"],
        "provenance": _provenance("feedback", origin, one["model"], principles, [], [], vote, p_one >= 0.5),
    }


def revised_name(record: Record) -> str:
    """What a revision is called where models are: the policy's name, marked."""
    return f"{record['answers'][0]['model'] or 'policy'}, revised"[-200:]


def _of_revision(record: Record, origin: Origin) -> dict[str, Any]:
    rounds = [one for one in record["rounds"] if not one["failure"]]
    return _provenance(
        "revision",
        origin,
        record["answers"][0]["model"],
        [one["principle"] for one in rounds],
        [one["critique"] for one in rounds],
        [number for number, one in enumerate(record["rounds"], start=1) if not one["failure"]],
        record["vote"],
        True,
    )


def _provenance(
    made_by: str,
    origin: Origin,
    model: str,
    principles: list[str],
    critiques: list[str],
    rounds: list[int],
    vote: Mapping[str, Any],
    chosen_first: bool,
) -> dict[str, Any]:
    """`orders`: the judge's probability for the chosen answer, as told in each order."""
    return {
        "made_by": made_by,
        "constitution": origin.constitution.hash,
        "title": origin.constitution.title,
        "version": origin.constitution.version,
        "principles": principles,
        "critiques": critiques,
        "rounds": rounds,
        "judge": origin.judge,
        "model": model,
        "seed": origin.seed,
        "vote_principle": vote["principle"],
        "vote": vote["p"] if chosen_first else 1 - vote["p"],
        "orders": [p if chosen_first else 1 - p for p in vote["orders"]],
        "raw": vote["raw"],
    }


@dataclass(kw_only=True)
class Tally:
    """Figures of a run, a record at a time."""

    num_prompts: int = 0
    has_rounds: bool = True
    num_demonstrations: int = 0
    num_feedback: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    feedback_left_out: Counter[str] = field(default_factory=Counter)
    rounds: Counter[str] = field(default_factory=Counter)
    drawn: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    usage: Counter[str] = field(default_factory=Counter)
    growth: list[float] = field(default_factory=list)
    leans: list[float] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Counts a record."""
        self.num_prompts += 1
        for one in record["rounds"]:
            self.drawn[one["principle"]] += bool(one["principle"])
            self.rounds[one["failure"] or "revised"] += 1
            self.changed[one["principle"]] += not one["failure"]
        if record["rounds"]:
            if record["failure"]:
                self.left_out[record["failure"]] += 1
            else:
                self.num_demonstrations += 1
                self.growth.append(len(record["revised"]) / len(record["answers"][0]["text"]))
        vote = record["feedback"]
        if vote is not None:
            self.feedback_left_out[vote["failure"]] += bool(vote["failure"])
            self.num_feedback += not vote["failure"]
        for told in (record["vote"], vote):
            if told and told["p"] is not None:
                one_first, other_first = told["orders"]
                self.leans.append((one_first - other_first) / 2)
        self.usage.update(record["usage"])

    def values(self) -> dict[str, Any]:
        """Plain values: counts, shares, what was spent.

        `lean`: mean probability that the judge adds for the answer it is shown first, from votes in both orders.
        """
        return {
            "num_prompts": self.num_prompts,
            "num_demonstrations": self.num_demonstrations,
            "num_revision_pairs": self.num_demonstrations,
            "num_feedback_pairs": self.num_feedback,
            "left_out": _nonzero(self.left_out),
            "feedback_left_out": _nonzero(self.feedback_left_out),
            "rounds": _nonzero(self.rounds),
            "principles": {
                name: {"drawn": count, "changed": self.changed[name]}
                for name, count in sorted(self.drawn.items())
                if name
            },
            "growth": float(np.mean(self.growth)) if self.growth else None,
            "share_longer": float(np.mean(np.array(self.growth) > 1)) if self.growth else None,
            "lean": float(np.mean(self.leans)) if self.leans else None,
            "usage": {name: round(value, 6) for name, value in sorted(self.usage.items())},
        }


def _nonzero(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.most_common() if count}


def said_of(values: Mapping[str, Any]) -> Iterable[str]:
    """The figures of a run in lines for people."""
    if values["rounds"]:
        yield (
            f"{values['num_demonstrations']:,} of {values['num_prompts']:,} answers revised"
            f"{_left_out(values['left_out'])}"
        )
    if values["num_feedback_pairs"] or values["feedback_left_out"]:
        yield f"{values['num_feedback_pairs']:,} pairs by preference{_left_out(values['feedback_left_out'])}"
    if values["growth"] is not None:
        yield f"revisions are {values['growth']:.2f} times as long, {values['share_longer']:.0%} of them longer" + (
            ": a model can learn that longer is better; a principle that asks for less, drawn more often, counters it"
            if values["growth"] > LONGER
            else ""
        )
    if values["lean"] is not None:
        lean = f"{values['lean']:+.2f}"
        yield f"the judge adds {lean} to the probability of the answer that it is shown first; both orders undo it"
    usage = values["usage"]
    if usage:
        tokens = f"{usage.get('prompt_tokens', 0):,.0f} tokens read, {usage.get('completion_tokens', 0):,.0f} written"
        yield tokens + (f", cost {usage['cost']:.4f}" if usage.get("cost") else "")


def _left_out(counts: Mapping[str, int]) -> str:
    return f"; left out: {', '.join(f'{count:,} {name}' for name, count in counts.items())}" if counts else ""
