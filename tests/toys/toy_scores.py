"""Scores of pairs and people's shares that are made up, and a run whose reward model counts words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from toy_plans import training_plan

from annotate_app.access import Actor
from annotate_app.findings.labels import Labels
from annotate_app.findings.pair_scores import PairScores
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.trainings.plan_files import write_plan
from annotate_app.trainings.runs import ModelRun, find_run
from rewardkit.reward.metadata import Card
from rewardkit.reward.tfidf import TfidfFeatures, TfidfReward
from rewardkit.run.directory import write_text

ADMIN = Actor.command_line()


def scores_of(
    margins: Sequence[Sequence[float]] | Sequence[float],
    *,
    keys: Sequence[str] = (),
    prompt: Sequence[str] = (),
    learned: Sequence[bool] = (),
) -> PairScores:
    """Scores of the pairs p0, p1, ..., each of a prompt of its own and none learned from, unless it is said."""
    each = np.atleast_2d(np.asarray(margins, dtype=float))
    count = each.shape[1]
    names = tuple(keys) or tuple(f"p{number}" for number in range(count))
    return PairScores(
        keys=names,
        prompt=np.array(list(prompt) or list(names), dtype="U16"),
        learned=np.array(list(learned) or [False] * count, dtype=bool),
        margins=each,
        rewards=np.stack([each.mean(0), np.zeros(count)]),
        card="",
    )


def labels_of(share: Sequence[float], *, keys: Sequence[str] = (), weight: Sequence[float] = (), **columns) -> Labels:
    """People's shares for a on the pairs p0, p1, ...; nan is not released."""
    values = np.asarray(share, dtype=float)
    count, known = len(values), ~np.isnan(values)
    filled = {
        "num_votes": np.where(known, 3, 0),
        "source_a": ("one",) * count,
        "source_b": ("other",) * count,
        "length_a": np.full(count, 20),
        "length_b": np.full(count, 10),
    }
    return Labels(
        keys=tuple(keys) or tuple(f"p{number}" for number in range(count)),
        share=values,
        weight=np.asarray(list(weight) or known, dtype=float) * known,
        **(filled | columns),
    )


def make_words_run(store: Store, project: Project, folder: Path, *, model: str = "tfidf", seed: int = 0) -> ModelRun:
    """A finished run of a reward model of counted words, two members; it learned from the prompt of the first pair.

    Args:
        model: that its plan says it began from.
    """
    (folder / "data").mkdir(parents=True)
    plan = training_plan(model=model, mode="head") if model == "tfidf" else training_plan(model=model)
    write_text(folder / "training.yaml", write_plan(plan))
    write_text(folder / "train.yaml", f"model: {model}\n")
    texts = [
        text for one in store.comparisons.iterate(ADMIN, project.id) for text in (one.completion_a, one.completion_b)
    ]
    features = TfidfFeatures.fit("words", texts, has_length=False)
    heads = np.random.default_rng(seed).normal(size=(2, features.num_features))
    card = Card(kind="tfidf", num_members=2, calibration={"kind": "temperature", "temperature": 0.5})
    TfidfReward(features, heads, card).save(folder / "model")
    write_text(folder / "model" / "status.json", json.dumps({"state": "done"}))
    first = next(iter(store.comparisons.iterate(ADMIN, project.id)))
    row = {
        "prompt": [{"role": "user", "content": f" {first.prompt[0].content.upper()} "}],
        "chosen": "x",
        "rejected": "y",
    }
    write_text(folder / "data" / "train.jsonl", json.dumps(row) + "\n")
    job = store.jobs.add(ADMIN, "train", "words", ["annotate_app", "train"], project.id, run_dir=str(folder))
    store.jobs.claim(10)
    store.jobs.finish(job.id, "done")
    return find_run(store, ADMIN, project.id, job.id)
