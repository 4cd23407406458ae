"""Blind rounds of policies: on both runs, with votes so far and what reward models say of the same answers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from toy_scores import scores_of

from annotate_app.access import Actor
from annotate_app.findings.pair_scores import write_scores
from annotate_app.findings.policy_rounds import read_rounds
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


def pair(key: str, a: str, b: str) -> Comparison:
    prompt = (Message(role="user", content=f"Question {key}"),)
    return Comparison(
        id=key, prompt=prompt, completion_a=f"{key} {a}", completion_b=f"{key} {b}", source_a=a, source_b=b
    )


def test_a_round_is_on_both_runs_with_its_rate_and_paired_rewards(
    sqlite_store: Store, make_project: Callable[..., Project], make_run: Callable[..., ModelRun]
) -> None:
    project = make_project(sqlite_store, "p")
    reward = make_run(3)
    one = make_run(1, trains="grpo", config={"reward": [f"0.5*{reward.model}"]})
    other, stranger = make_run(2, trains="sft"), make_run(4, trains="sft")
    pairs = [pair("r0", "run-1", "run-2"), pair("r1", "run-2", "run-1"), pair("r2", "run-1", "run-2")]
    without_pairs = sqlite_store.judgments.votes(ADMIN, project.id)
    sqlite_store.comparisons.add(ADMIN, project.id, pairs)
    models = {"one_model": str(one.model), "other_model": str(other.model)}
    keys = [each.id for each in pairs]
    sqlite_store.rounds.add(ADMIN, project.id, one="run-1", other="run-2", comparisons=keys, detail=models)
    votes = [Judgment(comparison_id="r0", annotator=name, choice="a", strength=1) for name in "uv"]
    votes += [Judgment(comparison_id="r1", annotator=name, choice="a", strength=1) for name in "uv"]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    gaps = scores_of([2.0, 1.0, -3.0], keys=keys)  # a minus b
    card = hashlib.sha256((reward.model / "rewardkit.json").read_bytes()).hexdigest()[:32]
    write_scores(reward, replace(gaps, card=card))
    runs, all_votes = [reward, one, other, stranger], sqlite_store.judgments.votes(ADMIN, project.id)

    def rounds_of(*of: ModelRun):
        return read_rounds(sqlite_store, ADMIN, project.id, runs, all_votes, of=of)

    for of in ((one,), (other,), (one, other), (other, one), ()):
        [found] = rounds_of(*of)
        assert (found.one, found.other) == (1, 2)
        assert (found.result.wins, found.result.losses, found.result.num_judged, found.result.num_pairs) == (2, 2, 2, 3)
        [rewards] = found.rewards
        # of run 1: +2 on r0, -1 on r1 where it is b, -3 on r2
        assert rewards.difference.value == pytest.approx(np.mean([2.0, -1.0, -3.0]))
        assert rewards.share.value == pytest.approx(1 / 3)
        assert (rewards.reward_model, rewards.num_pairs, rewards.taught) == (3, 3, True)
        assert found.values()["rewards"][0]["taught"]
    assert rounds_of(stranger) == rounds_of(one, stranger) == []
    [unseen] = read_rounds(sqlite_store, ADMIN, project.id, runs, without_pairs)
    assert (unseen.result.num_votes, unseen.rewards) == (0, ())
