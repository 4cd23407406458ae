import pytest

from rewardkit.data.choices import find_scale
from rewardkit.data.conversations import RowError
from rewardkit.data.judgments import detect_ballots, flip, parse_ballots, read_judgment
from rewardkit.data.records import Judgment


def judgments(rows, sources=("m", "n"), **options):
    reading = detect_ballots(rows, **options)
    ballots = [ballot for row in rows for ballot in parse_ballots(row, reading)]
    scale = find_scale([ballot.value for ballot in ballots], {})
    return [read_judgment(ballot, scale, {}, sources) for ballot in ballots]


def test_long_form_with_everything():
    row = {
        "pair_id": 5,
        "worker": "w1",
        "winner": "b",
        "strength": "2",
        "criteria": '{"helpful": -1, "tone": [2, 4]}',
        "flags": {"a": ["unsafe"]},
        "comment": "clearer",
        "seconds": "4.5",
        "shown_left": "b",
        "timestamp": "1970-01-01T00:01:00+00:00",
        "rubric_version": "3",
        "unrelated": "x",
    }
    assert judgments([row]) == [
        Judgment(
            comparison_id="5",
            annotator="w1",
            choice="b",
            strength=2,
            criteria={"helpful": -1, "tone": (2, 4)},
            flags={"a": ("unsafe",)},
            rationale="clearer",
            seconds=4.5,
            shown_left="b",
            created_at=60.0,
            rubric_version=3,
        )
    ]


@pytest.mark.parametrize("ranks", [[1e999, 1], [True, 2], [1.5, 1], "[1, 2", "1"])
def test_ranks_that_are_no_list_of_whole_numbers_are_refused(ranks):
    with pytest.raises(RowError, match=r"field ranks is .*whole numbers"):
        judgments([{"pair_id": "p", "worker": "w", "ranks": ranks}])


@pytest.mark.parametrize(
    ("spans", "problem"),
    [
        ("words", "allowed is a list of side, start, end and flag"),
        ([["a", 0, 3]], "allowed are side, start, end, flag of each"),
        ([{"side": "c", "start": 0, "end": 3, "flag": "wrong"}], "side of a span is 'c'"),
        ([["a", 3, 3, "wrong"]], "a start of 0 or more below its end"),
        ([["a", 0, 3, 7]], "allowed is text"),
        ([["a", 0, 3, "wrong"], ["b", 0, 3, "wrong"], ["a", 0, 3, "wrong"]], "twice, allowed is each span once"),
    ],
)
def test_marked_words_that_cannot_be_read_are_refused(spans, problem):
    with pytest.raises(RowError, match=f"field spans is .*{problem}"):
        judgments([{"pair_id": "p", "worker": "w", "choice": "a", "spans": spans}])


def test_wide_form_has_a_column_per_annotator_and_empty_cells_are_no_votes():
    rows = [{"id": "p", "annotator1": -1, "annotator2": 1, "annotator3": None}, {"id": "q", "annotator1": "0"}]
    found = [(each.comparison_id, each.annotator, each.choice) for each in judgments(rows)]
    assert found == [("p", "annotator1", "a"), ("p", "annotator2", "b"), ("q", "annotator1", "tie")]
    named = judgments([{"id": "p", "ann": "a", "bob": "b", "annotator1": "tie"}], annotators=["ann", "bob"])
    assert [(each.annotator, each.choice) for each in named] == [("ann", "a"), ("bob", "b")]


def test_winner_may_be_the_name_of_a_model():
    rows = [{"id": "p", "annotator": "w", "winner": name} for name in ("n", "m", "tie")]
    assert [each.choice for each in judgments(rows)] == ["b", "a", "tie"]


def test_models_named_in_the_other_order_flip_the_choice_into_ours():
    row = {"id": "p", "annotator": "w", "winner": "model_a", "model_a": "n", "model_b": "m", "shown_left": "a"}
    (judgment,) = judgments([row])
    assert (judgment.choice, judgment.shown_left) == ("b", "b")
    (same,) = judgments([{**row, "model_a": "m", "model_b": "n"}])
    assert (same.choice, same.shown_left) == ("a", "a")
    with pytest.raises(RowError, match="the comparison is between 'm' and 'n'"):
        judgments([{**row, "model_b": "other"}])


def test_flip_twice_changes_nothing():
    judgment = Judgment(
        comparison_id="p",
        annotator="w",
        choice="a",
        strength=2,
        criteria={"x": -2, "y": (1, 5)},
        flags={"a": ("f",)},
        shown_left="a",
    )
    flipped = flip(judgment)
    assert (flipped.choice, flipped.criteria, flipped.flags) == ("b", {"x": 2, "y": (5, 1)}, {"b": ("f",)})
    assert flip(flipped) == judgment


def test_checks_of_our_own_export_are_no_votes():
    rows = [
        {"comparison_id": "p", "annotator": "w", "choice": "a", "kind": kind} for kind in ("work", "gold", "import")
    ]
    assert len(judgments(rows)) == 2


@pytest.mark.parametrize(
    ("change", "reason", "field"),
    [
        ({"id": None}, "missing_field", "id"),
        ({"annotator": " "}, "missing_field", "annotator"),
        ({"annotator": "w" * 121}, "missing_field", "annotator"),
        ({"choice": ""}, "missing_field", "choice"),
        ({"choice": "left"}, "unknown_choice", "choice"),
        ({"strength": "-1"}, "bad_number", "strength"),
        ({"strength": 1.5}, "bad_number", "strength"),
        ({"seconds": "soon"}, "bad_number", "seconds"),
        ({"created_at": "yesterday"}, "bad_number", "created_at"),
        ({"criteria": "good"}, "wrong_type", "criteria"),
        ({"criteria": {"x": "good"}}, "wrong_type", "criteria.x"),
        ({"flags": {"left": ["f"]}}, "wrong_type", "flags"),
        ({"shown_left": "left"}, "wrong_type", "shown_left"),
    ],
)
def test_bad_rows_say_which_field_and_why(change, reason, field):
    names = ("id", "annotator", "choice", "strength", "seconds", "created_at", "criteria", "flags", "shown_left")
    row = {**dict.fromkeys(names), "id": "p", "annotator": "w", "choice": "a", **change}
    with pytest.raises(RowError) as caught:
        judgments([row])
    assert (caught.value.reason, caught.value.field) == (reason, field)


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match="no column of id, winner is the annotator"):
        detect_ballots([{"id": 1, "winner": "a"}])
    with pytest.raises(ValueError, match="no column 'bob' for an annotator"):
        detect_ballots([{"id": 1, "winner": "a"}], annotators=["bob"])
    with pytest.raises(ValueError, match="no columns of annotators"):
        detect_ballots([{"id": 1, "winner": "a"}], layout="wide")
