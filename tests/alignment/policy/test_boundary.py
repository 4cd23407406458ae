"""A policy is trained on, sampled from and scored by the same tokens."""

from __future__ import annotations

from alignment.generation.completion_sampler import load_samplers
from alignment.policy.rows import preference_rows
from rewardkit.data.records import Message, Preference
from rewardkit.network.tokens import policy_prompts, policy_rows


def test_training_scoring_and_sampling_agree_on_tokens(policy_folders) -> None:
    (sampler,) = load_samplers([str(policy_folders[0])])
    prompt = (Message(role="user", content="Where is my kettle?"),)
    preference = Preference(prompt=prompt, chosen="On its way.", rejected="No idea.")
    trained = preference_rows([preference], sampler.tokenizer, max_length=64).rows
    scored, _ = policy_rows([prompt], [("On its way.", "No idea.")], sampler.tokenizer, max_length=64)
    assert list(trained) == scored
    assert policy_prompts([prompt], sampler.tokenizer) == [trained[0].prompt]
