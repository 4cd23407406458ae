"""The advisor's page: a question by form and by address, its answer, and how much to label."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.ranking.power import measure_habits, win_rate_power
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()


def texts(test: AppTest) -> str:
    """What the page says, without the marks that keep it plain."""
    return "\n".join(item.value for item in (*test.markdown, *test.text)).replace("\\", "")


@pytest.mark.slow
def test_a_question_is_asked_and_the_address_holds_it(open_page: Callable[..., AppTest]) -> None:
    pytest.importorskip("torch")
    test = open_page("advisor")
    assert not test.subheader  # nothing is asked yet
    test.text_input(key="advisor-model").set_value("tiny")
    test.text_input(key="advisor-gpus").set_value("1xL4-24")
    test.number_input(key="advisor-pairs").set_value(50_000)
    test.number_input(key="advisor-prompt-tokens").set_value(32)
    test.number_input(key="advisor-completion-tokens").set_value(32)
    test.button(key="advisor-ask").click().run(timeout=240)
    assert not test.exception
    assert [item.value for item in test.subheader] == ["Recommended: SFT + DPO"]
    assert "uses the 50,000 pairs directly" in texts(test)
    table = test.dataframe[0].value
    assert list(table["way"]) == ["SFT + DPO", "Online DPO", "GRPO", "PPO", "Best of 16"]
    assert set(table["fits"]) == {"yes"}
    assert all(low <= high for low, high in zip(table["from"], table["to"], strict=True))
    assert test.query_params["gpus"] == "1xL4-24"
    assert test.query_params["pairs"] == "50000"
    command = test.code[0].value
    assert command.startswith("alignment plan --pairs=50000 --model=tiny --gpus=1xL4-24")

    again = open_page("advisor", query=dict(test.query_params.items()))  # the same address
    assert again.code[0].value == command
    assert [item.value for item in again.subheader] == ["Recommended: SFT + DPO"]


def test_gpus_that_nobody_knows_are_named(open_page: Callable[..., AppTest]) -> None:
    test = open_page("advisor")
    test.text_input(key="advisor-gpus").set_value("3xNothing")
    test.button(key="advisor-ask").click().run(timeout=240)
    assert "gpus is '3xNothing', known are A100-40" in test.error[0].value.replace("\\", "")
    assert not test.subheader


def test_how_much_to_label_is_what_the_votes_say(pages_store: Store, open_page: Callable[..., AppTest]) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    habits = measure_habits(pages_store.judgments.votes(ADMIN, project.id))
    assert habits.num_paired > 100
    power = win_rate_power(0.03, habits)
    assert power.advised is not None
    test = open_page("advisor", **{"advisor-about": "labeling", "advisor-within": 3.0})
    assert f"label {power.advised.pairs:,} pairs with one vote each" in texts(test)
    assert list(test.dataframe[0].value["pairs"]) == [one.pairs for one in power.options]
    assert "points of accuracy take about" in texts(test)


def test_the_page_is_for_leads(open_page: Callable[..., AppTest]) -> None:
    test = open_page("advisor", "addy")
    assert [item.value for item in test.error] == ["This page is not yours to see."]
