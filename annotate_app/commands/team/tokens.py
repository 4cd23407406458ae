"""`token create|list|revoke`: what programs show to the API in place of a password."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict

from annotate_app.access import ROLES
from annotate_app.commands.command import ACTOR, Command, print_json
from annotate_app.times import stamp

DAY_S = 86_400.0


def _create_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="name of the account whose rights the token lends")
    parser.add_argument("purpose", help="what the token is for, in a few words")
    parser.add_argument("--role", choices=ROLES, default="annotator", help="most that it may do")
    parser.add_argument("--project", help="name or number of the one project that it is for (default: all)")
    parser.add_argument("--days", type=float, default=0.0, help="days until it ends, 0 for never")
    parser.add_argument("--json", action="store_true", help="print the token and what is known of it as JSON")


def _create(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    if options.days < 0:
        raise ValueError(f"--days is {options.days:g}, allowed is 0 (never) or more")
    with Store.open(options.db) as store:
        user = store.people.by_name(ACTOR, options.name)
        if user is None:
            raise ValueError(f"there is no user {options.name!r}")
        made = store.api_tokens.create(
            ACTOR,
            options.purpose,
            role=options.role,
            user_id=user.id,
            project_id=None if options.project is None else store.projects.get(ACTOR, options.project).id,
            expires_at=time.time() + options.days * DAY_S if options.days else None,
        )
    if options.json:
        print_json({"secret": made.secret, **asdict(made.token)})
        return 0
    print(made.secret)
    return 0


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print the tokens as JSON")


def _list(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        tokens = store.api_tokens.list(ACTOR, everybodys=True)
    if options.json:
        print_json([asdict(token) | {"works": token.works} for token in tokens])
        return 0
    for token in tokens:
        place = f"  {token.project}" if token.project else ""
        used = f"  used {stamp(token.last_used_at)} UTC" if token.last_used_at else "  never used"
        ended = "" if token.works else "  ended"
        print(f"{token.id}  {token.user}  {token.name}  {token.role}{place}{used}{ended}")
    return 0


def _revoke_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", type=int, help="the token's number, as `annotate-app token list` shows it")
    parser.add_argument("--json", action="store_true", help="print what was done as JSON")


def _revoke(options: argparse.Namespace) -> int:
    from annotate_app.store.store import Store

    with Store.open(options.db) as store:
        store.api_tokens.revoke(ACTOR, options.id)
    if options.json:
        print_json({"revoked": options.id})
    else:
        print(f"token {options.id} has ended")
    return 0


COMMANDS = (
    Command(name="token create", help="make an API token, shown once", arguments=_create_arguments, run=_create),
    Command(name="token list", help="all API tokens", arguments=_list_arguments, run=_list),
    Command(name="token revoke", help="end an API token", arguments=_revoke_arguments, run=_revoke),
)
