"""The sidebar: the pages a role may open, the project, notices, and the way out."""

from __future__ import annotations

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from annotate_app.access import Actor
from annotate_app.pages import projects
from annotate_app.pages.kit.context import choose_project, current_actor, current_store
from annotate_app.pages.kit.language import say
from annotate_app.pages.kit.page_list import LISTED, page_at
from annotate_app.store.projects.projects import Project

MARK = str(Path(__file__).with_name("mark.svg"))
OWN_SURFACE = ("label",)
"""Pages that need the whole height: there the banner is in the sidebar."""
NOTICES_SHOWN = 20
# The project stands above the pages, which are about it; the keyboard follows the eye where the browser can.
STYLE = """<style>
[data-testid="stSidebarContent"] { display: flex; flex-direction: column; reading-flow: flex-visual; }
[data-testid="stSidebarUserContent"] { order: 1; padding-top: 0; padding-bottom: 0.5rem; flex: none; }
[data-testid="stSidebarNav"] { order: 2; padding-bottom: 2rem; flex: none; }
[data-testid="stSidebarUserContent"] [aria-label="Clear value"] { display: none; }
[class*="st-key-train-advanced"] textarea, [class*="st-key-rubric"] textarea, .st-key-new-own-rubric textarea {
  font-family: "Source Code Pro", monospace; font-size: 0.85rem; tab-size: 2; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.8; }
[data-testid^="stBaseButton-primary"], [data-testid^="stBaseButton-primary"] * { color: light-dark(#ffffff, #10201f); }
[data-testid="stMultiSelect"] span[title] { color: light-dark(#ffffff, #10201f); }
.signed-out { border: 1px solid; border-radius: 0.4rem; padding: 0.2rem 1rem; }
</style>"""


def show() -> None:
    """Draws the sidebar and runs the page that was asked for."""
    # Before the navigation: else the browser asks another host for the page's icon, to put it on the tab.
    st.set_page_config(page_icon=MARK, layout="wide")
    actor = current_actor()
    page = st.navigation(pages_of(actor), position="sidebar", expanded=True)
    st.set_page_config(page_title=f"{page.title} · Tiebreak")
    st.logo(MARK, size="large", link=None)
    st.html(STYLE)
    with st.sidebar:
        project = choose_project()
        draw_notices(actor, project)
    if project is not None and project.simulated:
        with st.sidebar if page.url_path in OWN_SURFACE else st.container():
            draw_simulation_banner(actor)
    page.run()


def pages_of(actor: Actor) -> dict[str, list[StreamlitPage]]:
    """The pages this role may open, by section."""
    front = st.Page(show_front, title="Tiebreak", url_path="home", default=True, visibility="hidden")
    sections: dict[str, list[StreamlitPage]] = {"": [front]}
    for section, role, module, title, _ in LISTED:
        if actor.is_at_least(role):
            section = section if actor.is_at_least("adjudicator") or not section else say("page.workspace")
            title = say(f"page.{module}") if role == "annotator" else title
            sections.setdefault(section, []).append(page_at(module, title))
    return sections


def show_front() -> None:
    """Redirects the bare address to the first page that the role may open."""
    actor = current_actor()
    st.switch_page(page_at(next(module for _, role, module, _, _ in LISTED if actor.is_at_least(role))))


def draw_notices(actor: Actor, project: Project | None) -> None:
    """Unread notices of the project, for its leads."""
    if project is None or not actor.is_at_least("lead"):
        return
    notices = current_store().notices.list(actor, project.id, unread_only=True)
    if not notices:
        return
    count = "1 notice" if len(notices) == 1 else f"{len(notices)} notices"
    with st.popover(count, icon=":material/notifications:", width="stretch", key="notices"):
        for notice in notices[:NOTICES_SHOWN]:
            with st.container(border=True, key=f"notice-{notice.id}"):
                st.text(notice.text)
                st.button(
                    "Mark as read", key=f"read-{notice.id}", type="tertiary", on_click=mark_read, args=(notice.id,)
                )
        if len(notices) > NOTICES_SHOWN:
            st.caption(f"and {len(notices) - NOTICES_SHOWN} more, on Overview")


def mark_read(notice_id: int) -> None:
    """Takes a notice out of the sidebar."""
    current_store().notices.mark_read(current_actor(), notice_id)


def draw_simulation_banner(actor: Actor) -> None:
    """Says what in this project is simulated, and offers a way to an empty project."""
    with st.container(border=True, key="simulated", horizontal=True, vertical_alignment="center"):
        st.markdown(":material/science: **Demo project.** Its annotators and their judgments are simulated.")
        if actor.is_at_least("lead"):
            projects.draw_start_empty("start-empty")
