"""A process reward model's scores of steps come into the project, from its folder and from a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.prefill import prefill_steps
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
STEPS = ("2 + 3 = 5", "5 * 2 = 11")


@pytest.fixture
def project(store: Store) -> Project:
    """Two answers in steps, of which one is judged."""
    text = rubric_text(Rubric(title="T", guidelines="G", question="Is each step right?", task="steps"))
    project = store.projects.create(ADMIN, "steps", rubric_text=text, design=Design(overlap=1))
    prompt, whole = (Message(role="user", content="How much?"),), "\n".join(STEPS)
    answers = [
        Comparison(id=key, prompt=prompt, completion_a=whole, completion_b=whole, steps=STEPS)
        for key in ("open", "judged")
    ]
    store.comparisons.add(ADMIN, project.id, answers)
    judged = Judgment(comparison_id="judged", annotator="anna", choice="a", strength=1, step_labels=(1.0, 1.0))
    store.judgments.import_many(ADMIN, project.id, [judged])
    return project


def scores(store: Store, project: Project) -> dict[str, tuple[float | None, ...]]:
    return {one.id: one.step_scores for one in store.comparisons.iterate(ADMIN, project.id)}


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_model_scores_what_nobody_has_judged(store: Store, project: Project, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from toy_architectures import make_tokenizer
    from toy_models import config_for

    from rewardkit.network.classifier import RewardScorer, make_classifier
    from rewardkit.reward.metadata import Card
    from rewardkit.reward.process_reward import ProcessRewardModel, save_process_reward

    tokenizer = make_tokenizer("llama")
    scorer = RewardScorer(make_classifier(config_for(tokenizer), seed=0, per_token=True), num_members=1, seed=1)
    layout = {"separator": "\n", "plain_prompt": False}
    save_process_reward(scorer, tokenizer, Card(kind="steps", num_members=1, max_length=200, steps=layout), tmp_path)
    assert prefill_steps(store, ADMIN, project, tmp_path) == 1
    [expected] = ProcessRewardModel.load(tmp_path).score_steps([[Message(role="user", content="How much?")]], [STEPS])
    found = scores(store, project)
    assert found["judged"] == ()
    assert found["open"] == pytest.approx(expected.members.mean(0), abs=1e-5)


def test_rows_of_a_file_bring_scores_all_or_none(store: Store, project: Project, tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    rows = [{"id": "open", "step_rewards": [0.9, 0.2]}, {"id": "judged", "step_scores": [None, 1]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert prefill_steps(store, ADMIN, project, path) == 2
    assert scores(store, project) == {"open": (0.9, 0.2), "judged": (None, 1)}
    path.write_text(json.dumps({"id": "open", "step_scores": [0.1, 0.1]}) + '\n{"id": "judged"}\n')
    with pytest.raises(
        ValueError, match=r"scores\.jsonl:2: needed are an id and a list in step_scores or step_rewards"
    ):
        prefill_steps(store, ADMIN, project, path)
    assert scores(store, project)["open"] == (0.9, 0.2)
