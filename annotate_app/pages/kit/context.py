"""The context of a page: the store, the acting user and the chosen project.

A page module `annotate_app/pages/<name>.py` has a function `page()` that draws it; `annotate_app/app.py` lists them.
Tests under AppTest put a session token in the place of `session_token`.
"""

from __future__ import annotations

import html

import streamlit as st

from annotate_app.access import Actor
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.page_list import page_at
from annotate_app.server.sessions import SESSION_HEADER, open_sessions, open_store
from annotate_app.store.base.database import database_url
from annotate_app.store.people.accounts import User
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.words import choose_language, say

PROJECT = "project"
"""Names the chosen project, in the address and in the state of a tab."""
_ADDRESS, _UNKNOWN = "project-address", "project-unknown"
"""What the address named when the page was drawn last; a project that it names and that the reader is not in."""


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
        draw_way_in()
        st.stop()
    return user


def draw_way_in() -> None:
    """Says that nobody is signed in any more, and offers the way in that leads back to this page.

    Plain HTML with a plain link: what it needs is in every tab already. The link is empty, which asks for this very
    address again; the door remembers it and asks to sign in.
    """
    tongue = choose_language("", _accepted())
    texts = {name: html.escape(say(tongue, f"entrance.{name}")) for name in ("signed_out", "kept", "sign_in_again")}
    st.html(
        f'<div role="alert" lang="{tongue}" class="signed-out"><p><strong>{texts["signed_out"]}</strong> '
        f'{texts["kept"]}</p><p><a href="" target="_self">{texts["sign_in_again"]}</a></p>'
        "</div>"
    )


def current_actor() -> Actor:
    """The signed-in user with the role they have now."""
    return current_store().people.actor_of(current_user())


def forget_sessions() -> None:
    """Drops all cached sessions; to be called after a role, an account or a session has changed."""
    open_sessions(database_url()).forget()


def choose_project() -> Project | None:
    """Draws the choice of project, always kept in the address bar; None where there is no project to choose.

    An address may name a project that the reader is not in: then none is chosen in its place without a word.
    """
    state, address = st.session_state, st.query_params
    projects = [project for project in current_store().projects.list(current_actor()) if not project.archived]
    names = [project.name for project in projects]
    asked = address.get(PROJECT, "")
    if asked and asked != state.get(_ADDRESS):  # a link, a bookmark, or a step back
        state[PROJECT], state[_UNKNOWN] = (asked, None) if asked in names else (None, asked)
    if state.get(PROJECT) not in names and not state.get(_UNKNOWN):
        state[PROJECT] = next((name for name in (state.get(_ADDRESS), *names) if name in names), None)
    if not names:
        return None
    name = st.selectbox("Project", names, index=None, placeholder="Choose a project", key=PROJECT)
    if name is None:
        state[_ADDRESS] = asked
        return None
    state[_UNKNOWN], state[_ADDRESS] = None, name
    if asked != name:
        address[PROJECT] = name
    chosen = next(project for project in projects if project.name == name)
    open_sessions(database_url()).let_in(current_user(), chosen.id)
    return chosen


def current_project() -> Project:
    """The chosen project; stops the run with what to do where there is none."""
    name = st.session_state.get(PROJECT)
    if name is None:
        draw_no_project()
        st.stop()
    return current_store().projects.get(current_actor(), name)


def draw_no_project() -> None:
    """Why no project is open: the address names one that the reader is not in, or there is none yet."""
    unknown = st.session_state.get(_UNKNOWN)
    tongue = choose_language(current_user().language, _accepted())
    if unknown:
        st.info(as_markdown(say(tongue, "no_project.unknown", name=unknown)), icon=":material/folder_off:")
        st.text(say(tongue, "no_project.unknown_why"))
    elif current_actor().is_at_least("lead"):
        st.info("There is no project of yours yet.", icon=":material/folder_off:")
        st.page_link(page_at("overview"), label="Make the first one", icon=":material/arrow_forward:")
    else:
        st.info(say(tongue, "no_project.title"), icon=":material/folder_off:")
        st.text(say(tongue, "no_project.waits"))


def _accepted() -> str:
    return st.context.headers.get("Accept-Language", "")
