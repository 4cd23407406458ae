"""Heads on a frozen trunk, LoRA members and whole members, each by the command: trained, saved, loaded, scored."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import save_model, tiny_config
from transformers import AutoModelForSequenceClassification

from rewardkit.__main__ import main
from rewardkit.data.records import Message
from rewardkit.heads.posterior import Posterior
from rewardkit.network.classifier import make_classifier
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward.load import load_reward_fn
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward_model import MembersReward, RewardModel
from rewardkit.run.directory import read_status
from rewardkit.training.fixed_features.trunk_head import feature_scale

PROMPT = (Message(role="user", content="question 3 about boats"),)
TEXTS = ["a clear and correct answer", "a vague and wrong answer", "something else"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `data.jsonl` and `trunk`, a small model with weights of its own."""
    folder = tmp_path_factory.mktemp("members")
    rng = np.random.default_rng(0)
    filling = ["answer", "about", "the", "harbour", "and", "its", "boats", "today"]
    rows = []
    for number in range(80):
        good, bad = (
            " ".join(rng.permutation([*rng.choice(filling, 4), rng.choice(words)]))
            for words in (["clear", "correct"], ["vague", "wrong"])
        )
        criteria = {"brief": int(rng.choice([-1, 1]))} if number % 2 else {}
        rows.append({"prompt": f"question {number} about boats", "chosen": good, "rejected": bad, "criteria": criteria})
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tokenizer = train_tokenizer(
        [row[side] for row in rows for side in ("prompt", "chosen", "rejected")], vocab_size=400
    )
    save_model(folder / "trunk", make_classifier(tiny_config(tokenizer, max_length=128), seed=0), tokenizer)
    return folder


def run_train(folder: Path, out: str, *words: str) -> Path:
    data = ["--data", str(folder / "data.jsonl"), "--model", str(folder / "trunk"), "--eval_share", "0.2"]
    assert main(["train", *data, "--out", str(folder / out), *words]) == 0
    return folder / out


def plain_scores(out: Path) -> np.ndarray:
    """Scores by the ordinary sequence classifier."""
    model = RewardModel.load(out)
    plain = AutoModelForSequenceClassification.from_pretrained(out).eval()
    turns = [[{"role": "user", "content": PROMPT[0].content}, {"role": "assistant", "content": t}] for t in TEXTS]
    texts = [model.tokenizer.apply_chat_template(each, tokenize=False) for each in turns]
    batch = model.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        return plain(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, 0].numpy()


def test_head_on_a_frozen_trunk(folder: Path) -> None:
    out = run_train(folder, "head", "--mode", "head", "--criteria")
    card, results = read_card(out), read_status(out)["results"]
    assert (card.kind, card.num_members, card.criteria) == ("head", 32, ("brief",))
    assert card.likelihood["converged"] is True
    assert results["accuracy"] > 0.8
    reward = load_reward_fn(str(out))([PROMPT] * 3, TEXTS)
    assert reward.mean[0] > reward.mean[1]
    np.testing.assert_allclose(reward.mean, plain_scores(out), atol=1e-4)
    trunk = AutoModelForSequenceClassification.from_pretrained(folder / "trunk").state_dict()
    kept = AutoModelForSequenceClassification.from_pretrained(out).state_dict()
    for name, tensor in trunk.items():
        if name != "score.weight":
            torch.testing.assert_close(kept[name], tensor)


def test_the_saved_posterior_is_that_of_the_members(folder: Path) -> None:
    out = run_train(folder, "many", "--mode", "head", "--ensemble", "4000")
    with np.load(out / "posterior.npz", allow_pickle=False) as arrays:
        posterior = Posterior(mean=arrays["mean"], factor=arrays["factor"])
    heads = RewardModel.load(out).scorer.heads.detach().double().numpy()
    np.testing.assert_allclose(heads.mean(0), posterior.mean, atol=1e-4)
    directions = np.random.default_rng(0).standard_normal((5, heads.shape[1]))
    _, std = posterior.margins(directions)
    np.testing.assert_allclose((directions @ heads.T).std(1, ddof=1), std, rtol=0.05)


def test_a_refit_computes_new_conversations_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_train(folder, "first", "--mode", "head")
    capsys.readouterr()
    out = run_train(folder, "again", "--mode", "head", "--seed", "1")
    assert "features of 80 of 80 rows come from" in capsys.readouterr().err
    assert len(list((folder / "trunk").glob("features-*.npz"))) == 1
    assert not list(out.glob("features-*.npz"))


def test_scale_of_features_by_hand() -> None:
    np.testing.assert_allclose(feature_scale(np.array([[1.0, 5.0], [3.0, 5.0]])), [1.0, 1.0])
    np.testing.assert_allclose(feature_scale(np.array([[0.0], [8.0]])), [4.0])


def test_lora_members_in_one_pass(folder: Path) -> None:
    words = ["--mode", "lora", "--members", "lora", "--ensemble", "3", "--lora_layers", "1", "--lora_rank", "4"]
    out = run_train(folder, "lora", *words, "--learning_rate", "0.01", "--epochs", "3", "--criteria")
    assert (read_card(out).kind, read_card(out).num_members) == ("lora", 3)
    reward = load_reward_fn(str(out))([PROMPT] * 3, TEXTS)
    assert reward.members.shape == (3, 3)
    assert np.abs(reward.members[0] - reward.members[1]).max() > 1e-3
    assert np.isfinite(plain_scores(out)).all()


def test_whole_members_one_after_another(folder: Path) -> None:
    out = run_train(folder, "full", "--members", "full", "--ensemble", "2", "--learning_rate", "0.003")
    assert (read_card(out).kind, read_card(out).num_members) == ("full", 2)
    reward = load_reward_fn(str(out))([PROMPT] * 3, TEXTS)
    for number in range(2):
        alone = RewardModel.load(out / "members" / str(number))([PROMPT] * 3, TEXTS)
        np.testing.assert_allclose(reward.members[number], alone.members[0])
    assert np.abs(reward.members[0] - reward.members[1]).max() > 1e-3
    weights = [
        AutoModelForSequenceClassification.from_pretrained(path).state_dict()["score.weight"]
        for path in (out, out / "members" / "0", out / "members" / "1")
    ]
    torch.testing.assert_close(weights[0], (weights[1] + weights[2]) / 2)
    (out / "members" / "1" / "rewardkit.json").unlink()
    with pytest.raises(ValueError, match="1 is missing"):
        MembersReward.load(out)


def test_lora_members_need_mode_lora(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", str(folder / "data.jsonl"), "--model", "tiny", "--out", str(folder / "no")]
    assert main(["train", *words, "--members", "lora", "--ensemble", "2"]) == 2
    assert "members lora needs mode lora, it is full" in capsys.readouterr().err
