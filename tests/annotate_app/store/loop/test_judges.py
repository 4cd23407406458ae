"""Judges and their votes in the store, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alignment.judges.spec import JudgeSpec
from annotate_app.access import AccessError, Actor
from annotate_app.store.loop.judge_votes import JUDGE_CHOICES
from annotate_app.store.loop.judges import ExampleSet, JudgeVote
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()
ENDPOINT = JudgeSpec(kind="endpoint", target="http://localhost:1/v1", model="m", key_variable="JUDGE_KEY")


def votes(count: int = 3, **differing: object) -> list[JudgeVote]:
    return [
        JudgeVote(**{"comparison_id": f"c{number}", "rubric_version": 1, "choice": "a", "strength": 2, **differing})  # type: ignore[arg-type]
        for number in range(count)
    ]


def test_a_vote_comes_back_as_it_was_kept_and_counts_once(store: Store, project: Project, lead: Actor) -> None:
    judge = store.judges.add(ADMIN, project.id, "strict", ENDPOINT)
    vote = JudgeVote(
        comparison_id="c1",
        rubric_version=1,
        choice="b",
        shown_first="b",
        sample=1,
        p_a=0.25,
        strength=2,
        criteria={"kind": -1, "clear": (2, 5)},
        raw='{"overall": "A"} né 😀',
        usage={"prompt_tokens": 10, "cost": 0.5},
        examples="abc",
        created_at=5.0,
    )
    assert store.judges.add_votes(judge.id, [vote]) == 1
    assert store.judges.add_votes(judge.id, [vote]) == 0
    (kept,) = store.judges.votes(lead, project.id)
    assert kept == JudgeVote(**{**vars(vote), "judge": "strict"})
    assert store.judges.asked(judge.id, 1, "abc") == {("c1", "b", 1)}
    assert store.judges.asked(judge.id, 1) == store.judges.asked(judge.id, 2, "abc") == set()
    assert store.judges.get(lead, project.id, "strict").num_votes == 1


def test_votes_as_columns(store: Store, project: Project, lead: Actor) -> None:
    first = store.judges.add(ADMIN, project.id, "first", ENDPOINT)
    second = store.judges.add(ADMIN, project.id, "second", ENDPOINT)
    store.judges.add_votes(second.id, votes(1, criteria={"clear": (2, 5)}, shown_first="b", usage={"cost": 2.0}))
    store.judges.add_votes(first.id, votes(2, choice="refused", strength=0, examples="ff", sample=1))
    table = store.judges.vote_table(lead, project.id)
    assert table.items == tuple(f"c{number}" for number in range(5)) == store.judgments.votes(lead, project.id).items
    assert (table.judges, table.example_hashes) == (("first", "second"), ("", "ff"))
    assert table.item.tolist() == [0, 0, 1]
    assert table.judge.tolist() == [1, 0, 0]
    assert [JUDGE_CHOICES[code] for code in table.choice] == ["a", "refused", "refused"]
    assert table.score.tolist() == [-2, 0, 0]
    assert table.shown_first.tolist() == [1, -1, -1]
    assert table.examples.tolist() == [0, 1, 1]
    assert table.sample.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(table.criteria["clear"], [3, np.nan, np.nan])
    np.testing.assert_array_equal(table.spent["cost"], [2, np.nan, np.nan])
    assert len(store.judges.vote_table(lead, project.id, first.id)) == 2
    assert len(store.judges.vote_table(lead, project.id, first.id + 77)) == 0


def test_nothing_of_a_batch_is_kept_where_one_comparison_is_unknown(store: Store, project: Project) -> None:
    judge = store.judges.add(ADMIN, project.id, "strict", ENDPOINT)
    with pytest.raises(ValueError, match="there is no comparison 'c5' in the project"):
        store.judges.add_votes(judge.id, votes(6))
    assert store.judges.votes(ADMIN, project.id) == []
    with pytest.raises(ValueError, match="there is no judge"):
        store.judges.add_votes(judge.id + 1, votes(1))


def test_who_may_add_which_judge(
    store: Store, project: Project, lead: Actor, annotator: Actor, make_actor: Callable[..., Actor], tmp_path: Path
) -> None:
    local = JudgeSpec(kind="local", target=str(tmp_path / "run" / "model"))
    function = JudgeSpec(kind="function", target="os:system")
    for spec in (ENDPOINT, function):
        with pytest.raises(AccessError, match=f"adding a judge of the kind {spec.kind} asks for the role admin"):
            store.judges.add(lead, project.id, "x", spec)
    with pytest.raises(AccessError, match="a folder that no run of this project made"):
        store.judges.add(lead, project.id, "x", local)
    store.jobs.add(lead, "train", "t", ["annotate_app", "train"], project.id, run_dir=str(tmp_path / "run"))
    assert store.judges.add(lead, project.id, "x", local).spec == local
    with pytest.raises(AccessError):
        store.judges.add(lead, project.id, "y", JudgeSpec(kind="local", target=str(tmp_path / "run" / ".." / "other")))
    with pytest.raises(AccessError):
        store.judges.list(annotator, project.id)
    with pytest.raises(AccessError):
        store.judges.votes(make_actor(store, "lead", "leo"), project.id)
    assert store.audit.list(lead, project.id)[0].action == "judge add"


def test_a_name_is_one_judge_and_an_archived_one_keeps_its_votes(store: Store, project: Project, lead: Actor) -> None:
    judge = store.judges.add(ADMIN, project.id, "strict", ENDPOINT)
    store.judges.add_votes(judge.id, votes())
    with pytest.raises(ValueError, match="the project has a judge 'strict' already"):
        store.judges.add(ADMIN, project.id, "strict", ENDPOINT)
    store.judges.archive(lead, project.id, "strict")
    assert store.judges.list(lead, project.id, archived=False) == []
    assert [row.num_votes for row in store.judges.list(lead, project.id)] == [3]
    with pytest.raises(ValueError, match="the project has no judge 'mild'; it has strict"):
        store.judges.get(lead, project.id, "mild")


def test_examples_are_remembered_beside_the_spec(store: Store, project: Project, lead: Actor) -> None:
    judge = store.judges.add(ADMIN, project.id, "strict", ENDPOINT)
    examples = ExampleSet(keys=("c1", "c2"), number=2, seed=7, rubric_version=1)
    store.judges.note_examples(judge.id, "ff", examples)
    again = store.judges.get(lead, project.id, "strict")
    assert again.example_sets == {"ff": examples}
    assert again.spec == ENDPOINT


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"choice": "A"}, "choice is 'A'"),
        ({"strength": 0}, "strength is 0 with choice a"),
        ({"p_a": 1.5}, "p_a is 1.5"),
        ({"shown_first": "left"}, "shown_first is 'left'"),
    ],
)
def test_a_vote_that_means_nothing_is_refused(values: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        votes(1, **values)


def imported(annotator: str, choice: str, count: int = 5) -> list[Judgment]:
    return [
        Judgment(
            comparison_id=f"c{number}",
            annotator=annotator,
            choice=choice,  # type: ignore[arg-type]
            strength=0 if choice in ("tie", "skip") else 3,
            rationale="because",
            shown_left="b",
            created_at=1e9,
            seconds=2.0,
        )
        for number in range(count)
    ]


def people(store: Store, project: Project) -> tuple[object, ...]:
    """What people's figures are made of."""
    votes = store.judgments.votes(ADMIN, project.id)
    kept = [
        (item, votes.annotators[who], code)
        for item, who, code in zip(votes.item, votes.annotator, votes.choice, strict=True)
    ]
    progress = store.projects.progress(ADMIN, project.id)
    listed = [(one.num_judged, one.num_wanted) for one in store.browsing.find(ADMIN, project.id)]
    return sorted(kept), progress, listed


def test_an_imported_annotator_that_is_no_person_moves_out_of_peoples_figures(
    store: Store, project: Project, lead: Actor
) -> None:
    store.judgments.import_many(ADMIN, project.id, imported("ann", "a"))
    before = people(store, project)
    store.judgments.import_many(
        ADMIN, project.id, [*imported("llm-judge", "b", 3), *imported("llm-judge", "skip", 4)[3:]]
    )
    assert people(store, project) != before
    judge = store.judges.from_annotator(lead, project.id, "llm-judge", "the judge")
    assert people(store, project) == before
    assert store.check() == []
    assert (judge.spec.kind, judge.spec.model, judge.num_votes) == ("imported", "llm-judge", 4)
    vote = store.judges.votes(lead, project.id)[0]
    assert (vote.choice, vote.strength, vote.shown_first, vote.raw, vote.usage, vote.created_at) == (
        *("b", 3, "b", "because", {"seconds": 2.0}, 1e9),
    )
    # The file that it came from does not bring it back.
    assert store.judgments.import_many(ADMIN, project.id, imported("llm-judge", "b", 3)).num_added == 0
    assert people(store, project) == before


def test_people_do_not_become_judges(store: Store, project: Project, lead: Actor, annotator: Actor) -> None:
    store.judgments.import_many(ADMIN, project.id, [*imported(annotator.name, "a"), *imported("ann", "b", 1)])
    for name in (annotator.name, "nobody"):
        with pytest.raises(ValueError, match=f"no judgments of an imported annotator '{name}'; it has those of ann"):
            store.judges.from_annotator(lead, project.id, name, "judge")
    assert store.judges.list(lead, project.id) == []  # nothing is left of it
    assert len(store.judgments.votes(ADMIN, project.id)) == 6
    with pytest.raises(AccessError):
        store.judges.from_annotator(annotator, project.id, "ann", "judge")
