"""Plans of trainings for tests: everything at its default but what a test names."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from annotate_app.trainings.options import DRAWS, Trains, make_config
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.sampling_plans import SamplingPlan


def training_plan(trains: Trains = "reward", **values: Any) -> TrainingPlan:
    """A training on judgments of project p: of the model tiny, unless `values`, fields or options, say otherwise."""
    own = {name: values.pop(name) for name in _own_fields(TrainingPlan) if name in values}
    config = make_config(trains, {"model": "tiny"} | values)
    return TrainingPlan(**({"project": "p"} | own), config=config)


def sampling_plan(trains: Trains = "grpo", **values: Any) -> SamplingPlan:
    """Answers of the policy /m to prompts of project p, rewarded for being JSON, unless `values` say otherwise."""
    assert trains in DRAWS
    own = {name: values.pop(name) for name in _own_fields(SamplingPlan) if name in values}
    config = make_config(trains, {"model": "/m", "reward": ["json"]} | values)
    return SamplingPlan(**({"project": "p", "held_out": 0.0 if trains == "bon" else 0.1} | own), config=config)


def _own_fields(kind: type) -> list[str]:
    return [field.name for field in fields(kind) if field.name != "config"]
