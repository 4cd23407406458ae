"""Links for people of a crowd platform, and how somebody comes in by one.

A person comes with the id that the platform gave them, without a password. The id is no secret, so it opens little: an
account of origin `crowd` for this project and this kind of id alone, an annotator's for good, which has no password,
joins no other project and has a session of a few hours. An account is found again by the visits of the project's links,
never by its name, so that no id leads to an account that was made otherwise.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import quote, urlsplit

from sqlalchemy import Connection, Row, insert, select, update

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.base import audit
from annotate_app.store.base.database import Database, insert_row
from annotate_app.store.base.rights import checked_content, checked_text, lock_design, require_member
from annotate_app.store.people import sign_in
from annotate_app.store.people.accounts import find_user, insert_user
from annotate_app.store.people.crowd_visits import SCREENED_OUT, Visit, places_taken, read_visits
from annotate_app.store.people.members import join_project
from annotate_app.store.schema import tables
from annotate_app.store.schema.door_tables import crowd_link, crowd_visit

SESSION_S = 8 * 3600.0
PLATFORM_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_PARAMETERS, LONGEST_PARAMETER = 10, 200
PREFIXES = {"PROLIFIC_PID": "prolific", "workerId": "mturk"}
"""What names of accounts begin with, by the parameter of their id; else that parameter."""
Ending = Literal["working", "completed", "screened_out", "over_quota", "closed"]


@dataclass(frozen=True, kw_only=True)
class LinkPlan:
    """The settings of a link.

    Attributes:
        id_parameter: of the address, holds the person's id.
        target: judgments that a person gives, checks among them, skips not.
        quota: people let in, 0 for any number.
        completion_code, screen_out_code, over_quota_code: what a person brings back to the platform; empty for none.
        return_url: where a person goes back to; `{code}` in it stands for the code.
        text: what a person reads above the start button.
        reward: for who completes, in the design's currency.
        dropout_minutes: without a judgment, after which a place is free again.
    """

    name: str
    id_parameter: str
    target: int
    completion_code: str
    quota: int = 0
    screen_out_code: str = ""
    over_quota_code: str = ""
    return_url: str = ""
    text: str = ""
    group: str = ""
    reward: float = 0.0
    dropout_minutes: int = 60

    def __post_init__(self) -> None:
        checked_text(self.name, "name", 120)
        checked_text(self.group, "group", 64, empty=True)
        checked_text(self.text, "text", 4000, empty=True)
        if not _PARAMETER.fullmatch(self.id_parameter):
            raise ValueError(f"id_parameter is {self.id_parameter[:70]!r}, allowed are 1 to 64 of A-Z, a-z, 0-9, _ . -")
        codes = [code for code in (self.completion_code, self.screen_out_code, self.over_quota_code) if code]
        for code in codes:
            if not _CODE.fullmatch(code):
                raise ValueError(f"code is {code[:70]!r}, allowed are 1 to 64 of A-Z, a-z, 0-9, _ -")
        if not self.completion_code:
            raise ValueError("completion_code is empty")
        if self.completion_code in codes[1:]:
            raise ValueError("completion_code is also a code of those who do not complete, allowed is one of its own")
        for name, least, most in (("target", 1, 100_000), ("quota", 0, 1_000_000), ("dropout_minutes", 5, 10_080)):
            if not least <= getattr(self, name) <= most:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is {least} to {most:,}")
        if not 0 <= self.reward <= 1e6:
            raise ValueError(f"reward is {self.reward}, allowed is 0 to 1,000,000")
        if self.return_url:
            _check_url(self.return_url)

    def return_to(self, code: str) -> str:
        """The address that a person goes back to with a code; empty for none."""
        return self.return_url.replace("{code}", quote(code, safe=""))


@dataclass(frozen=True, kw_only=True)
class CrowdLink:
    """A link that was made; `token` is a part of its address."""

    id: int
    project_id: int
    token: str
    plan: LinkPlan
    active: bool
    created_by: str
    created_at: float

    def as_dict(self) -> dict[str, object]:
        """Plain values, those of the plan among them."""
        values: dict[str, object] = asdict(self.plan)
        own = {name: getattr(self, name) for name in ("id", "token", "active", "created_by", "created_at")}
        return own | values


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a visit goes on: with a session, or with a code to bring back.

    Attributes:
        session: token of the person's session where the outcome is `working`.
        code, return_url: what ends the visit; empty where there is nothing to bring back.
    """

    outcome: Ending
    session: str = ""
    code: str = ""
    return_url: str = ""


class Crowd:
    """Stores links for people of a crowd platform, and lets them in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_link(self, actor: Actor, project_id: int, plan: LinkPlan) -> CrowdLink:
        """Makes a link. Lead or above.

        Raises:
            ValueError: if the design asks for groups, and the plan names none of them.
        """
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "making a crowd link", "lead")
            groups = lock_design(connection, project_id).groups
            if groups and plan.group not in groups:
                raise ValueError(f"group is {plan.group!r}, allowed are {', '.join(groups)}")
            values = {("group_name" if name == "group" else name): value for name, value in asdict(plan).items()}
            values |= {"token": secrets.token_urlsafe(16), "active": True}
            values |= {"created_by": actor.name, "created_at": time.time(), "project_id": project_id}
            link_id = insert_row(connection, crowd_link, **values)
            detail = {"target": plan.target, "quota": plan.quota, "id_parameter": plan.id_parameter}
            audit.record(connection, actor, "crowd link", project_id=project_id, subject=plan.name, detail=detail)
            return _read_link(connection.execute(select(crowd_link).where(crowd_link.c.id == link_id)).one())

    def links(self, actor: Actor, project_id: int) -> list[CrowdLink]:
        """The links of a project, the newest first. Lead or above."""
        query = select(crowd_link).where(crowd_link.c.project_id == project_id).order_by(crowd_link.c.id.desc())
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading crowd links", "lead")
            return [_read_link(row) for row in connection.execute(query)]

    def set_active(self, actor: Actor, project_id: int, link_id: int, active: bool) -> None:
        """Switches a link off, or on again; who is in already works on. Lead or above."""
        chosen = (crowd_link.c.id == link_id, crowd_link.c.project_id == project_id)
        with self._database.write() as connection:
            require_member(connection, actor, project_id, "switching a crowd link", "lead")
            name = connection.execute(select(crowd_link.c.name).where(*chosen)).scalar()
            if name is None:
                raise ValueError(f"there is no crowd link {link_id} in project {project_id}")
            connection.execute(update(crowd_link).where(*chosen).values(active=active))
            detail = {"active": active}
            audit.record(connection, actor, "crowd link switch", project_id=project_id, subject=name, detail=detail)

    def visits(self, actor: Actor, project_id: int, link_id: int | None = None) -> list[Visit]:
        """Everybody who opened a link of the project, or one link, the newest first. Lead or above."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading visits", "lead")
            return read_visits(connection, project_id, link_id)

    def open_link(self, token: str) -> CrowdLink | None:
        """The link of a token, None where it is switched off or unknown. Whoever holds the token may ask."""
        with self._database.read() as connection:
            row = _open_row(connection, token)
        return None if row is None else _read_link(row)

    def enter(self, token: str, platform_id: str, parameters: Mapping[str, str], address: str) -> Entry:
        """Lets somebody in by a link, or says why not. Whoever holds the token may ask.

        Args:
            parameters: what else the address held; what is too much or too long is left out.
            address: of the client, for the limits of sign-in.

        Raises:
            ValueError: if the id is none of a platform.
            RateLimitError: after too many visits with the id or from the address.
        """
        if not PLATFORM_ID.fullmatch(platform_id):
            raise ValueError(f"id is {platform_id[:70]!r}, allowed are 1 to 64 of A-Z, a-z, 0-9, . _ -")
        subject = f"crowd {sign_in.token_hash(token)[:12]} {platform_id}"
        with sign_in.limited(self._database, subject, address) as attempt, self._database.write() as connection:
            row = _open_row(connection, token)
            if row is None:
                return Entry(outcome="closed")
            design = lock_design(connection, row.project_id)
            link = _read_link(row)
            person = _find_person(connection, link, platform_id)
            entry = _admit(connection, link, design, person, platform_id, _kept(link, parameters))
            if person is not None and entry.session:
                attempt.forgive(connection)  # who comes back is no stranger
            return entry

    def own_ending(self, actor: Actor, project_id: int) -> Entry | None:
        """How the actor's visit has ended, None while it has not or for who came another way."""
        with self._database.read() as connection:
            require_member(connection, actor, project_id, "reading the own visit")
            member = tables.membership.c
            chosen = (member.project_id == project_id, member.user_id == actor.user_id)
            state = connection.execute(select(member.state).where(*chosen)).scalar()
            if state not in (*SCREENED_OUT, "completed"):
                return None
            query = (
                select(crowd_link)
                .join(crowd_visit, crowd_visit.c.link_id == crowd_link.c.id)
                .where(crowd_visit.c.user_id == actor.user_id, crowd_link.c.project_id == project_id)
                .order_by(crowd_visit.c.ended_at.is_(None), crowd_visit.c.ended_at.desc(), crowd_visit.c.seen_at.desc())
            )
            if state == "completed":
                query = query.where(crowd_visit.c.outcome == "completed")
            row = connection.execute(query.limit(1)).first()
        if row is None:
            return None
        return _end(_read_link(row), "completed" if state == "completed" else "screened_out")


def _admit(
    connection: Connection,
    link: CrowdLink,
    design: Design,
    person: Row | None,
    platform_id: str,
    parameters: dict[str, str],
) -> Entry:
    """Decides on a visit in the transaction that holds the project's row, and writes it down."""
    chosen = (crowd_visit.c.link_id == link.id, crowd_visit.c.platform_id == platform_id)
    visit = connection.execute(select(crowd_visit).where(*chosen)).first()
    if visit is not None and visit.outcome == "completed":
        return _end(link, "completed")
    if person is not None:
        if not person.active or person.state is None or (person.origin, person.role) != ("crowd", "annotator"):
            return Entry(outcome="closed")
        if person.state in SCREENED_OUT:
            _write_visit(connection, link, visit, platform_id, parameters, person.id)
            return _end(link, "screened_out")
    if link.plan.quota and places_taken(connection, link.project_id, link.id, platform_id) >= link.plan.quota:
        if visit is None:
            _write_visit(connection, link, visit, platform_id, parameters, None)
        return _end(link, "over_quota")
    user_id = _join(connection, link, design, person, platform_id)
    _write_visit(connection, link, visit, platform_id, parameters, user_id)
    return Entry(outcome="working", session=sign_in.insert_session(connection, user_id, SESSION_S))


def _join(connection: Connection, link: CrowdLink, design: Design, person: Row | None, platform_id: str) -> int:
    """The account of a person who is let in, a member of the project who may work."""
    if person is None:
        prefix = PREFIXES.get(link.plan.id_parameter, link.plan.id_parameter.lower())
        name = wanted = f"{prefix[:40]}-{platform_id}@{link.project_id}"
        number = 1
        while find_user(connection, name) is not None:
            number += 1
            name = f"{wanted}-{number}"
        user_id = insert_user(connection, name, role="annotator", origin="crowd").id
        join_project(connection, link.project_id, user_id, link.plan.group, by_link=True)
        actor = Actor(user_id=user_id, name=name, role="annotator")
        detail = {"link": link.id}
        audit.record(connection, actor, "crowd enter", project_id=link.project_id, subject=name, detail=detail)
        return user_id
    join_project(connection, link.project_id, person.id, link.plan.group, by_link=True)
    if person.state == "completed":  # by another link
        member = tables.membership.c
        chosen = (member.project_id == link.project_id, member.user_id == person.id)
        connection.execute(update(tables.membership).where(*chosen).values(state="active", state_since=time.time()))
    return person.id


def _find_person(connection: Connection, link: CrowdLink, platform_id: str) -> Row | None:
    """The account that this id came in by before, by any link of the project that takes this kind of id."""
    member, account = tables.membership.c, tables.user.c
    query = (
        select(account.id, account.active, account.origin, account.role, member.state)
        .join(crowd_visit, crowd_visit.c.user_id == account.id)
        .join(crowd_link, crowd_link.c.id == crowd_visit.c.link_id)
        .outerjoin(tables.membership, (member.user_id == account.id) & (member.project_id == link.project_id))
        .where(
            crowd_link.c.project_id == link.project_id,
            crowd_link.c.id_parameter == link.plan.id_parameter,
            crowd_visit.c.platform_id == platform_id,
        )
        .limit(1)
    )
    return connection.execute(query).first()


def _write_visit(
    connection: Connection,
    link: CrowdLink,
    visit: Row | None,
    platform_id: str,
    parameters: dict[str, str],
    user_id: int | None,
) -> None:
    now = time.time()
    values = {"user_id": user_id, "seen_at": now, "outcome": "over_quota" if user_id is None else "working"}
    if visit is None:
        values |= {"link_id": link.id, "platform_id": platform_id, "parameters": parameters, "started_at": now}
        connection.execute(insert(crowd_visit).values(**values))
    else:
        connection.execute(update(crowd_visit).where(crowd_visit.c.id == visit.id).values(**values))


def _open_row(connection: Connection, token: str) -> Row | None:
    query = (
        select(crowd_link)
        .join(tables.project, tables.project.c.id == crowd_link.c.project_id)
        .where(crowd_link.c.token == token[:40], crowd_link.c.active, ~tables.project.c.archived)
    )
    return connection.execute(query).first() if "\x00" not in token else None


def _read_link(row: Row) -> CrowdLink:
    names = [name for name in LinkPlan.__dataclass_fields__ if name != "group"]
    plan = LinkPlan(**{name: getattr(row, name) for name in names}, group=row.group_name)
    own = {name: getattr(row, name) for name in CrowdLink.__dataclass_fields__ if name != "plan"}
    return CrowdLink(**own, plan=plan)


def _end(link: CrowdLink, outcome: Literal["completed", "screened_out", "over_quota"]) -> Entry:
    codes = {
        "completed": link.plan.completion_code,
        "screened_out": link.plan.screen_out_code,
        "over_quota": link.plan.over_quota_code,
    }
    code = codes[outcome]
    needs_code = "{code}" in link.plan.return_url
    return Entry(outcome=outcome, code=code, return_url=link.plan.return_to(code) if code or not needs_code else "")


def _kept(link: CrowdLink, parameters: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an address that are kept: few, short, and of characters that every database stores."""
    kept: dict[str, str] = {}
    for name, value in parameters.items():
        if name == link.plan.id_parameter or not _PARAMETER.fullmatch(name) or len(value) > LONGEST_PARAMETER:
            continue
        try:
            checked_content(value, name)
        except ValueError:
            continue
        if len(kept) < MOST_PARAMETERS:
            kept[name] = value
    return kept


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("https", "http") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine or len(url) > 2000 or any(sign.isspace() or not sign.isprintable() for sign in url):
        raise ValueError(f"return_url is {url[:80]!r}, allowed is an address that begins with https://")
