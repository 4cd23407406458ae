"""Scores of a project's pairs by a real model of counted words: exact, grown, held out by prompt."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from toy_scores import make_words_run

from annotate_app.access import AccessError, Actor
from annotate_app.findings.labels import read_labels
from annotate_app.findings.pair_scores import (
    FILE,
    learned_prompts,
    member_probabilities,
    prompt_hash,
    read_scores,
    score_pairs,
    start,
)
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun, find_run
from rewardkit.data.records import Comparison, Judgment, Message
from rewardkit.reward.tfidf import TfidfReward

ADMIN = Actor.command_line()


@pytest.fixture
def words_run(sqlite_store: Store, make_project: Callable[..., Project], tmp_path: Path) -> ModelRun:
    """A run of project `p` whose reward model counts words with two members; it learned from the prompt of c0, c1."""
    project = make_project(sqlite_store, "p")
    return make_words_run(sqlite_store, project, tmp_path / "one")


def test_scores_are_the_models_own_and_say_what_was_learned_from(sqlite_store: Store, words_run: ModelRun) -> None:
    project_id = words_run.job.project_id
    assert project_id is not None
    assert read_scores(words_run) is None
    told: list[tuple[int, int]] = []
    number = words_run.number
    assert score_pairs(sqlite_store, ADMIN, project_id, number, tell=lambda *how: told.append(how)) == 5
    scores = read_scores(words_run)
    assert scores is not None
    assert scores.keys == ("c0", "c1", "c2", "c3", "c4")
    assert scores.learned.tolist() == [True, True, False, False, False]
    reward = TfidfReward.load(words_run.model)
    pair = sqlite_store.comparisons.get(ADMIN, project_id, "c3")
    members = reward([pair.prompt] * 2, [pair.completion_a, pair.completion_b]).members
    assert scores.margins[:, 3] == pytest.approx(members[:, 0] - members[:, 1], rel=1e-5)
    assert scores.rewards[:, 3] == pytest.approx(members.mean(0), rel=1e-5)
    q = 1 / (1 + np.exp(-(members[:, 0] - members[:, 1]) / 0.5))
    assert member_probabilities(words_run, scores)[:, 3] == pytest.approx(q, rel=1e-4)
    assert told == [(5, 5)]


def test_only_pairs_that_came_since_are_scored_and_another_model_starts_anew(
    sqlite_store: Store, words_run: ModelRun
) -> None:
    project_id, number = words_run.job.project_id, words_run.number
    assert project_id is not None
    score_pairs(sqlite_store, ADMIN, project_id, number)
    before = read_scores(words_run)
    prompt = (Message(role="user", content="New?"),)
    turns = (Message(role="assistant", content="x"), Message(role="user", content="y"))
    new = [
        Comparison(id="n,1", prompt=prompt, completion_a="on its way", completion_b="please"),
        Comparison(id="n2", prompt=prompt, completion_a="on", completion_b="its", turns_a=turns),
    ]
    sqlite_store.comparisons.add(ADMIN, project_id, new)
    assert score_pairs(sqlite_store, ADMIN, project_id, number) == 1
    after = read_scores(words_run)
    assert before is not None
    assert after is not None
    assert after.keys == (*before.keys, "n,1")
    assert after.num_unreadable == 1
    assert after.margins[:, :5].tolist() == before.margins.tolist()
    card = json.loads((words_run.model / "rewardkit.json").read_text())
    (words_run.model / "rewardkit.json").write_text(json.dumps(card | {"score_mean": 3.0}))
    assert read_scores(words_run) is None
    assert score_pairs(sqlite_store, ADMIN, project_id, number) == 6
    (words_run.folder / FILE).write_bytes(b"torn")
    assert read_scores(words_run) is None


def test_what_the_run_before_learned_from_is_learned(sqlite_store: Store, words_run: ModelRun, tmp_path: Path) -> None:
    project = sqlite_store.projects.get(ADMIN, "p")
    (words_run.model / "config.json").write_text("{}")
    later = make_words_run(sqlite_store, project, tmp_path / "two", model=str(words_run.model))
    row = {"prompt": [{"role": "user", "content": "Only the second"}], "chosen": "x", "rejected": "y"}
    (later.folder / "data" / "train.jsonl").write_text(json.dumps(row) + "\n")
    mine = prompt_hash((Message(role="user", content="only the  second"),))
    assert learned_prompts(words_run) < learned_prompts(later)
    assert learned_prompts(later) - learned_prompts(words_run) == {mine}
    (later.folder / "training.yaml").unlink()  # its command's own file still says where it began
    again = find_run(sqlite_store, ADMIN, project.id, later.number)
    assert again.plan == {}
    assert learned_prompts(again) == learned_prompts(later)


def test_a_job_scores_several_runs_for_leads(
    sqlite_store: Store, words_run: ModelRun, make_actor: Callable[..., Actor]
) -> None:
    project = sqlite_store.projects.get(ADMIN, "p")
    lead = make_actor(sqlite_store, "lead", "lea", project)
    job = start(sqlite_store, lead, project.id, [words_run])
    assert job.command == ["annotate_app", "runs", "score", project.number, str(words_run.number)]
    with pytest.raises(ValueError, match="waits or runs"):
        start(sqlite_store, lead, project.id, [words_run])
    with pytest.raises(AccessError):
        score_pairs(sqlite_store, make_actor(sqlite_store, "lead", "eve"), project.id, words_run.number)


def test_labels_are_what_people_and_adjudicators_came_to(
    sqlite_store: Store, make_project: Callable[..., Project]
) -> None:
    project = make_project(sqlite_store, "p")
    votes = [
        ("c0", "u", "a", -2),
        ("c0", "v", "a", 1),
        ("c0", "w", "tie", 0),
        ("c1", "u", "b", 3),
        ("c2", "u", "tie", 0),
    ]
    judgments = [
        Judgment(
            comparison_id=key, annotator=name, choice=choice, strength=int(choice != "tie"), criteria={"tone": tone}
        )  # type: ignore[arg-type]
        for key, name, choice, tone in votes
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, judgments)
    sqlite_store.judgments.adjudicate(ADMIN, project.id, "c1", Decision(choice="a", strength=1))
    labels = read_labels(sqlite_store, ADMIN, project)
    assert labels.share == pytest.approx([5 / 6, 1.0, 0.5, np.nan, np.nan], nan_ok=True)
    assert labels.num_votes.tolist() == [3, 1, 1, 0, 0]
    assert (labels.weight > 0).tolist() == [True, True, True, False, False]
    assert labels.source_a[0] == "short model"
    by_tone = read_labels(sqlite_store, ADMIN, project, by="tone")
    assert by_tone.share[:3] == pytest.approx([1.0, 0.0, 0.5])
    with pytest.raises(ValueError, match="criterion is 'speed', people judged by tone"):
        read_labels(sqlite_store, ADMIN, project, by="speed")
