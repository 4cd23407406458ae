"""Projects on both databases: rubric versions, members, and slots that follow the design."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

ADMIN = Actor.command_line()


def open_slots(store: Store, project: Project) -> dict[str, Counter[str]]:
    """By comparison, the open work slots by group."""
    query = (
        select(tables.comparison.c.key, tables.slot.c.group_name)
        .join(tables.comparison, tables.comparison.c.id == tables.slot.c.comparison_id)
        .where(tables.slot.c.project_id == project.id, tables.slot.c.state == 0)
    )
    found: dict[str, Counter[str]] = {}
    with store.database.read() as connection:
        for key, group in connection.execute(query):
            found.setdefault(key, Counter())[group] += 1
    return found


def order(store: Store, project: Project) -> list[str]:
    """Comparison ids in the order in which their first open slots are handed out."""
    query = (
        select(tables.comparison.c.key)
        .join(tables.comparison, tables.comparison.c.id == tables.slot.c.comparison_id)
        .where(tables.slot.c.project_id == project.id, tables.slot.c.state == 0)
        .order_by(tables.slot.c.rank, tables.slot.c.id)
    )
    with store.database.read() as connection:
        return list(dict.fromkeys(connection.execute(query).scalars()))


def test_a_project_is_found_by_name_and_by_id(store: Store, project: Project) -> None:
    assert store.projects.get(ADMIN, "support desk") == project
    assert store.projects.get(ADMIN, project.id) == project
    assert store.projects.get(ADMIN, str(project.id)) == project
    with pytest.raises(ValueError, match="there is no project 'elsewhere'"):
        store.projects.get(ADMIN, "elsewhere")


def test_a_name_of_digits_goes_before_an_id(store: Store, make_project: Callable[..., Project]) -> None:
    first = make_project(store, "first")
    named = make_project(store, str(first.id))
    assert store.projects.get(ADMIN, str(first.id)).id == named.id
    assert store.projects.get(ADMIN, first.id).id == first.id


def test_a_number_after_a_sign_is_never_a_name(store: Store, make_project: Callable[..., Project], lead: Actor) -> None:
    """As jobs name their project: whoever renames one while a job waits does not send it elsewhere."""
    first, second = make_project(store, "first"), make_project(store, "second")
    store.projects.update(ADMIN, second.id, name=str(first.id))
    assert store.projects.get(ADMIN, first.number) == first
    assert store.projects.get(ADMIN, second.number).id == second.id
    with pytest.raises(ValueError, match=f"project name is '{first.number}', allowed is any but # and a number"):
        store.projects.update(ADMIN, second.id, name=first.number)
    with store.database.write() as connection:  # of an earlier version
        connection.execute(update(tables.project).where(tables.project.c.id == second.id).values(name=first.number))
    assert store.projects.get(ADMIN, first.number) == first
    assert store.projects.update(ADMIN, second.id, name=first.number, description="kept").description == "kept"
    for unknown in ("#", "#x", "##1", "#999", "9" * 30, f"#{'9' * 30}"):
        with pytest.raises(ValueError, match=f"there is no project '{unknown}'"):
            store.projects.get(ADMIN, unknown)
    with pytest.raises(AccessError):
        store.projects.get(lead, first.number)


def test_a_name_is_given_once(store: Store, project: Project, make_project: Callable[..., Project]) -> None:
    with pytest.raises(ValueError, match="there is a project named 'support desk' already"):
        make_project(store, " support desk ")


@pytest.mark.parametrize("name", ["", "  ", "x" * 121, "a\x00b", "a\ud800b"])
def test_names_that_no_database_stores_are_refused(
    store: Store, make_project: Callable[..., Project], name: str
) -> None:
    with pytest.raises(ValueError, match="project name"):
        make_project(store, name)


def test_who_makes_a_project_is_its_member(store: Store, make_actor: Callable[..., Actor]) -> None:
    lead = make_actor(store, "lead", "lea")
    text = "title: T\nguidelines: Read.\n"
    made = store.projects.create(lead, "mine", rubric_text=text, design=Design(qualification_items=3))
    assert [(member.name, member.state) for member in store.projects.members(lead, made.id)] == [("lea", "active")]
    assert [entry.action for entry in store.audit.list(lead, made.id)] == ["project create"]


def test_a_rubric_with_a_mistake_makes_no_project(store: Store) -> None:
    with pytest.raises(ValueError, match="rubric of broken"):
        store.projects.create(ADMIN, "broken", rubric_text="title: [", design=Design())
    assert store.projects.list(ADMIN) == []


def test_a_rubric_is_kept_in_versions(store: Store, project: Project, lead: Actor) -> None:
    first = store.projects.rubric(lead, project.id)
    again = store.projects.save_rubric(lead, project.id, first.text)
    assert again == first
    second = store.projects.save_rubric(lead, project.id, first.text.replace("steps: 7", "steps: 5"))
    assert (second.version, second.rubric.scale.steps, second.created_by) == (2, 5, "lea")
    assert [version.version for version in store.projects.rubrics(lead, project.id)] == [1, 2]
    assert store.projects.rubric(lead, project.id, 1).text == first.text
    with pytest.raises(ValueError, match="no version 3"):
        store.projects.rubric(lead, project.id, 3)
    with pytest.raises(ValueError, match="rubric:1"):
        store.projects.save_rubric(lead, project.id, "nonsense")


def test_a_new_overlap_makes_or_removes_open_slots(store: Store, project: Project) -> None:
    for overlap in (5, 2, 3):
        store.projects.update(ADMIN, project.id, design=Design(overlap=overlap))
        assert open_slots(store, project) == {f"c{number}": Counter({"": overlap}) for number in range(5)}
        assert store.check() == []


def test_what_is_judged_or_leased_is_never_taken_back(store: Store, project: Project, annotator: Actor) -> None:
    votes = [Judgment(comparison_id="c0", annotator=f"w{number}", choice="a", strength=1) for number in range(2)]
    store.judgments.import_many(ADMIN, project.id, votes)
    with store.database.write() as connection:
        taken = select(tables.slot.c.id).join(tables.comparison).where(tables.comparison.c.key == "c1").limit(1)
        slot_id = connection.execute(taken).scalar_one()
        values = {"state": 1, "user_id": annotator.user_id, "token": "t", "leased_until": 2e9, "leased_at": 1.0}
        connection.execute(update(tables.slot).where(tables.slot.c.id == slot_id).values(**values))
    store.projects.update(ADMIN, project.id, design=Design(overlap=1))
    assert open_slots(store, project) == {f"c{number}": Counter({"": 1}) for number in (2, 3, 4)}
    assert store.projects.progress(ADMIN, project.id).slots_judged == 2
    store.projects.update(ADMIN, project.id, design=Design(overlap=3))
    wanted = {"c0": 1, "c1": 2, "c2": 3, "c3": 3, "c4": 3}
    assert open_slots(store, project) == {key: Counter({"": count}) for key, count in wanted.items()}
    assert store.check() == []


def test_groups_ask_for_each_group(store: Store, project: Project) -> None:
    store.projects.update(ADMIN, project.id, design=Design(groups={"crowd": 2, "expert": 1}))
    assert open_slots(store, project)["c3"] == Counter({"crowd": 2, "expert": 1})
    store.projects.update(ADMIN, project.id, design=Design(overlap=2))
    assert open_slots(store, project)["c3"] == Counter({"": 2})
    assert store.check() == []


def test_an_overlap_of_its_own_outlives_the_design(store: Store, project: Project) -> None:
    only = [comparison for comparison in store.comparisons.iterate(ADMIN, project.id) if comparison.id == "c1"]
    other = store.projects.create(ADMIN, "other", rubric_text="title: T\nguidelines: Read.\n", design=Design())
    store.comparisons.add(ADMIN, other.id, only, overlap=7)
    store.projects.update(ADMIN, other.id, design=Design(overlap=2))
    assert open_slots(store, other) == {"c1": Counter({"": 7})}


def test_a_new_policy_orders_the_queue_anew(store: Store, make_project: Callable[..., Project]) -> None:
    project = make_project(store, num_comparisons=30)
    in_order = [f"c{number}" for number in range(30)]
    assert order(store, project) == in_order
    store.projects.update(ADMIN, project.id, design=Design(policy="random", seed=1))
    shuffled = order(store, project)
    assert sorted(shuffled) == sorted(in_order)
    assert shuffled != in_order
    store.projects.update(ADMIN, project.id, design=Design(policy="random", seed=2))
    assert order(store, project) != shuffled
    store.comparisons.set_priorities(ADMIN, project.id, {"c7": 2.0, "c9": 3.0})
    store.projects.update(ADMIN, project.id, design=Design(policy="priority"))
    assert order(store, project)[:3] == ["c9", "c7", "c0"]
    assert store.comparisons.set_priorities(ADMIN, project.id, {"c20": 9.0}) == 1
    assert order(store, project)[0] == "c20"


def test_a_project_takes_another_name_that_is_free(store: Store, project: Project) -> None:
    other = store.projects.create(ADMIN, "other", rubric_text="title: T\nguidelines: Read.\n", design=Design())
    assert store.projects.update(ADMIN, project.id, name=" Parcels ").name == "Parcels"
    assert store.projects.update(ADMIN, project.id, name="Parcels").name == "Parcels"
    with pytest.raises(ValueError, match="there is a project named 'Parcels' already"):
        store.projects.update(ADMIN, other.id, name="Parcels")


def test_an_update_changes_only_what_is_given(store: Store, project: Project) -> None:
    changed = store.projects.update(ADMIN, project.id, description="parcels", archived=True)
    assert (changed.description, changed.archived, changed.design) == ("parcels", True, project.design)
    assert store.projects.update(ADMIN, project.id) == changed


def test_members_join_change_and_leave(store: Store, project: Project, lead: Actor, annotator: Actor) -> None:
    assert annotator.user_id is not None
    store.projects.add_member(lead, project.id, annotator.user_id, "expert")
    anna = next(member for member in store.projects.members(lead, project.id) if member.name == "anna")
    assert (anna.group, anna.state, anna.role) == ("expert", "active", "annotator")
    store.projects.set_member_state(lead, project.id, annotator.user_id, "paused")
    assert [member.state for member in store.projects.members(lead, project.id)] == ["paused", "active"]
    with pytest.raises(ValueError, match="allowed are qualifying, active, paused, failed"):
        store.projects.set_member_state(lead, project.id, annotator.user_id, "asleep")
    store.projects.remove_member(lead, project.id, annotator.user_id)
    assert [member.name for member in store.projects.members(lead, project.id)] == ["lea"]
    with pytest.raises(AccessError, match="anna is not a member"):
        store.projects.get(annotator, project.id)
    with pytest.raises(ValueError, match="is not a member"):
        store.projects.remove_member(lead, project.id, annotator.user_id)


def test_a_new_member_begins_with_the_qualification(
    store: Store, make_project: Callable[..., Project], make_actor: Callable[..., Actor]
) -> None:
    project = make_project(store, design=Design(qualification_items=2))
    make_actor(store, "annotator", "anna", project)
    assert [member.state for member in store.projects.members(ADMIN, project.id)] == ["qualifying"]


def test_progress_counts_slots_and_judgments(store: Store, project: Project) -> None:
    day = 86_400.0
    votes = [
        Judgment(comparison_id=key, annotator=name, choice="tie", seconds=2.5, created_at=at)
        for key, name, at in [("c0", "u", 0.5), ("c0", "v", day - 0.5), ("c0", "w", day), ("c1", "u", 1.5 * day)]
    ]
    store.judgments.import_many(ADMIN, project.id, votes)
    progress = store.projects.progress(ADMIN, project.id)
    assert (progress.num_comparisons, progress.num_complete) == (5, 1)
    assert (progress.slots_wanted, progress.slots_judged, progress.slots_leased) == (15, 4, 0)
    assert [(str(day), count) for day, count in progress.judgments_by_day] == [("1970-01-01", 2), ("1970-01-02", 2)]
    first = progress.by_member[0]
    assert (first.name, first.num_judgments, first.seconds, first.last_at) == ("u", 2, 5.0, 1.5 * day)
