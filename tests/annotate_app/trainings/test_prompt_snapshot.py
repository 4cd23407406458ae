"""The prompts of a training by PPO or GRPO: the project's or a file's, each once, some held out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_plans import sampling_plan

from annotate_app.access import Actor
from annotate_app.store.store import Store
from annotate_app.trainings.snapshot import take_prompts
from rewardkit.data.prompts import PromptRow, read_prompt_rows
from rewardkit.data.records import Comparison, Message

ADMIN = Actor.command_line()


def read(folder: Path) -> list[list[PromptRow]]:
    return [read_prompt_rows(str(folder / f"{side}.jsonl")).rows for side in ("train", "test")]


def test_a_projects_prompts_come_once_each_with_what_was_kept_beside_them(sqlite_store: Store, make_project, tmp_path):
    project = make_project(sqlite_store, "desk", num_comparisons=0)
    items = [
        Comparison(
            id=f"c{number}",
            prompt=(Message(role="system", content="Add."), Message(role="user", content=f"{number // 2} + 1?")),
            completion_a=f"a{number}",
            completion_b="b",
            meta={"answer": number // 2 + 1, "prompt": "not this"},
        )
        for number in range(80)
    ]
    sqlite_store.comparisons.add(ADMIN, project.id, items)
    take_prompts(
        sqlite_store, ADMIN, sampling_plan("ppo", project=project.name, held_out=0.3), tmp_path, tmp_path / "data"
    )
    train, test = read(tmp_path / "data")
    assert len(train) + len(test) == 40
    assert 4 <= len(test) <= 20
    found = {row.prompt[1].content: row.columns["answer"] for row in [*train, *test]}
    assert found == {f"{number} + 1?": number + 1 for number in range(40)}
    assert all([message.role for message in row.prompt] == ["system", "user"] for row in [*train, *test])


def test_a_files_columns_stay_for_rewards_and_those_in_the_prompt_are_not_read_twice(sqlite_store, tmp_path):
    rows = [{"question": f"What is {n}?", "system": "Be short.", "answer": str(n)} for n in range(40)]
    rows += [{"question": "", "system": "", "answer": "1"}]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = sampling_plan("ppo", prompts="prompts.jsonl", held_out=0.2, on_bad_row="skip")
    take_prompts(sqlite_store, ADMIN, plan, tmp_path, tmp_path / "data")
    train, test = read(tmp_path / "data")
    assert len({row.prompt for row in [*train, *test]}) == 40
    for row in [*train, *test]:
        assert [(one.role, one.content) for one in row.prompt] == [
            ("system", "Be short."),
            ("user", row.columns["question"]),
        ]
        assert row.columns["question"] == f"What is {row.columns['answer']}?"


def test_a_side_without_prompts_is_refused_and_leaves_no_snapshot(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi"}\n')
    with pytest.raises(ValueError, match="the file has 1 different prompts, none of them "):
        take_prompts(sqlite_store, ADMIN, sampling_plan("ppo", prompts="prompts.jsonl"), tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_best_of_n_answers_all_prompts(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi"}\n{"prompt": "Ho"}\n')
    plan = sampling_plan("bon", prompts="prompts.jsonl")
    take_prompts(sqlite_store, ADMIN, plan, tmp_path, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train.jsonl"]
    assert len(read_prompt_rows(str(tmp_path / "data" / "train.jsonl")).rows) == 2
