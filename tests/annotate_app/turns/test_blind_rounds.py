"""A blind round from two real policies: answers, pairs without names, the record, and the same again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate_app.__main__ import main
from annotate_app.access import AccessError, Actor
from annotate_app.jobs.worker import keep
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.turns.blind_rounds import RoundPlan, both_policies, hold_against, make_round
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


@pytest.mark.slow
def test_a_round_is_a_job_whose_pairs_hold_both_policies(
    sqlite_store: Store,
    make_project: Callable[..., Project],
    make_actor: Callable[..., Actor],
    toy_policies: tuple[Path, Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    project = make_project(sqlite_store, num_comparisons=5)
    one, other = map(str, toy_policies)
    job = hold_against(sqlite_store, ADMIN, project.id, one, other, num_prompts=3, seed=4)
    assert (job.kind, job.title) == ("round", "Blind round: one against other")
    assert sqlite_store.jobs.claim() is not None
    keep(sqlite_store, job.id)
    job = sqlite_store.jobs.get(ADMIN, job.id)
    assert job.state == "done", job.message
    (made,) = sqlite_store.rounds.list(ADMIN, project.id)
    assert (made.one, made.other, made.num_pairs) == ("one", "other", 3)
    assert made.detail["one_model"] == one
    keys = sqlite_store.rounds.keys(ADMIN, made.id)
    pairs = {c.id: c for c in sqlite_store.comparisons.iterate(ADMIN, project.id) if c.id in keys}
    assert {frozenset((pair.source_a, pair.source_b)) for pair in pairs.values()} == {frozenset(("one", "other"))}
    assert len({pair.prompt for pair in pairs.values()}) == 3
    anna = make_actor(sqlite_store, "annotator", "anna", project)
    assert not any(lease.comparison.source_a for lease in sqlite_store.work.lease(anna, project.id, count=9))
    # The same folder again, as after a restart: the same round, nothing twice.
    policies = both_policies(sqlite_store, ADMIN, project.id, one, other)
    again = make_round(sqlite_store, ADMIN, project.id, policies, RoundPlan(), Path(job.run_dir).resolve())
    assert again == made
    assert sqlite_store.comparisons.count(ADMIN, project.id) == 8
    votes = [
        Judgment(comparison_id=key, annotator="u", choice="a" if pair.source_a == "one" else "b", strength=1)
        for key, pair in pairs.items()
    ]
    sqlite_store.judgments.import_many(ADMIN, project.id, votes)
    assert main(["round", "result", project.number, str(made.id), "--db", sqlite_store.database.url, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["wins"], result["losses"], result["num_judged"], result["rate"]["value"]) == (3, 0, 3, 1.0)
    assert main(["round", "list", project.number, "--db", sqlite_store.database.url]) == 0
    assert "3 / 0 / 0" in capsys.readouterr().out


def test_a_round_needs_two_different_policies_that_can_write(
    sqlite_store: Store,
    make_project: Callable[..., Project],
    make_actor: Callable[..., Actor],
    toy_policies: tuple[Path, Path],
) -> None:
    project = make_project(sqlite_store)
    one, other = map(str, toy_policies)

    def refused(words: str, one: str = one, other: str = other, **more: object) -> None:
        with pytest.raises(ValueError, match=words):
            hold_against(sqlite_store, ADMIN, project.id, one, other, **more)  # type: ignore[arg-type]

    refused("against itself", other=one)
    refused("there is no job 77", other="run-77")
    refused("random weights", other="tiny")
    refused("writes no answers", other="tfidf")
    refused("num_prompts is 0", num_prompts=0)
    lead = make_actor(sqlite_store, "lead", "lea", project)
    with pytest.raises(AccessError, match="prompts of a file"):
        hold_against(sqlite_store, lead, project.id, one, other, prompts="/etc/passwd")
    assert sqlite_store.jobs.list(ADMIN, project.id) == []
