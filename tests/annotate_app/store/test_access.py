"""Who may call what: every public function of the store by role and membership."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from datetime import date

import pytest

from annotate_app.access import ROLES, AccessError, Actor, MissingError
from annotate_app.protocol.collection_design import Design
from annotate_app.store.judgments.judgments import Decision
from annotate_app.store.judgments.staged import stage_judgments
from annotate_app.store.people.crowd import LinkPlan
from annotate_app.store.people.invitation_list import Wanted
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.contents import stage_contents
from annotate_app.store.projects.projects import Project
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import ComparisonFilter
from annotate_app.times import Period

ADMIN = Actor.command_line()
DAY = Period(first=date(2026, 11, 30), last=date(2026, 11, 30), zone="UTC")
CROWD = LinkPlan(name="study", id_parameter="id", target=1, completion_code="X")
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


def switch_link(store: Store, actor: Actor, project: Project) -> None:
    """Switches a link; whoever is let through learns that there is none."""
    with contextlib.suppress(ValueError):
        store.crowd.set_active(actor, project.id, 99, False)


def missing(call: Callable[..., object], *arguments: object) -> None:
    """Asks for what is not there; whoever is let through learns that."""
    with contextlib.suppress(MissingError):
        call(*arguments)


def answer_question(store: Store, actor: Actor, project: Project) -> None:
    """Answers a question; whoever is let through learns that there is none."""
    with contextlib.suppress(ValueError):
        store.questions.answer(actor, project.id, 1, "So.")


def import_staged(store: Store, actor: Actor, project: Project) -> None:
    with stage_judgments([]) as staged:
        store.judgments.import_staged(actor, project.id, staged)


LAST = ComparisonFilter(keys=("c4",))


def rename_view(store: Store, actor: Actor, project: Project) -> None:
    """Renames a view; whoever is let through learns that there is none."""
    with contextlib.suppress(ValueError):
        store.saved_views.rename(actor, project.id, 99, "other")


def delete_view(store: Store, actor: Actor, project: Project) -> None:
    """Deletes a view; whoever is let through learns that there is none."""
    with contextlib.suppress(ValueError):
        store.saved_views.delete(actor, project.id, 99)


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
    "projects.first_steps": ("lead", True, lambda s, a, p: s.projects.first_steps(a, p.id)),
    "projects.keep_rubric": ("lead", True, lambda s, a, p: s.projects.keep_rubric(a, p.id)),
    "projects.pseudonym_key": ("adjudicator", True, lambda s, a, p: s.projects.pseudonym_key(a, p.id)),
    "projects.progress": ("adjudicator", True, lambda s, a, p: s.projects.progress(a, p.id)),
    "comparisons.add": ("lead", True, lambda s, a, p: s.comparisons.add(a, p.id, [])),
    "comparisons.add_staged": ("lead", True, add_staged),
    "comparisons.set_priorities": ("lead", True, lambda s, a, p: s.comparisons.set_priorities(a, p.id, {"c0": 1.0})),
    "comparisons.set_gold": ("lead", True, lambda s, a, p: s.comparisons.set_gold(a, p.id, "c0", Gold(choice="a"))),
    "comparisons.golds": ("lead", True, lambda s, a, p: s.comparisons.golds(a, p.id)),
    "comparisons.get": ("adjudicator", True, lambda s, a, p: s.comparisons.get(a, p.id, "c0")),
    "comparisons.divide": (
        "lead",
        True,
        lambda s, a, p: missing(s.comparisons.divide, a, p.id, "nowhere", ["One.", "Two."]),
    ),
    "comparisons.set_step_scores": ("lead", True, lambda s, a, p: s.comparisons.set_step_scores(a, p.id, {})),
    "comparisons.iterate": ("adjudicator", True, lambda s, a, p: list(s.comparisons.iterate(a, p.id))),
    "comparisons.pairs": ("adjudicator", True, lambda s, a, p: list(s.comparisons.pairs(a, p.id))),
    "comparisons.sources": ("lead", True, lambda s, a, p: s.comparisons.sources(a, p.id)),
    "comparisons.count": ("adjudicator", True, lambda s, a, p: s.comparisons.count(a, p.id)),
    "comparisons.set_overlap": ("lead", True, lambda s, a, p: s.comparisons.set_overlap(a, p.id, "c1", 2)),
    "images.add": ("lead", True, lambda s, a, p: s.images.add(a, p.id, [])),
    "images.get": ("annotator", True, lambda s, a, p: s.images.get(a, p.id, "0" * 64)),
    "images.hashes": ("lead", True, lambda s, a, p: s.images.hashes(a, p.id)),
    "images.types": ("lead", True, lambda s, a, p: s.images.types(a, p.id)),
    "images.iterate": ("lead", True, lambda s, a, p: list(s.images.iterate(a, p.id))),
    "browsing.find": ("lead", True, lambda s, a, p: s.browsing.find(a, p.id)),
    "browsing.page": ("lead", True, lambda s, a, p: s.browsing.page(a, p.id)),
    "browsing.count": ("lead", True, lambda s, a, p: s.browsing.count(a, p.id)),
    "browsing.keys": ("lead", True, lambda s, a, p: s.browsing.keys(a, p.id)),
    "browsing.vocabulary": ("lead", True, lambda s, a, p: s.browsing.vocabulary(a, p.id)),
    "person_judgments.page": ("lead", True, lambda s, a, p: s.person_judgments.page(a, p.id, "first")),
    "bulk.set_gold": ("lead", True, lambda s, a, p: s.bulk.set_gold(a, p.id, LAST, None)),
    "bulk.set_golds": ("lead", True, lambda s, a, p: s.bulk.set_golds(a, p.id, {})),
    "bulk.set_priority": ("lead", True, lambda s, a, p: s.bulk.set_priority(a, p.id, LAST, 1.0)),
    "bulk.set_overlap": ("lead", True, lambda s, a, p: s.bulk.set_overlap(a, p.id, LAST, 2)),
    "bulk.exclude": ("lead", True, lambda s, a, p: s.bulk.exclude(a, p.id, LAST, False)),
    "bulk.tag": ("lead", True, lambda s, a, p: s.bulk.tag(a, p.id, LAST, "hard")),
    "bulk.untag": ("lead", True, lambda s, a, p: s.bulk.untag(a, p.id, LAST, "hard")),
    "bulk.import_marks": ("lead", True, lambda s, a, p: s.bulk.import_marks(a, p.id, {}, [])),
    "assignments.assign": ("lead", True, lambda s, a, p: s.assignments.assign(a, p.id, LAST, [1])),
    "assignments.free": ("lead", True, lambda s, a, p: s.assignments.free(a, p.id, LAST)),
    "assignments.counts": ("lead", True, lambda s, a, p: s.assignments.counts(a, p.id)),
    "saved_views.list": ("lead", True, lambda s, a, p: s.saved_views.list(a, p.id)),
    "saved_views.save": ("lead", True, lambda s, a, p: s.saved_views.save(a, p.id, "mine", LAST)),
    "saved_views.rename": ("lead", True, rename_view),
    "saved_views.delete": ("lead", True, delete_view),
    "browsing.iterate": ("lead", True, lambda s, a, p: list(s.browsing.iterate(a, p.id))),
    "browsing.stamp": ("adjudicator", True, lambda s, a, p: s.browsing.stamp(a, p.id)),
    "judgments.iterate": ("annotator", True, lambda s, a, p: list(s.judgments.iterate(a, p.id))),
    "judgments.of_comparison": ("adjudicator", True, lambda s, a, p: s.judgments.of_comparison(a, p.id, "c0")),
    "judgments.votes": ("adjudicator", True, lambda s, a, p: s.judgments.votes(a, p.id)),
    "judgments.spans": ("adjudicator", True, lambda s, a, p: s.judgments.spans(a, p.id)),
    "judgments.feed": ("annotator", True, lambda s, a, p: s.judgments.feed(a, p.id)),
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
    "people.create_invites": (
        "lead",
        True,
        lambda s, a, p: s.people.create_invites(a, [Wanted(name=None, role="annotator")], project_id=p.id),
    ),
    "people.revoke_invites": ("lead", False, lambda s, a, p: s.people.revoke_invites(a, p.id)),
    "people.invites": ("lead", False, lambda s, a, p: s.people.invites(a)),
    "people.revoke_sessions": ("admin", False, lambda s, a, p: s.people.revoke_sessions(a, 1)),
    "people.list": ("lead", False, lambda s, a, p: s.people.list(a)),
    "questions.answer": ("lead", True, answer_question),
    "questions.list": ("lead", True, lambda s, a, p: s.questions.list(a, p.id)),
    "questions.own": ("annotator", True, lambda s, a, p: s.questions.own(a, p.id)),
    "readings.newest": ("annotator", True, lambda s, a, p: s.readings.newest(a, p.id)),
    "readings.list": ("lead", True, lambda s, a, p: s.readings.list(a, p.id)),
    "audit.list": ("lead", True, lambda s, a, p: s.audit.list(a, p.id)),
    "notices.list": ("lead", True, lambda s, a, p: s.notices.list(a, p.id)),
    "jobs.add": ("lead", True, lambda s, a, p: s.jobs.add(a, "export", "all", ["x"], p.id)),
    "jobs.list": ("lead", True, lambda s, a, p: s.jobs.list(a, p.id)),
    "api_tokens.create": ("annotator", False, lambda s, a, p: s.api_tokens.create(a, "t", role="annotator")),
    "api_tokens.list": ("admin", False, lambda s, a, p: s.api_tokens.list(a, everybodys=True)),
    "webhooks.create": ("lead", True, lambda s, a, p: s.webhooks.create(a, p.id, "https://example.org/", ["judgment"])),
    "webhooks.list": ("lead", True, lambda s, a, p: s.webhooks.list(a, p.id)),
    "webhooks.get": ("lead", True, lambda s, a, p: missing(s.webhooks.get, a, p.id, 99)),
    "webhooks.change": ("lead", True, lambda s, a, p: missing(s.webhooks.change, a, p.id, 99)),
    "webhooks.renew_secret": ("lead", True, lambda s, a, p: missing(s.webhooks.renew_secret, a, p.id, 99)),
    "webhooks.remove": ("lead", True, lambda s, a, p: missing(s.webhooks.remove, a, p.id, 99)),
    "webhooks.deliveries": ("lead", True, lambda s, a, p: missing(s.webhooks.deliveries, a, p.id, 99)),
    "webhooks.send_again": ("lead", True, lambda s, a, p: missing(s.webhooks.send_again, a, p.id, 99)),
    "webhook_deliveries.trial": ("lead", True, lambda s, a, p: missing(s.webhook_deliveries.trial, a, p.id, 99)),
    "run_notes.list": ("lead", True, lambda s, a, p: s.run_notes.list(a, p.id)),
    "run_notes.change": ("lead", True, change_note),
    "fields.people": ("lead", True, lambda s, a, p: s.fields.people(a, p.id)),
    "fields.set": ("lead", True, lambda s, a, p: s.fields.set(a, p.id, {"first": {"country": "KE"}})),
    "fields.platform_names": ("lead", True, lambda s, a, p: s.fields.platform_names(a, p.id)),
    "crowd.add_link": ("lead", True, lambda s, a, p: s.crowd.add_link(a, p.id, CROWD)),
    "crowd.links": ("lead", True, lambda s, a, p: s.crowd.links(a, p.id)),
    "crowd.set_active": ("lead", True, switch_link),
    "crowd.visits": ("lead", True, lambda s, a, p: s.crowd.visits(a, p.id)),
    "crowd.own_ending": ("annotator", True, lambda s, a, p: s.crowd.own_ending(a, p.id)),
    "pay.people": ("lead", True, lambda s, a, p: s.pay.people(a, p.id, DAY)),
    "pay.set_rate": ("lead", True, lambda s, a, p: s.pay.set_rate(a, p.id, 1, 1.0)),
}
# Checked below by themselves, or elsewhere.
APART = {
    "projects.list",
    "notices.mark_read",
    "jobs.get",
    "jobs.cancel",
    "people.set_language",  # one's own only
    "questions.ask",  # of a pair in hand; in `work/test_questions.py`
    "readings.acknowledge",  # for oneself; in `work/test_readings.py`
    "people.revoke_invite",  # who could make it; in `people/test_people.py`
    # no actor: a password, a token or a worker beside the database speaks for itself
    "people.invite",
    "crowd.open_link",
    "crowd.enter",
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
    "api_tokens.revoke",  # one's own, or an admin; in `people/test_api_tokens.py`
    "api_tokens.use",  # whoever holds it
    # the worker's; in `api/test_webhooks.py`
    "webhook_deliveries.collect",
    "webhook_deliveries.due",
    "webhook_deliveries.claim",
    "webhook_deliveries.arrived",
    "webhook_deliveries.failed",
    "webhook_deliveries.forget_old",
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
    rooms = (
        *("projects", "comparisons", "images", "browsing", "judgments", "people"),
        *("audit", "notices", "jobs", "run_notes"),
        *("pay", "crowd", "fields"),
        *("bulk", "assignments", "saved_views", "person_judgments"),
        *("questions", "readings"),
        *("api_tokens", "webhooks", "webhook_deliveries"),
    )
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
