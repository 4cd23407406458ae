"""What training saves scores the same in plain transformers, whatever the tokenizer it started from."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import numpy as np
import torch
from toy_models import config_for, gpt2_config, save_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rewardkit.data.records import Message
from rewardkit.network.chat_template import conversation_texts
from rewardkit.network.classifier import RewardScorer, load_classifier, make_classifier
from rewardkit.network.tokens import load_tokenizer, tokenise, train_tokenizer
from rewardkit.reward.metadata import Card
from rewardkit.reward.reward_model import RewardModel, save

TEXTS = ["Mix flour and water, then wait.", "No.", "The river is long; the river is wide.", "Ask someone else, please!"]
PROMPTS = [(Message(role="user", content=f"How, and why, number {number}?"),) for number in range(len(TEXTS))]


def base_model(folder: Path, kind: str, model: str) -> None:
    """Writes a classifier and a tokenizer that pads with EOS, has no pad at all, or pads on the left."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    match kind:
        case "pad is eos":
            tokenizer.pad_token = tokenizer.eos_token
        case "no pad":
            tokenizer.pad_token = None
        case "left":
            tokenizer.padding_side = "left"
    if model == "gpt2":
        config = gpt2_config(vocab_size=len(tokenizer), n_positions=256)
    else:
        config = config_for(tokenizer)
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    save_model(folder, make_classifier(config, seed=1), tokenizer)


@pytest.mark.parametrize("model", ["llama", "gpt2"])
@pytest.mark.parametrize("kind", ["pad is eos", "no pad", "left", "own pad"])
def test_plain_transformers_scores_the_same_on_both_padding_sides(kind: str, model: str, tmp_path: Path) -> None:
    base_model(tmp_path / "base", kind, model)
    tokenizer = load_tokenizer(tmp_path / "base")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    scorer = RewardScorer(load_classifier(tmp_path / "base", tokenizer, dtype=torch.float32), num_members=3, seed=5)
    assert scorer.packed
    save(scorer, tokenizer, Card(num_members=3, max_length=256), tmp_path / "saved")
    ours = torch.from_numpy(RewardModel.load(tmp_path / "saved")(PROMPTS, TEXTS).mean).float()
    assert ours.std() > 0.01
    for side in ("left", "right"):
        theirs = AutoTokenizer.from_pretrained(tmp_path / "saved", padding_side=side)
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", dtype=torch.float32).eval()
        texts = [conversation_texts(prompt, [text], theirs)[0] for prompt, text in zip(PROMPTS, TEXTS, strict=True)]
        tokens = theirs(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        assert len(set(tokens.attention_mask.sum(1).tolist())) > 1
        tokens.pop("token_type_ids", None)
        if side == "left":  # gpt2's learned positions must be told; llama's rotations see differences only
            tokens["position_ids"] = (tokens.attention_mask.cumsum(1) - 1).clamp_min(0)
        with torch.no_grad():
            scores = plain(**tokens).logits[:, 0]
        torch.testing.assert_close(scores, ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("token_budget", [1, 40, 10_000])
def test_rows_of_tokens_get_the_rewards_of_their_texts_in_order_of_rows(token_budget: int, tmp_path: Path) -> None:
    base_model(tmp_path / "base", "own pad", "llama")
    tokenizer = load_tokenizer(tmp_path / "base")
    scorer = RewardScorer(load_classifier(tmp_path / "base", tokenizer, dtype=torch.float32), num_members=2, seed=5)
    model = RewardModel(scorer, tokenizer, Card(num_members=2))
    texts = [TEXTS[:2], [TEXTS[2]], [*TEXTS, "more"]]
    rows, _ = tokenise(PROMPTS[:3], texts, tokenizer, max_length=256)
    prompts, flat = zip(
        *((prompt, text) for prompt, row in zip(PROMPTS, texts, strict=False) for text in row), strict=True
    )
    expected = [model([prompt], [text]).members for prompt, text in zip(prompts, flat, strict=True)]
    found = model.score_rows(rows, token_budget=token_budget).members
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-5)
    backwards = model(prompts[::2] + prompts[1::2], flat[::2] + flat[1::2]).members
    np.testing.assert_allclose(backwards, np.concatenate(expected[::2] + expected[1::2], axis=1), atol=1e-5)
    heads, bias = scorer.heads.detach().numpy(), scorer.bias.numpy()  # read the states, in the order that was asked
    states = model.states(prompts[::2] + prompts[1::2], flat[::2] + flat[1::2])
    np.testing.assert_allclose(heads @ states.T + bias[:, None], backwards, atol=1e-5)


def test_a_classifier_with_a_head_of_its_own_says_so(tmp_path: Path) -> None:
    base_model(tmp_path / "base", "own pad", "llama")
    tokenizer = load_tokenizer(tmp_path / "base")
    assert load_classifier(tmp_path / "base", tokenizer, dtype=torch.float32).has_own_head is True
    save_model(tmp_path / "trunk", make_classifier(config_for(tokenizer), seed=1).base_model, tokenizer)
    assert load_classifier(tmp_path / "trunk", tokenizer, dtype=torch.float32).has_own_head is False
