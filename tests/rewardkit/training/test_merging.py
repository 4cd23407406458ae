"""Averages of weights: of the same model, by hand, loaded by plain transformers; what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_models import tiny_config
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rewardkit.__main__ import main
from rewardkit.data.records import Message
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.tokens import train_tokenizer
from rewardkit.reward.metadata import Card, read_card
from rewardkit.reward.reward_model import RewardModel, save
from rewardkit.training.merging import merge

TEXTS = ["what is a ship", "a ship is a large boat", "boats are small", "no idea at all"]
PROMPT = (Message(role="user", content="what is a ship"),)


def saved(
    folder: Path, *, seed: int = 0, num_members: int = 1, criteria: tuple[str, ...] = (), layers: int = 2
) -> Path:
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    config = tiny_config(tokenizer, max_length=64, num_layers=layers)
    scorer = RewardScorer(make_classifier(config, seed=seed), num_members=num_members + len(criteria), seed=seed)
    save(scorer, tokenizer, Card(num_members=num_members, criteria=criteria, max_length=64), folder)
    return folder


def scores(folder: Path) -> torch.Tensor:
    return torch.from_numpy(RewardModel.load(folder)([PROMPT] * 4, TEXTS).members)


def test_the_average_of_one_model_is_that_model(tmp_path: Path) -> None:
    one = saved(tmp_path / "one")
    merge([one, one, one], tmp_path / "merged")
    torch.testing.assert_close(scores(tmp_path / "merged"), scores(one), atol=1e-6, rtol=1e-6)


def test_two_models_by_hand(tmp_path: Path) -> None:
    first, second = saved(tmp_path / "a", seed=0, num_members=3), saved(tmp_path / "b", seed=1, num_members=2)
    merge([first, second], tmp_path / "merged")
    weights = [
        AutoModelForSequenceClassification.from_pretrained(folder).state_dict()
        for folder in (first, second, tmp_path / "merged")
    ]
    for name, merged in weights[2].items():
        torch.testing.assert_close(merged, (weights[0][name] + weights[1][name]) / 2)
    card = read_card(tmp_path / "merged")
    assert (card.num_members, card.calibration, card.max_length) == (1, {}, 64)


def test_plain_transformers_scores_the_average_alike(tmp_path: Path) -> None:
    merge([saved(tmp_path / "a", seed=0), saved(tmp_path / "b", seed=1)], tmp_path / "merged")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "merged")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged").eval()
    turns = [[{"role": "user", "content": "what is a ship"}, {"role": "assistant", "content": text}] for text in TEXTS]
    texts = [tokenizer.apply_chat_template(each, tokenize=False) for each in turns]
    batch = tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
    with torch.no_grad():
        logits = plain(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, 0]
    torch.testing.assert_close(logits.double(), scores(tmp_path / "merged")[0], atol=1e-5, rtol=1e-5)


def test_criterion_heads_are_averaged_by_name(tmp_path: Path) -> None:
    folders = [saved(tmp_path / str(seed), seed=seed, criteria=("kind",)) for seed in (0, 1)]
    merge(folders, tmp_path / "merged")
    assert read_card(tmp_path / "merged").criteria == ("kind",)
    kind = RewardModel.load(tmp_path / "merged", criterion_weights={"kind": 1.0})
    heads = [RewardModel.load(folder).scorer.heads for folder in folders]
    torch.testing.assert_close(kind.scorer.heads[1], (heads[0][1] + heads[1][1]) / 2)


def test_models_that_differ_are_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = saved(tmp_path / "a")
    for other, says in (
        (saved(tmp_path / "deep", layers=3), "num_hidden_layers is 2 and 3"),
        (saved(tmp_path / "kind", criteria=("kind",)), "their criteria are"),
        (tmp_path / "nowhere", "there is no such folder"),
    ):
        capsys.readouterr()
        assert main(["merge", str(first), str(other), "--out", str(tmp_path / "merged")]) == 2
        error = capsys.readouterr().err
        assert says in error
        assert error.count("\n") == 1
    assert main(["merge", str(first), "--out", str(tmp_path / "merged")]) == 2
    assert "two or more" in capsys.readouterr().err
    assert not (tmp_path / "merged").exists()


def test_the_command_writes_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(saved(tmp_path / str(seed), seed=seed)) for seed in (0, 1)]
    assert main(["merge", *folders, "--out", str(tmp_path / "merged")]) == 0
    assert "average of 2 models" in capsys.readouterr().out
    assert scores(tmp_path / "merged").shape == (1, 4)
    assert main(["merge", *folders, "--out", str(tmp_path / "merged")]) == 2
