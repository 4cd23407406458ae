"""Each instruction of IFEval, by texts that follow it and texts that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alignment.verifiers.instructions import INSTRUCTIONS, followed, num_sentences
from rewardkit.data.files import read_rows

# id, options, a text that follows it, a text that does not
CASES = [
    ("change_case:capital_word_frequency", {"capital_relation": "at least", "capital_frequency": 2}, "A BIG", "A big"),
    ("change_case:capital_word_frequency", {"capital_relation": "less than", "capital_frequency": 2}, "A big", "A BIG"),
    ("change_case:english_capital", {}, "ALL LOUD, 3 TIMES.", "NOT ALl"),
    ("change_case:english_capital", {}, "LOUD", "ГРОМКО"),
    ("change_case:english_lowercase", {}, "all quiet.", "Not quiet."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, " say it. Done.", "Well: say it."),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    ("combination:two_responses", {}, "******one\n******\ntwo******", "one******two******three"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name], [place]", "[name], (place)"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. More.", "Bye. PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye.\nP. P.S More.", "Bye.\nP.S. More."),
    ("detectable_format:constrained_response", {}, "My answer is no.", "My answer is no, sorry"),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', '{"a": 1} Done.'),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 2},
        "Part 1 a Part 2 b",
        "Part 1",
    ),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n- b\n* c"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "* a\n**bold**", "* a\n * b"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "*a* and * *"),
    ("detectable_format:title", {}, "<<A title>>\nText", "<<>>\n<Text>"),
    ("keywords:existence", {"keywords": ["Ink", "c++"]}, "ink in C++", "ink in c"),
    ("keywords:forbidden_words", {"forbidden_words": ["step"]}, "footsteps", "One Step."),
    ("keywords:frequency", {"keyword": "a b", "relation": "at least", "frequency": 2}, "A b, a b", "a b, ab"),
    ("keywords:letter_frequency", {"letter": "E", "let_relation": "less than", "let_frequency": 2}, "Ex", "eE"),
    (
        "language:response_language",
        {"language": "it"},
        "il gatto è sul tetto e non è più qui",
        "the cat is on the roof",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***a\n***\nb***", "a\n***\n***\nb"),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 2}, "One. Two!", "Dr. One went."),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "two words", "it's two"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First.\n\n'Then, more.",
        "Then.\n\nFirst.",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "a"},
        "a b\n\nc",
        "a b\n\nc\n\nd",
    ),
    ("punctuation:no_comma", {}, "one; two", "one, two"),
    ("startend:end_checker", {"end_phrase": "Peace!"}, '"All of it. peace!"', "Peace! Now."),
    ("startend:quotation", {}, ' "quoted" ', '"open'),
]


@pytest.mark.parametrize(("name", "options", "right", "wrong"), CASES)
def test_text_that_follows_is_told_from_text_that_does_not(name: str, options: dict, right: str, wrong: str) -> None:
    assert followed(right, [name], [options]) == [True]
    assert followed(wrong, [name], [options]) == [False]


def test_every_instruction_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(INSTRUCTIONS)
    assert len(INSTRUCTIONS) == 25


@pytest.mark.parametrize("name", sorted(INSTRUCTIONS))
def test_empty_text_follows_nothing(name: str) -> None:
    options = next(options for each, options, *_ in CASES if each == name)
    assert followed(" \n", [name], [options]) == [False]


def test_several_instructions_each_have_a_verdict() -> None:
    options = [None, {"num_words": 2, "relation": "at least", "letter": None}]
    assert followed("one, two", ["punctuation:no_comma", "length_constraints:number_words"], options) == [False, True]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ([], [], "0 instruction ids"),
        (["punctuation:no_comma"], [], "1 instruction ids with 0 kwargs"),
        (["punctuation:no_dots"], [{}], "'punctuation:no_dots' is unknown, allowed are change_case"),
        (["startend:end_checker"], [{"end_phrase": None}], "end_checker needs 'end_phrase'"),
        (["language:response_language"], [{"language": "tlh"}], "language is 'tlh', allowed are ar"),
        (
            ["length_constraints:number_words"],
            [{"num_words": 2, "relation": "around"}],
            "relation is 'around', allowed are 'at least' and 'less than'",
        ),
    ],
)
def test_what_cannot_be_checked_is_said(names: list[str], options: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        followed("text", names, options)


def test_sentences_end_at_a_mark_before_a_blank() -> None:
    assert num_sentences("Pi is 3.14. Really?! Yes: e.g. here") == 3
    assert num_sentences("") == 0


def test_every_row_of_the_real_data_is_checked(shared_data: Path) -> None:
    seen = set()
    for _, row in read_rows(shared_data / "ifeval_dev.jsonl.gz"):
        verdicts = followed("A text.", row["instruction_id_list"], json.loads(row["kwargs"]))
        assert len(verdicts) == len(row["instruction_id_list"])
        seen |= set(row["instruction_id_list"])
    assert seen == set(INSTRUCTIONS)
