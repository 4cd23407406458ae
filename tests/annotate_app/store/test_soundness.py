"""Whatever people do in whatever order, and whenever a process is killed, what is stored stays sound."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import Lease, LeaseError, Submission
from annotate_app.store.projects.comparisons import Gold
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import CHOICES, Comparison, Judgment, Message

ADMIN = Actor.command_line()
RUBRIC = "title: T\nguidelines: Read.\nboth_bad: true\nskip_reasons: [other]\n"
PEOPLE = st.integers(0, 3)
KEYS = st.integers(0, 7).map(lambda number: f"c{number}")
ANSWERS = st.sampled_from(CHOICES).map(lambda choice: (choice, int(choice in ("a", "b"))))


class Project(RuleBasedStateMachine):
    """People at work, leads who change their minds, imports in between."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="tiebreak-")
        self.store = Store.open(f"sqlite:///{self.folder}/tiebreak.db")

    @initialize(overlap=st.integers(1, 3), checks=st.booleans())
    def begin(self, overlap: int, checks: bool) -> None:
        rates = {"gold_rate": 0.3, "repeat_rate": 0.3} if checks else {}
        design = Design(overlap=overlap, **rates)  # type: ignore[arg-type]
        self.project = self.store.projects.create(ADMIN, "p", rubric_text=RUBRIC, design=design).id
        self.people = []
        for number in range(4):
            user = self.store.people.add(ADMIN, f"w{number}", role="annotator")
            self.store.projects.add_member(ADMIN, self.project, user.id, ("", "expert")[number % 2])
            self.people.append(self.store.people.actor_of(user))
        self.add(4)

    @rule(count=st.integers(1, 8), overlap=st.none() | st.integers(1, 3))
    def add(self, count: int, overlap: int | None = None) -> None:
        self.store.comparisons.add(
            ADMIN,
            self.project,
            [
                Comparison(
                    id=f"c{number}",
                    prompt=(Message(role="user", content=f"{number}"),),
                    completion_a="yes",
                    completion_b="no",
                )
                for number in range(count)
            ],
            overlap=overlap,
        )

    @rule(person=PEOPLE, answer=ANSWERS, again=st.booleans())
    def judge(self, person: int, answer: tuple[str, int], again: bool) -> None:
        actor = self.people[person]
        leases = self.store.work.lease(actor, self.project)
        if leases:
            submission = self.submission(leases[0], answer)
            for _ in range(1 + again):
                receipt = self.store.work.submit(actor, self.project, submission)
                assert receipt.accepted
            assert receipt.duplicate == again

    @rule(person=PEOPLE, answer=ANSWERS, which=st.integers(0, 9))
    def edit(self, person: int, answer: tuple[str, int], which: int) -> None:
        actor = self.people[person]
        history = [own for own in self.store.work.history(actor, self.project) if own.can_edit]
        if history:
            chosen = history[which % len(history)]
            try:
                lease, _ = self.store.work.reopen(actor, self.project, chosen.judgment_id)
            except LeaseError:
                return
            self.store.work.submit(actor, self.project, self.submission(lease, answer))

    @rule(person=PEOPLE)
    def undo(self, person: int) -> None:
        try:
            self.store.work.undo(self.people[person], self.project)
        except LeaseError:
            return

    @rule(person=PEOPLE)
    def leave(self, person: int) -> None:
        self.store.work.release(self.people[person], self.project)

    @rule(key=KEYS, person=PEOPLE, stranger=st.booleans(), answer=ANSWERS)
    def bring_in(self, key: str, person: int, stranger: bool, answer: tuple[str, int]) -> None:
        if not self.has(key):
            return
        name = f"{'stranger ' if stranger else 'w'}{person}"
        vote = Judgment(comparison_id=key, annotator=name, choice=answer[0], strength=answer[1])  # type: ignore[arg-type]
        self.store.judgments.import_many(ADMIN, self.project, [vote])

    @rule(overlap=st.integers(1, 4), grouped=st.booleans(), policy=st.sampled_from(["sequential", "random", "fewest"]))
    def redesign(self, overlap: int, grouped: bool, policy: str) -> None:
        groups = {"crowd": 1, "expert": overlap} if grouped else {}
        design = Design(overlap=overlap, groups=groups, policy=policy)  # type: ignore[arg-type]
        self.store.projects.update(ADMIN, self.project, design=design)

    @rule(key=KEYS, gold=st.none() | st.sampled_from(["a", "tie"]))
    def set_gold(self, key: str, gold: str | None) -> None:
        if self.has(key):
            answer = None if gold is None else Gold(choice=gold)  # type: ignore[arg-type]
            self.store.comparisons.set_gold(ADMIN, self.project, key, answer)

    @rule(person=PEOPLE, state=st.sampled_from(["active", "paused"]))
    def set_state(self, person: int, state: str) -> None:
        user_id = self.people[person].user_id
        assert user_id is not None
        self.store.projects.set_member_state(ADMIN, self.project, user_id, state)

    @invariant()
    def all_is_sound(self) -> None:
        assert self.store.check() == []

    def has(self, key: str) -> bool:
        return key in {comparison.id for comparison in self.store.comparisons.iterate(ADMIN, self.project)}

    def submission(self, lease: Lease, answer: tuple[str, int]) -> Submission:
        choice, strength = answer
        reason = "other" if choice == "skip" else ""
        judgment = Judgment(
            comparison_id=lease.comparison.id,
            annotator="",
            choice=choice,  # type: ignore[arg-type]
            strength=strength,
            reason=reason,
        )
        return Submission(token=lease.token, event_id=uuid.uuid4().hex, judgment=judgment)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestProject = pytest.mark.slow(Project.TestCase)
TestProject.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)


def test_an_edit_of_a_pair_that_somebody_skipped_before_counts_once(store: Store, make_project, make_actor) -> None:
    project = make_project(store, num_comparisons=1, design=Design(overlap=1), rubric_text=RUBRIC)
    ben, anna = (make_actor(store, "annotator", name, project) for name in ("ben", "anna"))
    for actor, choice, reason in ((ben, "skip", "other"), (anna, "tie", "")):
        (lease,) = store.work.lease(actor, project.id)
        judgment = Judgment(comparison_id="c0", annotator=actor.name, choice=choice, reason=reason)
        submission = Submission(token=lease.token, event_id=uuid.uuid4().hex, judgment=judgment)
        store.work.submit(actor, project.id, submission)
    (own,) = store.work.history(anna, project.id)
    lease, _ = store.work.reopen(anna, project.id, own.judgment_id)
    judgment = Judgment(comparison_id="c0", annotator="anna", choice="a", strength=1)
    submission = Submission(token=lease.token, event_id=uuid.uuid4().hex, judgment=judgment)
    assert store.work.submit(anna, project.id, submission).progress.done == 1
    assert store.check() == []


WRITE = """
import sys, uuid
from annotate_app.access import Actor
from annotate_app.protocol.leases import Submission
from annotate_app.store.store import Store
from rewardkit.data.records import Judgment
store = Store.open(sys.argv[1], migrate=False)
actor = store.people.actor_of(store.people.list(Actor.command_line())[0])
leases = store.work.lease(actor, 1)
while leases:
    event_id = uuid.uuid4().hex
    judgment = Judgment(comparison_id=leases[0].comparison.id, annotator="anna", choice="a", strength=1)
    submission = Submission(token=leases[0].token, event_id=event_id, judgment=judgment)
    leases = store.work.submit(actor, 1, submission).leases
    sys.stdout.write(event_id + "\\n")
    sys.stdout.flush()
"""


@pytest.mark.slow
def test_a_killed_process_loses_no_judgment_that_it_told_of(store: Store, make_project, make_actor) -> None:
    project = make_project(store, num_comparisons=3000, design=Design(overlap=1))
    assert project.id == 1
    make_actor(store, "annotator", "anna", project)
    told: list[str] = []
    for round_number in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITE, store.database.url], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
        )
        assert process.stdout is not None
        for _ in range(20 + 15 * round_number):
            told.append(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
        told += process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        with store.database.read() as connection:
            written = set(connection.execute(select(tables.judgment.c.event_id)).scalars())
        assert set(told) <= written
        assert len(written) - len(told) <= round_number + 1  # one may be on disk that was not told of
        assert store.check() == []
    assert len(told) >= 20 + 35 + 50
