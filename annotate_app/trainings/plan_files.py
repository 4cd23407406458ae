"""Plans as YAML, as they lie in run directories: training.yaml.

    trains: dpo
    project: Support desk
    held_out: 0.1
    config: {model: /models/sft, loss: ipo, beta: 0.3, ...}

`config` holds every option of the command but those that the app sets. Earlier versions wrote the options that have a
field in the form beside the plan's own, some under other names, and all others under `advanced`; such files are read
too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import yaml

from annotate_app.trainings.options import DRAWS, TRAININGS, make_config
from annotate_app.trainings.plans import TrainingPlan
from annotate_app.trainings.sampling_plans import SamplingPlan

Plan = TrainingPlan | SamplingPlan
OWN_FIELDS = {field.name for kind in (TrainingPlan, SamplingPlan) for field in fields(kind)} | {"trains"}
FLAT_DEFAULTS = {
    "judgments": {"model": "tiny", "mode": "full"},
    "samples": {"mode": "full", "max_steps": 100, "max_new_tokens": 128, "audit_samples": 20},
    "bon": {"max_new_tokens": 128},
}
"""What earlier plans took to be meant where a field was missing, and the commands do not."""


def write_plan(plan: Plan) -> str:
    """Writes a plan as YAML."""
    return yaml.safe_dump(plan_values(plan), sort_keys=False, allow_unicode=True)


def plan_values(plan: Plan) -> dict[str, Any]:
    """A plan as plain values."""
    app_options = TRAININGS[plan.trains].app_options
    own = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "config"}
    own = {name: list(value) if isinstance(value, tuple) else value for name, value in own.items()}
    options = {name: value for name, value in asdict(plan.config).items() if name not in app_options}
    return {"trains": plan.trains, **own, "config": options}


def read_plan(text: str) -> Plan:
    """Reads what `write_plan` wrote, here or in an earlier version.

    Raises:
        ValueError: if it is no plan.
    """
    return _make_plan(_read_values(text))


def read_plan_values(text: str) -> dict[str, Any]:
    """Reads a plan for people to look at: as plain values, also where it can no longer be carried out.

    Raises:
        ValueError: if it is not even that.
    """
    values = _read_values(text)
    try:
        return plan_values(_make_plan(values))
    except (ValueError, TypeError):  # a reward's folder is gone, or an option has another type by now
        return values


def _read_values(text: str) -> dict[str, Any]:
    """The values of a plan in today's form."""
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"a training plan is YAML: {error}") from error
    if not isinstance(values, dict):
        raise ValueError(f"a training plan has the fields {', '.join(sorted(OWN_FIELDS))}")
    return values if isinstance(values.get("config"), dict) else _nest(values)


def _make_plan(values: Mapping[str, Any]) -> Plan:
    trains = values.get("trains")
    if trains not in TRAININGS:
        raise ValueError(f"trains is {trains!r}, allowed are {', '.join(TRAININGS)}")
    kind = SamplingPlan if trains in DRAWS else TrainingPlan
    own = {name: value for name, value in values.items() if name not in ("trains", "config")}
    allowed = {field.name for field in fields(kind)}
    if "project" not in own or not own.keys() <= allowed:
        raise ValueError(f"a training plan has the fields {', '.join(sorted(allowed | {'trains'}))}")
    return kind(config=make_config(trains, values["config"]), **own)


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """An earlier plan in today's form."""
    trains = flat.get("trains", "reward")
    own = {"trains": trains} | ({"held_out": 0.0} if trains == "bon" else {})
    own |= {name: value for name, value in flat.items() if name in OWN_FIELDS}
    defaults = FLAT_DEFAULTS["bon" if trains == "bon" else "samples" if trains in DRAWS else "judgments"]
    beside = defaults | {name: value for name, value in flat.items() if name not in (*OWN_FIELDS, "advanced")}
    teaches, mode = beside.pop("teaches", "overall"), beside.pop("mode", "full")
    if trains == "reward":
        beside |= {"mode": mode, "criteria": teaches == "all"}
    elif trains != "bon":
        beside["lora"] = mode == "lora"
    if trains == "dpo":
        beside["beta"] = beside.get("beta") or None
    if trains in DRAWS:
        audits, rewards = beside.get("audit_reward") or [], beside.get("reward") or []
        beside["audit_reward"] = [audits] if isinstance(audits, str) else audits
        beside["reward"] = [rewards] if isinstance(rewards, str) else rewards
    if trains in TRAININGS:
        field_names = {field.name for field in fields(TRAININGS[trains].config)}
        for name in {"ensemble", "members", "loss", "beta"} - field_names:  # every plan had them, whatever it trained
            beside.pop(name, None)
    options = {name: value for name, value in beside.items() if value is not None}
    return own | {"config": dict(flat.get("advanced") or {}) | options}
