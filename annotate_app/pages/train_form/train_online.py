"""The forms of what draws a policy's answers and rewards them: PPO, GRPO and online DPO, and best of n.

The first three ask how far the policy may move and how much it draws, best of n how often it answers and what is kept.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.train_form.train_fields import LONGEST_ANSWER, draw_advanced, draw_error, is_complete
from annotate_app.pages.train_form.train_policy import draw_pair_beta, draw_policy
from annotate_app.pages.train_form.train_prompts import draw_prompts
from annotate_app.pages.train_form.train_rewards import draw_audit, draw_rewards
from annotate_app.pages.train_form.train_suite import draw_suite
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.options import OnlineTrains, default_of, make_config
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.sampling_plans import Keep, SamplingPlan

KL_HELP = (
    "How firmly it is held to the policy it begins with. 0 lets it go wherever the reward leads, which suits a check "
    "that cannot be fooled; against a reward model, which can, 0.01 to 0.1 is usual."
)
ANSWERS_HELP: dict[OnlineTrains, str] = {
    "grpo": "They are compared with each other: 4 or more.",
    "ppo": "1 is usual for PPO.",
    "online-dpo": "The best and the worst of them are a pair: 2 or more.",
}
STARTS = {"max_steps": 100, "max_new_tokens": LONGEST_ANSWER, "audit_samples": 20}
"""Where fields begin that the commands leave open or off, and people who look at a page should not."""
KEEPS: dict[Keep, str] = {
    "best": "The best answer to each prompt, for SFT",
    "above": "All answers that reach a threshold, for SFT",
    "pairs": "The best and the worst as a pair, for DPO",
}
MEASURES = {"reward": "a reward", "quantile": "a share of the prompt's answers"}


def draw_online(project: Project, runs: list[ModelRun], trains: OnlineTrains) -> tuple[SamplingPlan | None, bytes]:
    """All choices, None while they do not go together, with the reason in a line; and prompts that were uploaded."""
    chosen = draw_policy(trains, runs)
    prompts = draw_prompts(project)
    chosen |= draw_rewards(trains, runs)
    chosen |= draw_strength(trains, chosen.get("loss"))
    chosen["audit_reward"] = draw_audit(runs)
    chosen["on_alarm"] = "stop" if st.session_state["train-on-alarm"] else "continue"
    more, held_out = draw_more(trains)
    chosen |= more
    suite = draw_suite(chosen["model"])
    advanced = draw_advanced(trains, chosen)
    if prompts is None or advanced is None or suite is None or not is_complete(chosen):
        return None, b""
    try:
        config = make_config(trains, chosen | advanced)
        plan = SamplingPlan(
            project=project.name, config=config, prompts=prompts[0], held_out=held_out, suite=tuple(suite)
        )
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None, b""
    return plan, prompts[1]


def draw_strength(trains: OnlineTrains, loss: Any) -> dict[str, Any]:
    """Draws how far the policy may move, for how long, and by how much at once, as options."""
    columns = st.columns(4)
    steps = "Each draws answers, scores them and learns."
    return {
        "beta": draw_pair_beta(columns[0], trains, loss)
        if trains == "online-dpo"
        else number(columns[0], trains, "beta", "KL weight", (0.0, 10.0, 0.01), KL_HELP),
        "max_steps": number(columns[1], trains, "max_steps", "Steps", (1, 1_000_000, 10), steps),
        "completions_per_prompt": number(
            columns[2], trains, "completions_per_prompt", "Answers a prompt", (1, 256, 1), ANSWERS_HELP[trains]
        ),
        "learning_rate": draw_rate(columns[3], trains),
    }


def draw_rate(column: Any, trains: OnlineTrains) -> float:
    """Draws the field of the learning rate; empty, it is 0 for the command, which then chooses one."""
    rate = column.number_input(
        "Learning rate",
        0.0,
        1.0,
        default_of(trains, "learning_rate") or None,
        1e-6,
        key=f"train-{trains}-learning_rate",
        format="%.3g",
        placeholder="chosen for you",
        help="Empty chooses one by the size of the policy. Too high, and the KL jumps in the first steps.",
    )
    return rate or 0.0


def draw_more(trains: OnlineTrains) -> tuple[dict[str, Any], float]:
    """Draws what people rarely change, as options; and the share of prompts held out."""
    with st.expander("How much a step draws, and audits", icon=":material/more_horiz:"):
        columns = st.columns(4)
        size = number(
            columns[0], trains, "prompts_per_step", "Prompts a step", (1, 4096, 1), "More of them: slower, steadier."
        )
        longest = "In tokens; an answer that has not ended by then is cut."
        tokens = number(columns[1], trains, "max_new_tokens", "Longest answer", (1, 32_768, 16), longest)
        held = "Share of prompts that it never trains on: audits and the report use them."
        held_out = columns[2].number_input("Held out", 0.02, 0.4, 0.1, 0.05, key="train-held-out-online", help=held)
        people = (
            "Pairs of each audit, its answer beside the one it began with, that you can send to people. 0 for none."
        )
        pairs = number(columns[3], trains, "audit_samples", "Pairs for people", (0, 1000, 5), people)
    return {"prompts_per_step": size, "max_new_tokens": tokens, "audit_samples": pairs}, held_out


def number(
    column: Any,
    trains: OnlineTrains,
    name: str,
    label: str,
    limits: tuple[float, float, float],
    meaning: str,
) -> float:
    """Draws the field of an option that is a number: lowest, highest, step; whole where those are. It begins with the
    command's own, or with that of `STARTS`.
    """
    default = STARTS.get(name, default_of(trains, name))
    key = f"train-{trains}-{name}"
    return column.number_input(label, limits[0], limits[1], default, limits[2], key=key, help=meaning)


def draw_best(project: Project, runs: list[ModelRun]) -> tuple[SamplingPlan | None, bytes]:
    """All choices, None while they do not go together, with the reason in a line; and prompts that were uploaded."""
    chosen = draw_policy("bon", runs)
    prompts = draw_prompts(project)
    chosen |= draw_rewards("bon", runs) | draw_choice()
    chosen["audit_reward"] = draw_audit(runs, trained=False)
    advanced = draw_advanced("bon", chosen)
    if prompts is None or advanced is None or not is_complete(chosen):
        return None, b""
    try:
        config = make_config("bon", chosen | advanced)
        plan = SamplingPlan(project=project.name, config=config, prompts=prompts[0], held_out=0.0)
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None, b""
    return plan, prompts[1]


def draw_choice() -> dict[str, Any]:
    """What is kept, of how many answers of which length."""
    left, middle, right = st.columns([4, 3, 2])
    keep = left.selectbox("Keep", list(KEEPS), format_func=KEEPS.__getitem__, key="train-bon-keep") or "best"
    help_text = "More of them: better ones, and the more the reward is pushed to where it errs. 4 to 64 are usual."
    n = middle.number_input("Answers a prompt", 2, 1024, default_of("bon", "n"), key="train-bon-n", help=help_text)
    longest = "In tokens; an answer that has not ended by then is cut."
    tokens = right.number_input(
        "Longest answer", 1, 32_768, LONGEST_ANSWER, 16, key="train-bon-max_new_tokens", help=longest
    )
    values = {name: default_of("bon", name) for name in ("threshold", "threshold_of", "soft_labels")}
    values |= {"keep": keep, "n": int(n), "max_new_tokens": int(tokens)}
    if keep == "above":
        names = MEASURES.__getitem__
        measure = left.selectbox("The threshold is", list(MEASURES), format_func=names, key="train-bon-measure")
        quantile = measure == "quantile"
        help_text = "Answers with less are left out."
        if quantile:
            help_text = "0.75 keeps the best quarter of a prompt's answers."
        limits = (0.0, 1.0, 0.75, 0.05) if quantile else (-1e6, 1e6, 0.0, 0.1)
        least = middle.number_input("At least", *limits, key=f"train-bon-threshold-{measure}", help=help_text)
        values |= {"threshold": float(least), "threshold_of": measure}
    if keep == "pairs":
        values["soft_labels"] = left.toggle(
            "Pairs say how sure the reward is",
            key="train-bon-soft",
            help="Each pair gets the probability that its chosen answer is the better one (p_chosen), by the members "
            "of the reward; DPO then leans less on pairs that are a close call. For reward models, whose rewards are "
            "log-odds.",
        )
    return values
