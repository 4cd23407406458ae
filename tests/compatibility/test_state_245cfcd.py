"""What commit 245cfcd wrote, when the packages had no sub-packages, is still read, scored, resumed and exported.

state-245cfcd.tar.xz holds a database with a project, its exports in every form, reward models of every kind, policies,
runs that were cancelled half way beside the same runs to the end, trainings started from the app, and what the commands
of that commit answered. All of it is opened through the command lines of today.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
import yaml

from alignment.__main__ import main as alignment
from annotate_app.__main__ import main as annotate_app
from rewardkit.__main__ import main as rewardkit

STATE = Path(__file__).with_name("state-245cfcd.tar.xz")
KINDS = ("tfidf", "head", "heads-full", "lora", "whole")
OFFLINE = {"heads": ("rewardkit", "train"), "sft": ("alignment", "sft"), "dpo": ("alignment", "dpo")}
ONLINE = {"grpo": "grpo", "ppo": "ppo", "online": "online-dpo"}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as it was left, and the directory in which commands run: its paths are relative."""
    with tarfile.open(STATE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIEBREAK_DB", "sqlite:///tiebreak.db")
    return tmp_path


def lines(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def close_to(value: object) -> object:
    """What a report is compared with: its numbers to eight digits, as the last bits are the machine's."""
    if isinstance(value, dict):
        return {name: close_to(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [close_to(inner) for inner in value]
    return pytest.approx(value, rel=1e-8, abs=1e-12) if isinstance(value, float) else value


def of_enough_items(report: dict) -> dict:
    """A report without the intervals of few items (of days, here), which were too narrow, and the mean of kappas."""
    for part in report["periods"]:
        part["estimates"] = {name: estimate["value"] for name, estimate in part["estimates"].items()}
    for pair in report["pairs"]["pairs"]:
        if pair["num_items"] < 10:
            pair |= {"kappa_low": None, "kappa_high": None}
    del report["pairs"]["mean_kappa"]
    return report


def without_times(row: dict) -> dict:
    return {name: value for name, value in row.items() if not name.startswith(("time/", "tokens_per_s"))}


def test_a_database_is_opened_and_says_the_same(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert annotate_app(["check"]) == 0
    capsys.readouterr()
    assert annotate_app(["agreement", "desk", "--json"]) == 0
    now, then = json.loads(capsys.readouterr().out), json.loads((state / "agreement.json").read_text())
    now = {name: figures for name, figures in now.items() if name in then}  # later versions say more
    assert of_enough_items(now) == close_to(of_enough_items(then))


def test_a_backup_and_a_whole_project_are_taken_in(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert annotate_app(["restore", "backup.zip", "--db", "sqlite:///restored.db"]) == 0
    assert annotate_app(["import", "copy", "desk.zip"]) == 0
    capsys.readouterr()
    for words in (["agreement", "desk", "--json", "--db", "sqlite:///restored.db"], ["agreement", "copy", "--json"]):
        assert annotate_app(words) == 0
        then = json.loads((state / "agreement.json").read_text())["overall"]["estimates"]
        now = json.loads(capsys.readouterr().out)["overall"]["estimates"]
        assert {name: now[name]["value"] for name in then} == close_to({name: then[name]["value"] for name in then})


def test_an_export_of_today_has_the_rows_of_then(state: Path) -> None:
    words = ["export", "desk", "--split", "train=0.9,test=0.1"]
    assert annotate_app([*words, "--out", "again"]) == 0
    assert annotate_app(["export", "desk", "--out", "again.csv"]) == 0
    for name in ("train.jsonl", "test.jsonl"):
        assert (state / "again" / name).read_bytes() == (state / "preferences" / name).read_bytes()
    assert (state / "again.csv").read_bytes() == (state / "preferences.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("data", ["preferences", "preferences.csv", "preferences.parquet", "kto.jsonl"])
def test_exports_of_then_are_trained_on(state: Path, data: str) -> None:
    trains = ["alignment", "kto", "--model=micro", "--max-steps=1", "--max-length=64"]
    package, *words = trains if data == "kto.jsonl" else ["rewardkit", "train", "--model=tfidf"]
    command = {"alignment": alignment, "rewardkit": rewardkit}[package]
    assert command([*words, f"--data={data}", "--out=run"]) == 0
    assert json.loads((state / "run" / "status.json").read_text())["state"] == "done"


@pytest.mark.parametrize("kind", KINDS)
def test_a_reward_model_of_every_kind_gives_the_rewards_it_gave(state: Path, kind: str) -> None:
    assert rewardkit(["score", f"--model=runs/{kind}", "--input=prompts.jsonl", "--output=scored.jsonl"]) == 0
    expected = json.loads((state / "expected_rewards.json").read_text())[kind]
    rewards = [[row["response_a_reward"], row["response_b_reward"]] for row in lines(state / "scored.jsonl")]
    assert rewards == [pytest.approx(pair, abs=2e-4, rel=2e-4) for pair in expected]


@pytest.mark.slow
@pytest.mark.parametrize("run", OFFLINE)
def test_a_run_that_was_cancelled_goes_on_as_it_would_have(state: Path, run: str) -> None:
    """Within rounding: the machine that wrote the state may not have been this one."""
    package, name = OFFLINE[run]
    command = {"alignment": alignment, "rewardkit": rewardkit}[package]
    steps_before = len(lines(state / "runs" / f"{run}-part" / "metrics.jsonl"))
    assert command([name, f"--config=runs/{run}-part/config.yaml", "--resume"]) == 0
    resumed = [without_times(row) for row in lines(state / "runs" / f"{run}-part" / "metrics.jsonl")]
    whole = [without_times(row) for row in lines(state / "runs" / f"{run}-full" / "metrics.jsonl")]
    assert 0 < steps_before < len(whole)
    for now, then in zip(resumed, whole, strict=True):  # today there may be more metrics, never fewer
        assert {name: now[name] for name in then} == pytest.approx(then, rel=2e-3, abs=2e-3, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("run", ONLINE)
def test_a_run_on_own_samples_goes_on(state: Path, run: str) -> None:
    """Samples turn by rounding, so that only what came before, the steps and the end are compared."""
    folder = state / "runs" / f"{run}-part"
    before = lines(folder / "metrics.jsonl")
    assert alignment([ONLINE[run], f"--config=runs/{run}-part/config.yaml", "--resume"]) == 0
    after = lines(folder / "metrics.jsonl")
    num_kept = len([row for row in before if row in after])
    assert num_kept >= 1
    assert [row["step"] for row in after] == [1, 2, 3, 4, 5, 6]
    assert json.loads((folder / "status.json").read_text())["state"] == "done"


@pytest.mark.slow
def test_configurations_of_then_start_runs_today(state: Path) -> None:
    config = yaml.safe_load((state / "runs" / "sft-full" / "config.yaml").read_text()) | {"out": "again"}
    (state / "again.yaml").write_text(yaml.safe_dump(config))
    assert alignment(["sft", "--config=again.yaml"]) == 0
    first, *_ = lines(state / "again" / "metrics.jsonl")
    assert first["loss"] == pytest.approx(lines(state / "runs" / "sft-full" / "metrics.jsonl")[0]["loss"], rel=1e-3)


@pytest.mark.parametrize("trains", ["reward", "sft", "dpo", "grpo", "ppo", "online-dpo", "bon"])
def test_a_training_asked_for_in_the_app_has_the_configuration_it_had(state: Path, trains: str) -> None:
    from dataclasses import asdict

    from annotate_app.trainings.options import TRAININGS
    from annotate_app.trainings.plan_files import read_plan

    plan = read_plan((state / "plans" / f"{trains}.yaml").read_text())
    then = yaml.safe_load((state / "plans" / f"{trains}.config.yaml").read_text())
    now = json.loads(json.dumps(asdict(plan.config)))
    if trains == "reward":  # rows of a project are shares, for which it stands for what was written out then
        assert (then["likelihood"], now["likelihood"]) == ("bradley_terry", "auto")
        now["likelihood"] = "bradley_terry"
    compared = then.keys() - TRAININGS[trains].paths.keys()
    assert {name: now[name] for name in compared} == {name: then[name] for name in compared}


def test_trainings_of_the_app_are_listed(state: Path) -> None:
    from annotate_app.access import Actor
    from annotate_app.store.store import Store

    store = Store.open("sqlite:///tiebreak.db")
    jobs = {job.id: job.state for job in store.jobs.list(Actor.command_line())}
    store.close()
    assert jobs == {1: "failed", 2: "cancelled", 3: "done"}
