"""Reaching into objects and lists."""

import pytest

from rewardkit.data.columns import detect_reading
from rewardkit.data.comparison_rows import parse_row
from rewardkit.data.judgments import detect_ballots, parse_ballots
from rewardkit.data.tables.cells import places_within, read_cell

ROW = {
    "question": {"full_text": "Why?", "tags": [{"name": "x"}, "y"]},
    "a.b": "literal",
    "a": {"b": "inside"},
    "x.y": {"z": 1},
    "text": '{"deep": ["one", {"two": 2}]}',
    "null": None,
}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("question.full_text", "Why?"),
        ("question.tags.0.name", "x"),
        ("question.tags.1", "y"),
        ("a.b", "literal"),
        ("x.y.z", 1),
        ("text.deep.1.two", 2),
        ("question.tags.2", None),
        ("question.tags.-1", None),
        ("question.none", None),
        ("null.more", None),
        ("text.deep.0.more", None),
        ("", None),
    ],
)
def test_a_path_leads_into_objects_and_lists_and_a_literal_name_wins(column, value):
    assert read_cell(ROW, column) == value


def test_the_places_within_objects_are_listed_and_none_within_turns():
    row = {**ROW, "turns": [{"role": "user", "content": "x"}], "answers": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}
    places = places_within([row, {"question": {"id": 1}}])
    assert places == [
        *("question.full_text", "question.tags", "question.tags.0.name", "a.b", "x.y.z"),
        *("answers.0.text", "answers.1.text", "question.id"),
    ]
    assert all(read_cell(row, place) is not None for place in places[:-1])


def test_comparisons_are_read_from_places_in_columns():
    row = {"info": {"post": "Post"}, "data": {"answers": ["A", "B"]}, "summaries": [{"text": "s"}, {"text": "t"}]}
    pairs = {"prompt": "info.post", "response_a": "data.answers.0", "response_b": "data.answers.1"}
    (pair,) = parse_row(row, detect_reading([row], columns=pairs)).comparisons
    assert (pair.prompt[0].content, pair.completion_a, pair.completion_b) == ("Post", "A", "B")
    listed = detect_reading([row], columns={"prompt": "info.post", "responses": "summaries"})
    assert (listed.form, parse_row(row, listed).comparisons[0].completion_b) == ("responses", "t")
    with pytest.raises(ValueError, match=r"no column 'info\.title' for prompt, the columns are info, data, summaries"):
        detect_reading([row], columns={"prompt": "info.title"})


def test_a_column_of_which_a_place_is_read_is_no_other_field():
    row = {"input": {"messages": [{"role": "user", "content": "Why?"}], "tools": []}, "chosen": "a", "rejected": "b"}
    (pair,) = parse_row(row, detect_reading([row], columns={"prompt": "input.messages"})).comparisons
    assert (pair.prompt[0].content, pair.meta) == ("Why?", {"input": row["input"]})


def test_judgments_are_read_from_places_in_columns():
    row = {"id": 1, "annotations": [{"completed_by": 3, "result": [{"value": {"selected": "a"}}]}]}
    columns = {"annotator": "annotations.0.completed_by", "choice": "annotations.0.result.0.value.selected"}
    (ballot,) = parse_ballots(row, detect_ballots([row], columns=columns))
    assert (ballot.comparison_id, ballot.annotator, ballot.value) == ("1", "3", "a")
