"""`user add|list|role|invite|password|join`, `invites list|revoke`: accounts, and who works on which project.

Passwords never stand in arguments.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from annotate_app.access import ROLES
from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.times import stamp

if TYPE_CHECKING:
    from annotate_app.store.people.accounts import User
    from annotate_app.store.people.invitation_list import Wanted
    from annotate_app.store.store import Store


def _password_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def _read_password(options: argparse.Namespace) -> str:
    """Reads the first line of standard input, or a password typed twice at the prompt."""
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ValueError("there is no terminal to ask for the password: give it by --password-stdin")
    password = getpass.getpass("Password: ")
    if password != getpass.getpass("The same again: "):
        raise ValueError("the two passwords differ")
    return password


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name to sign in with")
    parser.add_argument("--role", choices=ROLES, default="annotator", help="what the account may do")
    parser.add_argument("--project", help="name or number of a project to make the account a member of")
    parser.add_argument("--group", default="", help="annotator group in that project")
    parser.add_argument("--no-password", action="store_true", help="signs in by OIDC or a proxy, or by an invite first")
    _password_arguments(parser)


def _add(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    password = None if options.no_password else _read_password(options)
    with Store.open(options.db) as store:
        project = None if options.project is None else store.projects.get(ACTOR, options.project)
        user = store.people.add(ACTOR, options.name, role=options.role, password=password)
        if project is not None:
            store.projects.add_member(ACTOR, project.id, user.id, options.group)
        print(f"{user.name} is {user.role}" + (f" and works on {project.name}" if project else ""))
        return 0


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the accounts as JSON")


def _list(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        users = store.people.list(ACTOR)
    if options.json:
        print_json([asdict(user) for user in users])
        return 0
    for user in users:
        print(f"{user.name}  {user.role}  {user.origin}{'' if user.active else '  closed'}")
    return 0


def _role_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the account")
    parser.add_argument("role", choices=ROLES, help="what it may do from now on")


def _role(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        user = _user(store, options.name)
        store.people.set_role(ACTOR, user.id, options.role)
        print(f"{user.name} is {options.role}")
        return 0


def _password(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        user = _user(store, options.name)
        store.people.set_password(ACTOR, user.id, _read_password(options))
        print(f"{user.name} has a new password; earlier sessions have ended")
        return 0


def _named_password_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the account")
    _password_arguments(parser)


def _join_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the account")
    parser.add_argument("project", help="name or number of the project")
    parser.add_argument("--group", default="", help="annotator group in the project")


def _join(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        user, project = _user(store, options.name), store.projects.get(ACTOR, options.project)
        store.projects.add_member(ACTOR, project.id, user.id, options.group)
        print(f"{user.name} works on {project.name}")
        return 0


def _invite_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", type=str, nargs="*", help="names of the accounts (default: one, the invited choose)")
    parser.add_argument("--name", help="name of the account, as one of NAMES")
    parser.add_argument("--csv", help="file with a name a line, or with the columns name, role and group")
    parser.add_argument("--role", choices=ROLES, default="annotator", help="what the accounts may do")
    parser.add_argument("--project", help="name or number of the project to join")
    parser.add_argument("--group", default="", help="annotator group in that project")
    parser.add_argument("--url", default="http://localhost:8501", help="address of the app")
    parser.add_argument("--json", action="store_true", help="print the links as JSON")


def _invite(options: argparse.Namespace) -> int:
    from annotate_app.server.sign_in_pages import invite_address
    from annotate_app.store.people.invitation_list import Wanted
    from annotate_app.store.store import Store

    wanted = _wanted(options)
    with Store.open(options.db) as store:
        project_id = None if options.project is None else store.projects.get(ACTOR, options.project).id
        if options.name is not None and not options.names and not options.csv:  # also to set a new password
            one = Wanted(name=options.name, role=options.role, group=options.group)
            arguments = {"role": one.role, "name": one.name, "project_id": project_id, "group": one.group}
            wanted, tokens = [one], [store.people.create_invite(ACTOR, **arguments)]
        else:
            tokens = store.people.create_invites(ACTOR, wanted, project_id=project_id)
    addresses = [invite_address(options.url, token) for token in tokens]
    if options.json:
        rows = [
            {"name": one.name, "role": one.role, "group": one.group, "link": address}
            for one, address in zip(wanted, addresses, strict=True)
        ]
        print_json(rows)
    elif len(wanted) == 1:
        print(addresses[0])
    else:
        for one, address in zip(wanted, addresses, strict=True):
            print(f"{one.name}\t{one.role}\t{address}")
    return 0


def _wanted(options: argparse.Namespace) -> list[Wanted]:
    """Reads who is to be invited: names on the command line, then those of a file; else one without a name."""
    from annotate_app.store.people.invitation_list import Wanted, read_invitations

    names = [*([options.name] if options.name else []), *options.names]
    wanted = [Wanted(name=name, role=options.role, group=options.group, place=name) for name in names]
    if options.csv:
        try:
            text = Path(options.csv).read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{options.csv} is not UTF-8 text: save it as CSV UTF-8") from error
        try:
            listed = read_invitations(text, role=options.role, group=options.group)
        except ValueError as error:
            raise ValueError(f"{options.csv}: {error}") from error
        if not listed:
            raise ValueError(f"{options.csv} names nobody")
        wanted += listed
    return wanted or [Wanted(name=None, role=options.role, group=options.group)]


def _invites_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the invites as JSON")


def _invites(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        invites = store.people.invites(ACTOR)
    if options.json:
        print_json([asdict(invite) for invite in invites])
        return 0
    for invite in invites:
        purpose = "new password" if invite.resets else invite.role
        place = f"  {invite.project}" if invite.project else ""
        group = f"  group {invite.group}" if invite.group else ""
        print(
            f"{invite.id}  {invite.name or '(any name)'}  {purpose}{place}{group}"
            f"  by {invite.created_by}  until {stamp(invite.expires_at)} UTC"
        )
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", type=str, nargs="*", help="ids of invites, as `annotate-app invites list` prints them")
    parser.add_argument("--all", action="store_true", help="end all that are open")
    parser.add_argument("--project", help="with --all: only those to this project, a name or number")
    parser.add_argument("--json", action="store_true", help="print what has ended as JSON")


def _revoke(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    if options.all == bool(options.ids) or (options.project and not options.all):
        raise ValueError("name the invites to end, or say --all (with --project for those of one project)")
    with Store.open(options.db) as store:
        if options.all:
            project_id = None if options.project is None else store.projects.get(ACTOR, options.project).id
            ended = store.people.revoke_invites(ACTOR, project_id)
        else:
            with store.together():
                for invite_id in options.ids:
                    store.people.revoke_invite(ACTOR, invite_id)
            ended = len(options.ids)
    if options.json:
        print_json({"ended": ended})
    elif len(options.ids) == 1:
        print(f"invite {options.ids[0]} has ended")
    else:
        print(f"{ended} invites have ended")
    return 0


def _user(store: Store, name: str) -> User:
    user = store.people.by_name(ACTOR, name)
    if user is None:
        raise ValueError(f"there is no user {name!r}")
    return user


COMMANDS = (
    Command(name="user add", help="make an account", arguments=_add_arguments, run=_add),
    Command(name="user list", help="all accounts", arguments=_list_arguments, run=_list),
    Command(name="user role", help="change what an account may do", arguments=_role_arguments, run=_role),
    Command(name="user invite", help="print links that work once", arguments=_invite_arguments, run=_invite),
    Command(name="user invites", help="as `invites list`", arguments=_invites_arguments, run=_invites),
    Command(name="user revoke", help="as `invites revoke`", arguments=_revoke_arguments, run=_revoke),
    Command(name="invites list", help="the links that work now", arguments=_invites_arguments, run=_invites),
    Command(name="invites revoke", help="end links of invitations", arguments=_revoke_arguments, run=_revoke),
    Command(name="user password", help="set a password", arguments=_named_password_arguments, run=_password),
    Command(name="user join", help="make an account a member of a project", arguments=_join_arguments, run=_join),
)
