"""What a turn holds beside its text, lists that cells carry as text, and conversations that part before their end."""

import json

import pytest

from rewardkit.data.columns import detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.conversations import (
    Completion,
    RowError,
    call_names,
    decode_list,
    read_messages,
    transcript,
    turn_parts,
)
from rewardkit.data.export_formats import answer_turns, turns

CALL = {"id": "k1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
ASKED = {"role": "user", "content": "Weather?"}
CALLS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "k1", "name": "get_weather", "content": "12 C"}


def said(text, role="assistant"):
    return {"role": role, "content": text}


def only(row, **options):
    (comparison,) = parse_row(row, detect_reading([row], **options)).comparisons
    return comparison


def problem(row, **options):
    with pytest.raises(RowError) as caught:
        parse_row(row, detect_reading([row], **options))
    return caught.value


@pytest.mark.parametrize(
    "more",
    [
        {"tool_calls": [CALL]},
        {"function_call": {"name": "get_weather", "arguments": "{}"}},
        {"reasoning_content": "It is cold there."},
        {"thinking": "Hm."},
        {"refusal": "I may not."},
        {"name": "bob"},
    ],
)
def test_what_a_turn_holds_beside_its_text_is_read_and_written_back(more):
    turn = {"role": "assistant", "content": "Let me look.", **more}
    assert turns(read_messages([turn], "prompt")) == [turn]


def test_an_answer_without_content_is_one_that_calls_a_tool_and_nothing_else():
    (message,) = read_messages([CALLS], "prompt")
    assert (message.content, call_names([message])) == ("", ["get_weather"])
    for empty in ({"role": "assistant", "content": None}, {**CALLS, "tool_calls": []}, {**TOLD, "content": None}):
        with pytest.raises(RowError, match=r"content is .*None.*: allowed is text"):
            read_messages([empty], "prompt")


@pytest.mark.parametrize(
    ("turn", "field"),
    [
        ({**said("x"), "audio": {"id": "1"}}, "prompt[0].audio"),
        ({**said("x"), "images": ["a.png"]}, "prompt[0].images"),
        (said([{"type": "text", "text": "x", "image": "a.png"}]), "prompt[0].content[0]"),
        (said(["x", {"type": "image_url", "image_url": {"url": "a.png"}}]), "prompt[0].content[1]"),
        (said([{"type": "tool_use", "id": "1", "name": "f", "input": {}}, "behind it"]), "prompt[0].content[0]"),
        (said([{"type": "document", "source": {}}]), "prompt[0].content[0]"),
        ({**said("x"), "tool_calls": [{"name": "f\ud800"}]}, "prompt[0].tool_calls.name"),
    ],
)
def test_what_people_cannot_be_shown_is_refused_by_name(turn, field):
    with pytest.raises(RowError) as caught:
        read_messages([turn], "prompt")
    assert caught.value.field == field


def test_parts_are_texts_refusals_and_thoughts():
    parts = [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "No", "image": None}, "more"]
    (message,) = read_messages([said([*parts, {"type": "refusal", "refusal": "I may not."}])], "prompt")
    assert message.content == "No\nmore"
    assert json.loads(message.more) == {"thinking": "Hm.", "refusal": "I may not."}


def test_calls_and_results_among_the_parts_of_a_content_are_read_as_openai_writes_them():
    use = {"type": "tool_use", "id": "k1", "name": "get_weather", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "k1", "content": [{"type": "text", "text": "no"}], "is_error": True}
    content = [{"type": "text", "text": "I look."}, use]
    messages = read_messages([ASKED, said(content), said([result, "And?"], "user"), said("Sorry.")], "prompt")
    assert [(turn.role, turn.content) for turn in messages] == [
        ("user", "Weather?"),
        ("assistant", "I look."),
        ("tool", "no"),
        ("user", "And?"),
        ("assistant", "Sorry."),
    ]
    function = {"name": "get_weather", "arguments": {"city": "Rome"}}
    assert json.loads(messages[1].more) == {"tool_calls": [{"id": "k1", "type": "function", "function": function}]}
    assert json.loads(messages[2].more) == {"tool_call_id": "k1", "is_error": True}
    assert read_messages(turns(messages), "prompt") == messages


def test_a_transcript_says_everything_but_which_assistant_spoke():
    messages = read_messages([ASKED, {**CALLS, "name": "model-x", "reasoning": "Look."}, TOLD, said("12 C")], "prompt")
    text = transcript(messages)
    assert text == (
        'User:\nWeather?\n\nAssistant:\n[thoughts]\nLook.\n\n[calls get_weather]\n{\n "city": "Rome"\n}\n\n'
        "Tool:\n[answer of get_weather k1]\n\n12 C\n\nAssistant:\n12 C"
    )
    assert [label for label, _, _ in turn_parts(messages[1])] == ["thoughts", "calls get_weather"]


def test_calls_in_the_context_and_in_an_answer_are_kept():
    context = only({"prompt": [ASKED, CALLS, TOLD], "response_a": "12.", "response_b": "Cold."})
    assert [turn.role for turn in context.prompt] == ["user", "assistant", "tool"]
    assert call_names(context.prompt) == ["get_weather"]
    row = {"prompt": [ASKED], "response_a": [CALLS], "response_b": [said("I do not know.")]}
    answer = only(row)
    assert answer_turns(Completion(text=answer.completion_a, turns=answer.turns_a)) == [{**CALLS, "content": ""}]
    assert answer.completion_a == '[calls get_weather]\n{\n "city": "Rome"\n}'
    assert (answer.completion_b, answer.turns_b) == ("I do not know.", ())
    other = {**row, "response_b": [{**CALLS, "tool_calls": [{**CALL, "id": "k2"}]}]}
    assert only(other).id != answer.id


def test_a_completion_that_is_one_turn_by_itself_is_that_turn():
    row = {"prompt": "Hi", "response_a": said("Hello"), "response_b": json.dumps(said("Yo"))}
    assert (only(row).completion_a, only(row).completion_b) == ("Hello", "Yo")
    listed = only({"prompt": "Weather?", "completions": [CALLS, "Cold."]})
    assert (call_names(listed.turns_a), listed.completion_b) == (["get_weather"], "Cold.")


# ---- conversations that went their own ways ----

ALICE = [said("Name a fruit.", "user"), said("Apple"), said("Another.", "user"), said("Kiwi")]
BOB = [said("Name a fruit.", "user"), said("Pear"), said("Another.", "user"), said("Lime")]


def test_each_model_keeps_its_own_history_behind_the_common_start():
    pair = only({"conversation_a": ALICE, "conversation_b": BOB, "model_a": "m", "model_b": "n"})
    assert [turn.content for turn in pair.prompt] == ["Name a fruit."]
    assert [turn.content for turn in pair.turns_a] == ["Apple", "Another.", "Kiwi"]
    assert pair.completion_b == "Assistant:\nPear\n\nUser:\nAnother.\n\nAssistant:\nLime"
    assert pair.swap().turns_a == pair.turns_b
    again = only({"prompt": turns(pair.prompt), "response_a": turns(pair.turns_a), "response_b": turns(pair.turns_b)})
    assert (again.prompt, again.turns_a, again.turns_b) == (pair.prompt, pair.turns_a, pair.turns_b)
    implicit = only({"chosen": ALICE, "rejected": BOB})
    assert {implicit.turns_a, implicit.turns_b} == {pair.turns_a, pair.turns_b}


def test_a_conversation_that_goes_on_where_the_other_ends_is_compared_from_the_last_common_question():
    pair = only({"conversation_a": ALICE[:2], "conversation_b": ALICE})
    assert (pair.completion_a, pair.turns_a) == ("Apple", ())
    assert [turn.content for turn in pair.turns_b] == ["Apple", "Another.", "Kiwi"]


def test_conversations_with_different_questions_are_refused():
    other = [*ALICE[:2], said("And a tree?", "user"), said("Oak")]
    error = problem({"conversation_a": ALICE, "conversation_b": other})
    assert (error.reason, error.field) == ("different_prefix", "conversation_b[2]")
    error = problem({"prompt": "Name a tree.", "response_a": ALICE, "response_b": BOB})
    assert (error.reason, error.field) == ("different_prefix", "response_a")


# ---- lists in cells ----


@pytest.mark.parametrize(
    "text",
    ['["a", "it\'s"]', "['a', \"it's\"]", "['a' \"it's\"]", "['a'\n \"it's\"]", '["a", "it\\u0027s"]'],
)
def test_a_list_is_decoded_as_json_python_or_numpy_write_it(text):
    assert decode_list(text) == ["a", "it's"]


@pytest.mark.parametrize(
    "text",
    ["['a', 'b'", "[a, b]", "[1, 2]", "{'a': 1}", "['a'] and more", "['a', f(x)]", "[" * 3000, "['" * 3000, "[]"],
)
def test_a_text_that_is_no_list_stays_a_text(text):
    assert decode_list(text) == text


ROWS = {
    "list": lambda value: value,
    "json": lambda value: json.dumps(value),
    "python": repr,
    "numpy": lambda value: "[" + "\n ".join(map(repr, value)) + "]",
}


@pytest.mark.parametrize("write", ROWS.values(), ids=ROWS)
def test_prompt_and_answers_that_are_lists_of_texts_take_turns(write):
    row = {
        "prompt": write(["Say hi", "More"]),
        "response_a": write(["Hi\nyou", "Ho"]),
        "response_b": write(["Yo", "Ya"]),
    }
    pair = only(row)
    assert [turn.content for turn in pair.prompt] == ["Say hi"]
    assert [turn.content for turn in pair.turns_a] == ["Hi\nyou", "More", "Ho"]
    single = only({"prompt": write(["Say hi"]), "response_a": write(["Hi"]), "response_b": write(["Yo"])})
    assert (single.prompt[0].content, single.completion_a, single.turns_a) == ("Say hi", "Hi", ())


@pytest.mark.parametrize("write", ROWS.values(), ids=ROWS)
def test_turns_in_cells_are_turns(write):
    pair = only(
        {
            "prompt": write([said("Say hi", "user")]),
            "response_a": write([said("Hi")]),
            "response_b": write([said("Yo")]),
        }
    )
    assert (pair.prompt[0].content, pair.completion_a, pair.completion_b) == ("Say hi", "Hi", "Yo")


def test_a_missing_answer_in_a_list_is_an_empty_one():
    row = {"prompt": '["Say hi"]', "response_a": "[null]", "response_b": '["Yo"]'}
    assert (only(row).completion_a, only(row).completion_b) == ("", "Yo")


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": '["q", "r"]', "response_a": '["a"]', "response_b": '["b", "c"]'}, "response_a"),
        ({"prompt": '["q"]', "response_a": "a", "response_b": "b"}, "response_a"),
        ({"prompt": "q", "response_a": "[{'role': 'assistant', 'content': cut", "response_b": "b"}, "response_a"),
        ({"prompt": "[{'role': 'user', 'content': cut", "response_a": "a", "response_b": "b"}, "prompt"),
    ],
)
def test_lists_that_do_not_fit_or_cannot_be_decoded_are_refused_by_name(row, field):
    error = problem(row)
    assert (error.reason, error.field) == ("wrong_type", field)


def test_answers_that_are_json_by_themselves_stay_as_they_are():
    pair = only({"prompt": "Two fruits as JSON", "response_a": '["apple", "fig"]', "response_b": "['apple']"})
    assert (pair.completion_a, pair.completion_b) == ('["apple", "fig"]', "['apple']")


@pytest.mark.parametrize("labels", [[True, False], "[True, False]", "[true, false]", [1, 0]])
def test_stepwise_rows_are_refused_by_name(labels):
    row = {"prompt": "2 + 3?", "completions": ["Two and three.", "Five."], "labels": labels}
    with pytest.raises(ValueError, match="completions and labels are steps of one answer"):
        detect_reading([row])
    assert len(only(row, form="responses").prompt) == 1  # who says that they are rivals is believed
    assert detect_reading([{**row, "labels": "two"}]).form == "responses"
