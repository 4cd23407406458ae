"""The page Write: what it asks, what it shows of the answers, and what it sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from model_stand_ins import ADMIN, finish_run, write_stand_ins
from streamlit.testing.v1 import AppTest
from train_page import demo_of, texts

from annotate_app.jobs.model_processes import model_processes
from annotate_app.store.store import Store

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]


@pytest.fixture
def runs(pages_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The numbers of two policies and a reward model of the demo project; all are stand-ins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(write_stand_ins(tmp_path / "code")))
    project = demo_of(pages_store).name
    numbers = [finish_run(pages_store, project=project) for _ in range(2)]
    numbers.append(finish_run(pages_store, "reward", project=project, model="tfidf", mode="head"))
    yield [str(number) for number in numbers]
    model_processes().close()


def captions(test: AppTest) -> str:
    return "\n".join(item.value for item in test.caption)


def write_own(test: AppTest, text: str) -> AppTest:
    test.segmented_control(key="write-source").set_value("My own").run()
    test.text_area(key="write-prompt").set_value(text).run()
    test.button(key="write-ask").click().run()
    assert not test.exception
    return test


def test_policies_answer_side_by_side_with_their_rewards(open_page: OpenPage, runs: list[str]) -> None:
    test = open_page("write")
    assert set(test.multiselect(key="write-policies").value) == set(runs[:2])  # the two newest are chosen
    test.selectbox(key="write-reward").set_value(runs[2]).run()
    test.number_input(key="write-n").set_value(2).run()
    write_own(test, "Where?")
    shown = [line for line in captions(test).splitlines() if "log-probability" in line]
    assert len(shown) == 4
    assert all(line.startswith("reward +") for line in shown)
    assert ["cut at the longest answer" in line for line in shown] == [False, True] * 2
    assert "log-probability -2.0, -0.50 a token" in shown[0]


def test_the_address_holds_the_request_and_asks_it_again(open_page: OpenPage, runs: list[str]) -> None:
    test = open_page("write")
    test.number_input(key="write-seed").set_value(7).run()
    write_own(test, "Where?")
    address = dict(test.query_params)
    newest = f"{runs[1]},{runs[0]}"
    expected = {"runs": newest, "text": "Where?", "temperature": "1", "seed": "7", "n": "1", "length": "256"}
    assert address == expected
    again = open_page("write")
    again.query_params.update(address | {"temperature": "0.5"})
    again.run()
    assert again.number_input(key="write-seed").value == 7
    assert again.number_input(key="write-temperature").value == 0.5
    assert again.text_area(key="write-prompt").value == "Where?"
    assert captions(again).count("log-probability") == 2
    again.query_params["seed"] = "seven"
    again.session_state["write-linked"] = 0
    again.run()
    assert "the address holds a setting that is no number" in texts(again)


def test_a_prompt_of_the_project_is_found_and_its_pair_is_sent(
    open_page: OpenPage, runs: list[str], pages_store: Store
) -> None:
    project = demo_of(pages_store)
    before = pages_store.comparisons.count(ADMIN, project.id)
    test = open_page("write")
    item = test.selectbox(key="write-item").value
    test.button(key="write-ask").click().run()
    assert test.query_params["item"] == item
    assert len(test.selectbox(key="write-item").options) == len({*test.selectbox(key="write-item").options}) > 5
    test.button(key="write-send").click().run()
    assert not test.exception
    assert pages_store.comparisons.count(ADMIN, project.id) == before + 1
    pairs = [*pages_store.browsing.iterate(ADMIN, project.id)]
    assert {pairs[-1].source_a, pairs[-1].source_b} == {f"run-{runs[0]}", f"run-{runs[1]}"}
    assert pairs[-1].meta["item"] == item
    assert pairs[-1].prompt == pages_store.comparisons.get(ADMIN, project.id, str(item)).prompt


def test_what_goes_wrong_is_one_line(open_page: OpenPage, runs: list[str]) -> None:
    test = write_own(open_page("write"), " ")
    assert "the prompt is empty" in texts(test)
    write_own(test, "refuse this")
    assert "the prompt is too long" in texts(test)
    assert not [button for button in test.button if button.key == "write-send"]
    test.multiselect(key="write-policies").set_value([]).run()
    test.button(key="write-ask").click().run()
    assert "0 policies are asked, allowed are 1 to 3" in texts(test)


def test_without_a_policy_the_page_says_where_to_train_one(open_page: OpenPage) -> None:
    [said] = open_page("write").info
    assert said.value == "There is no trained policy in this project yet."


def test_the_page_is_for_leads(open_page: OpenPage) -> None:
    assert "not yours to see" in texts(open_page("write", "addy"))
