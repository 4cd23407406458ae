"""The snapshot of a training: rows of which an answer says nothing are left out and counted."""

from __future__ import annotations

import logging
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.store import Store
from annotate_app.trainings.options import make_config
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.snapshot import SPLITS, take_snapshot
from rewardkit.data.files import read_rows
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
NUM, NUM_EMPTY = 60, 7


def test_a_pair_with_an_empty_answer_is_left_out_and_told(tmp_path: Path, caplog) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'a.db'}") as store:
        rubric = rubric_text(Rubric(title="Which?", guidelines="Read both."))
        project = store.projects.create(ADMIN, "desk", rubric_text=rubric, design=Design(overlap=1))
        pairs = [
            Comparison(
                id=f"c{number}",
                prompt=(Message(role="user", content=f"Question {number}?"),),
                completion_a=f"Answer {number}",
                completion_b="" if number < NUM_EMPTY else "No.",
            )
            for number in range(NUM)
        ]
        store.comparisons.add(ADMIN, project.id, pairs)
        judgments = [Judgment(comparison_id=pair.id, annotator="ann", choice="a", strength=1) for pair in pairs]
        store.judgments.import_many(ADMIN, project.id, judgments)
        plan = TrainingPlan(project="desk", config=make_config("reward", {"model": "tfidf", "mode": "head"}))
        with caplog.at_level(logging.INFO, logger="annotate_app.trainings.snapshot"):
            take_snapshot(store, ADMIN, plan, tmp_path / "data")
    rows = [row for split in SPLITS for _, row in read_rows(str(tmp_path / "data" / f"{split}.jsonl"))]
    assert len(rows) == NUM - NUM_EMPTY
    assert {row["rejected"][0]["content"] for row in rows} == {"No."}
    assert f"left out {NUM_EMPTY}: an answer without a text, from which nothing is learned" in caplog.text
