"""What a model learned from is read from what its training left, over the models that it began from."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from rewardkit.data.records import Message
from rewardkit.reward.learned_from import learned_prompts, prompt_hash


def write(path: Path, *prompts: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"prompt": prompt, "chosen": "x", "rejected": "y"} for prompt in prompts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def hashes(*prompts: str) -> set[str]:
    return {prompt_hash((Message(role="user", content=prompt),)) for prompt in prompts}


def model_at(folder: Path, **config: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_rows_beside_it_its_own_export_and_named_files_count_and_test_rows_do_not(tmp_path: Path) -> None:
    write(tmp_path / "run" / "data" / "train.jsonl", "One")
    write(tmp_path / "run" / "data" / "validation.jsonl", "two")
    write(tmp_path / "run" / "data" / "test.jsonl", "three")
    model = model_at(tmp_path / "run" / "model", data=str(write(tmp_path / "four.jsonl", "four")), model="tiny")
    write(model / "data" / "preferences.jsonl", "five")
    assert learned_prompts(model) == hashes("one", "TWO", "four", "five")


def test_of_a_folder_of_splits_those_that_a_training_reads_count(tmp_path: Path) -> None:
    write(tmp_path / "rows" / "train.jsonl", "one")
    write(tmp_path / "rows" / "validation.jsonl", "two")
    write(tmp_path / "rows" / "other.jsonl", "three")
    assert learned_prompts(model_at(tmp_path / "all", data=str(tmp_path / "rows"))) == hashes("one", "two")
    assert learned_prompts(model_at(tmp_path / "named", data=f"{tmp_path / 'rows'}:other")) == hashes("three")


def test_models_before_it_count_and_a_circle_ends(tmp_path: Path) -> None:
    first = model_at(tmp_path / "first", data=str(write(tmp_path / "one.jsonl", "one")), model=str(tmp_path / "second"))
    second = model_at(tmp_path / "second", data=str(write(tmp_path / "two.jsonl", "two")), model=str(first))
    assert learned_prompts(second) == learned_prompts(first) == hashes("one", "two")


def test_a_model_of_unknown_history_has_none(tmp_path: Path) -> None:
    assert learned_prompts(tmp_path / "gone") == set()
    assert learned_prompts(model_at(tmp_path / "model", data="gone.jsonl")) == set()
