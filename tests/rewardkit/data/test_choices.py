import pytest

from rewardkit.data.choices import describe_choices, find_scale, parse_choice_map, parse_scale, read_choice
from rewardkit.data.conversations import RowError


def read(value, values=None, mapping=None, scale=None):
    mapping = mapping or {}
    scale = parse_scale(scale) if scale else find_scale(values or [value], mapping)
    return read_choice(value, scale, mapping, "winner")


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


def test_numbers_below_0_make_a_signed_scale():
    signed = ["-3", "-1", "0", "2"]
    assert [read(value, signed) for value in signed] == [("a", 3), ("a", 1), ("tie", 0), ("b", 2)]


@pytest.mark.parametrize(
    "values", [[0, 1], ["1"], [0], [1, 5], [3, 4], [0, 1, 2], ["1", "2.0"], [0.2, 0.7], ["a", 1], [-0.5, 1]]
)
def test_numbers_that_do_not_say_are_refused(values):
    with pytest.raises(ValueError, match=r"does not say which response each prefers$"):
        find_scale(values, {})


@pytest.mark.parametrize(
    ("scale", "meanings"),
    [
        ("-3..3", {-2: ("a", 2), "0": ("tie", 0), 1: ("b", 1), "2.0": ("b", 2)}),
        ("3..-3", {-2: ("b", 2), 3: ("a", 3)}),
        ("1..2", {1: ("a", 1), 2.0: ("b", 1)}),
        ("0..1", {0: ("a", 1), "1": ("b", 1), 0.5: ("tie", 0)}),
        ("1..0", {0: ("b", 1), 1: ("a", 1)}),
        ("1..4", {1: ("a", 2), 2: ("a", 1), 3: ("b", 1), 4: ("b", 2)}),
        ("1..7", {1: ("a", 3), 4: ("tie", 0), 5: ("b", 1)}),
    ],
)
def test_a_scale_says_what_numbers_mean_whichever_of_them_a_file_holds(scale, meanings):
    assert {value: read(value, scale=scale) for value in meanings} == meanings


@pytest.mark.parametrize(("value", "scale"), [(4, "-3..3"), (0.7, "0..1"), ("1.5", "1..4"), (0, "1..4")])
def test_a_number_that_is_no_step_of_the_scale_is_refused(value, scale):
    with pytest.raises(RowError, match=rf"allowed are whole numbers on the scale {scale}"):
        read(value, scale=scale)


@pytest.mark.parametrize("text", ["", "3", "a..b", "1..1", "0..100", "1.5..2", "-3...3"])
def test_a_scale_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match="scale"):
        parse_scale(text)


def test_a_summary_names_what_every_value_was_read_as():
    values = ["2", "-1", "0", "a", "gpt-4"]
    assert describe_choices(values, find_scale(values, {}), {}) == "-1 = a, 0 = tie, a = a, 2 = b by 2"
    assert describe_choices(["1", "1.0", "0"], None, parse_choice_map(["1=a", "0=b"])) == "0 = b, 1 = a"
    many = describe_choices([str(number) for number in range(-9, 10)], parse_scale("-9..9"), {})
    assert many.startswith("-9 = a by 9, -8 = a by 8")
    assert many.endswith(" and 7 more")


def test_map_overrides_and_can_tell_strengths():
    mapping = parse_choice_map(["0=a", "1=b:2", "left=tie", "a=b=skip"])
    assert mapping == {"0": ("a", 1), "1": ("b", 2), "left": ("tie", 0), "a=b": ("skip", 0)}
    assert [read(value, [0, 1], mapping) for value in (0, 1.0, "left")] == [("a", 1), ("b", 2), ("tie", 0)]


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


@pytest.mark.parametrize(
    ("verdict", "meaning"),
    [
        ("A>B", ("a", 1)),
        ("A>>B", ("a", 2)),
        ("B>A", ("b", 1)),
        ("[[B>>A]]", ("b", 2)),
        ("A<B", ("b", 1)),
        ("b << a", ("a", 2)),
        ("A=B", ("tie", 0)),
    ],
)
def test_a_verdict_says_who_is_better_and_by_how_much(verdict, meaning):
    assert read_choice(verdict, None, {}, "label") == meaning


@pytest.mark.parametrize("verdict", ["A>A", "A>>>B", "A>C", "[[C]]"])
def test_what_is_no_verdict_is_refused(verdict):
    with pytest.raises(RowError, match="field label"):
        read_choice(verdict, None, {}, "label")
