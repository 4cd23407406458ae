"""A model by its folder or its hub id, which is found in the hub's cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from toy_architectures import make_folder

from alignment.config.rewards import read_reward
from rewardkit.__main__ import main
from rewardkit.run import model_folder as module
from rewardkit.run.model_folder import model_folder

NAME = "someone/their-reward"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, laid out as huggingface_hub does, without a network."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    module._fetched.cache_clear()
    return cache


def put(hub: Path, name: str, folder: Path) -> Path:
    """Puts a folder into the cache as the main branch of a model."""
    place = hub / f"models--{name.replace('/', '--')}"
    snapshot = place / "snapshots" / ("0" * 40)
    shutil.copytree(folder, snapshot)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    return snapshot


def test_a_folder_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs" / "reward").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_folder("runs/reward") == Path("runs/reward")


@pytest.mark.parametrize("name", ["/no/such", "no-such", "a/b/c", "../x", "./x", ""])
def test_what_is_neither_is_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if name == "":
        assert model_folder("") == Path()
        return
    with pytest.raises(FileNotFoundError, match=f"{name}: there is no such folder$"):
        model_folder(name)


def test_a_hub_id_scores_and_rewards(hub: Path, tmp_path: Path) -> None:
    snapshot = put(hub, NAME, make_folder("Llama 2", tmp_path / "made", classifier=True))
    assert model_folder(NAME) == snapshot
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Hi", "completion": "Yes"}) + "\n")
    rewards = []
    for model in (NAME, str(snapshot)):
        out = tmp_path / f"{len(rewards)}.jsonl"
        assert main(["score", "--model", model, "--input", str(rows), "--output", str(out)]) == 0
        rewards.append(json.loads(out.read_text())["reward"])
    assert rewards[0] == rewards[1]
    assert (read_reward(NAME).kind, read_reward(f"0.5*{NAME}").weight) == ("model", 0.5)


def test_an_id_that_the_hub_does_not_give_is_one_line(
    hub: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Hi", "completion": "Yes"}) + "\n")
    words = ["score", "--model", "nobody/nothing", "--input", str(rows), "--output", str(tmp_path / "out.jsonl")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("rewardkit score: nobody/nothing: there is no such folder, and the hub gives no such model")
    assert error.count("\n") == 1
    with pytest.raises(ValueError, match="--reward nobody/nothing: nobody/nothing: there is no such folder"):
        read_reward("nobody/nothing")
