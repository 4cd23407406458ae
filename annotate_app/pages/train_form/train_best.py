"""The form of best of n: which policy answers, how often, what is kept, and by which rewards."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.train_form.train_fields import draw_advanced, draw_error
from annotate_app.pages.train_form.train_policy import draw_policy
from annotate_app.pages.train_form.train_prompts import draw_prompts
from annotate_app.pages.train_form.train_rewards import draw_audit, draw_rewards
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.sampling_plans import BestPlan, Keep

KEEPS: dict[Keep, str] = {
    "best": "The best answer to each prompt, for SFT",
    "above": "All answers that reach a threshold, for SFT",
    "pairs": "The best and the worst as a pair, for DPO",
}
MEASURES = {"reward": "a reward", "quantile": "a share of the prompt's answers"}


def draw_best(project: Project, runs: list[ModelRun]) -> tuple[BestPlan | None, bytes]:
    """All choices, None while they do not go together, with the reason in a line; and prompts that were uploaded."""
    model = draw_policy("bon", runs)
    prompts = draw_prompts(project)
    rewards = draw_rewards(runs)
    choice = draw_choice()
    audit = draw_audit(runs, trained=False)
    advanced = draw_advanced("bon")
    if model is None or prompts is None or rewards is None or audit is None or advanced is None:
        return None, b""
    try:
        plan = BestPlan(
            project=project.name, model=model, prompts=prompts[0], advanced=advanced, **rewards, **audit, **choice
        )
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None, b""
    return plan, prompts[1]


def draw_choice() -> dict[str, Any]:
    """What is kept, of how many answers of which length."""
    left, middle, right = st.columns([4, 3, 2])
    keep = left.selectbox("Keep", list(KEEPS), format_func=KEEPS.__getitem__, key="train-bon-keep") or "best"
    said = "More of them: better ones, and the more the reward is pushed to where it errs. 4 to 64 are usual."
    n = middle.number_input("Answers a prompt", 2, 1024, BestPlan.n, key="train-bon-n", help=said)
    longest = "In tokens; an answer that has not ended by then is cut."
    tokens = right.number_input(
        "Longest answer", 1, 32_768, BestPlan.max_new_tokens, 16, key="train-bon-max_new_tokens", help=longest
    )
    values: dict[str, Any] = {"keep": keep, "n": int(n), "max_new_tokens": int(tokens)}
    if keep == "above":
        names = MEASURES.__getitem__
        measure = left.selectbox("The threshold is", list(MEASURES), format_func=names, key="train-bon-measure")
        quantile = measure == "quantile"
        said = "0.75 keeps the best quarter of a prompt's answers." if quantile else "Answers with less are left out."
        limits = (0.0, 1.0, 0.75, 0.05) if quantile else (-1e6, 1e6, 0.0, 0.1)
        least = middle.number_input("At least", *limits, key=f"train-bon-threshold-{measure}", help=said)
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
