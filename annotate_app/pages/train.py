"""Train: a reward model, a policy or rows of best of n, started and watched here, by a process of its own."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.train_form.train_fields import (
    MODELS,
    MODES,
    OTHER,
    SAYS,
    checked_model,
    draw_advanced,
    draw_error,
    is_complete,
)
from annotate_app.pages.train_form.train_online import draw_best, draw_online
from annotate_app.pages.train_form.train_policy import draw_policy
from annotate_app.pages.train_form.train_suite import draw_suite
from annotate_app.pages.views.figures import consensus_of
from annotate_app.pages.views.training_view import watch
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.options import ONLINE, Trains, default_of, make_config
from annotate_app.trainings.plans import INSTALL, TrainingPlan, missing_packages, modes_of
from annotate_app.trainings.runs import ModelRun, list_runs
from annotate_app.trainings.training_jobs import start

TRAINS: dict[Trains, str] = {
    "reward": "Reward model",
    "sft": "Policy: SFT",
    "dpo": "Policy: DPO",
    "online-dpo": "Policy: online DPO",
    "grpo": "Policy: GRPO",
    "ppo": "Policy: PPO",
    "bon": "Data: best of n",
}
LEARNS: dict[Trains, str] = {
    "reward": "Learns to tell which answer people prefer, and how sure it is of that.",
    "sft": "Supervised fine-tuning: learns to write the answers that people preferred.",
    "dpo": "Direct preference optimisation: learns to write what people prefer, from pairs, beginning with a policy.",
    "online-dpo": "DPO on pairs of its own: writes several answers to each prompt, has a reward model or a check score "
    "them, and learns from the best and the worst of each prompt.",
    "grpo": "Group-relative policy optimisation: writes several answers to each prompt, has a reward model or a check "
    "score them, and learns to write more like the better ones of each group.",
    "ppo": "Proximal policy optimisation: writes answers, has them scored, and learns beside the policy to foresee the "
    "score, so that each word is held against what was expected. More to set and to watch than GRPO.",
    "bon": "Trains nothing: a policy writes several answers to each prompt, a reward model or a check scores them, and "
    "the best ones (rejection sampling), or pairs of best and worst, become rows that SFT or DPO can learn from.",
}
MEMBERS = {"heads": "heads on one trunk", "lora": "LoRA adapters", "full": "whole models"}
OVERALL, ALL = "overall", "all"
MOST_UNDER_WAY = 5


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Train")
        project, actor = current_project(), current_actor()
        actor.require("lead", "training")
        with st.container(border=True, key="train-form"):
            trains, runs, prompts = draw_choice(), list_runs(current_store(), actor, project.id), b""
            if trains == "bon":
                plan, prompts = draw_best(project, runs)
            elif trains in ONLINE:
                plan, prompts = draw_online(project, runs, trains)
            else:
                plan = draw_form(project, runs, trains)
        missing = missing_packages(plan.config.model) if plan else []
        if missing:
            draw_missing(missing)
        asked = st.button(
            "Draw and choose" if trains == "bon" else "Train",
            type="primary",
            key="train-start",
            icon=":material/model_training:",
            disabled=plan is None or bool(missing),
        )
        if asked and plan and not missing:  # no callback: that would get the plan of before the last field changed
            act("Queued.", start, current_store(), actor, plan, prompts=prompts)
            st.rerun()
        draw_trainings(runs)


def draw_trainings(runs: list[ModelRun]) -> None:
    """What is under way; where nothing is, what ended last."""
    busy = sorted((run for run in runs if run.under_way), key=lambda run: run.job.id)  # as the worker takes them
    if runs:
        st.header("Under way" if busy else "Last training", anchor=False)
    for run in busy[:MOST_UNDER_WAY] or runs[:1]:
        watch(run, key_prefix="train")
    if len(busy) > MOST_UNDER_WAY:
        st.caption(f"and {len(busy) - MOST_UNDER_WAY} more that wait")
    if runs:
        st.page_link(page_at("runs"), label="All trainings", icon=":material/arrow_forward:")


def draw_choice() -> Trains:
    """What is to be trained."""
    chosen = st.segmented_control(
        "What to train",
        list(TRAINS),
        default="reward",
        required=True,
        format_func=TRAINS.__getitem__,
        key="train-trains",
        bind="query-params",
        label_visibility="collapsed",
    )
    trains: Trains = chosen or "reward"  # type: ignore[assignment]
    st.caption(LEARNS[trains])
    return trains


def draw_form(project: Project, runs: list[ModelRun], trains: Trains) -> TrainingPlan | None:
    """All choices of a training on judgments; None while they do not go together, with the reason in a line."""
    chosen = draw_model() if trains == "reward" else draw_policy(trains, runs)
    rows_of = draw_source_of_rows(trains, runs)
    taught = OVERALL if rows_of else draw_data(project, trains)
    if trains == "reward":
        chosen["criteria"] = taught == ALL
    suite = [] if trains == "reward" else draw_suite(chosen["model"])
    advanced = draw_advanced(trains, chosen)
    if advanced is None or suite is None or not is_complete(chosen):
        return None
    fields = st.session_state
    try:
        return TrainingPlan(
            project=project.name,
            config=make_config(trains, chosen | advanced),
            criterion=taught.partition(":")[2],
            min_votes=1 if rows_of else int(fields["train-votes"]),
            min_agreement=0.0 if rows_of else float(fields["train-agreement"]),
            adjudicated_only=not rows_of and bool(fields["train-adjudicated"]),
            held_out=float(fields["train-held-out"]),
            rows_of=rows_of,
            suite=tuple(suite),
        )
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None


def draw_model() -> dict[str, Any]:
    """Draws model, mode and ensemble, as options; model is None while it is none."""
    left, middle, right = st.columns([4, 3, 2])
    names = list(MODELS)
    first = names.index("tfidf" if missing_packages("tiny") else "tiny")
    chosen = left.selectbox("Model", names, first, format_func=MODELS.__getitem__, key="train-model")
    name: str = str(chosen)
    if name == OTHER:
        name = left.text_input("Folder or hub id", key="train-model-path", placeholder="/models/my-model or owner/name")
    left.caption(SAYS[str(chosen)])
    kind = "tfidf" if chosen == "tfidf" else "weights"
    mode = middle.selectbox(
        "Trains", modes_of(str(chosen), "reward"), format_func=MODES.__getitem__, key=f"train-mode-{kind}"
    )
    ensemble = right.number_input(
        "Members", 1, 32, 1, key="train-ensemble", help="An ensemble knows how sure it is: where members differ."
    )
    members = default_of("reward", "members")
    if ensemble > 1 and mode != "head":
        kinds = [kind for kind in MEMBERS if kind == "heads" or kind == mode]
        members = right.selectbox("Each member is", kinds, format_func=MEMBERS.__getitem__, key="train-members")
    if mode == "head":
        middle.caption("Members are draws from the posterior of the head; 1 draws 32, since they cost nothing.")
    model = checked_model(name) if chosen == OTHER else name
    return {"model": model, "mode": mode or "full", "ensemble": int(ensemble), "members": members or "heads"}


def draw_source_of_rows(trains: Trains, runs: list[ModelRun]) -> int:
    """Whether a policy learns from the project's judgments, 0, or from the rows of a best of n, the number of its run.

    Nothing is asked while there are none that fit. Of rows without votes only the share held out is asked beside it.
    """
    made = [run for run in runs if run.rows and (trains == "sft" or run.option("keep") == "pairs")]
    if trains == "reward" or not made:
        return 0
    names = {0: "The project's judgments"} | {run.job.id: f"Rows of run {run.name}" for run in made}
    help_text = "What best of n wrote here: the policy's own answers, chosen by a reward and not by people."
    key = f"train-rows-{trains}"
    left, right = st.columns([7, 2])
    chosen = left.selectbox("Data", list(names), format_func=names.__getitem__, key=key, help=help_text) or 0
    if chosen:
        draw_share(right)
    return chosen


def draw_share(column: Any) -> None:
    """The share of prompts that are held out."""
    help_text = "Share of prompts for stopping and calibration, and the same again for the report."
    column.number_input("Held out", 0.02, 0.4, 0.1, 0.05, key="train-held-out", help=help_text)


def draw_data(project: Project, trains: Trains) -> str:
    """Draws whose votes count, and what is learned from them: OVERALL, ALL, or `criterion:` and its name."""
    rubric = current_store().projects.rubric(current_actor(), project.id).rubric
    names = {OVERALL: "The overall choice"}
    if rubric.criteria and trains == "reward":
        names[ALL] = "The overall choice, and each criterion with a head of its own"
    names |= {f"criterion:{criterion.name}": f"Only: {criterion.name}" for criterion in rubric.criteria}
    left, middle, right = st.columns([4, 3, 2])
    key = f"train-learns-{project.id}" if trains == "reward" else f"train-learns-{project.id}-policy"
    learns = str(left.selectbox("Learns", list(names), format_func=names.__getitem__, key=key))
    middle.number_input("Votes at least", 1, 100, 1, key="train-votes")
    draw_share(right)
    middle.slider("Agreement at least", 0.0, 1.0, 0.0, 0.05, key="train-agreement")
    right.toggle("Only adjudicated", key="train-adjudicated")
    left.caption(
        f"Votes are summed by the project's rule: {project.design.rule}. A snapshot of them goes into the run, "
        "so that the model can be traced to what it was taught."
    )
    for note in consensus_of(project).notes:
        st.info(as_markdown(note), icon=":material/groups:")
    return learns


def draw_missing(missing: list[str]) -> None:
    """What to install, and what works without it."""
    st.warning(
        f"Not installed here: {' and '.join(missing)}. Install it, then restart the app:", icon=":material/extension:"
    )
    st.code(INSTALL, language=None)
    if not missing_packages("tfidf"):
        st.caption("TF-IDF works without it.")
    elif "scikit-learn" not in missing:
        st.caption("TF-IDF needs scikit-learn only: pip install scikit-learn")
