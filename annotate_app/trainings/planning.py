"""Plans of every kind, read back from what a page wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from annotate_app.trainings.best_plan import BestPlan
from annotate_app.trainings.online_plan import OnlinePlan
from annotate_app.trainings.options import DRAWS
from annotate_app.trainings.plans import TrainingPlan, read_fields

Plan = TrainingPlan | OnlinePlan | BestPlan


def read_plan(text: str) -> Plan:
    """The plan that `Plan.text` wrote.

    Raises:
        ValueError: if it is none.
    """
    values: Any = yaml.safe_load(text)
    trains = values.get("trains") if isinstance(values, dict) else ""
    if trains not in DRAWS:
        return read_fields(TrainingPlan, values)
    values["reward"] = tuple(rewards_of(values))
    return read_fields(BestPlan, values) if trains == "bon" else read_fields(OnlinePlan, values)


def rewards_of(values: Mapping[str, Any]) -> list[str]:
    """The rewards that a plan names; one alone may stand there as a text."""
    given = values.get("reward") or []
    return [given] if isinstance(given, str) else [str(each) for each in given]
