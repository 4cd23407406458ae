"""The Loop page: the empty state and its form, a turn's stages with their buttons, advice over turns, the address."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.pages.views.turns.stage_words import found
from annotate_app.pages.views.turns.turn_form import merged, more_text
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.turns.plan import TurnPlan, read_plan, read_plan_text
from annotate_app.turns.turn import STAGES, StageRecord, TurnFigures
from rewardkit.stats.metrics import Interval

pytestmark = pytest.mark.slow

ADMIN = Actor.command_line()
EMPTY = "Empty project"


@pytest.fixture
def demo(pages_store: Store) -> Project:
    return pages_store.projects.get(ADMIN, DEMO)


def words(page: AppTest) -> str:
    parts = (page.markdown, page.text, page.caption, page.info, page.success, page.warning, page.error)
    return "\n".join(str(element.value) for kind in parts for element in kind)


def button(page: AppTest, label: str):
    return next(button for button in page.button if button.label == label)


def open_turn(store: Store, project: Project, done: int = 0, **plan: object) -> int:
    """A turn with so many stages done; its number."""
    turn = store.turns.add(ADMIN, project.id, {"policy": "tiny", **plan})
    for stage in STAGES[:done]:
        store.turns.update_stage(ADMIN, turn.id, stage, state="running", begins=True)
        store.turns.update_stage(ADMIN, turn.id, stage, state="done", result={})
    return turn.number


def test_without_a_turn_the_page_explains_the_loop_and_offers_the_first(open_page: Callable, pages_store: Store, demo):
    page = open_page("loop", "lea")
    assert "A turn goes once round the loop" in words(page)
    button(page, "Start the first turn").click().run()
    assert not page.exception
    (turn,) = pages_store.turns.list(ADMIN, demo.id)
    plan = read_plan(turn.plan)
    assert (plan.policy, plan.auto, plan.choose.rule, plan.write.num_prompts) == ("tiny", True, "uncertainty", 200)
    assert turn.stage("write").state == "running"  # by itself, as it is asked to


def test_a_plan_that_does_not_go_together_cannot_be_started(open_page: Callable):
    page = open_page("loop", "lea")
    page.text_area(key="loop-more").set_value("choose: {random_share: 0}").run()
    assert "choose.random_share is 0" in words(page)
    assert button(page, "Start the first turn").disabled


def test_a_project_without_prompts_is_led_to_the_import(open_page: Callable):
    page = open_page("loop", "lea", project=EMPTY)
    assert "The project has no prompts yet." in words(page)
    assert not page.button


def test_annotators_do_not_see_the_loop(open_page: Callable):
    assert "This page is not yours to see." in words(open_page("loop", "anna"))


def test_the_stage_that_is_due_begins_by_its_button(open_page: Callable, pages_store: Store, demo):
    number = open_turn(pages_store, demo)
    page = open_page("loop", "lea")
    assert "What it will cost: at most" in words(page)
    button(page, "Begin: write").click().run()
    assert not page.exception
    record = pages_store.turns.get(ADMIN, demo.id, number).stage("write")
    assert record.state == "running"
    assert record.job_id
    assert "Waits until the worker is free" in [bar.proto.text for bar in page.get("progress")]
    button(page, "Cancel").click().run()
    record = pages_store.turns.get(ADMIN, demo.id, number).stage("write")
    assert record.state == "failed"
    assert button(page, "Try again: write")


def test_a_stage_that_waits_for_people_leads_to_them_or_goes_on_without(open_page: Callable, pages_store: Store, demo):
    number = open_turn(pages_store, demo, done=2)
    turn = pages_store.turns.get(ADMIN, demo.id, number)
    keys = [pair.id for pair in pages_store.browsing.iterate(ADMIN, demo.id, "open")][:5]
    pages_store.turns.add_pairs(ADMIN, turn.id, dict.fromkeys(keys, "random"))
    page = open_page("loop", "lea")
    button(page, "Begin: judge").click().run()
    assert any("judgments are there" in bar.proto.text for bar in page.get("progress"))
    assert button(page, "Go to labeling")
    button(page, "Go on with the votes that are there").click().run()
    assert pages_store.turns.get(ADMIN, demo.id, number).stage("judge").state == "done"
    assert button(page, "Begin: learn")


def test_a_stage_is_skipped_adopted_and_set_back_behind_a_second_click(open_page: Callable, pages_store: Store, demo):
    number = open_turn(pages_store, demo, done=3)
    page = open_page("loop", "lea")
    page.button(key=f"skip-{number}-learn").click().run()
    assert pages_store.turns.get(ADMIN, demo.id, number).stage("learn").state == "skipped"
    page.text_input(key=f"adopt-{number}-align-what").set_value("run-99")
    page.button(key=f"adopt-{number}-align").click().run()
    assert any("That was not done" in error.value for error in page.error)
    page.button(key=f"redo-{number}-judge-sure").click().run()
    states = [record.state for record in pages_store.turns.get(ADMIN, demo.id, number).stages]
    assert states == ["done", "done", "waiting", "waiting", "waiting", "waiting"]


def test_the_next_turn_is_one_click_and_earlier_ones_are_chosen(open_page: Callable, pages_store: Store, demo):
    first = open_turn(pages_store, demo, done=6)
    pages_store.turns.end(ADMIN, pages_store.turns.get(ADMIN, demo.id, first).id, "done")
    page = open_page("loop", "lea")
    assert "Cannot say" in words(page)
    button(page, "Start turn 2").click().run()
    assert not page.exception
    second = pages_store.turns.get(ADMIN, demo.id, 2)
    assert (second.parent, second.state) == (1, "open")
    chooser = f"loop-turn-{demo.id}"
    assert page.selectbox(key=chooser).value == 2
    page.selectbox(key=chooser).set_value(1).run()
    assert not page.exception
    assert page.query_params["turn"] == "1"
    assert "Begin: write" not in [one.label for one in page.button]


def test_the_address_names_the_turn(open_page: Callable, pages_store: Store, demo):
    for _ in range(2):
        number = open_turn(pages_store, demo, done=6)
        pages_store.turns.end(ADMIN, pages_store.turns.get(ADMIN, demo.id, number).id, "done")
    page = open_page("loop", "lea")
    assert page.selectbox(key=f"loop-turn-{demo.id}").value == 2
    other = AppTest.from_string("from annotate_app.pages import loop\nloop.page()", default_timeout=30)
    other.session_state["project"] = DEMO
    other.query_params["turn"] = "1"
    other.run()
    assert other.selectbox(key=f"loop-turn-{demo.id}").value == 1


def test_a_turn_is_stopped_by_two_clicks(open_page: Callable, pages_store: Store, demo):
    number = open_turn(pages_store, demo)
    page = open_page("loop", "lea")
    page.button(key=f"stop-{number}-sure").click().run()
    assert pages_store.turns.get(ADMIN, demo.id, number).state == "stopped"
    assert button(page, "Start turn 2")


def test_the_form_s_yaml_adds_to_its_fields_option_by_option():
    fields = {"policy": "3", "align": {"trains": "dpo"}, "learn": {"config": {"model": "tiny"}}}
    more = {"learn": {"config": {"epochs": 2}, "replay": 0.5}, "align": {"base": "first"}, "seed": 4}
    assert merged(fields, more) == {
        "policy": "3",
        "seed": 4,
        "align": {"trains": "dpo", "base": "first"},
        "learn": {"config": {"model": "tiny", "epochs": 2}, "replay": 0.5},
    }


def test_the_yaml_that_is_shown_changes_nothing():
    shown = read_plan_text(more_text({}))
    fields = {"policy": "tiny", "learn": {"config": {"model": "tfidf"}}}
    assert read_plan(merged(fields, shown)) == TurnPlan(policy="tiny")
    assert "num_pairs" not in shown["choose"]


def test_what_a_stage_found_is_told_with_its_interval():
    figures = TurnFigures(
        number=2,
        state="done",
        accuracy_before=Interval(value=0.61, low=0.5, high=0.7),
        accuracy_after=Interval(value=0.7),
        against_previous=Interval(value=0.58, low=0.49, high=0.66),
        against_first=Interval(value=0.7, low=0.6, high=0.8),
    )
    learn = found(StageRecord(stage="learn", state="done", result={}), figures)
    assert learn == [
        "Before, it ordered this turn's random pairs as people do: 61% (50% to 70%)",
        "After, on pairs held out: 70%, too few for an interval",
    ]
    assert found(StageRecord(stage="check", state="done", result={}), figures) == [
        "Blind votes won against the turn before: 58% (49% to 66%)",
        "Blind votes won against turn 0: 70% (60% to 80%)",
    ]
    chosen = {
        "num_pairs": 30,
        "by_rule": {"uncertainty": 24, "random": 6},
        "left_out": {"near_duplicates": 3, "cut": 0},
    }
    assert found(StageRecord(stage="choose", state="done", result=chosen), figures) == [
        "30 pairs: 24 by uncertainty, 6 by random",
        "Left out: 3 near duplicates",
    ]
    assert found(StageRecord(stage="write"), None) == []
