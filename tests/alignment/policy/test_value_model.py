"""Value networks of their own: that of a reward model, or the policy's with a head that is 0 at first."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import save_model
from transformers import AutoModelForSequenceClassification, LlamaConfig

from alignment.config.online import PpoConfig
from alignment.policy.policy import Policy, build_policy
from alignment.policy.value_model import SeparateValue, build_value
from rewardkit.network.classifier import make_classifier
from rewardkit.network.logps import completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import load_tokenizer, train_tokenizer

ROWS = (
    Branched(prompt=(5, 6, 7), branches=((8, 9, 10),)),
    Branched(prompt=(11, 12), branches=((13,), (14, 15))),
)


def value_of(policy_folder: Path, value_model: str = "") -> tuple[SeparateValue, Policy]:
    config = PpoConfig(
        model=str(policy_folder), prompts="p", reward=["json"], out="o", value="separate", value_model=value_model
    )
    tokenizer = load_tokenizer(config.model, own_pad=False)
    policy = build_policy(config, tokenizer, max_length=64)
    value = build_value(config, policy)
    assert isinstance(value, SeparateValue)
    return value, policy


def write_reward_model(policy_folder: Path, folder: Path) -> Path:
    classifier = make_classifier(LlamaConfig.from_pretrained(policy_folder), seed=3)
    return save_model(folder, classifier, load_tokenizer(policy_folder))


def values_of(value: SeparateValue, policy: Policy) -> torch.Tensor:
    return value(completion_logps(policy.network, ROWS, packed=policy.packed), ROWS)


def test_values_of_a_reward_model_are_its_scores_of_what_came_before(
    policy_folders: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = write_reward_model(policy_folders[0], tmp_path / "reward")
    value, policy = value_of(policy_folders[0], str(folder))
    scorer = AutoModelForSequenceClassification.from_pretrained(folder).eval().requires_grad_(False)
    expected = [
        float(scorer(input_ids=torch.tensor([row.prompt + branch[:place]])).logits)
        for row in ROWS
        for branch in row.branches
        for place in range(len(branch))
    ]
    assert values_of(value, policy).tolist() == pytest.approx(expected, abs=1e-5)
    assert len(set(expected)) > 2
    trained = {name for name, parameter in value.named_parameters() if parameter.requires_grad}
    assert "head.weight" in trained
    assert any("layers.1" in name for name in trained)


def test_values_of_the_policys_network_are_0_at_first(policy_folders: tuple[Path, Path]) -> None:
    value, policy = value_of(policy_folders[0])
    values = values_of(value, policy)
    assert values.tolist() == [0.0] * 6
    ((values - 1.0) ** 2).sum().backward()
    assert value.head.weight.grad is not None
    assert bool(value.head.weight.grad.any())


def test_a_reward_model_with_other_tokens_is_refused(policy_folders: tuple[Path, Path], tmp_path: Path) -> None:
    folder = write_reward_model(policy_folders[0], tmp_path / "reward")
    train_tokenizer(["entirely other words"] * 3, vocab_size=280).save_pretrained(folder)
    with pytest.raises(ValueError, match="has other tokens than the policy"):
        value_of(policy_folders[0], str(folder))
    with pytest.raises(ValueError, match="holds no reward model that can be read"):
        value_of(policy_folders[0], str(tmp_path / "nowhere"))
