"""What the forms of all trainings share: a model that somebody names, other options as YAML, how a mistake is said."""

from __future__ import annotations

import streamlit as st

from annotate_app.training_options import ONLINE, Trains, advanced_text, read_advanced
from annotate_app.training_plan import TrainingPlan, check_model

OTHER = "other"
MODES = {"full": "All weights", "lora": "LoRA adapters", "head": "Head only, on a frozen trunk"}


def checked_model(given: str) -> str | None:
    """The folder or hub id that somebody names, shown as it will be read; None while it is none."""
    if not given.strip():
        return None
    try:
        model = check_model(given)
    except ValueError as error:
        draw_error("That model cannot be used:", error)
        return None
    st.caption("Will be read from")
    st.code(model, language=None)
    return model


def draw_advanced(trains: Trains) -> dict | None:
    """Every other option as YAML; None while it holds an error, which is said at once."""
    command = "rewardkit train" if trains == "reward" else f"alignment {trains}"
    key = "train-advanced" if trains == "reward" else f"train-advanced-{trains}"
    with st.expander("Advanced settings", icon=":material/tune:"):
        text = st.text_area(
            f"Options of `{command}`, YAML", advanced_text(trains), height=380, key=key, max_chars=20_000
        )
    try:
        advanced = read_advanced(text, trains)
        if trains not in ONLINE:  # those are told by their form, with the other choices
            TrainingPlan(project="", trains=trains, advanced=advanced)
    except ValueError as error:
        draw_error("Advanced settings:", error)
        return None
    if advanced:
        st.caption("Changed: " + ", ".join(f"{name} {value}" for name, value in advanced.items()))
    return advanced


def draw_error(words: str, error: ValueError) -> None:
    """One line of our own and the reason as plain text."""
    st.error(words, icon=":material/error:")
    st.text(str(error))
