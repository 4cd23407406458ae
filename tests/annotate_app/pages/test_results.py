"""What leads see of a project that is under way, of an empty one, and what others are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from annotate_app.access import Actor
from annotate_app.agreement import quality
from annotate_app.agreement.proportions import share
from annotate_app.agreement.quality import annotator_quality
from annotate_app.agreement.reports.report import agreement_report
from annotate_app.demo import NAME as DEMO
from annotate_app.pages.kit.chosen_names import key_of
from annotate_app.pages.quality import behind_flag
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Criterion, Rubric, rubric_text
from annotate_app.ranking.win_rates import fit_win_rates
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from rewardkit.data.records import Comparison, Judgment, Message

OpenPage = Callable[..., AppTest]
ADMIN = Actor.command_line()
EMPTY = "Empty project"


def texts(test: AppTest) -> str:
    """All words of a page."""
    kinds = (test.title, test.header, test.markdown, test.caption, test.text, test.info, test.warning, test.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize(
    "module", ["projects", "overview", "agreement", "quality", "leaderboard", "adjudicate", "comparisons"]
)
@pytest.mark.parametrize("project", [DEMO, EMPTY])
def test_leads_open_every_page(open_page: OpenPage, module: str, project: str) -> None:
    test = open_page(module, project=project)
    assert test.title[0].value.lower() == module
    assert not test.error


@pytest.mark.parametrize("module", ["overview", "agreement", "quality", "leaderboard", "adjudicate", "comparisons"])
def test_annotators_are_told_in_one_line(open_page: OpenPage, module: str) -> None:
    test = open_page(module, "anna")
    assert [error.value for error in test.error] == ["This page is not yours to see."]
    assert "anna is annotator" in texts(test)
    assert not test.dataframe
    assert not test.metric


def test_the_headline_is_the_figure_of_the_chosen_measure(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    report = agreement_report(pages_store.judgments.votes(ADMIN, project.id), num_resamples=0)
    test = open_page("agreement")
    assert test.metric[0].value == f"{report.overall.estimates['percent'].value:.1%}"
    test.selectbox(key="agreement-measure").select("alpha_interval").run()
    assert test.metric[0].label == "Krippendorff's alpha, interval"
    assert test.metric[0].value == f"{report.overall.estimates['alpha_interval'].value:.2f}"
    assert "numbers" in texts(test)
    shown = test.dataframe[0].value.set_index("measure")
    assert list(shown.index[-2:]) == ["Conger's kappa", "Cohen's kappa, mean"]
    assert shown.loc["Conger's kappa", "value"] == f"{report.conger_kappa.value:.2f}"
    assert " to " in shown.loc["Cohen's kappa, mean", "95% interval"]


def test_an_adjudicator_decides_and_the_next_comparison_comes(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    before = pages_store.judgments.adjudications(ADMIN, project.id)
    test = open_page("adjudicate", "addy")
    first = shown_comparison(test)
    assert first not in before
    test.text_area(key=f"why-{key_of(first)}").input("B says when the parcel comes.")
    test.button(key=f"decide-{key_of(first)}-b-2").click().run()
    decision = pages_store.judgments.adjudications(ADMIN, project.id)[first]
    assert (decision.choice, decision.strength, decision.user) == ("b", 2, "addy")
    assert decision.rationale == "B says when the parcel comes."
    assert shown_comparison(test) != first
    assert len(pages_store.judgments.adjudications(ADMIN, project.id)) == len(before) + 1


def test_an_adjudicator_settles_criteria_with_the_answer(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    test = open_page("adjudicate", "addy")
    first = shown_comparison(test)
    name = key_of(first)
    test.segmented_control(key=f"settle-{name}-tone").set_value(1)
    test.button(key=f"decide-{name}-a-3").click().run()
    decision = pages_store.judgments.adjudications(ADMIN, project.id)[first]
    assert (decision.choice, decision.strength, dict(decision.criteria)) == ("a", 3, {"tone": 1})
    test.segmented_control(key="adjudicate-list").set_value("Decided").run()
    while shown_comparison(test) != first:
        test.button(key="adjudicate-next").click().run()
    assert test.segmented_control(key=f"settle-{name}-tone").value == 1, "the form begins with what was decided"
    test.button(key=f"decide-{name}-discard-0").click().run()
    decision = pages_store.judgments.adjudications(ADMIN, project.id)[first]
    assert (decision.choice, dict(decision.criteria)) == ("discard", {})


def shown_comparison(test: AppTest) -> str:
    """The id in the line `1 of 20: id`."""
    return next(element.value for element in test.text if " of " in element.value).partition(": ")[2]


def test_an_adjudicator_sees_no_names_and_no_models_unless_asked(open_page: OpenPage) -> None:
    test = open_page("adjudicate", "addy")
    names = [name for frame in test.dataframe for name in frame.value.get("who", [])]
    assert names
    assert all(name.startswith("Person ") for name in names)
    assert "sim-" not in texts(test)
    test.toggle(key="adjudicate-names").set_value(True).run()
    assert all(name.startswith("sim-") for frame in test.dataframe for name in frame.value.get("who", []))


def test_a_lead_pauses_somebody_from_the_quality_page(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    test = open_page("quality")
    button = next(button for button in test.button if button.label == "Pause")
    user_id = int(button.key.rpartition("-")[2])
    button.click().run()
    states = {member.user_id: member.state for member in pages_store.projects.members(ADMIN, project.id)}
    assert states[user_id] == "paused"
    assert any(button.label == "Resume" for button in test.button)


def test_ties_may_be_modelled_on_the_leaderboard(open_page: OpenPage) -> None:
    test = open_page("leaderboard")
    half = test.dataframe[0].value["strength"].tolist()
    test.segmented_control(key="leaderboard-ties").set_value("davidson").run()
    davidson = test.dataframe[0].value["strength"].tolist()
    assert half != davidson
    assert davidson == sorted(davidson, reverse=True)


def test_the_leaderboard_shows_each_pair_of_models_with_its_ties(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    found = fit_win_rates(pages_store.judgments.votes(ADMIN, project.id))
    table = open_page("leaderboard").dataframe[1].value
    assert table["model"].tolist() == [pair.one for pair in found.pairs]
    assert table["win rate"].tolist() == pytest.approx([100 * pair.rate.value for pair in found.pairs])
    assert table["ties"].tolist() == pytest.approx([100 * pair.tie_share.value for pair in found.pairs])


def test_figures_are_those_of_the_newest_votes(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    test = open_page("agreement", project=EMPTY)
    assert "no agreement to measure" in texts(test)
    pair = Comparison(id="p", prompt=(Message(role="user", content="?"),), completion_a="x", completion_b="y")
    pages_store.comparisons.add(ADMIN, project.id, [pair])
    votes = [Judgment(comparison_id="p", annotator=name, choice="a", strength=1) for name in ("one", "two")]
    pages_store.judgments.import_many(ADMIN, project.id, votes)
    test.run()
    assert test.metric[0].value == "100.0%"
    assert "95% interval 14." in texts(test)  # Jeffreys: Beta(1.5, 0.5) at 2.5 % is 0.147


def test_one_vote_is_no_ranking_on_the_leaderboard(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    pair = Comparison(
        id="p",
        prompt=(Message(role="user", content="?"),),
        completion_a="x",
        completion_b="y",
        source_a="m",
        source_b="n",
    )
    pages_store.comparisons.add(ADMIN, project.id, [pair])
    vote = Judgment(comparison_id="p", annotator="one", choice="a", strength=1)
    pages_store.judgments.import_many(ADMIN, project.id, [vote])
    test = open_page("leaderboard", project=EMPTY)
    strengths, pairs = (test.dataframe[number].value for number in (0, 1))
    assert strengths["rank"].tolist() == [1, 1]
    assert strengths["95% interval"].tolist() == ["-1.34 to 2.95", "-2.95 to 1.34"]
    assert pairs["95% interval"].tolist() == ["2.5% to 100.0%"]
    assert "fewer than 10 comparisons of m, n" in texts(test)
    assert test.caption[0].value.startswith("Bradley-Terry strengths from 1 vote, on")


def test_agreement_on_one_comparison_says_what_is_missing(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    pair = Comparison(
        id="p", prompt=(Message(role="user", content="?"),), completion_a="x", completion_b="y", source_a="m"
    )
    pages_store.comparisons.add(ADMIN, project.id, [pair])
    for name in ("one", "two"):
        vote = Judgment(comparison_id="p", annotator=name, choice="a", strength=1)
        pages_store.judgments.import_many(ADMIN, project.id, [vote])
    tone = Criterion(name="tone", question="Which is kinder?", required=False)
    for criteria, said in (((), "asks about no criterion"), ((tone,), "No comparison has two answers yet about tone")):
        rubric = Rubric(title="Which?", guidelines="Read both.", criteria=criteria)
        pages_store.projects.save_rubric(ADMIN, project.id, rubric_text(rubric))
        words = texts(open_page("agreement", project=EMPTY))
        assert said in words
        assert "1 comparison with two votes or more, 2 votes in all" in words


def test_the_quality_table_shows_what_was_computed(open_page: OpenPage, pages_store: Store) -> None:
    project = pages_store.projects.get(ADMIN, DEMO)
    people = annotator_quality(pages_store.judgments.votes(ADMIN, project.id))
    drawn = open_page("quality").dataframe[0]
    assert drawn.proto.placeholder == "–"  # where nothing is known of somebody
    table = drawn.value
    assert table["name"].tolist() == [person.name for person in people]
    assert table["gold"].tolist() == pytest.approx([100 * person.gold.value for person in people])
    assert [len(weeks) for weeks in table["weeks"]] == [len(person.weeks) for person in people]


STRANGE_IDS = [
    "mmlu__12",
    "__",
    'a/b\\c d\te "it\'s" {x} $y$ `z` 😀 \u202ené',
    "None",
    "\u00a0x\u3000",
    "x" * 200,
]


@pytest.mark.parametrize("strange", STRANGE_IDS)
def test_a_comparison_of_any_id_is_settled_looked_at_and_set(
    open_page: OpenPage, pages_store: Store, strange: str
) -> None:
    project = pages_store.projects.get(ADMIN, EMPTY)
    pages_store.projects.update(ADMIN, project.id, design=Design(overlap=2))
    pair = Comparison(id=strange, prompt=(Message(role="user", content="x"),), completion_a="a", completion_b="b")
    pages_store.comparisons.add(ADMIN, project.id, [pair])
    for name, choice in (("one__two", "a"), (strange[:120].strip() or "three", "b")):
        vote = Judgment(comparison_id=strange, annotator=name, choice=choice, strength=1)
        pages_store.judgments.import_many(ADMIN, project.id, [vote])
    test = open_page("adjudicate", project=EMPTY)
    assert any(element.value == f"1 of 1: {strange}".strip() for element in test.text)
    test.text_area[0].set_value("because")
    next(item for item in test.button if item.label == "tie").click().run()
    assert not test.exception, test.exception
    decision = pages_store.judgments.adjudications(ADMIN, project.id)[strange]
    assert (decision.choice, decision.rationale) == ("tie", "because")
    test = AppTest.from_string(ONE_COMPARISON, default_timeout=30).run()
    assert not test.exception, test.exception
    next(item for item in test.number_input if item.label == "Priority").set_value(2.5)
    next(item for item in test.button if item.label == "Save priority").click().run()
    assert not test.exception, test.exception
    assert pages_store.browsing.find(ADMIN, project.id)[0].priority == 2.5


ONE_COMPARISON = f"""
from annotate_app.access import Actor
from annotate_app.pages import comparisons
from annotate_app.pages.kit.context import current_store
import streamlit as st
st.session_state["project"] = "{EMPTY}"
store = current_store()
project = store.projects.get(Actor.command_line(), "{EMPTY}")
comparisons.draw_one(project, store.browsing.find(Actor.command_line(), project.id)[0])
"""


@pytest.mark.slow
def test_no_text_of_people_reaches_markdown(open_page: OpenPage, pages_store: Store) -> None:
    """Streamlit's markdown loads remote images; names, ids and rationales are shown as text only."""
    project = pages_store.projects.get(ADMIN, EMPTY)
    image = "![x](http://elsewhere.example/x.png)"
    pair = Comparison(id=image, prompt=(Message(role="user", content=image),), completion_a=image, completion_b="y")
    pages_store.comparisons.add(ADMIN, project.id, [pair], overlap=2)
    for number, choice in enumerate(("a", "b")):
        vote = Judgment(comparison_id=image, annotator=f"{image}{number}", choice=choice, strength=1, rationale=image)
        pages_store.judgments.import_many(ADMIN, project.id, [vote])
    pages_store.projects.update(ADMIN, project.id, design=Design(overlap=2), description=image)
    member = pages_store.people.add(ADMIN, image, role="annotator")
    pages_store.projects.add_member(ADMIN, project.id, member.id, image)
    pages_store.people.create_invite(ADMIN, role="annotator", name=f"{image}?", project_id=project.id, group=image)
    for module in (
        "people",
        "projects",
        "overview",
        "agreement",
        "quality",
        "leaderboard",
        "adjudicate",
        "comparisons",
    ):
        test = open_page(module, project=EMPTY)
        if module == "adjudicate":
            assert any(image in element.value for element in test.text)
            test.toggle(key="adjudicate-names").set_value(True).run()
        kinds = (test.markdown, test.caption, test.header, test.header, test.info, test.success, test.toast)
        assert not any(image in str(element.value) for kind in kinds for element in kind)
        assert not any(image in item.label for kind in (test.button, test.expander) for item in kind)


def test_a_project_and_an_action_on_people_are_named_as_text(open_page: OpenPage, pages_store: Store) -> None:
    image = "![x](http://elsewhere.example/x.png)"
    project = pages_store.projects.get(ADMIN, EMPTY)
    pages_store.projects.update(ADMIN, project.id, name=image)
    pages_store.people.add(ADMIN, image, role="annotator")
    test = open_page("people", project=image)
    assert any(element.value == image for element in test.text)
    assert not any(image in element.value for element in test.header)
    test.multiselect(key="add-users").select(image)
    next(item for item in test.button if item.label == "Add to project").click().run()
    assert [element.value for element in test.toast] == [
        "\\!\\[x\\]\\(http\\:\\/\\/elsewhere\\.example\\/x\\.png\\) added."
    ]


def test_every_sentence_about_somebody_leads_to_what_is_behind_it() -> None:
    odd, none = share(18, 20), share(0, 20)
    names = ("longer", "fast", "ties", "both_bad", "skips", "consistency", "gold", "majority")
    shares = dict.fromkeys(names, odd) | dict.fromkeys(("consistency", "gold", "majority"), none) | {"left": odd}
    rest = dict.fromkeys(names, (10, 200)) | {"majority": (190, 200)}
    flags = quality._flags(shares, rest, 0.001, -0.1, 0.001)
    behind = {flag: behind_flag("Ada", flag) for flag in flags}
    plain = ComparisonFilter(persons=("Ada",))
    assert [flag.split()[0] for flag, chosen in behind.items() if chosen == plain] == ["chose", "ties", "both", "skips"]
    assert len(flags) == 10
    assert {(chosen.missed, chosen.changed, chosen.fast, chosen.sort) for chosen in behind.values()} == {
        ("", "", "", "came"),
        ("Ada", "", "", "came"),
        ("", "Ada", "", "came"),
        ("", "", "Ada", "came"),
        ("", "", "", "newest"),
        ("", "", "", "longest"),
    }
