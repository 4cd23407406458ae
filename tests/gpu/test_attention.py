"""Attention and log-probabilities of packed rows on a GPU are those of every row alone on a CPU, gradients too."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from rewardkit.network import attention
from rewardkit.network.classifier import RewardScorer, load_classifier
from rewardkit.network.layout import attended_plainly
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.models import adapt, load_network, recompute_activations
from rewardkit.network.packed_rows import Branched, pack
from rewardkit.network.tokens import load_tokenizer

pytestmark = pytest.mark.gpu
SHORT = [(3, (2, 4))]
LONG = [(40, (30, 60)), (7, (90,)), (25, (9, 14, 20, 3)), (1, (1, 1)), (130, (40, 70))]
LAYOUTS = {"short": SHORT, "long": LONG}


def rows_of(lengths: list[tuple[int, tuple[int, ...]]]) -> list[Branched]:
    """Rows of tokens that differ."""
    tokens = iter(range(7, 10**6))
    return [
        Branched(
            prompt=tuple(next(tokens) % 200 + 5 for _ in range(prompt)),
            branches=tuple(tuple(next(tokens) % 191 + 5 for _ in range(length)) for length in branches),
        )
        for prompt, branches in lengths
    ]


def by_hand(query: Tensor, key: Tensor, value: Tensor, rows: list[Branched]) -> Tensor:
    """softmax(Q K^T / sqrt(D)) V with the whole mask, in (M, T, H, D)."""
    mask = torch.block_diag(*(attention.tree_mask(row).float() for row in rows)).bool()
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(1, 4, 4, 32), (1, 6, 2, 64), (3, 4, 2, 32), (1, 4, 2, 8)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_packed_attention_is_that_by_hand(
    layout: str, shape: tuple[int, int, int, int], dtype: torch.dtype, device: torch.device
) -> None:
    members, heads, key_heads, width = shape
    rows = rows_of(LAYOUTS[layout])
    batch = pack(rows)
    torch.manual_seed(0)
    sizes = ((members, count, batch.num_tokens, width) for count in (heads, key_heads, key_heads))
    parts = [torch.randn(size) for size in sizes]
    exact = [part.clone().requires_grad_() for part in parts]
    expected = by_hand(*exact, rows)
    expected.square().sum().backward()
    asked = [part.to(device, dtype).requires_grad_() for part in parts]
    with attention.packed_rows(batch):
        attended = attention.attend_rows(*asked, width**-0.5)
    attended.float().square().sum().backward()
    share = 1e-4 if dtype == torch.float32 else 0.03
    pairs = [(attended, expected), *((one.grad, other.grad) for one, other in zip(asked, exact, strict=True))]
    for one, other in pairs:
        assert one is not None
        assert other is not None
        assert (one.detach().float().cpu() - other.detach()).norm() <= share * other.detach().norm()


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logps_and_gradients_are_those_of_a_cpu(
    precision: str, rank: int, checkpointed: bool, files, device: torch.device
) -> None:
    tokenizer = load_tokenizer(files.policy, own_pad=False)
    rows = rows_of(LONG)
    found = []
    for place, dtype in ((torch.device("cpu"), "fp32"), (device, precision)):
        network = load_network(files.policy, tokenizer)
        if rank:
            adapt(network, rank=rank, num_layers=0, seed=0, task="CAUSAL_LM")
            for name, parameter in network.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.constant_(parameter, 0.02)
        network.to(place)
        if checkpointed:
            recompute_activations(network)
            network.train()
        assert can_pack_policy(network)
        with torch.autocast(place.type, torch.bfloat16, enabled=dtype == "bf16"):
            logps = completion_logps(network, rows, packed=True, with_entropy=True)
        (-logps.sums()).sum().backward()
        gradients = [parameter.grad.cpu() for parameter in network.parameters() if parameter.grad is not None]
        found.append((logps.token_logps.detach().cpu(), torch.cat([one.flatten() for one in gradients])))
    (one, one_gradient), (other, other_gradient) = found
    tolerance = 1e-3 if precision == "fp32" else 0.05
    assert (one - other).abs().max() <= tolerance * one.abs().max()
    assert (one_gradient - other_gradient).norm() <= tolerance * one_gradient.norm()


def test_scores_are_those_of_plain_transformers(files, device: torch.device) -> None:
    tokenizer = load_tokenizer(files.reward)
    scorer = RewardScorer(load_classifier(files.reward, tokenizer, dtype=torch.float32)).placed(device)
    scorer.take_own_head()
    assert scorer.packed
    plain = AutoModelForSequenceClassification.from_pretrained(files.reward, dtype=torch.float32)
    plain.config.pad_token_id = None
    rows = rows_of(LONG)
    with torch.no_grad():
        scores = scorer(rows)[0].cpu()
        whole = [row.prompt + branch for row in rows for branch in row.branches]
        expected = torch.cat([plain(torch.tensor([ids])).logits[:, 0] for ids in whole])
    torch.testing.assert_close(scores, expected, rtol=1e-3, atol=1e-3)
    scorer.layout = "padded"
    with torch.no_grad(), attended_plainly(scorer.classifier):
        torch.testing.assert_close(scorer(rows)[0].cpu(), expected, rtol=1e-3, atol=1e-3)
