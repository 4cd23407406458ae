"""Crowd links: who comes in, who does not, what an id opens and what it never does, and when the code is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.people.crowd import LinkPlan
from annotate_app.store.people.members import FormerMember
from annotate_app.store.people.sign_in import RateLimitError
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema.door_tables import crowd_visit
from annotate_app.store.store import Store

ADMIN = Actor.command_line()
PLAN = LinkPlan(
    name="Which answer helps?",
    id_parameter="PROLIFIC_PID",
    target=2,
    completion_code="DONE1",
    screen_out_code="OUT1",
    over_quota_code="FULL1",
    return_url="https://app.prolific.com/submissions/complete?cc={code}",
    dropout_minutes=30,
)
Enter = Callable[..., Actor]


@pytest.fixture
def project(store: Store, make_project: Callable[..., Project]) -> Project:
    return make_project(store)


@pytest.fixture
def enter(store: Store) -> Enter:
    """Comes in by a link and is then somebody: `enter(link, "5f00")`."""

    def enter(link, platform_id: str, **parameters: str) -> Actor:
        entry = store.crowd.enter(link.token, platform_id, parameters, f"10.0.0.{len(platform_id)}")
        assert entry.outcome == "working", entry
        user = store.people.session_user(entry.session)
        assert user is not None
        return store.people.actor_of(user)

    return enter


def outcomes(store: Store, project: Project) -> dict[str, str]:
    return {visit.platform_id: visit.outcome for visit in store.crowd.visits(ADMIN, project.id)}


def test_somebody_works_to_the_target_and_only_then_gets_the_code(
    store: Store, project: Project, enter: Enter, answer: Callable
) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    anna = enter(link, "5f00", STUDY_ID="s1", SESSION_ID="t1")
    assert (anna.name, anna.role) == (f"prolific-5f00@{project.id}", "annotator")
    assert outcomes(store, project) == {"5f00": "started"}
    leases = store.work.lease(anna, project.id, count=2)
    assert len(leases) == 2
    receipt = answer(store, anna, project, leases[0], "skip")
    assert (receipt.progress.done, receipt.progress.target) == (0, 2)
    receipt = answer(store, anna, project, receipt.leases[0], seconds=20.0)
    assert (receipt.progress.done, len(receipt.leases)) == (1, 1)  # no pair beyond the target
    assert outcomes(store, project) == {"5f00": "working"}
    assert store.crowd.own_ending(anna, project.id) is None
    receipt = answer(store, anna, project, receipt.leases[0], seconds=40.0)
    assert (receipt.progress.done, receipt.progress.state, receipt.leases) == (2, "completed", [])
    ending = store.crowd.own_ending(anna, project.id)
    assert ending is not None
    assert (ending.outcome, ending.code) == ("completed", "DONE1")
    assert ending.return_url == "https://app.prolific.com/submissions/complete?cc=DONE1"
    assert store.work.lease(anna, project.id) == []
    with pytest.raises(ValueError, match="completed"):  # the code stands, and so do the answers
        store.work.undo(anna, project.id)
    again = store.crowd.enter(link.token, "5f00", {}, "10.0.0.9")
    assert (again.outcome, again.code, again.session) == ("completed", "DONE1", "")
    (visit,) = store.crowd.visits(ADMIN, project.id)
    assert (visit.outcome, visit.judgments, visit.seconds) == ("completed", 2, 60.0)
    assert dict(visit.parameters) == {"STUDY_ID": "s1", "SESSION_ID": "t1"}


def test_the_same_id_is_the_same_person_and_another_another(
    store: Store, project: Project, enter: Enter, make_project: Callable[..., Project]
) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    anna = enter(link, "5f00")
    tokens = [lease.token for lease in store.work.lease(anna, project.id)]
    assert enter(link, "5f00") == anna
    assert [lease.token for lease in store.work.lease(anna, project.id)] == tokens
    assert enter(link, "5F00") != anna
    second = store.crowd.add_link(ADMIN, project.id, replace(PLAN, name="again"))
    assert enter(second, "5f00") == anna
    other_kind = store.crowd.add_link(ADMIN, project.id, replace(PLAN, id_parameter="workerId"))
    assert enter(other_kind, "5f00").name == f"mturk-5f00@{project.id}"
    elsewhere = make_project(store, "elsewhere")
    stranger = enter(store.crowd.add_link(ADMIN, elsewhere.id, PLAN), "5f00")
    assert stranger != anna
    with pytest.raises(AccessError):
        store.work.lease(stranger, project.id)
    with pytest.raises(AccessError):
        store.work.lease(anna, elsewhere.id)


def test_an_id_leads_to_no_account_that_was_made_otherwise(store: Store, project: Project, enter: Enter) -> None:
    name = f"prolific-5f00@{project.id}"
    local = store.people.add(ADMIN, name, role="lead", password="a long password")
    store.projects.add_member(ADMIN, project.id, local.id)
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    person = enter(link, "5f00")
    assert person.user_id != local.id
    assert (person.name, person.role) == (f"{name}-2", "annotator")


def test_an_account_of_a_link_signs_in_no_other_way_and_rises_nowhere(
    store: Store, project: Project, enter: Enter, make_project: Callable[..., Project]
) -> None:
    person = enter(store.crowd.add_link(ADMIN, project.id, PLAN), "5f00")
    assert person.user_id is not None
    user = store.people.get(ADMIN, person.user_id)
    assert store.people.check_password(user.name, "", "10.0.0.1") is None
    reasons = "never signs in|cannot sign in|named .* already|allowed for who comes|only a crowd link"
    for attempt in (
        lambda: store.people.start_session(user),
        lambda: store.people.set_password(ADMIN, user.id, "a long password"),
        lambda: store.people.set_password(person, user.id, "a long password"),
        lambda: store.people.create_invite(ADMIN, role="annotator", name=user.name),
        lambda: store.people.set_role(ADMIN, user.id, "lead"),
        lambda: store.projects.add_member(ADMIN, make_project(store, "other").id, user.id),
    ):
        with pytest.raises(ValueError, match=reasons):
            attempt()
    other = store.projects.get(ADMIN, "other")
    former = [FormerMember(name=user.name, role="lead", group="", state="active", joined_at=0.0)]
    store.projects.import_members(ADMIN, other.id, former, pseudonyms=False)
    assert user.id not in {member.user_id for member in store.projects.members(ADMIN, other.id)}


def test_quota_counts_people_at_it_and_a_dropout_frees_the_place(
    store: Store, project: Project, enter: Enter, answer: Callable
) -> None:
    link = store.crowd.add_link(ADMIN, project.id, replace(PLAN, quota=1))
    anna = enter(link, "anna")
    full = store.crowd.enter(link.token, "bob", {}, "10.0.0.2")
    assert (full.outcome, full.code, full.session) == ("over_quota", "FULL1", "")
    assert "cc=FULL1" in full.return_url
    assert outcomes(store, project) == {"anna": "started", "bob": "over_quota"}
    assert enter(link, "anna") == anna  # a place is not taken from who is in
    with store.database.write() as connection:
        early = {"started_at": 1.0, "seen_at": 1.0}
        connection.execute(update(crowd_visit).where(crowd_visit.c.platform_id == "anna").values(**early))
    assert outcomes(store, project)["anna"] == "dropped_out"
    bob = enter(link, "bob")
    assert outcomes(store, project) == {"anna": "dropped_out", "bob": "started"}
    assert store.crowd.enter(link.token, "anna", {}, "10.0.0.3").outcome == "over_quota"
    assert outcomes(store, project)["anna"] == "dropped_out"
    answer(store, bob, project, store.work.lease(bob, project.id, count=1)[0])
    with store.database.write() as connection:  # a judgment keeps the place, however long ago the link was opened
        early = {"seen_at": 1.0, "started_at": 1.0}
        connection.execute(update(crowd_visit).where(crowd_visit.c.platform_id == "bob").values(**early))
    assert outcomes(store, project)["bob"] == "working"


def test_who_fails_the_qualification_is_screened_out(
    store: Store, make_project: Callable[..., Project], enter: Enter, answer: Callable
) -> None:
    project = make_project(store, design=Design(overlap=1, qualification_items=1))
    store.comparisons.set_gold(ADMIN, project.id, "c0", Gold(choice="a", use="qualification"))
    link = store.crowd.add_link(ADMIN, project.id, replace(PLAN, quota=1, target=1))
    eve = enter(link, "eve")
    receipt = answer(store, eve, project, store.work.lease(eve, project.id, count=1)[0], "b")
    assert receipt.progress.state == "failed"
    ending = store.crowd.own_ending(eve, project.id)
    assert ending is not None
    assert (ending.outcome, ending.code) == ("screened_out", "OUT1")
    again = store.crowd.enter(link.token, "eve", {}, "10.0.0.3")
    assert (again.outcome, again.code, again.session) == ("screened_out", "OUT1", "")
    anna = enter(link, "anna")  # who is screened out holds no place
    receipt = answer(store, anna, project, store.work.lease(anna, project.id, count=1)[0], "a")
    assert receipt.progress.state == "completed"  # passed, and one judgment was asked for
    assert outcomes(store, project) == {"eve": "screened_out", "anna": "completed"}


def test_who_has_nothing_left_to_judge_is_done_unless_they_skipped_their_way(
    store: Store, make_project: Callable[..., Project], enter: Enter, answer: Callable
) -> None:
    project = make_project(store, design=Design(overlap=4))
    link = store.crowd.add_link(ADMIN, project.id, replace(PLAN, target=100))
    for name, choices, state in (("anna", {"a"}, "completed"), ("bob", {"skip"}, "active")):
        actor = enter(link, name)
        leases, num = store.work.lease(actor, project.id, count=1), 0
        receipt = None
        while leases:
            choice = "skip" if "skip" in choices and num else "a"
            receipt = answer(store, actor, project, leases[0], choice, lease_count=1)
            leases, num = receipt.leases, num + 1
        assert num > 2
        assert receipt is not None
        assert receipt.progress.state == state


def test_answers_of_an_earlier_visit_that_are_changed_count_for_that(
    store: Store, project: Project, enter: Enter, answer: Callable
) -> None:
    first = store.crowd.add_link(ADMIN, project.id, replace(PLAN, target=1))
    anna = enter(first, "anna")
    answer(store, anna, project, store.work.lease(anna, project.id, count=1)[0])
    second = store.crowd.add_link(ADMIN, project.id, replace(PLAN, name="again", target=1, completion_code="TWO"))
    assert enter(second, "anna") == anna
    (own,) = store.work.history(anna, project.id)
    edit, _ = store.work.reopen(anna, project.id, own.judgment_id)
    receipt = answer(store, anna, project, edit, "b", lease_count=1)
    assert (receipt.progress.state, receipt.progress.done) == ("active", 0)
    receipt = answer(store, anna, project, receipt.leases[0])
    assert receipt.progress.state == "completed"
    ending = store.crowd.own_ending(anna, project.id)
    assert ending is not None
    assert ending.code == "TWO"


@pytest.mark.parametrize(
    "platform_id", ["", "a b", "a/../b", "<script>", "{{%PROLIFIC_PID%}}", "a" * 65, "x\x00", "é", "a\nb", "' OR 1=1"]
)
def test_what_is_no_id_is_refused(store: Store, project: Project, platform_id: str) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    with pytest.raises(ValueError, match="id is"):
        store.crowd.enter(link.token, platform_id, {}, "10.0.0.1")
    assert store.crowd.visits(ADMIN, project.id) == []


def test_parameters_are_kept_few_and_short(store: Store, project: Project, enter: Enter) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    many = {f"p{number}": "x" for number in range(30)}
    enter(link, "anna", STUDY_ID="s", long="y" * 500, odd="\ud800", nul="\x00", PROLIFIC_PID="other", **many)
    (visit,) = store.crowd.visits(ADMIN, project.id)
    assert set(visit.parameters) == {"STUDY_ID", *(f"p{number}" for number in range(9))}


def test_a_link_that_is_off_or_of_an_archived_project_is_closed(store: Store, project: Project, enter: Enter) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    anna = enter(link, "anna")
    store.crowd.set_active(ADMIN, project.id, link.id, False)
    assert store.crowd.open_link(link.token) is None
    assert store.crowd.enter(link.token, "bob", {}, "10.0.0.1").outcome == "closed"
    assert store.work.lease(anna, project.id)  # who is in works on
    store.crowd.set_active(ADMIN, project.id, link.id, True)
    assert store.crowd.open_link(link.token) == link
    store.projects.update(ADMIN, project.id, archived=True)
    assert store.crowd.open_link(link.token) is None
    for token in ("", "unknown", "x\x00", "y" * 500):
        assert store.crowd.open_link(token) is None
        assert store.crowd.enter(token, "bob", {}, "10.0.0.1").outcome == "closed"


def test_a_closed_or_removed_person_does_not_come_back(store: Store, project: Project, enter: Enter) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    anna, bob = enter(link, "anna"), enter(link, "bob")
    assert anna.user_id is not None
    assert bob.user_id is not None
    store.people.set_active(ADMIN, anna.user_id, False)
    store.projects.remove_member(ADMIN, project.id, bob.user_id)
    for name in ("anna", "bob"):
        assert store.crowd.enter(link.token, name, {}, "10.0.0.1").outcome == "closed"


def test_visits_are_limited_as_signing_in_is(store: Store, project: Project) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    for _ in range(20):  # who comes back is no stranger
        assert store.crowd.enter(link.token, "anna", {}, "10.0.0.1").outcome == "working"
    for number in range(50):
        store.crowd.enter(link.token, f"n{number}", {}, "10.0.0.2")
    with pytest.raises(RateLimitError):
        store.crowd.enter(link.token, "n50", {}, "10.0.0.2")
    assert len(store.crowd.visits(ADMIN, project.id)) == 51
    store.crowd.enter(link.token, "m", {}, "10.0.0.3")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target": 0}, "target is 0"),
        ({"quota": -1}, "quota is -1"),
        ({"completion_code": ""}, "completion_code is empty"),
        ({"completion_code": "two words"}, "code is 'two words'"),
        ({"screen_out_code": "DONE1"}, "one of its own"),
        ({"id_parameter": "a&b"}, "id_parameter is"),
        ({"return_url": "javascript:alert(1)"}, "return_url is"),
        ({"return_url": "https://"}, "return_url is"),
        ({"return_url": "https://a b"}, "return_url is"),
        ({"reward": float("nan")}, "reward is"),
        ({"dropout_minutes": 1}, "dropout_minutes is 1"),
        ({"name": " "}, "name is empty"),
    ],
)
def test_a_link_is_checked(values: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(PLAN, **values)


def test_links_are_for_leads_of_the_project(
    store: Store, project: Project, make_actor: Callable[..., Actor], enter: Enter
) -> None:
    link = store.crowd.add_link(ADMIN, project.id, PLAN)
    for actor in (make_actor(store, "annotator", "ann", project), make_actor(store, "lead", "eve"), enter(link, "x")):
        for call in (
            lambda: store.crowd.add_link(actor, project.id, PLAN),  # noqa: B023
            lambda: store.crowd.links(actor, project.id),  # noqa: B023
            lambda: store.crowd.visits(actor, project.id),  # noqa: B023
            lambda: store.crowd.set_active(actor, project.id, link.id, False),  # noqa: B023
        ):
            with pytest.raises(AccessError):
                call()
    with pytest.raises(ValueError, match="there is no crowd link 99"):
        store.crowd.set_active(ADMIN, project.id, 99, True)


def test_a_design_with_groups_wants_one_of_them(
    store: Store, make_project: Callable[..., Project], enter: Enter
) -> None:
    project = make_project(store, design=Design(groups={"crowd": 1}))
    with pytest.raises(ValueError, match="group is '', allowed are crowd"):
        store.crowd.add_link(ADMIN, project.id, PLAN)
    person = enter(store.crowd.add_link(ADMIN, project.id, replace(PLAN, group="crowd")), "anna")
    assert store.work.lease(person, project.id)


def test_a_restored_link_is_off_and_its_sessions_have_ended(
    sqlite_store: Store, make_project: Callable[..., Project], tmp_path: Path
) -> None:
    project = make_project(sqlite_store)
    link = sqlite_store.crowd.add_link(ADMIN, project.id, PLAN)
    entry = sqlite_store.crowd.enter(link.token, "anna", {}, "10.0.0.1")
    backup = sqlite_store.backup(tmp_path / "all.tiebreak")
    with Store.restore(backup, f"sqlite:///{tmp_path / 'restored.db'}") as restored:
        assert restored.crowd.open_link(link.token) is None
        assert restored.people.session_user(entry.session) is None
        assert [visit.platform_id for visit in restored.crowd.visits(ADMIN, project.id)] == ["anna"]
