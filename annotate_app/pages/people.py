"""People: accounts and invitations for admins; who works on the project, in which group, for its leads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import streamlit as st

from annotate_app.access import ROLES, Actor, UserRole
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_store, forget_sessions
from annotate_app.pages.kit.reader_clock import minute_of
from annotate_app.pages.views.team.invitations_view import draw_invitations, keep_links, made
from annotate_app.store.people.accounts import WITHOUT_SIGN_IN, User
from annotate_app.store.people.members import Member
from annotate_app.store.projects.projects import Project

Named = TypeVar("Named", User, Member)
SHOWN = 20
ORIGIN_WORDS = {
    "local": "password",
    "oidc": "organisation account",
    "proxy": "proxy",
    "simulated": "simulated",
    "imported": "imported, never signs in",
    "crowd": "comes by a crowd link",
}
STATE_LOOK: dict[str, Literal["green", "blue", "orange", "red"]] = {
    "active": "green",
    "qualifying": "blue",
    "paused": "orange",
    "failed": "red",
}


def page() -> None:
    """Draws the page."""
    with plainly():
        st.title("People")
        store, actor = current_store(), current_actor()
        projects = [project for project in store.projects.list(actor) if not project.archived]
        chosen = next((item for item in projects if item.name == st.session_state.get("project")), None)
        draw_invitations(actor, projects, chosen)
        people = store.people.list(actor)
        if chosen is not None:
            st.header("Members")
            st.text(chosen.name)
            draw_members(actor, chosen, people)
        if actor.is_at_least("admin"):
            st.header("Accounts")
            draw_accounts(actor, people)


def find(people: Sequence[Named], key: str, what: str) -> list[Named]:
    """The people of one page: a search field, and pages, appear where they are more than fit on one; both linkable."""
    if len(people) <= SHOWN:
        return list(people)
    words = st.text_input(
        f"Find among {len(people):,} {what}", key=f"{key}-find", placeholder="part of a name", bind="query-params"
    )
    matches = [person for person in people if words.casefold() in person.name.casefold()]
    if not matches:
        st.caption("Nobody is called so.")
    pages = max(1, -(-len(matches) // SHOWN))
    if st.session_state.get(f"{key}-page", 1) > pages:
        st.session_state[f"{key}-page"] = 1
    number = st.pagination(pages, key=f"{key}-page", bind="query-params") if pages > 1 else 1
    return matches[SHOWN * (number - 1) : SHOWN * number]


def signing_in(people: Sequence[User], key: str) -> list[User]:
    """Those who can sign in; the others, whom files and simulations name, where a switch asks for them."""
    real = [user for user in people if user.origin not in WITHOUT_SIGN_IN]
    if len(real) == len(people):
        return real
    label = f"Show {len(people) - len(real):,} who never sign in"
    ghosts = st.toggle(label, key=key, bind="query-params", help="Annotators of imported files, and simulated ones.")
    return list(people) if ghosts else real


def draw_accounts(actor: Actor, people: Sequence[User]) -> None:
    """All accounts, twenty at a time."""
    for user in find(signing_in(people, "accounts-all"), "accounts", "accounts"):
        draw_account(actor, user)


def draw_members(actor: Actor, project: Project, people: list[User]) -> None:
    """Who works on the project, and the form that adds somebody."""
    members = current_store().projects.members(actor, project.id)
    for member in find(members, "members", "members"):
        draw_member(project, member)
    inside = {member.user_id for member in members}
    outside = signing_in([user for user in people if user.id not in inside and user.active], "add-all")
    if not outside:
        return
    with st.form(f"add-{project.id}", border=False):
        left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
        left.multiselect(
            "Add", outside, format_func=lambda user: user.name, key="add-users", placeholder="Names of accounts"
        )
        middle.text_input("Group", key="add-group", max_chars=64)
        right.form_submit_button("Add to project", on_click=add_members, args=(project.id,), width="stretch")


def add_members(project_id: int) -> None:
    """Adds the chosen accounts to the project."""
    fields, projects = st.session_state, current_store().projects
    users, group = fields["add-users"], fields["add-group"].strip()
    if not users:
        act("", refuse_nobody)
    for user in users:
        act(f"{as_markdown(user.name)} added.", projects.add_member, current_actor(), project_id, user.id, group)


def refuse_nobody() -> None:
    """Says that nobody was chosen."""
    raise ValueError("nobody is chosen: choose one account or more under Add")


def draw_member(project: Project, member: Member) -> None:
    """One member: group, state, pause and remove."""
    key = f"{project.id}-{member.user_id}"
    paused = member.state in ("paused", "failed")
    with st.container(border=True, key=f"member-{key}"):
        name, group, buttons = st.columns([4, 3, 4], vertical_alignment="center")
        with name.container(horizontal=True, vertical_alignment="center"):
            st.text(member.name)
            st.badge(member.state, color=STATE_LOOK.get(member.state, "gray"))
        group.caption(f"{member.role}, {f'group {as_markdown(member.group)}' if member.group else 'no group'}")
        with buttons.container(horizontal=True, horizontal_alignment="right"):
            st.button(
                "Resume" if paused else "Pause",
                key=f"pause-{key}",
                on_click=set_state,
                args=(project.id, member.user_id, "active" if paused else "paused"),
            )
            st.button("Remove", key=f"remove-{key}", type="tertiary", on_click=remove, args=(project.id, member))


def set_state(project_id: int, user_id: int, state: str) -> None:
    """Pauses or resumes a member."""
    act("Done.", current_store().projects.set_member_state, current_actor(), project_id, user_id, state)


def remove(project_id: int, member: Member) -> None:
    """Takes a member out; what they judged stays."""
    done = f"{as_markdown(member.name)} removed; their judgments stay."
    act(done, current_store().projects.remove_member, current_actor(), project_id, member.user_id)


def draw_account(actor: Actor, user: User) -> None:
    """One account: role, sign-in, open or closed."""
    own = user.id == actor.user_id
    with st.container(border=True, key=f"account-{user.id}"):
        name, role, buttons = st.columns([4, 2, 5], vertical_alignment="center")
        with name:
            st.text(user.name)
            words = ORIGIN_WORDS[user.origin]
            words = "no password yet" if user.origin == "local" and not user.has_password else words
            st.caption(f"{words}, since {minute_of(user.created_at)[:10]}{'' if user.active else ', closed'}")
        role.selectbox(
            "Role",
            ROLES,
            ROLES.index(user.role),
            key=f"role-{user.id}",
            label_visibility="collapsed",
            disabled=own,
            on_change=change_role,
            args=(user.id,),
        )
        with buttons.container(horizontal=True, horizontal_alignment="right"):
            if user.origin in ("local", "oidc", "proxy"):
                arguments = {"type": "tertiary", "disabled": own}
                st.button("Password link", key=f"reset-{user.id}", on_click=reset, args=(user,), **arguments)
                st.button("Sign out", key=f"revoke-{user.id}", on_click=revoke, args=(user.id,), **arguments)
                word = "Close" if user.active else "Open"
                st.button(word, key=f"active-{user.id}", on_click=set_active, args=(user,), **arguments)


def change_role(user_id: int) -> None:
    """Gives an account the chosen role."""
    role: UserRole = st.session_state[f"role-{user_id}"]
    act("Role changed.", current_store().people.set_role, current_actor(), user_id, role)
    forget_sessions()


def reset(user: User) -> None:
    """Makes a link by which the account sets a new password."""
    people = current_store().people
    token = act("Link made.", people.create_invite, current_actor(), role=user.role, name=user.name)
    if token is not None:
        keep_links([made(token, name=user.name, role=user.role)])


def revoke(user_id: int) -> None:
    """Signs an account out everywhere."""
    act("Signed out everywhere.", current_store().people.revoke_sessions, current_actor(), user_id)
    forget_sessions()


def set_active(user: User) -> None:
    """Closes an account, or opens it again."""
    done = "Account closed." if user.active else "Account open."
    act(done, current_store().people.set_active, current_actor(), user.id, not user.active)
    forget_sessions()
