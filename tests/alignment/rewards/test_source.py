"""Batches of completions, and what is said of a source that does not give rewards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from reward_toys import ToySource

from alignment.rewards.source import RewardBatch, RewardError, ask
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

PROMPTS = [(Message(role="user", content=f"Question {number}"),) for number in range(3)]


def batch(**given) -> RewardBatch:
    return RewardBatch(**{"prompts": PROMPTS, "completions": ["a", "b c", ""], **given})


def test_some_of_a_batch_keeps_everything_together() -> None:
    whole = batch(completion_ids=[(1,), (2, 3), ()], finished=[True, False, True], columns={"answer": [4, 5, 6]})
    part = whole.take([2, 0])
    assert [prompt[0].content for prompt in part.prompts] == ["Question 2", "Question 0"]
    assert part.completions == ["", "a"]
    assert part.completion_ids == [(), (1,)]
    assert part.finished == [True, True]
    assert part.columns == {"answer": [6, 4]}
    assert part.prompt_ids == []
    np.testing.assert_array_equal(whole.lengths(), [1, 2, 0])
    np.testing.assert_array_equal(batch().lengths(), [1, 2, 0])  # words


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"completions": [], "prompts": []}, "no completion to reward"),
        ({"prompts": PROMPTS[:2]}, "prompts has 2 entries for 3 completions"),
        ({"finished": [True]}, "finished has 1 entries for 3"),
        ({"columns": {"answer": [1, 2]}}, "column answer has 2 entries for 3"),
    ],
)
def test_sizes_have_to_fit(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        batch(**given)


def test_groups_repeat_their_rows() -> None:
    @dataclass(frozen=True)
    class Sampled:
        prompt: tuple[int, ...]
        completion: tuple[int, ...]
        finished: bool

    @dataclass(frozen=True)
    class Completion:
        text: str
        sampled: Sampled

    rows = [PromptRow(prompt=PROMPTS[0], columns={"answer": 7}), PromptRow(prompt=PROMPTS[1], columns={"hint": "x"})]
    groups = [
        [Completion(f"{row}{sample}", Sampled((row,), (sample, 9), sample == 0)) for sample in range(2)]
        for row in range(2)
    ]
    found = RewardBatch.of_groups(rows, groups)  # type: ignore[arg-type]
    assert found.completions == ["00", "01", "10", "11"]
    assert found.prompts == [PROMPTS[0]] * 2 + [PROMPTS[1]] * 2
    assert found.prompt_ids == [(0,), (0,), (1,), (1,)]
    assert found.completion_ids == [(0, 9), (1, 9), (0, 9), (1, 9)]
    assert found.finished == [True, False, True, False]
    assert found.columns == {"answer": [7, 7, None, None], "hint": [None, None, "x", "x"]}


def test_good_rewards_are_passed_on_unchanged() -> None:
    def lengths(asked: RewardBatch) -> Reward:
        assert list(asked.prompts) == PROMPTS
        return Reward(members=np.array([[len(text) for text in asked.completions], [0, 0, 0]]))

    np.testing.assert_array_equal(ask(ToySource(lengths, about="lengths"), batch()).members, [[1, 3, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("members", "index", "message"),
    [
        (
            [[0, np.nan, 0], [0, 0, np.inf]],
            1,
            "reward mine at sample 1 of 3 (prompt 'Question 1', completion 'b c'): "
            "the reward of member 0 is nan, allowed is a finite number; 2 of the batch are not",
        ),
        ([[0, 0, -np.inf]], 2, "the reward is -inf, allowed is a finite number"),
        ([[0, 0]], None, "in a batch of 3, which sample is not known (the first: prompt 'Question 0', completion 'a')"),
        ([0, 0, 0], None, "rewards of shape (3,), allowed is (members, 3)"),
        (np.zeros((0, 3)), None, "rewards of shape (0, 3)"),
    ],
)
def test_bad_rewards_are_never_passed_on(members, index: int | None, message: str) -> None:
    source = ToySource(lambda _batch: Reward(members=np.asarray(members)), about="mine")
    with pytest.raises(RewardError) as caught:
        ask(source, batch())
    assert message in str(caught.value)
    assert caught.value.index == index
    assert isinstance(caught.value, OSError)


def test_long_texts_are_shown_by_their_beginning() -> None:
    error = RewardError("mine", "why", batch(completions=["x" * 81, "y" * 80, "a\nb"]), 0)
    assert f"completion '{'x' * 80}'...)" in str(error)
    assert f"completion '{'y' * 80}')" in str(RewardError("mine", "why", batch(completions=["", "y" * 80, ""]), 1))
    assert "\n" not in str(RewardError("mine", "why\nnot", batch(completions=["a\nb", "", ""]), 0))
