"""The form of a training by PPO or GRPO: which policy, prompts and rewards, how far it may move."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, get_args

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from alignment.policy_gradient_names import PolicyLossName
from annotate_app.model_runs import ModelRun, list_policies
from annotate_app.online_plan import OnlinePlan, uploaded_name
from annotate_app.pages.context import current_actor, current_store
from annotate_app.pages.train_fields import MODES, OTHER, checked_model, draw_advanced, draw_error
from annotate_app.pages.train_rewards import draw_audit, draw_reward
from annotate_app.store.projects import Project
from annotate_app.training_options import ONLINE, OnlineTrains
from annotate_app.training_plan import modes_of
from rewardkit.files import SUFFIXES
from rewardkit.prompts import read_prompt_rows

OF_PROJECT, UPLOAD, ON_SERVER = "project", "upload", "server"
PROMPTS = {
    OF_PROJECT: "All prompts of this project, each once",
    UPLOAD: "A file of mine",
    ON_SERVER: "A file on the server",
}
DEFAULTS: dict[OnlineTrains, dict[str, Any]] = {
    "grpo": {"beta": 0.04, "prompts_per_step": 16, "completions_per_prompt": 8},
    "ppo": {"beta": 0.05, "prompts_per_step": 64, "completions_per_prompt": 1},
}
"""Where both begin with the same number, it is the plan's own default."""


def draw_online(project: Project, runs: list[ModelRun], trains: OnlineTrains) -> tuple[OnlinePlan | None, bytes]:
    """All choices, None while they do not go together, with the reason in a line; and prompts that were uploaded."""
    model = draw_policy(runs, trains)
    prompts = draw_prompts(project)
    rewards = draw_reward(runs)
    draw_strength(trains)
    audit = draw_audit(runs)
    draw_more(trains)
    advanced = draw_advanced(trains)
    if model is None or prompts is None or rewards is None or audit is None or advanced is None:
        return None, b""
    values = {name: st.session_state[f"train-{trains}-{name}"] for name in (*DEFAULTS[trains], *NUMBERS)}
    loss = {"loss": st.session_state["train-grpo-loss"]} if trains == "grpo" else {}
    try:
        plan = OnlinePlan(
            project=project.name,
            trains=trains,
            model=model,
            mode=st.session_state["train-mode-online"],
            prompts=prompts[0],
            held_out=st.session_state["train-held-out-online"],
            on_alarm="stop" if st.session_state["train-on-alarm"] else "continue",
            advanced=advanced,
            **rewards,
            **audit,
            **values,
            **loss,
        )
    except ValueError as error:
        draw_error("These do not go together:", error)
        return None, b""
    return plan, prompts[1]


def draw_policy(runs: list[ModelRun], trains: OnlineTrains) -> str | None:
    """The policy to begin from, and how it is trained; its name, None while it is none."""
    left, middle, right = st.columns([4, 3, 2])
    earlier = sorted(list_policies(runs), key=lambda run: run.trains in ONLINE)  # one begins from SFT or DPO
    names = {str(run.model): f"Run {run.name}" for run in earlier} | {OTHER: "A folder or a hub id"}
    key = "train-policy-online"
    chosen = str(left.selectbox("Begins from", list(names), format_func=names.__getitem__, key=key))
    middle.selectbox("Trains", modes_of(chosen, trains), format_func=MODES.__getitem__, key="train-mode-online")
    if trains == "grpo":
        said = "grpo is the method itself; the others differ in how answers and their lengths are weighed."
        right.selectbox("Loss", get_args(PolicyLossName), key="train-grpo-loss", help=said)
    if len(names) == 1:
        left.caption("No policy has been trained in this project: SFT makes one that can write, to begin from.")
    if chosen != OTHER:
        return chosen
    given = left.text_input("Folder or hub id", key=f"{key}-path", placeholder="/models/my-model or owner/name")
    return checked_model(given)


def draw_prompts(project: Project) -> tuple[str, bytes] | None:
    """What a plan calls the prompts, and their content where they were uploaded; None while there are none."""
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    allowed = [name for name in PROMPTS if name != ON_SERVER or current_actor().is_at_least("admin")]
    chosen = left.selectbox("Prompts", allowed, format_func=PROMPTS.__getitem__, key="train-prompts")
    if chosen == OF_PROJECT:
        count = current_store().comparisons.count(current_actor(), project.id)
        right.caption(f"Of {count:,} comparisons. Judgments are not needed; what people preferred is in the reward.")
        return "", b""
    if chosen == ON_SERVER:
        path = right.text_input("Whole path", key="train-prompts-path", placeholder="/data/prompts.jsonl").strip()
        return (path, b"") if path else None
    types = [suffix.removeprefix(".") for suffix in SUFFIXES]
    file = right.file_uploader("JSONL, JSON, CSV or Parquet, gzipped or not", [*types, "gz"], key="train-prompts-file")
    if file is None:
        right.caption("Rows with a prompt; their other columns are given to rewards, the right answer, say.")
        return None
    try:
        name, count = uploaded_name(file.name), count_prompts(file)
    except ValueError as error:
        draw_error("These prompts cannot be read:", error)
        return None
    right.caption(f"{count:,} different prompts")
    return name, file.getvalue()


def count_prompts(file: UploadedFile) -> int:
    """How many different prompts an upload holds, read once a session.

    Raises:
        ValueError: if it cannot be read.
    """
    known = st.session_state.setdefault("train-prompts-known", {})
    if file.file_id not in known:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / uploaded_name(file.name)
            path.write_bytes(file.getbuffer())
            known[file.file_id] = len({row.prompt for row in read_prompt_rows(str(path), on_bad_row="skip").rows})
    return known[file.file_id]


def draw_strength(trains: OnlineTrains) -> None:
    """How far the policy may move, for how long, and by how much at once."""
    places = st.columns(4)
    number(
        places[0],
        trains,
        "beta",
        "KL weight",
        (0.0, 10.0, 0.01),
        "How firmly it is held to the policy it begins with. 0 lets it go wherever the reward leads, and find what the "
        "reward overlooks; 0.01 to 0.1 is usual.",
    )
    number(places[1], trains, "max_steps", "Steps", (1, 1_000_000, 10), "Each draws answers, scores them and learns.")
    of_group = "They are compared with each other: 4 or more." if trains == "grpo" else "1 is usual for PPO."
    number(places[2], trains, "completions_per_prompt", "Answers a prompt", (1, 256, 1), of_group)
    rate = "0 chooses one by the size of the policy. Too high, and the KL jumps in the first steps."
    number(places[3], trains, "learning_rate", "Learning rate", (0.0, 1.0, 1e-6), rate)


NUMBERS = ("max_steps", "learning_rate", "max_new_tokens", "audit_samples")
"""Fields beside those of DEFAULTS that hold a number."""


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
    """A field for a number of the plan: lowest, highest, step; whole where those are."""
    default = DEFAULTS[trains].get(name, getattr(OnlinePlan, name))
    shown = "%.3g" if name == "learning_rate" else None
    place.number_input(
        label, limits[0], limits[1], default, limits[2], key=f"train-{trains}-{name}", help=said, format=shown
    )
