"""The trainings of a turn: the plans of learn and align, and how good a reward model was on the turn's pairs.

They are ordinary trainings of the app (`annotate_app.trainings.training_jobs`), with their place in the loop put in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annotate_app.access import Actor
from annotate_app.store.loop.turns import Turn
from annotate_app.store.store import Store
from annotate_app.trainings.options import DRAWS, TRAININGS, Trains, make_config
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.sampling_plans import SamplingPlan
from annotate_app.trainings.training_jobs import ON_POLICY_AFTER, ON_POLICY_BEFORE
from annotate_app.turns.chain import first_policy, model_before, model_of, need_folder, policy_before
from annotate_app.turns.plan import TurnPlan
from rewardkit.data.records import content_id

RANDOM = "random"
"""Rule of the pairs that measure honestly."""
HELD_OUT, MOST_HELD_OUT, LEAST_PAIRS = 0.1, 0.3, 15
"""Share of prompts that a training holds out; more of them, up to a limit, while pairs are few."""


def learn_plan(store: Store, actor: Actor, turn: Turn, plan: TurnPlan) -> TrainingPlan:
    """The reward model's training: on all that was judged but this turn's random pairs, which measure it.

    Raises:
        ValueError: if the model before is gone, or an option is not allowed.
    """
    turns = store.turns.list(actor, turn.project_id)
    before = model_before(turns, turn)
    options = dict(plan.learn.config)
    if plan.learn.from_previous and before:
        options["model"] = need_folder("reward model", before)
    pairs = store.turns.pairs(actor, turn.id)
    measured = measured_pairs({pair.key: pair.rule for pair in pairs}, plan.choose.random_share)
    return TrainingPlan(
        project=store.projects.get(actor, turn.project_id).name,
        config=make_config("reward", {"seed": plan.seed + turn.number} | options),
        held_out=held_out_share(store, actor, turn.project_id),
        on_policy=measured,
        newest=tuple(pair.key for pair in pairs if pair.key not in measured),
        replay=plan.learn.replay,
        before=before if Path(before).is_dir() else "",
        **_instead_of_people(plan),
    )


def held_out_share(store: Store, actor: Actor, project_id: int) -> float:
    """The share of prompts that a training on votes holds out: about `LEAST_PAIRS` pairs, if the project is small."""
    num_judged = len(set(store.judgments.votes(actor, project_id).counted().item.tolist()))
    return round(min(MOST_HELD_OUT, max(HELD_OUT, LEAST_PAIRS / max(1, num_judged))), 3)


def _instead_of_people(plan: TurnPlan) -> dict[str, Any]:
    """Whose votes a training learns from: people's alone, or where judges stand in for people theirs too."""
    return {} if plan.judge.people else {"judges": plan.judge.judges, "min_votes": 0}


def measured_pairs(rules: Mapping[str, str], random_share: float) -> tuple[str, ...]:
    """The pairs of a turn that its reward model is measured on and does not learn from.

    Chosen by chance, and no more than the random share of all: where all were chosen by chance, most are to learn from.
    Which they are follows from their ids alone.

    Args:
        rules: by comparison id, the rule that chose it.
    """
    by_chance = sorted((key for key, rule in rules.items() if rule == RANDOM), key=content_id)
    return tuple(by_chance[: max(1, round(random_share * len(rules)))])


def align_plan(store: Store, actor: Actor, turn: Turn, plan: TurnPlan) -> TrainingPlan | SamplingPlan:
    """The policy's training: from the present policy or turn 0's, with the turn's reward model where it asks one.

    Raises:
        ValueError: if there is no policy or no reward model, or an option is not allowed.
    """
    turns = store.turns.list(actor, turn.project_id)
    project = store.projects.get(actor, turn.project_id).name
    policy = first_policy(turns, turn) if plan.align.base == "first" else policy_before(turns, turn)
    if policy is None:
        raise ValueError("there is no policy to align: write first")
    trains: Trains = plan.align.trains
    options: dict[str, Any] = {"seed": plan.seed + turn.number} | dict(plan.align.config)
    options["model"] = need_folder("policy", policy.model)
    if trains not in DRAWS:
        share, votes = held_out_share(store, actor, turn.project_id), _instead_of_people(plan)
        return TrainingPlan(project=project, config=make_config(trains, options), held_out=share, **votes)
    model = model_of(turns, turn)
    if not model:
        raise ValueError(f"{TRAININGS[trains].words} needs a reward model, and no turn has learned one: redo learn")
    options["reward"] = [need_folder("reward model", model)]
    options.setdefault("max_new_tokens", plan.write.max_new_tokens)
    return SamplingPlan(project=project, config=make_config(trains, options), held_out=HELD_OUT)


def on_policy_figures(folder: Path) -> dict[str, Any]:
    """Accuracy and calibration of a training's two models on the turn's random pairs, as plain values.

    By `before` and `after`: accuracy with its interval, ece, num_pairs; without what was not measured.
    """
    figures: dict[str, Any] = {}
    for name, report in (("before", ON_POLICY_BEFORE), ("after", ON_POLICY_AFTER)):
        path = folder / report / "evaluation.json"
        if not path.is_file():
            continue
        values = json.loads(path.read_text(encoding="utf-8"))["evaluation"]
        accuracy, calibration = values["overall"]["accuracy"], values["calibration"]
        best = calibration.get("integrated") or calibration.get("calibrated") or calibration["sigmoid"]
        figures[name] = {
            "accuracy": {bound: accuracy[bound] for bound in ("value", "low", "high")},
            "ece": best["ece"],
            "num_pairs": values["num_pairs"],
        }
    return figures
