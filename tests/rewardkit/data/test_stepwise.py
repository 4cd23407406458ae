import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer, first_error, split_steps
from rewardkit.data.stepwise.stepwise_rows import are_hard, find_stepwise_form, read_stepwise, stepwise_row

PROMPT = (Message(role="user", content="What is 2 + 3 times 2?"),)


def write(tmp_path, *rows, name="steps.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def only(tmp_path, row):
    (answer,) = read_stepwise(write(tmp_path, row)).rows
    return answer


def test_rows_of_trl_are_read_with_soft_labels_and_gaps(tmp_path):
    row = {
        "prompt": PROMPT[0].content,
        "completions": ["2 + 3 is 5.", "5 times 2 is 12.", "So 12."],
        "labels": [True, 0.25, None],
        "source": "toy",
    }
    answer = only(tmp_path, row)
    assert answer.prompt == PROMPT
    assert answer.steps == ("2 + 3 is 5.", "5 times 2 is 12.", "So 12.")
    assert answer.labels == (1.0, 0.25, None)
    assert answer.metadata == {"source": "toy"}
    assert answer.num_judged == 2
    assert answer.answer() == "2 + 3 is 5.\n5 times 2 is 12.\nSo 12."


def test_rows_without_labels_are_not_judged(tmp_path):
    answer = only(tmp_path, {"prompt": [{"role": "user", "content": "Q"}], "completions": ["a", "b"]})
    assert answer.labels == (None, None)


@given(
    steps=st.lists(st.text("ab .", min_size=1).filter(str.strip), min_size=1, max_size=4),
    data=st.data(),
)
def test_what_is_written_is_read_back(tmp_path_factory, steps, data):
    labels = data.draw(st.lists(st.none() | st.floats(0, 1), min_size=len(steps), max_size=len(steps)))
    answer = SteppedAnswer(prompt=PROMPT, steps=tuple(steps), labels=tuple(labels), metadata={"id": 3})
    row = stepwise_row(answer, hard=are_hard([answer.labels]))
    assert only(tmp_path_factory.mktemp("rows"), row) == answer


def test_hard_labels_are_written_as_trl_trains_on_them_where_all_of_the_file_are():
    hard, soft = (SteppedAnswer(prompt=PROMPT, steps=("a", "b"), labels=labels) for labels in ((1.0, None), (0.5, 0.0)))
    assert are_hard([hard.labels])
    assert stepwise_row(hard, hard=True)["labels"] == [True, None]
    assert not are_hard([hard.labels, soft.labels])
    written = [stepwise_row(one, hard=False)["labels"] for one in (hard, soft)]
    assert [type(label) for labels in written for label in labels if label is not None] == [float] * 3


def test_an_empty_cell_of_a_csv_file_says_that_nothing_was_judged(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text('prompt,completions,labels\nQ,"[""a"", ""b""]","[true, 0.5]"\nR,"[""c""]",\n')
    assert [answer.labels for answer in read_stepwise(str(path)).rows] == [(1.0, 0.5), (None,)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"labels": [True]}, "field labels is '[True]'"),
        ({"labels": [True, -1]}, "field labels[1] is '-1'"),
        ({"labels": [True, "+"]}, "field labels[1] is '+'"),
        ({"labels": [True, 1.5]}, "field labels[1] is '1.5'"),
        ({"completions": ["a", " "]}, "field completions[1] is ' '"),
        ({"completions": ["a", 3]}, "field completions[1] is '3'"),
        ({"completions": "a"}, "field completions is 'a'"),
        ({"prompt": ""}, "field prompt is ''"),
    ],
)
def test_nonsense_is_refused_with_its_place(tmp_path, change, field):
    row = {"prompt": "Q", "completions": ["a", "b"], "labels": [True, False]}
    path = write(tmp_path, row, row | change)
    with pytest.raises(ValueError, match=re.escape(f"{path}:2: {field}")):
        read_stepwise(path)


def test_other_rows_are_no_answers_in_steps(tmp_path):
    pair = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    assert find_stepwise_form([pair]) is None
    assert find_stepwise_form([{"input": "Q", "label": "yes"}]) is None
    with pytest.raises(ValueError, match=r"no form of answers in steps fits the columns prompt, chosen, rejected"):
        read_stepwise(write(tmp_path, pair))


def candidate(text, rating):
    return {"text": text, "rating": rating, "flagged": None}


def prm800k(*steps):
    question = {"problem": "Q", "ground_truth_answer": "4"}
    return {"labeler": "x", "question": question, "label": {"steps": list(steps), "finish_reason": "found_error"}}


def test_each_rating_of_prm800k_is_read_once(tmp_path):
    first = {
        "completions": [candidate("one", 1), candidate("uno", 0)],
        "human_completion": None,
        "chosen_completion": 0,
    }
    own = {
        "completions": [candidate("bad", -1)],
        "human_completion": {"text": "own", "rating": None},
        "chosen_completion": None,
    }
    last = {
        "completions": [candidate("end", -1), candidate("off", None)],
        "human_completion": None,
        "chosen_completion": None,
    }
    answers = read_stepwise(write(tmp_path, prm800k(first, own, last))).rows
    assert [(answer.steps, answer.labels) for answer in answers] == [
        (("uno",), (0.5,)),
        (("one", "bad"), (None, 0.0)),
        (("one", "own", "end"), (None, None, 0.0)),
        (("one", "own", "off"), (None, None, None)),
        (("one", "own"), (1.0, 1.0)),
    ]
    assert answers[0].metadata == {"labeler": "x", "finish_reason": "found_error", "ground_truth_answer": "4"}


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"completions": [candidate("a", 2)], "chosen_completion": 0}, r"label.steps\[0\].completions\[0\].rating"),
        ({"completions": [candidate("a", True)], "chosen_completion": 0}, r"label.steps\[0\].completions\[0\].rating"),
        ({"completions": [candidate("a", [1])], "chosen_completion": 0}, r"label.steps\[0\].completions\[0\].rating"),
        ({"completions": 7, "chosen_completion": 0}, r"label.steps\[0\].completions"),
        ({"completions": [candidate("a", 1)], "chosen_completion": 1}, r"label.steps\[0\].chosen_completion"),
        ({"completions": [candidate("", 1)], "chosen_completion": 0}, r"label.steps\[0\].completions\[0\].text"),
    ],
)
def test_nonsense_in_prm800k_is_refused(tmp_path, step, field):
    with pytest.raises(ValueError, match=f"steps.jsonl:1: field {field}"):
        read_stepwise(write(tmp_path, prm800k(step)))


SHEPHERD = "Q: how many? Step 1: 5 + 8 = 13. {} \nStep 2: 13 - 5 = 7. The answer is: 7 {}"


@pytest.mark.parametrize(
    ("tags", "marks"), [(("ки", "ки"), ("+", "-")), (("ки ?", "ки ?"), ("ки +", "ки -"))], ids=["file", "card"]
)
def test_math_shepherd_is_read_in_both_of_its_spellings(tmp_path, tags, marks):
    row = {"input": SHEPHERD.format(*tags), "label": SHEPHERD.format(*marks), "task": "GSM8K"}
    answer = only(tmp_path, row)
    assert answer.prompt == (Message(role="user", content="Q: how many?"),)
    assert answer.steps == ("Step 1: 5 + 8 = 13.", "Step 2: 13 - 5 = 7. The answer is: 7")
    assert answer.labels == (1.0, 0.0)
    assert answer.metadata == {"task": "GSM8K"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"label": SHEPHERD.format("+", "?")}, "label"),
        ({"label": SHEPHERD.format("+", "-").replace("13", "14")}, "label"),
        ({"input": SHEPHERD.format("ки", "ки") + " and more"}, "input"),
        ({"input": "Q ки Step 1: a ки", "label": "Q + Step 1: a +"}, "input"),
    ],
)
def test_nonsense_in_math_shepherd_is_refused(tmp_path, change, field):
    row = {"input": SHEPHERD.format("ки", "ки"), "label": SHEPHERD.format("+", "-")}
    with pytest.raises(ValueError, match=f"steps.jsonl:1: field {field} "):
        read_stepwise(write(tmp_path, row | change))


@pytest.mark.parametrize(
    ("text", "by", "steps"),
    [
        ("  a = 1\n\r\n b = 2 \r\n", "line", ("  a = 1", " b = 2")),
        ("a\nb\n \n\nc\n", "blank_line", ("a\nb", "c")),
        ("It is 2.5. So 3! 4 left? Yes", "sentence", ("It is 2.5.", "So 3!", "4 left?", "Yes")),
        ("Look\n1. Then. 12 e", "sentence", ("Look", "1. Then.", "12 e")),
        ("a ки b ки", "ки", ("a", "b")),
        (" \n ", "line", ()),
    ],
)
def test_steps_of_a_text(text, by, steps):
    assert split_steps(text, by) == steps


def test_an_empty_marker_is_refused():
    with pytest.raises(ValueError, match="by is empty"):
        split_steps("a", "")


@pytest.mark.parametrize(
    ("labels", "place"),
    [((1, 0.4, 1), 1), ((1, 0.5), 2), ((1, None, 0), None), ((0, None), 0), ((1, None), None)],
)
def test_the_first_error(labels, place):
    assert first_error(labels) == place


@pytest.mark.parametrize("wrong", [{"steps": ()}, {"labels": (1.0,)}, {"labels": (1.0, 1.5)}, {"steps": ("a", " ")}])
def test_an_answer_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"allowed (is|are)"):
        SteppedAnswer(**{"prompt": PROMPT, "steps": ("a", "b"), "labels": (1.0, 0.0), **wrong})
