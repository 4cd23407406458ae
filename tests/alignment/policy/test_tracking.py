"""Trackers and the hub: only when asked, and told in one line what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alignment.config.training import SftConfig
from alignment.policy.publishing import Tracker, open_tracker, push_to_hub
from rewardkit.run.directory import Run


def config_of(tmp_path: Path, **options: Any) -> SftConfig:
    return SftConfig(model="tiny", data="x", out=str(tmp_path / "run"), **options)


def test_nothing_is_tracked_unless_asked(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    tracker = open_tracker(config, Run(config.out, config))
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
    assert tracker.tracker is None
    assert open_tracker(replace(config, track="wandb"), None).tracker is None  # not the process that writes


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_named(name: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    config = config_of(tmp_path, track=name)
    with pytest.raises(ImportError, match=f"track {name} needs the package {name}: pip install {name}"):
        open_tracker(config, Run(config.out, config))


def test_metrics_go_to_the_tracker_with_their_step() -> None:
    calls: list[object] = []

    class Kept:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((step, values))

        def finish(self) -> None:
            calls.append("finished")

    tracker = Tracker(Kept())
    tracker.log({"loss": 0.5}, 3)
    tracker.finish()
    assert calls == [(3, {"loss": 0.5}), "finished"]


def test_the_hub_gets_the_model_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, Any] = {}

    class Api:
        def create_repo(self, name: str, *, exist_ok: bool) -> None:
            calls["created"] = (name, exist_ok)

        def upload_folder(self, **options: Any) -> None:
            calls["uploaded"] = options

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    push_to_hub(config_of(tmp_path), tmp_path)
    assert calls == {}
    push_to_hub(config_of(tmp_path, push_to_hub="me/policy"), tmp_path)
    assert calls["created"] == ("me/policy", True)
    assert (calls["uploaded"]["repo_id"], calls["uploaded"]["folder_path"]) == ("me/policy", str(tmp_path))
    assert {"checkpoints/*", "reference/*", "data.json"} <= set(calls["uploaded"]["ignore_patterns"])
