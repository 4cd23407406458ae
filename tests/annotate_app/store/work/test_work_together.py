"""Many people at once, in threads and in processes, and every interleaving that hypothesis can think of."""

import functools
import itertools
import random
import subprocess
import sys
import threading
import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, update

from annotate_app.access import AccessError, Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import LeaseError, Submission
from annotate_app.store.schema import tables
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()


def judged_twice(store, project_id):
    """(comparison, user) pairs with more than one work judgment that counts."""
    columns = tables.judgment.c
    query = (
        select(columns.comparison_id, columns.user_id)
        .where(columns.project_id == project_id, columns.newest, columns.kind == "work")
        .group_by(columns.comparison_id, columns.user_id)
        .having(func.count() > 1)
    )
    with store.database.read() as connection:
        return connection.execute(query).all()


def states(store, project_id):
    """By comparison id, the states of its work slots."""
    query = select(tables.comparison.c.key, tables.slot.c.state)
    query = query.join(tables.slot, tables.slot.c.comparison_id == tables.comparison.c.id)
    query = query.where(tables.slot.c.project_id == project_id, tables.slot.c.kind == "work")
    found: dict[str, list[int]] = {}
    with store.database.read() as connection:
        for key, state in connection.execute(query):
            found.setdefault(key, []).append(state)
    return found


@pytest.mark.slow
def test_fifty_people_pulling_at_once_get_exactly_the_overlap(
    store, make_project, make_actor, answer, work_through, counted
):
    """Each person judges, skips, releases and comes back; half of the pairs are sent twice, from two threads."""
    project = make_project(store, num_comparisons=16, design=Design(overlap=10))
    people = [make_actor(store, "annotator", f"person {number}", project) for number in range(50)]
    start = threading.Barrier(len(people))
    errors, handed = [], Counter()

    def work(person):
        draw = random.Random(person.name)
        try:
            start.wait()
            leases = store.work.lease(person, project.id)
            while leases:
                handed.update((lease.token, lease.comparison.id, person.name) for lease in leases)
                chance = draw.random()
                if chance < 0.1:
                    store.work.release(person, project.id)
                    leases = store.work.lease(person, project.id)
                    continue
                choice = "skip" if chance < 0.15 else "b"
                event_id = uuid.uuid4().hex
                if chance > 0.7:
                    twice = functools.partial(answer, store, person, project, leases[0], event_id=event_id)
                    again = threading.Thread(target=twice)
                    again.start()
                    receipt = twice()
                    again.join()
                else:
                    receipt = answer(store, person, project, leases[0], choice, event_id=event_id)
                leases = receipt.leases
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(person,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for person in people:  # what was given back after somebody had seen an empty queue
        work_through(store, person, project)
    assert counted(store) == {f"c{number}": 10 for number in range(16)}
    assert judged_twice(store, project.id) == []
    assert all(found == [2] * 10 for found in states(store, project.id).values())
    assert store.check() == []


WORKER = """
import sys, threading, uuid
from annotate_app.access import Actor
from annotate_app.protocol.leases import Submission
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment

store = Store.open(sys.argv[1], migrate=False)
people = [Actor(user_id=int(number), name=number, role="annotator") for number in sys.argv[3:]]
project_id = int(sys.argv[2])
failed = []

def work(person):
    try:
        leases = store.work.lease(person, project_id)
        while leases:
            judgment = Judgment(comparison_id=leases[0].comparison.id, annotator="", choice="a", strength=1)
            submission = Submission(token=leases[0].token, event_id=uuid.uuid4().hex, judgment=judgment)
            leases = store.work.submit(person, project_id, submission).leases
    except Exception as error:
        failed.append(error)
        raise

threads = [threading.Thread(target=work, args=(person,)) for person in people]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(bool(failed))
"""


@pytest.mark.slow
def test_several_processes_share_one_queue(store, make_project, make_actor, counted):
    project = make_project(store, num_comparisons=30, design=Design(overlap=4, policy="random"))
    people = [str(make_actor(store, "annotator", f"person {number}", project).user_id) for number in range(12)]
    url = store.database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", WORKER, url, str(project.id)]
    processes = [subprocess.Popen([*command, *people[at::3]]) for at in range(3)]
    assert [process.wait(120) for process in processes] == [0] * 3
    assert counted(store) == {f"c{number}": 4 for number in range(30)}
    assert judged_twice(store, project.id) == []


NAMES = itertools.count()
PEOPLE = st.integers(0, 3)


class Office(RuleBasedStateMachine):
    """Four people and a small project; every call may come at any time, with tokens however old."""

    store = make_actor = None  # set by the test

    @initialize(
        overlap=st.integers(1, 3),
        num_comparisons=st.integers(1, 4),
        policy=st.sampled_from(["sequential", "random", "fewest", "priority"]),
        repeat_rate=st.sampled_from([0.0, 0.5]),
    )
    def open(self, overlap, num_comparisons, policy, repeat_rate):
        design = Design(overlap=overlap, policy=policy, repeat_rate=repeat_rate)
        rubric = "title: t\nguidelines: g\n"
        self.project = self.store.projects.create(ADMIN, f"p{next(NAMES)}", rubric_text=rubric, design=design)
        self.overlap, self.num_comparisons = overlap, 0
        self.add(num_comparisons)
        self.people = [self.make_actor(self.store, "annotator", f"u{next(NAMES)}", self.project) for _ in range(4)]
        self.tokens = [[] for _ in self.people]
        self.away = set()

    @rule(count=st.integers(1, 2))
    def add(self, count):
        numbers = range(self.num_comparisons, self.num_comparisons + count)
        prompt = (Message(role="user", content="?"),)
        made = [Comparison(id=f"c{n}", prompt=prompt, completion_a=f"a{n}", completion_b=f"b{n}") for n in numbers]
        self.store.comparisons.add(ADMIN, self.project.id, made)
        self.num_comparisons += count

    @rule(who=PEOPLE, count=st.integers(1, 3))
    def lease(self, who, count):
        if who in self.away:
            with pytest.raises(AccessError):
                self.store.work.lease(self.people[who], self.project.id, count=count)
            return
        self.keep(who, self.store.work.lease(self.people[who], self.project.id, count=count))

    @rule(who=PEOPLE, which=st.integers(0, 30), choice=st.sampled_from(["a", "tie", "skip"]), count=st.integers(0, 2))
    def submit(self, who, which, choice, count):
        if not self.tokens[who] or who in self.away:
            return
        token = self.tokens[who][-1 - which % len(self.tokens[who])]
        held = self.is_held(who, token)
        judgment = Judgment(
            comparison_id="",
            annotator=who,
            choice=choice,
            strength=int(choice == "a"),
            reason="other" if choice == "skip" else "",
        )
        submission = Submission(token=token, event_id=uuid.uuid4().hex, judgment=judgment)
        try:
            receipt = self.store.work.submit(self.people[who], self.project.id, submission, lease_count=count)
        except LeaseError:
            assert not held
            return
        self.keep(who, receipt.leases)
        again = self.store.work.submit(self.people[who], self.project.id, submission, lease_count=0)
        assert again.duplicate
        assert again.progress.done == receipt.progress.done

    @rule(who=PEOPLE)
    def undo(self, who):
        if who in self.away:
            return
        try:
            lease = self.store.work.undo(self.people[who], self.project.id)
        except LeaseError:  # a skipped pair that others have taken
            return
        self.keep(who, [lease] if lease else [])

    @rule(who=PEOPLE, which=st.integers(0, 30))
    def reopen(self, who, which):
        if who in self.away:
            return
        history = self.store.work.history(self.people[who], self.project.id)
        if not history:
            return
        try:
            lease, _ = self.store.work.reopen(
                self.people[who], self.project.id, history[which % len(history)].judgment_id
            )
        except LeaseError:
            return
        self.keep(who, [lease])

    @rule(who=PEOPLE)
    def release(self, who):
        if who not in self.away:
            self.store.work.release(self.people[who], self.project.id)

    @rule()
    def run_out(self):
        with self.store.database.write() as connection:
            chosen = (tables.slot.c.project_id == self.project.id, tables.slot.c.state == 1)
            connection.execute(update(tables.slot).where(*chosen).values(leased_until=1.0))

    @rule(who=PEOPLE)
    def leave_or_come_back(self, who):
        user_id = self.people[who].user_id
        if who in self.away:
            self.store.projects.add_member(ADMIN, self.project.id, user_id)
            self.away.discard(who)
        else:
            self.store.projects.remove_member(ADMIN, self.project.id, user_id)
            self.away.add(who)

    @invariant()
    def strict_overlap_holds(self):
        if not hasattr(self, "people"):
            return
        found = states(self.store, self.project.id)
        assert len(found) == self.num_comparisons
        assert all(len(each) == self.overlap for each in found.values())
        columns = tables.judgment.c
        query = select(tables.comparison.c.key, columns.user_id)
        query = query.join(tables.comparison, tables.comparison.c.id == columns.comparison_id).where(
            columns.project_id == self.project.id,
            columns.newest,
            columns.kind == "work",
            columns.choice.not_in(("skip", "withdrawn")),
        )
        with self.store.database.read() as connection:
            standing = [tuple(row) for row in connection.execute(query)]
        assert len(set(standing)) == len(standing)
        counts = Counter(key for key, _ in standing)
        assert {key: each.count(2) for key, each in found.items()} == {key: counts[key] for key in found}
        done = Counter(user_id for _, user_id in standing)
        for number, person in enumerate(self.people):
            if number not in self.away:
                progress = self.store.work.own_progress(person, self.project.id)
                repeats = [own for own in self.store.work.history(person, self.project.id, limit=500)]
                assert progress.done == sum(own.judgment.choice != "skip" for own in repeats) >= done[person.user_id]

    def teardown(self):
        """In the end everybody comes back and works until there is nothing for them: nothing may be stranded."""
        if not hasattr(self, "people"):
            return
        for who in list(self.away):
            self.leave_or_come_back(who)
        self.run_out()
        for _ in range(2):
            for person in self.people:
                leases = self.store.work.lease(person, self.project.id)
                while leases:
                    judgment = Judgment(comparison_id=leases[0].comparison.id, annotator="", choice="tie")
                    submission = Submission(token=leases[0].token, event_id=uuid.uuid4().hex, judgment=judgment)
                    leases = self.store.work.submit(person, self.project.id, submission).leases
        self.strict_overlap_holds()
        touched = select(tables.comparison.c.key, func.count(tables.slot.c.user_id.distinct()))
        touched = touched.join(tables.slot, tables.slot.c.comparison_id == tables.comparison.c.id)
        touched = touched.where(tables.slot.c.project_id == self.project.id).group_by(tables.comparison.c.key)
        with self.store.database.read() as connection:
            seen = {row[0]: row[1] for row in connection.execute(touched)}
        for key, each in states(self.store, self.project.id).items():
            assert each.count(2) == self.overlap or seen[key] == len(self.people), (key, each)

    def keep(self, who, leases):
        self.tokens[who].extend(lease.token for lease in leases if lease.token not in self.tokens[who])

    def is_held(self, who, token):
        slot = tables.slot.c
        query = select(slot.state, slot.user_id, slot.leased_until).where(slot.token == token)
        with self.store.database.read() as connection:
            row = connection.execute(query).first()
        if row is None or row.user_id != self.people[who].user_id:
            return False
        return row.state == 1 or row.leased_until is not None


@pytest.mark.slow
def test_no_interleaving_breaks_the_overlap_or_strands_a_slot(store, make_actor):
    machine = type("Machine", (Office,), {"store": store, "make_actor": staticmethod(make_actor)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30 if store.database.is_sqlite else 12,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
