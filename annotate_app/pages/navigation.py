"""The sidebar: the pages a role may open, the project, notices, and the way out."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from importlib.util import find_spec

import streamlit as st

from annotate_app.access import Actor, UserRole
from annotate_app.pages.context import choose_project, current_actor, current_store
from annotate_app.store.projects import Project

# Section, least role, module under annotate_app.pages, title, icon. The first page a role may open is its front page.
LISTED: tuple[tuple[str, UserRole, str, str, str], ...] = (
    ("", "lead", "overview", "Overview", "dashboard"),
    ("", "annotator", "label", "Label", "balance"),
    ("", "annotator", "my_work", "My work", "history"),
    ("Results", "adjudicator", "adjudicate", "Adjudicate", "gavel"),
    ("Results", "lead", "agreement", "Agreement", "handshake"),
    ("Results", "lead", "quality", "Quality", "fact_check"),
    ("Results", "lead", "leaderboard", "Leaderboard", "leaderboard"),
    ("Project", "lead", "rubric", "Rubric", "rule"),
    ("Project", "lead", "import_data", "Import", "upload_file"),
    ("Project", "lead", "export", "Export", "download"),
    ("Workspace", "lead", "projects", "Projects", "folder"),
    ("Workspace", "lead", "people", "People", "group"),
    ("Workspace", "lead", "jobs_page", "Jobs", "pending_actions"),
    ("Workspace", "lead", "audit", "Audit log", "receipt_long"),
    ("Workspace", "annotator", "account", "Account", "account_circle"),
)


def show() -> None:
    """Draws the sidebar and runs the page that was asked for."""
    actor = current_actor()
    page = st.navigation(pages_of(actor), position="sidebar", expanded=True)
    with st.sidebar:
        project = choose_project()
        draw_notices(actor, project)
    if project is not None and project.simulated:
        draw_simulation_banner(actor)
    page.run()


def pages_of(actor: Actor) -> dict[str, list]:
    """By section, the pages this role may open."""
    sections: dict[str, list] = {}
    for section, role, module, title, icon in LISTED:
        if actor.is_at_least(role) and find_spec(f"annotate_app.pages.{module}") is not None:
            page = st.Page(
                _loader(module), title=title, icon=f":material/{icon}:", url_path=module, default=not sections
            )
            sections.setdefault(section, []).append(page)
    return sections


def _loader(module: str) -> Callable[[], None]:
    def load() -> None:
        importlib.import_module(f"annotate_app.pages.{module}").page()

    return load


def draw_notices(actor: Actor, project: Project | None) -> None:
    """Unread notices of the project, for its leads."""
    if project is None or not actor.is_at_least("lead"):
        return
    store = current_store()
    for notice in store.notices.list(actor, project.id, unread_only=True)[:3]:
        with st.container(border=True, key=f"notice-{notice.id}"):
            st.text(notice.text)
            st.button(
                "Mark as read",
                key=f"read-{notice.id}",
                type="tertiary",
                on_click=store.notices.mark_read,
                args=(actor, notice.id),
            )


def draw_simulation_banner(actor: Actor) -> None:
    """Says what in this project nobody wrote, and offers a way to an empty one."""
    text = "Demo project: its annotators and their judgments are simulated."
    columns = st.columns([4, 1], vertical_alignment="center")
    columns[0].info(text, icon=":material/science:")
    if actor.is_at_least("lead") and columns[1].button("Start an empty project", key="leave-demo", width="stretch"):
        st.session_state["new_project"] = True
        st.switch_page(st.session_state["page_projects"])
