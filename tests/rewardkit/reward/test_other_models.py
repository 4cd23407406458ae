"""Reward models that were not trained here score as plain transformers scores them, or are refused by name."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_architectures import make_folder, make_tokenizer, sentences
from toy_models import llama_config
from transformers import AutoModelForSequenceClassification, LlamaForCausalLM

from alignment.__main__ import main as alignment_main
from rewardkit.__main__ import main
from rewardkit.data.records import Message
from rewardkit.network.chat_template import conversation_texts
from rewardkit.network.tokens import tokenise
from rewardkit.reward.load import cut_warning
from rewardkit.reward.reward_model import RewardModel

TEXTS = sentences(12)
PROMPTS = [[Message(role="user", content=text)] for text in TEXTS[:6]]
COMPLETIONS = [*TEXTS[6:11], "yes"]


def plain_scores(folder: Path, tokenizer, prompts=PROMPTS, completions=COMPLETIONS) -> np.ndarray:
    """What transformers scores one text at a time."""
    classifier = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for prompt, completion in zip(prompts, completions, strict=True):
        (text,) = conversation_texts(prompt, [completion], tokenizer)
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids
        with torch.no_grad():
            scores.append(float(classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0]))
    return np.array(scores)


@pytest.mark.parametrize("name", ["Llama 2", "Mistral (window)", "Ministral (no window)", "GPT-2", "RoBERTa", "Qwen 3"])
def test_scores_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    """Mistral's tokenizer pads with EOS here: transformers reads the token before it. RoBERTa's head has a bias."""
    folder = make_folder(name, tmp_path, classifier=True)
    model = RewardModel.load(folder)
    assert model(PROMPTS, COMPLETIONS).members[0] == pytest.approx(plain_scores(folder, model.tokenizer), abs=1e-5)
    assert model.scorer.skipped == model.scorer.classifier.pooled_pad


def test_a_model_without_a_pad_token_is_read_at_its_last_token(tmp_path: Path) -> None:
    folder = make_folder("Ministral (no window)", tmp_path, classifier=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": None}))
    model = RewardModel.load(folder)
    assert model.scorer.skipped is None
    assert model(PROMPTS, COMPLETIONS).members[0] == pytest.approx(plain_scores(folder, model.tokenizer), abs=1e-5)


def test_long_conversations_are_read_up_to_the_models_own_length_and_told(
    tmp_path: Path,
) -> None:
    model = RewardModel.load(make_folder("GPT-2", tmp_path, classifier=True))
    assert model.card.max_length == 256
    rewards = model([[Message(role="user", content="word " * 400)]] * 2, ["yes", "no"])
    assert np.isfinite(rewards.members).all()
    assert cut_warning(model) == "2 conversations are longer than 256 tokens and were cut"


def test_completions_of_one_prompt_lose_the_same_of_it(tmp_path: Path) -> None:
    """GPT-Neo runs padded: the short answer is scored after the prompt as it is cut for the long one."""
    model = RewardModel.load(make_folder("GPT-Neo", tmp_path, classifier=True))
    assert not model.packed
    prompt = [Message(role="user", content=" ".join(TEXTS * 3))]
    long = " ".join(TEXTS[:3])
    (beside,) = model([prompt, prompt], ["yes", long]).members
    rows, num_cut = tokenise([prompt], [["yes", long]], model.tokenizer, max_length=model.card.max_length)
    assert num_cut == 2
    assert beside == pytest.approx(model.score_rows(rows).members[0], abs=1e-5)
    assert abs(beside[0] - model([prompt], ["yes"]).members[0, 0]) > 1e-4


def score(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a folder is refused."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "Hi", "completion": "Yes"}) + "\n")
    assert main(["score", "--model", str(folder), "--input", str(rows), "--output", str(tmp_path / "out.jsonl")]) == 2
    assert not (tmp_path / "out.jsonl").exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rewardkit score: ")]
    return line


def test_a_model_without_a_reward_head_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder("Llama 2", tmp_path / "policy", classifier=False)
    assert score(folder, tmp_path, capsys).endswith(f"{folder}: no reward model, its file has no score.weight")


def test_a_value_head_of_another_name_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file, save_file

    folder = make_folder("Llama 2", tmp_path / "reward", classifier=True)
    weights = load_file(folder / "model.safetensors")
    weights["value_head.weight"] = weights.pop("score.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "no score.weight" in score(folder, tmp_path, capsys)


@pytest.mark.parametrize("num_labels", [2, 5])
def test_a_classifier_of_several_labels_is_refused(
    num_labels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = make_tokenizer("llama")
    config = llama_config(vocab_size=len(tokenizer), num_labels=num_labels)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    assert f"head with one label (it has {num_labels})" in score(tmp_path / "model", tmp_path, capsys)


def test_an_architecture_without_a_classifier_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder("Cohere", tmp_path / "policy", classifier=False)
    assert "no sequence classifier for models of type cohere" in score(folder, tmp_path, capsys)


def test_grpo_refuses_a_reward_without_a_head(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_folder("Llama 2", tmp_path / "policy", classifier=False)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in TEXTS))
    words = f"grpo --model {folder} --prompts {prompts} --reward {folder} --max-steps 1"
    words += f" --max-new-tokens 8 --out {tmp_path / 'run'}"
    assert alignment_main(words.split()) == 2
    assert "no score.weight" in capsys.readouterr().err


def test_a_trained_adapter_scores_as_peft_scores_it(tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    tokenizer = make_tokenizer("llama")
    base = tmp_path / "base"
    LlamaForCausalLM(llama_config(vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=3)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    classifier = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    lora = LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["q_proj"], init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(classifier, lora)
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    again = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        again = PeftModel.from_pretrained(again, str(tmp_path / "adapter")).merge_and_unload()
    again.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    model = RewardModel.load(tmp_path / "adapter")
    assert model(PROMPTS, COMPLETIONS).members[0] == pytest.approx(
        plain_scores(tmp_path / "merged", model.tokenizer), abs=1e-5
    )
