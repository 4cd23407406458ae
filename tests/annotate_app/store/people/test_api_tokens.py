"""Tokens lend what they say and no more, and end with what they lend."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from annotate_app.access import AccessError, Actor, MissingError
from annotate_app.store.people.api_tokens import ApiToken
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema.door_tables import api_token
from annotate_app.store.store import Store

ADMIN = Actor.command_line()


def use(store: Store, secret: str) -> Actor:
    found = store.api_tokens.use(secret)
    assert found is not None
    return found[0]


def test_a_token_acts_as_the_lesser_of_its_role_and_the_persons(store: Store, lead: Actor) -> None:
    made = store.api_tokens.create(lead, "  script ", role="annotator")
    assert made.secret.startswith("tiebreak_")
    actor = use(store, made.secret)
    assert (actor.name, actor.role, actor.only_project, actor.token) == ("lea", "annotator", None, "script")
    as_lead = store.api_tokens.create(lead, "more", role="lead")
    store.people.set_role(ADMIN, lead.user_id, "adjudicator")
    assert store.api_tokens.use(as_lead.secret) is None  # ended: it does not come back with the role
    store.people.set_role(ADMIN, lead.user_id, "lead")
    assert store.api_tokens.use(as_lead.secret) is None
    assert use(store, made.secret).role == "annotator"
    with pytest.raises(AccessError, match="making a token asks for the role admin"):
        store.api_tokens.create(lead, "too much", role="admin")


def test_only_the_hash_is_stored(store: Store, lead: Actor) -> None:
    secret = store.api_tokens.create(lead, "script", role="lead").secret
    with store.database.read() as connection:
        (row,) = connection.execute(select(api_token)).all()
    assert secret not in map(str, row)
    assert len(row.token_hash) == 64
    assert store.api_tokens.use(row.token_hash) is None


def test_a_token_of_one_project_reaches_no_other(
    store: Store, project: Project, lead: Actor, make_project: Callable[..., Project]
) -> None:
    other = make_project(store, "other")
    store.projects.add_member(ADMIN, other.id, lead.user_id)
    actor = use(store, store.api_tokens.create(lead, "one", role="lead", project_id=project.id).secret)
    assert store.projects.list(actor) == [project]
    assert store.comparisons.count(actor, project.id) == 5
    refused = [
        lambda: store.comparisons.count(actor, other.id),
        lambda: store.projects.get(actor, other.id),
        lambda: store.projects.create(actor, "new", rubric_text="title: T\nguidelines: R\n", design=project.design),
        lambda: store.people.list(actor),
        lambda: store.people.create_invite(actor, role="annotator", project_id=other.id),
        lambda: store.jobs.list(actor),
        lambda: store.audit.list(actor),
    ]
    for call in refused:
        with pytest.raises(AccessError, match=r"is for project 1 only|asks for the role admin"):
            call()
    assert store.people.create_invite(actor, role="annotator", project_id=project.id)


def test_a_token_for_a_project_needs_its_person_in_it_and_no_admin(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    stranger = make_actor(store, "lead", "eve")
    with pytest.raises(AccessError, match="not a member"):
        store.api_tokens.create(stranger, "x", role="lead", project_id=project.id)
    with pytest.raises(ValueError, match="allowed for a token of one project"):
        store.api_tokens.create(make_actor(store, "admin", "ada"), "x", role="admin", project_id=project.id)


def test_an_admins_lesser_token_is_no_member_everywhere(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    admin = make_actor(store, "admin", "ada")
    actor = use(store, store.api_tokens.create(admin, "x", role="lead").secret)
    assert store.projects.list(actor) == []
    with pytest.raises(AccessError):
        store.comparisons.count(actor, project.id)


def test_a_token_makes_no_token(store: Store, lead: Actor) -> None:
    actor = use(store, store.api_tokens.create(lead, "x", role="lead").secret)
    with pytest.raises(AccessError, match="signed in"):
        store.api_tokens.create(actor, "y", role="annotator")


@pytest.mark.parametrize("how", ["closed", "signed out everywhere", "password", "reset link", "revoked", "expired"])
def test_a_token_ends_with(store: Store, lead: Actor, how: str) -> None:
    made = store.api_tokens.create(lead, "x", role="lead", expires_at=time.time() + 60)
    assert lead.user_id is not None
    match how:
        case "closed":
            store.people.set_active(ADMIN, lead.user_id, False)
        case "signed out everywhere":
            store.people.revoke_sessions(ADMIN, lead.user_id)
        case "password":
            store.people.set_password(lead, lead.user_id, "a long password")
        case "reset link":
            link = store.people.create_invite(ADMIN, role="lead", name="lea")
            store.people.redeem_invite(link, "lea", "a long password")
        case "revoked":
            store.api_tokens.revoke(lead, made.token.id)
        case "expired":
            with store.database.write() as connection:
                connection.execute(update(api_token).values(expires_at=time.time() - 1))
    assert store.api_tokens.use(made.secret) is None
    (listed,) = store.api_tokens.list(lead)
    assert not listed.works


def test_the_last_use_is_written_once_a_minute(store: Store, lead: Actor) -> None:
    made = store.api_tokens.create(lead, "x", role="lead")

    def last_used() -> float | None:
        return store.api_tokens.list(lead)[0].last_used_at

    assert last_used() is None
    store.api_tokens.use(made.secret)
    first = last_used()
    assert first is not None
    assert abs(first - time.time()) < 30
    store.api_tokens.use(made.secret)
    assert last_used() == first
    with store.database.write() as connection:
        connection.execute(update(api_token).values(last_used_at=first - 61))
    store.api_tokens.use(made.secret)
    assert last_used() >= first


def test_each_lists_and_revokes_the_own(store: Store, lead: Actor, make_actor: Callable[..., Actor]) -> None:
    other, admin = make_actor(store, "lead", "eve"), make_actor(store, "admin", "ada")
    made = store.api_tokens.create(lead, "x", role="lead").token
    assert store.api_tokens.list(other) == []
    with pytest.raises(MissingError):
        store.api_tokens.revoke(other, made.id)
    (listed,) = store.api_tokens.list(admin, everybodys=True)
    assert isinstance(listed, ApiToken)
    assert (listed.name, listed.user, listed.role, listed.project) == ("x", "lea", "lead", None)
    store.api_tokens.revoke(admin, made.id)
    with pytest.raises(MissingError):
        store.api_tokens.revoke(admin, made.id)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": " "}, "token name is empty"),
        ({"role": "owner"}, "role is 'owner'"),
        ({"expires_at": 1.0}, "expires_at is 1.0, allowed is a time to come"),
        ({"expires_at": float("nan")}, "expires_at is nan"),
    ],
)
def test_what_makes_no_token(store: Store, lead: Actor, options: dict, message: str) -> None:
    values = {"name": "x", "role": "lead"} | options
    with pytest.raises(ValueError, match=message):
        store.api_tokens.create(lead, values.pop("name"), **values)


def test_nobody_acts_for_who_never_signs_in(store: Store) -> None:
    robot = store.people.add(ADMIN, "robot", role="annotator", origin="simulated")
    with pytest.raises(ValueError, match="robot cannot sign in"):
        store.api_tokens.create(ADMIN, "x", role="annotator", user_id=robot.id)
    with pytest.raises(ValueError, match="user is empty"):
        store.api_tokens.create(ADMIN, "x", role="annotator")


def test_what_a_token_does_is_audited_with_its_name(store: Store, project: Project, lead: Actor) -> None:
    actor = use(store, store.api_tokens.create(lead, "importer", role="lead").secret)
    store.projects.update(actor, project.id, description="new")
    entry, *_ = store.audit.list(ADMIN, project.id)
    assert (entry.actor, entry.detail) == ("lea", {"description": "new", "token": "importer"})


def test_a_restored_backup_lets_no_token_in_and_tells_no_webhook(
    store: Store, lead: Actor, project: Project, tmp_path, sqlite_template
) -> None:
    secret = store.api_tokens.create(lead, "x", role="lead").secret
    store.webhooks.create(lead, project.id, "https://example.org/")
    backup = store.backup(tmp_path / "backup.zip")
    with Store.restore(backup, f"sqlite:///{tmp_path / 'restored.db'}") as restored:
        assert restored.api_tokens.use(secret) is None
        (hook,) = restored.webhooks.list(ADMIN, project.id)
        assert hook.active is False
        (entry,) = [each for each in restored.audit.list(ADMIN) if each.action == "restore"]
        assert (entry.detail["tokens"], entry.detail["webhooks"]) == (1, 1)
