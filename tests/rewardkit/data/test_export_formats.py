from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rewardkit.data.export_formats import parse_splits, plain_prompt, preference_row, split_of
from rewardkit.data.files import write_rows
from rewardkit.data.preferences import read_preferences
from rewardkit.data.records import Message, Preference

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=12)
WORDS = TEXTS.filter(lambda text: text.strip() and "Human:" not in text and "Assistant:" not in text)
PREFERENCES = st.builds(
    Preference,
    prompt=st.lists(WORDS, min_size=1, max_size=3).map(
        lambda texts: tuple(Message(role="user" if n % 2 == 0 else "assistant", content=t) for n, t in enumerate(texts))
    ),
    chosen=WORDS,
    rejected=WORDS,
    p_chosen=st.floats(0.5, 1),
    weight=st.floats(0, 3),
    margin=st.floats(-3, 3),
    criteria=st.dictionaries(st.sampled_from(["helpful", "tone"]), st.floats(-3, 3)),
    votes=st.dictionaries(st.sampled_from(["chosen", "rejected", "tie", "both_bad"]), st.integers(1, 5)),
    num_judgments=st.integers(0, 9),
    comparison_id=WORDS.map(str.strip),  # as imports store ids and names
    source_chosen=WORDS.map(str.strip),
    source_rejected=WORDS.map(str.strip),
)


@pytest.fixture(scope="module")
def read_back(tmp_path_factory):
    """Writes a row to a file of a suffix and reads it."""
    folder = tmp_path_factory.mktemp("rows")

    def read_back(row, suffix="jsonl", **options):
        write_rows(folder / f"rows.{suffix}", [row])
        (preference,) = read_preferences(str(folder / f"rows.{suffix}"), **options).rows
        return preference

    return read_back


@pytest.mark.parametrize("layout", ["conversational", "implicit"])
@given(preference=PREFERENCES)
def test_lists_of_turns_lose_nothing(read_back, layout, preference):
    assume(preference.chosen.strip() != preference.rejected.strip())
    row = preference_row(preference, layout, criteria=("helpful", "tone"), sources=True)
    assert read_back(row) == preference
    assert read_back(row, "csv") == preference


@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_a_pair_without_an_id_is_written_with_the_one_that_reading_gives_it(tmp_path, layout, suffix):
    """Also beside pairs that have one: no cell of the column is empty."""
    prompt = (Message(role="user", content="Well?"),)
    nameless = Preference(prompt=prompt, chosen="Yes.", rejected="No.", source_chosen="a", source_rejected="b")
    rows = [preference_row(one, layout, sources=True) for one in (nameless, replace(nameless, comparison_id="c1"))]
    write_rows(tmp_path / f"with.{suffix}", rows)
    write_rows(tmp_path / f"without.{suffix}", [{k: v for k, v in rows[0].items() if k != "comparison_id"}])
    first, second = read_preferences(str(tmp_path / f"with.{suffix}")).rows
    assert second == replace(nameless, comparison_id="c1")
    assert first == replace(nameless, comparison_id=first.comparison_id)
    assert read_preferences(str(tmp_path / f"without.{suffix}")).rows == [first]


@pytest.mark.parametrize("layout", ["conversational", "plain", "implicit"])
@pytest.mark.parametrize("answers", [("", "An answer."), ("An answer.", " ")])
def test_an_exported_empty_answer_is_read_where_it_is_to_be_kept(read_back, layout, answers):
    """A project may hold a comparison with one empty answer, and a model be judged for it."""
    prompt = (Message(role="user", content="Well?"),)
    preference = Preference(prompt=prompt, chosen=answers[0], rejected=answers[1], comparison_id="c1")
    row = preference_row(preference, layout)
    assert read_back(row, empty="keep") == preference
    with pytest.raises(ValueError, match=r"rows\.jsonl:1: field (chosen|rejected) .*an answer with a text is needed"):
        read_back(row)


@given(text=WORDS, chosen=WORDS, rejected=WORDS)
def test_plain_texts_lose_nothing_of_a_single_turn(text, chosen, rejected):
    preference = Preference(prompt=(Message(role="user", content=text),), chosen=chosen, rejected=rejected)
    row = preference_row(preference, "plain")
    assert (row["prompt"], row["chosen"], row["rejected"]) == (text, chosen, rejected)


def test_plain_prompt_of_several_turns_is_a_dialogue_and_reads_back(read_back):
    prompt = tuple(Message(role=r, content=c) for r, c in (("user", "One"), ("assistant", "two"), ("user", "Three")))
    assert plain_prompt(prompt) == "Human: One\n\nAssistant: two\n\nHuman: Three\n\nAssistant:"
    preference = Preference(prompt=prompt, chosen="x", rejected="y", comparison_id="c1")
    assert read_back(preference_row(preference, "plain")) == preference


def test_columns_of_criteria_and_votes_are_the_same_in_every_row():
    preference = Preference(prompt=(Message(role="user", content="p"),), chosen="x", rejected="y", votes={"chosen": 2})
    row = preference_row(preference, criteria=("helpful", "tone"))
    assert row["criteria"] == {"helpful": None, "tone": None}
    assert row["votes"] == {"chosen": 2, "rejected": 0, "tie": 0, "both_bad": 0}
    assert "source_chosen" not in row
    assert "criteria" not in preference_row(preference)


def prompt(text):
    return (Message(role="user", content=text),)


def test_split_depends_on_the_prompt_and_the_seed_alone():
    splits = {"train": 0.5, "test": 0.5}
    assert split_of(prompt("How  are\nyou?"), splits, 1) == split_of(prompt(" how are you? "), splits, 1)
    found = [split_of(prompt(str(number)), splits, 0) for number in range(200)]
    other = [split_of(prompt(str(number)), splits, 1) for number in range(200)]
    assert found != other


def test_shares_of_splits_are_kept():
    splits = {"train": 0.8, "valid": 0.1, "test": 0.1}
    found = [split_of(prompt(f"prompt {number}"), splits, 0) for number in range(5000)]
    for name, share in splits.items():
        assert found.count(name) / 5000 == pytest.approx(share, abs=0.025)  # over 4 standard deviations


def test_growing_train_keeps_what_was_in_it():
    small, large = {"train": 0.5, "test": 0.5}, {"train": 0.7, "test": 0.3}
    prompts = [prompt(str(number)) for number in range(300)]
    assert all(split_of(p, large, 0) == "train" for p in prompts if split_of(p, small, 0) == "train")


def test_splits_are_read_and_checked():
    assert parse_splits("train=0.9,test=0.1") == {"train": 0.9, "test": 0.1}
    for text in ("train=0.9", "train=0.5,train=0.5", "train=1.5", "a/b=1", "train", "train=0.7,test=0.7"):
        with pytest.raises(ValueError, match="split"):
            parse_splits(text)
