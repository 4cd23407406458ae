"""Gradients of DPO with weighted pairs and with surplus tokens that count less: those of the formula on all logits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import toy_rows, toy_update, weights_of
from torch import Tensor

from alignment.config.training import DpoConfig
from alignment.offline.dpo import DpoLoss
from alignment.offline.objective import PolicyObjective
from alignment.policy.reference import with_reference
from alignment.policy.rows import PolicyRows
from rewardkit.training.loop import sum_parts

PAIRS = toy_rows(6, 2)


def rows_of_pairs() -> PolicyRows:
    return PolicyRows(
        rows=PAIRS,
        keep=None,
        weight=torch.ones(6),
        p_chosen=torch.ones(6),
        margin=torch.zeros(6),
        desirable=torch.ones(6, dtype=torch.bool),
        prompts=[()] * 6,
    )


def naive(network: Any, ld_alpha: float) -> tuple[Tensor, Tensor]:
    """(6, 2) sums of log-probabilities and aligned weights, a completion at a time, from all logits."""
    sums, weights = [], []
    for row in PAIRS:
        shorter = min(len(branch) for branch in row.branches)
        for branch in row.branches:
            ids = torch.tensor([row.prompt + branch])
            shares = network(input_ids=ids).logits[0, len(row.prompt) - 1 : -1].log_softmax(-1)
            logps = shares.gather(1, torch.tensor(branch)[:, None])[:, 0]
            sums.append(logps[:shorter].sum() + ld_alpha * logps[shorter:].sum())
            expected = shares.detach().exp().square().sum(-1)  # probability of a sampled token
            weights.append((logps.detach() - expected.log()).mean().exp())
    return torch.stack(sums).view(6, 2), torch.stack(weights).view(6, 2)


@pytest.mark.parametrize(("use_weighting", "ld_alpha"), [(True, 1.0), (False, 0.3), (True, 0.3)])
def test_the_gradient_is_that_of_the_formula(use_weighting: bool, ld_alpha: float, tmp_path: Path) -> None:
    ours, other = toy_update(token_budget=64), toy_update()
    config = DpoConfig(model="m", data="d", out="o", use_weighting=use_weighting, ld_alpha=ld_alpha, beta=0.5)
    forward = replace(ours.forward, ld_alpha=ld_alpha)
    plain = replace(forward, ld_alpha=1.0)
    (rows,) = with_reference(rows_of_pairs(), forward=forward, cache_dir=tmp_path, is_first=True)
    (others,) = with_reference(rows_of_pairs(), forward=plain, cache_dir=tmp_path, is_first=True)  # no file of theirs
    assert rows.reference is not None
    assert others.reference is not None
    assert torch.equal(rows.reference, others.reference) == (ld_alpha == 1.0)
    for update in (ours, other):  # away from the reference
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in update.forward.network.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    objective = PolicyObjective(forward=forward, loss=DpoLoss(config, forward, None), rows=rows, held_out=rows)
    sums = sum_parts(objective, range(6), measures=False, learns=True)
    ours.optimizer.step()
    network = other.forward.network
    network.set_attn_implementation("sdpa")
    policy, weights = naive(network, ld_alpha)
    ratios = policy - rows.reference
    losses = -torch.nn.functional.logsigmoid(0.5 * (ratios[:, 0] - ratios[:, 1]))
    if use_weighting:
        losses = losses * weights.prod(1)
    losses.mean().backward()
    other.optimizer.step()
    assert float(sums[0, 0]) / 6 == pytest.approx(float(losses.detach().mean()), rel=1e-5)
    torch.testing.assert_close(weights_of(ours), weights_of(other), atol=2e-6, rtol=1e-4)
