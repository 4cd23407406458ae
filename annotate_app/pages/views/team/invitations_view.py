"""Invitations: links for one or many people at once, and those that are open, to be ended."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from urllib.parse import urlsplit

import streamlit as st

from annotate_app.access import ROLES, Actor, UserRole
from annotate_app.pages.kit.button_feedback import act
from annotate_app.pages.kit.context import current_actor, current_store
from annotate_app.pages.kit.reader_clock import minute_of, zone_name
from annotate_app.server.sign_in_pages import invite_address
from annotate_app.store.people.invitation_list import MOST_INVITATIONS, Wanted, read_invitations
from annotate_app.store.people.invites import OpenInvite
from annotate_app.store.projects.projects import Project
from rewardkit.data.tables.csv_rows import guard

LINKS = "invite-links"
FORM_KEY = "invite-form"
"""Counts the forms that were sent: a new one is empty."""
AT_ONCE = 20


def draw_invitations(actor: Actor, projects: Sequence[Project], chosen: Project | None) -> None:
    """The form, the links that it made last, and what is open."""
    links = st.session_state.get(LINKS)
    with st.expander("Invite people", icon=":material/person_add:", key="invite-people", expanded=bool(links)):
        draw_form(actor, projects, chosen)
    if links:
        draw_links(links)
    draw_open(actor, chosen)


def draw_form(actor: Actor, projects: Sequence[Project], chosen: Project | None) -> None:
    """Who is invited, as what, to which project; the one that is open is chosen."""
    roles = ROLES if actor.role == "admin" else ("annotator", "adjudicator")
    choices: list[Project | None] = [None, *projects] if actor.role == "admin" else list(projects)
    if not choices:
        st.caption("You lead no project yet: people are invited to a project.")
        return
    turn = st.session_state.get(FORM_KEY, 0)
    with st.form("invite", border=False):
        left, right = st.columns([3, 2])
        left.text_area(
            "Names, one a line",
            key=f"invite-names-{turn}",
            height=150,
            placeholder="anna\nben, adjudicator\ncleo, annotator, experts",
            help="Behind a comma a role and a group, where they differ from those beside. Empty makes one link whose "
            "reader chooses a name.",
        )
        left.file_uploader(
            "Or a CSV file with the columns name, role, group", type=["csv", "tsv", "txt"], key=f"invite-file-{turn}"
        )
        right.selectbox("Role", roles, key="invite-role")
        right.selectbox(
            "Project",
            choices,
            index=choices.index(chosen) if chosen in choices else 0,
            format_func=lambda project: project.name if project else "none yet",
            key=f"invite-project-{chosen.id if chosen else 0}",
        )
        right.text_input("Group", key="invite-group", max_chars=64, help="Only where the design asks for groups.")
        right.number_input(
            "Links without a name",
            0,
            MOST_INVITATIONS,
            0,
            key=f"invite-nameless-{turn}",
            help="Each works once, for whoever opens it; they choose a name themselves.",
        )
        st.form_submit_button(
            "Make links", type="primary", on_click=invite, args=(f"invite-project-{chosen.id if chosen else 0}", turn)
        )


def invite(project_key: str, turn: int) -> None:
    """Makes the invitations of the form, all or none, and keeps their links."""
    fields, people = st.session_state, current_store().people
    project: Project | None = fields[project_key]
    wanted = act("", read_form, turn)
    if wanted is None:
        return
    count = "An invitation" if len(wanted) == 1 else f"{len(wanted)} invitations"
    actor, project_id = current_actor(), project.id if project else None
    tokens = act(f"{count} made.", people.create_invites, actor, wanted, project_id=project_id)
    if tokens is not None:
        where = project.name if project else ""
        keep_links(
            [
                made(token, name=one.name or "", role=one.role, project=where, group=one.group)
                for one, token in zip(wanted, tokens, strict=True)
            ]
        )
        fields[FORM_KEY] = turn + 1


def read_form(turn: int) -> list[Wanted]:
    """Who the form names: its lines, its file, and links without a name."""
    fields = st.session_state
    role, group = fields["invite-role"], fields["invite-group"].strip()
    text, file = fields[f"invite-names-{turn}"], fields[f"invite-file-{turn}"]
    if text.strip() and file is not None:
        raise ValueError("there are names in the field and in a file: give one of the two")
    if file is not None:
        try:
            text = file.getvalue().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file.name} is not UTF-8 text: save it as CSV UTF-8") from error
    wanted = read_invitations(text, role=role, group=group)
    if file is not None and not wanted:
        raise ValueError(f"{file.name} names nobody")
    nameless = int(fields[f"invite-nameless-{turn}"]) or (0 if wanted else 1)
    return [*wanted, *[Wanted(name=None, role=role, group=group)] * nameless]


def made(token: str, *, name: str, role: UserRole, project: str = "", group: str = "") -> dict[str, str]:
    """A row of the table of links, with the address by which this browser came."""
    parts = urlsplit(st.context.url or "")
    address = invite_address(f"{parts.scheme}://{parts.netloc}", token)
    return {"name": name, "role": role, "project": project, "group": group, "link": address}


def keep_links(rows: list[dict[str, str]]) -> None:
    """Shows links from now on, beside those that are shown, until the reader says that they have them."""
    st.session_state[LINKS] = [*(st.session_state.get(LINKS) or []), *rows]


def draw_links(rows: list[dict[str, str]]) -> None:
    """The links that were made last: nothing but this tab holds them."""
    with st.container(border=True, key="invite-made"):
        st.success(
            "Send this link." if len(rows) == 1 else f"Send these {len(rows)} links, each to one person.",
            icon=":material/link:",
        )
        st.caption("A link works once, within three days. It is not stored: copy it before you leave this page.")
        if len(rows) == 1:
            st.code(rows[0]["link"], language=None, wrap_lines=True)
        else:
            st.dataframe([{**row, "name": row["name"] or "(chosen by who opens it)"} for row in rows], hide_index=True)
            with st.expander("As lines to copy", icon=":material/content_copy:"):
                st.code("\n".join(f"{row['name'] or '-'}\t{row['link']}" for row in rows), language=None, height=180)
        with st.container(horizontal=True):
            st.download_button(
                "Download links",
                table_of(rows),
                "invitations.csv",
                "text/csv",
                key="invite-download",
                icon=":material/download:",
                on_click="ignore",
            )
            st.button("I have them", key="invite-forget", type="tertiary", on_click=st.session_state.pop, args=(LINKS,))


def table_of(rows: list[dict[str, str]]) -> str:
    """The links as CSV; cells that a spreadsheet would run stand behind an apostrophe."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: guard(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def draw_open(actor: Actor, chosen: Project | None) -> None:
    """The links that work now, each with a button that ends it, and one that ends all of them."""
    invites = current_store().people.invites(actor)
    if not invites:
        return
    with st.expander(f"Open invitations: {len(invites)}", icon=":material/mail:", key="open-invites"):
        pages = -(-len(invites) // AT_ONCE)
        number = min(st.pagination(pages, key="open-invites-page"), pages) if pages > 1 else 1
        for item in invites[AT_ONCE * (number - 1) : AT_ONCE * number]:
            draw_one(item)
        with st.container(horizontal=True):
            here = [item for item in invites if chosen is not None and item.project == chosen.name]
            if chosen is not None and here and len(here) < len(invites):
                st.button(
                    f"End the {len(here)} of this project", key="end-invites-here", on_click=end_all, args=(chosen.id,)
                )
            if len(invites) > 1:
                st.button(f"End all {len(invites)}", key="end-invites-all", on_click=end_all, args=(None,))


def draw_one(item: OpenInvite) -> None:
    """One open invitation: for whom, as what, to where, by whom, until when."""
    with st.container(border=True, key=f"open-invite-{item.id}"):
        words, button = st.columns([6, 2], vertical_alignment="center")
        purpose = "a new password" if item.resets else f"the role {item.role}"
        parts = [f"For {item.name or 'whoever opens it'}: {purpose}", *([item.project] if item.project else [])]
        words.text(", ".join([*parts, *([f"group {item.group}"] if item.group else [])]))
        words.text(f"Made by {item.created_by}, works until {minute_of(item.expires_at)} ({zone_name()})")
        button.button("End", key=f"end-invite-{item.id}", on_click=end_invite, args=(item.id,), width="stretch")


def end_invite(invite_id: str) -> None:
    """Ends an invitation, so that its link leads nowhere."""
    act("Invitation ended.", current_store().people.revoke_invite, current_actor(), invite_id)


def end_all(project_id: int | None) -> None:
    """Ends all open invitations that the reader may end, of one project where it is named."""
    act("Invitations ended.", current_store().people.revoke_invites, current_actor(), project_id)
