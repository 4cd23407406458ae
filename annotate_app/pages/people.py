"""People: accounts and invitations for admins; who works on the project, in which group, for its leads."""

from __future__ import annotations

from typing import Literal, TypeVar
from urllib.parse import urlsplit

import streamlit as st

from annotate_app.access import ROLES, Actor, UserRole
from annotate_app.pages.kit.button_feedback import act, plainly
from annotate_app.pages.kit.chosen_names import as_markdown
from annotate_app.pages.kit.context import current_actor, current_store, forget_sessions
from annotate_app.server.sign_in_pages import invite_address
from annotate_app.store.people.accounts import User
from annotate_app.store.people.members import Member
from annotate_app.store.projects.projects import Project
from annotate_app.times import stamp

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
        draw_invite(actor, projects)
        draw_open_invites(actor)
        people = store.people.list(actor)
        chosen = next((item for item in projects if item.name == st.session_state.get("project")), None)
        if chosen is not None:
            st.subheader("Members")
            st.text(chosen.name)
            draw_members(actor, chosen, people)
        if actor.is_at_least("admin"):
            st.subheader("Accounts")
            for user in find(people, "account-find"):
                draw_account(actor, user)


def find(people: list[Named], key: str) -> list[Named]:
    """Finds the people to draw: all if at most SHOWN, else those that a search field asks for, up to SHOWN."""
    if len(people) <= SHOWN:
        return people
    wanted = st.text_input(f"Find among {len(people)}", key=key, placeholder="part of a name").casefold()
    matches = [person for person in people if wanted in person.name.casefold()]
    if len(matches) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(matches)}.")
    return matches[:SHOWN]


def draw_invite(actor: Actor, projects: list[Project]) -> None:
    """The form that makes a one-time link, and the link."""
    link = st.session_state.pop("invite-link", None)
    if link:
        st.success("Send this link. It works once, within three days, and is shown only now.", icon=":material/link:")
        st.code(link, language=None)
    roles = ROLES if actor.role == "admin" else ("annotator", "adjudicator")
    with st.expander("Invite somebody", icon=":material/person_add:", expanded=False), st.form("invite", border=False):
        left, middle, right, last = st.columns(4)
        left.text_input("Name", key="invite-name", max_chars=120, help="Leave empty to let them choose.")
        middle.selectbox("Role", roles, key="invite-role")
        right.selectbox(
            "Project",
            [None, *projects] if actor.role == "admin" else projects,
            format_func=lambda project: project.name if project else "none yet",
            key="invite-project",
        )
        last.text_input("Group", key="invite-group", max_chars=64, help="Only where the design asks for groups.")
        st.form_submit_button("Make an invitation", type="primary", on_click=invite)


def invite() -> None:
    """Makes the invitation of the form and keeps its link for the next drawing."""
    fields = st.session_state
    project = fields["invite-project"]
    token = act(
        "Invitation made.",
        current_store().people.create_invite,
        current_actor(),
        role=fields["invite-role"],
        name=fields["invite-name"].strip() or None,
        project_id=project.id if project else None,
        group=fields["invite-group"].strip(),
    )
    if token is not None:
        keep_link(token)


def keep_link(token: str) -> None:
    """Shows an invitation's link on the next drawing, with the address this browser came by."""
    parts = urlsplit(st.context.url or "")
    st.session_state["invite-link"] = invite_address(f"{parts.scheme}://{parts.netloc}", token)


def draw_open_invites(actor: Actor) -> None:
    """The links that work now, each with a button that ends it."""
    invites = current_store().people.invites(actor)
    if not invites:
        return
    with st.expander(f"Open invitations: {len(invites)}", icon=":material/mail:", key="open-invites"):
        for item in invites:
            with st.container(border=True, key=f"open-invite-{item.id}"):
                words, button = st.columns([6, 2], vertical_alignment="center")
                purpose = "a new password" if item.resets else f"the role {item.role}"
                parts = [f"For {item.name or 'whoever opens it'}: {purpose}", *([item.project] if item.project else [])]
                words.text(", ".join([*parts, *([f"group {item.group}"] if item.group else [])]))
                words.text(f"Made by {item.created_by}, works until {stamp(item.expires_at)} UTC")
                button.button("End", key=f"end-invite-{item.id}", on_click=end_invite, args=(item.id,), width="stretch")


def end_invite(invite_id: str) -> None:
    """Ends an invitation, so that its link leads nowhere."""
    act("Invitation ended.", current_store().people.revoke_invite, current_actor(), invite_id)


def draw_members(actor: Actor, project: Project, people: list[User]) -> None:
    """Who works on the project, and the form that adds somebody."""
    members = current_store().projects.members(actor, project.id)
    for member in find(members, f"member-find-{project.id}"):
        draw_member(project, member)
    inside = {member.user_id for member in members}
    outside = [user for user in people if user.id not in inside and user.active]
    if outside:
        with st.form(f"add-{project.id}", border=False):
            left, middle, right = st.columns([3, 3, 2], vertical_alignment="bottom")
            left.selectbox("Add", outside, format_func=lambda user: user.name, key="add-user")
            middle.text_input("Group", key="add-group", max_chars=64)
            right.form_submit_button("Add to project", on_click=add_member, args=(project.id,), width="stretch")


def add_member(project_id: int) -> None:
    """Adds the chosen account to the project."""
    fields = st.session_state
    projects = current_store().projects
    user, group = fields["add-user"], fields["add-group"].strip()
    act(f"{as_markdown(user.name)} added.", projects.add_member, current_actor(), project_id, user.id, group)


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
            st.caption(f"{words}, since {stamp(user.created_at)[:10]}{'' if user.active else ', closed'}")
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
        keep_link(token)


def revoke(user_id: int) -> None:
    """Signs an account out everywhere."""
    act("Signed out everywhere.", current_store().people.revoke_sessions, current_actor(), user_id)
    forget_sessions()


def set_active(user: User) -> None:
    """Closes an account, or opens it again."""
    done = "Account closed." if user.active else "Account open."
    act(done, current_store().people.set_active, current_actor(), user.id, not user.active)
    forget_sessions()
