"""The form of best of n: which policy answers, how often, what is kept, and by which rewards."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.train_form.train_fields import LONGEST_ANSWER, draw_advanced, draw_error, is_complete
from annotate_app.pages.train_form.train_policy import draw_policy
from annotate_app.pages.train_form.train_prompts import draw_prompts
from annotate_app.pages.train_form.train_rewards import draw_audit, draw_rewards
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.options import default_of, make_config
from annotate_app.trainings.runs import ModelRun
from annotate_app.trainings.sampling_plans import Keep, SamplingPlan

KEEPS: dict[Keep, str] = {
    "best": "The best answer to each prompt, for SFT",
    "above": "All answers that reach a threshold, for SFT",
    "pairs": "The best and the worst as a pair, for DPO",
}
MEASURES = {"reward": "a reward", "quantile": "a share of the prompt's answers"}


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
    said = "More of them: better ones, and the more the reward is pushed to where it errs. 4 to 64 are usual."
    n = middle.number_input("Answers a prompt", 2, 1024, default_of("bon", "n"), key="train-bon-n", help=said)
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
