"""The labeling page: one component that takes the keys, and the desk behind it; everything around it stays still."""

from __future__ import annotations

import streamlit as st

from annotate_app.access import Actor
from annotate_app.labeling.desk import Desk
from annotate_app.pages.kit.context import current_actor, current_project, current_store
from annotate_app.pages.kit.labeler_component import mount_labeler
from annotate_app.pages.kit.language import current_language
from annotate_app.pages.kit.reader_clock import reader_zone
from annotate_app.pages.views.team.crowd_ending import draw_ending, has_ended
from annotate_app.protocol.leases import LeaseError
from annotate_app.store.work.member_at_work import NoSeatError

# The work takes the window: no wide margins, no header that covers the first line, and the sidebar is folded until a
# key (`frontend/sidebar.js`) unfolds it.
STYLE = """<style>
@media (min-width: 769px) {
  .stMainBlockContainer { padding: 0.5rem 1.2rem 0.4rem; max-width: none; }
  .stAppHeader { display: none; }
  html:not(.tiebreak-sidebar) .stSidebar { display: none; }
}
@media (max-width: 768px) { .stMainBlockContainer { padding: 4rem 0.8rem 0; } }
</style>"""


def page() -> None:
    """Draws the labeling surface for the chosen project."""
    project = current_project()
    actor = current_actor()
    try:
        desk = take_desk(project.id, actor)
    except NoSeatError as error:
        st.info(error.in_language(current_language()), icon=":material/lock:")
        return
    if has_ended(desk):
        draw_ending(desk)
        return
    st.html(STYLE)  # only where the desk is: it has the way back to the sidebar
    st.session_state["desk"] = desk
    st.session_state.pop("labeler_message", None)
    draw_labeler(project.id)


def take_desk(project_id: int, actor: Actor) -> Desk:
    """The desk of this tab, or a new one; with the judgment on it that another page asked to change."""
    store = current_store()
    desk: Desk | None = st.session_state.get("desk")
    if desk is not None and (desk.project_id, desk.actor) == (project_id, actor):
        desk.language, desk.zone = current_language(), reader_zone()
        desk.refresh(store)
    else:
        desk = Desk.open(store, actor, project_id, current_language(), reader_zone())
    reopened = st.session_state.pop("reopen", None)
    if reopened is not None:
        try:
            desk.reopen(store, reopened)
        except LeaseError as error:
            desk.notice = error.in_language(desk.language)
    return desk


@st.fragment
def draw_labeler(project_id: int) -> None:
    """The component alone reruns with every judgment; texts that the browser holds are not sent again."""
    if has_ended(st.session_state["desk"]):
        st.rerun()
    key = f"labeler-{project_id}"
    message = st.session_state.pop("labeler_message", None)
    mount_labeler()(
        key=key, data=st.session_state["desk"].data(message), on_message_change=receive_message, height="content"
    )


def receive_message() -> None:
    """Hands the browser's message to the desk, as the user who is signed in now."""
    desk: Desk = st.session_state["desk"]
    desk.actor = current_actor()
    message = st.session_state[f"labeler-{desk.project_id}"].message
    if message is None:
        return
    st.session_state["labeler_message"] = message
    desk.receive(current_store(), message)
