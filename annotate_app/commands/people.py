"""`user add|list|role|invite|invites|revoke|password|join`: accounts, and who works on which project.

Passwords never stand in arguments.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from annotate_app.access import ROLES
from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.times import stamp

if TYPE_CHECKING:
    from annotate_app.store.people.accounts import User
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
    parser.add_argument("--name", help="name of the account (default: the invited choose)")
    parser.add_argument("--role", choices=ROLES, default="annotator", help="what the account may do")
    parser.add_argument("--project", help="name or number of the project to join")
    parser.add_argument("--group", default="", help="annotator group in that project")
    parser.add_argument("--url", default="http://localhost:8501", help="address of the app")


def _invite(options: argparse.Namespace) -> int:
    from annotate_app.server.sign_in_pages import invite_address
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        project_id = None if options.project is None else store.projects.get(ACTOR, options.project).id
        token = store.people.create_invite(
            ACTOR, role=options.role, name=options.name, project_id=project_id, group=options.group
        )
        print(invite_address(options.url, token))
        return 0


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
        print(
            f"{invite.id}  {invite.name or '(any name)'}  {purpose}{place}"
            f"  by {invite.created_by}  until {stamp(invite.expires_at)} UTC"
        )
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=str, help="the invite's id, as `annotate-app user invites` lists it")


def _revoke(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        store.people.revoke_invite(ACTOR, options.id)
        print(f"invite {options.id} has ended")
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
    Command(name="user invite", help="print a link that works once", arguments=_invite_arguments, run=_invite),
    Command(name="user invites", help="the links that work now", arguments=_invites_arguments, run=_invites),
    Command(name="user revoke", help="end a link of an invitation", arguments=_revoke_arguments, run=_revoke),
    Command(name="user password", help="set a password", arguments=_named_password_arguments, run=_password),
    Command(name="user join", help="make an account a member of a project", arguments=_join_arguments, run=_join),
)
