"""The fields that say which prompts a policy answers: the project's, an upload, or for admins a file on the server."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.train_form.train_fields import draw_error
from annotate_app.store.projects.projects import Project
from annotate_app.trainings.sampling_plans import uploaded_name
from rewardkit.data.files import SUFFIXES
from rewardkit.data.prompts import read_prompt_rows

OF_PROJECT, UPLOAD, ON_SERVER = "project", "upload", "server"
PROMPTS = {
    OF_PROJECT: "All prompts of this project, each once",
    UPLOAD: "A file of mine",
    ON_SERVER: "A file on the server",
}


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
    counts = st.session_state.setdefault("train-prompts-known", {})
    if file.file_id not in counts:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / uploaded_name(file.name)
            path.write_bytes(file.getbuffer())
            counts[file.file_id] = len({row.prompt for row in read_prompt_rows(str(path), on_bad_row="skip").rows})
    return counts[file.file_id]
