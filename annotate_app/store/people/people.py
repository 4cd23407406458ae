"""People: accounts, invites, and what stands between a password and a session (`sign_in`)."""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from sqlalchemy import select, update

from annotate_app.access import AccessError, Actor, UserRole
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database
from annotate_app.store.people import sign_in
from annotate_app.store.people.accounts import (
    WITHOUT_SIGN_IN,
    Origin,
    User,
    check_role,
    find_typed,
    find_user,
    hash_password,
    insert_user,
    read_user,
    require_user,
)
from annotate_app.store.people.api_tokens import end_tokens, end_tokens_above
from annotate_app.store.people.invitation_list import Wanted
from annotate_app.store.people.invites import (
    Invite,
    OpenInvite,
    end_invite,
    end_invites_for,
    end_lapsed,
    find_invite,
    insert_invite,
    read_invites,
    redeem,
)
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import api_token
from annotate_app.words import languages


class People:
    """Stores accounts, invites and sessions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, actor: Actor, name: str, *, role: UserRole, password: str | None = None, origin: Origin = "local"
    ) -> User:
        """Makes an account. Admins only, but for simulated annotators, which leads may make.

        Args:
            password: None for who signs in another way (`oidc`, `proxy`, by an invite first) or never.

        Raises:
            ValueError: if the name is taken, or a simulated or imported account is to get a password.
        """
        actor.require("lead" if (origin, role) == ("simulated", "annotator") else "admin", "adding a user")
        password_hash = hash_password(password) if password is not None else None
        with self._database.write() as connection:
            user = insert_user(connection, name, role=role, password_hash=password_hash, origin=origin)
            audit.record(connection, actor, "user add", subject=user.name, detail={"role": role, "origin": origin})
        return user

    def get(self, actor: Actor, user_id: int) -> User:
        """One account: the actor's own, or anybody's for leads and above."""
        if actor.user_id != user_id:
            actor.require("lead", "reading an account")
        with self._database.read() as connection:
            return require_user(connection, user_id)

    def by_name(self, actor: Actor, name: str) -> User | None:
        """The account of a name, None where there is none: the actor's own, or anybody's for leads and above."""
        if actor.name != name:
            actor.require("lead", "reading an account")
        with self._database.read() as connection:
            return find_user(connection, name)

    def set_role(self, actor: Actor, user_id: int, role: UserRole) -> None:
        """Changes a role; it holds from the user's next action on. Admins only, and not their own.

        Invites that the user made and may not make in the new role end, and so do API tokens with more than it.
        """
        check_role(role)
        if role != "annotator" and self.get(actor, user_id).origin == "crowd":
            raise ValueError(f"role is {role!r}, allowed for who comes from a crowd platform is annotator")
        self._change(actor, user_id, "user role", {"role": role})

    def set_active(self, actor: Actor, user_id: int, active: bool) -> None:
        """Closes an account, or opens it again. Admins only, and not their own.

        Closing ends its sessions, its API tokens, the invites it made and the links that set its password.
        """
        self._change(actor, user_id, "user active", {"active": active})

    def _change(self, actor: Actor, user_id: int, action: str, values: dict[str, object]) -> None:
        actor.require("admin", f"changing an account ({action})")
        if actor.user_id == user_id:
            raise AccessError(f"{action}: ask another admin, nobody changes the own account so")
        with self._database.write() as connection:
            name = require_user(connection, user_id).name
            connection.execute(update(tables.user).where(tables.user.c.id == user_id).values(**values))
            if values.get("active") is False:
                sign_in.revoke(connection, tables.session.c.user_id == user_id)
                end_tokens(connection, api_token.c.user_id == user_id)
                end_invites_for(connection, name)
            end_tokens_above(connection, user_id, require_user(connection, user_id).role)
            end_lapsed(connection, user_id)
            audit.record(connection, actor, action, subject=name, detail=values)

    def set_password(self, actor: Actor, user_id: int, password: str) -> None:
        """Sets a new password and ends the account's sessions and API tokens: one's own, or anybody's for admins."""
        if actor.user_id != user_id:
            actor.require("admin", "setting a password")
        password_hash = hash_password(password)
        with self._database.write() as connection:
            user = require_user(connection, user_id)
            if user.origin in WITHOUT_SIGN_IN:
                raise ValueError(f"{user.name} is {user.origin}: such an account never signs in and takes no password")
            chosen = tables.user.c.id == user_id
            connection.execute(update(tables.user).where(chosen).values(password_hash=password_hash))
            sign_in.revoke(connection, tables.session.c.user_id == user_id)
            end_tokens(connection, api_token.c.user_id == user_id)
            end_invites_for(connection, user.name)
            audit.record(connection, actor, "user password", subject=user.name)

    def set_language(self, actor: Actor, language: str) -> None:
        """Sets the language of the actor's own pages; an empty one leaves it to the browser.

        Raises:
            ValueError: if there is no such language, or the actor has no account.
        """
        if language and language not in languages():
            raise ValueError(f"language is {language[:40]!r}, allowed are {', '.join(languages())}")
        with self._database.write() as connection:
            name = require_user(connection, actor.user_id or 0).name
            chosen = tables.user.c.id == actor.user_id
            connection.execute(update(tables.user).where(chosen).values(language=language))
            audit.record(connection, actor, "user language", subject=name, detail={"language": language})

    def create_invite(
        self,
        actor: Actor,
        *,
        role: UserRole,
        name: str | None = None,
        project_id: int | None = None,
        group: str = "",
    ) -> str:
        """The token of a link that works once, within three days.

        Leads invite annotators and adjudicators to projects of their own; admins anybody anywhere, also to set a new
        password for the account `name`. The link ends with the actor's right to make it; see `invites`.
        """
        check_role(role)
        with self._database.write() as connection:
            token = insert_invite(connection, actor, role=role, name=name, project_id=project_id, group=group)
            detail = {"role": role, "group": group}
            audit.record(connection, actor, "invite", project_id=project_id, subject=name or "", detail=detail)
        return token

    def create_invites(
        self, actor: Actor, wanted: Sequence[Wanted], *, project_id: int | None = None
    ) -> builtins.list[str]:
        """The tokens of many links at once, in the order of the people; all are made or none.

        Rights are those of `create_invite`. A name that an account has already is refused: a list of new people is no
        place to set passwords.

        Raises:
            ValueError: with the place in the list, for who cannot be invited so.
        """
        tokens, names = [], set()
        with self._database.write() as connection:
            for one in wanted:
                try:
                    if one.name is not None and one.name in names:
                        raise ValueError(f"{one.name!r} is named twice")
                    names.add(one.name)
                    if one.name is not None and find_typed(connection, one.name) is not None:
                        raise ValueError(f"there is an account named {one.name!r} already: add it as a member")
                    token = insert_invite(
                        connection, actor, role=one.role, name=one.name, project_id=project_id, group=one.group
                    )
                except ValueError as error:
                    raise ValueError(f"{one.place}: {error}" if one.place else str(error)) from error
                tokens.append(token)
                detail = {"role": one.role, "group": one.group}
                audit.record(connection, actor, "invite", project_id=project_id, subject=one.name or "", detail=detail)
        return tokens

    def invite(self, token: str) -> Invite | None:
        """What the invite of a token is for, None once it was used or is over. Whoever holds the token may ask."""
        with self._database.read() as connection:
            return find_invite(connection, token)

    def invites(self, actor: Actor) -> list[OpenInvite]:
        """The invites that work now, newest first: all for admins, for leads those they could have made themselves."""
        actor.require("lead", "listing invites")
        with self._database.read() as connection:
            return read_invites(connection, actor)

    def revoke_invite(self, actor: Actor, invite_id: str) -> None:
        """Ends an invite, by its id in `invites`; who could make it may end it.

        Raises:
            ValueError: if there is none that works, or it is not the actor's to end.
        """
        actor.require("lead", "ending an invite")
        with self._database.write() as connection:
            row = end_invite(connection, actor, invite_id)
            detail = {"role": row.role, "group": row.group_name}
            audit.record(
                connection, actor, "invite revoke", project_id=row.project_id, subject=row.name or "", detail=detail
            )

    def revoke_invites(self, actor: Actor, project_id: int | None = None) -> int:
        """Ends all open invites that the actor may end, of one project where it is named; the number of them."""
        actor.require("lead", "ending invites")
        with self._database.write() as connection:
            invites = read_invites(connection, actor, project_id)
            for one in invites:
                row = end_invite(connection, actor, one.id)
                detail = {"role": row.role, "group": row.group_name}
                audit.record(
                    connection, actor, "invite revoke", project_id=row.project_id, subject=row.name or "", detail=detail
                )
        return len(invites)

    def redeem_invite(self, token: str, name: str, password: str) -> User:
        """Uses an invite up; see `invites.redeem`. Whoever holds the token may."""
        password_hash = hash_password(password)
        with self._database.write() as connection:
            user = redeem(connection, token, name, password_hash)
            audit.record(connection, self.actor_of(user), "invite redeem", subject=user.name)
        return user

    def check_password(self, name: str, password: str, address: str) -> User | None:
        """The user of a name and password, None where they do not match; see `sign_in.check_password`."""
        return sign_in.check_password(self._database, name, password, address)

    def start_session(self, user: User) -> str:
        """The token of a new session, which lasts seven days."""
        return sign_in.start_session(self._database, user)

    def session_user(self, token: str) -> User | None:
        """The user of a session, None once it has ended."""
        return sign_in.session_user(self._database, token)

    def end_session(self, token: str) -> None:
        """Ends one session; whoever holds its token may."""
        with self._database.write() as connection:
            sign_in.revoke(connection, tables.session.c.token_hash == sign_in.token_hash(token))

    def revoke_sessions(self, actor: Actor, user_id: int) -> int:
        """Ends all sessions and API tokens of an account; the number of sessions. One's own, for admins anybody's."""
        if actor.user_id != user_id:
            actor.require("admin", "ending the sessions of others")
        with self._database.write() as connection:
            ended = sign_in.revoke(connection, tables.session.c.user_id == user_id)
            end_tokens(connection, api_token.c.user_id == user_id)
            name = require_user(connection, user_id).name
            audit.record(connection, actor, "sessions revoke", subject=name, detail={"num": ended})
        return ended

    @staticmethod
    def actor_of(user: User) -> Actor:
        """The user as somebody who acts."""
        return Actor(user_id=user.id, name=user.name, role=user.role)

    def list(self, actor: Actor) -> list[User]:
        """All accounts by name. Lead or above."""
        actor.require("lead", "listing accounts")
        with self._database.read() as connection:
            return [read_user(row) for row in connection.execute(select(tables.user).order_by(tables.user.c.name))]
