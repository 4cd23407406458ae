"""The page Runs: which run is open by address, names and notes, filters, and the configuration behind a number."""

from __future__ import annotations

from collections.abc import Callable

from finished_runs import finished, queued, sft_done
from streamlit.testing.v1 import AppTest
from train_page import demo_of, texts

from annotate_app.access import Actor
from annotate_app.pages.views import run_list
from annotate_app.store.store import Store
from annotate_app.trainings.runs import find_run, list_runs

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()


def opened(test: AppTest, store: Store) -> list[int]:
    names = test.multiselect(key=f"runs-chosen-{demo_of(store).id}").value
    return [int(name.partition(":")[0]) for name in names]


def at_address(test: AppTest, **address: str) -> AppTest:
    for name, value in address.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, test.exception
    return test


def test_the_newest_run_that_has_something_to_show_is_open_and_the_address_names_others(
    open_page: OpenPage, pages_store: Store
) -> None:
    first, second, waiting = finished(pages_store), finished(pages_store, min_votes=3), queued(pages_store)
    test = open_page("runs")
    assert opened(test, pages_store) == [second.id]
    assert opened(at_address(test, run=str(first.id)), pages_store) == [first.id]
    test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}").set_value([]).run()
    assert opened(test, pages_store) == [second.id]
    at_address(test, runs=f"{waiting.id},{first.id}")
    assert opened(test, pages_store) == [waiting.id, first.id]
    assert "What differs" in [item.value for item in test.subheader]
    names = [run.name for run in list_runs(pages_store, ADMIN, demo_of(pages_store).id)]
    test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}").set_value(names[1:]).run()
    assert test.query_params["runs"] == f"{second.id},{first.id}"


def test_an_address_of_no_run_is_said_and_that_of_an_earlier_job_of_it_opens_it(
    open_page: OpenPage, pages_store: Store
) -> None:
    job = finished(pages_store)
    test = at_address(open_page("runs"), run="999")
    assert "There is no run '999' in this project." in [item.value for item in test.warning]
    again = pages_store.jobs.add(ADMIN, "train", job.title, job.command, job.project_id, run_dir=job.run_dir)
    test = at_address(open_page("runs"), run=str(job.id))
    assert opened(test, pages_store) == [again.id]
    assert not test.warning


def test_a_click_opens_and_ticks_compare(monkeypatch) -> None:
    state, address = {"t": {"selection": {"rows": [], "cells": [(1, "took")]}}}, {}
    monkeypatch.setattr(run_list.st, "session_state", state)
    monkeypatch.setattr(run_list.st, "query_params", address)
    run_list.open_selected("t", (14, 12, 9))
    assert address == {"run": "12"}
    state["t"]["selection"] = {"rows": [0, 2], "cells": [(1, "took")]}
    run_list.open_selected("t", (14, 12, 9))
    assert address == {"runs": "14,9"}
    state["t"]["selection"] = {"rows": [], "cells": []}
    run_list.open_selected("t", (14, 12, 9))
    assert address == {"runs": "14,9"}


def test_a_run_is_named_noted_tagged_and_found_by_it(open_page: OpenPage, pages_store: Store) -> None:
    first = finished(pages_store)
    sft = sft_done(pages_store)
    project = demo_of(pages_store)
    test = at_address(open_page("runs"), run=str(first.id))
    assert "Reward model, tfidf, head" in texts(test)
    key = f"runs-said-{first.id}"
    test.text_input(key=f"{key}-name").set_value("Before *holiday*")
    test.text_area(key=f"{key}-note").set_value("<b>why</b>")
    next(button for button in test.button if button.label == "Save").click().run()
    assert not test.exception
    run = find_run(pages_store, ADMIN, project.id, first.id)
    assert (run.name, run.said.note) == (f"{first.id}: Before *holiday*", "<b>why</b>")
    assert f"{first.id}: Before *holiday*" in [item.value for item in test.text]  # as text, never as markdown
    pages_store.run_notes.change(ADMIN, project.id, first.run_dir, tags=["keep"])
    test = open_page("runs")
    assert list(test.dataframe[0].value["run"]) == [f"{sft.id}: SFT, tiny, full", f"{first.id}: Before *holiday*"]
    test.multiselect(key="runs-tags").set_value(["keep"]).run()
    assert list(test.dataframe[0].value["run"]) == [f"{first.id}: Before *holiday*"]
    assert opened(test, pages_store) == [first.id]
    test.text_input(key="runs-text").set_value("nothing like it").run()
    assert "No run is like that." in [item.value for item in test.info]


def test_archived_runs_are_hidden_until_asked_for_and_open_by_address(open_page: OpenPage, pages_store: Store) -> None:
    first, second = finished(pages_store), finished(pages_store)
    test = open_page("runs")
    test.button(key=f"runs-said-{second.id}-archive").click().run()
    assert not test.exception
    assert [row.partition(":")[0] for row in test.dataframe[0].value["run"]] == [str(first.id)]
    assert opened(test, pages_store) == [first.id]
    assert opened(at_address(test, run=str(second.id)), pages_store) == [second.id]
    test.toggle(key="runs-archived").set_value(True).run()
    assert len(test.dataframe[0].value) == 2


def test_the_configuration_behind_a_number_is_one_click_away(open_page: OpenPage, pages_store: Store) -> None:
    job = finished(pages_store, seed=7)
    test = open_page("runs")
    test.button(key=f"runs-config-{job.id}").click().run()
    assert not test.exception
    command, options, *_, folder = [item.value for item in test.code]
    assert command.startswith("rewardkit train --model=tfidf --out=again --data=")
    assert "--seed=7" in command
    assert "seed: 7  # default: 0" in options
    assert folder.endswith(job.run_dir)
