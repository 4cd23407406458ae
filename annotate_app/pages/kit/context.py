"""The context of a page: the store, the acting user and the chosen project.

A page module `annotate_app/pages/<name>.py` has a function `page()` that draws it; `annotate_app/app.py` lists them.
Tests under AppTest put a session token in the place of `session_token`.
"""

from __future__ import annotations

import streamlit as st

from annotate_app.access import Actor
from annotate_app.server.sessions import SESSION_HEADER, open_sessions, open_store
from annotate_app.store.base.database import database_url
from annotate_app.store.people.accounts import User
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store


def current_store() -> Store:
    """The process's store."""
    return open_store(database_url())


def session_token() -> str:
    """The session that the door recognised when the page's connection was opened."""
    return st.context.headers.get(SESSION_HEADER, "")


def client_address() -> str:
    """Where the page's connection comes from, empty where that is not known."""
    return st.context.ip_address or ""


def current_user() -> User:
    """The signed-in user, checked against the database at most ten seconds ago; stops the run if there is none."""
    user = open_sessions(database_url()).user(session_token())
    if user is None:
        st.warning("You are signed out.", icon=":material/lock:")
        st.link_button("Sign in", "/sign-in")
        st.stop()
    return user


def current_actor() -> Actor:
    """The signed-in user with the role they have now."""
    return current_store().people.actor_of(current_user())


def forget_sessions() -> None:
    """Drops all cached sessions; to be called after a role, an account or a session has changed."""
    open_sessions(database_url()).forget()


def choose_project() -> Project | None:
    """Draws the choice of project, kept in the address bar; None where there is no project."""
    projects = [project for project in current_store().projects.list(current_actor()) if not project.archived]
    names = [project.name for project in projects]
    if not names:
        st.session_state.pop("project", None)
        return None
    if st.session_state.get("project") not in names:
        st.session_state.pop("project", None)
    name = st.selectbox("Project", names, key="project", bind="query-params")
    chosen = next(project for project in projects if project.name == name)
    open_sessions(database_url()).let_in(current_user(), chosen.id)
    return chosen


def current_project() -> Project:
    """The chosen project; stops the run with a hint if there is none."""
    name = st.session_state.get("project")
    if name is None:
        st.info("You are in no project yet. A lead can add you to one.", icon=":material/folder_off:")
        st.stop()
    return current_store().projects.get(current_actor(), name)
