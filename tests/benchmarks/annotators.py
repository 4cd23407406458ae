"""Annotators against the running server, then the books: is every acknowledged judgment kept, none beyond the overlap?

    python tests/benchmarks/annotators.py --annotators 20 --seconds 20 --pause 0
    python tests/benchmarks/annotators.py --annotators 50 --seconds 60 --pause 10

Client, server and database share the machine. Measured beside, on the same kind of machine (two cores, 20 annotators
without a pause): Label Studio 1.23 and Potato 2.12.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from sqlalchemy import select
from streamlit_tab import PASSWORD, Record, Tab
from websockets.exceptions import WebSocketException

from annotate_app.access import Actor
from annotate_app.protocol.collection_design import Design
from annotate_app.store.schema import tables
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

ADMIN = Actor.command_line()
OVERLAP = 3
PEERS = (
    ("Label Studio 1.23", "20, no pause", 8.8, 6.4, "736"),
    ("Potato 2.12", "20, no pause", 40.0, 0.68, "2"),
)
WORDS = "the parcel order refund address desk reply today again please number courier window label"
RUBRIC = """\
title: Which answer helps more?
guidelines: Read the question and both answers to the end.
scale:
  steps: 7
criteria:
  - name: correct
    question: Which one is right?
  - name: clear
    question: Which one is clearer?
rationale: optional
"""


@dataclass(frozen=True, kw_only=True)
class Books:
    """What the database says against what the annotators were told.

    Attributes:
        acknowledged: judgments the annotators saw acknowledged.
        lost: those of them that are not in the database.
        duplicated: events that are there more than once.
        beyond: judgments above the overlap, summed over comparisons.
        twice: comparisons that one person judged twice.
        problems: what the store's own check finds.
    """

    acknowledged: int
    stored: int
    lost: int
    duplicated: int
    beyond: int
    twice: int
    problems: list[str]

    @property
    def balance(self) -> bool:
        """Whether nothing is missing and nothing too much."""
        return not (self.lost or self.duplicated or self.beyond or self.twice or self.problems)


@dataclass(frozen=True, kw_only=True)
class Report:
    """One measurement; times in seconds from submit until the acknowledgement with the next pair is in hand."""

    annotators: int
    pause_s: float
    seconds: float
    judgments: int
    per_second: float
    p50_s: float
    p95_s: float
    p99_s: float
    refused: int
    ended_early: int
    server_cpu_ms: float
    books: Books


def text(number: int, size: int) -> str:
    """Markdown of a size in characters, different for each number."""
    rng = random.Random(number)
    words = WORDS.split()
    parts = [f"**Answer {number}.** Here is what to do:\n"]
    while sum(map(len, parts)) < size:
        line = " ".join(rng.choices(words, k=14))
        parts.append(rng.choice([f"\n{line}.", f"\n- {line}", f"\n1. `{line[:20]}` {line[20:]}"]))
    return "".join(parts)[:size]


def prepare(url: str, *, annotators: int, comparisons: int, size: int = 2300) -> list[str]:
    """A project with so many comparisons and accounts in an empty database; the accounts' names."""
    store = Store.open(url)
    project = store.projects.create(ADMIN, "bench", rubric_text=RUBRIC, design=Design(overlap=OVERLAP, policy="random"))
    rows = (
        Comparison(
            id=f"c{number}",
            prompt=(Message(role="user", content=f"Question {number}: where is my parcel?"),),
            completion_a=text(2 * number, size),
            completion_b=text(2 * number + 1, size),
        )
        for number in range(comparisons)
    )
    store.comparisons.add(ADMIN, project.id, rows)
    names = [f"annotator {number:03d}" for number in range(annotators)]
    for name in names:
        user = store.people.add(ADMIN, name, role="annotator", password=PASSWORD)
        store.projects.add_member(ADMIN, project.id, user.id)
    store.close()
    return names


@contextlib.contextmanager
def serve(url: str, port: int = 0) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The real server on a database; its address and process."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    command = [sys.executable, "-m", "annotate_app", "serve", "--port", str(port), "--no-worker"]
    process = subprocess.Popen(command, env=os.environ | {"TIEBREAK_DB": url}, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: exit code {process.poll()}")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
                break
            time.sleep(0.1)
        yield address, process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


@dataclass(frozen=True, kw_only=True)
class Work:
    """What annotators did: their records, the seconds from the first judgment on, the server's CPU seconds in them."""

    records: list[Record]
    seconds: float
    cpu_seconds: float


async def annotate(server: str, pid: int, names: list[str], *, seconds: float, pause_s: float) -> Work:
    """Lets the annotators work for a time.

    A pause is drawn evenly from half to one and a half of its mean. Whoever's connection ends keeps the record so far.
    """
    tabs = [Tab(server, name) for name in names]
    for group in range(0, len(tabs), 5):
        await asyncio.gather(*(tab.open() for tab in tabs[group : group + 5]))
    begin, cpu_before = time.perf_counter(), cpu_seconds(pid)

    async def work(tab: Tab) -> None:
        rng = random.Random(tab.record.name)
        await asyncio.sleep(rng.random() * max(pause_s, 0.05))
        try:
            while time.perf_counter() - begin < seconds and await tab.judge():
                if pause_s:
                    await asyncio.sleep(rng.uniform(0.5, 1.5) * pause_s)
            await tab.close()
        except (WebSocketException, OSError, TimeoutError) as error:
            tab.record.ended = f"{type(error).__name__}: {error}"

    await asyncio.gather(*(work(tab) for tab in tabs))
    return Work(
        records=[tab.record for tab in tabs],
        seconds=time.perf_counter() - begin,
        cpu_seconds=cpu_seconds(pid) - cpu_before,
    )


def keep_books(url: str, records: list[Record]) -> Books:
    """Holds the annotators' records against the database."""
    store = Store.open(url, migrate=False)
    columns = tables.judgment.c
    with store.database.read() as connection:
        rows = connection.execute(
            select(columns.event_id, columns.comparison_id, columns.user_id).where(columns.choice != "skip")
        ).all()
    problems = store.check()
    store.close()
    events = collections.Counter(row.event_id for row in rows)
    per_comparison = collections.Counter(row.comparison_id for row in rows)
    per_person = collections.Counter((row.comparison_id, row.user_id) for row in rows)
    acknowledged = [event for record in records for event in record.saved]
    return Books(
        acknowledged=len(acknowledged),
        stored=len(rows),
        lost=sum(event not in events for event in acknowledged),
        duplicated=sum(count > 1 for count in events.values()),
        beyond=sum(max(0, count - OVERLAP) for count in per_comparison.values()),
        twice=sum(count > 1 for count in per_person.values()),
        problems=problems,
    )


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used (Linux; 0 elsewhere)."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def measure(*, annotators: int, seconds: float, pause_s: float, comparisons: int, url: str) -> Report:
    """One measurement on an empty database."""
    names = prepare(url, annotators=annotators, comparisons=comparisons)
    with serve(url) as (server, process):
        work = asyncio.run(annotate(server, process.pid, names, seconds=seconds, pause_s=pause_s))
    times = sorted(second for record in work.records for second in record.seconds)
    return Report(
        annotators=annotators,
        pause_s=pause_s,
        seconds=round(work.seconds, 2),
        judgments=len(times),
        per_second=round(len(times) / work.seconds, 1),
        p50_s=round(quantile(times, 0.5), 4),
        p95_s=round(quantile(times, 0.95), 4),
        p99_s=round(quantile(times, 0.99), 4),
        refused=sum(len(record.refused) for record in work.records),
        ended_early=sum(bool(record.ended) for record in work.records),
        server_cpu_ms=round(1000 * work.cpu_seconds / max(1, len(times)), 1),
        books=keep_books(url, work.records),
    )


def quantile(ordered: list[float], share: float) -> float:
    """The value below which a share of sorted values lies."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def show(report: Report) -> None:
    """Prints a measurement beside the peers'."""
    pause = f"{report.annotators}, {f'{report.pause_s:g} s pause' if report.pause_s else 'no pause'}"
    print(f"{'':20} {'annotators':16} {'judgments/s':>11} {'p50 s':>8} {'p95 s':>8} {'beyond overlap':>15}")
    books = report.books
    figures = f"{report.per_second:>11} {report.p50_s:>8} {report.p95_s:>8} {books.beyond:>15}"
    print(f"{'Tiebreak':20} {pause:16} {figures}")
    for name, who, per_second, p95, beyond in PEERS:
        print(f"{name:20} {who:16} {per_second:>11} {'':>8} {p95:>8} {beyond:>15}")
    print(
        f"{report.judgments} judgments in {report.seconds} s, {report.server_cpu_ms} ms of server CPU each; "
        f"acknowledged {books.acknowledged}, lost {books.lost}, duplicated {books.duplicated}, twice {books.twice}, "
        f"refused {report.refused}, ended early {report.ended_early}, problems {books.problems or 'none'}"
    )


def main() -> int:
    """Measures once; exit code 1 where the books do not balance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.0, help="mean seconds between judgments; 0 saturates")
    parser.add_argument("--comparisons", type=int, default=20_000)
    parser.add_argument("--db", default="", help="an empty database; default a SQLite file of its own")
    parser.add_argument("--json", type=Path, help="write the report here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measure(
            annotators=options.annotators,
            seconds=options.seconds,
            pause_s=options.pause,
            comparisons=options.comparisons,
            url=options.db or f"sqlite:///{folder}/bench.db",
        )
    show(report)
    if options.json:
        options.json.write_text(json.dumps(asdict(report), indent=2) + "\n")
    return 0 if report.books.balance else 1


if __name__ == "__main__":
    sys.exit(main())
