"""Comparisons: find what was imported by whatever is known of it, see its votes, and act on all that was found."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import plainly
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.page_list import page_at
from annotate_app.pages.views.workbench.bulk_view import draw_actions
from annotate_app.pages.views.workbench.filter_form import draw_filter, read_filter, read_page, write_filter
from annotate_app.pages.views.workbench.list_view import AT_ONCE, draw_count, draw_list, draw_pages
from annotate_app.pages.views.workbench.one_view import draw_one
from annotate_app.pages.views.workbench.saved_bar import draw_saved
from annotate_app.store.workbench.comparison_filter import ComparisonFilter


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("Comparisons")
        store, actor, project = current_store(), current_actor(), current_project()
        try:
            chosen = read_filter()
        except ValueError as error:
            draw_misread(error)
            return
        draw_refused()
        rubric = store.projects.rubric(actor, project.id).rubric
        vocabulary = store.browsing.vocabulary(actor, project.id)
        draw_filter(chosen, vocabulary, rubric)
        number = read_page()
        found = store.browsing.page(actor, project.id, chosen, number=number, size=AT_ONCE)
        num_all = store.browsing.count(actor, project.id)
        if not num_all:
            st.info("Nothing has been imported yet.", icon=":material/upload_file:")
            st.page_link(page_at("import_data"))
            return
        counted, views = st.columns([5, 1], vertical_alignment="center")
        with counted:
            draw_count(found, num_all, chosen)
        with views:
            draw_saved(project, chosen)
        picked = []
        if found.page:
            picked = draw_list(found.page) or (found.page if len(chosen.keys) == 1 else [])
        elif found.total:
            st.info("This page is past the last one.", icon=":material/last_page:")
        else:
            st.info("No comparison is like that.", icon=":material/search_off:")
        draw_pages(found.total, number)
        draw_actions(project, rubric, vocabulary, chosen, found.total, [] if chosen.keys else picked)
        if len(picked) == 1:
            draw_one(project, picked[0])
        elif found.page and not picked:
            st.caption("Choose a row to see the comparison, its votes and its settings.")


def draw_misread(error: ValueError) -> None:
    """Says what in the address is no filter, and offers all."""
    st.error("The address of this page says what no filter is:", icon=":material/link_off:")
    st.text(str(error))
    st.button("Show all", on_click=write_filter, args=(ComparisonFilter(),))


def draw_refused() -> None:
    """Says once why a field was not taken."""
    refused = st.session_state.pop("comparisons-refused", None)
    if refused is not None:
        st.error("The filter stays as it was:", icon=":material/block:")
        st.text(refused)
