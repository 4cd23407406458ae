"""Draws what made a run's numbers, and what people say of the run."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from annotate_app.findings.run_config import AGAIN, read_run_config
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import as_markdown, key_of
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.comparison_view import draw_reader, text_data
from annotate_app.store.loop.run_notes import LONGEST_NAME, LONGEST_NOTE
from annotate_app.trainings.runs import ModelRun


@st.dialog("Configuration", width="large")
def show_config(run: ModelRun) -> None:
    """Shows what made the numbers of a run."""
    st.text(run.name)
    config = read_run_config(run)
    if not config.options:
        st.caption("Its plan cannot be read.")
        return
    st.caption(f"The command that repeats it, into the folder {AGAIN}")
    st.code(config.command, language="bash", wrap_lines=True)
    st.caption("Every option; what differs from its default says so")
    st.code(config.yaml, language="yaml", height=260)
    rows = [
        {
            "split": split,
            "rows": about.get("num_rows"),
            "prompts": about.get("num_prompts"),
            "SHA-256": str(about.get("sha256") or "")[:16],
        }
        for split, about in config.data.items()
    ]
    if rows:
        st.caption("Data" + (f", hash of all rows {config.data_hash[:16]}" if config.data_hash else ""))
        st.dataframe(pd.DataFrame(rows), hide_index=True, placeholder="–", key=f"config-data-{run.number}")
    if config.data_card:
        with st.expander("Data card"):
            st.code(config.data_card, language="markdown", wrap_lines=True, height=260)
    versions = ", ".join(f"{name} {version}" for name, version in config.versions.items())
    st.text(f"Seed {'none' if config.seed is None else config.seed}; {versions or 'versions not recorded yet'}")
    st.caption("On disk")
    st.code(config.folder, language=None, wrap_lines=True)


def draw_said(run: ModelRun, key_prefix: str) -> None:
    """Tags and note of a run, and the form that changes them."""
    said, key = run.said, f"{key_prefix}-said-{run.number}"
    if said.tags or said.archived:
        with st.container(horizontal=True):
            for tag in said.tags:
                st.badge(as_markdown(tag), icon=":material/sell:", color="gray")
            if said.archived:
                st.badge("Archived", icon=":material/inventory_2:", color="orange")
    if said.note:
        parts = [{"title": "Note", "source": "", "text": text_data(said.note)}]
        shown = f"{key}-{key_of(said.note)}"  # the reader draws itself again where this changes
        draw_reader({"shown": shown, "messages": [], "responses": parts}, key=shown)


def draw_said_form(run: ModelRun, tags: list[str], key_prefix: str) -> None:
    """The button that opens the form of name, note, tags (of which the project has some) and archive."""
    said, key = run.said, f"{key_prefix}-said-{run.number}"
    with st.popover("Name and note", icon=":material/edit:", key=f"{key}-open"):
        with st.form(f"{key}-form", border=False):
            st.text_input("Name", said.name, max_chars=LONGEST_NAME, placeholder=run.title, key=f"{key}-name")
            st.multiselect("Tags", tags, list(said.tags), accept_new_options=True, key=f"{key}-tags")
            st.text_area("Note, in Markdown", said.note, max_chars=LONGEST_NOTE, height=140, key=f"{key}-note")
            st.form_submit_button("Save", type="primary", on_click=save_said, args=(run, key))
        word = "Take out of the archive" if said.archived else "Archive"
        st.button(
            word,
            key=f"{key}-archive",
            icon=":material/unarchive:" if said.archived else ":material/archive:",
            help="Archived runs are hidden until asked for; nothing of them is deleted.",
            on_click=change,
            args=(run,),
            kwargs={"archived": not said.archived},
        )


def save_said(run: ModelRun, key: str) -> None:
    """Stores what stands in the form."""
    fields = st.session_state
    change(run, name=fields[f"{key}-name"], note=fields[f"{key}-note"], tags=fields[f"{key}-tags"])


def change(run: ModelRun, **values: object) -> None:
    """Stores what is said of a run."""
    notes, project_id = current_store().run_notes, run.job.project_id
    act("Saved.", notes.change, current_actor(), project_id, run.job.run_dir, **values)
