"""Losses of PPO and the GRPO family: by hand, against loops, limits, gradients, and no trace of how a step is split."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from alignment.config.policy_gradient_names import POLICY_LOSSES, PolicyLossName, PolicyLossOptions
from alignment.losses.advantages import group_advantages, without_signal
from alignment.losses.policy_gradient import (
    CompletionTokens,
    PolicyLoss,
    capped_surrogate,
    clipped_surrogate,
    loss_total,
    policy_loss,
    ppo_loss,
    reinforce_surrogate,
)

NAMES = tuple(POLICY_LOSSES)
MAX_LENGTH = 12


def one(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_tokens(num_branches: int = 8, *, seed: int = 0, moved: float = 0.5, **given: Any) -> CompletionTokens:
    """Completions of 1 to 12 tokens, float64; `moved` is how far the policy is from the one that drew them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, MAX_LENGTH + 1, (num_branches,), generator=generator)
    count = int(lengths.sum())
    logps = -2.0 * torch.rand(count, generator=generator, dtype=torch.float64) - 0.1
    steps = moved * torch.randn(count, generator=generator, dtype=torch.float64)
    other = logps + torch.randn(count, generator=generator, dtype=torch.float64)
    return CompletionTokens(
        logps=logps.requires_grad_(),
        old_logps=logps.detach() - steps,
        branch=torch.arange(num_branches).repeat_interleave(lengths),
        lengths=lengths,
        reference_logps=other.detach(),
        weights=0.5 + torch.rand(count, generator=generator, dtype=torch.float64),
        **given,
    )


def random_advantages(num_branches: int = 8, *, seed: int = 1) -> Tensor:
    return torch.randn(num_branches, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some(tokens: CompletionTokens, chosen: list[int]) -> CompletionTokens:
    """The tokens of some completions, as a micro-batch of their own."""
    at = torch.isin(tokens.branch, torch.tensor(chosen))
    lengths = tokens.lengths[chosen]

    def part(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[at]

    return CompletionTokens(
        logps=tokens.logps[at],
        old_logps=tokens.old_logps[at],
        branch=torch.arange(len(chosen)).repeat_interleave(lengths),
        lengths=lengths,
        reference_logps=part(tokens.reference_logps),
        weights=part(tokens.weights),
        kept=None if tokens.kept is None else tokens.kept[chosen],
    )


def gradient(loss: Tensor, tokens: CompletionTokens) -> Tensor:
    return torch.autograd.grad(loss, tokens.logps, retain_graph=True)[0]


def step_loss(tokens: CompletionTokens, advantages: Tensor, options: PolicyLossOptions) -> Tensor:
    total = loss_total(options.loss, tokens.lengths, max_length=MAX_LENGTH, kept=tokens.kept)
    return policy_loss(tokens, advantages, options).losses.sum() / total


# By hand: ratios 2 and 1/2 with both signs of advantage, bounds 0.8 and 1.28.
#   A = 1, r = 2: gains no more than 1.28.  A = 1, r = 1/2: -1/2, the unclipped, worse one.
#   A = -1, r = 2: +2, unclipped, worse.   A = -1, r = 1/2: held at 0.8.
def test_clipped_surrogate_by_hand() -> None:
    ratio = one(2.0, 0.5, 2.0, 0.5).requires_grad_()
    found = clipped_surrogate(ratio, one(1, 1, -1, -1), clip_low=0.2, clip_high=0.28)
    assert found.losses.tolist() == pytest.approx([-1.28, -0.5, 2.0, 0.8])
    assert found.clipped_high.tolist() == [1, 0, 0, 0]
    assert found.clipped_low.tolist() == [0, 0, 0, 1]
    (slope,) = torch.autograd.grad(found.losses.sum(), ratio)
    assert slope.tolist() == [0.0, -1.0, 1.0, 0.0]  # none where clipped, else -A


def test_capped_surrogate_by_hand() -> None:
    # weights min(2, 1.5) and 1/2: -1.5 x 3 x -1 = 4.5 and -0.5 x -2 x -4 = -4; the gradient is -w A, in both
    logps = one(-1.0, -4.0).requires_grad_()
    found = capped_surrogate(logps, one(2.0, 0.5), one(3, -2), clip_high=0.5)
    assert found.losses.tolist() == [4.5, -4.0]
    assert found.clipped_high.tolist() == [1, 0]
    assert torch.autograd.grad(found.losses.sum(), logps)[0].tolist() == [-4.5, 1.0]


def test_reinforce_surrogate_by_hand() -> None:
    logps = one(-1.0, -4.0).requires_grad_()
    found = reinforce_surrogate(logps, one(3, -2))
    assert found.losses.tolist() == [3.0, -8.0]
    assert torch.autograd.grad(found.losses.sum(), logps)[0].tolist() == [-3.0, 2.0]


# Completion 0: two tokens, ratios 2 and 1/2, A = 1; completion 1: one token, ratio 2, A = -1; bounds 0.8 and 1.2.
# Tokens: -1.2, -0.5; 2. Log-probabilities: -1, -2; -3. dr_grpo's longest completion may have 12 tokens.
BY_HAND: dict[PolicyLossName, tuple[list[float], float]] = {
    "grpo": ([-0.85, 2.0], 2.0),
    "dr_grpo": ([-1.7, 2.0], 24.0),
    "dapo": ([-1.78, 2.0], 3.0),  # 1.28 above
    "bnpo": ([-1.7, 2.0], 3.0),
    "gspo": ([-1.0, 2.0], 2.0),  # exp of the mean of ln 2 and -ln 2 is 1
    "cispo": ([2 + 0.5 * 2, -2 * 3], 3.0),
    "rloo": ([-1.0, 2.0], 2.0),  # the product of 2 and 1/2 is 1
    "reinforce": ([3.0, -3.0], 2.0),
    "reinforce_pp": ([-1.7, 2.0], 3.0),
    "reinforce_pp_baseline": ([-1.7, 2.0], 3.0),
}


@pytest.mark.parametrize("name", NAMES)
def test_losses_by_hand(name: PolicyLossName) -> None:
    logps = one(-1, -2, -3)
    tokens = CompletionTokens(
        logps=logps,
        old_logps=logps - torch.log(one(2, 0.5, 2)),
        branch=torch.tensor([0, 0, 1]),
        lengths=torch.tensor([2, 1]),
    )
    losses, total = BY_HAND[name]
    assert policy_loss(tokens, one(1, -1), PolicyLossOptions(loss=name)).losses.tolist() == pytest.approx(losses)
    assert loss_total(name, tokens.lengths, max_length=12) == total


def looped(tokens: CompletionTokens, advantages: Tensor, options: PolicyLossOptions) -> list[float]:
    """Each completion's loss with Python's numbers, token by token."""
    assert tokens.reference_logps is not None
    assert tokens.weights is not None
    found = []
    for branch, advantage in enumerate(advantages.tolist()):
        at = (tokens.branch == branch).nonzero()[:, 0].tolist()
        logps, old, reference, weights = (
            [float(values.detach()[place]) for place in at]
            for values in (tokens.logps, tokens.old_logps, tokens.reference_logps, tokens.weights)
        )
        differences = [new - then for new, then in zip(logps, old, strict=True)]
        length, name = len(at), options.loss
        surrogates = []
        for logp, difference in zip(logps, differences, strict=True):
            if name == "gspo":
                ratio = math.exp(sum(differences) / length)
            elif name == "rloo":
                ratio = math.exp(sum(differences))
            else:
                ratio = math.exp(difference)
            if name == "reinforce":
                surrogates.append(-advantage * logp)
            elif name == "cispo":
                surrogates.append(-min(ratio, 1 + options.above) * advantage * logp)
            else:
                held = min(max(ratio, 1 - options.below), 1 + options.above)
                surrogates.append(-min(ratio * advantage, held * advantage))
        loss = sum(weight * each for weight, each in zip(weights, surrogates, strict=True))
        if name == "rloo":
            loss /= length
        for logp, difference, other in zip(logps, differences, reference, strict=True):
            d = logp - other
            k = {"k1": d, "k2": d * d / 2, "k3": math.exp(-d) - 1 + d}[options.kl_estimator]
            loss += options.beta * k * (math.exp(difference) if options.kl_weighted else 1.0)
        found.append(loss / length if name in ("grpo", "gspo") else loss)
    return found


@pytest.mark.parametrize("kl", [("k1", True), ("k2", True), ("k3", True), ("k2", False), ("k3", False)])
@pytest.mark.parametrize("name", NAMES)
def test_against_a_loop(name: PolicyLossName, kl: tuple[Any, bool]) -> None:
    options = PolicyLossOptions(loss=name, beta=0.3, kl_estimator=kl[0], kl_weighted=kl[1])
    tokens, advantages = random_tokens(), random_advantages()
    found = policy_loss(tokens, advantages, options)
    assert found.losses.tolist() == pytest.approx(looped(tokens, advantages, options), rel=1e-10)


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("name", NAMES)
def test_no_split_changes_a_step(name: PolicyLossName, beta: float) -> None:
    options = PolicyLossOptions(loss=name, beta=beta)
    kept = torch.tensor([True, True, False, True, True, True, False, True])
    tokens, advantages = random_tokens(kept=kept), random_advantages()
    whole = step_loss(tokens, advantages, options)
    total = loss_total(name, tokens.lengths, max_length=MAX_LENGTH, kept=kept)
    splits: list[list[list[int]]] = [
        [[0, 1, 2, 3, 4, 5], [6, 7]],
        [[each] for each in range(8)],
        [[1, 6], [0, 2, 3, 4, 5, 7]],
    ]
    for split in splits:
        parts = [policy_loss(some(tokens, part), advantages[part], options).losses.sum() for part in split]
        summed = torch.stack(parts).sum() / total
        torch.testing.assert_close(summed, whole)
        torch.testing.assert_close(gradient(summed, tokens), gradient(whole, tokens))
        totals = [loss_total(name, tokens.lengths[part], max_length=MAX_LENGTH, kept=kept[part]) for part in split]
        assert sum(totals) == total


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name: PolicyLossName) -> None:
    options = PolicyLossOptions(loss=name, beta=0.3, kl_estimator="k3")
    tokens, advantages = random_tokens(3), random_advantages(3)
    if name == "cispo":  # its ratio is a weight without gradient, which differences of losses would see
        found = policy_loss(
            replace(tokens, reference_logps=None, weights=None), advantages, PolicyLossOptions(loss=name)
        )
        weight = found.ratio.clamp_max(5.0)
        expected = -weight * advantages[tokens.branch]
        torch.testing.assert_close(gradient(found.losses.sum(), tokens), expected)
        return

    def losses(logps: Tensor) -> Tensor:
        return policy_loss(replace(tokens, logps=logps), advantages, options).losses

    assert torch.autograd.gradcheck(losses, (tokens.logps,))


class TestFirstPass:
    """On fresh samples: the policy is the one that drew them."""

    rewards = torch.randn(2, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    tokens = random_tokens(moved=0.0)
    fresh = replace(tokens, weights=None, reference_logps=None)

    def loss(self, name: PolicyLossName) -> tuple[PolicyLoss, Tensor]:
        options = PolicyLossOptions(loss=name)
        advantages = group_advantages(self.rewards, baseline=options.subtracted, scale=options.divisor).flatten()
        return policy_loss(self.fresh, advantages, options), advantages

    @pytest.mark.parametrize("name", NAMES)
    def test_every_ratio_is_exactly_1_and_nothing_is_clipped(self, name: PolicyLossName) -> None:
        found, _ = self.loss(name)
        assert bool((found.ratio == 1.0).all())
        assert not found.clipped_low.any()
        assert not found.clipped_high.any()
        assert not found.approx_kl("k3").any()

    @pytest.mark.parametrize("name", ["grpo", "gspo", "rloo"])
    def test_means_over_completions_are_0(self, name: PolicyLossName) -> None:
        found, _ = self.loss(name)
        assert float(found.losses.detach().sum()) == pytest.approx(0.0, abs=1e-12)
        assert float(gradient(found.losses.sum(), self.tokens).abs().max()) > 0.01

    @pytest.mark.parametrize("name", ["dapo", "bnpo", "dr_grpo"])
    def test_sums_over_tokens_are_minus_advantage_times_length(self, name: PolicyLossName) -> None:
        found, advantages = self.loss(name)
        loss = float(found.losses.detach().sum())
        assert loss == pytest.approx(-float((advantages * self.tokens.lengths).sum()))
        assert abs(loss) > 0.1
        assert float(gradient(found.losses.sum(), self.tokens).abs().max()) > 0.01

    @pytest.mark.parametrize("name", ["rloo", "cispo", "dapo", "bnpo", "dr_grpo"])
    def test_the_gradient_is_that_of_reinforce(self, name: PolicyLossName) -> None:
        advantages = random_advantages()
        found = policy_loss(self.fresh, advantages, PolicyLossOptions(loss=name)).losses.sum()
        plain = policy_loss(self.fresh, advantages, PolicyLossOptions(loss="reinforce")).losses.sum()
        torch.testing.assert_close(gradient(found, self.tokens), gradient(plain, self.tokens))


def test_equal_log_probabilities_have_ratio_1_however_small_they_are() -> None:
    logps = torch.tensor([-1e-8, -3.3, -1e4])
    tokens = CompletionTokens(logps=logps, old_logps=logps, branch=torch.zeros(3).long(), lengths=torch.tensor([3]))
    for name in NAMES:
        assert policy_loss(tokens, torch.ones(1), PolicyLossOptions(loss=name)).ratio.tolist() == [1.0, 1.0, 1.0]


class TestLimits:
    """Where variants coincide."""

    def losses(self, name: PolicyLossName, tokens: CompletionTokens) -> Tensor:
        options = PolicyLossOptions(loss=name, beta=0.1, clip_low=0.2, clip_high=0.28)
        return step_loss(tokens, random_advantages(), options)

    def equally_long(self, length: int) -> CompletionTokens:
        logps, old, reference = -3.0 * torch.rand(
            3, 8 * length, generator=torch.Generator().manual_seed(0), dtype=torch.float64
        )
        return CompletionTokens(
            logps=logps,
            old_logps=old,
            branch=torch.arange(8).repeat_interleave(length),
            lengths=torch.full((8,), length),
            reference_logps=reference,
        )

    def test_grpo_equals_dapo_and_bnpo_where_lengths_are_equal(self) -> None:
        tokens = self.equally_long(5)
        torch.testing.assert_close(self.losses("grpo", tokens), self.losses("dapo", tokens))
        torch.testing.assert_close(self.losses("grpo", tokens), self.losses("bnpo", tokens))

    def test_and_dr_grpo_where_they_have_the_greatest_length(self) -> None:
        tokens = self.equally_long(MAX_LENGTH)
        torch.testing.assert_close(self.losses("grpo", tokens), self.losses("dr_grpo", tokens))

    def test_ratios_of_completions_are_those_of_their_only_token(self) -> None:
        tokens = self.equally_long(1)
        torch.testing.assert_close(self.losses("gspo", tokens), self.losses("grpo", tokens))
        torch.testing.assert_close(self.losses("rloo", tokens), self.losses("grpo", tokens))

    def test_ppo_with_one_advantage_for_all_tokens_is_bnpo(self) -> None:
        tokens, advantages = random_tokens(), random_advantages()
        ppo = ppo_loss(tokens, advantages[tokens.branch], clip_range=0.2, beta=0.1)
        bnpo = policy_loss(tokens, advantages, PolicyLossOptions(loss="bnpo", beta=0.1))
        torch.testing.assert_close(ppo.losses, bnpo.losses)


@pytest.mark.parametrize("name", NAMES)
def test_groups_without_signal_are_skipped_exactly(name: PolicyLossName) -> None:
    rewards = torch.tensor([[1.0, 0.0, 0.0, 1.0], [0.7, 0.7, 0.7, 0.7]], dtype=torch.float64)
    advantages = group_advantages(rewards, baseline="group", scale="group")
    assert without_signal(advantages).tolist() == [False, True]
    tokens, options = random_tokens(), PolicyLossOptions(loss=name)
    whole = policy_loss(tokens, advantages.flatten(), options).losses.sum()
    skipped = policy_loss(some(tokens, [0, 1, 2, 3]), advantages[0], options).losses.sum()
    assert torch.equal(whole, skipped)
    assert torch.equal(gradient(whole, tokens), gradient(skipped, tokens))


@pytest.mark.parametrize("name", NAMES)
def test_completions_that_are_not_kept_add_nothing(name: PolicyLossName) -> None:
    kept = torch.tensor([False, True, True, False, True, True, True, True])
    tokens, advantages = random_tokens(kept=kept), random_advantages()
    options = PolicyLossOptions(loss=name, beta=0.2)
    loss = policy_loss(tokens, advantages, options).losses
    assert loss[~kept].tolist() == [0.0, 0.0]
    everything = policy_loss(replace(tokens, kept=None), advantages, options).losses
    assert torch.equal(loss[kept], everything[kept])
    assert not gradient(loss.sum(), tokens)[torch.isin(tokens.branch, torch.tensor([0, 3]))].any()


def test_totals_by_hand() -> None:
    # lengths 3, 5, 2; the second was cut. It has no tokens, but it is a completion.
    lengths, kept = torch.tensor([3, 5, 2]), torch.tensor([True, False, True])
    found = {name: loss_total(name, lengths, max_length=5, kept=kept) for name in NAMES}
    assert found == {
        "grpo": 3.0,
        "dr_grpo": 15.0,
        "dapo": 5.0,
        "bnpo": 5.0,
        "gspo": 3.0,
        "cispo": 5.0,
        "rloo": 3.0,
        "reinforce": 3.0,
        "reinforce_pp": 5.0,
        "reinforce_pp_baseline": 5.0,
    }


@pytest.mark.parametrize("name", NAMES)
def test_far_ratios_leave_finite_losses_and_gradients(name: PolicyLossName) -> None:
    """exp(200) is infinite in float32, and its gradient times the 0 of a clipped token not a number."""
    logps = torch.tensor([-0.1, -0.1]).requires_grad_()
    tokens = CompletionTokens(
        logps=logps,
        old_logps=torch.tensor([-200.0, -200.0]),
        branch=torch.tensor([0, 1]),
        lengths=torch.tensor([1, 1]),
        reference_logps=torch.tensor([-0.2, -0.3]),
    )
    loss = policy_loss(tokens, torch.tensor([1.0, -1.0]), PolicyLossOptions(loss=name, beta=0.1)).losses
    assert bool(loss.isfinite().all())
    assert bool(torch.autograd.grad(loss.sum(), logps)[0].isfinite().all())


def test_approximate_kl_of_old_to_new() -> None:
    # ratios 2 and 1/2: k1 = -ln 2, ln 2; k3 = r - 1 - ln r = 1 - ln 2, ln 2 - 1/2
    logps = torch.log(one(0.5, 0.25))
    tokens = CompletionTokens(
        logps=logps, old_logps=torch.log(one(0.25, 0.5)), branch=torch.tensor([0, 0]), lengths=torch.tensor([2])
    )
    found = policy_loss(tokens, one(1), PolicyLossOptions())
    ln2 = math.log(2)
    assert found.ratio.tolist() == pytest.approx([2.0, 0.5])
    assert found.approx_kl("k1").tolist() == pytest.approx([-ln2, ln2])
    assert found.approx_kl("k3").tolist() == pytest.approx([1 - ln2, ln2 - 0.5])


def test_ppo_by_hand() -> None:
    # ratios 2, 1/2, 1 with advantages 1, -1, 3 and bounds 0.8, 1.2: -1.2, 0.8, -3; by completion -0.4 and -3
    logps = one(-1, -2, -3)
    tokens = CompletionTokens(
        logps=logps,
        old_logps=logps - torch.log(one(2, 0.5, 1)),
        branch=torch.tensor([0, 0, 1]),
        lengths=torch.tensor([2, 1]),
    )
    found = ppo_loss(tokens, one(1, -1, 3), clip_range=0.2)
    assert found.losses.tolist() == pytest.approx([-0.4, -3.0])
    assert (found.clipped_high.tolist(), found.clipped_low.tolist()) == ([1, 0, 0], [0, 1, 0])
    assert found.kl is None


def test_ppo_minibatches_add_up() -> None:
    tokens = random_tokens()
    advantages = torch.randn(len(tokens.logps), generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    whole = ppo_loss(tokens, advantages, clip_range=0.2, beta=0.1)
    split = [[0, 1, 2], [3], [4, 5, 6, 7]]
    parts = [
        ppo_loss(
            some(tokens, part), advantages[torch.isin(tokens.branch, torch.tensor(part))], clip_range=0.2, beta=0.1
        )
        for part in split
    ]
    torch.testing.assert_close(torch.cat([part.losses for part in parts]), whole.losses)
    together = torch.cat([part.losses for part in parts]).sum()
    torch.testing.assert_close(gradient(together, tokens), gradient(whole.losses.sum(), tokens))


def test_the_reference_is_measured_without_a_weight_and_needed_with_one() -> None:
    tokens, advantages = random_tokens(), random_advantages()
    with_kl = policy_loss(tokens, advantages, PolicyLossOptions(kl_estimator="k1"))
    without = policy_loss(replace(tokens, reference_logps=None), advantages, PolicyLossOptions())
    assert torch.equal(with_kl.losses, without.losses)
    assert with_kl.kl is not None
    assert tokens.reference_logps is not None
    torch.testing.assert_close(with_kl.kl, tokens.logps.detach() - tokens.reference_logps)
    for loss in (
        lambda: policy_loss(replace(tokens, reference_logps=None), advantages, PolicyLossOptions(beta=0.1)),
        lambda: ppo_loss(replace(tokens, reference_logps=None), advantages[tokens.branch], clip_range=0.2, beta=0.1),
    ):
        with pytest.raises(ValueError, match=r"beta is 0\.1: the loss needs log-probabilities under a reference"):
            loss()


@pytest.mark.parametrize("name", NAMES)
def test_diagnostics_carry_no_gradient_and_half_precision_is_lifted(name: PolicyLossName) -> None:
    tokens = random_tokens()
    half = replace(
        tokens,
        logps=tokens.logps.detach().bfloat16().requires_grad_(),
        old_logps=tokens.old_logps.bfloat16(),
        weights=None,
        reference_logps=None,
    )
    found = policy_loss(half, random_advantages().float(), PolicyLossOptions(loss=name))
    assert found.losses.dtype == torch.float32
    assert found.losses.requires_grad
    assert not any(each.requires_grad for each in (found.log_ratio, found.clipped_low, found.clipped_high))
