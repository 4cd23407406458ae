"""A filter and its address, there and back."""

from __future__ import annotations

from datetime import date
from urllib.parse import parse_qs, urlencode

import pytest

from annotate_app.store.workbench.comparison_filter import ComparisonFilter, from_address, to_address

EVERY = ComparisonFilter(
    text="a & b = c",
    state="open",
    keys=("c1", "c 2"),
    persons=("anna", "bob"),
    disagree=("anna", "bob"),
    models=("m/1", "m 2"),
    flag="unsafe",
    criterion="tone",
    agreement="0.5-0.8",
    missed="*",
    changed="anna",
    fast="bob",
    since=date(2026, 1, 2),
    until=date(2026, 2, 3),
    shortest=100,
    longest=2000,
    tags=("hard", "für später"),
    excluded="with",
    turn=3,
    round=4,
    asked=True,
    assigned="anna",
    sort="agreement",
)


def test_every_field_survives_the_address() -> None:
    blank = ComparisonFilter()
    assert all(getattr(EVERY, name) != getattr(blank, name) for name in EVERY.__dataclass_fields__)
    words = urlencode(to_address(EVERY), doseq=True)
    assert from_address(parse_qs(words)) == EVERY


@pytest.mark.parametrize("name", list(ComparisonFilter.__dataclass_fields__))
def test_each_field_alone_survives_the_address(name: str) -> None:
    alone = ComparisonFilter(**{name: getattr(EVERY, name)})
    assert from_address(to_address(alone)) == alone


def test_nothing_chosen_has_an_empty_address() -> None:
    assert to_address(ComparisonFilter()) == {}
    assert not ComparisonFilter(sort="newest").narrows
    assert ComparisonFilter(tags=("x",)).narrows
    assert from_address({"page": ["3"], "project": ["desk"]}) == ComparisonFilter()


def test_a_bound_may_be_left_open() -> None:
    assert to_address(ComparisonFilter(shortest=100)) == {"length": ["100-"]}
    assert from_address({"length": ["-200"]}) == ComparisonFilter(longest=200)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({"state": ["late"]}, "state is 'late', allowed are any, unjudged"),
        ({"agreement": ["0.9-0.5"]}, "agreement is '0.9-0.5', allowed are unanimous, split"),
        ({"agreement": ["lots"]}, "allowed are unanimous, split, or two shares such as 0.5-0.8"),
        ({"from": ["yesterday"]}, "from is 'yesterday', allowed is a day such as"),
        ({"from": ["2026-02-02"], "to": ["2026-01-01"]}, "from is 2026-02-02, after the last day 2026-01-01"),
        ({"length": ["100"]}, "length is '100', allowed are two numbers"),
        ({"length": ["300-200"]}, "length is 300-200: the first is above the second"),
        ({"turn": ["one"]}, "turn is 'one', allowed is a whole number"),
        ({"disagree": ["a", "b", "c"]}, "disagree names 3, allowed are two at most"),
        ({"asked": ["yes"]}, "asked is 'yes', allowed are 1"),
        ({"sort": ["best"]}, "sort is 'best', allowed are came"),
    ],
)
def test_what_no_filter_is_is_refused_by_name(address: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_address(address)
