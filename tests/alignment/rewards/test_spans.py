"""Rewards of spans: how they are read, what a completion is worth by them, and at which tokens they are credited."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reward_toys import ToySource
from transformers import AutoTokenizer

from alignment.config.rewards import StepReward
from alignment.rewards.rewards import Rewards, ScoredBatch, Terms, WeightedSource, joined_scores
from alignment.rewards.source import RewardBatch, RewardError, ask
from alignment.rewards.spans import SpanError, SpanReward, read_spans, token_ends
from rewardkit.data.records import Message
from rewardkit.reward.reward import Reward

PROMPT = (Message(role="user", content="q"),)
TEXTS = ["ab\ncd\ne", "xyz", "k\nl"]
IDS = [(97, 98, 10, 99, 100, 10, 101, 0), (120, 121, 122, 0), (107, 10, 108)]  # a token a character, two of them ended
BATCH = RewardBatch(prompts=[PROMPT] * 3, completions=TEXTS, completion_ids=IDS)
ANSWERS = [[(3, 0.5), (6, 0.8), (7, 0.2)], 0.9, [(2, 0.4), (3, -1.0)]]
SPANS = read_spans(ANSWERS, TEXTS, [len(ids) for ids in IDS])


class Characters:
    """A tokenizer whose tokens are characters."""

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids))


def rewards_of(
    *answers: Reward | SpanReward,
    step_reward: StepReward = "steps",
    weights: tuple[float, ...] = (1.0, 2.0),
    **more: Any,
) -> Rewards:
    sources = [
        WeightedSource(name=f"s{number}", weight=weight, source=ToySource(lambda _batch, one=answer: one, about="toy"))
        for number, (answer, weight) in enumerate(zip(answers, weights, strict=False))
    ]
    return Rewards(sources, step_reward=step_reward, tokenizer=Characters(), **more)  # pyright: ignore


def credited(scored: ScoredBatch) -> list[list[tuple[int, float]]]:
    assert scored.credits is not None
    parts = [scored.credits.take([number]) for number in range(len(scored.total))]
    return [list(zip(part.ends.tolist(), part.rewards.round(9).tolist(), strict=True)) for part in parts]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("min", [0.2, 0.9, -1.0]),
        ("product", [0.08, 0.9, -0.4]),
        ("last", [0.2, 0.9, -1.0]),
        ("mean", [0.5, 0.9, -0.3]),
        ("sum", [1.5, 0.9, -0.6]),
    ],
)
def test_what_a_completion_is_worth_by_its_steps(by: StepReward, expected: list[float]) -> None:
    np.testing.assert_allclose(SPANS.whole(by).members, [expected])
    scored = rewards_of(SPANS, step_reward=by).score(BATCH)
    np.testing.assert_allclose(scored.total, expected)
    assert scored.credits is None
    assert scored.metrics()["rewards/s0/spans"] == 2.0


def test_each_member_has_its_own_least_step() -> None:
    two = SpanReward(
        members=np.array([[1.0, 3.0, 5.0], [2.0, 0.0, 7.0]]), completion=np.array([0, 0, 1]), ends=np.array([1, 2, 3])
    )
    np.testing.assert_allclose(two.whole("min").members, [[1.0, 5.0], [0.0, 7.0]])
    np.testing.assert_allclose(two.whole("last").members, [[3.0, 5.0], [0.0, 7.0]])


def test_steps_are_credited_at_their_ends_and_the_rest_at_the_last_token() -> None:
    """0.1 a token beyond 3 and twice another source's reward are taken from, and added to, the last token."""
    other = Reward(members=np.array([[1.0, 0.0, -1.0]]))
    scored = rewards_of(SPANS, other, terms=Terms(length_penalty=0.1, length_free=3)).score(BATCH)
    np.testing.assert_allclose(scored.total, [1.5 + 2.0 - 0.5, 0.9 - 0.1, -0.6 - 2.0])
    assert credited(scored) == [[(3, 0.5), (6, 0.8), (8, 0.2 + 1.5)], [(4, 0.8)], [(2, 0.4), (3, -3.0)]]
    assert scored.credits is not None
    assert scored.credits.places(np.array([8, 4, 3])).tolist() == [2, 5, 7, 11, 13, 14]


def test_an_unsure_step_is_punished_at_its_own_end() -> None:
    """Members 1, 3 at the first step: 2 - 0.5 * 2. Both say 4 at the last. Sums 5, 7: 6 - 0.5 * 2, nothing is left."""
    spans = SpanReward(members=np.array([[1.0, 4.0], [3.0, 4.0]]), completion=np.array([0, 0]), ends=np.array([3, 7]))
    one = RewardBatch(prompts=[PROMPT], completions=TEXTS[:1], completion_ids=IDS[:1])
    scored = rewards_of(spans, penalty="uwo", penalty_strength=0.5).score(one)
    assert credited(scored) == [[(3, 1.0), (8, 4.0)]]


def test_rewards_of_tokens_and_of_steps_come_together() -> None:
    by_token = read_spans([[0.0] * 8, [1.0, 0.0, 0.0, 0.5], [0.0, 0.25, 0.0]], TEXTS, [8, 4, 3])
    scored = rewards_of(SPANS, by_token).score(BATCH)
    assert credited(scored)[1] == [(1, 2.0), (2, 0.0), (3, 0.0), (4, 0.9 + 1.0)]
    assert credited(scored)[2] == [(1, 0.0), (2, 0.4 + 0.5), (3, -1.0)]
    np.testing.assert_allclose(scored.total, [1.5, 0.9 + 3.0, -0.6 + 0.5])


def test_batches_are_joined_and_taken_apart() -> None:
    """A batch whose completions all had a single number has no spans, and joins those that had."""
    whole = rewards_of(SPANS).score(BATCH)
    plain = rewards_of(Reward(members=np.array([[7.0]]))).score(BATCH.take([1]))
    together = joined_scores([whole.take([2, 0]), plain])
    assert credited(together) == [[(2, 0.4), (3, -1.0)], [(3, 0.5), (6, 0.8), (8, 0.2)], [(4, 7.0)]]
    assert together.spans["s0"].tolist() == [2, 3, 1]


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        ([], "allowed is a number, or a list"),
        ([(4, 1.0), (4, 2.0)], "spans end at"),
        ([(2, 1.0), (9, 2.0)], "from 1 to 7"),
        ([(0, 1.0)], "from 1 to 7"),
        ([(2.5, 1.0)], "allowed is (end in characters, number)"),
        ([1.0, 2.0], "a number for each of its 8 tokens"),
    ],
)
def test_what_is_no_reward_of_spans_is_refused_with_its_sample(answer: Any, cause: str) -> None:
    with pytest.raises(SpanError) as caught:
        read_spans([1.0, answer], [TEXTS[1], TEXTS[0]], [4, 8])
    assert caught.value.index == 1
    assert cause in str(caught.value)


def test_a_span_that_is_not_finite_names_its_completion() -> None:
    bad = SpanReward(members=np.array([[1.0, 2.0, np.nan]]), completion=np.array([0, 0, 1]), ends=np.array([1, 2, 3]))
    with pytest.raises(RewardError, match="at sample 1 of 2") as caught:
        ask(ToySource(lambda _batch: bad, about="toy"), BATCH.take([0, 1]))
    assert caught.value.index == 1


def test_the_end_of_a_span_is_the_token_that_brings_its_last_character(policy_folders: tuple[Path, Path]) -> None:
    """Every end within a text with characters of several bytes, against the first prefix that is long enough."""
    tokenizer = AutoTokenizer.from_pretrained(policy_folders[0])
    text = "Zoë paid 3 €.\nThat is 2 too many: 5 − 3\nnaïve"
    ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    ends = np.arange(1, len(text) + 1)
    spans = SpanReward(members=np.zeros((1, len(ends))), completion=np.zeros(len(ends), dtype=int), ends=ends)
    found = token_ends(spans, [text], [(*ids, tokenizer.eos_token_id)], tokenizer)
    prefixes = [len(tokenizer.decode(list(ids[:count]))) for count in range(len(ids) + 1)]
    expected = [next(count for count, size in enumerate(prefixes) if size >= end) for end in ends[:-1]]
    assert found.tolist() == [*expected, len(ids) + 1]  # the end of the turn belongs to the last span
