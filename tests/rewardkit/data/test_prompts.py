"""Prompts are found in files of every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardkit.data.prompts import PromptRow, distinct, distinct_rows, prompt_row, read_prompt_rows, read_prompts
from rewardkit.data.records import Message

HELLO = (Message(role="user", content="Hello"),)
ANSWERED = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def write(folder: Path, *rows: dict) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hello"},
        {"prompt": [{"role": "user", "content": "Hello"}]},
        {"prompt": "Hello", "chosen": "Hi", "rejected": "No"},
        {"question": "Hello", "response_a": "Hi", "response_b": "No"},
        {"messages": ANSWERED},
        {"chosen": ANSWERED, "rejected": [ANSWERED[0], {"role": "assistant", "content": "No"}]},
        {"chosen": "\n\nHuman: Hello\n\nAssistant: Hi", "rejected": "\n\nHuman: Hello\n\nAssistant: No"},
    ],
)
def test_the_prompt_is_found_in_every_form(row: dict, tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, row)).rows == [HELLO]


def test_a_system_prompt_and_a_further_input_belong_to_it(tmp_path: Path) -> None:
    source = write(tmp_path, {"system": "Be brief.", "instruction": "Translate.", "input": "Hallo"})
    assert read_prompts(source).rows == [
        (Message(role="system", content="Be brief."), Message(role="user", content="Translate.\n\nHallo"))
    ]


def test_prompts_that_occur_again_are_one(tmp_path: Path) -> None:
    found = read_prompts(write(tmp_path, {"prompt": "Hello"}, {"prompt": "Bye"}, {"prompt": "Hello"})).rows
    assert [prompt[0].content for prompt in distinct(found)] == ["Hello", "Bye"]


def test_a_prompt_keeps_the_columns_of_its_row(tmp_path: Path) -> None:
    rows = [{"question": "Hello", "answer": "#### 5", "final": 5.0}, {"question": "Hello", "answer": "#### 6"}]
    found = read_prompt_rows(write(tmp_path, *rows))
    assert found.rows == [PromptRow(prompt=HELLO, columns=row) for row in rows]
    with pytest.raises(ValueError, match=r"rows.jsonl:1: field prompt is '7'"):
        read_prompt_rows(write(tmp_path, {"prompt": 7, "answer": 1}))


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    source = write(tmp_path, {"prompt": "Hello"}, {"prompt": 7})
    with pytest.raises(ValueError, match=r"rows.jsonl:2: field prompt is '7'"):
        read_prompts(source)
    assert len(read_prompts(source, on_bad_row="skip").bad_rows) == 1


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no column holds a prompt, allowed names are prompt, instruction"):
        read_prompts(write(tmp_path, {"text_of_mine": "Hello"}))


def test_the_first_row_of_each_prompt_stays_in_its_place() -> None:
    asked = [(Message(role="user", content=text),) for text in ("Hello", "Bye", "Hello")]
    rows = [PromptRow(prompt=prompt, columns={"answer": number}) for number, prompt in enumerate(asked)]
    assert distinct_rows(rows) == rows[:2]


def test_a_prompt_is_written_with_its_columns_as_it_is_read_back(tmp_path: Path) -> None:
    rows = [{"question": "1 + 1?", "system": "Add.", "input": "Numbers", "answer": 2}, {"question": "?", "answer": [1]}]
    found = read_prompt_rows(write(tmp_path, *rows)).rows
    written = [prompt_row(row) for row in found]
    assert written[0] == {
        "prompt": [{"role": one.role, "content": one.content} for one in found[0].prompt],
        "question": "1 + 1?",
        "answer": 2,
    }
    again = read_prompt_rows(write(tmp_path, *written)).rows
    assert [row.prompt for row in again] == [row.prompt for row in found]
    assert [row.columns["answer"] for row in again] == [2, [1]]
