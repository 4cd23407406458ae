"""What a stage of a turn found, in lines with its figures and their intervals; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annotate_app.turns.turn import StageRecord, TurnFigures
from rewardkit.stats.metrics import Interval


def found(record: StageRecord, figures: TurnFigures | None) -> list[str]:
    """Lines about what the stage left; none before.

    Args:
        figures: of its turn; None where they are not known.
    """
    result = record.result
    lines: list[str] = []
    match record.stage:
        case "write":
            lines = _write(result)
        case "choose":
            lines = _choose(result)
        case "judge":
            lines = _judge(figures) if record.state in ("done", "people") else []
        case "learn":
            lines = _learn(figures) if record.state == "done" else []
        case "align":
            lines = _align(result)
        case "check":
            lines = _check(figures) if record.state in ("done", "people") else []
    return lines


def share(interval: Interval) -> str:
    """A share with its bounds: 61% (52% to 70%)."""
    bounds = f" ({interval.low:.0%} to {interval.high:.0%})" if interval.is_known else ", too few for an interval"
    return f"{interval.value:.0%}{bounds}"


def number(interval: Interval, digits: int = 2) -> str:
    """A figure with its bounds."""
    bounds = f" ({interval.low:.{digits}f} to {interval.high:.{digits}f})" if interval.is_known else ""
    return f"{interval.value:.{digits}f}{bounds}"


def _write(result: Mapping[str, Any]) -> list[str]:
    if "num_candidates" not in result:
        return []
    names = " and ".join(str(policy["name"]) for policy in result.get("policies") or [])
    return [
        f"{result['num_candidates']:,} answers to {result['num_prompts']:,} prompts{f' by {names}' if names else ''}"
    ]


def _choose(result: Mapping[str, Any]) -> list[str]:
    if "num_pairs" not in result:
        return []
    rules = ", ".join(f"{count:,} by {rule}" for rule, count in (result.get("by_rule") or {}).items())
    lines = [f"{result['num_pairs']:,} pairs: {rules}" if rules else f"{result['num_pairs']:,} pairs"]
    left_out = result.get("left_out")
    if isinstance(left_out, Mapping) and any(left_out.values()):
        lines.append(
            "Left out: " + ", ".join(f"{count:,} {why.replace('_', ' ')}" for why, count in left_out.items() if count)
        )
    return lines + [_sentence(str(result[name])) for name in ("why", "note") if result.get(name)]


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _judge(figures: TurnFigures | None) -> list[str]:
    if figures is None:
        return []
    lines = []
    if figures.num_people_votes or figures.num_judge_votes:
        judges = f", {figures.num_judge_votes:,} by judges" if figures.num_judge_votes else ""
        lines.append(f"{figures.num_people_votes:,} judgments by people{judges}")
    if figures.agreement is not None:
        lines.append(f"Agreement of people, alpha: {number(figures.agreement)}")
    return lines


def _learn(figures: TurnFigures | None) -> list[str]:
    if figures is None:
        return []
    lines = []
    if figures.accuracy_before is not None:
        lines.append(f"Before, it ordered this turn's random pairs as people do: {share(figures.accuracy_before)}")
    if figures.accuracy_after is not None:
        lines.append(f"After, on pairs held out: {share(figures.accuracy_after)}")
    if figures.ece_after is not None:
        before = f", before {figures.ece_before.value:.3f}" if figures.ece_before is not None else ""
        lines.append(f"Calibration error {number(figures.ece_after, 3)}{before}")
    return lines


def _align(result: Mapping[str, Any]) -> list[str]:
    policy = result.get("policy") or {}
    return [f"The policy of this turn: {policy['name']}"] if policy.get("name") else []


def _check(figures: TurnFigures | None) -> list[str]:
    if figures is None:
        return []
    lines = []
    if figures.against_previous is not None:
        lines.append(f"Blind votes won against the turn before: {share(figures.against_previous)}")
    if figures.against_first is not None and figures.number > 1:
        lines.append(f"Blind votes won against turn 0: {share(figures.against_first)}")
    for name, words in (
        ("gold", "Gold reward"),
        ("proxy", "Reward by its own model"),
        ("kl", "KL to turn 0, nats a reply"),
    ):
        if (interval := getattr(figures, name)) is not None:
            lines.append(f"{words}: {number(interval)}")
    if figures.words is not None:
        lines.append(f"Words a reply: {number(figures.words, 1)}")
    return lines
