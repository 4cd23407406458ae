"""The agreement report of one million judgments, timed: `python tests/benchmarks/agreement_speed.py`."""

from __future__ import annotations

import os
import resource
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as annotate_app.__main__ does, before numpy loads

import numpy as np

from annotate_app.agreement.reports.report import agreement_report
from annotate_app.votes import Votes

NUM_ITEMS, OVERLAP, NUM_ANNOTATORS, NUM_SOURCES = 333_334, 3, 200, 50


def million_votes(seed: int = 0) -> Votes:
    """333,334 items by 3 of 200 annotators on a 7-point scale, 50 source models, one criterion, half a year."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(NUM_ITEMS, dtype=np.int32), OVERLAP)
    start = rng.integers(0, NUM_ANNOTATORS, NUM_ITEMS)
    first, second = rng.integers(1, 100, NUM_ITEMS), rng.integers(100, 200, NUM_ITEMS)
    annotator = np.stack([start, start + first, start + second], axis=1).ravel() % NUM_ANNOTATORS
    truth = rng.normal(0, 1.4, NUM_ITEMS)[item]
    score = np.clip(np.rint(truth + rng.normal(0, 1, len(item))), -3, 3).astype(np.int8)
    criterion = np.clip(np.rint(truth + rng.normal(0, 2, len(item))), -3, 3).astype(np.float32)
    source_a = rng.integers(0, NUM_SOURCES, NUM_ITEMS)
    return Votes(
        items=tuple(map(str, range(NUM_ITEMS))),
        annotators=tuple(f"annotator {index}" for index in range(NUM_ANNOTATORS)),
        sources=tuple(f"model {index}" for index in range(NUM_SOURCES)),
        item=item,
        annotator=annotator.astype(np.int32),
        choice=np.where(score < 0, 0, np.where(score > 0, 1, 2)).astype(np.int8),
        score=score,
        kind=np.zeros(len(item), dtype=np.int8),
        shown_left=rng.integers(0, 2, len(item)).astype(np.int8),
        seconds=rng.gamma(4, 10, len(item)).astype(np.float32),
        created_at=1.76e9 + item * 47.0,
        criteria={"accuracy": criterion},
        item_source_a=source_a.astype(np.int32),
        item_source_b=((source_a + rng.integers(1, NUM_SOURCES, NUM_ITEMS)) % NUM_SOURCES).astype(np.int32),
        item_length_a=rng.integers(50, 2000, NUM_ITEMS).astype(np.int32),
        item_length_b=rng.integers(50, 2000, NUM_ITEMS).astype(np.int32),
        item_gold=np.full(NUM_ITEMS, -1, dtype=np.int8),
    )


def report_seconds(votes: Votes) -> tuple[float, float]:
    """Wall and processor seconds of the full report with 1,000 resamples behind every interval.

    It runs on one thread, so on a machine with nothing else to do both are the same.
    """
    wall, processor = time.perf_counter(), time.process_time()
    agreement_report(votes, num_resamples=1000)
    return time.perf_counter() - wall, time.process_time() - processor


if __name__ == "__main__":
    million = million_votes()
    runs = [report_seconds(million) for _ in range(3)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(million):,} judgments, best of {len(runs)}, peak {peak:.0f} MiB")
    print(f"wall {min(wall for wall, _ in runs):.2f} s")
    print(f"processor {min(processor for _, processor in runs):.2f} s")
