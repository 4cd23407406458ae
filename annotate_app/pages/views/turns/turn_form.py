"""The form of a turn: what is mostly chosen as fields, all else as YAML, each beginning with a sensible default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st
import yaml

from annotate_app.pages.kit.context import current_actor
from annotate_app.pages.train_form.train_fields import OTHER, draw_error
from annotate_app.trainings.plans import missing_packages
from annotate_app.trainings.runs import ModelRun, list_policies
from annotate_app.turns.plan import PARTS, TurnPlan, plan_values, read_plan, read_plan_text
from rewardkit.config import ChoiceRule

RULES: dict[ChoiceRule, str] = {
    "uncertainty": "Where the reward model is least sure",
    "epig": "What would teach the reward model most (EPIG)",
    "coverage": "Spread over the prompts",
    "disagreement": "Where people and the reward model differ",
    "random": "At random",
}
LEARNS = {"tfidf": "TF-IDF: seconds", "tiny": "Tiny transformer: about a minute", "small": "Small transformer"}
ALIGNS = {
    "grpo": "GRPO, by the reward model",
    "online-dpo": "Online DPO, by the reward model",
    "ppo": "PPO, by the reward model",
    "dpo": "DPO, on the votes",
    "sft": "SFT, on the preferred answers",
}
NEW = {"tiny": "A new tiny model, taught by the project's answers", "small": "A new small model, taught likewise"}
CHOSEN = {
    "": ("policy", "auto"),
    "write": ("num_prompts", "prompts"),
    "choose": ("num_pairs", "rule"),
    "judge": ("people", "overlap", "judges"),
    "learn": (),
    "align": ("trains",),
    "check": ("num_prompts",),
}
"""What has a field of its own, by part of the plan; `learn.config` has its model as one."""
ON_SERVER = "server"


def draw_turn_form(runs: list[ModelRun], judges: list[str]) -> dict[str, Any] | None:
    """All choices of a turn as values of a plan; None while they do not go together, with the reason in a line."""
    left, right = st.columns(2)
    policy, prompts = draw_policy(left, runs), draw_file(right)
    values: dict[str, Any] = {"policy": policy or ""}
    left, middle, right = st.columns(3)
    help_text = "Different prompts of this project, drawn at random; the policy writes several answers to each."
    num_prompts = int(left.number_input("Prompts", 1, 100_000, 200, 50, help=help_text, key="loop-prompts"))
    values["write"] = {"num_prompts": num_prompts, "prompts": prompts}
    help_text = "One pair in five is always chosen by chance: only these measure the reward model honestly."
    rule = _pick(middle, "Which pairs", RULES, "loop-rule", help_text)
    num_pairs = int(left.number_input("Pairs to judge", 1, 100_000, 200, 50, key="loop-pairs"))
    values["choose"] = {"num_pairs": num_pairs, "rule": rule}
    values["judge"] = draw_judging(middle, judges)
    values["learn"] = {"config": {"model": _pick(right, "Reward model", LEARNS, "loop-learns")}}
    values["align"] = {"trains": _pick(right, "Policy is aligned by", ALIGNS, "loop-aligns")}
    help_text = "Pairs of each blind round, one a prompt: the new policy beside the one before and beside turn 0's."
    num_blind = left.number_input("Blind pairs", 1, 5000, 100, 20, help=help_text, key="loop-check")
    values["check"] = {"num_prompts": int(num_blind)}
    help_text = "Each stage begins by itself as soon as the one before is done; people are waited for."
    values["auto"] = right.toggle("Go on by itself", value=True, key="loop-auto", help=help_text)
    more = draw_more(values)
    if policy is None or more is None:
        return None
    values = merged(values, more)
    try:
        read_plan(values)
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None
    return values


def draw_policy(column: Any, runs: list[ModelRun]) -> str | None:
    """Turn 0's policy as a plan names it; None while there is none."""
    names = {str(run.job.id): f"Run {run.name}" for run in list_policies(runs)}
    names |= {name: words for name, words in NEW.items() if not missing_packages(name)}
    if current_actor().is_at_least("admin"):
        names[OTHER] = "A folder or a hub id"
    if not names:
        column.info("No policy is there yet, and torch is not installed here: nothing could write.")
        return None
    label = "Turn 0's policy, which writes the first answers"
    chosen = column.selectbox(label, list(names), format_func=names.__getitem__, key="loop-policy")
    if chosen != OTHER:
        return chosen
    path = column.text_input("Folder or hub id", key="loop-policy-path", placeholder="/models/mine or owner/name")
    return path.strip() or None


def draw_file(column: Any) -> str:
    """For admins a file of prompts; empty for the project's own."""
    if not current_actor().is_at_least("admin"):
        return ""
    label = "File of prompts on the server"
    return column.text_input(label, key="loop-prompts-path", placeholder="the project's own prompts").strip()


def draw_judging(column: Any, judges: list[str]) -> dict[str, Any]:
    """Who judges: people, judges of the project, or both; how many people a pair."""
    chosen: list[str] = []
    if judges:
        help_text = "Their votes are kept apart from people's; the page Judges says whether they can be trusted."
        chosen = column.multiselect("Judges that are no people", judges, key="loop-judges", help=help_text)
    people = True
    if chosen:
        people = column.toggle("People judge too", value=True, key="loop-people")
    help_text = "0 is what the project's settings ask."
    overlap = column.number_input("People a pair", 0, 20, 0, key="loop-overlap", help=help_text, disabled=not people)
    return {"people": people, "judges": chosen, "overlap": int(overlap)}


def draw_more(chosen: Mapping[str, Any]) -> dict[str, Any] | None:
    """All fields of a plan that the form did not ask for, as YAML; None while it holds an error, which is shown."""
    with st.expander("More", icon=":material/tune:"):
        text = st.text_area(
            "Other choices of the turn, YAML", more_text(chosen), height=420, key="loop-more", max_chars=20_000
        )
    try:
        return read_plan_text(text)
    except ValueError as error:
        draw_error("More:", error)
        return None


def more_text(chosen: Mapping[str, Any]) -> str:
    """The defaults of what the form does not ask for."""
    values = plan_values(TurnPlan(policy="tiny"))
    rest: dict[str, Any] = {
        name: value for name, value in values.items() if name not in PARTS and name not in CHOSEN[""]
    }
    for part in PARTS:
        rest[part] = {name: value for name, value in values[part].items() if name not in CHOSEN[part]}
    rest["learn"]["config"] = {}
    return yaml.safe_dump(rest, sort_keys=False, allow_unicode=True)


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with what the YAML adds; options of a training are added one by one."""
    both = dict(values)
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(both.get(name), Mapping):
            part = {**both[name], **value}
            if isinstance(config := value.get("config"), Mapping) and "config" in both[name]:
                part["config"] = {**both[name]["config"], **config}
            both[name] = part
        else:
            both[name] = value
    return both


def _pick(column: Any, label: str, names: Mapping[Any, str], key: str, help_text: str | None = None) -> str:
    chosen = column.selectbox(label, list(names), format_func=names.__getitem__, key=key, help=help_text)
    return str(chosen or next(iter(names)))
