"""Saved views on the page Comparisons: open one, keep this one, rename, delete."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.views.workbench.filter_form import write_filter
from annotate_app.store.projects.projects import Project
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.store.workbench.saved_views import SavedView

NEW = "comparisons-view-name"


def draw_saved(project: Project, chosen: ComparisonFilter) -> None:
    """The views that there are, and the way to keep this one."""
    views = current_store().saved_views.list(current_actor(), project.id)
    with st.popover("Views", icon=":material/bookmark:", width="stretch"):
        for view in views:
            draw_view(project, view)
        if not views:
            st.caption("A view is a filter under a name, for everybody who leads the project.")
        with st.form("comparisons-save", border=False, clear_on_submit=True):
            st.text_input("Save this filter as", key=NEW, max_chars=120)
            st.form_submit_button("Save view", on_click=save, args=(project.id, chosen), disabled=not chosen.narrows)
        if not chosen.narrows:
            st.caption("There is no filter to save yet.")


def draw_view(project: Project, view: SavedView) -> None:
    """One view: a button that opens it, and what changes it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Open", key=f"view-open-{view.id}", on_click=open_view, args=(view,), icon=":material/filter_alt:")
        st.text(view.name)
        st.button(
            "Delete",
            key=f"view-delete-{view.id}",
            icon=":material/delete:",
            type="tertiary",
            help="Deletes the name, never a comparison.",
            on_click=act,
            args=("View deleted.", current_store().saved_views.delete, current_actor(), project.id, view.id),
        )
    st.text_input(
        "Name of the view",
        view.name,
        key=f"view-name-{view.id}",
        max_chars=120,
        label_visibility="collapsed",
        on_change=rename,
        args=(project.id, view.id),
    )


def open_view(view: SavedView) -> None:
    """Puts a view into the page's address."""
    chosen = act("", view.chosen)
    if chosen is not None:
        write_filter(chosen)


def save(project_id: int, chosen: ComparisonFilter) -> None:
    """Keeps the filter under the name of the form."""
    act("View saved.", current_store().saved_views.save, current_actor(), project_id, st.session_state[NEW], chosen)


def rename(project_id: int, view_id: int) -> None:
    """Gives a view the name of its field."""
    name = st.session_state[f"view-name-{view_id}"]
    act("View renamed.", current_store().saved_views.rename, current_actor(), project_id, view_id, name)
