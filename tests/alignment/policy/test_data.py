"""Demonstrations and labelled completions of every form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.policy.data import Demonstration, Labelled, read_demonstrations, read_labelled
from rewardkit.data.records import Message
from rewardkit.data.sources import Part


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(text: str) -> Message:
    return Message(role="assistant", content=text)


def parts(tmp_path: Path, *rows: object) -> list[Part]:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [Part(name=str(file))]


@pytest.mark.parametrize("column", ["response", "completion", "output", "answer"])
def test_a_prompt_and_its_answer_are_a_demonstration(column: str, tmp_path: Path) -> None:
    found = read_demonstrations(parts(tmp_path, {"prompt": "Hi", column: "Hello", "weight": 2}), "rows")
    assert found.rows == [Demonstration(turns=(user("Hi"), assistant("Hello")), weight=2.0)]


def test_an_instruction_takes_its_input_and_its_system_prompt(tmp_path: Path) -> None:
    row = {"instruction": "Shorten", "input": "A long text", "output": "Text", "system": "Be brief"}
    (found,) = read_demonstrations(parts(tmp_path, row), "rows").rows
    assert found.turns == (
        Message(role="system", content="Be brief"),
        user("Shorten\n\nA long text"),
        assistant("Text"),
    )


@pytest.mark.parametrize("column", ["messages", "conversations"])
def test_a_conversation_is_taken_whole(column: str, tmp_path: Path) -> None:
    said = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    said += [{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]
    (found,) = read_demonstrations(parts(tmp_path, {column: said}), "rows").rows
    assert found.turns == (user("a"), assistant("b"), user("c"), assistant("d"))
    assert found.prompt == (user("a"), assistant("b"), user("c"))
    assert not found.is_text


def test_a_completion_of_one_turn_and_a_prompt_of_several_are_read(tmp_path: Path) -> None:
    prompt = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    row = {"prompt": prompt, "completion": [{"role": "assistant", "content": "d"}]}
    (found,) = read_demonstrations(parts(tmp_path, row), "rows").rows
    assert [turn.content for turn in found.turns] == ["a", "b", "c", "d"]


def test_a_bare_text_stands_for_its_own_prompt_in_splits(tmp_path: Path) -> None:
    (found,) = read_demonstrations(parts(tmp_path, {"text": "Once upon a time"}), "rows").rows
    assert found.is_text
    assert found.prompt == found.turns == (assistant("Once upon a time"),)


def test_chosen_completions_of_preferences_demonstrate_each_once(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "responses": ["best", "middle", "worst"], "ranks": [1, 2, 3]}]
    found = read_demonstrations(parts(tmp_path, *rows), "rows").rows
    assert [row.turns[-1].content for row in found] == ["best", "middle"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"messages": [{"role": "user", "content": "a"}]}, "rows.jsonl:1: field messages .*last turn has to be"),
        ({"prompt": "a", "response": " "}, "rows.jsonl:1: field response .*an answer with a text"),
        ({"prompt": "", "response": "b"}, "rows.jsonl:1: field prompt .*a prompt is needed"),
        ({"prompt": "a", "completion": [{"role": "user", "content": "b"}]}, "completion .*has to be the assistant's"),
        ({"question": "a"}, "no demonstrations, the columns are question; needed are messages"),
    ],
)
def test_what_is_no_demonstration_is_named(row: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        read_demonstrations(parts(tmp_path, row), "rows")


@pytest.mark.parametrize(("label", "desirable"), [(True, True), (0, False), ("true", True), ("False", False)])
def test_labels_say_whether_a_completion_is_desirable(label: object, desirable: bool, tmp_path: Path) -> None:
    found = read_labelled(parts(tmp_path, {"prompt": "p", "completion": "c", "label": label}), "rows")
    assert found.rows == [Labelled(prompt=(user("p"),), completion="c", desirable=desirable)]


@pytest.mark.parametrize("label", ["perhaps", 2, None, 0.5])
def test_another_label_is_refused(label: object, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"field label .*allowed are true and false"):
        read_labelled(parts(tmp_path, {"prompt": "p", "completion": "c", "label": label}), "rows")


def test_preferences_come_apart_and_weigh_what_they_say(tmp_path: Path) -> None:
    # a pair of p_chosen 0.75 and weight 2 weighs 2 (2 x 0.75 - 1) = 1 on either side, a tie nothing
    rows = [
        {"prompt": "p", "chosen": "good", "rejected": "poor", "p_chosen": 0.75, "weight": 2},
        {"prompt": "q", "chosen": "one", "rejected": "two", "p_chosen": 0.5},
    ]
    found = read_labelled(parts(tmp_path, *rows), "rows").rows
    assert [(row.completion, row.desirable, row.weight) for row in found] == [
        ("good", True, 1.0),
        ("poor", False, 1.0),
        ("one", True, 0.0),
        ("two", False, 0.0),
    ]


CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "send"}}]}


def test_calls_of_tools_are_read_where_they_are_context_and_refused_as_answers(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "Hi"}
    whole = {"messages": [asked, CALL, {"role": "tool", "content": "sent"}, {"role": "assistant", "content": "Done."}]}
    (found,) = read_demonstrations(parts(tmp_path, whole), "rows").rows
    assert "send" in found.turns[1].more
    for row in ({"messages": [asked, CALL]}, {"prompt": "Hi", "completion": [CALL]}):
        with pytest.raises(ValueError, match=r"rows\.jsonl:1: field \S+tool_calls is .*: allowed here is an answer"):
            read_demonstrations(parts(tmp_path, row), "rows")
    with pytest.raises(ValueError, match=r"field completion\.tool_calls is"):
        read_labelled(parts(tmp_path, {"prompt": "Hi", "completion": [CALL], "label": True}), "rows")


def test_every_kind_of_row_has_the_prompt_of_all_its_columns(tmp_path: Path) -> None:
    row = {"system_prompt": "Be brief", "history": [["Hi", "Hello"]], "instruction": "Shorten", "input": "A text"}
    asked = (Message(role="system", content="Be brief"), user("Hi"), assistant("Hello"), user("Shorten\n\nA text"))
    (labelled,) = read_labelled(parts(tmp_path, row | {"output": "Text", "label": True}), "rows").rows
    assert labelled.prompt == asked
    (shown,) = read_demonstrations(parts(tmp_path, row | {"output": "Text"}), "rows").rows
    assert shown.turns == (*asked, assistant("Text"))


def test_a_conversation_stands_behind_the_system_prompt_of_its_row(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    (found,) = read_demonstrations(parts(tmp_path, {"system": "Be brief", "conversations": turns}), "rows").rows
    assert found.turns == (Message(role="system", content="Be brief"), user("Hi"), assistant("Hello"))
