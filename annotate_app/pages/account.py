"""The own account: role, language, password, signing out."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import client_address, current_actor, current_store, current_user, forget_sessions
from annotate_app.pages.kit.language import say
from annotate_app.pages.views.team.tokens_view import draw_tokens
from annotate_app.words import languages

SIGN_OUT = '<a href="/sign-out" target="_self">{text}</a>'
"""Not `st.link_button`: that leaves this tab open beside a new one."""


def page() -> None:
    """Draws the page."""
    with plainly():
        user = current_user()
        st.title(say("account.title"))
        st.text(f"{user.name}, {user.role}")
        st.html(SIGN_OUT.format(text=say("account.sign_out")))
        draw_language(user.language)
        if user.origin == "local" and user.has_password:
            draw_password()
        draw_tokens()


def draw_language(chosen: str) -> None:
    """The choice of the pages' language; the browser's is the first."""
    names = {"": say("account.as_browser")} | languages()
    st.session_state.setdefault("language", chosen if chosen in names else "")
    st.selectbox(
        say("account.language"),
        list(names),
        key="language",
        format_func=names.__getitem__,
        on_change=set_language,
        width=420,
    )


def set_language() -> None:
    """Keeps the language that was chosen."""
    act("", current_store().people.set_language, current_actor(), st.session_state["language"])
    forget_sessions()


def draw_password() -> None:
    """The form for a new password."""
    st.header(say("account.new_password"))
    st.caption(say("account.password_help"))
    with st.form("password", clear_on_submit=True, width=420):
        st.text_input(say("account.password_now"), type="password", key="password-old", autocomplete="current-password")
        st.text_input(say("account.new_password"), type="password", key="password-new", autocomplete="new-password")
        st.text_input(say("account.password_again"), type="password", key="password-again", autocomplete="new-password")
        st.form_submit_button(say("account.set_password"), on_click=set_password)


def set_password() -> None:
    """Sets the new password where the old one is right."""
    act(say("account.password_set"), _set_password)
    forget_sessions()


def _set_password() -> None:
    fields, people, user = st.session_state, current_store().people, current_user()
    if fields["password-new"] != fields["password-again"]:
        raise ValueError(say("account.differ"))
    if people.check_password(user.name, fields["password-old"], client_address()) is None:
        raise ValueError(say("account.wrong"))
    people.set_password(current_actor(), user.id, fields["password-new"])
