"""How a project collects judgments: overlap, order, checks, and when an item is released into training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

Policy = Literal["sequential", "random", "fewest", "priority"]
POLICIES: tuple[Policy, ...] = ("sequential", "random", "fewest", "priority")
Rule = Literal["majority", "gold_weighted", "dawid_skene", "mace", "most_agreeing_3"]
RULES: tuple[Rule, ...] = ("majority", "gold_weighted", "dawid_skene", "mace", "most_agreeing_3")


@dataclass(frozen=True, kw_only=True)
class Design:
    """The settings of a project's collection.

    Attributes:
        overlap: judgments wanted per comparison (a comparison may override it); unused where `groups` is given.
        groups: judgments wanted per comparison by annotator group, for example {"crowd": 2, "expert": 2}.
        policy: order in which open comparisons are handed out.
        seed: of the random order, of the shuffled sides and of where checks fall.
        lease_s: seconds a pair stays with a silent annotator before it is handed to someone else.
        idle_s: seconds without a key or pointer event after which time stops counting.
        gold_rate: share of handed-out pairs that are gold items, 0 to 1.
        gold_feedback: tell the annotator the gold answer after a gold item.
        repeat_rate: share of handed-out pairs that repeat an own earlier pair with its sides swapped, 0 to 1.
        qualification_items: gold items to judge before real work; 0 asks for none.
        qualification_pass: share of them to get right.
        pause_below: pause annotators whose gold accuracy falls under this; 0 never pauses.
        pause_after: gold items to have judged before that can happen.
        target: judgments expected of one annotator, shown as progress; 0 shows the project's own.
        rule: how votes become a consensus.
        min_votes: votes an item needs before it is released.
        min_agreement: posterior or vote share of the winner an item needs, else it goes to adjudication, 0 to 1.
        refresh_every: judgments after which a model fitted to them sets new priorities; 0 never does. Needs the policy
            `priority`.
    """

    overlap: int = 3
    groups: Mapping[str, int] = field(default_factory=dict)
    policy: Policy = "sequential"
    seed: int = 0
    lease_s: int = 600
    idle_s: int = 60
    gold_rate: float = 0.0
    gold_feedback: bool = False
    repeat_rate: float = 0.0
    qualification_items: int = 0
    qualification_pass: float = 0.8
    pause_below: float = 0.0
    pause_after: int = 5
    target: int = 0
    rule: Rule = "majority"
    min_votes: int = 1
    min_agreement: float = 0.5
    refresh_every: int = 0

    def __post_init__(self) -> None:
        for name in ("gold_rate", "repeat_rate", "qualification_pass", "pause_below", "min_agreement"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 to 1")
        for name, least in (("overlap", 1), ("lease_s", 5), ("idle_s", 5), ("min_votes", 1), ("pause_after", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} or more")
        if self.gold_rate + self.repeat_rate > 0.9:
            raise ValueError(
                f"gold_rate plus repeat_rate is {self.gold_rate + self.repeat_rate}, allowed is 0.9 at most"
            )
        if self.policy not in POLICIES:
            raise ValueError(f"policy is {self.policy!r}, allowed are {', '.join(POLICIES)}")
        if self.rule not in RULES:
            raise ValueError(f"rule is {self.rule!r}, allowed are {', '.join(RULES)}")
        if self.refresh_every < 0:
            raise ValueError(f"refresh_every is {self.refresh_every}, allowed is 0 (never) or more")
        if self.refresh_every and self.policy != "priority":
            raise ValueError(
                f"refresh_every is {self.refresh_every} with policy {self.policy!r}, which asks for no priorities: "
                "choose the policy priority, or 0"
            )
        for group, count in self.groups.items():
            if count < 1:
                raise ValueError(f"groups.{group} is {count}, allowed is 1 or more")

    @property
    def votes_wanted(self) -> int:
        """Judgments wanted per comparison over all groups."""
        return sum(self.groups.values()) or self.overlap

    def as_dict(self) -> dict[str, object]:
        """Plain values, for JSON and YAML."""
        values: dict[str, object] = asdict(self)
        return values | {"groups": dict(self.groups)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Design:
        """Reads `as_dict`; an unknown key is a ValueError."""
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown design setting {sorted(unknown)[0]!r}")
        return cls(**values)  # type: ignore[arg-type]
