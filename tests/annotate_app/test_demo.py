"""The demo project: whole, made in seconds, the same every time, and with something on every page."""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict

import pytest

from annotate_app import demo
from annotate_app.access import Actor
from annotate_app.demo import ANNOTATORS, NAME, create_demo, desk_comparisons
from annotate_app.protocol.protocol import load_protocol
from annotate_app.store.store import Store
from annotate_app.votes import KINDS
from rewardkit.data.records import CHOICES

ADMIN = Actor.command_line()
NOW = 1_790_000_000.0


@pytest.fixture
def made(sqlite_store: Store) -> Store:
    create_demo(sqlite_store, now=NOW)
    return sqlite_store


def test_the_texts_are_many_and_none_is_there_twice() -> None:
    desk = desk_comparisons()
    prompts = {item.gold.comparison.prompt for item in desk}
    responses = {(item.gold.comparison.prompt, item.gold.comparison.completion_a) for item in desk}
    responses |= {(item.gold.comparison.prompt, item.gold.comparison.completion_b) for item in desk}
    assert len(prompts) == 150
    assert len(responses) == 440
    sentences = Counter(
        sentence
        for _, text in responses
        for sentence in re.split(r"(?<=[.!?])\s+", text)
        if len(sentence) > 60
    )  # fmt: skip
    assert sentences.most_common(1)[0][1] <= 2, sentences.most_common(3)
    assert sum(len(prompt) > 1 for prompt in prompts) >= 10, "conversations of several turns"
    assert sum("```" in text for _, text in responses) >= 8, "code"
    assert sum("| ---" in text for _, text in responses) >= 2, "tables"


def test_marks_and_flags_are_those_of_the_rubric() -> None:
    rubric = load_protocol("support_desk").rubric
    assert list(demo.MARKS) == [criterion.name for criterion in rubric.criteria]
    known = {flag.name for flag in rubric.flags}
    for item in desk_comparisons():
        assert {name for names in item.flags.values() for name in names} <= known
        assert all(-2 <= value <= 2 for _, *values in item.gold.aspects for value in values)


def test_gold_is_the_weighted_sum_of_the_marks() -> None:
    for item in desk_comparisons():
        marks = {name: (a, b) for name, a, b in item.gold.aspects}
        expected = 0.9 * marks["solves"][1] + 0.7 * marks["correct"][1] + 0.3 * marks["tone"][1]
        assert item.gold.gold_b == pytest.approx(expected)


def test_it_is_made_in_seconds(sqlite_store: Store) -> None:
    started = time.process_time()
    create_demo(sqlite_store)
    assert time.process_time() - started < 10


def test_every_page_has_something_to_show(made: Store) -> None:
    project = made.projects.get(ADMIN, NAME)
    assert project.simulated
    progress = made.projects.progress(ADMIN, project.id)
    assert progress.num_comparisons == 430
    assert 0.7 < progress.slots_judged / progress.slots_wanted < 0.95, "work is left for the visitor"
    assert len(progress.judgments_by_day) >= 20
    votes = made.judgments.votes(ADMIN, project.id)
    kinds = Counter(KINDS[code] for code in votes.kind)
    assert kinds["work"] > 900
    assert kinds["gold"] == 5 * demo.NUM_GOLD
    assert kinds["repeat"] > 30
    assert {CHOICES[code] for code in votes.choice} == set(CHOICES)
    assert set(votes.criteria) == set(demo.MARKS)
    assert votes.created_at.max() <= NOW
    assert votes.created_at.min() > NOW - 22 * 86_400
    judgments = list(made.judgments.iterate(ADMIN, project.id))
    assert sum(bool(judgment.rationale) for judgment in judgments) > 150
    assert sum(bool(judgment.flags) for judgment in judgments) > 50
    assert all(judgment.seconds > 0 and judgment.rubric_version == 1 for judgment in judgments)


def test_some_items_are_in_dispute_and_a_few_of_them_decided(made: Store) -> None:
    project = made.projects.get(ADMIN, NAME)
    votes: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for judgment in made.judgments.iterate(ADMIN, project.id):
        votes[judgment.comparison_id][judgment.choice] += 1
    decided = made.judgments.adjudications(ADMIN, project.id)
    assert len(decided) == demo.NUM_DECISIONS
    assert {decision.user for decision in decided.values()} == {demo.ADJUDICATOR}
    split = {key for key, each in votes.items() if each.total() >= 3 and 2 * max(each.values()) <= each.total()}
    assert len(split - set(decided)) >= 5


def test_annotators_are_named_as_simulated_and_never_sign_in(made: Store) -> None:
    names = [annotator.name for annotator in ANNOTATORS]
    assert len(names) == 5
    for name in (*names, demo.ADJUDICATOR):
        user = made.people.by_name(ADMIN, name)
        assert user is not None
        assert user.name.startswith("sim-")
        assert user.origin == "simulated"
        assert made.people.check_password(name, "", "127.0.0.1") is None


def test_traits_of_the_annotators_show_in_their_judgments(made: Store) -> None:
    project = made.projects.get(ADMIN, NAME)
    gold = {item.gold.comparison.id: item.gold.choice for item in desk_comparisons()}
    right, left, seconds = defaultdict(list), defaultdict(list), defaultdict(list)
    for judgment in made.judgments.iterate(ADMIN, project.id):
        right[judgment.annotator].append(judgment.choice == gold[judgment.comparison_id])
        seconds[judgment.annotator].append(judgment.seconds)
        if judgment.choice in ("a", "b"):
            left[judgment.annotator].append(judgment.choice == judgment.shown_left)
    share = {name: sum(values) / len(values) for name, values in right.items()}
    lefts = {name: sum(values) / len(values) for name, values in left.items()}
    assert share["sim-ada"] == max(share.values())
    assert share["sim-dov"] == min(share.values())
    assert lefts["sim-cleo"] == max(lefts.values()) > 0.57
    assert sum(seconds["sim-dov"]) == min(sum(values) for values in seconds.values())


def test_making_it_again_changes_nothing(made: Store) -> None:
    before = list(made.judgments.iterate(ADMIN, made.projects.get(ADMIN, NAME).id))
    assert create_demo(made, now=NOW + 999).name == NAME
    assert list(made.judgments.iterate(ADMIN, made.projects.get(ADMIN, NAME).id)) == before
    assert len(made.projects.list(ADMIN)) == 1


def test_a_call_cut_short_is_taken_up_again(sqlite_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(demo, "simulate_answers", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            create_demo(sqlite_store, now=NOW)
    project = create_demo(sqlite_store, now=NOW)
    assert sqlite_store.projects.progress(ADMIN, project.id).slots_judged > 900


def test_the_same_clock_gives_the_same_judgments() -> None:
    desk = desk_comparisons()
    checks = demo.choose_checks(desk)
    assert demo.simulate_answers(desk, checks, NOW) == demo.simulate_answers(desk, checks, NOW)
