"""Weights as engines of others take them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors import SafetensorError
from toy_models import gpt2_config, llama_config
from transformers import AutoModelForCausalLM

from alignment.policy.policy import make_network
from rewardkit.distributed.merged_weights import merged_weights, write_merged
from rewardkit.network.models import adapt

LLAMA = llama_config(num_key_value_heads=4)
TIED = llama_config(num_key_value_heads=4, tie_word_embeddings=True)
GPT2 = gpt2_config()  # its layers are Conv1D, transposed


def adapted(config: Any) -> Any:
    """A network with adapters that do something."""
    network = make_network(config, seed=0)
    adapt(network, rank=2, num_layers=0, seed=0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    return network


@pytest.mark.parametrize("config", [LLAMA, TIED, GPT2])
def test_what_is_written_is_an_ordinary_model_that_computes_the_same(config: Any, tmp_path: Path) -> None:
    network = adapted(config).eval()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    assert merged_weights(network).keys() == make_network(config, seed=0).state_dict().keys()
    write_merged(network, tmp_path / "weights")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "weights").eval()
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    network.set_attn_implementation("sdpa")
    with torch.no_grad():
        expected = network(input_ids=ids).logits
        torch.testing.assert_close(written(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
        plain = make_network(config, seed=0).eval()
        plain.set_attn_implementation("sdpa")
        assert (plain(input_ids=ids).logits - expected).abs().max() > 0.01
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(LLAMA, seed=0)

    def fail(*_: Any, **__: Any) -> None:
        raise SafetensorError("No space left on device")

    monkeypatch.setattr(network, "save_pretrained", fail)
    with pytest.raises(OSError, match=r"weights could not be written to .*weights: No space left"):
        write_merged(network, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()
