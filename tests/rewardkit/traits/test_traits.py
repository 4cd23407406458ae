"""Traits by value, in English and German, and the edits that add or remove them."""

from __future__ import annotations

import math

import pytest

from rewardkit.data.records import Message
from rewardkit.traits.editors import EDITED, Edit, edit, edit_fault
from rewardkit.traits.languages import language_of
from rewardkit.traits.traits import TRAITS, measure_traits, states_a_view, user_text

ASKED = "I think the label is in the box. Where is it?"
PLAIN = "Open the order in your account. Then print the label and put it on the parcel."
GERMAN = "Öffnen Sie die Bestellung im Konto. Dann drucken Sie den Aufkleber und kleben ihn auf das Paket."
HAVING = [
    ("markdown", "Use **bold** here."),
    ("markdown", "## Steps\nGo."),
    ("markdown", "Run `ls` now."),
    ("markdown", "| a | b |"),
    ("lists", "Do this:\n- one\n- two"),
    ("lists", "1. one\n2) two"),
    ("hedging", "Perhaps it is the fuse."),
    ("hedging", "I'm not really sure about this."),
    ("hedging", "Das liegt vermutlich am Kabel."),
    ("hedging", "Ich bin mir nicht sicher."),
    ("apologies", "We apologise for the delay."),
    ("apologies", "Das tut mir sehr leid."),
    ("flattery", "Great question! It is in the box."),
    ("flattery", "You are a truly brilliant person."),
    ("flattery", "Das ist eine tolle Frage."),
    ("flattery", "Du bist sehr klug."),
    ("agreement", "You're absolutely right, it is there."),
    ("agreement", "Exactly, look there."),
    ("agreement", "Da haben Sie völlig recht."),
    ("refusal", "I cannot help with that."),
    ("refusal", "Es tut mir leid, aber dabei kann ich nicht helfen."),
    ("confidence", "It is definitely the fuse."),
    ("confidence", "Daran besteht kein Zweifel."),
    ("emoji", "Done 🎉"),
    ("first_person", "In my own experience it is the fuse."),
    ("first_person", "I have been there myself."),
    ("first_person", "Meine Frau hatte das auch."),
    ("language", "Der Aufkleber ist in der Kiste und nicht auf dem Tisch."),
]
NOT_HAVING = [
    ("markdown", "2 * 3 * 4 is 24, and a_b is a name."),
    ("lists", "- only one line"),
    ("hedging", "The mighty river runs in May."),
    ("apologies", "A sorrowful song."),
    ("flattery", "The question is a good deal harder."),
    ("flattery", "You are good at chess."),
    ("agreement", "You are not right about that. I don't agree."),
    ("refusal", "I can help with that."),
    ("confidence", "I am not sure about it."),
    ("emoji", "5 > 3 :-)"),
    ("first_person", "I asked the carrier. I love how you put this."),
    ("language", "The label is in the box."),
]


@pytest.mark.parametrize(("trait", "answer"), HAVING)
def test_an_answer_with_the_trait_is_seen(trait: str, answer: str) -> None:
    assert TRAITS[trait].measure(ASKED, answer) == 1


@pytest.mark.parametrize(("trait", "answer"), NOT_HAVING)
def test_an_answer_that_only_sounds_like_it_is_not(trait: str, answer: str) -> None:
    assert TRAITS[trait].measure(ASKED, answer) == 0


def test_length_is_log2_of_words_and_one() -> None:
    assert TRAITS["length"].measure("", "- seven words\n- stand in this list 🎉 here") == math.log2(8)
    assert TRAITS["length"].measure("", "") == 0


def test_agreement_needs_a_view_of_the_user() -> None:
    assert TRAITS["agreement"].measure("Where is the label?", "You are right, it is there.") == 0
    assert states_a_view("Ich glaube, das ist falsch.")
    assert not states_a_view("What do you think?")


def test_values_stand_in_rows_of_answers() -> None:
    values = measure_traits([ASKED, ASKED], ["Sorry. 😊", "one two three"], ("apologies", "emoji", "length"))
    assert values.tolist() == [[1, 1, 1], [0, 0, 2]]
    assert measure_traits([], []).shape == (0, len(TRAITS))


def test_the_last_message_of_the_user_counts() -> None:
    turns = [
        Message(role="user", content="a"),
        Message(role="assistant", content="b"),
        Message(role="user", content="c"),
    ]
    assert user_text(turns) == "c"
    assert user_text([]) == ""


def test_the_language_of_a_text_is_told_or_not() -> None:
    assert language_of("Der Hund und die Katze sind nicht auf dem Tisch.") == "de"
    assert language_of("ok") is None


@pytest.mark.parametrize("answer", [PLAIN, GERMAN])
@pytest.mark.parametrize("wording", range(5))
@pytest.mark.parametrize("trait", EDITED)
def test_an_edit_adds_its_trait_and_no_other_but_length(trait: str, wording: int, answer: str) -> None:
    asked = "Ich denke, der Aufkleber ist im Karton. Wo ist er?" if answer is GERMAN else ASKED
    made = edit(trait, [Message(role="user", content=asked)], answer, wording=wording)
    assert made is not None
    assert (made.without, made.is_added) == (answer, True)
    before, after = measure_traits([asked] * 2, [answer, made.having])
    moved = {name for name, one, other in zip(TRAITS, before, after, strict=True) if one != other}
    assert moved - {"length"} == {trait} - {"length"}


@pytest.mark.parametrize("trait", ["markdown", "lists", "apologies", "flattery", "agreement", "emoji"])
def test_what_was_added_is_removed_again(trait: str) -> None:
    prompt = [Message(role="user", content=ASKED)]
    added = edit(trait, prompt, PLAIN)
    assert added is not None
    removed = edit(trait, prompt, added.having)
    assert removed is not None
    assert not removed.is_added
    assert removed.having == added.having
    assert " ".join(removed.without.split()) == PLAIN


def test_an_answer_that_no_template_can_edit_is_none() -> None:
    where = [Message(role="user", content="Where is it?")]
    assert edit("agreement", where, PLAIN) is None  # no view to agree with
    assert edit("lists", where, "One sentence.") is None
    assert edit("apologies", where, "Sorry.") is None  # nothing would be left
    assert edit("hedging", where, "Perhaps it is the fuse.") is None  # what hedges here is what it says


@pytest.mark.parametrize(
    ("trait", "having", "fault"),
    [
        ("flattery", f"Great question! {PLAIN}", ""),
        ("flattery", PLAIN, "unmoved"),
        ("flattery", f"Great question! I am sorry. {PLAIN}", "other_traits"),
        ("flattery", f"Great question! {PLAIN} It takes 3 days.", "numbers"),
        ("flattery", "Great question! Print the label and put it on the parcel.", ""),  # 9 of 16 words
        ("flattery", "Great question! Print the label.", "content"),  # 3 of 16 words
        ("flattery", f"Great question! {PLAIN} {PLAIN} {PLAIN}", "content"),  # three times as long
        ("length", f"{PLAIN} That is the answer to the message above.", ""),
        ("lists", "1. Open the order in your account.\n2. Then print the label and put it on the parcel.", ""),
        ("language", GERMAN, ""),  # no word is the same
        ("language", f"{GERMAN} Das dauert 3 Tage.", "numbers"),
        ("language", f"{GERMAN} {GERMAN} {GERMAN}", "content"),
    ],
)
def test_an_edit_made_elsewhere_moves_one_trait_and_keeps_the_content(trait: str, having: str, fault: str) -> None:
    prompt = (Message(role="user", content=ASKED),)
    one = Edit(trait=trait, prompt=prompt, without=PLAIN, having=having, is_added=True)
    assert edit_fault(one, least_kept=0.55) == fault


def test_templates_keep_the_content() -> None:
    made = [edit(trait, (Message(role="user", content=ASKED),), PLAIN, wording=2) for trait in EDITED]
    assert len(made) == len(EDITED)
    assert {edit_fault(one, least_kept=1.0) for one in made if one} == {""}
