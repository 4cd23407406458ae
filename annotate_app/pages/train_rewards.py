"""The fields that say what answers are rewarded by: a reward model, a check, or code of one's own for those who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from annotate_app.model_runs import ModelRun
from annotate_app.pages.context import current_actor
from annotate_app.pages.train_fields import draw_error
from rewardkit.card import CARD_FILE

FOLDER, OWN, NONE = "folder", "own", "none"
CHECKS = {
    "numeric": "Check: the right number",
    "regex": "Check: a pattern is found",
    "json": "Check: valid JSON",
    "length": "Check: near a number of words",
    "ifeval": "Check: instructions followed (IFEval)",
}
SAYS = {
    "numeric": "1 where the answer's number is the one in the prompt's row, else 0.",
    "regex": "1 where the pattern is found in the answer, else 0.",
    "json": "1 where the answer is one JSON value and nothing more, else 0.",
    "length": "1 at that number of words, less the further away, down to 0.",
    "ifeval": "The share of the instructions in the prompt's row that the answer follows.",
}
ASKS = {
    "numeric": ("Column of the right number", "found: final, answer, solution, ..."),
    "regex": ("Pattern", r"\bsorry\b"),
    "length": ("Words", "50"),
}
"""What a check has to be told, and an example; the first can do without."""
RULES = {
    "mean": "The members' mean",
    "uwo": "Mean less variance (UWO)",
    "wco": "The lowest member (WCO)",
    "entropic": "Between mean and lowest (entropic)",
}


def draw_reward(runs: list[ModelRun]) -> dict[str, Any] | None:
    """What the plan calls the reward, and the rule for its members; None while there is none."""
    left, middle, right = st.columns([4, 3, 2])
    with left:
        reward = draw_source("Reward", runs, "train-reward")
    members = next((num_members(run) for run in runs if str(run.model) == reward), 0)
    if not reward or not reward.startswith("/") or members == 1:
        if members == 1:
            middle.caption("This reward model has one member: it cannot say where it is unsure. An ensemble can.")
        return {"reward": reward} if reward else None
    said = "Members disagree where the reward is guesswork. A cautious rule pays less there, so that it pays less to "
    rule = middle.selectbox(
        "Where members disagree",
        list(RULES),
        format_func=RULES.__getitem__,
        key="train-penalty",
        help=said + "game it.",
    )
    strength = 1.0
    if rule in ("uwo", "entropic"):
        strength = right.number_input(
            "Caution", 0.01, 100.0, 1.0, 0.1, key="train-penalty-strength", help="0.01 is nearly the mean; 1 is usual."
        )
    return {"reward": reward, "penalty": rule, "penalty_strength": float(strength)}


def draw_audit(runs: list[ModelRun]) -> dict[str, Any] | None:
    """What the plan calls the audit reward, empty for none; None while it is not said. And whether alarms stop it."""
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    with left:
        audit = draw_source("Audit reward", runs, "train-audit", optional=True)
    right.toggle(
        "Stop with a checkpoint when a critical alarm is raised",
        key="train-on-alarm",
        help="A run is watched as it goes, and says in plain words when it looks as if it games its reward, repeats "
        "itself or falls apart. Otherwise it says so and goes on.",
    )
    return None if audit is None else {"audit_reward": audit}


def draw_source(label: str, runs: list[ModelRun], key: str, *, optional: bool = False) -> str | None:
    """A source of rewards as `alignment.reward_config` writes it; empty for none, None while it is incomplete."""
    names = {NONE: "None"} if optional else {}
    names |= {str(run.model): f"Run {run.name}" for run in runs if run.is_scorer}
    names |= CHECKS | {FOLDER: "A folder with a reward model"}
    if current_actor().is_at_least("admin"):
        names |= {OWN: "A function of my own, or a server"}
    said = "Another judge of held-out prompts, which it is never trained on: where the reward rises and this does not, "
    chosen = str(
        st.selectbox(
            label,
            list(names),
            format_func=names.__getitem__,
            index=0 if optional or any(run.is_scorer for run in runs) else None,
            placeholder="A reward model or a check",
            key=key,
            help=f"{said}it has learned to please the reward alone." if optional else None,
        )
        or ""
    )
    if not chosen:
        st.caption("No reward model has been trained in this project: train one on its judgments, or choose a check.")
        return None
    if chosen == NONE:
        return ""
    if chosen in CHECKS:
        st.caption(SAYS[chosen])
        return draw_check(chosen, key)
    if chosen == FOLDER:
        return draw_folder(key)
    if chosen == OWN:
        example = "module:function, /path/file.py:function or https://..."
        return st.text_input("Function or address", key=f"{key}-own", placeholder=example).strip() or None
    return chosen


def draw_check(name: str, key: str) -> str | None:
    """A check with what it has to be told."""
    if name not in ASKS:
        return name
    label, example = ASKS[name]
    argument = st.text_input(label, key=f"{key}-{name}", placeholder=example).strip()
    if argument:
        return f"{name}:{argument}"
    return name if name == "numeric" else None


def draw_folder(key: str) -> str | None:
    """The whole path of a folder that holds a reward model."""
    given = st.text_input("Whole path", key=f"{key}-folder", placeholder="/models/reward").strip()
    if not given:
        return None
    folder = Path(given).expanduser().resolve()
    if not any((folder / name).is_file() for name in (CARD_FILE, "config.json")):
        draw_error("That reward model cannot be used:", ValueError(f"{folder} is no folder with a model"))
        return None
    return str(folder)


def num_members(run: ModelRun) -> int:
    """Of a reward model."""
    return int(run.results.get("num_members") or run.plan.get("ensemble") or 1)
