"""Measures every filter of the page Comparisons: its first page with the count of all that it chooses.

    python tests/benchmarks/comparisons_page.py [--comparisons 100000] [--people 60] [--database sqlite:///file.db]

Fills a database with comparisons of three judgments each (criteria, flags, checks, repeats, tags), unless it is filled
already, and prints one JSON document: by filter the number chosen, and the median and the longest of five times in
milliseconds, and the memory that the process held more at the end than after the database was opened.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.protocol.rubric import Criterion, Flag, Rubric, rubric_text
from annotate_app.store.base.answers import directions
from annotate_app.store.base.database import bulk_insert
from annotate_app.store.projects.projects import Project
from annotate_app.store.schema import desk_tables, tables
from annotate_app.store.store import Store
from annotate_app.store.workbench.comparison_filter import SORTS, STATES, ComparisonFilter
from rewardkit.data.records import Comparison, Message

ADMIN = Actor.command_line()
NAME = "workbench"
MODELS = [f"model-{letter}" for letter in "abcdefgh"]
WORDS = ["the", "parcel", "carrier", "refund", "order", "number", "answer", "please", "thanks", "kubernetes", "late"]
TIMES = 5


def comparisons(count: int) -> Iterator[Comparison]:
    """Comparisons of some 600 to 1,400 characters."""
    draw = random.Random(0)
    for number in range(count):
        one, other = draw.sample(MODELS, 2)
        texts = [" ".join(draw.choices(WORDS, k=draw.randint(50, 110))) for _ in range(2)]
        yield Comparison(
            id=f"c{number}",
            prompt=(Message(role="user", content=f"Question {number}: {' '.join(draw.choices(WORDS, k=12))}?"),),
            completion_a=texts[0],
            completion_b=f"{texts[1]} {number}",
            source_a=one,
            source_b=other,
        )


def fill(store: Store, count: int, num_people: int) -> Project:
    """The project, with judgments written as rows: what is measured is reading."""
    rubric = Rubric(
        title="Bench",
        guidelines="Read both.",
        criteria=(
            Criterion(name="tone", question="Tone?"),
            Criterion(name="facts", question="Facts?", kind="rate", low=1, high=5),
        ),
        flags=(Flag(name="unsafe", label="Unsafe"),),
    )
    project = store.projects.create(ADMIN, NAME, rubric_text=rubric_text(rubric), design=Design(overlap=3))
    store.comparisons.add(ADMIN, project.id, comparisons(count))
    users = [store.people.add(ADMIN, f"person {number}", role="annotator").id for number in range(num_people)]
    for user_id in users:
        store.projects.add_member(ADMIN, project.id, user_id)
    draw, now = random.Random(1), time.time()
    rows, tags = [], []
    for comparison_id in range(1, count + 1):
        if comparison_id % 20 == 0:
            tags.append((project.id, comparison_id, "hard"))
        if comparison_id % 50 == 0:
            continue
        lean = draw.random()
        for user_id in draw.sample(users, 3):
            choice = "a" if draw.random() < lean else draw.choice(("b", "b", "b", "tie"))
            answers = {"tone": draw.randint(-1, 1), "facts": [draw.randint(1, 5), draw.randint(1, 5)]}
            flags = '{"a": ["unsafe"], "b": []}' if draw.random() < 0.02 else "{}"
            kinds = ("work", "repeat") if draw.random() < 0.02 else ("work",)
            for kind in kinds:
                at, seconds = now - draw.random() * 40 * 86_400, draw.uniform(4, 90)
                event = f"e{len(rows)}"
                values = (json.dumps(answers), directions(answers), flags, event, seconds, at)
                rows.append((project.id, comparison_id, user_id, kind, choice, int(choice in "ab"), *values))
                choice = draw.choice(("a", "b"))
    columns = ("project_id", "comparison_id", "user_id", "kind", "choice", "strength")
    more = ("criteria", "directions", "flags", "event_id", "seconds", "created_at", "rationale", "reason", "shown_left")
    with store.database.write() as connection:
        full = [(*row, "", "", "a", 1, True) for row in rows]
        bulk_insert(connection, tables.judgment, (*columns, *more, "rubric_version", "newest"), full)
        bulk_insert(connection, desk_tables.comparison_tag, ("project_id", "comparison_id", "tag"), tags)
        done = "UPDATE slot SET state = 2 WHERE comparison_id % 50 <> 0 AND (comparison_id % 7 <> 0 OR id % 3 <> 0)"
        connection.exec_driver_sql(done)
        gold = (
            """UPDATE comparison SET gold = '{"choice": "a", "explanation": "", "use": "gold"}', gold_use = 'gold' """
        )
        connection.exec_driver_sql(f"{gold} WHERE id % 40 = 0")
        connection.exec_driver_sql("UPDATE comparison SET excluded = true WHERE id % 100 = 1")
        if store.database.is_sqlite:
            connection.exec_driver_sql("ANALYZE")
    return project


def filters() -> dict[str, ComparisonFilter]:
    """Every filter that the page has, by a name for it."""
    one, other = "person 1", "person 2"
    chosen = {
        "everything": ComparisonFilter(),
        "text: rare": ComparisonFilter(text="Question 4242"),
        "text: common": ComparisonFilter(text="kubernetes"),
        "text: none": ComparisonFilter(text="nowhere to be found"),
        "person": ComparisonFilter(persons=(one,)),
        "two people": ComparisonFilter(persons=(one, other)),
        "apart from the others": ComparisonFilter(disagree=(one,)),
        "two disagree": ComparisonFilter(disagree=(one, other)),
        "model": ComparisonFilter(models=(MODELS[0],)),
        "model pair": ComparisonFilter(models=(MODELS[0], MODELS[1])),
        "flag": ComparisonFilter(flag="unsafe"),
        "criterion, compared": ComparisonFilter(criterion="tone"),
        "criterion, rated": ComparisonFilter(criterion="facts"),
        "unanimous": ComparisonFilter(agreement="unanimous"),
        "split": ComparisonFilter(agreement="split"),
        "agreement 0.5-0.8": ComparisonFilter(agreement="0.5-0.8"),
        "gold missed by one": ComparisonFilter(missed=one),
        "gold missed by anybody": ComparisonFilter(missed="*"),
        "changed by one": ComparisonFilter(changed=one),
        "changed by anybody": ComparisonFilter(changed="*"),
        "too fast, one": ComparisonFilter(fast=one),
        "too fast, anybody": ComparisonFilter(fast="*"),
        "days": ComparisonFilter(since=date.fromtimestamp(time.time() - 3 * 86_400)),
        "length": ComparisonFilter(shortest=800, longest=900),
        "tag": ComparisonFilter(tags=("hard",)),
        "excluded only": ComparisonFilter(excluded="only"),
        "turn": ComparisonFilter(turn=1),
        "asked": ComparisonFilter(asked=True),
        "assigned": ComparisonFilter(assigned="*"),
    }
    chosen |= {f"state: {state}": ComparisonFilter(state=state) for state in STATES[1:]}
    chosen |= {f"order: {sort}": ComparisonFilter(sort=sort) for sort in SORTS[1:]}
    return chosen


def memory_mb() -> float:
    """The most that the process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(store: Store, project: Project) -> dict[str, dict[str, float]]:
    """By filter, how many it chooses and how long its first page took."""
    table = {}
    for name, chosen in filters().items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            found = store.browsing.page(ADMIN, project.id, chosen)
            times.append(1000 * (time.perf_counter() - began))
        table[name] = {
            "chosen": found.total,
            "median_ms": round(statistics.median(times), 1),
            "longest_ms": round(max(times), 1),
        }
    return table


def main() -> None:
    """Fills, measures and prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--comparisons", type=int, default=100_000)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--database", default="", help="where the rows are kept (default: a file thrown away)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(options.database or f"sqlite:///{Path(folder) / 'bench.db'}")
        there = [project for project in store.projects.list(ADMIN) if project.name == NAME]
        before = memory_mb()
        project = there[0] if there else fill(store, options.comparisons, options.people)
        before = before if there else memory_mb()
        table = measure(store, project)
        print(json.dumps({"filters": table, "memory_mb": round(memory_mb() - before, 1)}, indent=2))
        store.close()


if __name__ == "__main__":
    main()
