"""What lies on the CPU between uses is the same bit for bit; on a GPU it takes no memory there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from rewardkit.weights.offload import Away, activations_away


def test_a_module_away_comes_for_its_use_and_is_not_copied_back() -> None:
    module = nn.Linear(3, 2).requires_grad_(False)
    module.register_buffer("scale", torch.ones(2))
    tensors = [*module.parameters(), *module.buffers()]
    places = [tensor.data_ptr() for tensor in tensors]
    values = [tensor.clone() for tensor in tensors]
    away = Away(module, torch.float64)  # pyright: ignore[reportArgumentType]  # stands for another device

    def use() -> None:
        with away.here():
            assert {tensor.dtype for tensor in (*module.parameters(), *module.buffers())} == {torch.float64}
            raise KeyError("a use that fails")

    with pytest.raises(KeyError):
        use()
    assert [tensor.data_ptr() for tensor in tensors] == places
    assert all(torch.equal(tensor, value) for tensor, value in zip(tensors, values, strict=True))


def test_on_a_cpu_nothing_is_moved() -> None:
    module = nn.Linear(3, 2)
    away = Away(module, torch.device("cpu"))
    place = module.weight.data_ptr()
    with away.here():
        assert module.weight.data_ptr() == place
    kept = torch.randn(600, 600, requires_grad=True)
    with activations_away(True, module):
        result = kept.exp()
    assert result.grad_fn is not None
    assert result.grad_fn._saved_result.data_ptr() == result.data_ptr()  # pyright: ignore


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_activations_leave_a_gpu_and_gradients_are_the_same() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(*[layer for _ in range(8) for layer in (nn.Linear(1024, 1024), nn.GELU())]).cuda()
    x = torch.randn(4096, 1024, device="cuda")
    held, gradients = [], []
    for asked in (False, True):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        with activations_away(asked, layers):
            loss = layers(x).square().mean()
        held.append(torch.cuda.memory_allocated() - before)
        layers.zero_grad()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in layers.parameters() if parameter.grad is not None])
    assert held[1] < 0.1 * held[0]
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
