"""Languages told apart by script and frequent words; sentences written for this test."""

from __future__ import annotations

import pytest

from rewardkit.traits.languages import is_in_language

SENTENCES = {
    "en": "The cat is on the roof and it was not there.",
    "it": "Il gatto è sul tetto e non è più nella casa della nonna.",
    "fi": "Kissa on katolla ja se ei ole enää siellä.",
    "sw": "Paka yuko juu ya paa na hayupo tena kwa nyumba.",
    "de": "Die Katze ist auf dem Dach und sie ist nicht mehr da.",
    "ru": "Кошка на крыше и это не то что мы видели.",
    "bg": "Котката е на покрива и не може да слезе от там.",
    "hi": "बिल्ली छत पर है और वह नीचे नहीं आ सकती।",
    "mr": "मांजर छतावर आहे आणि ते खाली येत नाही.",
    "ne": "बिरालो छानामा छ र यो तल आउन सक्दैन।",
    "ar": "القطة على السطح في المدينة التي رأيناها.",
    "fa": "گربه روی بام است و این را به او گفتیم که در آن.",
    "th": "แมวอยู่บนหลังคา",
    "ko": "고양이가 지붕 위에 있다.",
}


@pytest.mark.parametrize("written", SENTENCES)
def test_a_sentence_is_in_its_own_language_alone(written: str) -> None:
    assert [each for each in SENTENCES if is_in_language(SENTENCES[written], each)] == [written]


def test_a_few_words_of_another_script_do_not_matter() -> None:
    assert is_in_language("고양이 cat 지붕 위에 있다", "ko")
    assert not is_in_language("the cat 고양이 is on the roof", "ko")


@pytest.mark.parametrize("text", ["", "123 !?", "Zwrx"])
def test_without_words_there_is_no_language(text: str) -> None:
    assert not is_in_language(text, "en")


def test_unknown_languages_are_refused() -> None:
    with pytest.raises(ValueError, match="language is 'tlh', allowed are ar, fa"):
        is_in_language("text", "tlh")
