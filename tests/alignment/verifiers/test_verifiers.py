"""Verifiers by name: what each gives, and what it refuses."""

from __future__ import annotations

import pytest

from alignment.verifiers.verifiers import VERIFIERS


def rewards(name: str, argument: str, completions: list[str], **columns) -> list[float]:
    return VERIFIERS[name].make(argument)(completions=completions, **columns)


def test_numeric_reads_the_answers_of_both_kinds_of_data() -> None:
    completions = ["so #### 1,000", "it is 999", "no idea"]
    assert rewards("numeric", "", completions, answer=["5 * 200 = 1000\n#### 1000"] * 3) == [1, 0, 0]
    assert rewards("numeric", "", completions, final=[1000.0] * 3, answer=["7"] * 3) == [1, 0, 0]
    assert rewards("numeric", "gold", completions, final=[1.0] * 3, gold=[1000, 999, 3]) == [1, 1, 0]


def test_numeric_needs_a_column_with_a_number() -> None:
    with pytest.raises(ValueError, match=r"no column final or answer or .* numeric:COLUMN names another"):
        rewards("numeric", "", ["5"], label=[5])
    with pytest.raises(ValueError, match="no column gold holds"):
        rewards("numeric", "gold", ["5"], answer=[5])
    with pytest.raises(ValueError, match="column answer holds 'none', which has no number"):
        rewards("numeric", "", ["5"], answer=["none"])


def test_regex_searches_and_reads_its_own_flags() -> None:
    assert rewards("regex", r"(?i)^yes\b", ["Yes, sir", "oh yes", "yesterday"]) == [1, 0, 0]


def test_json_is_the_whole_text_or_one_fence() -> None:
    completions = ['{"a": 1}', " [1]\n", '```json\n{"a": 1}\n```', '{"a": 1} ok', "NaN", "", "{'a': 1}", "[" * 10**5]
    assert rewards("json", "", completions) == [1, 1, 1, 0, 0, 0, 0, 0]


def test_length_falls_on_both_sides_of_its_target() -> None:
    # 4 words of 4: 1; 3 of 4: 1 - 1/4; 5 of 4: 1 - 1/4; none: 0; 9 of 4 would be -1/4 and is 0
    assert rewards("length", "4", ["a b c d", "a b c", "a b c d e", "", "a " * 9]) == [1, 0.75, 0.75, 0, 0]


def test_ifeval_gives_the_share_or_all() -> None:
    columns = {
        "instruction_id_list": [["punctuation:no_comma", "startend:quotation"]] * 2,
        "kwargs": ["[{}, {}]", [{}, None]],
    }
    assert rewards("ifeval", "", ["plain", '"quoted"'], **columns) == [0.5, 1]
    assert rewards("ifeval", "all", ["plain", '"quoted"'], **columns) == [0, 1]


@pytest.mark.parametrize(
    ("name", "argument", "message"),
    [
        ("regex", "", "regex takes a pattern"),
        ("regex", "(", "no regular expression: missing \\)"),
        ("json", "x", "json takes no argument, found 'x'"),
        ("length", "0", "1 or more, as in length:50, found '0'"),
        ("length", "many", "found 'many'"),
        ("ifeval", "some", "ifeval is 'some', allowed are ifeval"),
    ],
)
def test_arguments_are_checked(name: str, argument: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VERIFIERS[name].make(argument)
