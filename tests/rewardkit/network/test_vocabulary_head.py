"""The blockwise head equals log-softmax of all logits, in value and gradient, and never holds all of them."""

from __future__ import annotations

import math
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rewardkit.network import vocabulary_head
from rewardkit.network.vocabulary_head import LogitForm, TokenLogps, token_logps

FORMS = {
    "plain": LogitForm(),
    "warm": LogitForm(temperature=1.7),
    "scaled": LogitForm(scale=0.25, temperature=0.5),
    "bounded": LogitForm(softcap=2.0),
    "bounded, scaled and cold": LogitForm(scale=3.0, softcap=2.0, temperature=0.5),
}


def make(num_tokens: int, width: int, vocabulary: int, *, bias: bool = True, dtype: torch.dtype = torch.float32):
    """Hidden states, a head and targets; some targets twice, one block of the vocabulary without any."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, width, generator=generator, dtype=dtype).requires_grad_()
    head = torch.nn.Linear(width, vocabulary, bias=bias, dtype=dtype)
    for parameter in head.parameters():
        parameter.data.normal_(generator=generator)
    targets = torch.randint(vocabulary // 2, vocabulary, (num_tokens,), generator=generator)
    targets[:2] = targets[-1]
    return hidden, head, targets


def naive(hidden: Tensor, head: torch.nn.Module, targets: Tensor, form: LogitForm) -> TokenLogps:
    """All logits at once, the definition."""
    logits = head(hidden).to(torch.promote_types(hidden.dtype, torch.float32)) * form.scale
    if form.softcap:
        logits = form.softcap * torch.tanh(logits / form.softcap)
    log_shares = (logits / form.temperature).log_softmax(-1)
    entropy = torch.distributions.Categorical(logits=log_shares).entropy()
    logps = log_shares[torch.arange(len(targets)), targets]
    return TokenLogps(logps=logps, entropy=entropy, log_squares=log_shares.detach().exp().square().sum(-1).log())


def gradients(logps: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
    weights = torch.linspace(-1.0, 2.0, len(logps), dtype=logps.dtype)
    return torch.autograd.grad((logps * weights).sum(), tensors, retain_graph=True)


def both(found: TokenLogps) -> Tensor:
    """Log-probabilities and entropies, with weights of their own."""
    assert found.entropy is not None
    return torch.cat((found.logps, found.entropy))


def test_hand_worked_logps() -> None:
    # logits (0, ln 2, ln 5) of a hidden state 1: shares 1/8, 2/8, 5/8
    head = torch.nn.Linear(1, 3, bias=False)
    head.weight.data = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    found = token_logps(torch.ones(3, 1), head, torch.tensor([2, 0, 1]), block=2, with_entropy=True, with_squares=True)
    torch.testing.assert_close(found.logps.exp(), torch.tensor([5 / 8, 1 / 8, 2 / 8]))
    # entropy: 1/8 ln 8 + 1/4 ln 4 + 5/8 ln (8/5) = 0.90026 nats
    assert found.entropy is not None
    torch.testing.assert_close(found.entropy, torch.full((3,), 0.900256), atol=1e-5, rtol=0)
    # squares: (1 + 4 + 25) / 64
    assert found.log_squares is not None
    torch.testing.assert_close(found.log_squares.exp(), torch.full((3,), 30 / 64))


def test_hand_worked_gradient() -> None:
    # as above: d logp(token 2) / d logits = (0, 0, 1) - (1/8, 2/8, 5/8); the hidden state's is its product with W
    head = torch.nn.Linear(1, 3, bias=False)
    head.weight.data = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    hidden = torch.ones(1, 1, requires_grad=True)
    token_logps(hidden, head, torch.tensor([2]), block=2).logps.sum().backward()
    torch.testing.assert_close(head.weight.grad, torch.tensor([[-1 / 8], [-2 / 8], [3 / 8]]))
    torch.testing.assert_close(hidden.grad, torch.tensor([[-2 / 8 * math.log(2) + 3 / 8 * math.log(5)]]))


def test_hand_worked_gradient_of_the_entropy() -> None:
    # as above, H = 0.900256: d H / d logits = -p (ln p + H) = (0.147398, 0.121510, -0.268908), which add up to 0
    head = torch.nn.Linear(1, 3, bias=False)
    head.weight.data = torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    found = token_logps(torch.ones(1, 1), head, torch.tensor([2]), block=2, with_entropy=True)
    assert found.entropy is not None
    found.entropy.sum().backward()
    expected = torch.tensor([[0.147398], [0.121510], [-0.268908]])
    torch.testing.assert_close(head.weight.grad, expected, atol=1e-5, rtol=0.0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kept", [0, 10**9], ids=["made again", "kept"])
def test_equals_the_naive_head(form: LogitForm, bias: bool, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_head, "KEPT_BYTES", kept)
    hidden, head, targets = make(23, 16, 150, bias=bias)
    tensors = (hidden, *head.parameters())
    expected = naive(hidden, head, targets, form)
    expected_gradients = gradients(expected.logps, *tensors)
    expected_both = gradients(both(expected), *tensors)
    for block in (1, 40, 150, 4096):
        found = token_logps(hidden, head, targets, form=form, block=block, with_entropy=True, with_squares=True)
        torch.testing.assert_close(found.log_squares, expected.log_squares, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.logps, expected.logps, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-5, rtol=1e-5)
        of_logps, of_both = gradients(found.logps, *tensors), gradients(both(found), *tensors)
        for one, other in zip(of_logps, expected_gradients, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
        for one, other in zip(of_both, expected_both, strict=True):  # logits of 20 in float32, times themselves
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_gradcheck(form: LogitForm) -> None:
    hidden, head, targets = make(4, 3, 7, dtype=torch.float64)

    def run(states: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        return vocabulary_head._BlockwiseLogps.apply(states, weight, bias, targets, form, 3, 0, True, False)[:2]

    assert torch.autograd.gradcheck(run, (hidden, head.weight, head.bias))


def test_adapters_on_the_head_are_followed() -> None:
    hidden, head, targets = make(23, 16, 150)
    adapted = get_peft_model(torch.nn.Sequential(head), LoraConfig(r=4, target_modules=["0"], lora_dropout=0.0))
    lora = adapted.get_submodule("base_model.model.0")
    trained = [parameter for parameter in lora.parameters() if parameter.requires_grad]
    assert len(trained) == 2
    for parameter in trained:
        torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    form = FORMS["bounded, scaled and cold"]
    found = token_logps(hidden, lora, targets, form=form, block=30, with_entropy=True, with_squares=True)
    expected = naive(hidden, lora, targets, form)
    torch.testing.assert_close(found.log_squares, expected.log_squares, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.logps, expected.logps, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy, expected.entropy, atol=1e-5, rtol=1e-5)
    for one, other in zip(
        gradients(both(found), hidden, *trained), gradients(both(expected), hidden, *trained), strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_frozen_head_gets_no_gradient() -> None:
    hidden, head, targets = make(23, 16, 150)
    head.requires_grad_(False)
    token_logps(hidden, head, targets, block=40).logps.sum().backward()
    (expected,) = torch.autograd.grad(naive(hidden, head, targets, LogitForm()).logps.sum(), hidden)
    torch.testing.assert_close(hidden.grad, expected, atol=1e-5, rtol=1e-5)
    assert head.weight.grad is None


def test_bf16_autocast_stays_close() -> None:
    hidden, head, targets = make(200, 64, 500)
    head.weight.data /= 8.0  # logits of standard deviation 1
    expected = naive(hidden, head, targets, LogitForm())
    with torch.autocast("cpu", torch.bfloat16):
        found = token_logps(hidden, head, targets, block=128, with_entropy=True)
    assert found.logps.dtype == torch.float32
    torch.testing.assert_close(found.logps, expected.logps, atol=0.03, rtol=0.0)  # logits up to 4 rounded to 1/128
    tensors = (hidden, *head.parameters())
    assert found.entropy is not None
    assert expected.entropy is not None
    for ours, theirs, most in ((found.logps, expected.logps, 0.01), (found.entropy, expected.entropy, 0.02)):
        for one, other in zip(gradients(ours, *tensors), gradients(theirs, *tensors), strict=True):
            assert one.dtype == torch.float32
            assert (one - other).norm() < most * other.norm()


def test_the_gradient_of_a_certain_token_survives_bf16() -> None:
    # p = 1 - 4.5e-5 of the target: 1 - p must not be rounded to 0, as p rounded to bf16 would make it
    head = torch.nn.Linear(1, 2, bias=False, dtype=torch.bfloat16)
    head.weight.data = torch.tensor([[10.0], [0.0]], dtype=torch.bfloat16)
    hidden = torch.ones(1, 1, dtype=torch.bfloat16, requires_grad=True)
    token_logps(hidden, head, torch.tensor([0])).logps.sum().backward()
    assert head.weight.grad is not None
    torch.testing.assert_close(head.weight.grad.float(), torch.tensor([[4.54e-5], [-4.54e-5]]), atol=0, rtol=0.01)


class _Largest(TorchDispatchMode):
    """Remembers the largest number of elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize("adapted", [False, True], ids=["plain", "adapted"])
def test_logits_are_never_held_at_once(adapted: bool) -> None:
    hidden, head, targets = make(300, 4, 1000)
    module = torch.nn.Sequential(head) if adapted else head
    if adapted:
        module.weight = head.weight  # what a LoRA layer shows of the layer within
    with _Largest() as largest:
        token_logps(hidden, module, targets, block=50).logps.sum().backward()
    assert largest.elements <= 300 * 50  # and not 300 x 1000
    assert hidden.grad is not None


def test_kept_logits_stay_within_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, head, targets = make(100, 4, 1000)
    monkeypatch.setattr(vocabulary_head, "KEPT_BYTES", 2 * 100 * 50 * 4)  # two blocks of fifty
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        token_logps(hidden, head, targets, block=50)
    assert sum(tensor.shape == (100, 50) for tensor in saved) == 2


class _Alive(TorchDispatchMode):
    """Counts the blocks of logits that are alive at once, at most."""

    def __init__(self, num_elements: int) -> None:
        super().__init__()
        self.num_elements, self.found, self.most = num_elements, [], 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.numel() == self.num_elements:
            self.found.append(weakref.ref(result))
        self.most = max(self.most, sum(each() is not None for each in self.found))
        return result


def test_without_gradient_no_logits_are_kept() -> None:
    hidden, head, targets = make(100, 4, 1000)
    with _Alive(100 * 50) as trained:
        token_logps(hidden, head, targets, block=50)
    with torch.no_grad(), _Alive(100 * 50) as scored:
        token_logps(hidden, head, targets, block=50)
    assert trained.most >= 20
    assert scored.most <= 5


def test_no_tokens_give_no_logps() -> None:
    hidden, head, targets = make(5, 4, 100)
    found = token_logps(hidden[:0], head, targets[:0], with_entropy=True)
    found.logps.sum().backward()
    assert found.logps.shape == (0,)
    assert head.weight.grad is not None
    assert not head.weight.grad.any()


def test_an_empty_block_is_refused() -> None:
    with pytest.raises(ValueError, match="block is 0"):
        token_logps(*make(5, 4, 100), block=0)


@pytest.mark.parametrize("with_adapters", [False, True])
def test_a_target_is_top_where_no_token_is_likelier(with_adapters: bool) -> None:
    hidden, head, targets = make(40, 8, 21)
    logits = head(hidden)
    targets[::3] = logits.argmax(-1)[::3]
    module = torch.nn.Sequential(head) if with_adapters else head
    if with_adapters:
        module.weight = head.weight
    found = token_logps(hidden, module, targets, block=4, with_entropy=True)
    assert found.is_top is not None
    assert found.is_top.tolist() == (logits.argmax(-1) == targets).tolist()
    assert 14 <= int(found.is_top.sum()) < 40
    assert token_logps(hidden, module, targets, block=4).is_top is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_gives_the_same(dtype: torch.dtype) -> None:
    hidden, head, targets = make(300, 64, 5000)
    head.weight.data /= 8.0
    expected = naive(hidden, head, targets, LogitForm())
    expected_gradients = gradients(expected.logps, hidden, *head.parameters())
    states, head = hidden.detach().cuda().requires_grad_(), head.cuda()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        found = token_logps(states, head, targets.cuda(), with_entropy=True)
    is_exact = dtype == torch.float32
    torch.testing.assert_close(found.logps.cpu(), expected.logps, atol=1e-4 if is_exact else 0.05, rtol=0.0)
    weights = torch.linspace(-1.0, 2.0, 300, device="cuda")
    found_gradients = torch.autograd.grad((found.logps * weights).sum(), (states, *head.parameters()))
    for one, other in zip(found_gradients, expected_gradients, strict=True):
        assert (one.cpu() - other).norm() < (1e-4 if is_exact else 0.02) * other.norm()
