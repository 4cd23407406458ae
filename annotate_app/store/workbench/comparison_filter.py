"""Which comparisons somebody means: a filter, and the address that says the same to whoever opens it.

The address is what stands behind the question mark of a page, in short words, and what a saved view keeps. A filter
that leaves everything open has an empty address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args
from urllib.parse import parse_qs

State = Literal["any", "unjudged", "open", "complete", "gold", "decided"]
STATES: tuple[State, ...] = get_args(State)
Excluded = Literal["without", "only", "with"]
Sort = Literal["came", "newest", "votes", "agreement", "longest", "priority"]
SORTS: tuple[Sort, ...] = get_args(Sort)

ANYBODY = "*"
"""In the place of a name: whoever it was."""
UNANIMOUS, SPLIT = "unanimous", "split"
MOST_KEYS = 500
"""Comparisons that one address may name."""
LONGEST_TAG = 64


@dataclass(frozen=True, kw_only=True)
class ComparisonFilter:
    """What comparisons have to be like; each field that is given narrows, none given means all.

    Names of people are names of accounts; `*` is anybody where one name is taken.

    Attributes:
        text: what the id, the conversation or a response holds, letters' case aside.
        state: `unjudged` nobody has judged it, `open` a judgment is missing, `complete` none is, `gold` a check,
            `decided` adjudicated.
        keys: ids to choose from.
        persons: people who have all judged it.
        disagree: one person, whose answer is not the most frequent one of the others; or two, who gave two answers.
        models: one model that wrote a response, or the two that wrote both.
        flag: a flag that somebody set.
        criterion: a criterion on which people point in different directions.
        agreement: `unanimous`, `split`, or `LOW-HIGH`: the share of the most frequent answer, of two votes or more.
        missed: who answered its known answer wrongly.
        changed: who answered it differently when it came again.
        fast: who answered faster than anybody reads.
        since, until: first and last day (UTC) of a judgment.
        shortest, longest: characters of the two responses together; 0 is no bound.
        tags: tags it bears, all of them.
        excluded: whether to leave out what is excluded, to take only that, or both.
        turn: number of the turn of the loop that chose it; 0 is no matter.
        round: id of the blind round it is of; 0 is no matter.
        asked: only those with a question that waits for an answer.
        assigned: whom an open judgment of it is reserved for.
        sort: in which order they come.
    """

    text: str = ""
    state: State = "any"
    keys: tuple[str, ...] = ()
    persons: tuple[str, ...] = ()
    disagree: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    flag: str = ""
    criterion: str = ""
    agreement: str = ""
    missed: str = ""
    changed: str = ""
    fast: str = ""
    since: date | None = None
    until: date | None = None
    shortest: int = 0
    longest: int = 0
    tags: tuple[str, ...] = ()
    excluded: Excluded = "without"
    turn: int = 0
    round: int = 0
    asked: bool = False
    assigned: str = ""
    sort: Sort = "came"

    def __post_init__(self) -> None:
        _check("state", self.state, STATES)
        _check("excluded", self.excluded, get_args(Excluded))
        _check("sort", self.sort, SORTS)
        for name in ("disagree", "models"):
            if len(getattr(self, name)) > 2:
                raise ValueError(f"{name} names {len(getattr(self, name))}, allowed are two at most")
        for name in ("shortest", "longest", "turn", "round"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 or more")
        if self.since and self.until and self.since > self.until:
            raise ValueError(f"from is {self.since}, after the last day {self.until}")
        if self.longest and self.shortest > self.longest:
            raise ValueError(f"length is {self.shortest}-{self.longest}: the first is above the second")
        self.shares()

    def shares(self) -> tuple[float, float] | None:
        """Lowest and highest share of the most frequent answer, None where agreement is no matter."""
        match self.agreement:
            case "":
                return None
            case "unanimous":
                return 1.0, 1.0
            case "split":
                return 0.0, 0.999_999
        low, dash, high = self.agreement.partition("-")
        try:
            bounds = float(low), float(high)
        except ValueError:
            bounds = 1.0, 0.0
        if not dash or not 0 <= bounds[0] <= bounds[1] <= 1:
            allowed = "unanimous, split, or two shares such as 0.5-0.8"
            raise ValueError(f"agreement is {self.agreement[:40]!r}, allowed are {allowed}")
        return bounds

    @property
    def narrows(self) -> bool:
        """Whether it leaves anything out, whatever the order."""
        return any(name != "sort" for name in to_address(self))


# Field by its word in an address; fields of several values come several times.
SINGLE = {
    "q": "text",
    "state": "state",
    "flag": "flag",
    "criterion": "criterion",
    "agreement": "agreement",
    "missed": "missed",
    "changed": "changed",
    "fast": "fast",
    "excluded": "excluded",
    "assigned": "assigned",
    "sort": "sort",
}
SEVERAL = {"item": "keys", "person": "persons", "disagree": "disagree", "model": "models", "tag": "tags"}
NUMBERS = {"turn": "turn", "round": "round"}
DAYS = {"from": "since", "to": "until"}
LENGTH, ASKED = "length", "asked"
WORDS = (*SINGLE, *SEVERAL, *NUMBERS, *DAYS, LENGTH, ASKED)
"""Every word of an address that says something about a filter."""


def to_address(chosen: ComparisonFilter) -> dict[str, list[str]]:
    """The parts of a page's address, only those that say something; `from_address` is the way back."""
    address: dict[str, list[str]] = {}
    for word, name in SINGLE.items():
        if getattr(chosen, name) != getattr(_ALL, name):
            address[word] = [getattr(chosen, name)]
    for word, name in SEVERAL.items():
        if getattr(chosen, name):
            address[word] = list(getattr(chosen, name))
    for word, name in NUMBERS.items():
        if getattr(chosen, name):
            address[word] = [str(getattr(chosen, name))]
    for word, name in DAYS.items():
        if getattr(chosen, name) is not None:
            address[word] = [getattr(chosen, name).isoformat()]
    if chosen.shortest or chosen.longest:
        address[LENGTH] = [f"{chosen.shortest or ''}-{chosen.longest or ''}"]
    if chosen.asked:
        address[ASKED] = ["1"]
    return address


def from_address(address: Mapping[str, Sequence[str]]) -> ComparisonFilter:
    """The filter that an address says; words that are no filter's are passed over.

    Raises:
        ValueError: naming the word and its value, if it says what no filter is.
    """
    fields: dict[str, object] = {}
    for word, name in SINGLE.items():
        if values := address.get(word):
            fields[name] = values[-1]
    for word, name in SEVERAL.items():
        if values := address.get(word):
            fields[name] = tuple(dict.fromkeys(values))[:MOST_KEYS]
    for word, name in NUMBERS.items():
        if values := address.get(word):
            fields[name] = _number(word, values[-1])
    for word, name in DAYS.items():
        if values := address.get(word):
            fields[name] = _day(word, values[-1])
    if values := address.get(LENGTH):
        shortest, dash, longest = values[-1].partition("-")
        if not dash:
            raise ValueError(f"length is {values[-1][:40]!r}, allowed are two numbers such as 100-2000, or one: 100-")
        fields["shortest"] = _number(LENGTH, shortest) if shortest else 0
        fields["longest"] = _number(LENGTH, longest) if longest else 0
    if values := address.get(ASKED):
        _check(ASKED, values[-1], ("1",))
        fields["asked"] = True
    return ComparisonFilter(**fields)  # type: ignore[arg-type]


def read_view(text: str) -> ComparisonFilter:
    """The filter that an address says as one text, `state=gold&tag=hard`; everything not excluded where it is empty.

    Raises:
        ValueError: naming the word that is no filter's, or its value.
    """
    if not text:
        return from_address({})
    try:
        address = parse_qs(text.removeprefix("?"), keep_blank_values=True, strict_parsing=True)
    except ValueError as error:
        raise ValueError(f"view is {text[:60]!r}, allowed is NAME=VALUE[&NAME=VALUE]") from error
    if strange := [word for word in address if word not in WORDS]:
        raise ValueError(f"view names {strange[0]!r}, allowed are {', '.join(WORDS)}")
    return from_address(address)


def _number(word: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise ValueError(f"{word} is {value[:40]!r}, allowed is a whole number")
    return int(value)


def _day(word: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise ValueError(f"{word} is {value[:40]!r}, allowed is a day such as 2026-11-30") from None


def _check(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r:.60}, allowed are {', '.join(allowed)}")


_ALL = ComparisonFilter()
