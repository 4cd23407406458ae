"""What a stage of a turn has come to, in a line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate_app.store.loop.turns import StageRecord
from annotate_app.turns.waiting import Waiting


def stage_words(record: StageRecord, waiting: Waiting | None = None) -> str:
    """A line for people: what the stage left, what it waits for, or why it failed."""
    result = record.result
    if record.state == "failed":
        return str(result.get("message", ""))
    if record.state == "people":
        counts = waiting or Waiting()
        return f"{counts.num_judged:,} judgments of {counts.total:,}"
    if record.state == "running":
        return f"job {record.job_id}" if record.job_id else ""
    if record.state != "done":
        return ""
    words = _done_words(record, result)
    return f"{words} (by hand)" if record.adopted else words


def _done_words(record: StageRecord, result: Mapping[str, Any]) -> str:
    match record.stage:
        case "write":
            names = " and ".join(policy["name"] for policy in result.get("policies", ()))
            return f"{result.get('num_candidates', 0):,} answers to {result.get('num_prompts', 0):,} prompts by {names}"
        case "choose":
            rules = ", ".join(f"{count} {rule}" for rule, count in result.get("by_rule", {}).items())
            pairs = f"{result.get('num_pairs', 0):,} pairs: {rules}"
            return "; ".join(filter(None, (pairs, result.get("why", ""), result.get("note", ""))))
        case "judge":
            people, judges = (result.get(name) for name in ("num_judged", "num_judge_votes"))
            parts = (f"{people:,} judgments" if people else "", f"{judges:,} answers of judges" if judges else "")
            return " and ".join(filter(None, parts)) or "no judgments"
        case "learn":
            name = f"run {result['run']}" if "run" in result else str(result.get("model", ""))
            return ", ".join((name, *_accuracies(result)))
        case "align":
            return str(result.get("policy", {}).get("name", ""))
        case "check":
            rounds = result.get("rounds", {})
            return "; ".join(f"round {number} against the {name} policy" for name, number in rounds.items())


def _accuracies(result: Mapping[str, Any]) -> list[str]:
    return [
        f"{result[name]['accuracy']['value']:.1%} right on the random pairs {name} it"
        for name in ("before", "after")
        if name in result
    ]
