"""The consensus of a project, one row an item, as pages, exports and commands read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from annotate_app.consensus.rules import NUM_CHOICES
from annotate_app.consensus.with_judges import JudgeWeight
from rewardkit.data.records import CHOICES

STATES = ("waiting", "queued", "released", "discarded", "check")
STATE_CODES = {name: code for code, name in enumerate(STATES)}
REASONS = (
    "",
    "no votes yet",
    "fewer votes than min_votes",
    "no majority",
    "below min_agreement",
    "decided by an adjudicator",
    "discarded by an adjudicator",
    "a check item with a known answer",
)
REASON_CODES = {name: code for code, name in enumerate(REASONS)}


@dataclass(frozen=True, kw_only=True)
class Consensus:
    """One row an item, in the order of `items`.

    Attributes:
        p: (I, 4) probability of a, b, tie, both_bad; zeros where nobody has voted.
        choice: (I,) code of the winner, -1 where there is none (no votes, or a draw).
        confidence: (I,) probability of the winner, or of the leaders of a draw.
        p_b: (I,) probability that b is the better one: (p_b + p_tie / 2) / (1 - p_both_bad); tie mass is split in half,
            both-bad mass left out; 0.5 where nothing is known.
        margin: (I,) mean signed degree of the votes used (both bad left out), below 0 for a, in steps of the scale.
        criteria: by criterion, (I,) mean signed degree of the votes used, NaN where nobody answered.
        counts: (I, 4) votes by choice; num_skips (I,) skips; num_used (I,) votes used by the rule.
        state: (I,) index into STATES; reason: (I,) index into REASONS.
        adjudicated: (I,) whether an adjudicator decided.
        reliability: (R,) 0 to 1 per annotator: the rule's estimate, else the share of own votes equal to the winner.
        converged, num_iterations, log_likelihood, notes: of the rule (`annotate_app.consensus.rules.RuleResult`).
        judges: those that are part of it, none unless somebody chose that; judge_shares: (I, 4) their votes by choice,
            never among `counts`; None without judges.
    """

    items: tuple[str, ...]
    annotators: tuple[str, ...]
    rule: str
    p: np.ndarray
    choice: np.ndarray
    confidence: np.ndarray
    p_b: np.ndarray
    margin: np.ndarray
    criteria: Mapping[str, np.ndarray]
    counts: np.ndarray
    num_skips: np.ndarray
    num_used: np.ndarray
    state: np.ndarray
    reason: np.ndarray
    adjudicated: np.ndarray
    reliability: np.ndarray
    converged: bool
    num_iterations: int
    log_likelihood: float
    notes: tuple[str, ...]
    judges: tuple[JudgeWeight, ...] = ()
    judge_shares: np.ndarray | None = None

    def indices(self, state: str) -> np.ndarray:
        """Indices of the items in one of STATES."""
        return np.flatnonzero(self.state == STATE_CODES[state])

    @property
    def num_by_state(self) -> dict[str, int]:
        counts = np.bincount(self.state, minlength=len(STATES))
        return dict(zip(STATES, counts.tolist(), strict=True))

    def row(self, index: int) -> dict[str, object]:
        """One item in plain values, for JSON and tables."""
        choice = int(self.choice[index])
        p = dict(zip((f"p_{name}" for name in CHOICES[:NUM_CHOICES]), self.p[index].tolist(), strict=True))
        row: dict[str, object] = {
            "comparison_id": self.items[index],
            "state": STATES[self.state[index]],
            "reason": REASONS[self.reason[index]],
            "choice": CHOICES[choice] if choice >= 0 else None,
            "confidence": float(self.confidence[index]),
            **p,
            "p_chosen": float(max(self.p_b[index], 1 - self.p_b[index])),
            "margin": float(self.margin[index]),
            "criteria": {
                name: float(values[index]) for name, values in self.criteria.items() if values[index] == values[index]
            },
            "votes": dict(zip(CHOICES[:NUM_CHOICES], self.counts[index].tolist(), strict=True)),
            "num_skips": int(self.num_skips[index]),
            "num_used": float(self.num_used[index]),
            "adjudicated": bool(self.adjudicated[index]),
        }
        return row if self.judge_shares is None else row | {"judge_votes": self.judge_votes(index)}

    def judge_votes(self, index: int) -> dict[str, float]:
        """The judges' votes on one item by choice; empty without judges."""
        if self.judge_shares is None:
            return {}
        return dict(zip(CHOICES[:NUM_CHOICES], self.judge_shares[index].tolist(), strict=True))

    def as_dict(self) -> dict[str, object]:
        reliability = dict(zip(self.annotators, self.reliability.tolist(), strict=True))
        judges = {"judges": [asdict(judge) for judge in self.judges]} if self.judges else {}
        return {
            "rule": self.rule,
            **judges,
            "converged": self.converged,
            "num_iterations": self.num_iterations,
            "log_likelihood": self.log_likelihood,
            "notes": list(self.notes),
            "num_items": self.num_by_state,
            "reliability": reliability,
            "items": [self.row(index) for index in range(len(self.items))],
        }
