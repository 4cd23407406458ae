"""The watcher: once per failure, in log and file, the same after a resume; and what is read back."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

import numpy as np
import pytest

from alignment.watch.alarms import Alarm, append_lines, cleared_line, read_alarms
from alignment.watch.failure_modes import FAILURE_MODES, READ
from alignment.watch.history import NUM_LAST
from alignment.watch.watcher import QUIET, Watcher
from rewardkit.run.directory import read_metrics, write_text

CUT, FINE = {"completions/truncated_share": 0.9}, {"completions/truncated_share": 0.0}


def watch(watcher: Watcher, course: list[dict[str, float]], start: int = 1) -> list[Alarm]:
    """Writes and watches the steps as a loop does."""
    raised: list[Alarm] = []
    for step, metrics in enumerate(course, start):
        with (watcher.dir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": step, "time/at": 1.0} | metrics) + "\n")
        raised += watcher.step(step, metrics)
    return raised


def test_an_alarm_is_raised_once_and_says_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raised = watch(Watcher(tmp_path), [CUT] * 40)
    [mode] = [mode for mode in FAILURE_MODES if mode.kind == "truncated"]
    alarm = Alarm(
        kind="truncated",
        title=mode.title,
        step=10,
        severity="warning",
        cause=mode.cause,
        figure="90% of the answers are cut",
        metrics=("completions/truncated_share",),
        advice=mode.advice,
    )
    assert raised == [alarm]
    assert alarm.is_open
    assert read_alarms(tmp_path) == raised
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    said = f"{mode.title}: {alarm.figure}. Likely cause: {mode.cause}. What to change: {mode.advice}."
    words = f"step 10, warning: {said}"
    assert record.getMessage() == words
    assert "\n" not in words


def test_one_that_is_over_may_come_again(tmp_path: Path) -> None:
    raised = watch(Watcher(tmp_path), [CUT] * 10 + [FINE] * 30 + [CUT] * 10)
    # it takes six cut steps of ten: (0.9 + 0) / 2, the median of five, is 0.45; so it last held at step 14
    assert [alarm.step for alarm in raised] == [10, 46]
    first, second = read_alarms(tmp_path)
    assert (first.step, first.cleared_at) == (10, 14 + QUIET)
    assert (second.step, second.is_open) == (46, True)


def test_a_short_silence_is_not_the_end_of_it(tmp_path: Path) -> None:
    raised = watch(Watcher(tmp_path), [CUT] * 10 + [FINE] * 6 + [CUT] * 10)
    assert len(raised) == 1
    assert [alarm.is_open for alarm in read_alarms(tmp_path)] == [True]


def test_a_value_that_is_not_finite_is_seen_in_its_step(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    assert watcher.step(1, {"loss": 0.5}) == []
    [alarm] = watcher.step(2, {"loss": float("nan")})
    assert (alarm.kind, alarm.severity, alarm.step) == ("not_finite", "critical", 2)


COURSE = [CUT | {"loss": 0.1}] * 12 + [FINE] * 30 + [CUT] * 20


@pytest.mark.parametrize("at", [5, 10, 15, 30, 45, 50])
def test_a_resumed_run_raises_what_an_uninterrupted_one_does(tmp_path: Path, at: int) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    everything = watch(Watcher(whole), COURSE)
    watch(Watcher(parts), COURSE[: at + 7])  # it goes on for some steps after its last checkpoint, then dies
    kept = [json.dumps(row) + "\n" for row in read_metrics(parts) if (row["step"] or 0) <= at]
    write_text(parts / "metrics.jsonl", "".join(kept))
    again = Watcher(parts)
    assert all(alarm.step <= at for alarm in read_alarms(parts))
    later = watch(again, COURSE[at:], at + 1)
    assert later == [alarm for alarm in everything if alarm.step > at]
    assert read_alarms(parts) == read_alarms(whole)
    assert (parts / "alarms.jsonl").read_text() == (whole / "alarms.jsonl").read_text()


def test_alarms_of_steps_that_come_again_go(tmp_path: Path) -> None:
    watch(Watcher(tmp_path), [CUT] * 10)
    assert read_alarms(tmp_path)
    write_text(tmp_path / "metrics.jsonl", "")
    Watcher(tmp_path)
    assert read_alarms(tmp_path) == []
    assert not (tmp_path / "alarms.jsonl").exists()


def test_half_a_line_is_left_out_and_no_file_is_no_alarm(tmp_path: Path) -> None:
    assert read_alarms(tmp_path) == []
    watch(Watcher(tmp_path), [CUT] * 10)
    append_lines(tmp_path, [cleared_line(50, "kl_jump"), '{"step": 60, "ki'])
    [alarm] = read_alarms(tmp_path)  # that another kind is over does not touch it
    assert alarm.is_open


def test_what_it_keeps_is_bounded(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    for step in range(3 * NUM_LAST):
        watcher.step(step, {"kl": 1.0, "some/other": 2.0})
    assert len(watcher.history.series["kl"].last) == NUM_LAST
    assert set(watcher.history.series) == set(READ)


@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_is_logged_stops_the_run(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = [0.0, 1.0, 1e-30, 1e30, 0.5, -0.5, float("nan"), float("inf"), None]
    watcher = Watcher(tmp_path)
    for step in range(1, 120):
        # a seed holds a metric at a few of these values, so that windows of one value come about, and of mixed ones
        allowed = [values[k] for k in rng.integers(len(values), size=1 + seed % 4)]
        metrics = {name: allowed[rng.integers(len(allowed))] for name in READ if rng.random() < 0.8}
        watcher.step(step, metrics)
    assert {alarm.kind for alarm in read_alarms(tmp_path)} >= {"not_finite"}


def test_rules_read_no_metric_that_is_not_kept(tmp_path: Path) -> None:
    watcher, values = Watcher(tmp_path), dict.fromkeys(READ, 1.0)
    for step in range(80):
        watcher.step(step, values)  # a rule that reads another name would raise KeyError


def test_a_step_is_cheap(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path)
    began = time.process_time()
    for step in range(200):
        watcher.step(step, {name: float(step % 7) for name in READ})
    assert (time.process_time() - began) / 200 < 0.02  # a twentieth of that on an idle machine
