"""The fields that say what a trained policy and its base are asked beside the task: what training cost elsewhere."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from alignment.config.sampling import SUITE, SUITE_WITHOUT_FILE
from annotate_app.pages.kit.context import current_actor
from annotate_app.pages.train_form.train_fields import draw_error
from rewardkit.config import PRESET_NAMES

HELP = (
    "The policy and the one it began from do the same items; the run shows the differences. Declining is told by "
    "wording, over 20 prompts each."
)


def draw_suite(base: str | None) -> list[str] | None:
    """The parts as `alignment evaluate --suite` takes them; None while a file is missing.

    Files of the server are for admins. Nothing is asked of a policy that is made new: it has no base.
    """
    if base is None or base in PRESET_NAMES:
        return []
    names = list(SUITE) if current_actor().is_at_least("admin") else list(SUITE_WITHOUT_FILE)
    with st.expander("What training costs elsewhere", icon=":material/balance:"):
        chosen = st.multiselect("Asked of both", names, format_func=SUITE.__getitem__, key="train-suite", help=HELP)
        parts = [name if name in SUITE_WITHOUT_FILE else draw_file(name) for name in chosen]
    return None if None in parts else [part for part in parts if part]


def draw_file(name: str) -> str | None:
    """A part with the whole path of its file; None while there is none."""
    path = st.text_input(f"File: {SUITE[name]}", key=f"train-suite-{name}", placeholder=f"/data/{name}.jsonl").strip()
    if not path:
        return None
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        draw_error("That file cannot be used:", ValueError(f"{file} is no file"))
        return None
    return f"{name}={file}"
