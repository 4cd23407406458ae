"""The largest ratio where the advantage is negative: by hand, as both papers write it, its gradient, refusals."""

from __future__ import annotations

import pytest
import torch

from alignment.config.online import PpoConfig
from alignment.config.policy_gradient_names import PolicyLossOptions
from alignment.losses.policy_gradient import CompletionTokens, clipped_surrogate, ppo_loss

RATIO, ADVANTAGES = torch.tensor([5.0, 2.0, 0.5, 5.0, 1.1]), torch.tensor([-1.0, -1.0, -1.0, 1.0, -2.0])


def test_by_hand() -> None:
    """c = 3, clip 0.2: 5 counts as 3, 2 stays, 0.5 as 0.8; with a positive advantage 5 counts as 1.2; 1.1 twice."""
    found = clipped_surrogate(RATIO, ADVANTAGES, clip_low=0.2, clip_high=0.2, delta=3.0)
    torch.testing.assert_close(found.losses, torch.tensor([3.0, 2.0, 0.8, -1.2, 2.2]))
    free = clipped_surrogate(RATIO, ADVANTAGES, clip_low=0.2, clip_high=0.2)
    torch.testing.assert_close(free.losses, torch.tensor([5.0, 2.0, 0.8, -1.2, 2.2]))


def test_dual_clip_and_two_sided_clipping_are_one() -> None:
    """Ye et al. write max(min(A r, A clip), A c) where A < 0 and INTELLECT-2 min(A min(r, delta), A clip)."""
    generator = torch.Generator().manual_seed(0)
    ratio = (6 * torch.rand(500, generator=generator, dtype=torch.float64)).requires_grad_()
    advantages = torch.randn(500, generator=generator, dtype=torch.float64)
    ours = clipped_surrogate(ratio, advantages, clip_low=0.2, clip_high=0.28, delta=3.0).losses
    plain = torch.minimum(advantages * ratio, advantages * ratio.clamp(0.8, 1.28))
    dual = -torch.where(advantages < 0, torch.maximum(plain, advantages * 3.0), plain)
    two_sided = -torch.minimum(advantages * ratio.clamp_max(3.0), advantages * ratio.clamp(0.8, 1.28))
    slopes = [torch.autograd.grad(each.sum(), ratio, retain_graph=True)[0] for each in (ours, dual, two_sided)]
    for loss, slope in ((dual, slopes[1]), (two_sided, slopes[2])):
        torch.testing.assert_close(ours, loss)
        torch.testing.assert_close(slopes[0], slope)
    assert (slopes[0] == 0).sum() > (ratio > 3.0).sum()


def test_ppo_takes_it() -> None:
    tokens = CompletionTokens(
        logps=RATIO.log(), old_logps=torch.zeros(5), branch=torch.zeros(5, dtype=torch.int64), lengths=torch.tensor([5])
    )
    assert float(ppo_loss(tokens, ADVANTAGES, clip_range=0.2, delta=3.0).losses) == pytest.approx(6.8, rel=1e-5)


def test_a_limit_within_the_clip_is_refused() -> None:
    with pytest.raises(ValueError, match=r"delta is 1.2, allowed is more than .* 1.28"):
        PolicyLossOptions(loss="dapo", delta=1.2)
    with pytest.raises(ValueError, match="loss cispo has no delta"):
        PolicyLossOptions(loss="cispo", delta=9.0)
    with pytest.raises(ValueError, match=r"delta is 1.0"):
        PpoConfig(model="m", prompts="p", out="o", reward=["json"], delta=1.0)
