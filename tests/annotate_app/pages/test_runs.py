"""The page Runs: which run is open by address, names and notes, filters, and the configuration behind a number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from finished_runs import finished, queued, sft_done
from streamlit.testing.v1 import AppTest
from toy_scores import make_words_run
from train_page import demo_of, texts

from annotate_app.access import Actor
from annotate_app.findings.pair_scores import score_pairs
from annotate_app.jobs.model_processes import model_processes
from annotate_app.pages.views.moved_view import marked
from annotate_app.pages.views.runs import run_list
from annotate_app.store.store import Store
from annotate_app.trainings.runs import find_run, list_runs
from rewardkit.data.records import Comparison, Judgment, Message

pytestmark = pytest.mark.slow

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
    assert "What differs" in [item.value for item in test.header]
    names = [run.name for run in list_runs(pages_store, ADMIN, demo_of(pages_store).id)]
    test.multiselect(key=f"runs-chosen-{demo_of(pages_store).id}").set_value(names[1:]).run()
    assert test.query_params["runs"] == f"{second.id},{first.id}"


def test_an_address_of_no_run_is_said_and_that_of_an_earlier_job_of_it_opens_it(
    open_page: OpenPage, pages_store: Store
) -> None:
    job = finished(pages_store)
    test = at_address(open_page("runs"), run="999")
    assert "There is no run 999 in this project." in [item.value for item in test.warning]
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


def test_reward_models_are_held_against_each_other_and_people_and_pairs_open(
    open_page: OpenPage, pages_store: Store, tmp_path: Path
) -> None:
    project = demo_of(pages_store)
    runs = [make_words_run(pages_store, project, tmp_path / name, seed=n) for n, name in enumerate(("one", "two"))]
    address = ",".join(str(run.number) for run in runs)
    test = at_address(open_page("runs"), runs=address)
    test.button(key="runs-score-paired").click().run()
    assert not test.exception
    [job] = [job for job in pages_store.jobs.list(ADMIN, project.id) if job.kind == "score"]
    assert job.command[:3] == ["annotate_app", "runs", "score"]
    for run in runs:
        score_pairs(pages_store, ADMIN, project.id, run.number)
    pages_store.jobs.claim(10)
    pages_store.jobs.finish(job.id, "done")
    test = at_address(open_page("runs"), runs=address)
    words = texts(test)
    assert "that none of them learned from" in words
    assert f"ot shown that run {runs[1].number} or run {runs[0].number}" in words
    assert "McNemar's exact test p = " in words
    table = next(item.value for item in test.dataframe if "accuracy" in item.value)
    assert list(table["run"])[-1] == f"run {runs[1].number} minus run {runs[0].number}"
    number = runs[0].number
    test = at_address(open_page("runs", **{f"runs-differ-{number}": True}), run=str(number))
    assert "They differ on " in texts(test)
    rows = next(item.value for item in test.dataframe if "surprise" in item.value)
    assert list(rows["surprise"]) == sorted(rows["surprise"], reverse=True)
    test = open_page("comparisons")
    test.query_params["item"] = list(rows["id"][:2])
    test.run()
    assert sorted(test.dataframe[0].value["id"]) == sorted(rows["id"][:2])
    assert "2 comparisons chosen by a link." in texts(test)


def test_a_policy_shows_its_blind_rounds_and_makes_one_with_its_cost(open_page: OpenPage, pages_store: Store) -> None:
    project, one, other = demo_of(pages_store), sft_done(pages_store), sft_done(pages_store)
    prompt = (Message(role="user", content="Where is it?"),)
    pairs = [
        Comparison(
            id=f"r{n}",
            prompt=prompt,
            completion_a=f"a{n}",
            completion_b=f"b{n}",
            source_a=f"run-{one.id}",
            source_b=f"run-{other.id}",
        )
        for n in range(3)
    ]
    pages_store.comparisons.add(ADMIN, project.id, pairs)
    pages_store.rounds.add(
        ADMIN, project.id, one=f"run-{one.id}", other=f"run-{other.id}", comparisons=["r0", "r1", "r2"]
    )
    votes = [Judgment(comparison_id="r0", annotator=name, choice="a", strength=1) for name in "uvw"]
    pages_store.judgments.import_many(ADMIN, project.id, votes)
    for run in (one, other):
        test = at_address(open_page("runs"), run=str(run.id))
        assert f"run-{one.id} wins 100.0%" in texts(test)
        assert "3 won, 0 tied, 0 lost" in texts(test)
    key = f"runs-hold-{other.id}"
    test.number_input(key=f"{key}-num").set_value(50).run()
    assert f"100 answers of the two, drawn by a job, and {50 * project.design.votes_wanted:,} judgments" in texts(test)
    test.button(key=f"{key}-make").click().run()
    assert not test.exception
    [job] = [job for job in pages_store.jobs.list(ADMIN, project.id) if job.kind == "round"]
    assert {"round", "make", f"--one={other.id}", f"--other={one.id}", "--num=50"} <= set(job.command)
    test = at_address(open_page("runs"), runs=f"{one.id},{other.id}")
    assert "Before people, blindly" in [item.value for item in test.header]
    assert "3 won, 0 tied, 0 lost" in texts(test)


def test_the_playground_takes_a_pair_by_link_and_marks_what_moved_its_score(
    open_page: OpenPage, pages_store: Store, tmp_path: Path
) -> None:
    project = demo_of(pages_store)
    first = make_words_run(pages_store, project, tmp_path / "one")
    make_words_run(pages_store, project, tmp_path / "two", seed=1)
    pair = next(iter(pages_store.comparisons.iterate(ADMIN, project.id)))
    test = at_address(open_page("playground"), item=pair.id, run=str(first.number))
    assert test.selectbox(key=f"playground-model-{project.id}").value == first.number
    assert test.text_area(key="playground-a").value == pair.completion_a
    assert f"Pair {pair.id.replace('-', chr(92) + '-')}; people: " in texts(test)
    assert test.metric[0].label in ("Prefers A", "Prefers B")
    test.button(key="playground-why").click().run()
    assert not test.exception
    marks = "".join(block.proto.body for block in test.get("html"))
    assert marks.count("<span title=") >= 2
    test.segmented_control(key="playground-mark").set_value("Words").run()
    assert "exactly: this model is linear" in texts(test)
    test.button(key="playground-swap").click().run()
    assert "people: " not in texts(test)
    model_processes().close()


def test_texts_are_shown_as_they_are_between_marks() -> None:
    shown = marked("<b>a</b> &amp; b", [(0, 9, 1.0), (9, 16, -0.5)], 1.0)
    assert "<b>" not in shown
    assert "&lt;b&gt;a&lt;/b&gt;</span> <span" in shown
    assert "&amp;amp; b</span></div>" in shown
    assert 'title="-0.500"' in shown
