"""Everything an audit found: plain values for JSON, sentences, and the rows of its tables. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rewardkit.audit.effects import Effects, holm
from rewardkit.audit.shifts import Shift
from rewardkit.audit.worries import Hole, Worry
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.report.table import percent, points_text, signed_text, text_table
from rewardkit.stats.metrics import Interval
from rewardkit.traits.traits import TRAITS

AUDIT_FILE = "audit.json"
NUM_EXAMPLES = 3
EFFECTS_HEADER = ("trait", "people", "model", "p of people", "p of model", "pairs by prompts", "edits by prompts")
SHIFTS_HEADER = ("trait", "before", "after", "difference", "p")
NONE = "–"


@dataclass(frozen=True, kw_only=True)
class Example:
    """An edit that the model pays for.

    Attributes:
        log_odds: of `having` over `without`, by the model.
    """

    prompt: str
    without: str
    having: str
    log_odds: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One audit.

    Attributes:
        people, model: effects of traits; None where there are no votes, no model.
        worries: what the model pays for and people do not; None without a model.
        examples: by trait of that list, edits that the model pays most for.
        shifts: of a policy, None without one; policy_names says whose before and after.
        reward_rise: reward of the policy after less before; None without policy or model.
        holes: what became of an earlier list.
        num_to_label: pairs in pairs.jsonl.
        about, notes: how this was made; what a reader has to know.
    """

    people: Effects | None
    model: Effects | None
    worries: Sequence[Worry] | None
    examples: Mapping[str, Sequence[Example]]
    shifts: Sequence[Shift] | None
    policy_names: tuple[str, str]
    reward_rise: Interval | None
    holes: Sequence[Hole]
    num_to_label: int
    about: Mapping[str, str]
    notes: Sequence[str] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Plain values for JSON; unknown figures are None."""
        return finite(
            {
                "about": dict(self.about),
                "notes": list(self.notes),
                "people": _effect_values(self.people),
                "model": _effect_values(self.model),
                "worries": None if self.worries is None else [asdict(worry) for worry in self.worries],
                "examples": {trait: [asdict(one) for one in shown] for trait, shown in self.examples.items()},
                "shifts": None if self.shifts is None else [asdict(shift) for shift in self.shifts],
                "policy": list(self.policy_names),
                "reward_rise": asdict(self.reward_rise) if self.reward_rise else None,
                "holes": [asdict(hole) for hole in self.holes],
                "num_to_label": self.num_to_label,
            }
        )


def read_worried(audit_dir: str | Path) -> dict[str, Interval]:
    """By trait of an earlier audit's list, what the model paid.

    Raises:
        FileNotFoundError: if there is no audit.
        ValueError: if that audit was of no model.
    """
    path = Path(audit_dir) / AUDIT_FILE
    if not path.is_file():
        raise FileNotFoundError(f"--previous {audit_dir}: no audit, it holds no {AUDIT_FILE}")
    values = json.loads(path.read_text(encoding="utf-8"))
    if values["worries"] is None:
        raise ValueError(f"--previous {audit_dir}: an audit of no model, so it has no list")
    bounds = {worry["trait"]: worry["model"] for worry in values["worries"]}
    return {
        trait: Interval(**{name: math.nan if value is None else value for name, value in one.items()})
        for trait, one in bounds.items()
    }


def sentences(findings: Findings) -> Iterator[str]:
    """What was found, the list to worry about first."""
    if findings.worries is not None:
        if not findings.worries:
            yield "Nothing is shown that the model pays for and people do not."
        for worry in findings.worries:
            title, unit = TRAITS[worry.trait].title, TRAITS[worry.trait].unit
            people = (
                f"people {signed_text(worry.people)}"
                if math.isfinite(worry.people.value)
                else "of people nothing is known"
            )
            yield f"The model pays for {title}: {signed_text(worry.model)} log-odds, {unit}; {people}."
    for hole in findings.holes:
        title = TRAITS[hole.trait].title
        said = {
            "closed": f"The hole {title} is closed: the model pays {signed_text(hole.fall)} less than before.",
            "open": f"The hole {title} is still open.",
            "not shown": f"The hole {title} is not on the list again, but it is not shown that the model pays less.",
        }
        yield said[hole.state]
    yield from _shift_sentences(findings)


def _shift_sentences(findings: Findings) -> Iterator[str]:
    if findings.shifts is None:
        return
    moved = [shift for shift in findings.shifts if shift.p_adjusted < 0.05]
    before, after = findings.policy_names
    for shift in moved:
        yield f"{TRAITS[shift.trait].title} went from {_side(shift, shift.before)} to {_side(shift, shift.after)}."
    if not moved:
        yield f"No trait is shown to differ between {before} and {after}."
    if findings.reward_rise:
        yield f"The model's reward of {after} is {signed_text(findings.reward_rise)} above that of {before}."


def effect_rows(findings: Findings) -> list[list[str]]:
    """A row a trait, in the columns EFFECTS_HEADER."""
    sides = (findings.people, findings.model)
    adjusted = [holm(side.p_values()) if side else None for side in sides]
    rows = []
    for at, (name, trait) in enumerate(TRAITS.items()):
        cells = [
            signed_text(side.interval(name)) if side and math.isfinite(side.values[at]) else NONE for side in sides
        ]
        cells += [NONE if p is None or math.isnan(p[at]) else p_text(float(p[at])) for p in adjusted]
        cells += [f"{int(side.num_prompts[at]):,}" if side else NONE for side in sides]
        rows.append([f"{trait.title}, a doubling" if not trait.is_share else trait.title, *cells])
    return rows


def shift_rows(findings: Findings) -> list[list[str]]:
    """A row a trait, in the columns SHIFTS_HEADER."""
    return [
        [
            TRAITS[shift.trait].title + ("" if TRAITS[shift.trait].is_share else ", log2 of words"),
            _side(shift, shift.before),
            _side(shift, shift.after),
            points_text(shift.difference) if TRAITS[shift.trait].is_share else signed_text(shift.difference),
            NONE if math.isnan(shift.p_adjusted) else p_text(shift.p_adjusted),
        ]
        for shift in findings.shifts or ()
    ]


def p_text(p: float) -> str:
    """A p-value: three decimals, or that it is below them."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def screen_lines(findings: Findings) -> Iterator[str]:
    """Lines for a terminal."""
    for note in findings.notes:
        yield f"NOTE: {note}"
    yield from sentences(findings)
    if findings.people or findings.model:
        yield ""
        yield text_table(EFFECTS_HEADER, effect_rows(findings))
    if findings.shifts is not None:
        yield ""
        yield text_table(SHIFTS_HEADER, shift_rows(findings))


def _side(shift: Shift, value: float) -> str:
    return percent(value) if TRAITS[shift.trait].is_share else f"{value:.2f}"


def _effect_values(effects: Effects | None) -> dict[str, Any] | None:
    """By trait its effect, that of a standard deviation, and p-values."""
    if effects is None:
        return None
    p_values = effects.p_values()
    return {
        name: {
            "effect": asdict(effects.interval(name)),
            "per_sd": float(effects.values[at] * effects.scales[at]),
            "p": float(p_values[at]),
            "p_adjusted": float(adjusted),
            "num_prompts": int(effects.num_prompts[at]),
        }
        for at, (name, adjusted) in enumerate(zip(effects.traits, holm(p_values), strict=True))
    }
