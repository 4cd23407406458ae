"""Settings: what the project is called, how it collects and releases judgments, and its archive."""

from __future__ import annotations

from typing import Any

import streamlit as st

from annotate_app.pages.design_form import draw_design, read_design
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import PROJECT, current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.store.projects.projects import Project


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Settings")
        project = current_project()
        current_actor().require("lead", "changing the settings")
        draw_shortage(project)
        with st.form(f"settings-{project.id}"):
            st.text_input("Name", project.name, max_chars=120, key=f"settings-{project.id}-name")
            st.text_area("Description", project.description, key=f"settings-{project.id}-description", height=68)
            draw_design(project.design, f"settings-{project.id}")
            st.form_submit_button("Save settings", type="primary", on_click=save, args=(project,))
        draw_elsewhere(project)
        draw_archive(project)


def draw_shortage(project: Project) -> None:
    """Says that the qualification asks for more items than have a known answer for it."""
    wanted = project.design.qualification_items
    if not wanted:
        return
    golds = current_store().comparisons.golds(current_actor(), project.id).values()
    marked = sum(gold.use == "qualification" for gold in golds)
    if marked >= wanted:
        return
    have = "none is" if not marked else "only 1 is" if marked == 1 else f"only {marked} are"
    ends = (
        f"A new annotator qualifies on {marked} instead."
        if marked
        else "A new annotator gets no pair at all until one is marked."
    )
    st.warning(
        f"The qualification asks for {wanted} items with a known answer, and {have} marked for it. {ends} Mark more on "
        "Comparisons (a known answer, used for the qualification), or ask for fewer.",
        icon=":material/rule:",
    )
    st.page_link(page_at("comparisons"), query_params={PROJECT: project.name})


def save(project: Project) -> None:
    """Stores what the form holds."""
    key = f"settings-{project.id}"
    design = act("", read_design, key)
    if design is None:
        return
    values: dict[str, Any] = {name: st.session_state[f"{key}-{name}"] for name in ("name", "description")}
    saved = act(
        "Settings saved.", current_store().projects.update, current_actor(), project.id, design=design, **values
    )
    if saved is not None and st.session_state.get(PROJECT) == project.name:
        st.session_state[PROJECT] = saved.name


def draw_elsewhere(project: Project) -> None:
    """What else belongs to a project, and has a page of its own."""
    with st.container(horizontal=True):
        for where in ("rubric", "people", "export"):
            st.page_link(page_at(where), query_params={PROJECT: project.name})


def draw_archive(project: Project) -> None:
    """The way out of sight; nothing is deleted."""
    st.header("Archive", anchor=False)
    st.caption("Nobody is given its pairs any more. Nothing is deleted: the page Projects restores it.")
    if st.button("Archive this project", key=f"settings-archive-{project.id}", on_click=archive, args=(project.id,)):
        st.switch_page(page_at("projects"))


def archive(project_id: int) -> None:
    """Archives the project."""
    act("Archived.", current_store().projects.update, current_actor(), project_id, archived=True)
