"""Many annotators at once on the running server, over its real protocol; and the server killed in their midst."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import annotators
from sqlalchemy import func, select

from annotate_app.store.base.database import Database
from annotate_app.store.schema import tables


@pytest.mark.alone
@pytest.mark.slow
def test_every_judgment_is_accounted_for(sqlite_url):
    report = annotators.measure(annotators=5, seconds=3, pause_s=0, comparisons=120, url=sqlite_url)
    assert report.books.balance, report
    assert report.books.acknowledged == report.books.stored == report.judgments
    assert report.judgments > 20
    assert (report.refused, report.ended_early) == (0, 0)


@pytest.mark.alone
@pytest.mark.slow
def test_the_last_slots_go_to_nobody_twice(sqlite_url):
    names = annotators.prepare(sqlite_url, annotators=5, comparisons=8)
    with annotators.serve(sqlite_url) as (server, process):
        work = asyncio.run(annotators.annotate(server, process.pid, names, seconds=20, pause_s=0))
    books = annotators.keep_books(sqlite_url, work.records)
    assert books.balance, books
    # A pair waits in the hands of somebody who is done only if the others left before it came back.
    assert 8 * annotators.OVERLAP - 2 * len(names) <= books.stored <= 8 * annotators.OVERLAP


def kill_in_the_midst(url: str, pid: int) -> None:
    """Kills the server once everybody is at work, however slow the machine is."""
    database = Database(url)
    done = 0
    while done < 60:
        time.sleep(0.1)
        with database.read() as connection:
            done = connection.execute(select(func.count()).select_from(tables.judgment)).scalar_one()
    os.kill(pid, signal.SIGKILL)
    database.close()


@pytest.mark.alone
@pytest.mark.slow
def test_a_killed_server_has_kept_what_it_acknowledged(sqlite_url):
    names = annotators.prepare(sqlite_url, annotators=5, comparisons=2000)
    with annotators.serve(sqlite_url) as (server, process):
        threading.Thread(target=kill_in_the_midst, args=(sqlite_url, process.pid), daemon=True).start()
        work = asyncio.run(annotators.annotate(server, process.pid, names, seconds=60, pause_s=0))
        assert process.wait(10) == -signal.SIGKILL
    assert all(record.ended for record in work.records)
    killed = annotators.keep_books(sqlite_url, work.records)
    assert killed.acknowledged > 20
    assert killed.balance, killed
    # What was under way when the server fell is at most one judgment each.
    assert killed.acknowledged <= killed.stored <= killed.acknowledged + len(names)
    with annotators.serve(sqlite_url) as (server, process):
        again = asyncio.run(annotators.annotate(server, process.pid, names, seconds=2, pause_s=0))
    after = annotators.keep_books(sqlite_url, work.records + again.records)
    assert after.balance, after
    assert after.stored > killed.stored


@pytest.mark.alone
@pytest.mark.slow
def test_fifty_annotators_pull_at_once(sqlite_url):
    start = time.monotonic()
    report = annotators.measure(annotators=50, seconds=10, pause_s=0, comparisons=2000, url=sqlite_url)
    assert report.books.balance, report
    assert report.refused == 0
    assert time.monotonic() - start < 120
