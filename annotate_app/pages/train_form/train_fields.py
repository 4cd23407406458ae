"""Fields shared by the forms of all trainings: a named model, other options as YAML, and their errors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import streamlit as st

from annotate_app.trainings.options import DRAWS, TRAININGS, Trains, advanced_text, make_config, read_advanced
from annotate_app.trainings.plans import check_model

OTHER = "other"
MODELS = {
    "tfidf": "TF-IDF: word counts and a linear head",
    "tiny": "Tiny: a new transformer, made here",
    "small": "Small: a larger new one",
    OTHER: "A folder or a hub id",
}
SAYS = {
    "tfidf": "Seconds, no weights to download. The baseline every other model has to beat.",
    "tiny": "Trained from nothing on your data: under a minute for the demo project on two cores.",
    "small": "384 wide, 6 layers, trained from nothing: for some ten thousand pairs and more.",
    OTHER: "Any decoder or encoder that transformers loads; fine-tuned from its weights.",
}
LONGEST_ANSWER = 128
"""Tokens of an answer where nobody chooses: half of what the commands allow, for pages are tried on small models."""
MODES = {"full": "All weights", "lora": "LoRA adapters", "head": "Head only, on a frozen trunk"}


def checked_model(name: str) -> str | None:
    """The folder or hub id that somebody names, shown as it will be read; None while it is none."""
    if not name.strip():
        return None
    try:
        model = check_model(name)
    except ValueError as error:
        draw_error("That model cannot be used:", error)
        return None
    st.caption("Will be read from")
    st.code(model, language=None)
    return model


def draw_advanced(trains: Trains, chosen: Collection[str]) -> dict[str, Any] | None:
    """Draws every option that the form did not ask for as YAML; None while it holds an error, which is shown.

    Args:
        chosen: options that have a field of the form.
    """
    command = " ".join(TRAININGS[trains].command)
    key = "train-advanced" if trains == "reward" else f"train-advanced-{trains}"
    with st.expander("Advanced settings", icon=":material/tune:"):
        text = st.text_area(
            f"Options of `{command}`, YAML", advanced_text(trains, chosen), height=380, key=key, max_chars=20_000
        )
    try:
        advanced = read_advanced(text, trains, chosen)
        if trains not in DRAWS:  # those are told by their form, with the other choices
            make_config(trains, {"model": "tiny", **advanced})
    except ValueError as error:
        draw_error("Advanced settings:", error)
        return None
    if advanced:
        st.caption("Changed: " + ", ".join(f"{name} {value}" for name, value in advanced.items()))
    return advanced


def is_complete(chosen: Mapping[str, Any]) -> bool:
    """Whether neither `model` nor `reward` nor `audit_reward` is None, which stands for an incomplete field."""
    return all(chosen.get(name, "") is not None for name in ("model", "reward", "audit_reward"))


def draw_error(words: str, error: ValueError | OSError) -> None:
    """One line of our own and the reason as plain text."""
    st.error(words, icon=":material/error:")
    st.text(str(error))
