"""Groups: fields from a file, and every figure of the page on the demo's people."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.agreement.reports.groups import group_agreement, group_people
from annotate_app.demo import NAME as DEMO
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()


@pytest.fixture
def countries(pages_store: Store) -> dict[str, dict[str, str]]:
    """Every second annotator of the demo is of one country, one is alone."""
    project = pages_store.projects.get(ADMIN, DEMO)
    votes = pages_store.judgments.votes(ADMIN, project.id)
    fields = {name: {"country": "KE" if number % 2 else "NZ"} for number, name in enumerate(votes.annotators)}
    fields[votes.annotators[0]] = {"country": "<b>IN</b> [x](http://outside.example)"}
    pages_store.fields.set(ADMIN, project.id, fields)
    return fields


def test_without_fields_the_page_says_how_to_get_some(open_page: Callable[..., AppTest]) -> None:
    test = open_page("groups", project="Empty project")
    assert "Nothing is known of the people yet" in test.info[0].value


@pytest.mark.parametrize("figure", ["agreement", "decisions", "models", "reward_model"])
def test_every_figure_is_drawn(
    pages_store: Store, open_page: Callable[..., AppTest], countries: dict[str, dict[str, str]], figure: str
) -> None:
    state = {"group-field": "country", "group-figure": figure, "group-least": 2}
    test = open_page("groups", **state)
    table = test.dataframe[0].value
    assert dict(zip(table["group"], table["figures"], strict=True))[countries[min(countries)]["country"]] in (
        "too few people",
        "shown",
    )
    charts = len(test.get("vega_lite_chart")) + len(test.get("arrow_vega_lite_chart"))
    assert charts > 0 or figure == "reward_model"
    if figure == "reward_model":
        assert "No reward model has scored" in test.info[0].value


def test_the_page_draws_what_the_function_says(
    pages_store: Store, open_page: Callable[..., AppTest], countries: dict[str, dict[str, str]]
) -> None:
    votes = pages_store.judgments.votes(ADMIN, pages_store.projects.get(ADMIN, DEMO).id)
    grouping = group_people(votes, countries, "country", least_people=2)
    pairs = group_agreement(votes, grouping)
    assert {(pair.one, pair.other) for pair in pairs} >= {("KE", "KE"), ("KE", "NZ"), ("NZ", "NZ")}
    test = open_page("groups", **{"group-field": "country", "group-least": 2})
    rows = test.dataframe[0].value.set_index("group")
    assert {group.name: group.num_votes for group in grouping.groups} == rows["judgments"].to_dict()


def test_the_page_is_for_leads(open_page: Callable[..., AppTest]) -> None:
    assert [item.value for item in open_page("groups", "addy").error] == ["This page is not yours to see."]
