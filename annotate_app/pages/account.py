"""The own account: role, password, signing out."""

from __future__ import annotations

import streamlit as st

from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.context import client_address, current_actor, current_store, current_user, forget_sessions
from annotate_app.pages.views.tokens_view import draw_tokens

SIGN_OUT = '<a href="/sign-out" target="_self">Sign out</a>'
"""Not `st.link_button`: that leaves this tab open beside a new one."""


def page() -> None:
    """Draws the page."""
    with plainly():
        user = current_user()
        st.title("Account")
        st.text(f"{user.name}, {user.role}")
        st.html(SIGN_OUT)
        if user.origin == "local" and user.has_password:
            draw_password()
        draw_tokens()


def draw_password() -> None:
    """The form for a new password."""
    st.subheader("New password")
    st.caption("Setting one signs you out everywhere and ends your API tokens; sign in with the new one.")
    with st.form("password", clear_on_submit=True, width=420):
        st.text_input("Password now", type="password", key="password-old", autocomplete="current-password")
        st.text_input("New password", type="password", key="password-new", autocomplete="new-password")
        st.text_input("The same once more", type="password", key="password-again", autocomplete="new-password")
        st.form_submit_button("Set password", on_click=set_password)


def set_password() -> None:
    """Sets the new password where the old one is right."""
    act("Password set.", _set_password)
    forget_sessions()


def _set_password() -> None:
    fields, people, user = st.session_state, current_store().people, current_user()
    if fields["password-new"] != fields["password-again"]:
        raise ValueError("the two new passwords differ")
    if people.check_password(user.name, fields["password-old"], client_address()) is None:
        raise ValueError("the password now is wrong")
    people.set_password(current_actor(), user.id, fields["password-new"])
