import csv
import gzip
import json
import time
from itertools import combinations

import pytest

from rewardkit.data.export_formats import LAYOUTS, preference_row
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import count_reasons, read_preferences
from rewardkit.data.records import Message

PROMPT = (
    Message(role="user", content="Where is my parcel?"),
    Message(role="assistant", content="Which one?"),
    Message(role="user", content="The red one."),
)
DIALOGUE = "Human: Where is my parcel?\n\nAssistant: Which one?\n\nHuman: The red one.\n\nAssistant:"
TURNS = [{"role": message.role, "content": message.content} for message in PROMPT]
GOOD, POOR = "It arrives today.", "No idea."
PAIRS = {
    "plain": {"prompt": DIALOGUE, "chosen": GOOD, "rejected": POOR},
    "conversational": {
        "prompt": TURNS,
        "chosen": [{"role": "assistant", "content": GOOD}],
        "rejected": [{"role": "assistant", "content": POOR}],
    },
    "prompt within the answers": {
        "prompt": "The red one.",
        "chosen": [*TURNS, {"role": "assistant", "content": GOOD}],
        "rejected": [*TURNS, {"role": "assistant", "content": POOR}],
    },
    "implicit conversation": {
        "chosen": [*TURNS, {"role": "assistant", "content": GOOD}],
        "rejected": [*TURNS, {"role": "assistant", "content": POOR}],
    },
    "raw dialogue": {"chosen": f"\n\n{DIALOGUE} {GOOD}", "rejected": f"\n\n{DIALOGUE} {POOR}"},
    "choice": {"prompt": DIALOGUE, "response_a": POOR, "response_b": GOOD, "choice": "b"},
    "ranking": {"prompt": DIALOGUE, "responses": [POOR, GOOD], "ranks": [2, 1]},
}


def read(tmp_path, *rows, **options):
    file = tmp_path / "rows.jsonl"
    write_rows(file, rows)
    return read_preferences(str(file), **options)


def read_one(tmp_path, **columns):
    (row,) = read(tmp_path, {**PAIRS["plain"], **columns}).rows
    return row


@pytest.mark.parametrize("form", PAIRS)
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet", "jsonl.gz", "json.gz", "csv.gz", "parquet.gz"])
def test_every_form_in_every_format_gives_the_same_row(tmp_path, form, suffix):
    file = tmp_path / f"rows.{suffix}"
    write_rows(file, [PAIRS[form]])
    (row,) = read_preferences(str(file)).rows
    assert (row.prompt, row.chosen, row.rejected) == (PROMPT, GOOD, POOR)
    assert (row.p_chosen, row.weight) == (1.0, 1.0)


@pytest.mark.parametrize("number", range(20))
def test_chosen_stays_chosen_whatever_the_texts(tmp_path, number):
    row = read_one(tmp_path, chosen=f"yes {number}", source_chosen="anna", source_rejected="bert")
    assert (row.chosen, row.rejected) == (f"yes {number}", POOR)
    assert (row.source_chosen, row.source_rejected) == ("anna", "bert")


def test_what_a_row_says_of_itself_is_read_and_the_rest_is_kept_as_metadata(tmp_path):
    given = {
        "p_chosen": 0.75,
        "weight": 2,
        "margin": "1.5",
        "criteria": {"tone": -1.0, "facts": "chosen", "length": "tie", "style": "rejected", "depth": None},
        "votes": {"chosen": 3, "rejected": 1, "tie": 0},
        "num_judgments": 4,
        "worker": 17,
        "reliability": "0.9",
        "topic": "post",
    }
    row = read_one(tmp_path, **given)
    assert (row.p_chosen, row.weight, row.margin, row.num_judgments) == (0.75, 2.0, 1.5, 4)
    assert row.criteria == {"tone": -1.0, "facts": 1.0, "length": 0.0, "style": -1.0}
    assert row.votes == {"chosen": 3, "rejected": 1}
    assert row.meta == {"annotator": "17", "reliability": 0.9, "topic": "post"}


def test_empty_cells_of_a_csv_file_keep_the_defaults(tmp_path):
    file = tmp_path / "rows.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["prompt", "chosen", "rejected", "p_chosen", "weight", "criteria", "votes", "annotator"])
        writer.writerow(["Why?", GOOD, POOR, "", "", "", "", ""])
        writer.writerow(["Why?", GOOD, POOR, "0.5", "0", '{"tone": 1}', '{"tie": 2}', "ann"])
    first, second = read_preferences(str(file)).rows
    assert (first.p_chosen, first.weight, first.criteria, first.votes, first.meta) == (1.0, 1.0, {}, {}, {})
    assert (second.p_chosen, second.weight, second.criteria, second.votes) == (0.5, 0.0, {"tone": 1.0}, {"tie": 2})
    assert second.meta == {"annotator": "ann"}


@pytest.mark.parametrize(
    ("columns", "reason", "problem"),
    [
        ({"chosen": None}, "missing_field", "field chosen is 'None': an answer is needed"),
        ({"prompt": None}, "missing_field", "field prompt"),
        ({"rejected": GOOD}, "identical_responses", "it is the same as chosen"),
        ({"rejected": f" {GOOD}\n"}, "identical_responses", "it is the same as chosen"),
        ({"rejected": "  "}, "empty_response", "field rejected is '  '"),
        ({"p_chosen": 0.2}, "bad_number", "field p_chosen is '0.2': allowed is 0.5 to 1; below 0.5 the other"),
        ({"p_chosen": 1.2}, "bad_number", "field p_chosen is '1.2': allowed is 0.5 to 1"),
        ({"p_chosen": "much"}, "bad_number", "field p_chosen is 'much': allowed is 0.5 to 1"),
        ({"p_chosen": True}, "bad_number", "field p_chosen"),
        ({"weight": -1}, "bad_number", "field weight is '-1': allowed is a number of 0 or more"),
        ({"weight": "inf"}, "bad_number", "field weight is 'inf'"),
        ({"margin": "nan"}, "bad_number", "field margin is 'nan': allowed is a number"),
        ({"num_judgments": 1.5}, "bad_number", "field num_judgments is '1.5': allowed is a whole number"),
        ({"criteria": [1]}, "wrong_type", "field criteria is '[1]': allowed is a mapping"),
        ({"criteria": "{tone"}, "wrong_type", "field criteria is '{tone': the text is no JSON"),
        ({"criteria": {"tone": "good"}}, "bad_number", "field criteria.tone is 'good': allowed is a number, or chosen"),
        ({"votes": {"left": 2}}, "wrong_type", "field votes is 'left': allowed are chosen, rejected, tie, both_bad"),
        ({"votes": {"tie": -2}}, "bad_number", "field votes.tie is '-2'"),
        ({"reliability": 1.1}, "bad_number", "field reliability is '1.1': allowed is 0 to 1"),
    ],
)
def test_bad_rows_are_named_by_file_line_and_field(tmp_path, columns, reason, problem):
    rows = [PAIRS["plain"], PAIRS["plain"] | columns, PAIRS["plain"] | columns]
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: .*and 1 more bad rows.*--on-bad-row skip") as caught:
        read(tmp_path, *rows)
    assert problem in str(caught.value)
    kept = read(tmp_path, *rows, on_bad_row="skip")
    assert len(kept.rows) == 1
    assert [(bad.place, bad.reason) for bad in kept.bad_rows] == [
        (f"{tmp_path}/rows.jsonl:{line}", reason) for line in (2, 3)
    ]
    assert problem in kept.bad_rows[0].problem


def test_prompts_that_differ_are_a_bad_row(tmp_path):
    other = f"\n\n{DIALOGUE.replace('red', 'blue')} {POOR}"
    kept = read(tmp_path, PAIRS["raw dialogue"], PAIRS["raw dialogue"] | {"rejected": other}, on_bad_row="skip")
    assert (len(kept.rows), count_reasons(kept.bad_rows), kept.form) == (1, "1 different_prefix", "dialogues")


def test_lines_that_are_no_json_are_bad_rows_too(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text(f"{json.dumps(PAIRS['plain'])}\n{{broken\n[1]\n{json.dumps(PAIRS['plain'])}\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: invalid JSON.*and 1 more bad rows"):
        read_preferences(str(file))
    kept = read_preferences(str(file), on_bad_row="skip")
    assert (len(kept.rows), [bad.place[-1] for bad in kept.bad_rows]) == (2, ["2", "3"])
    assert {bad.reason for bad in kept.bad_rows} == {"unreadable"}


def test_a_file_without_rows_is_refused(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl holds no rows$"):
        read_preferences(str(file))
    file.write_text("{broken\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl holds no rows: .*rows\.jsonl:1: invalid JSON"):
        read_preferences(str(file), on_bad_row="skip")


def test_a_file_of_no_known_form_is_refused_with_its_columns(tmp_path):
    with pytest.raises(ValueError, match=r"rows\.jsonl: no form fits the columns question, good; .*; rename"):
        read(tmp_path, {"question": "q", "good": "x"})


def test_chosen_and_rejected_go_before_other_columns_that_look_like_a_form(tmp_path):
    row = PAIRS["plain"] | {"response_a": "1", "response_b": "2", "choice": "b"}
    kept = read(tmp_path, row)
    assert (kept.form, kept.rows[0].chosen) == ("chosen_rejected", GOOD)


# Votes


def vote(choice, **columns):
    return {"prompt": "Why?", "response_a": "one", "response_b": "two", "choice": choice, **columns}


def test_votes_become_one_row_each_with_their_annotator(tmp_path):
    votes = [vote("a", annotator="ann"), vote("model_b", annotator="ben"), vote("tie", annotator="cem")]
    kept = read(tmp_path, *votes)
    assert kept.form == "pairs"
    assert [(row.chosen, row.p_chosen, row.meta["annotator"]) for row in kept.rows] == [
        ("one", 1.0, "ann"),
        ("two", 1.0, "ben"),
        ("one", 0.5, "cem"),
    ]
    assert len({row.comparison_id for row in kept.rows}) == 1


def test_signed_choices_give_the_margin_unless_the_row_gives_one(tmp_path):
    rows = read(tmp_path, vote(-3), vote(2), vote(0), vote(1, margin=0.25)).rows
    assert [(row.chosen, row.p_chosen, row.margin) for row in rows] == [
        ("one", 1.0, 3.0),
        ("two", 1.0, 2.0),
        ("one", 0.5, 0.0),
        ("two", 1.0, 0.25),
    ]


def test_the_meaning_of_numbers_is_told_from_the_whole_file(tmp_path):
    rows = read(tmp_path, *[vote(1)] * 500, vote(-2)).rows  # below 0 prefers the first response
    assert [rows[0].chosen, rows[-1].chosen] == ["two", "one"]
    for numbers in ((0, 1), (1, 2)):
        with pytest.raises(
            ValueError, match=r"column choice: the choices are .*: that does not say .*write a, b or tie"
        ):
            read(tmp_path, *map(vote, numbers))


def test_votes_that_prefer_neither_are_listed(tmp_path):
    kept = read(tmp_path, vote("a"), vote("both_bad"), vote("skip"), vote(None), on_bad_row="skip")
    assert count_reasons(kept.bad_rows) == "2 no_preference, 1 missing_field"
    with pytest.raises(ValueError, match=r"rows\.jsonl:2: field choice is 'both_bad': neither response is preferred"):
        read(tmp_path, vote("a"), vote("both_bad"))


def test_pairs_without_a_choice_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no column says which response is better, the columns are prompt, resp"):
        read(tmp_path, {"prompt": "Why?", "response_a": "one", "response_b": "two"})


# Rankings


def test_a_ranking_becomes_all_its_pairs_and_weighs_as_much_as_one(tmp_path):
    ranked = {"prompt": "Why?", "responses": ["worst", "best", "fair", "good"], "ranks": [4, 1, 3, 2], "weight": 3}
    rows = read(tmp_path, ranked).rows
    order = ["best", "good", "fair", "worst"]
    assert {(row.chosen, row.rejected) for row in rows} == set(combinations(order, 2))
    # K = 4 gives 4 * 3 / 2 = 6 pairs of 1/6 each, times the row's own weight.
    assert [row.weight for row in rows] == [pytest.approx(0.5)] * 6
    assert {row.p_chosen for row in rows} == {1.0}


def test_a_column_of_that_name_does_not_tie_pairs_together_as_a_ranking_does(tmp_path):
    (row,) = read(tmp_path, {**PAIRS["plain"], "ranking": "r1", "topic": "parcels"}).rows
    assert row.meta == {"topic": "parcels"}


def test_two_ranked_responses_weigh_like_a_pair(tmp_path):
    (row,) = read(tmp_path, PAIRS["ranking"]).rows
    assert row.weight == 1.0


def test_ranks_and_scores_of_the_responses_themselves_are_read(tmp_path):
    scored = [{"model": "m1", "text": "low", "score": 2.5}, {"model": "m2", "text": "high", "score": 9}]
    (row,) = read(tmp_path, {"prompt": "Why?", "responses": scored}).rows
    assert (row.chosen, row.rejected, row.source_chosen, row.source_rejected) == ("high", "low", "m2", "m1")


def test_equal_ranks_are_ties(tmp_path):
    rows = read(tmp_path, {"prompt": "Why?", "responses": ["x", "y", "z"], "ranks": [1, 1, 2]}).rows
    found = {(row.chosen, row.rejected): (row.p_chosen, row.weight) for row in rows}
    assert found == {("x", "y"): (0.5, 1 / 3), ("x", "z"): (1.0, 1 / 3), ("y", "z"): (1.0, 1 / 3)}


def test_identical_responses_of_a_ranking_are_listed_and_the_others_weigh_one_together(tmp_path):
    kept = read(tmp_path, {"prompt": "Why?", "responses": ["x", "y", "y"], "ranks": [1, 2, 3]}, on_bad_row="skip")
    assert [(row.chosen, row.rejected, row.weight) for row in kept.rows] == [("x", "y", 0.5)] * 2
    assert count_reasons(kept.bad_rows) == "1 identical_responses"


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "each response needs a rank or a score"),
        ({"ranks": [1]}, "allowed is a list with one rank per response"),
        ({"ranks": [1, "x"]}, r"field ranks\[1\] is 'x': allowed is a number"),
        ({"ranks": 3}, "allowed is a list of ranks"),
        ({"ranks": [1, 2], "p_chosen": 0.9}, "field p_chosen is '0.9': a ranked row says nothing of single pairs"),
    ],
)
def test_rankings_that_do_not_rank_are_bad_rows(tmp_path, columns, problem):
    with pytest.raises(ValueError, match=rf"rows\.jsonl:1: .*{problem}"):
        read(tmp_path, {"prompt": "Why?", "responses": ["x", "y"], **columns})


def test_a_ranking_with_one_response_unranked_is_a_bad_row(tmp_path):
    scored = [{"text": "x", "score": 1}, {"text": "y", "score": 2}, {"text": "z"}]
    with pytest.raises(ValueError, match="each response needs a rank or a score"):
        read(tmp_path, {"prompt": "Why?", "responses": scored})


# Our own exports, and real data


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv", "parquet"])
def test_rows_written_by_us_are_read_back_as_they_were(tmp_path, layout, suffix):
    given = read_one(
        tmp_path,
        p_chosen=0.625,
        weight=0.5,
        margin=-0.5,
        criteria={"tone": 0.5},
        votes={"chosen": 2, "tie": 1},
        num_judgments=3,
        comparison_id="c7",
        source_chosen="anna",
        source_rejected="bert",
    )
    file = tmp_path / f"own.{suffix}"
    write_rows(file, [preference_row(given, layout, criteria=("tone", "facts"), sources=True)])
    assert read_preferences(str(file)).rows == [given]


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("hh_helpful_base_train.jsonl.gz", 1695),
        ("hh_helpful_base_test.jsonl.gz", 315),
        ("hh_helpful_rs_train.jsonl.gz", 2711),
    ],
)
def test_real_pairs_are_read_whole_with_chosen_as_the_file_has_it(shared_data, file, count):
    kept = read_preferences(str(shared_data / file))
    with gzip.open(shared_data / file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert (len(kept.rows), kept.bad_rows) == (count, [])
    assert [(row.chosen, row.rejected) for row in kept.rows] == [(row["chosen"], row["rejected"]) for row in rows]
    asked = [sum(message.role == "user" for message in row.prompt) for row in kept.rows]
    assert asked == [row["n_human_turns"] for row in rows]


def test_real_edge_cases_are_listed_with_the_reason_they_are_known_for(shared_data):
    file = shared_data / "hh_edge_cases_raw.jsonl.gz"
    kept = read_preferences(str(file), on_bad_row="skip")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        reasons = [json.loads(line)["reason"] for line in lines]
    assert [bad.reason for bad in kept.bad_rows] == reasons
    assert [bad.place for bad in kept.bad_rows] == [f"{file}:{number}" for number in range(1, 51)]
    assert (kept.rows, kept.form) == ([], "dialogues")


@pytest.mark.slow
def test_a_hundred_thousand_rows_are_read_in_seconds(tmp_path):
    file = tmp_path / "many.jsonl"
    file.write_text("".join(json.dumps(PAIRS["plain"] | {"chosen": f"{n}"}) + "\n" for n in range(100_000)))
    start = time.process_time()
    assert len(read_preferences(str(file)).rows) == 100_000
    assert time.process_time() - start < 60


def test_the_winner_may_be_named_or_marked_in_one_of_three_columns(tmp_path):
    pair = {"prompt": "Why?", "response_a": "x", "response_b": "y", "model_a": "m", "model_b": "n"}
    marked = [
        {**pair, "winner_model_a": a, "winner_model_b": b, "winner_tie": tie}
        for a, b, tie in ((1, 0, 0), ("0", "1.0", "0"), (False, False, True))
    ]
    for number, rows in enumerate((marked, [{**pair, "winner": winner} for winner in ("m", "n", "tie")])):
        source = tmp_path / f"{number}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        read = read_preferences(str(source)).rows
        assert [(row.chosen, row.p_chosen, row.source_chosen) for row in read] == [
            ("x", 1.0, "m"),
            ("y", 1.0, "n"),
            ("x", 0.5, "m"),
        ]


@pytest.mark.parametrize("marks", [(0, 0, 0), (1, 1, 0), (1, 0, None), (2, -1, 0), ("yes", 0, 0)])
def test_marks_of_no_or_two_winners_are_refused(marks, tmp_path):
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    source = tmp_path / "rows.jsonl"
    row = {"prompt": "Why?", "response_a": "x", "response_b": "y", **dict(zip(names, marks, strict=True))}
    source.write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:1: field winner_model_a, .* allowed is 1 in one of them"):
        read_preferences(str(source))
