import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardkit.data.export_formats import normal_prompt, prompt_position, split_of
from rewardkit.data.records import Message, Preference
from rewardkit.data.splitting import find_leakage, num_prompts, split_by_prompt

WORDS = st.text(min_size=1, max_size=8)


def row(text, number=0):
    prompt = (Message(role="user", content=text),)
    return Preference(prompt=prompt, chosen=f"good {number}", rejected=f"poor {number}")


ROWS = st.lists(st.builds(row, WORDS, st.integers(0, 3)), max_size=40)
SHARES = st.floats(0.01, 0.99)


@given(rows=ROWS, share=SHARES, seed=st.integers(0, 5))
def test_every_row_is_on_one_side_and_no_prompt_on_both(rows, share, seed):
    train, held_out = split_by_prompt(rows, eval_share=share, seed=seed)
    assert sorted(map(repr, train + held_out)) == sorted(map(repr, rows))
    assert not {normal_prompt(each.prompt) for each in train} & {normal_prompt(each.prompt) for each in held_out}
    assert find_leakage(train, held_out) == []


@given(rows=ROWS, more=ROWS, share=SHARES, seed=st.integers(0, 5))
def test_more_rows_move_none_and_the_order_stays(rows, more, share, seed):
    train, held_out = split_by_prompt(rows, eval_share=share, seed=seed)
    train_more, held_out_more = split_by_prompt(rows + more, eval_share=share, seed=seed)
    assert train_more[: len(train)] == train
    assert held_out_more[: len(held_out)] == held_out


@given(rows=ROWS, share=SHARES, other=SHARES, seed=st.integers(0, 5))
def test_a_larger_share_holds_out_more_of_the_same(rows, share, other, seed):
    low, high = sorted((share, other))
    few = split_by_prompt(rows, eval_share=low, seed=seed)[1]
    assert [each for each in split_by_prompt(rows, eval_share=high, seed=seed)[1] if each in few] == few


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_share_of_prompts_held_out_is_near_the_one_asked_for(share, seed):
    rows = [row(f"prompt {number}") for number in range(5000)]
    found = len(split_by_prompt(rows, eval_share=share, seed=seed)[1]) / 5000
    assert abs(found - share) < 4 * math.sqrt(share * (1 - share) / 5000)


def test_another_seed_holds_out_other_prompts():
    rows = [row(f"prompt {number}") for number in range(1000)]
    first, second = (set(map(repr, split_by_prompt(rows, eval_share=0.5, seed=seed)[1])) for seed in (0, 1))
    assert 150 < len(first & second) < 350  # half of a half; the standard deviation is 14


def test_splits_of_an_export_say_nothing_about_what_is_held_out_of_one_of_them():
    rows = [row(f"prompt {number}") for number in range(4000)]
    exported = [each for each in rows if split_of(each.prompt, {"test": 0.1, "train": 0.9}, 0) == "train"]
    assert 300 < len(split_by_prompt(exported, eval_share=0.1, seed=0)[1]) < 420


def test_letters_that_only_compatibility_makes_capitals_have_no_case_either():
    assert find_leakage([row("call tel now")], [row("Call ℡ now")]) == ["Call ℡ now"]


@pytest.mark.parametrize(
    "near", ["where is my parcel?", " Where  is\nmy\tPARCEL? ", "Where\u00a0is my parcel?", "Ｗhere is my parcel？"]
)
def test_near_copies_of_a_prompt_are_the_same_prompt(near):
    assert find_leakage([row("Where is my parcel?")], [row(near), row(near, 1), row("Where is it?")]) == [near]
    assert num_prompts([row("Where is my parcel?"), row(near)]) == 1
    assert prompt_position(row(near).prompt, "k") == prompt_position(row("Where is my parcel?").prompt, "k")


def test_who_speaks_belongs_to_the_prompt():
    asked = Preference(prompt=(Message(role="system", content="Be brief."),), chosen="x", rejected="y")
    assert find_leakage([asked], [row("Be brief.")]) == []


@given(text=st.text(max_size=20))
def test_normalising_twice_changes_nothing(text):
    once = normal_prompt((Message(role="user", content=text),)).removeprefix("user").strip()
    assert normal_prompt((Message(role="user", content=once),)).removeprefix("user").strip() == once


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_shares_outside_of_0_to_1_are_refused(share):
    with pytest.raises(ValueError, match=f"eval_share is {share}, allowed is between 0 and 1"):
        split_by_prompt([], eval_share=share, seed=0)
