"""The fields that say which policy a training begins from, how it is trained, and by which loss."""

from __future__ import annotations

from typing import Any

import streamlit as st

from alignment.config.loss_names import PAIR_LOSSES, PairLossName
from annotate_app.pages.train_form.train_fields import MODELS, MODES, OTHER, SAYS, checked_model
from annotate_app.trainings.options import DRAWS, TRAININGS, Trains, default_of
from annotate_app.trainings.plans import modes_of
from annotate_app.trainings.runs import ModelRun, list_policies
from rewardkit.config import PRESET_NAMES

LOSS_HELP: dict[Trains, str] = {
    "dpo": "sigmoid is DPO itself.",
    "online-dpo": "sigmoid is DPO itself; the others count a pair otherwise.",
    "grpo": "grpo is the method itself; the others differ in how answers and their lengths are weighed.",
}


def draw_policy(trains: Trains, runs: list[ModelRun]) -> dict[str, Any]:
    """Draws the policy to begin from, how it is trained and by which loss, as options; model is None while it is none.

    What is drawn needs a policy that can write: only SFT and DPO may begin from one made here.
    """
    left, middle, right = st.columns([4, 3, 2])
    names = offered(trains, runs)
    draws = trains in DRAWS
    key = f"train-policy-{'online' if draws else trains}"
    label = "Answers by" if trains == "bon" else "Begins from"
    chosen = str(left.selectbox(label, list(names), format_func=names.__getitem__, key=key))
    options: dict[str, Any] = {"model": chosen}
    if trains != "bon":
        mode = f"train-mode-{'online' if draws else 'policy'}"
        chosen_mode = middle.selectbox("Trains", modes_of(chosen, trains), format_func=MODES.__getitem__, key=mode)
        options["lora"] = chosen_mode == "lora"
    if losses := TRAININGS[trains].losses:
        column = middle if trains == "dpo" else right
        first = losses.index(default_of(trains, "loss"))
        loss: Any = column.selectbox("Loss", losses, first, key=f"train-{trains}-loss", help=LOSS_HELP[trains])
        options["loss"] = loss
    if trains == "dpo":
        options["beta"] = draw_pair_beta(right, trains, options["loss"])
        if chosen in PRESET_NAMES:
            left.caption("A new policy has not learned to write: begin from one that SFT has trained.")
    if draws and len(names) == 1:
        left.caption("No policy has been trained in this project: SFT makes one that can write, to begin from.")
    if chosen != OTHER:
        if chosen in MODELS and trains == "sft":
            left.caption(SAYS[chosen])
        return options
    name = left.text_input("Folder or hub id", key=f"{key}-path", placeholder="/models/mine or owner/name")
    return options | {"model": checked_model(name)}


def offered(trains: Trains, runs: list[ModelRun]) -> dict[str, str]:
    """The policies to choose from, the first of them what one usually begins from, with words for people."""
    earlier = sorted(list_policies(runs), key=lambda run: trains in DRAWS and run.is_online)  # SFT and DPO first
    policies = {str(run.model): f"Run {run.name}" for run in earlier}
    if trains in DRAWS:
        return policies | {OTHER: MODELS[OTHER]}
    made = {name: words for name, words in MODELS.items() if name != "tfidf"}
    return policies | made if trains == "dpo" else made | policies


def draw_pair_beta(column: Any, trains: Trains, loss: PairLossName) -> float:
    """Draws beta of a loss of pairs, beginning with the loss's own; each loss has a field of its own."""
    return column.number_input(
        "Beta",
        0.001,
        100.0,
        PAIR_LOSSES[loss].beta,
        0.05,
        format="%.3g",
        key=f"train-{trains}-beta-{loss}",
        help="Small lets the policy move far from where it began, large holds it close.",
    )
