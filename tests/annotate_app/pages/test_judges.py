"""The page Judges: who may add what, what is asked before a run, what the report says and shows."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.demo import NAME as DEMO
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.views.workbench import bulk_view
from annotate_app.store.loop.judges import JudgeRow, JudgeVote
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter

pytestmark = pytest.mark.slow

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
ENDPOINT = {"kind": "endpoint", "target": "http://127.0.0.1:9/v1", "model": "tiny", "prompt_price": 1.0}
RAW = "<img src=x onerror=alert(1)> [click](javascript:alert(1)) **B**"


def demo_of(store: Store) -> Project:
    return store.projects.get(ADMIN, DEMO)


def add_judge(store: Store, name: str = "careful", *, turned: bool = False, votes: bool = True) -> JudgeRow:
    """A judge that says what most people say, or the opposite."""
    project = demo_of(store)
    judge = store.judges.add(ADMIN, project.id, name, JudgeSpec(**ENDPOINT))  # type: ignore[arg-type]
    if not votes:
        return judge
    cast = store.judgments.votes(ADMIN, project.id).counted()
    total = np.zeros(len(cast.items))
    np.add.at(total, cast.item, np.sign(cast.score))
    rows = []
    for index, key in enumerate(cast.items):
        p_a = float(0.05 + 0.9 * ((total[index] > 0) == turned))
        for side in ("a", "b"):
            values = {"shown_first": side, "choice": "a" if p_a > 0.5 else "b", "p_a": p_a, "strength": 1, "raw": RAW}
            rows.append(JudgeVote(comparison_id=key, rubric_version=1, usage={"cost": 0.001, "seconds": 1.0}, **values))
    store.judges.add_votes(judge.id, rows)
    return judge


def words(test: AppTest) -> str:
    parts = (*test.text, *test.caption, *test.markdown, *test.info, *test.error, *test.metric)
    return "\n".join(f"{getattr(part, 'label', '')} {part.value}" for part in parts).replace("\\", "")


def test_an_empty_project_offers_to_add_one(open_page: OpenPage, pages_store: Store) -> None:
    test = open_page("judges", "lea", project="Empty project")
    assert "This project has no judge yet." in words(test)
    assert test.selectbox("judge-kind").options == ["Language model in a folder", "Reward model in a folder"]
    assert "an admin adds them" in words(test)


def test_an_admin_adds_an_endpoint_and_no_key_is_kept(open_page: OpenPage, pages_store: Store) -> None:
    pages_store.people.add(ADMIN, "ada", role="admin")
    test = open_page("judges", "ada")
    for key, value in {
        "judge-name": "careful",
        "judge-target": "http://localhost:8000/v1",
        "judge-model": "judge-8b",
        "judge-key": "sk-secret",
    }.items():
        test.text_input(key).set_value(value)
    test.button[-1].click().run()
    assert pages_store.judges.list(ADMIN, demo_of(pages_store).id) == []
    assert "key_variable is not the name of an environment variable" in words(test)
    assert "sk-secret" not in words(test)
    test.text_input("judge-key").set_value("JUDGE_API_KEY")
    test.button[-1].click().run()
    (judge,) = pages_store.judges.list(ADMIN, demo_of(pages_store).id)
    assert (judge.spec.model, judge.spec.key_variable, judge.spec.both_orders) == ("judge-8b", "JUDGE_API_KEY", True)
    assert "It has not judged anything yet." in words(test)


def test_a_run_says_what_it_costs_before_it_can_begin(open_page: OpenPage, pages_store: Store) -> None:
    add_judge(pages_store, votes=False)
    name = key_of("careful")
    test = open_page("judges", "lea")
    assert test.button(f"judge-run-{name}").disabled
    assert "It is never asked about them" in words(test)
    test.number_input(f"judge-most-{name}").set_value(10).run()
    test.button(f"judge-ask-{name}").click().run()
    assert "on 10 comparisons" in words(test)
    assert "Answers 20" in words(test)
    assert not test.button(f"judge-run-{name}").disabled
    test.number_input(f"judge-most-{name}").set_value(20).run()
    assert test.button(f"judge-run-{name}").disabled  # another run is another price
    test.button(f"judge-ask-{name}").click().run()
    test.button(f"judge-run-{name}").click().run()
    (job,) = pages_store.jobs.list(ADMIN, demo_of(pages_store).id)
    assert (job.kind, job.title) == ("judge", "Judge careful")
    assert list(job.command)[-2:] == ["--max-comparisons", "20"]
    test.button(f"cancel-{job.id}").click().run()
    assert pages_store.jobs.list(ADMIN, demo_of(pages_store).id)[0].state == "cancelled"


@pytest.mark.parametrize(
    ("turned", "use"), [(False, "It agrees with people beyond chance"), (True, "It answers against")]
)
def test_the_report_says_what_the_judge_is_good_for(
    open_page: OpenPage, pages_store: Store, turned: bool, use: str
) -> None:
    add_judge(pages_store, turned=turned)
    test = open_page("judges", "lea")
    said = words(test)
    assert use in said
    assert "430 comparisons by 860 answers" in said
    assert "It took cost 0.86, 1.0 s an answer" in said
    kappa = next(float(part.value) for part in test.metric if part.label == "Kappa with people")
    assert (kappa > 0.5) != turned
    assert "Where it errs" in [part.value for part in test.header]


def test_what_a_judge_wrote_is_drawn_as_text(pages_store: Store, open_page: OpenPage) -> None:
    add_judge(pages_store)
    key = demo_of(pages_store)
    open_page("judges", "lea")  # signs in
    script = (
        "from annotate_app.pages.kit.context import current_project\n"
        "from annotate_app.pages.views.judge_view import draw_answers\n"
        f"draw_answers(current_project(), 'careful', {pages_store.judgments.votes(ADMIN, key.id).items[0]!r})\n"
    )
    test = AppTest.from_string(script, default_timeout=30)
    test.session_state["project"] = DEMO
    test.run()
    assert not test.exception
    assert [part.value for part in test.code] == [RAW, RAW]
    assert not any(RAW in part.value for part in test.markdown)


@pytest.mark.parametrize("name", ["addy", "anna"])
def test_judges_are_for_leads(open_page: OpenPage, name: str) -> None:
    test = open_page("judges", name)
    assert "This page is not yours to see." in words(test)


def test_a_view_is_sent_to_a_judge_without_what_is_excluded(
    open_page: OpenPage, pages_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_judge(pages_store, votes=False)
    project = demo_of(pages_store)
    first, second, third = pages_store.browsing.keys(ADMIN, project.id)[:3]
    pages_store.bulk.exclude(ADMIN, project.id, ComparisonFilter(keys=(first, second)))
    asked: list[list[str]] = []
    said: list[str] = []

    def start(*_: object, comparisons: list[str]) -> SimpleNamespace:
        asked.append(comparisons)
        return SimpleNamespace(id=7)

    monkeypatch.setattr(bulk_view.judge_jobs, "start", start)
    for keys in ((first, second, third), (first, second)):
        test = open_page("comparisons")
        test.query_params["item"] = list(keys)
        test.run().selectbox(key="bulk-action").set_value("judge").run()
        button = next(each for each in test.button if each.label == f"Send to a judge: {len(keys)} comparisons")
        button.click().run()
        assert not test.exception, test.exception
        said.append(words(test) + "".join(toast.value for toast in test.toast))
    assert asked == [[third]]
    assert "about 1 comparison, without 2 that are excluded; the page Jobs" in said[0]
    assert "all of these are excluded" in said[1]
