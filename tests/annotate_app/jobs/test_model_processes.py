"""One table of processes for models of every kind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_stand_ins import write_stand_ins

from annotate_app.jobs.model_processes import MOST_MODELS, ModelProcesses

POLICY, REWARD = "alignment.generation.lines", "rewardkit.scoring.lines"
ASKED = {"prompt": [{"role": "user", "content": "Hi"}], "n": 1, "seed": 0, "completions": ["a"]}


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelProcesses]:
    monkeypatch.setenv("PYTHONPATH", str(write_stand_ins(tmp_path / "code")))
    monkeypatch.chdir(tmp_path)
    processes = ModelProcesses(idle_s=60)
    yield processes
    processes.close()


def test_policies_and_reward_models_share_the_room_and_the_longest_unasked_goes(table, tmp_path):
    policies = [tmp_path / f"policy-{number}" for number in range(MOST_MODELS - 1)]
    for policy in policies:
        assert table.ask(POLICY, policy, ASKED)["answers"]
    assert table.ask(REWARD, policies[0], ASKED)["members"] == [[1], [2]]  # one folder, two kinds of process
    table.ask(POLICY, policies[0], ASKED)
    table.ask(REWARD, tmp_path / "reward", ASKED)
    assert [table.is_loaded(POLICY, policy) for policy in policies] == [True, False, True]
    assert table.is_loaded(REWARD, policies[0])


def test_where_all_are_busy_one_more_is_refused(table, tmp_path):
    slow = [tmp_path / f"slow-{number}" for number in range(MOST_MODELS)]
    threads = [threading.Thread(target=table.ask, args=(POLICY, model, ASKED)) for model in slow]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 10
    while not all(process.lock.locked() for process in table._processes.values()) or len(table._processes) < 4:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(ValueError, match="other models are being asked at the moment"):
        table.ask(POLICY, tmp_path / "more", ASKED)
    for thread in threads:
        thread.join()
