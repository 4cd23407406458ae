"""Policies: what is saved loads in plain transformers and says the same; adapters, gradient checkpointing, dropout."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors import SafetensorError
from toy_models import gpt2_config, llama_config, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from alignment.config.training import SftConfig
from alignment.policy.policy import Policy, build_policy, check_model, make_network, prepare_tokenizer
from rewardkit.network.logps import completion_logps
from rewardkit.network.models import load_network
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import end_ids, train_tokenizer

TEXTS = ["Mix flour and water, then wait.", "The river is long; the river is wide.", "Ask someone else, please!"]
ROWS = [Branched(prompt=(11, 12, 13), branches=((14, 15, 9), (16, 9))), Branched(prompt=(21,), branches=((22, 9),))]


def base_model(folder: Path, kind: str, *, pad: str = "own") -> None:
    tokenizer = train_tokenizer(TEXTS, vocab_size=320)
    if pad == "eos":
        tokenizer.pad_token = tokenizer.eos_token
    if kind == "gpt2":
        config = gpt2_config(vocab_size=len(tokenizer), n_positions=256)
    else:
        config = llama_config(vocab_size=len(tokenizer), tie_word_embeddings=kind == "tied")
    config.eos_token_id, config.bos_token_id, config.pad_token_id = tokenizer.eos_token_id, None, tokenizer.pad_token_id
    save_model(folder, make_network(config, seed=1), tokenizer)


def plain_logps(folder: Path) -> torch.Tensor:
    """(3,) by plain transformers, one sequence at a time."""
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    with torch.no_grad():
        for row in ROWS:
            for branch in row.branches:
                shares = plain(input_ids=torch.tensor([row.prompt + branch])).logits[0].log_softmax(-1)
                found.append(shares[len(row.prompt) - 1 : -1].gather(-1, torch.tensor(branch)[:, None]).sum())
    return torch.stack(found)


def build(folder: Path, **options: object) -> Policy:
    config = SftConfig(model=str(folder), data="x", out="y", **options)  # type: ignore[arg-type]
    return build_policy(config, prepare_tokenizer(config, folder, []), max_length=64)


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapters"])
@pytest.mark.parametrize("kind", ["llama", "tied", "gpt2"])
def test_a_saved_policy_says_the_same_in_plain_transformers(kind: str, lora: bool, tmp_path: Path) -> None:
    base_model(tmp_path / "base", kind)
    policy = build(tmp_path / "base", lora=lora, lora_rank=4)
    assert policy.packed
    with torch.no_grad():
        untouched = completion_logps(policy.network, ROWS, packed=True).sums()
        torch.testing.assert_close(untouched, plain_logps(tmp_path / "base"), atol=1e-4, rtol=1e-5)
        for number, parameter in enumerate(p for p in policy.network.parameters() if p.requires_grad):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
        trained = completion_logps(policy.network, ROWS, packed=True).sums()
    assert (trained - untouched).abs().max() > 0.1
    policy.save(tmp_path / "saved")
    torch.testing.assert_close(plain_logps(tmp_path / "saved"), trained, atol=1e-4, rtol=1e-5)
    assert (tmp_path / "saved" / "adapter" / "adapter_model.safetensors").exists() == lora
    theirs = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert theirs.chat_template == policy.tokenizer.chat_template
    again = load_network(tmp_path / "saved", theirs)
    assert again.generation_config is not None
    assert again.generation_config.eos_token_id == theirs.eos_token_id


@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "adapters"])
def test_a_saved_policy_ends_where_it_ended_before_and_where_it_was_trained_to(lora: bool, tmp_path: Path) -> None:
    base_model(tmp_path / "base", "llama")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    tokenizer.chat_template = tokenizer.chat_template.replace("+ eos_token", "+ '<|tool|>'")
    tokenizer.save_pretrained(tmp_path / "base")
    theirs = GenerationConfig(eos_token_id=[7, 9], do_sample=False, repetition_penalty=1.1)
    theirs.save_pretrained(tmp_path / "base")
    values = json.loads((tmp_path / "base" / "generation_config.json").read_text())
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps(values | {"temperature": 0.6, "top_p": 0.9}))
    turn_end, eos = tokenizer.convert_tokens_to_ids("<|tool|>"), tokenizer.eos_token_id
    policy = build(tmp_path / "base", lora=lora, lora_rank=4)
    policy.save(tmp_path / "saved")
    again = build(tmp_path / "saved")
    again.save(tmp_path / "twice")
    only = replace(build(tmp_path / "base", lora=True, lora_rank=4), only_adapters=True)
    only.save(tmp_path / "adapters")
    for folder in ("saved", "twice", "adapters"):
        saved = GenerationConfig.from_pretrained(tmp_path / folder)
        assert saved.eos_token_id == [7, 9, turn_end, eos]
        assert saved.repetition_penalty == 1.1
    assert set(end_ids(again.network, again.tokenizer)) == {7, 9, turn_end, eos}


def test_an_adapter_by_itself_gives_the_trained_policy(tmp_path: Path) -> None:
    from peft import PeftModel

    base_model(tmp_path / "base", "llama")
    policy = build(tmp_path / "base", lora=True, lora_rank=4)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
        trained = completion_logps(policy.network, ROWS, packed=True).sums()
    policy.save(tmp_path / "saved")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        adapted = PeftModel.from_pretrained(plain, str(tmp_path / "saved" / "adapter"))
    with torch.no_grad():
        found = completion_logps(adapted, ROWS, packed=False).sums()
    torch.testing.assert_close(found, trained, atol=1e-4, rtol=1e-5)


def test_training_goes_on_from_an_adapter_s_folder(tmp_path: Path) -> None:
    base_model(tmp_path / "base", "llama")
    policy = build(tmp_path / "base", lora=True, lora_rank=4)
    with torch.no_grad():
        for parameter in policy.network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05)
        trained = completion_logps(policy.network, ROWS, packed=True).sums()
    assert policy.adapted is not None
    policy.adapted.save_pretrained(str(tmp_path / "adapter"))
    policy.tokenizer.save_pretrained(tmp_path / "adapter")
    assert check_model(str(tmp_path / "adapter")) == 2048
    again = build(tmp_path / "adapter")
    assert not any("lora" in name for name, _ in again.network.named_parameters())
    with torch.no_grad():
        found = completion_logps(again.network, ROWS, packed=True).sums()
    torch.testing.assert_close(found, trained, atol=1e-4, rtol=1e-5)


def test_a_pad_token_that_is_eos_adds_no_token_to_the_distribution(tmp_path: Path) -> None:
    base_model(tmp_path / "base", "llama", pad="eos")
    policy = build(tmp_path / "base")
    assert policy.tokenizer.pad_token_id == policy.tokenizer.eos_token_id
    assert len(policy.network.get_input_embeddings().weight) == len(policy.tokenizer)  # type: ignore[arg-type]


def test_only_adapters_are_trained_with_lora(tmp_path: Path) -> None:
    base_model(tmp_path / "base", "llama")
    policy = build(tmp_path / "base", lora=True, lora_layers=1)
    trained = [name for name, p in policy.network.named_parameters() if p.requires_grad]
    assert len(trained) == 14
    assert all("lora_" in name and ".layers.1." in name for name in trained)


@pytest.mark.parametrize("lora", [False, True])
def test_gradient_checkpointing_changes_nothing(lora: bool, tmp_path: Path) -> None:
    base_model(tmp_path / "base", "llama")
    found = []
    for recompute in (False, True):
        policy = build(tmp_path / "base", lora=lora, gradient_checkpointing=recompute)
        policy.network.train()
        completion_logps(policy.network, ROWS, packed=True).sums().sum().backward()
        found.append({name: p.grad for name, p in policy.network.named_parameters() if p.grad is not None})
    assert found[0]
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, msg=name)


def test_dropout_is_off(tmp_path: Path) -> None:
    base_model(tmp_path / "base", "gpt2")
    policy = build(tmp_path / "base")
    policy.network.train()
    with torch.no_grad():
        one, two = (completion_logps(policy.network, ROWS, packed=True).token_logps for _ in range(2))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_what_is_no_model_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allowed are tiny, small, a folder, a hub id"):
        check_model(str(tmp_path))
    config = SftConfig(model=str(tmp_path), data="x", out="y")
    with pytest.raises(ValueError, match="has no tokenizer that can be read"):
        prepare_tokenizer(config, tmp_path, [])
    assert check_model("tiny") is None


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base_model(tmp_path / "base", "llama")
    policy = build(tmp_path / "base")

    def full(*_args: object, **_options: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(policy.network, "save_pretrained", full)
    with pytest.raises(OSError, match=r"could not be written to .*saved: .*No space left"):
        policy.save(tmp_path / "saved")
