"""A process reward model as a source: which steps it is asked about, and where their rewards end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from toy_architectures import make_tokenizer
from toy_models import config_for

from alignment.config.rewards import RewardOptions
from alignment.rewards.process import ProcessReward, ends_within
from alignment.rewards.rewards import Rewards, WeightedSource, load_rewards
from alignment.rewards.source import RewardBatch, ask
from alignment.rewards.spans import SpanReward
from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.reward.metadata import Card
from rewardkit.reward.process_reward import ProcessRewardModel, save_process_reward
from rewardkit.reward.step_rewards import StepRewards


class Lengths:
    """A tenth of a step's length by one member, a twentieth by the other."""

    def score_steps(self, prompts: Sequence[Sequence[Message]], steps: Sequence[Sequence[str]]) -> list[StepRewards]:
        assert len(prompts) == len(steps)
        assert all(prompt[0].content == of_one[0][0] for prompt, of_one in zip(prompts, steps, strict=True))
        lengths = [np.array([len(step) for step in of_one]) for of_one in steps]
        return [StepRewards(members=np.stack([one / 10, one / 20])) for one in lengths]


def batch(*texts: str) -> RewardBatch:
    prompts = [(Message(role="user", content=text[:1] or "?"),) for text in texts]
    return RewardBatch(prompts=prompts, completions=texts)


def test_steps_are_rewarded_where_they_end() -> None:
    spans = ask(ProcessReward(Lengths(), name="prm"), batch("a b\n\ncdef\n", " \n", "xx"))
    assert isinstance(spans, SpanReward)
    assert spans.completion.tolist() == [0, 0, 1, 2]
    assert spans.ends.tolist() == [3, 10, 2, 2]  # the blank line belongs to the second step, the last one to it too
    np.testing.assert_allclose(spans.members, [[0.3, 0.4, 0.0, 0.2], [0.15, 0.2, 0.0, 0.1]])


def test_answers_without_any_step_are_worth_nothing() -> None:
    source = WeightedSource(name="prm", source=ProcessReward(Lengths(), name="prm", steps_by=";"))
    assert Rewards([source]).score(batch("", " ; ")).total.tolist() == [0.0, 0.0]
    assert Rewards([source], penalty="wco").score(batch("abc; de", "x")).total.tolist() == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize("by", ["line", "blank_line", "sentence", "; "])
def test_ends_are_in_order_and_reach_the_end(by: str) -> None:
    text = "1. a. a; a\n\n  b. a!\r\na\na. "
    steps = split_steps(text, by)
    ends = ends_within(text, steps)
    assert ends[-1] == len(text)
    assert ends == sorted(set(ends))
    for step, start, end in zip(steps[:-1], [0, *ends], ends, strict=False):
        assert text[start:end].strip() == step.strip() or text[start:end].endswith(step)


def test_a_folder_of_a_process_reward_model_is_recognised(tmp_path: Path) -> None:
    """Its product and its mean are those of the model itself; a token has the reward of the step that it ends."""
    tokenizer = make_tokenizer("llama")
    scorer = RewardScorer(make_classifier(config_for(tokenizer), seed=0, per_token=True), num_members=2, seed=1)
    layout = {"separator": "\n", "plain_prompt": False}
    save_process_reward(scorer, tokenizer, Card(kind="steps", num_members=2, max_length=200, steps=layout), tmp_path)
    texts = batch("one\ntwo\nthree", "", "four")
    for rule in ("product", "mean"):
        own = ProcessRewardModel.load(tmp_path, aggregation=rule)
        with load_rewards(RewardOptions(reward=[str(tmp_path)], step_reward=rule)) as rewards:
            scored = rewards.score(texts)
        np.testing.assert_allclose(scored.raw.members, own(texts.prompts, texts.completions).members, rtol=1e-6)
    ids = tuple(tokenizer(texts.completions[0], add_special_tokens=False)["input_ids"])
    one = RewardBatch(prompts=texts.prompts[:1], completions=texts.completions[:1], completion_ids=[ids])
    options = RewardOptions(reward=[str(tmp_path)], step_reward="steps")
    with load_rewards(options, policy_tokenizer=tokenizer) as rewards:
        credits = rewards.score(one).credits
    assert credits is not None
    (steps,) = own.score_steps(one.prompts, [["one", "two", "three"]])
    np.testing.assert_allclose(credits.rewards, steps.mean, rtol=1e-6)
    assert credits.ends[-1] == len(ids)
    decoded = [tokenizer.decode(list(ids[:end])) for end in credits.ends]
    assert [text.rstrip("\n") for text in decoded] == ["one", "one\ntwo", "one\ntwo\nthree"]
