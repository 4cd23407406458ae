import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.data.columns import Reading, detect_reading
from rewardkit.data.comparison_rows import choose_pairs, parse_row, read_pair
from rewardkit.data.conversations import RowError
from rewardkit.data.files import read_rows
from rewardkit.data.records import Message

USER, ASSISTANT = "user", "assistant"


def turn(role, content):
    return {"role": role, "content": content}


def parse(row, **options):
    return parse_row(row, detect_reading([row], **options))


def only(row, **options):
    (comparison,) = parse(row, **options).comparisons
    return comparison


def problem(row, **options):
    with pytest.raises(RowError) as caught:
        parse(row, **options)
    return caught.value


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("response_a", "response_b"),
        ("response1", "response2"),
        ("response_1", "response_2"),
        ("answer_a", "answer_b"),
        ("completion_a", "completion_b"),
        ("response_x", "response_y"),
        ("Output 1", "Output 2"),
        ("text-a", "text-b"),
    ],
)
@pytest.mark.parametrize("prompt", ["prompt", "question", "instruction", "input"])
def test_pairs_are_recognised_by_their_usual_names(prompt, a, b):
    comparison = only({prompt: "Why?", a: "Because.", b: "Who knows."})
    assert comparison.prompt == (Message(role=USER, content="Why?"),)
    assert (comparison.completion_a, comparison.completion_b) == ("Because.", "Who knows.")


def test_input_follows_the_instruction_and_system_comes_first():
    row = {"instruction": "Sum up.", "input": "A text.", "system": "Be brief.", "response1": "x", "response2": "y"}
    roles = [(message.role, message.content) for message in only(row).prompt]
    assert roles == [("system", "Be brief."), (USER, "Sum up.\n\nA text.")]


def test_blank_instruction_leaves_its_input_as_the_prompt():
    row = {"instruction": " ", "input": "Truth", "response1": "x", "response2": "y"}
    assert only(row).prompt == (Message(role=USER, content="Truth"),)


@pytest.mark.parametrize(
    ("column", "value", "sources"),
    [
        ("model_pair", "opt-7b_pythia-6.9b", ("opt-7b", "pythia-6.9b")),
        ("model_pair", "a vs b_c", ("a", "b_c")),
        ("model_pair", "a_b_c", ("", "")),
    ],
)
def test_model_pair_names_the_sources_where_it_can_be_split(column, value, sources):
    comparison = only({"prompt": "p", "response1": "x", "response2": "y", column: value})
    assert (comparison.source_a, comparison.source_b) == sources


def test_unmapped_columns_are_kept_as_metadata_and_a_mapping_overrides():
    row = {
        "id": 7,
        "prompt": "p",
        "response_a": "x",
        "response_b": "y",
        "topic": "t",
        "score": float("nan"),
        "who": "m",
    }
    comparison = only(row, columns={"source_a": "who", "id": ""})
    assert comparison.meta == {"id": 7, "topic": "t", "score": None}
    assert comparison.source_a == "m"
    assert len(comparison.id) == 16
    assert only(row).id == "7"


def test_metadata_column_is_merged_also_from_csv():
    row = {"prompt": "p", "response_a": "x", "response_b": "y", "meta": '{"topic": "t", "deep": [1]}', "row": "3"}
    assert only(row).meta == {"topic": "t", "deep": [1], "row": "3"}
    assert only({**row, "meta": "just a note"}).meta == {"meta": "just a note", "row": "3"}


def test_id_of_content_is_stable_and_differs_with_any_part():
    row = {"prompt": "p", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n"}
    ids = {only(row).id} | {only({**row, name: "other"}).id for name in row}
    assert only(row).id == only(dict(row)).id
    assert len(ids) == 6


RESPONSES = [
    [{"model": "m1", "text": "x"}, {"model": "m2", "text": "y"}, {"model": "m3", "text": "z"}],
    {"m1": "x", "m2": "y", "m3": "z"},
    json.dumps([{"model": "m1", "response": "x"}, {"model": "m2", "response": "y"}, {"model": "m3", "response": "z"}]),
]


@pytest.mark.parametrize("responses", RESPONSES)
def test_lists_of_responses_become_pairs_with_their_sources(responses):
    parsed = parse({"id": "q", "prompt": "p", "responses": responses})
    found = [
        (each.id, each.completion_a, each.completion_b, each.source_a, each.source_b) for each in parsed.comparisons
    ]
    assert found == [
        ("q:1-2", "x", "y", "m1", "m2"),
        ("q:1-3", "x", "z", "m1", "m3"),
        ("q:2-3", "y", "z", "m2", "m3"),
    ]
    assert not parsed.labels


def test_texts_and_a_list_of_models():
    comparison = only({"prompt": "p", "completions": ["x", "y"], "models": ["m1", "m2"]})
    assert (comparison.source_a, comparison.source_b) == ("m1", "m2")
    assert problem({"prompt": "p", "completions": ["x", "y"], "models": ["m1"]}).reason == "wrong_type"


def test_pairs_to_choose_from_four_responses():
    assert choose_pairs(4, "all", seed="s") == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert choose_pairs(4, "adjacent", seed="s") == [(0, 1), (1, 2), (2, 3)]
    assert choose_pairs(4, "star:first", seed="s") == [(0, 1), (0, 2), (0, 3)]
    some = choose_pairs(4, "random:3", seed="s")
    assert len(set(some)) == 3
    assert some == choose_pairs(4, "random:3", seed="s")
    assert {tuple(choose_pairs(4, "random:3", seed=str(seed))) for seed in range(20)} != {tuple(some)}
    assert choose_pairs(4, "random:99", seed="s") == choose_pairs(4, "all", seed="s")


@pytest.mark.parametrize("pairs", ["some", "random:0", "random:x", "random"])
def test_unknown_choice_of_pairs_is_refused(pairs):
    with pytest.raises(ValueError, match="allowed are all, adjacent, random:N and star:first"):
        Reading(form="responses", pairs=pairs)


def test_ranks_and_scores_label_pairs():
    ranked = parse({"prompt": "p", "responses": ["best", "middle", "worst"]}, form="ranked")
    assert list(ranked.labels.values()) == ["a", "a", "a"]
    scored = [{"text": "x", "score": 1}, {"text": "y", "score": 4.5}, {"text": "z", "score": 1}]
    assert list(parse({"prompt": "p", "responses": scored}).labels.values()) == ["b", "tie", "a"]


def test_identical_responses_leave_out_their_pair_only():
    parsed = parse({"prompt": "p", "responses": ["x", "x ", "y"]})
    assert [(each.completion_a, each.completion_b) for each in parsed.comparisons] == [("x", "y"), ("x ", "y")]
    assert [error.reason for error in parsed.problems] == ["identical_responses"]
    assert problem({"prompt": "p", "responses": ["x", "x"]}).reason == "identical_responses"


@given(st.lists(st.tuples(st.text("abc", min_size=1), st.text("de", min_size=1)), min_size=1, max_size=30))
def test_chosen_side_follows_the_content_and_the_label_knows_it(pairs):
    for chosen, rejected in pairs:
        parsed = parse({"prompt": "p", "chosen": chosen, "rejected": rejected})
        (comparison,) = parsed.comparisons
        side = parsed.labels[comparison.id]
        assert getattr(comparison, f"completion_{side}") == chosen
        assert parse({"prompt": "p", "chosen": chosen, "rejected": rejected}) == parsed


@pytest.mark.parametrize(
    ("row", "comparison"),
    [
        (
            {"prompt": "p1", "chosen": "x", "rejected": "y", "source_chosen": "anna", "source_rejected": "bert"},
            ("2cc5eddb6aff83f0", "y", "x", "bert", "anna"),
        ),
        ({"prompt": "p2", "chosen": "x", "rejected": "y"}, ("f76bfdb792688da6", "y", "x", "", "")),
        ({"id": "k7", "prompt": "Where?", "chosen": "Here.", "rejected": "There."}, ("k7", "Here.", "There.", "", "")),
        (
            {"chosen": "\n\nHuman: Hey\n\nAssistant: x", "rejected": "\n\nHuman: Hey\n\nAssistant: y"},
            ("8d9aad5256cfa383", "y", "x", "", ""),
        ),
        (
            {
                "chosen": [turn(USER, "Hi"), turn(ASSISTANT, "Hello!")],
                "rejected": [turn(USER, "Hi"), turn(ASSISTANT, "No.")],
            },
            ("c22f9369db2e9262", "Hello!", "No.", "", ""),
        ),
    ],
)
def test_ids_and_sides_stay_what_databases_hold(row, comparison):
    """A file that is imported a second time adds nothing: these values may never change."""
    parsed = parse(row)
    (read,) = parsed.comparisons
    assert (read.id, read.completion_a, read.completion_b, read.source_a, read.source_b) == comparison
    pair = read_pair(row, detect_reading([row]))
    side = parsed.labels[read.id]
    assert getattr(read, f"completion_{side}") == pair.completion_a  # the chosen one
    assert pair == (read if side == "a" else read.swap())


def test_chosen_stands_on_either_side_about_equally_often():
    rows = [{"prompt": f"p{number}", "chosen": "x", "rejected": "y"} for number in range(1000)]
    sides = [next(iter(parse(row).labels.values())) for row in rows]
    assert 450 < sides.count("a") < 550  # 500 expected, standard deviation 15.8


def test_raw_dialogues_share_their_prompt():
    common = "\n\nHuman: Hello\n\nAssistant: Hi, how are you?\n\nHuman: Fine.\nAnd you?\n\nAssistant:"
    parsed = parse({"chosen": f"{common} Great, thanks!", "rejected": f"{common} So so.\n\nReally."})
    (comparison,) = parsed.comparisons
    assert [(m.role, m.content) for m in comparison.prompt] == [
        (USER, "Hello"),
        (ASSISTANT, "Hi, how are you?"),
        (USER, "Fine.\nAnd you?"),
    ]
    assert {comparison.completion_a, comparison.completion_b} == {"Great, thanks!", "So so.\n\nReally."}
    assert detect_reading([{"chosen": common, "rejected": common}]).form == "dialogues"


def test_dialogues_that_part_before_the_last_turn_are_refused():
    longer = "\n\nHuman: A\n\nAssistant: b\n\nHuman: C\n\nAssistant: d"
    shorter = "\n\nHuman: A\n\nAssistant: x"
    error = problem({"chosen": longer, "rejected": shorter})
    assert (error.reason, error.field) == ("different_prefix", "rejected[1]")
    unanswered = problem({"chosen": "\n\nHuman: A\n\nAssistant: b\n\nHuman: C", "rejected": shorter})
    assert (unanswered.reason, unanswered.field) == ("wrong_type", "chosen")


def test_prompt_column_that_is_a_dialogue_is_read_as_one():
    row = {"prompt": "Human: One\n\nAssistant: two\n\nHuman: Three\n\nAssistant:", "chosen": "x", "rejected": "y"}
    assert [m.content for m in only(row).prompt] == ["One", "two", "Three"]


CONVERSATION = [turn("system", "Be kind."), turn(USER, "Hello")]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": CONVERSATION, "chosen": [turn(ASSISTANT, "x")], "rejected": [turn(ASSISTANT, "y")]},
        {"chosen": [*CONVERSATION, turn(ASSISTANT, "x")], "rejected": [*CONVERSATION, turn(ASSISTANT, "y")]},
        {
            "prompt": "Hello",
            "chosen": [*CONVERSATION, turn(ASSISTANT, "x")],
            "rejected": [*CONVERSATION, turn(ASSISTANT, "y")],
        },
        {
            "prompt": json.dumps(CONVERSATION),
            "chosen": json.dumps([turn(ASSISTANT, "x")]),
            "rejected": json.dumps([turn(ASSISTANT, "y")]),
        },
        {
            "conversations": None,
            "prompt": [{"from": "system", "value": "Be kind."}, {"from": "human", "value": "Hello"}],
            "response_a": "x",
            "response_b": [{"from": "gpt", "value": "y"}],
        },
        {
            "conversation_a": [*CONVERSATION, turn(ASSISTANT, "x")],
            "conversation_b": [*CONVERSATION, turn(ASSISTANT, [{"type": "text", "text": "y"}])],
        },
    ],
)
def test_conversations_are_lists_of_messages_in_any_of_the_usual_places(row):
    comparison = only(row)
    assert [(message.role, message.content) for message in comparison.prompt] == [
        ("system", "Be kind."),
        (USER, "Hello"),
    ]
    assert {comparison.completion_a, comparison.completion_b} == {"x", "y"}


def test_answer_that_only_looks_like_json_stays_text():
    comparison = only({"prompt": "p", "response_a": '{"role": 1}', "response_b": '["a", "b"]'})
    assert (comparison.completion_a, comparison.completion_b) == ('{"role": 1}', '["a", "b"]')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": {"id": 1, "text": "q"}}, "found an object with id, text; a place in it is named as prompt.text"),
        ({"response_a": {"score": 1.5}}, "found an object"),
        ({"prompt": [turn(USER, {"text": "q"})]}, "found an object"),
        ({"response_a": 3.5}, "found float"),
    ],
)
def test_an_object_where_a_text_belongs_says_how_its_places_are_named(change, message):
    good = {"id": "k", "prompt": "p", "response_a": "x", "response_b": "y"}
    assert str(problem({**good, **change})).endswith(f"allowed is text, {message}")


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"prompt": None}, "missing_field", "prompt"),
        ({"prompt": "  "}, "missing_field", "prompt"),
        ({"prompt": 5}, "wrong_type", "prompt"),
        ({"prompt": [turn("narrator", "x")]}, "wrong_type", "prompt[0].role"),
        ({"prompt": [turn(USER, 5)]}, "wrong_type", "prompt[0].content"),
        ({"prompt": [turn(USER, [{"type": "image"}])]}, "wrong_type", "prompt[0].content[0]"),
        ({"response_a": None}, "missing_field", "response_a"),
        ({"response_a": 3.5}, "wrong_type", "response_a"),
        ({"response_a": "", "response_b": " "}, "empty_response", "response_a"),
        ({"response_a": "y "}, "identical_responses", "response_b"),
        ({"response_b": "a\x00b"}, "bad_character", "response_b"),
        ({"response_b": "a\ud800b"}, "bad_character", "response_b"),
        ({"id": "k" * 201}, "bad_id", "id"),
        ({"id": None}, "bad_id", "id"),
        ({"id": 1.5}, "bad_id", "id"),
        ({"model_a": "m" * 201}, "wrong_type", "model_a"),
    ],
)
def test_bad_rows_say_which_field_and_why(change, reason, field):
    good = {"id": "k", "prompt": "p", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n"}
    reading = detect_reading([good])
    with pytest.raises(RowError) as caught:
        parse_row({**good, **change}, reading)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert len(str(caught.value)) < 400


def test_one_empty_answer_is_kept_in_pairs_and_refused_as_chosen_unless_told_otherwise():
    pair = {"prompt": "p", "response_a": "x", "response_b": ""}
    chosen = {"prompt": "p", "chosen": "x", "rejected": " "}
    assert only(pair).completion_b == ""
    assert problem(pair, empty="bad").reason == "empty_response"
    assert problem(chosen).reason == "empty_response"
    assert {only(chosen, empty="keep").completion_a, only(chosen, empty="keep").completion_b} == {"x", " "}


def test_forms_that_cannot_be_told_name_the_columns():
    with pytest.raises(ValueError, match="no form fits the columns prompt, text; needed are"):
        detect_reading([{"prompt": "p", "text": "x"}])
    with pytest.raises(ValueError, match="no column is the prompt, the columns are chosen, rejected; rename"):
        detect_reading([{"chosen": "x", "rejected": "y"}])
    with pytest.raises(ValueError, match="the form pairs needs response_b, the columns are q, one"):
        detect_reading([{"q": "p", "one": "x"}], form="pairs", columns={"response_a": "one", "prompt": "q"})
    with pytest.raises(ValueError, match="no column 'two' for response_b"):
        detect_reading([{"q": "p", "one": "x"}], columns={"response_b": "two"})
    with pytest.raises(ValueError, match="unknown field 'reply'"):
        detect_reading([{"q": "p"}], columns={"reply": "q"})


def test_columns_of_any_name_are_read_where_they_are_mapped():
    row = {"q": "p", "left one": "x", "right one": "y"}
    comparison = only(row, columns={"prompt": "q", "response_a": "left one", "response_b": "right one"})
    assert (comparison.completion_a, comparison.completion_b, comparison.meta) == ("x", "y", {})


def test_real_edge_cases_are_each_refused_for_the_reason_they_are_known_for(shared_data):
    rows = [row for _, row in read_rows(shared_data / "hh_edge_cases_raw.jsonl.gz")]
    reading = detect_reading(rows[:20])
    assert reading.form == "dialogues"
    reasons = []
    for row in rows:
        with pytest.raises(RowError) as caught:
            parse_row(row, reading)
        reasons.append(caught.value.reason)
    assert reasons == [row["reason"] for row in rows]
    assert len(rows) == 50


@pytest.mark.parametrize(
    ("file", "count", "form"),
    [
        ("pandalm_dev.jsonl.gz", 503, "pairs"),
        ("llmfao_pairs.jsonl.gz", 2139, "pairs"),
        ("hh_helpful_base_train.jsonl.gz", 1695, "chosen_rejected"),
        ("hh_helpful_base_test.jsonl.gz", 315, "chosen_rejected"),
        ("hh_helpful_rs_train.jsonl.gz", 2711, "chosen_rejected"),
    ],
)
def test_real_files_are_read_whole_without_a_mapping(shared_data, file, count, form):
    rows = [row for _, row in read_rows(shared_data / file)]
    reading = detect_reading(rows[:100])
    comparisons = [comparison for row in rows for comparison in parse_row(row, reading).comparisons]
    assert (reading.form, len(comparisons), len({each.id for each in comparisons})) == (form, count, count)
    if "n_human_turns" in rows[0]:
        asked = [sum(message.role == USER for message in each.prompt) for each in comparisons]
        assert asked == [row["n_human_turns"] for row in rows]


ASKED = (Message(role=USER, content="Hi"), Message(role=ASSISTANT, content="Hello"), Message(role=USER, content="Why?"))


@pytest.mark.parametrize(
    "row",
    [
        {  # LlamaFactory's rankings of conversations
            "conversations": [
                {"from": "human", "value": "Hi"},
                {"from": "gpt", "value": "Hello"},
                {"from": "human", "value": "Why?"},
            ],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {"instruction": "Why?", "input": "", "history": [["Hi", "Hello"]], "chosen": "good", "rejected": "bad"},
        {"prompt": "Why?", "history": "[['Hi', 'Hello']]", "chosen": "good", "rejected": "bad"},
        {
            "prompt": "Why?",
            "history": [turn(USER, "Hi"), turn(ASSISTANT, "Hello")],
            "chosen": "good",
            "rejected": "bad",
        },
        {  # OpenAI's preference fine-tuning
            "input": {"messages": [turn(USER, "Hi"), turn(ASSISTANT, "Hello"), turn(USER, "Why?")], "tools": []},
            "preferred_output": [turn(ASSISTANT, "good")],
            "non_preferred_output": [turn(ASSISTANT, "bad")],
        },
    ],
)
@pytest.mark.parametrize("system", ["", "Be kind."])
def test_a_prompt_in_several_columns_is_read_whole(row, system):
    comparison = read_pair(row | {"system": system}, detect_reading([row | {"system": system}]))
    assert comparison.prompt == ((Message(role="system", content=system),) if system else ()) + ASKED
    assert (comparison.completion_a, comparison.completion_b) == ("good", "bad")


def test_earlier_turns_that_the_prompt_begins_with_stand_once():
    turns = [turn(USER, "Hi"), turn(ASSISTANT, "Hello")]
    row = {"prompt": [*turns, turn(USER, "Why?")], "history": turns, "response_a": "x", "response_b": "y"}
    assert only(row).prompt == ASKED


@pytest.mark.parametrize("history", [None, "", [], "[]"])
def test_no_earlier_turns_are_none(history):
    row = {"prompt": "Why?", "history": history, "response_a": "x", "response_b": "y"}
    assert only(row).prompt == ASKED[2:]


@pytest.mark.parametrize("history", ["Hi there", [["Hi"]], ["Hi", "Hello"], {"a": "b"}, 7])
def test_earlier_turns_without_speakers_are_refused(history):
    found = problem({"prompt": "Why?", "history": history, "response_a": "x", "response_b": "y"})
    assert (found.reason, found.field) == ("wrong_type", "history")


def test_whole_conversations_take_the_system_prompt_of_their_row():
    row = {side: [turn(USER, "Why?"), turn(ASSISTANT, side)] for side in ("chosen", "rejected")}
    prompt = only({"system": "Be kind.", **row}).prompt
    assert prompt == (Message(role="system", content="Be kind."), *ASKED[2:])
    assert only({"system": "Be kind.", "conversations": row["chosen"], **row}).prompt == prompt


def test_answers_without_anything_asked_are_refused():
    row = {side: [turn(ASSISTANT, side)] for side in ("chosen", "rejected")}
    with pytest.raises(ValueError, match="no column is the prompt, the columns are chosen, rejected"):
        detect_reading([row])
    whole = {side: [turn(USER, "Why?"), turn(ASSISTANT, side)] for side in ("chosen", "rejected")}
    with pytest.raises(RowError, match="chosen and rejected begin with the answer") as caught:
        parse_row(row, detect_reading([whole, row]))
    assert (caught.value.reason, caught.value.field) == ("missing_field", "prompt")


@pytest.mark.parametrize(("p_chosen", "better"), [(None, "good"), (0.9, "good"), ("0.5", ""), (0.5, ""), (0.2, "bad")])
def test_a_row_that_is_a_tie_brings_a_tie(p_chosen, better):
    for number in range(4):  # whose hashes put either side first
        parsed = parse({"prompt": f"Why {number}?", "chosen": "good", "rejected": "bad", "p_chosen": p_chosen})
        (comparison,), (label,) = parsed.comparisons, parsed.labels.values()
        assert label == ("a" if comparison.completion_a == better else "b" if better else "tie")


def test_responses_are_ranked_by_numbers_of_one_name():
    rated = [{"text": "x", "score": 1, "rating": 5}, {"text": "y", "rating": 3}, {"text": "z", "rating": "4"}]
    parsed = parse({"prompt": "Why?", "responses": rated})
    assert list(parsed.labels.values()) == ["a", "a", "b"]  # by rating, which all have: x, z, y
    mixed = [{"text": "x", "score": 4}, {"text": "y", "rank": 1}, {"text": "z", "rank": 2}]
    parsed = parse({"prompt": "Why?", "responses": mixed})
    assert [(pair.completion_a, pair.completion_b) for pair in parsed.comparisons if pair.id in parsed.labels] == [
        ("y", "z")
    ]
