"""Beam search by steps: what is kept is what has the most reward, and what is drawn next goes on from it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from reward_toys import ToySource

from alignment.best_of_n.beam import beam_search
from alignment.config.sampling import BonConfig
from alignment.generation.completion_sampler import Sampler, load_samplers
from alignment.rewards.rewards import Rewards, WeightedSource
from alignment.rewards.source import RewardBatch
from rewardkit.data.prompts import PromptRow
from rewardkit.data.records import Message
from rewardkit.network.tokens import policy_prompts
from rewardkit.reward.reward import Reward

STEP = "e"  # ends a step; a random policy writes it often


def config_of(**more: Any) -> BonConfig:
    options = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "n": 6, "beam_width": 3}
    return BonConfig(**options | {"search": "beam", "steps_by": STEP, "max_new_tokens": 12} | more)


@pytest.fixture(scope="module")
def sampler(policy_folders: tuple[Path, Path]) -> Sampler:
    (loaded,) = load_samplers([str(policy_folders[0])])
    return loaded


def rows_of(*texts: str) -> list[PromptRow]:
    return [PromptRow(prompt=(Message(role="user", content=text),), columns={}) for text in texts]


def vowels(batch: RewardBatch) -> Reward:
    return Reward(members=np.array([[vowel_count(text) for text in batch.completions]], dtype=float))


def test_the_best_beginnings_are_written_on(sampler: Sampler) -> None:
    rounds: list[list[tuple[str, str, float]]] = []

    def seen(batch: RewardBatch) -> Reward:
        reward = vowels(batch)
        prompts = [prompt[-1].content for prompt in batch.prompts]
        rounds.append(list(zip(prompts, batch.completions, reward.members[0].tolist(), strict=True)))
        is_whole = [len(ids) == 12 for ids in batch.completion_ids]
        assert all(finished or cut for finished, cut in zip(batch.finished, is_whole, strict=True))
        return reward

    rewards = Rewards([WeightedSource(name="toy", source=ToySource(seen, about="toy"))])
    rows = rows_of("My kettle", "Broken, what now?")
    found = beam_search(config_of(), rows, sampler, rewards, keys=[0, 1])
    assert len(rounds) > 2
    for before, after in pairwise(rounds):
        for prompt in {prompt for prompt, _, _ in after}:
            scored = [(text, reward) for other, text, reward in before if other == prompt]
            kept = [text for text, _ in sorted(scored, key=lambda one: -one[1])[:2]]
            texts = [text for other, text, _ in after if other == prompt]
            assert all(text.startswith(tuple(kept)) for text in texts)
            assert len(texts) <= 6
    for of_one in found:
        assert 2 <= len(of_one) <= 6
        for one in of_one:
            assert one.sampled.finished or len(one.sampled.completion) == 12
            assert len(one.sampled.logps) == len(one.sampled.completion)


def test_prompts_do_not_depend_on_each_other(sampler: Sampler) -> None:
    rewards = Rewards([WeightedSource(name="toy", source=ToySource(vowels, about="toy"))])
    both = beam_search(config_of(), rows_of("My kettle", "Broken?"), sampler, rewards, keys=[4, 7])
    alone = beam_search(config_of(), rows_of("Broken?"), sampler, rewards, keys=[7])
    assert [one.text for one in both[1]] == [one.text for one in alone[0]]


def test_a_prompt_has_room_for_all_new_tokens_or_is_refused(sampler: Sampler) -> None:
    rewards = Rewards([WeightedSource(name="toy", source=ToySource(vowels, about="toy"))])
    rows = rows_of("My kettle", "Broken?")
    positions = sampler.policy.config.max_position_embeddings
    longest = max(len(ids) for ids in policy_prompts([row.prompt for row in rows], sampler.tokenizer))
    options: dict[str, Any] = {"n": 2, "beam_width": 2, "steps_by": "never written", "token_budget": 4 * positions}
    found = beam_search(config_of(max_new_tokens=positions - longest, **options), rows, sampler, rewards, keys=[0, 1])
    assert all(one.sampled.finished or len(one.sampled.completion) == positions - longest for of in found for one in of)
    with pytest.raises(ValueError, match=f"the model's {positions} positions"):
        beam_search(config_of(max_new_tokens=positions - longest + 1, **options), rows, sampler, rewards, keys=[0, 1])


def vowel_count(text: str) -> int:
    return sum(text.count(letter) for letter in "aeiou")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 4}, "beam_width is 4, allowed is what divides n, 6"),
        ({"steps_by": "sentence"}, "while one is drawn no text ends it"),
        ({"step_reward": "steps"}, "completions are chosen as wholes"),
    ],
)
def test_bad_configurations(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_of(**options)
