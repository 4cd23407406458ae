"""The fields that say what answers are rewarded by: a reward model, a check, or code of one's own for those who may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from alignment.config.rewards import StepReward
from alignment.rubrics.items import read_rubric
from alignment.rubrics.reward import check_judge
from alignment.verifiers.verifiers import VERIFIERS
from annotate_app.pages.kit.context import current_actor
from annotate_app.pages.train_form.train_fields import draw_error
from annotate_app.trainings.options import Trains, default_of
from annotate_app.trainings.runs import ModelRun
from rewardkit.reward.metadata import CARD_FILE, read_card

FOLDER, OWN, NONE, RUBRIC = "folder", "own", "none", "rubric"
CHECKS = {
    "numeric": "Check: the right number",
    "math": "Check: the right expression (math-verify)",
    "code": "Check: code passes its tests",
    "regex": "Check: a pattern is found",
    "json": "Check: valid JSON",
    "length": "Check: near a number of words",
    "ifeval": "Check: instructions followed (IFEval)",
}
SAYS = {
    "numeric": "1 where the answer's number is the one in the prompt's row, else 0.",
    "math": "1 where the answer's last expression equals the one in the prompt's row, else 0.",
    "code": "1 where the answer's code passes all tests in the prompt's row, in a sandbox, else 0.",
    "regex": "1 where the pattern is found in the answer, else 0.",
    "json": "1 where the answer is one JSON value and nothing more, else 0.",
    "length": "1 at that number of words, less the further away, down to 0.",
    "ifeval": "The share of the instructions in the prompt's row that the answer follows.",
}
ASKS = {
    "numeric": ("Column of the right number", "found: final, answer, solution, ..."),
    "math": ("Column of the right expression", "found: final, answer, solution, ..."),
    "regex": ("Pattern", r"\bsorry\b"),
    "length": ("Words", "50"),
}
"""What a check has to be told, and an example; the first two can do without."""
AUDITS_RUN = (
    "Another judge of held-out prompts, which it is never trained on: where the reward rises and this does not, it has "
    "learned to please the reward alone."
)
AUDITS_CHOICE = (
    "Another judge, by which nothing is chosen: where the best of more answers earn more and this does not follow, the "
    "reward errs on the answers it likes most."
)
SHOWN = "train-rewards-shown"
"""Numbers of the rewards on the page, in the session's state; each has its row."""
RULES = {
    "mean": "The members' mean",
    "uwo": "Mean less variance (UWO)",
    "uwo_scaled": "Mean less variance, in units of the spread of rewards (UWO, scaled)",
    "wco": "The lowest member (WCO)",
    "entropic": "Between mean and lowest (entropic)",
}

STEP_RULES: dict[StepReward, str] = {
    "min": "The least of its steps",
    "product": "The product of its steps",
    "last": "Its last step",
    "mean": "The mean of its steps",
    "sum": "The sum of its steps",
    "steps": "Each step is paid where it ends",
}
PARTS = {"line": "A line is a step", "blank_line": "A blank line parts steps", "sentence": "A sentence is a step"}
MOST_REWARDS = 8


def draw_rewards(trains: Trains, runs: list[ModelRun]) -> dict[str, Any]:
    """Draws the rewards and the rule for members of ensembles, as options; reward is None while one is incomplete."""
    shown: list[int] = st.session_state.setdefault(SHOWN, [1])
    if reward_key(shown[0]) not in st.session_state:  # another form was drawn between: its fields are gone
        shown[:] = [1]
    sources = [draw_reward(number, runs) or "" for number in shown]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Add a reward",
            key="train-reward-add",
            icon=":material/add:",
            on_click=lambda: shown.append(max(shown) + 1),
            disabled=len(shown) >= MOST_REWARDS,
        )
        if len(shown) > 1:
            st.caption(
                "Each is multiplied by its weight, and all are added. Scores of a reward model are brought to mean 0 "
                "and standard deviation 1 before; checks give 0 to 1."
            )
    options = {name: default_of(trains, name) for name in ("penalty", "penalty_strength")}
    if not all(sources):
        return options | {"reward": None}
    options["reward"] = list(map(weighted, sources, shown))
    if any(map(scores_steps, sources)):
        options |= draw_steps(trains)
    sizes = [num_members(run) for run in runs if str(run.model) in sources]
    folders = [st.session_state[reward_key(number)] in (FOLDER, RUBRIC) for number in shown]
    if any(size > 1 for size in sizes) or any(folders):
        return options | draw_caution()
    if sizes:
        one = "This reward model has" if len(sizes) == 1 else "These reward models have"
        st.caption(f"{one} one member: it cannot say where it is unsure. An ensemble can.")
    return options


def draw_reward(number: int, runs: list[ModelRun]) -> str | None:
    """A row: where the reward comes from; beside others its weight, and a way to take it out."""
    shown: list[int] = st.session_state[SHOWN]
    left, middle, right = st.columns([4, 3, 2], vertical_alignment="top")
    with left:
        source = draw_source("Reward", runs, reward_key(number))
    if len(shown) > 1:
        middle.number_input(
            "Weight", -100.0, 100.0, 1.0, 0.1, key=f"{reward_key(number)}-weight", help="Below 0 it counts against."
        )
        right.space("small")  # the labels beside it
        right.button(
            "Remove",
            key=f"{reward_key(number)}-remove",
            icon=":material/delete:",
            on_click=take_out,
            args=(number,),
        )
    return source


def take_out(number: int) -> None:
    """Removes a row; the last row always stays, even if the button is hit twice."""
    shown: list[int] = st.session_state[SHOWN]
    if number in shown and len(shown) > 1:
        shown.remove(number)


def reward_key(number: int) -> str:
    """Names the fields of a row."""
    return "train-reward" if number == 1 else f"train-reward-{number}"


def weighted(source: str, number: int) -> str:
    """The source with its weight before it, as the command line writes it."""
    alone = len(st.session_state[SHOWN]) == 1
    weight = 1.0 if alone else float(st.session_state[f"{reward_key(number)}-weight"])
    return source if weight == 1 else f"{weight:g}*{source}"


def scores_steps(source: str) -> bool:
    """Whether a source is a process reward model."""
    try:
        return source.startswith("/") and read_card(source).kind == "steps"
    except (ValueError, OSError):
        return False


def draw_steps(trains: Trains) -> dict[str, Any]:
    """Draws what an answer is worth by its steps, and what a step is; credit by step is for PPO and GRPO alone."""
    left, right, _ = st.columns([4, 3, 2])
    rules = [name for name in STEP_RULES if name != "steps" or trains in ("ppo", "grpo")]
    rule = left.selectbox(
        "What an answer is worth",
        rules,
        format_func=STEP_RULES.__getitem__,
        key=f"train-step-reward-{trains}",
        help="The process reward model says of each step how likely it is right.",
    )
    part = right.selectbox("Steps", list(PARTS), format_func=PARTS.__getitem__, key="train-steps-by")
    return {"step_reward": rule, "steps_by": part}


def draw_caution() -> dict[str, Any]:
    """Draws the rule that discounts rewards where the members of an ensemble disagree."""
    left, right, _ = st.columns([4, 3, 2])
    help_text = (
        "Members disagree where the reward is guesswork. A cautious rule pays less there, so that it pays less to "
        "game it."
    )
    rule = left.selectbox(
        "Where members disagree",
        list(RULES),
        format_func=RULES.__getitem__,
        key="train-penalty",
        help=help_text,
    )
    strength = 1.0
    if rule in ("uwo", "uwo_scaled", "entropic"):
        usual, unit = (0.1, "-scaled") if rule == "uwo_scaled" else (1.0, "")
        strength = right.number_input(
            "Caution",
            0.01,
            100.0,
            usual,
            0.1,
            key=f"train-penalty-strength{unit}",
            help=f"0.01 is nearly the mean; {usual:g} is usual.",
        )
    return {"penalty": rule, "penalty_strength": float(strength)}


def draw_audit(runs: list[ModelRun], *, trained: bool = True) -> list[str] | None:
    """Draws the audit reward, empty for none; None while it is incomplete.

    Args:
        trained: whether something is trained, which alarms may stop.
    """
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    with left:
        audit = draw_source("Audit reward", runs, "train-audit", audits=AUDITS_RUN if trained else AUDITS_CHOICE)
    if trained:
        right.toggle(
            "Stop with a checkpoint when a critical alarm is raised",
            key="train-on-alarm",
            help="A run is watched as it goes, and says in plain words when it looks as if it games its reward, "
            "repeats itself or falls apart. Otherwise it says so and goes on.",
        )
    return None if audit is None else [audit] if audit else []


def draw_source(label: str, runs: list[ModelRun], key: str, *, audits: str = "") -> str | None:
    """A source of rewards as `alignment.config.rewards` writes it; empty for none, None while it is incomplete.

    Args:
        audits: what it is good for where it is an audit and may be none; empty for a reward.
    """
    names = {NONE: "None"} if audits else {}
    names |= {str(run.model): f"Run {run.name}" for run in runs if run.is_scorer}
    names |= CHECKS | {FOLDER: "A folder with a reward model"}
    if current_actor().is_at_least("admin"):
        names |= {RUBRIC: "A rubric that a judge grades by", OWN: "A function of my own, or a server"}
    chosen = str(
        st.selectbox(
            label,
            list(names),
            format_func=names.__getitem__,
            index=0 if audits or any(run.is_scorer for run in runs) else None,
            placeholder="A reward model or a check",
            key=key,
            help=audits or None,
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
    if chosen == RUBRIC:
        return draw_rubric(key)
    if chosen == OWN:
        example = "module:function, /path/file.py:function or https://..."
        return st.text_input("Function or address", key=f"{key}-own", placeholder=example).strip() or None
    return chosen


def draw_check(name: str, key: str) -> str | None:
    """A check with what it has to be told; None while that is missing, or where the check cannot run here."""
    argument = ""
    if name in ASKS:
        label, example = ASKS[name]
        argument = st.text_input(label, key=f"{key}-{name}", placeholder=example).strip()
        if not argument and name not in ("numeric", "math"):
            return None
    try:
        VERIFIERS[name].make(argument)
    except ValueError as error:
        draw_error("That check cannot be used:", error)
        return None
    return f"{name}:{argument}" if argument else name


def draw_rubric(key: str) -> str | None:
    """The whole path of a rubric; None while there is none, or where its judge is not to be used."""
    path = st.text_input("Whole path of the rubric", key=f"{key}-rubric", placeholder="/rubrics/helpful.yaml").strip()
    if not path:
        return None
    file = str(Path(path).expanduser().resolve())
    try:
        check_judge(read_rubric(file), file)
    except (ValueError, FileNotFoundError) as error:
        draw_error("That rubric cannot be used:", error)
        return None
    return f"rubric:{file}"


def draw_folder(key: str) -> str | None:
    """The whole path of a folder that holds a reward model."""
    path = st.text_input("Whole path", key=f"{key}-folder", placeholder="/models/reward").strip()
    if not path:
        return None
    folder = Path(path).expanduser().resolve()
    if not any((folder / name).is_file() for name in (CARD_FILE, "config.json")):
        draw_error("That reward model cannot be used:", ValueError(f"{folder} is no folder with a model"))
        return None
    return str(folder)


def num_members(run: ModelRun) -> int:
    """Reads the number of members of a reward model."""
    return int(run.results.get("num_members") or run.option("ensemble") or 1)
