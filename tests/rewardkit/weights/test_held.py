"""Matrices held in bf16: the numbers of float32 bit for bit where nothing is rounded, and half the memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from toy_models import config_of, gpt2_config, llama_config
from transformers.pytorch_utils import Conv1D

from rewardkit.network.layout import trial_rows
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import adapt, recompute_activations
from rewardkit.weights.held import HeldConv1D, HeldEmbedding, HeldLinear, hold_in_bf16

CONFIGS: dict[str, Callable[..., Any]] = {
    "llama": llama_config,
    "tied": lambda: llama_config(tie_word_embeddings=True),
    "gpt2": gpt2_config,
}


def network_of(name: str, *, in_bf16: bool = True) -> Any:
    """A policy of random weights, whose values are those of bf16 or not."""
    from transformers import AutoModelForCausalLM

    from rewardkit.network import attention

    attention.register()
    torch.manual_seed(0)
    network = AutoModelForCausalLM.from_config(CONFIGS[name]()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
            if in_bf16:
                parameter.copy_(parameter.bfloat16())
    return network


def computed(network: Any, *, lora: bool, held: bool, precision: str, recompute: bool = False) -> dict[str, Tensor]:
    """Log-probabilities of small rows, and the gradients of their sum."""
    packed = can_pack_policy(network)
    if lora:
        adapt(network, rank=4, num_layers=0, seed=1)
        with torch.no_grad():
            for number, parameter in enumerate(p for p in network.parameters() if p.requires_grad):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    if held:
        hold_in_bf16(network, trained=not lora)
    if recompute:
        recompute_activations(network)
    network.train()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        logps = completion_logps(network, trial_rows(network.config), packed=packed).token_logps
    logps.sum().backward()
    return {"logps": logps.detach()} | {n: p.grad for n, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("recompute", [False, True], ids=["own steps", "modules"])
@pytest.mark.parametrize("name", CONFIGS)
def test_a_frozen_base_in_bf16_gives_the_same_losses_and_gradients(name: str, recompute: bool, precision: str) -> None:
    wide = computed(network_of(name), lora=True, held=False, precision=precision, recompute=recompute)
    network = network_of(name)
    held = computed(network, lora=True, held=True, precision=precision, recompute=recompute)
    assert {p.dtype for n, p in network.named_parameters() if "lora_" in n} == {torch.float32}
    assert wide.keys() == held.keys()
    assert len(wide) > 4
    for key, value in wide.items():
        torch.testing.assert_close(held[key], value, rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("name", CONFIGS)
def test_trained_weights_in_bf16_get_the_gradients_of_float32_rounded(name: str) -> None:
    wide = computed(network_of(name), lora=False, held=False, precision="fp32")
    network = network_of(name)
    held = computed(network, lora=False, held=True, precision="fp32")
    torch.testing.assert_close(held.pop("logps"), wide.pop("logps"), rtol=0, atol=0)
    assert wide.keys() == held.keys()
    for key, value in wide.items():
        rounding = 2.0**-7 if network.get_parameter(key).dtype == torch.bfloat16 else 1e-5
        assert float((held[key].float() - value).norm() / value.norm()) < rounding, key


def test_weights_that_are_no_bf16_are_rounded_once_and_losses_stay_close() -> None:
    wide = computed(network_of("llama", in_bf16=False), lora=True, held=False, precision="fp32")
    held = computed(network_of("llama", in_bf16=False), lora=True, held=True, precision="fp32")
    difference = (held["logps"] - wide["logps"]).abs()
    assert 0 < float(difference.max()) < 0.05


@pytest.mark.parametrize(("name", "most"), [("llama", 0.51), ("tied", 0.51), ("gpt2", 0.53)])
def test_frozen_weights_take_half_the_memory(name: str, most: float) -> None:
    network = network_of(name).requires_grad_(False)
    before = sum(parameter.nbytes for parameter in network.parameters())
    hold_in_bf16(network)
    assert sum(parameter.nbytes for parameter in network.parameters()) < most * before
    head, table = network.get_output_embeddings().weight, network.get_input_embeddings().weight
    assert (head is table) == network.config.tie_word_embeddings


def test_backward_keeps_no_wider_copy_of_a_frozen_matrix() -> None:
    for recompute in (False, True):  # own steps, modules
        network = network_of("llama")
        packed = can_pack_policy(network)
        adapt(network, rank=4, num_layers=0, seed=1)
        hold_in_bf16(network)
        if recompute:
            network.takes_own_steps = False
        matrices = [p for p in network.parameters() if p.dtype == torch.bfloat16]
        kept: list[Tensor] = []

        def keep(tensor: Tensor, kept: list[Tensor] = kept) -> Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            completion_logps(network, trial_rows(network.config), packed=packed)
        copies = [
            tensor
            for tensor in kept
            if any(tensor.shape == matrix.shape and torch.equal(tensor.float(), matrix.float()) for matrix in matrices)
        ]
        assert len(copies) > 10
        assert {tensor.dtype for tensor in copies} == {torch.bfloat16}


def held_copy(module: nn.Module, kind: type[nn.Module]) -> Any:
    hold_in_bf16(module)
    assert type(module) is kind
    return module


def test_a_product_with_a_frozen_matrix_is_that_of_autograd() -> None:
    torch.manual_seed(0)
    for module, kind in ((nn.Linear(6, 5), HeldLinear), (Conv1D(5, 6), HeldConv1D)):
        module.weight.data = module.weight.data.bfloat16().float()
        module.requires_grad_(False)
        x = torch.randn(2, 3, 6, requires_grad=True)
        pulls = torch.randn(2, 3, 5)
        expected = module(x)
        (expected_gradient,) = torch.autograd.grad(expected, x, pulls)
        result = held_copy(module, kind)(x)
        (gradient,) = torch.autograd.grad(result, x, pulls)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(gradient, expected_gradient)
        assert x.grad is None


def test_the_gradient_of_a_table_is_summed_before_it_is_rounded() -> None:
    # 600 equal tokens pull by 1: a sum in bf16 would stop at 256, where the next number is 258.
    table = nn.Embedding(3, 2, padding_idx=0)
    hold_in_bf16(table, trained=True)
    assert type(table) is HeldEmbedding
    table(torch.tensor([1] * 600 + [0] * 5)).sum().backward()
    assert table.weight.grad is not None
    assert table.weight.grad.tolist() == [[0, 0], [600, 600], [0, 0]]  # padding gets none


def test_a_table_of_another_kind_stays_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_config(config_of("gemma", head_dim=8)).requires_grad_(False)
    with caplog.at_level(logging.WARNING):
        hold_in_bf16(network)
    assert "GemmaForCausalLM keeps" in caplog.text
    assert network.get_input_embeddings().weight.dtype == torch.float32  # it multiplies in its weight's format
    assert network.get_output_embeddings().weight.dtype == torch.float32  # the same weight
    assert network.model.layers[0].mlp.up_proj.weight.dtype == torch.bfloat16


class ReadsWeight(nn.Module):
    """Uses the matrix of its layer by itself, which a layer that holds bf16 does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.inner.weight


def test_a_network_that_cannot_be_run_so_is_an_error_or_stays_in_float32(caplog: pytest.LogCaptureFixture) -> None:
    network = ReadsWeight().requires_grad_(False)
    x = torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"ReadsWeight cannot be held in bf16 .*: give frozen_weights fp32"):
        hold_in_bf16(network, run=lambda: network(x))
    network = ReadsWeight().requires_grad_(False)
    with caplog.at_level(logging.WARNING):
        hold_in_bf16(network, must=False, run=lambda: network(x))
    assert "stays in fp32" in caplog.text
    assert type(network.inner) is nn.Linear
    assert network(x).dtype == torch.float32
