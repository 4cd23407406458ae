import pytest

from rewardkit.data.conversations import RowError
from rewardkit.data.judgments import detect_vocabulary, parse_choice_map, read_choice


def read(value, values=None, mapping=None):
    mapping = mapping or {}
    return read_choice(value, detect_vocabulary(values or [value], mapping), mapping, "winner")


@pytest.mark.parametrize(
    ("value", "choice"),
    [
        *[(value, "a") for value in ("a", "A", " model_a ", "response1", "Response 1", "x", "model_x", "first")],
        *[(value, "b") for value in ("b", "B", "Model B", "response_2", "y", "assistant_b")],
        *[(value, "tie") for value in ("tie", "Draw", "equal")],
        *[(value, "both_bad") for value in ("both_bad", "both bad", "tie (bothbad)", "neither")],
        ("skip", "skip"),
    ],
)
def test_words_are_understood_in_their_usual_spellings(value, choice):
    assert read(value) == (choice, int(choice in ("a", "b")))


def test_numbers_mean_what_all_numbers_of_the_file_allow():
    numbered = [0, 1, 2]
    assert [read(value, numbered) for value in numbered] == [("tie", 0), ("a", 1), ("b", 1)]
    assert [read(value, ["1", "2.0"]) for value in ("1", "2.0")] == [("a", 1), ("b", 1)]
    signed = ["-3", "-1", "0", "2"]
    assert [read(value, signed) for value in signed] == [("a", 3), ("a", 1), ("tie", 0), ("b", 2)]


@pytest.mark.parametrize("values", [[0, 1], ["1"], [0], [1, 5], [3, 4]])
def test_numbers_that_do_not_say_are_refused(values):
    with pytest.raises(ValueError, match=r"does not say which response each prefers$"):
        detect_vocabulary(values, {})


def test_map_overrides_and_can_tell_strengths():
    mapping = parse_choice_map(["0=a", "1=b:2", "left=tie", "a=b=skip"])
    assert mapping == {"0": ("a", 1), "1": ("b", 2), "left": ("tie", 0), "a=b": ("skip", 0)}
    assert [read(value, [0, 1], mapping) for value in (0, 1, "left")] == [("a", 1), ("b", 2), ("tie", 0)]


@pytest.mark.parametrize("pair", ["a", "x=c", "x=tie:2", "x=a:0", "x=a:much"])
def test_map_of_another_form_is_refused(pair):
    with pytest.raises(ValueError, match="choice map"):
        parse_choice_map([pair])


def test_sides_of_a_screen_are_no_choice():
    with pytest.raises(RowError, match="left and right are places on a screen") as caught:
        read("left")
    assert (caught.value.reason, caught.value.field) == ("unknown_choice", "winner")
    with pytest.raises(RowError, match="field winner is 'maybe'"):
        read("maybe")
