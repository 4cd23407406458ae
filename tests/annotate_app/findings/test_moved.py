"""What moved a score: parts of a text, differences that are the model's own, words that add up, criteria."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from annotate_app.findings.moved import MOST_PARTS, split, what_moved
from annotate_app.jobs.model_processes import ModelProcesses
from annotate_app.trainings.scorer import Scorers
from rewardkit.data.records import Message
from rewardkit.reward.metadata import Card
from rewardkit.reward.tfidf import TfidfFeatures, TfidfReward

FIRST, SECOND = "It left on Monday. Sorry for the wait! Here is the link.", "No idea at all"


def parts_of(text: str) -> list[str]:
    return [text[start:end] for start, end in split(text)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One two. Three!  Four?\n\nFive", ["One two. ", "Three!  ", "Four?\n\n", "Five"]),
        ("v3.5 is out. (Yes.) “Go.” End", ["v3.5 is out. ", "(Yes.) ", "“Go.” ", "End"]),
        ("- a b\n- c", ["- a b\n", "- c"]),
        ("only one sentence", ["only ", "one ", "sentence"]),
        ("word", []),
        (" word\n", []),
        ("", []),
    ],
)
def test_a_text_is_cut_into_sentences_and_a_single_one_into_words(text: str, parts: list[str]) -> None:
    assert parts_of(text) == parts


def test_long_texts_are_cut_into_as_many_parts_as_are_asked_for_and_quickly() -> None:
    text = "".join(f"Sentence {number}. " for number in range(95))
    parts = parts_of(text)
    assert len(parts) == MOST_PARTS
    assert "".join(parts) == text
    assert {part.count(".") for part in parts} == {2, 3}
    began = time.monotonic()
    assert parts_of("." * 50_000) == []
    assert len(parts_of(". " * 25_000)) == MOST_PARTS
    assert time.monotonic() - began < 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TfidfReward]:
    """A model of counted words with two members and a criterion."""
    folder = tmp_path_factory.mktemp("words") / "model"
    features = TfidfFeatures.fit("words", [FIRST, SECOND], has_length=False)
    heads = np.random.default_rng(2).normal(size=(3, features.num_features)).astype(np.float32).astype(np.float64)
    card = Card(
        kind="tfidf", num_members=2, criteria=("tone",), calibration={"kind": "temperature", "temperature": 2.0}
    )
    TfidfReward(features, heads, card).save(folder)
    return folder, TfidfReward.load(folder)


@pytest.fixture(scope="module")
def scorers() -> Iterator[Scorers]:
    table = ModelProcesses()
    yield Scorers(table)
    table.close()


def test_each_part_moves_the_reward_by_what_the_model_says_without_it(scorers: Scorers, model) -> None:
    folder, reward = model
    moved = what_moved(
        scorers, folder, "Where is it?", FIRST, SECOND, before=[Message(role="system", content="Be kind.")]
    )
    assert moved.num_asked == 2 + 3 + 4
    without = ["Sorry for the wait! Here is the link.", "It left on Monday. Here is the link."]
    members = reward([()] * 4, [FIRST, SECOND, *without]).members
    for place, part in enumerate(moved.parts[0][:2]):
        change = members[:, 0] - members[:, 2 + place]
        assert part.change == pytest.approx(change.mean())
        assert part.std == pytest.approx(change.std(ddof=1))
        q = 1 / (1 + np.exp(-(members[:, 2 + place] - members[:, 1]) / 2))
        assert part.probability == pytest.approx(q.mean())
    assert [FIRST[part.start : part.end] for part in moved.parts[0]] == parts_of(FIRST)
    assert [SECOND[part.start : part.end] for part in moved.parts[1]] == ["No ", "idea ", "at ", "all"]


def test_words_add_up_to_the_reward_and_criteria_are_their_own_heads(scorers: Scorers, model) -> None:
    folder, reward = model
    moved = what_moved(scorers, folder, "Where is it?", FIRST, SECOND)
    overall = reward([()] * 2, [FIRST, SECOND]).mean
    assert moved.words is not None
    assert [sum(value for _, _, value in side) for side in moved.words] == pytest.approx(overall.tolist())
    assert moved.length == (0.0, 0.0)
    tone = TfidfReward.load(folder, criterion_weights={"tone": 1.0})([()] * 2, [FIRST, SECOND]).mean
    assert moved.criteria["tone"] == pytest.approx(tuple(tone))
    again = scorers.judge(folder, "Where is it?", FIRST, SECOND)  # the overall head is itself again
    assert again.rewards == pytest.approx(tuple(overall))
