"""Who may call what: every public function of the store by role and membership."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable

import pytest

from annotate_app.access import ROLES, AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.judgments.staged import stage_judgments
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.contents import stage_contents
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
RUBRIC = "title: T\nguidelines: Read.\n"


def simulate(store: Store, actor: Actor, project: Project) -> None:
    """Asks for simulated judgments; whoever is let through learns that the project is not marked as simulated."""
    with contextlib.suppress(ValueError):
        store.judgments.add_simulated(actor, project.id, [])


def add_staged(store: Store, actor: Actor, project: Project) -> None:
    with stage_contents([]) as staged:
        store.comparisons.add_staged(actor, project.id, staged)


def change_note(store: Store, actor: Actor, project: Project) -> None:
    """Names a run; whoever is let through learns that there is none."""
    with contextlib.suppress(ValueError):
        store.run_notes.change(actor, project.id, "nowhere", name="x")


def import_staged(store: Store, actor: Actor, project: Project) -> None:
    with stage_judgments([]) as staged:
        store.judgments.import_staged(actor, project.id, staged)


# By function: the least role that may call it, and whether it has to be a member of the project.
TABLE: dict[str, tuple[str, bool, Callable[[Store, Actor, Project], object]]] = {
    "projects.create": (
        "lead",
        False,
        lambda s, a, p: s.projects.create(a, "new", rubric_text=RUBRIC, design=Design()),
    ),
    "projects.get": ("annotator", True, lambda s, a, p: s.projects.get(a, p.id)),
    "projects.update": ("lead", True, lambda s, a, p: s.projects.update(a, p.id, description="x")),
    "projects.save_rubric": ("lead", True, lambda s, a, p: s.projects.save_rubric(a, p.id, RUBRIC)),
    "projects.rubric": ("annotator", True, lambda s, a, p: s.projects.rubric(a, p.id)),
    "projects.rubrics": ("annotator", True, lambda s, a, p: s.projects.rubrics(a, p.id)),
    "projects.members": ("adjudicator", True, lambda s, a, p: s.projects.members(a, p.id)),
    "projects.add_member": ("lead", True, lambda s, a, p: s.projects.add_member(a, p.id, 1, "crowd")),
    "projects.set_member_state": ("lead", True, lambda s, a, p: s.projects.set_member_state(a, p.id, 1, "paused")),
    "projects.remove_member": ("lead", True, lambda s, a, p: s.projects.remove_member(a, p.id, 1)),
    "projects.import_members": ("lead", True, lambda s, a, p: s.projects.import_members(a, p.id, [], pseudonyms=True)),
    "projects.pseudonym_key": ("adjudicator", True, lambda s, a, p: s.projects.pseudonym_key(a, p.id)),
    "projects.progress": ("adjudicator", True, lambda s, a, p: s.projects.progress(a, p.id)),
    "comparisons.add": ("lead", True, lambda s, a, p: s.comparisons.add(a, p.id, [])),
    "comparisons.add_staged": ("lead", True, add_staged),
    "comparisons.set_priorities": ("lead", True, lambda s, a, p: s.comparisons.set_priorities(a, p.id, {"c0": 1.0})),
    "comparisons.set_gold": ("lead", True, lambda s, a, p: s.comparisons.set_gold(a, p.id, "c0", Gold(choice="a"))),
    "comparisons.golds": ("lead", True, lambda s, a, p: s.comparisons.golds(a, p.id)),
    "comparisons.get": ("adjudicator", True, lambda s, a, p: s.comparisons.get(a, p.id, "c0")),
    "comparisons.iterate": ("adjudicator", True, lambda s, a, p: list(s.comparisons.iterate(a, p.id))),
    "comparisons.sources": ("lead", True, lambda s, a, p: s.comparisons.sources(a, p.id)),
    "comparisons.count": ("adjudicator", True, lambda s, a, p: s.comparisons.count(a, p.id)),
    "comparisons.set_overlap": ("lead", True, lambda s, a, p: s.comparisons.set_overlap(a, p.id, "c1", 2)),
    "browsing.find": ("lead", True, lambda s, a, p: s.browsing.find(a, p.id)),
    "browsing.iterate": ("lead", True, lambda s, a, p: list(s.browsing.iterate(a, p.id))),
    "browsing.stamp": ("adjudicator", True, lambda s, a, p: s.browsing.stamp(a, p.id)),
    "judgments.iterate": ("annotator", True, lambda s, a, p: list(s.judgments.iterate(a, p.id))),
    "judgments.of_comparison": ("adjudicator", True, lambda s, a, p: s.judgments.of_comparison(a, p.id, "c0")),
    "judgments.votes": ("adjudicator", True, lambda s, a, p: s.judgments.votes(a, p.id)),
    "judgments.import_many": ("lead", True, lambda s, a, p: s.judgments.import_many(a, p.id, [])),
    "judgments.import_staged": ("lead", True, import_staged),
    "judgments.add_simulated": ("lead", True, simulate),
    "judgments.adjudicate": (
        "adjudicator",
        True,
        lambda s, a, p: s.judgments.adjudicate(a, p.id, "c0", Decision(choice="tie")),
    ),
    "judgments.adjudications": ("adjudicator", True, lambda s, a, p: s.judgments.adjudications(a, p.id)),
    "people.add": ("admin", False, lambda s, a, p: s.people.add(a, "new", role="annotator")),
    "people.get": ("lead", False, lambda s, a, p: s.people.get(a, 1)),
    "people.by_name": ("lead", False, lambda s, a, p: s.people.by_name(a, "first")),
    "people.set_role": ("admin", False, lambda s, a, p: s.people.set_role(a, 1, "lead")),
    "people.set_active": ("admin", False, lambda s, a, p: s.people.set_active(a, 1, False)),
    "people.set_password": ("admin", False, lambda s, a, p: s.people.set_password(a, 1, "a long password")),
    "people.create_invite": (
        "lead",
        True,
        lambda s, a, p: s.people.create_invite(a, role="annotator", project_id=p.id),
    ),
    "people.invites": ("lead", False, lambda s, a, p: s.people.invites(a)),
    "people.revoke_sessions": ("admin", False, lambda s, a, p: s.people.revoke_sessions(a, 1)),
    "people.list": ("lead", False, lambda s, a, p: s.people.list(a)),
    "audit.list": ("lead", True, lambda s, a, p: s.audit.list(a, p.id)),
    "notices.list": ("lead", True, lambda s, a, p: s.notices.list(a, p.id)),
    "jobs.add": ("lead", True, lambda s, a, p: s.jobs.add(a, "export", "all", ["x"], p.id)),
    "jobs.list": ("lead", True, lambda s, a, p: s.jobs.list(a, p.id)),
    "run_notes.list": ("lead", True, lambda s, a, p: s.run_notes.list(a, p.id)),
    "run_notes.change": ("lead", True, change_note),
}
# Checked below by themselves, or elsewhere.
APART = {
    "projects.list",
    "notices.mark_read",
    "jobs.get",
    "jobs.cancel",
    "people.set_language",  # one's own only
    "people.revoke_invite",  # who could make it; in `people/test_people.py`
    # no actor: a password, a token or a worker beside the database speaks for itself
    "people.invite",
    "people.redeem_invite",
    "people.check_password",
    "people.start_session",
    "people.session_user",
    "people.end_session",
    "people.actor_of",
    "jobs.claim",
    "jobs.heartbeat",
    "jobs.finish",
    "jobs.running",
}


@pytest.fixture
def project(store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]) -> Project:
    made = make_project(store)
    first = make_actor(store, "annotator", "first", made)
    assert first.user_id == 1
    return made


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("member", [True, False], ids=["member", "stranger"])
def test_every_function_asks_for_its_role_and_membership(
    store: Store, project: Project, make_actor: Callable[..., Actor], role: str, member: bool
) -> None:
    actor = make_actor(store, role, "somebody", project if member else None)
    for name, (least, needs_membership, call) in TABLE.items():
        if name == "projects.remove_member":
            continue  # last, for the others need the member
        expect(store, project, actor, name, least, needs_membership and not member, call)
    least, _, call = TABLE["projects.remove_member"]
    expect(store, project, actor, "projects.remove_member", least, not member, call)


def expect(
    store: Store,
    project: Project,
    actor: Actor,
    name: str,
    least: str,
    outside: bool,
    call: Callable[[Store, Actor, Project], object],
) -> None:
    allowed = ROLES.index(actor.role) >= ROLES.index(least) and (not outside or actor.role == "admin")
    try:
        call(store, actor, project)
        happened = True
    except AccessError:
        happened = False
    assert happened == allowed, f"{name} by {actor.role}, {'stranger' if outside else 'member'}"


def test_the_table_names_every_function_of_the_rooms(sqlite_store: Store) -> None:
    rooms = ("projects", "comparisons", "browsing", "judgments", "people", "audit", "notices", "jobs", "run_notes")
    public = {
        f"{room}.{name}"
        for room in rooms
        for name, _ in inspect.getmembers(type(getattr(sqlite_store, room)), inspect.isroutine)
        if not name.startswith("_")
    }
    assert public == set(TABLE) | APART


def test_a_stranger_learns_nothing_about_what_exists(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    eve = make_actor(store, "lead", "eve")
    answers = []
    for project_id in (project.id, project.id + 99):
        with pytest.raises(AccessError) as refused:
            store.comparisons.count(eve, project_id)
        answers.append(str(refused.value).replace(str(project_id), "N"))
    assert answers[0] == answers[1]
    with pytest.raises(ValueError, match=f"there is no project {project.id + 99}"):
        store.comparisons.count(ADMIN, project.id + 99)


def test_each_sees_the_own_projects(
    store: Store, project: Project, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    other = make_project(store, "other")
    for role in ("annotator", "adjudicator", "lead"):
        assert store.projects.list(make_actor(store, role, role, other)) == [other]
    assert store.projects.list(make_actor(store, "admin", "admin")) == [project, other]


def test_an_annotator_reads_only_own_judgments(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    from rewardkit.data.records import Judgment

    anna = make_actor(store, "annotator", "anna", project)
    votes = [Judgment(comparison_id="c0", annotator=name, choice="tie") for name in ("anna", "first")]
    store.judgments.import_many(ADMIN, project.id, votes)
    assert [each.annotator for each in store.judgments.iterate(anna, project.id)] == ["anna"]
    assert [each.annotator for each in store.judgments.iterate(anna, project.id, annotator="anna")] == ["anna"]
    with pytest.raises(AccessError):
        list(store.judgments.iterate(anna, project.id, annotator="first"))


def test_model_names_are_for_leads(store: Store, project: Project, make_actor: Callable[..., Actor]) -> None:
    lead, addy = make_actor(store, "lead", "lea", project), make_actor(store, "adjudicator", "addy", project)
    assert store.comparisons.get(lead, project.id, "c0").source_a == "short model"
    hidden = [store.comparisons.get(addy, project.id, "c0"), *store.comparisons.iterate(addy, project.id)]
    assert {(each.source_a, each.source_b, *each.meta) for each in hidden} == {("", "")}
    assert store.judgments.votes(addy, project.id).sources == ("",)
    assert store.judgments.votes(lead, project.id).sources == ("polite model", "short model")


def test_one_acts_freely_on_the_own_account(store: Store, make_actor: Callable[..., Actor]) -> None:
    anna = make_actor(store, "annotator", "anna")
    assert anna.user_id is not None
    assert store.people.get(anna, anna.user_id).name == "anna"
    assert store.people.by_name(anna, "anna") is not None
    store.people.set_password(anna, anna.user_id, "a long password")
    assert store.people.revoke_sessions(anna, anna.user_id) == 0


def test_leads_make_simulated_annotators_and_nobody_else(store: Store, make_actor: Callable[..., Actor]) -> None:
    lead = make_actor(store, "lead", "lea")
    assert store.people.add(lead, "robot", role="annotator", origin="simulated").origin == "simulated"
    for role, origin in (("lead", "simulated"), ("annotator", "local")):
        with pytest.raises(AccessError):
            store.people.add(lead, "other", role=role, origin=origin)


def test_jobs_without_a_project_and_the_whole_log_are_for_admins(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    lead = make_actor(store, "lead", "lea", project)
    job = store.jobs.add(ADMIN, "backup", "all", ["x"])
    own = store.jobs.add(lead, "export", "all", ["x"], project.id)
    for call in (store.jobs.list, store.audit.list):
        with pytest.raises(AccessError):
            call(lead)
        assert call(ADMIN)
    for job_id in (job.id, 99):
        with pytest.raises(AccessError):
            store.jobs.get(lead, job_id)
        with pytest.raises(AccessError):
            store.jobs.cancel(lead, job_id)
    assert store.jobs.get(lead, own.id) == own
    with pytest.raises(ValueError, match="there is no job 99"):
        store.jobs.get(ADMIN, 99)


def test_notices_are_read_by_leads_of_the_project(
    store: Store, project: Project, make_actor: Callable[..., Actor]
) -> None:
    from annotate_app.store.base import notices

    with store.database.write() as connection:
        notices.add(connection, project.id, "first was paused.")
    lead, eve = make_actor(store, "lead", "lea", project), make_actor(store, "lead", "eve")
    (notice,) = store.notices.list(lead, project.id, unread_only=True)
    for stranger in (eve, make_actor(store, "annotator", "anna", project)):
        with pytest.raises(AccessError):
            store.notices.mark_read(stranger, notice.id)
    store.notices.mark_read(lead, notice.id)
    assert store.notices.list(lead, project.id, unread_only=True) == []
    assert store.notices.list(lead, project.id)[0].read_at is not None
    with pytest.raises(ValueError, match="there is no notice 99"):
        store.notices.mark_read(lead, 99)
