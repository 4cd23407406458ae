"""Which models of a project can write."""

from __future__ import annotations

import pytest
from model_stand_ins import ADMIN, finish_run

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.writing.writers import list_models


def project_id(store) -> int:
    return store.projects.get(ADMIN, "desk").id


def test_policies_of_the_project_can_write_and_reward_models_can_score(store):
    sft, reward = finish_run(store), finish_run(store, "reward", model="tfidf", mode="head")
    models = list_models(store, ADMIN, project_id(store))
    assert {key: (one.source, one.folder.name) for key, one in models.writers.items()} == {
        str(sft): (f"run-{sft}", "model")
    }
    assert list(models.scorers) == [str(reward)]
    for key in ("7", str(reward)):
        with pytest.raises(ValueError, match=f"run {key} is no policy of this project that can write; there are {sft}"):
            models.choose([key])
    with pytest.raises(ValueError, match=f"run {sft} is no reward model"):
        models.scorer(str(sft))
    assert models.scorer("") is None


def test_a_base_in_a_folder_is_listed_once_and_one_that_is_a_run_is_that_run(store, tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    first = finish_run(store, model=str(base))
    own = list_models(store, ADMIN, project_id(store)).writers[str(first)].folder
    finish_run(store, model=str(own))
    again = finish_run(store, model=str(base))
    writers = list_models(store, ADMIN, project_id(store)).writers
    assert [key for key in writers if key.endswith("-base")] == [f"{again}-base"]
    assert (writers[f"{again}-base"].source, writers[f"{again}-base"].folder) == (f"base-of-run-{again}", base)


def test_runs_of_another_project_and_people_below_lead_are_kept_out(store):
    finish_run(store)
    other = store.projects.create(ADMIN, "other", rubric_text="title: x\nguidelines: Choose.\n", design=Design())
    assert not list_models(store, ADMIN, other.id).writers
    anna = store.people.add(ADMIN, "anna", role="adjudicator")
    store.projects.add_member(ADMIN, project_id(store), anna.id)
    with pytest.raises(AccessError):
        list_models(store, Actor(user_id=anna.id, name="anna", role="adjudicator"), project_id(store))
