"""The form of a training on samples of the policy (PPO, GRPO, online DPO): how far it may move, how much it draws."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.train_form.train_fields import draw_advanced, draw_error
from annotate_app.pages.train_form.train_policy import draw_pair_beta, draw_policy, pair_beta_key
from annotate_app.pages.train_form.train_prompts import draw_prompts
from annotate_app.pages.train_form.train_rewards import draw_audit, draw_rewards
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.options import OnlineTrains, default_of, losses_of
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.sampling_plans import OnlinePlan


def draw_online(project: Project, runs: list[ModelRun], trains: OnlineTrains) -> tuple[OnlinePlan | None, bytes]:
    """All choices, None while they do not go together, with the reason in a line; and prompts that were uploaded."""
    model = draw_policy(trains, runs)
    prompts = draw_prompts(project)
    rewards = draw_rewards(runs)
    draw_strength(trains)
    audit = draw_audit(runs)
    draw_more(trains)
    advanced = draw_advanced(trains)
    if model is None or prompts is None or rewards is None or audit is None or advanced is None:
        return None, b""
    fields = st.session_state
    values: dict[str, Any] = {name: fields[f"train-{trains}-{name}"] for name in NUMBERS}
    values["beta"] = fields[pair_beta_key(trains) if trains == "online-dpo" else f"train-{trains}-beta"]
    if losses_of(trains):
        values["loss"] = fields[f"train-{trains}-loss"]
    try:
        plan = OnlinePlan(
            project=project.name,
            trains=trains,
            model=model,
            mode=fields["train-mode-online"],
            prompts=prompts[0],
            held_out=fields["train-held-out-online"],
            on_alarm="stop" if fields["train-on-alarm"] else "continue",
            advanced=advanced,
            **rewards,
            **audit,
            **values,
        )
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None, b""
    return plan, prompts[1]


def draw_strength(trains: OnlineTrains) -> None:
    """How far the policy may move, for how long, and by how much at once."""
    places = st.columns(4)
    if trains == "online-dpo":
        draw_pair_beta(places[0], trains)
    else:
        number(places[0], trains, "beta", "KL weight", (0.0, 10.0, 0.01), KL_HELP)
    number(places[1], trains, "max_steps", "Steps", (1, 1_000_000, 10), "Each draws answers, scores them and learns.")
    number(places[2], trains, "completions_per_prompt", "Answers a prompt", (1, 256, 1), ANSWERS_HELP[trains])
    rate = "0 chooses one by the size of the policy. Too high, and the KL jumps in the first steps."
    number(places[3], trains, "learning_rate", "Learning rate", (0.0, 1.0, 1e-6), rate)


KL_HELP = (
    "How firmly it is held to the policy it begins with. 0 lets it go wherever the reward leads, which suits a check "
    "that cannot be fooled; against a reward model, which can, 0.01 to 0.1 is usual."
)
ANSWERS_HELP: dict[OnlineTrains, str] = {
    "grpo": "They are compared with each other: 4 or more.",
    "ppo": "1 is usual for PPO.",
    "online-dpo": "The best and the worst of them are a pair: 2 or more.",
}
NUMBERS = (
    "max_steps",
    "completions_per_prompt",
    "learning_rate",
    "prompts_per_step",
    "max_new_tokens",
    "audit_samples",
)
"""Fields of every plan that hold a number."""


def draw_more(trains: OnlineTrains) -> None:
    """What people rarely change."""
    with st.expander("How much a step draws, and audits", icon=":material/more_horiz:"):
        places = st.columns(4)
        number(places[0], trains, "prompts_per_step", "Prompts a step", (1, 4096, 1), "More of them: slower, steadier.")
        longest = "In tokens; an answer that has not ended by then is cut."
        number(places[1], trains, "max_new_tokens", "Longest answer", (1, 32_768, 16), longest)
        held = "Share of prompts that it never trains on: audits and the report use them."
        places[2].number_input("Held out", 0.02, 0.4, 0.1, 0.05, key="train-held-out-online", help=held)
        people = (
            "Pairs of each audit, its answer beside the one it began with, that you can send to people. 0 for none."
        )
        number(places[3], trains, "audit_samples", "Pairs for people", (0, 1000, 5), people)


def number(
    place: Any,
    trains: OnlineTrains,
    name: str,
    label: str,
    limits: tuple[float, float, float],
    said: str,
) -> None:
    """A field for a number of the plan: lowest, highest, step; whole where those are. It begins with the plan's own, or
    with the command's where the plan leaves it open.
    """
    default = getattr(OnlinePlan, name)
    default = default_of(trains, name) if default is None else default
    shown = "%.3g" if name == "learning_rate" else None
    place.number_input(
        label, limits[0], limits[1], default, limits[2], key=f"train-{trains}-{name}", help=said, format=shown
    )
