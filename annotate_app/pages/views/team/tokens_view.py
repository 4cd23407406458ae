"""API tokens on the page Account: making one, which is shown once, seeing when each was used, ending them."""

from __future__ import annotations

import time

import streamlit as st

from annotate_app.access import ROLES
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.language import say
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.store.people.api_tokens import ApiToken
from annotate_app.times import ago

DAYS = (30, 90, 365, 0)
DAY_S = 86_400.0
MADE = "token-made"


def draw_tokens() -> None:
    """Draws the own tokens and the form for another."""
    st.header(say("tokens.title"))
    st.caption(say("tokens.help"))
    draw_made()
    tokens = [token for token in current_store().api_tokens.list(current_actor()) if token.works]
    for token in tokens:
        draw_token(token)
    with st.expander(say("tokens.new"), expanded=False, icon=":material/key:"):
        draw_form()


def draw_made() -> None:
    """The token that was just made: here and never again."""
    secret = st.session_state.pop(MADE, None)
    if secret is not None:
        with st.container(border=True, key="token-made-box"):
            st.text(say("tokens.shown_once"))
            st.code(secret, language=None, wrap_lines=True)


def draw_token(token: ApiToken) -> None:
    """One token and the button that ends it."""
    with st.container(border=True, key=f"token-{token.id}"):
        left, right = st.columns([5, 2], vertical_alignment="center")
        where = token.project or say("tokens.all_projects")
        left.markdown(f"**{as_markdown(token.name)}** · {say('tokens.role_' + token.role)} · {as_markdown(where)}")
        used = say("tokens.never_used") if not token.last_used_at else say("tokens.used", ago=ago(token.last_used_at))
        end = f"{minute_of(token.expires_at)} ({zone_name()})" if token.expires_at else ""
        until = say("tokens.until", time=end) if end else say("tokens.for_good")
        left.caption(f"{used} · {until}")
        arguments = (say("tokens.revoked"), current_store().api_tokens.revoke, current_actor(), token.id)
        right.button(say("tokens.revoke"), key=f"token-revoke-{token.id}", on_click=act, args=arguments)


def draw_form() -> None:
    """The form for a new token."""
    actor = current_actor()
    roles = [role for role in ROLES if actor.is_at_least(role)]
    projects = {project.id: project.name for project in current_store().projects.list(actor) if not project.archived}
    with st.form("token", clear_on_submit=True, border=False, width=560):
        st.text_input(say("tokens.purpose"), key="token-name", placeholder=say("tokens.example"), max_chars=120)
        role, project = st.columns(2)
        role.selectbox(say("tokens.role"), roles, key="token-role", format_func=lambda name: say(f"tokens.role_{name}"))
        project.selectbox(
            say("tokens.project"),
            [None, *projects],
            key="token-project",
            format_func=lambda key: say("tokens.all_projects") if key is None else projects[key],
        )
        st.selectbox(
            say("tokens.days"),
            DAYS,
            key="token-days",
            format_func=lambda days: say("tokens.some_days", days=days) if days else say("tokens.for_good"),
        )
        st.form_submit_button(say("tokens.make"), on_click=make_token)


def make_token() -> None:
    """Makes the token of the form and keeps it for one drawing."""
    fields = st.session_state
    days = fields["token-days"]
    made = act(
        say("tokens.made"),
        current_store().api_tokens.create,
        current_actor(),
        fields["token-name"],
        role=fields["token-role"],
        project_id=fields["token-project"],
        expires_at=time.time() + days * DAY_S if days else None,
    )
    if made is not None:
        st.session_state[MADE] = made.secret
