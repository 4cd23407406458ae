"""Which candidates and pairs of them count."""

from __future__ import annotations

import time

import pytest

from rewardkit.data.files import write_rows
from rewardkit.data.records import Message
from rewardkit.scoring import candidates as module
from rewardkit.scoring.candidates import (
    Answered,
    Candidate,
    EligiblePairs,
    eligible_pairs,
    is_degenerate,
    near_duplicate_classes,
    normal_text,
    read_candidates,
)


def prompt(text: str) -> tuple[Message, ...]:
    return (Message(role="user", content=text),)


def answered(text: str, *answers: Candidate | str) -> Answered:
    return Answered(
        prompt=prompt(text),
        candidates=tuple(Candidate(text=one) if isinstance(one, str) else one for one in answers),
    )


def eligible(*prompts: Answered, **options) -> EligiblePairs:
    return eligible_pairs(prompts, **{"pairs": "any", "near_duplicate": 0.9, "cut": "leave_out", "seed": 0, **options})


def texts(pairs: EligiblePairs) -> list[tuple[str, str]]:
    return [(pairs.candidates[one].text, pairs.candidates[other].text) for one, other in pairs.pairs]


def test_rows_of_one_prompt_are_put_together_whatever_their_form(tmp_path):
    write_rows(
        tmp_path / "new.jsonl",
        [
            {
                "prompt": "p",
                "responses": [{"model": "new", "text": "a", "finished": False}, {"model": "new", "text": "b"}],
            }
        ],
    )
    write_rows(
        tmp_path / "old.jsonl",
        [
            {"prompt": text, "completion": [{"role": "assistant", "content": answer}], "model": "old"}
            for text, answer in (("p", "c"), ([{"role": "user", "content": "q"}], "d"))
        ],
    )
    write_rows(
        tmp_path / "pair.jsonl", [{"prompt": "p", "response_a": "e", "response_b": "f", "model_a": "x", "model_b": "y"}]
    )
    read = read_candidates([str(tmp_path / name) for name in ("new.jsonl", "old.jsonl", "pair.jsonl")])
    assert [(row.prompt[0].content, [(one.source, one.text) for one in row.candidates]) for row in read.prompts] == [
        ("p", [("new", "a"), ("new", "b"), ("old", "c"), ("x", "e"), ("y", "f")]),
        ("q", [("old", "d")]),
    ]
    assert read.prompts[0].candidates[0].meta == {"finished": False}


def test_a_bad_row_is_named_or_left_out(tmp_path):
    path = tmp_path / "c.jsonl"
    write_rows(path, [{"prompt": "p", "responses": ["a", "b"]}, {"prompt": None, "responses": ["a", "b"]}])
    with pytest.raises(ValueError, match=r"c\.jsonl:2: "):
        read_candidates([str(path)])
    read = read_candidates([str(path)], on_bad_row="skip")
    assert (len(read.prompts), len(read.bad_rows)) == (1, 1)
    write_rows(tmp_path / "none.jsonl", [{"prompt": "p", "score": 3}])
    with pytest.raises(ValueError, match="prompt and completion"):
        read_candidates([str(tmp_path / "none.jsonl")])


def test_what_says_nothing_is_left_out_by_name():
    cut = Candidate(text="this was going to be", meta={"finished": False})
    pairs = eligible(answered("p", "good", "fine", " ", "...!", cut, "good", "ja " * 100))
    assert texts(pairs) == [("good", "fine")]
    assert pairs.left_out == {"empty": 1, "cut": 1, "degenerate": 2, "repeated": 1}
    assert len(eligible(answered("p", "good", "fine", cut), cut="keep").pairs) == 3


def test_a_long_text_that_repeats_itself_is_degenerate_and_prose_is_not():
    prose = (
        "Put it back into its box, print the return label from your account, and the right colour leaves tomorrow. "
        "Sorry about the trouble; the carrier will trace the parcel, and we will resend the lamp on Friday."
    )
    assert len(prose) > module.DEGENERATE_BYTES
    assert not is_degenerate(prose)
    assert is_degenerate(prose[:10] * 40)
    assert not is_degenerate("no no no no")  # short texts are left to people
    assert is_degenerate("?!")
    assert not is_degenerate("はい")


def test_near_duplicates_are_of_one_class_unless_their_numbers_differ():
    words = [f"word{chr(97 + number)}" for number in range(20)]
    one = " ".join(words)
    longer = f"{one} more"  # 18 runs of three words, one of them new: 18 / 19 = 0.947
    other = " ".join(["else", *words[1:]])  # 17 shared of 19: 0.895
    assert near_duplicate_classes([one, longer, other], 0.9) == [0, 0, 1]
    assert near_duplicate_classes([one, longer, other], 0.89) == [0, 0, 0]
    assert near_duplicate_classes([one, longer, other], 0.95) == [0, 1, 2]
    assert near_duplicate_classes([f"{one} 12", f"{one} 21", f"{one} 12"], 0.5) == [0, 1, 0]
    assert near_duplicate_classes(["yes", "no", "yes"], 1.0) == [0, 1, 0]


def test_case_marks_and_forms_of_letters_make_no_difference():
    assert normal_text("  Hello,\nWORLD! ﬁne ") == "hello world fine"
    assert normal_text("?!") == "?!"


def test_equal_answers_make_no_pair_and_two_pairs_that_say_the_same_are_one():
    pairs = eligible(answered("p", Candidate(text="Yes.", source="new"), Candidate(text="yes", source="old"), "No"))
    # Yes. with yes is no pair; yes with No says what Yes. with No says
    assert texts(pairs) == [("Yes.", "No")]
    assert (pairs.num_near_duplicates, pairs.num_same) == (1, 1)
    again = eligible(answered("p", "yes", "no"), answered(" P ", "No!", "Yes!"))
    assert texts(again) == [("yes", "no")]
    assert again.num_same == 1


def test_judged_pairs_are_not_eligible_again_whichever_side_won():
    pairs = eligible(answered("p", "yes", "no", "perhaps"), judged=[(prompt("p"), "No", "yes")])
    assert texts(pairs) == [("yes", "perhaps"), ("no", "perhaps")]
    assert pairs.num_same == 1


def test_pairs_are_of_the_wanted_policies():
    row = answered("p", *(Candidate(text=text, source=source) for text, source in (("a", "x"), ("b", "x"), ("c", "y"))))
    assert texts(eligible(row, pairs="between")) == [("a", "c"), ("b", "c")]
    assert texts(eligible(row, pairs="within")) == [("a", "b")]
    assert eligible(row, pairs="within").num_other_policies == 2
    assert len(eligible(row).pairs) == 3


def test_prompts_without_a_pair_are_gone_and_numbers_point_into_what_is_there():
    pairs = eligible(answered("lonely", "a"), answered("p", "b", "B", "c"), answered("q", "d", "e"))
    assert [one[0].content for one in pairs.prompts] == ["p", "q"]
    assert texts(pairs) == [("b", "c"), ("d", "e")]
    assert pairs.prompt_of_pair.tolist() == [0, 1]


def test_twenty_thousand_candidates_take_no_quadratic_time():
    words = ("red", "green", "blue", "round", "square", "small", "large", "old", "new", "fast", "slow", "warm", "cold")
    rows = [
        answered(f"prompt {number}", *(" ".join(words[(number + k * j) % 13] for j in range(12)) for k in range(1, 9)))
        for number in range(2500)
    ]
    started = time.monotonic()
    assert len(eligible(*rows).pairs) > 50_000
    assert time.monotonic() - started < 20
    huge = eligible(answered("p", *(f"answer {number}" for number in range(20_000))))
    assert huge.left_out == {"beyond the most of a prompt": 20_000 - 64}
    assert len(huge.pairs) == 64 * 63 // 2
