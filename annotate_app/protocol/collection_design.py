"""How a project collects judgments: overlap, order, checks, and when an item is released into training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

Policy = Literal["sequential", "random", "fewest", "priority"]
POLICIES: tuple[Policy, ...] = ("sequential", "random", "fewest", "priority")
Rule = Literal["majority", "gold_weighted", "dawid_skene", "mace", "most_agreeing_3"]
RULES: tuple[Rule, ...] = ("majority", "gold_weighted", "dawid_skene", "mace", "most_agreeing_3")

MOST_OVERLAP = 1000
"""Most judgments that can be wanted of one comparison."""
LONGEST_GROUP = 64
LONGEST_CURRENCY = 8
MOST_HOURLY = 1e6
_MOST = 2**63


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
        hourly_rate: pay for an hour of active time, unless a member has a rate of their own; 0 pays nothing.
        currency: of all rates, a code or a sign such as EUR or $.
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
    hourly_rate: float = 0.0
    currency: str = ""

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_type(item.name, getattr(self, item.name), item.default)
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
        check_hourly_rate(self.hourly_rate)
        if len(self.currency) > LONGEST_CURRENCY or any(
            not sign.isprintable() or sign == " " for sign in self.currency
        ):
            raise ValueError(
                f"currency is {self.currency[:20]!r}, allowed are up to {LONGEST_CURRENCY} characters, such as EUR or $"
            )
        for group, count in self.groups.items():
            _check_type(f"groups.{group}", count, 1)
            if count < 1:
                raise ValueError(f"groups.{group} is {count}, allowed is 1 or more")

    def check_size(self) -> None:
        """Checks that a project can hold what is wanted: a row is made for each judgment to come.

        Not a rule of every design, so that a project from before the bound still opens.

        Raises:
            ValueError: if more judgments of one comparison are wanted than `MOST_OVERLAP`, or a group's name is too
                long.
        """
        if self.overlap > MOST_OVERLAP:
            raise ValueError(f"overlap is {self.overlap}, allowed is 1 to {MOST_OVERLAP}")
        for group, count in self.groups.items():
            if count > MOST_OVERLAP:
                raise ValueError(f"groups.{group} is {count}, allowed is 1 to {MOST_OVERLAP}")
            if not 0 < len(group) <= LONGEST_GROUP:
                raise ValueError(f"group {group[:40]!r} has {len(group)} characters, allowed are 1 to {LONGEST_GROUP}")
        if self.votes_wanted > MOST_OVERLAP:
            raise ValueError(f"groups ask for {self.votes_wanted} judgments together, allowed are {MOST_OVERLAP}")

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
        """Reads `as_dict`; an unknown key, or a value of another type, is a ValueError."""
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown design setting {sorted(unknown)[0]!r}")
        return cls(**values)  # type: ignore[arg-type]


def check_hourly_rate(rate: float) -> None:
    """Raises ValueError for what nobody is paid by the hour."""
    if not 0 <= rate <= MOST_HOURLY:
        raise ValueError(f"hourly_rate is {rate}, allowed is 0 to {MOST_HOURLY:,.0f}")


def _check_type(name: str, value: object, default: object) -> None:
    """Raises ValueError for a value of another type than a setting's default; a mapping has none."""
    match default:
        case bool():
            right, allowed = isinstance(value, bool), "true or false"
        case str():
            right, allowed = isinstance(value, str), "a word"
        case int():
            whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST
            right, allowed = whole, f"a whole number below {_MOST}"
        case float():
            right, allowed = isinstance(value, int | float) and not isinstance(value, bool), "a number"
        case _:
            right = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
            allowed = "a mapping from group to number"
    if not right:
        raise ValueError(f"{name} is {str(value)[:40]!r}, allowed is {allowed}")
