"""Measures how long people wait while a large import runs: every answer, lease and sign-in of theirs.

    python tests/benchmarks/import_waits.py [--judgments 150000] [--comparisons 100000] [--people 6]

On a SQLite file of its own, six people judge one project without a pause, and one more signs in again and again, first
alone and then while `annotate-app judgments import` and `annotate-app import` fill another project as processes of
their own. Prints one JSON document; seconds a call.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.leases import Submission
from annotate_app.protocol.rubric import Rubric, rubric_text
from annotate_app.store.store import Store
from rewardkit.data.files import write_rows
from rewardkit.data.records import Comparison, Judgment, Message

ADMIN = Actor.command_line()
ALONE_S = 5.0
VOTES = 3  # judgments of one comparison


def comparison(number: int, words: str) -> Comparison:
    return Comparison(
        id=f"c{number}",
        prompt=(Message(role="user", content=f"{words} {number}?"),),
        completion_a=f"First {number} " + "a good answer " * 20,
        completion_b=f"Second {number} " + "another answer " * 20,
    )


def fill(store: Store, num_people: int, num_judgments: int) -> list[Actor]:
    """The project that people work in, with enough for a while, and the one that is imported into."""
    rubric = rubric_text(Rubric(title="Waits", guidelines="Read both."))
    work = store.projects.create(ADMIN, "work", rubric_text=rubric, design=Design(overlap=2))
    store.comparisons.add(ADMIN, work.id, (comparison(number, "work") for number in range(20_000)))
    other = store.projects.create(ADMIN, "other", rubric_text=rubric, design=Design(overlap=2))
    store.comparisons.add(ADMIN, other.id, (comparison(number, "other") for number in range(num_judgments // VOTES)))
    actors = []
    for number in range(num_people):
        user = store.people.add(ADMIN, f"person {number}", role="annotator")
        store.projects.add_member(ADMIN, work.id, user.id)
        actors.append(Actor(user_id=user.id, name=user.name, role="annotator"))
    return actors


@contextmanager
def people_at_work(store: Store, actors: list[Actor], waits: list[float]) -> Iterator[None]:
    """Lets everybody work, and one sign in, while the block runs; each call's seconds are appended to `waits`."""
    stop = threading.Event()
    project = store.projects.get(ADMIN, "work")

    def judge(actor: Actor) -> None:
        leases = store.work.lease(actor, project.id)
        while not stop.is_set():
            judgment = Judgment(comparison_id=leases[0].comparison.id, annotator=actor.name, choice="a", strength=1)
            sent = Submission(token=leases[0].token, event_id=uuid.uuid4().hex, judgment=judgment)
            began = time.perf_counter()
            leases = store.work.submit(actor, project.id, sent).leases
            waits.append(time.perf_counter() - began)
            time.sleep(0.05)

    def sign_in() -> None:
        user = store.people.by_name(ADMIN, actors[0].name)
        assert user is not None
        while not stop.is_set():
            began = time.perf_counter()
            store.people.end_session(store.people.start_session(user))
            waits.append(time.perf_counter() - began)
            time.sleep(0.1)

    threads = [threading.Thread(target=judge, args=(actor,)) for actor in actors] + [threading.Thread(target=sign_in)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def figures(waits: list[float], took_s: float) -> dict[str, float]:
    ordered = sorted(waits)
    return {
        "calls": len(ordered),
        "median": round(statistics.median(ordered), 4),
        "p95": round(ordered[int(0.95 * len(ordered))], 3),
        "worst": round(ordered[-1], 3),
        "took_s": round(took_s, 1),
    }


def measure(store: Store, actors: list[Actor], command: list[str]) -> dict[str, float]:
    """The waits while a command runs; without one, while nothing does."""
    waits: list[float] = []
    began = time.perf_counter()
    with people_at_work(store, actors, waits):
        if command:
            words = [sys.executable, "-m", "annotate_app", *command, "--db", store.database.url]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        else:
            time.sleep(ALONE_S)
    return figures(waits, time.perf_counter() - began)


def write_files(folder: Path, num_judgments: int, num_comparisons: int) -> tuple[Path, Path]:
    judgments, comparisons = folder / "judgments.jsonl", folder / "comparisons.jsonl"
    rows = (
        {"comparison_id": f"c{number // VOTES}", "annotator": f"w{number % VOTES}-{number % 40}", "choice": "a"}
        for number in range(num_judgments)
    )
    write_rows(judgments, rows)
    new = (comparison(number, "new") for number in range(num_comparisons))
    write_rows(
        comparisons,
        (
            {
                "id": f"n{item.id}",
                "prompt": item.prompt[0].content,
                "response_a": item.completion_a,
                "response_b": item.completion_b,
            }
            for item in new
        ),
    )
    return judgments, comparisons


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--judgments", type=int, default=150_000)
    parser.add_argument("--comparisons", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        judgments, comparisons = write_files(Path(folder), options.judgments, options.comparisons)
        with Store.open(f"sqlite:///{folder}/waits.db") as store:
            actors = fill(store, options.people, options.judgments)
            report = {
                "alone": measure(store, actors, []),
                "judgments": measure(store, actors, ["judgments", "import", "other", str(judgments)]),
                "comparisons": measure(store, actors, ["import", "other", str(comparisons)]),
            }
    print(json.dumps(vars(options) | report, indent=2))


if __name__ == "__main__":
    main()
