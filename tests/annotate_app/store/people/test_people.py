"""Accounts, invites, passwords and sessions on both databases."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, update

from annotate_app.access import AccessError, Actor
from annotate_app.store.people import sign_in
from annotate_app.store.people.sign_in import RateLimitError
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables, whole_schema
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
PASSWORD = "a long enough password"


def test_accounts_are_made_found_and_listed(store: Store) -> None:
    zoe = store.people.add(ADMIN, " zoe ", role="lead", password=PASSWORD)
    anna = store.people.add(ADMIN, "anna", role="annotator")
    assert (zoe.name, zoe.role, zoe.origin, zoe.active, zoe.has_password) == ("zoe", "lead", "local", True, True)
    assert not anna.has_password
    assert store.people.list(ADMIN) == [anna, zoe]
    assert store.people.get(ADMIN, zoe.id) == store.people.by_name(ADMIN, "zoe") == zoe
    assert store.people.by_name(ADMIN, "nobody") is None
    with pytest.raises(ValueError, match="there is a user named 'anna' already"):
        store.people.add(ADMIN, "anna", role="annotator")
    with pytest.raises(ValueError, match="role is 'boss'"):
        store.people.add(ADMIN, "ben", role="boss")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the password has 5 characters, allowed are 8 to 1024"):
        store.people.add(ADMIN, "ben", role="annotator", password="short")


def test_the_password_itself_is_not_stored(store: Store) -> None:
    user = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    token = store.people.start_session(user)
    invite = store.people.create_invite(ADMIN, role="annotator")
    with store.database.read() as connection:
        stored = [
            str(row) for table in whole_schema.metadata.sorted_tables for row in connection.execute(select(table))
        ]
    assert not [row for row in stored for secret in (PASSWORD, token, invite) if secret in row]


def test_a_password_opens_only_its_own_account(store: Store) -> None:
    zoe = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    store.people.add(ADMIN, "anna", role="annotator")
    assert store.people.check_password("zoe", PASSWORD, "1.1.1.1") == zoe
    assert store.people.check_password("zoe", PASSWORD + "!", "1.1.1.1") is None
    assert store.people.check_password("anna", PASSWORD, "1.1.1.1") is None
    assert store.people.check_password("anna", "", "1.1.1.1") is None
    assert store.people.check_password("nobody", "nobody signs in with this", "1.1.1.1") is None
    assert store.people.check_password("z\x00oe" * 100, PASSWORD, "\x00" * 500) is None
    store.people.set_active(ADMIN, zoe.id, False)
    assert store.people.check_password("zoe", PASSWORD, "1.1.1.1") is None


def test_simulated_and_imported_people_cannot_sign_in(store: Store, make_actor: Callable[..., Actor]) -> None:
    for origin in ("simulated", "imported"):
        with pytest.raises(ValueError, match="never signs in"):
            store.people.add(ADMIN, "robot", role="annotator", password=PASSWORD, origin=origin)
        robot = store.people.add(ADMIN, origin, role="annotator", origin=origin)
        with pytest.raises(ValueError, match="never signs in"):
            store.people.set_password(ADMIN, robot.id, PASSWORD)
        with pytest.raises(ValueError, match="cannot sign in"):
            store.people.start_session(robot)
        with pytest.raises(ValueError, match="there is a user named"):
            store.people.create_invite(ADMIN, role="annotator", name=origin)
        assert store.people.check_password(origin, "", "1.1.1.1") is None


def test_failures_slow_down_and_success_forgets_them(store: Store) -> None:
    store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    for _ in range(5):
        assert store.people.check_password("zoe", "wrong password", "1.1.1.1") is None
    for _ in range(3):
        with pytest.raises(RateLimitError) as limited:
            store.people.check_password("zoe", PASSWORD, "1.1.1.1")
        assert 0 < limited.value.seconds <= 15 * 60
    assert store.people.check_password("zoe", PASSWORD, "2.2.2.2") is not None
    with store.database.write() as connection:  # a quarter of an hour later
        connection.execute(update(tables.sign_in_attempt).values(at=tables.sign_in_attempt.c.at - 15 * 60))
    assert store.people.check_password("zoe", "wrong password", "1.1.1.1") is None
    assert store.people.check_password("zoe", PASSWORD, "1.1.1.1") is not None
    for _ in range(4):
        assert store.people.check_password("zoe", "wrong password", "1.1.1.1") is None
    assert store.people.check_password("zoe", PASSWORD, "1.1.1.1") is not None


def test_an_account_is_guarded_against_many_addresses_and_an_address_against_many_accounts(store: Store) -> None:
    limits = sign_in.LIMITS
    for number in range(limits["account"]):
        store.people.check_password("zoe", "wrong", f"1.1.1.{number}")
    with pytest.raises(RateLimitError):
        store.people.check_password("zoe", "wrong", "9.9.9.9")
    for number in range(limits["address"]):
        store.people.check_password(f"user {number}", "wrong", "8.8.8.8")
    with pytest.raises(RateLimitError):
        store.people.check_password("another", "wrong", "8.8.8.8")


def test_attempts_made_at_once_all_count(store: Store) -> None:
    store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)

    def attempt(_: int) -> bool:
        try:
            store.people.check_password("zoe", "wrong password", "1.1.1.1")
        except RateLimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(24))) <= sign_in.LIMITS["account and address"]


def test_a_session_lasts_until_it_ends(store: Store) -> None:
    user = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    first, second = store.people.start_session(user), store.people.start_session(user)
    assert store.people.session_user(first) == user
    store.people.end_session(first)
    assert store.people.session_user(first) is None
    assert store.people.session_user(second) == user
    assert store.people.session_user("made up") is None
    with store.database.write() as connection:
        connection.execute(update(tables.session).values(expires_at=1.0))
    assert store.people.session_user(second) is None


def test_a_session_knows_the_role_of_now(store: Store) -> None:
    user = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    token = store.people.start_session(user)
    store.people.set_role(ADMIN, user.id, "annotator")
    now = store.people.session_user(token)
    assert now is not None
    assert store.people.actor_of(now) == Actor(user_id=user.id, name="zoe", role="annotator")


@pytest.mark.parametrize("ending", ["closed", "revoked", "new password", "reset"])
def test_sessions_end_with_what_ends_them(store: Store, ending: str) -> None:
    user = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    other = store.people.start_session(store.people.add(ADMIN, "ben", role="lead"))
    token = store.people.start_session(user)
    match ending:
        case "closed":
            store.people.set_active(ADMIN, user.id, False)
        case "revoked":
            assert store.people.revoke_sessions(ADMIN, user.id) == 1
        case "new password":
            store.people.set_password(store.people.actor_of(user), user.id, "another long password")
        case "reset":
            invite = store.people.create_invite(ADMIN, role="annotator", name="zoe")
            assert store.people.redeem_invite(invite, "", "another long password").role == "lead"
    assert store.people.session_user(token) is None
    assert store.people.session_user(other) is not None


def test_an_invite_works_once(store: Store, project: Project, lead: Actor) -> None:
    token = store.people.create_invite(lead, role="annotator", project_id=project.id, group="expert")
    user = store.people.redeem_invite(token, "anna", PASSWORD)
    assert (user.name, user.role) == ("anna", "annotator")
    assert [(m.name, m.group) for m in store.projects.members(lead, project.id)] == [("anna", "expert"), ("lea", "")]
    for name in ("anna", "berta"):
        with pytest.raises(ValueError, match="used already"):
            store.people.redeem_invite(token, name, PASSWORD)
    assert store.people.check_password("anna", PASSWORD, "1.1.1.1") == user


def test_a_failed_redemption_leaves_the_invite_good(store: Store) -> None:
    store.people.add(ADMIN, "anna", role="admin", password=PASSWORD)
    token = store.people.create_invite(ADMIN, role="annotator")
    with pytest.raises(ValueError, match="there is a user named 'anna' already"):
        store.people.redeem_invite(token, "anna", "another long password")
    with pytest.raises(ValueError, match="allowed are 8 to 1024"):
        store.people.redeem_invite(token, "berta", "short")
    assert store.people.redeem_invite(token, "berta", PASSWORD).name == "berta"
    assert store.people.check_password("anna", PASSWORD, "1.1.1.1") is not None


def test_an_invite_is_for_the_name_it_says_and_for_three_days(store: Store) -> None:
    token = store.people.create_invite(ADMIN, role="lead", name="zoe")
    with pytest.raises(ValueError, match="this invite is for 'zoe', not for 'eve'"):
        store.people.redeem_invite(token, "eve", PASSWORD)
    with store.database.write() as connection:
        connection.execute(update(tables.invite).values(expires_at=tables.invite.c.expires_at - 72 * 3600))
    with pytest.raises(ValueError, match="older than three days"):
        store.people.redeem_invite(token, "zoe", PASSWORD)


def test_two_who_redeem_at_once_are_not_both_let_in(store: Store) -> None:
    token = store.people.create_invite(ADMIN, role="annotator")

    def redeem(name: str) -> bool:
        try:
            store.people.redeem_invite(token, name, PASSWORD)
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(redeem, ["a", "b", "c", "d"])) == 1
    assert len(store.people.list(ADMIN)) == 1


def test_a_lead_cannot_take_over_an_account(store: Store, project: Project, lead: Actor) -> None:
    store.people.add(ADMIN, "boss", role="admin", password=PASSWORD)
    with pytest.raises(ValueError, match="there is a user named 'boss' already"):
        store.people.create_invite(lead, role="annotator", name="boss", project_id=project.id)
    early = store.people.create_invite(lead, role="annotator", name="later", project_id=project.id)
    store.people.add(ADMIN, "later", role="admin", password=PASSWORD)
    with pytest.raises(ValueError, match="there is a user named 'later' already"):
        store.people.redeem_invite(early, "later", "another long password")


def test_leads_invite_only_below_themselves_and_into_their_projects(
    store: Store, project: Project, lead: Actor, make_project: Callable[..., Project]
) -> None:
    elsewhere = make_project(store, "elsewhere")
    for role in ("lead", "admin"):
        with pytest.raises(AccessError):
            store.people.create_invite(lead, role=role, project_id=project.id)
    with pytest.raises(AccessError):
        store.people.create_invite(lead, role="annotator")
    with pytest.raises(AccessError, match="not a member"):
        store.people.create_invite(lead, role="annotator", project_id=elsewhere.id)


LAPSES = {
    "closed": lambda store, project, maker: store.people.set_active(ADMIN, maker.user_id, False),
    "closed and opened again": lambda store, project, maker: [
        store.people.set_active(ADMIN, maker.user_id, active) for active in (False, True)
    ],
    "demoted": lambda store, project, maker: store.people.set_role(ADMIN, maker.user_id, "annotator"),
    "demoted and promoted again": lambda store, project, maker: [
        store.people.set_role(ADMIN, maker.user_id, role) for role in ("annotator", "admin")
    ],
}


@pytest.mark.parametrize("lapse", LAPSES)
def test_invites_of_an_admin_end_with_the_rights_that_made_them(
    store: Store, project: Project, make_actor: Callable[..., Actor], lapse: str
) -> None:
    maker = make_actor(store, "admin", "ada")
    store.people.add(ADMIN, "root", role="admin", password=PASSWORD)
    tokens = [
        store.people.create_invite(maker, role="admin"),
        store.people.create_invite(maker, role="admin", name="root"),
        store.people.create_invite(maker, role="annotator", project_id=project.id),
    ]
    kept = store.people.create_invite(ADMIN, role="annotator")
    LAPSES[lapse](store, project, maker)
    for token in tokens:
        assert store.people.invite(token) is None
        with pytest.raises(ValueError, match="ended, or older than three days: ask for a new one"):
            store.people.redeem_invite(token, "", PASSWORD)
    assert [item.created_by for item in store.people.invites(ADMIN)] == ["command line"]
    assert store.people.redeem_invite(kept, "anna", PASSWORD).role == "annotator"
    assert store.people.check_password("root", PASSWORD, "1.1.1.1") is not None


@pytest.mark.parametrize("lapse", ["removed", "demoted", "closed", "removed and added again"])
def test_invites_of_a_lead_end_with_the_project_and_the_role(
    store: Store, project: Project, lead: Actor, make_project: Callable[..., Project], lapse: str
) -> None:
    other = make_project(store, "other")
    store.projects.add_member(ADMIN, other.id, lead.user_id or 0)
    here = store.people.create_invite(lead, role="adjudicator", project_id=project.id)
    elsewhere = store.people.create_invite(lead, role="annotator", project_id=other.id)
    match lapse:
        case "demoted":
            store.people.set_role(ADMIN, lead.user_id or 0, "adjudicator")
        case "closed":
            store.people.set_active(ADMIN, lead.user_id or 0, False)
        case _:
            store.projects.remove_member(ADMIN, project.id, lead.user_id or 0)
            if lapse == "removed and added again":
                store.projects.add_member(ADMIN, project.id, lead.user_id or 0)
    with pytest.raises(ValueError, match="ended"):
        store.people.redeem_invite(here, "anna", PASSWORD)
    assert (store.people.invite(elsewhere) is None) == (lapse in ("demoted", "closed"))


def test_a_right_lost_without_a_word_is_missed_when_the_invite_is_used(store: Store, make_actor) -> None:
    """As by a restored database or another version: nothing ended the invite, and it is worth nothing."""
    maker = make_actor(store, "admin", "ada")
    token = store.people.create_invite(maker, role="admin")
    with store.database.write() as connection:
        connection.execute(update(tables.user).where(tables.user.c.name == "ada").values(role="lead"))
    assert store.people.invite(token) is None
    assert store.people.invites(ADMIN) == []
    with pytest.raises(ValueError, match="ended"):
        store.people.redeem_invite(token, "eve", PASSWORD)
    assert [user.name for user in store.people.list(ADMIN)] == ["ada"]


@pytest.mark.parametrize("ending", ["closed", "new password", "reset"])
def test_links_for_a_password_end_with_the_account_or_the_next_password(store: Store, ending: str) -> None:
    user = store.people.add(ADMIN, "zoe", role="lead", password=PASSWORD)
    token, last = (store.people.create_invite(ADMIN, role="lead", name="zoe") for _ in range(2))
    match ending:
        case "closed":
            store.people.set_active(ADMIN, user.id, False)
            store.people.set_active(ADMIN, user.id, True)
        case "new password":
            store.people.set_password(store.people.actor_of(user), user.id, "another long password")
        case "reset":
            store.people.redeem_invite(last, "", "another long password")
    assert store.people.invite(token) is None
    with pytest.raises(ValueError, match="ended"):
        store.people.redeem_invite(token, "", "a third long password")


def test_invites_are_seen_and_ended_by_those_who_could_make_them(
    store: Store, project: Project, lead: Actor, make_project: Callable[..., Project], make_actor
) -> None:
    elsewhere = make_project(store, "elsewhere")
    mine = store.people.create_invite(lead, role="annotator", project_id=project.id, group="expert")
    for role, place in (("annotator", elsewhere.id), ("lead", project.id), ("admin", None)):
        store.people.create_invite(ADMIN, role=role, project_id=place)
    assert [item.group for item in store.people.invites(lead)] == ["expert"]
    everything = store.people.invites(ADMIN)
    assert [item.role for item in everything] == ["admin", "lead", "annotator", "annotator"]
    for item in everything[:3]:
        with pytest.raises(ValueError, match=f"there is no open invite '{item.id}'"):
            store.people.revoke_invite(lead, item.id)
    assert len(store.people.invites(ADMIN)) == 4
    store.people.revoke_invite(lead, everything[3].id)
    assert store.people.invite(mine) is None
    assert store.audit.list(lead, project.id)[0].action == "invite revoke"
    anna = make_actor(store, "annotator", "anna", project)
    with pytest.raises(AccessError):
        store.people.invites(anna)
    with pytest.raises(AccessError):
        store.people.revoke_invite(anna, everything[0].id)


def test_nobody_closes_or_demotes_themselves(store: Store) -> None:
    boss = store.people.actor_of(store.people.add(ADMIN, "boss", role="admin"))
    assert boss.user_id is not None
    with pytest.raises(AccessError, match="ask another admin"):
        store.people.set_role(boss, boss.user_id, "annotator")
    with pytest.raises(AccessError, match="ask another admin"):
        store.people.set_active(boss, boss.user_id, False)


def test_a_person_chooses_the_language_of_the_own_pages_among_those_there_are(store: Store) -> None:
    anna = store.people.add(ADMIN, "anna", role="annotator")
    actor = store.people.actor_of(anna)
    assert anna.language == ""
    store.people.set_language(actor, "de")
    assert store.people.get(actor, anna.id).language == "de"
    with pytest.raises(ValueError, match="language is 'xx', allowed are de, en"):
        store.people.set_language(actor, "xx")
    with pytest.raises(ValueError, match="no user 0"):
        store.people.set_language(ADMIN, "de")
    store.people.set_language(actor, "")
    assert store.people.get(actor, anna.id).language == ""


def test_invites_of_one_project_end_without_the_others(store: Store, make_project: Callable[..., Project]) -> None:
    project = make_project(store)
    store.people.create_invite(ADMIN, role="lead")
    store.people.create_invite(ADMIN, role="annotator", project_id=project.id)
    assert store.people.revoke_invites(ADMIN, project.id + 1) == 0
    assert store.people.revoke_invites(ADMIN, project.id) == 1
    assert [one.project for one in store.people.invites(ADMIN)] == [None]
    assert store.people.revoke_invites(ADMIN) == 1
