"""How much of an endpoint's own throughput a run of a judge reaches: `python tests/benchmarks/judge_throughput.py`.

The endpoint (`tests/toys/judge_endpoint.py`) is a process of its own whose answers take a fixed time, so many at once.
First a bare loop of threads sends it the same bodies; then `annotate-app judge run` judges as many pairs in both
orders, with its prompts, parsing and database. Both are counted by the endpoint's side: answers over seconds from the
first question to the last answer; the command's own start is printed beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

from alignment.judges.spec import JudgeSpec
from annotate_app.access import Actor
from annotate_app.judges.running import RunOptions, plan_run
from annotate_app.protocol.collection_design import Design
from annotate_app.store.store import Store
from rewardkit.data.records import Comparison, Message

ROOT = Path(__file__).resolve().parents[2]
ADMIN = Actor.command_line()
RUBRIC = "title: Which helps more?\nguidelines: Prefer the reply that solves the problem.\nscale: {steps: 7}\n"


def bare_loop(url: str, bodies: list[bytes], threads: int) -> float:
    """Seconds for all bodies by threads that do nothing else."""
    left = iter(bodies)
    lock = threading.Lock()
    client = httpx.Client(limits=httpx.Limits(max_connections=threads, max_keepalive_connections=threads), timeout=60)

    def work() -> None:
        while True:
            with lock:
                body = next(left, None)
            if body is None:
                return
            client.post(f"{url}/chat/completions", content=body).raise_for_status()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    started_at = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started_at
    client.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--service", type=float, default=0.1, help="seconds of an answer")
    parser.add_argument("--places", type=int, default=16, help="answers at the same time")
    parser.add_argument("--port", type=int, default=18099)
    options = parser.parse_args()
    words = [str(options.port), str(options.service), str(options.places)]
    endpoint = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "toys" / "judge_endpoint.py"), *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert endpoint.stdout is not None
        url = endpoint.stdout.readline().strip()
        with tempfile.TemporaryDirectory() as folder:
            measure(url, options, f"sqlite:///{folder}/judges.db")
    finally:
        endpoint.kill()
        endpoint.wait()


def measure(url: str, options: argparse.Namespace, database: str) -> None:
    store = Store.open(database)
    project = store.projects.create(ADMIN, "pairs", rubric_text=RUBRIC, design=Design())
    store.comparisons.add(
        ADMIN,
        project.id,
        [
            Comparison(
                id=f"c{number}",
                prompt=(Message(role="user", content=f"Where is parcel {number}? " * 10),),
                completion_a=f"It is on its way. {number} " * 10,
                completion_b=f"Please send us the number of order {number}. " * 15,
            )
            for number in range(options.pairs)
        ],
    )
    spec = JudgeSpec(kind="endpoint", target=url, model="m", concurrency=options.places)
    store.judges.add(ADMIN, project.id, "judge", spec)
    plan = plan_run(store, ADMIN, project, "judge", RunOptions())
    from alignment.judges.judging import conversations_of

    bodies = []
    for question in plan.questions:
        ((message,),) = conversations_of(spec, plan.rubric, question)
        turns = [{"role": message.role, "content": message.content}]
        bodies.append(json.dumps({"model": "m", "messages": turns, "max_tokens": 512, "temperature": 0.0}).encode())
    store.close()
    bare_s = bare_loop(url, bodies, options.places)
    started_at = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "annotate_app", "judge", "run", "pairs", "judge", "--json"],
        env=os.environ | {"TIEBREAK_DB": database},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    whole_s = time.perf_counter() - started_at
    said = json.loads(done.stdout)
    assert said["num_kept"] == len(bodies), said
    for name, seconds in (("bare loop", bare_s), ("judge run", said["seconds"]), ("with its start", whole_s)):
        print(f"{name:15} {len(bodies) / seconds:8.1f} answers a second {bare_s / seconds:8.3f} of the bare loop")
    limit = options.places / options.service
    print(
        f"{'endpoint':15} {limit:8.1f} answers a second at most ({options.places} at once, {options.service:g} s each)"
    )


if __name__ == "__main__":
    main()
