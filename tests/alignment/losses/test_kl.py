"""Estimators of the KL: values and expected gradients by enumeration of a small vocabulary; controllers by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from alignment.config.policy_gradient_names import KlEstimatorName
from alignment.losses.advantages import generalised_advantages, token_rewards
from alignment.losses.kl import AdaptiveKl, exceeds_target, token_kl, weighted_kl
from alignment.losses.policy_gradient import CompletionTokens, ppo_loss
from alignment.watch.text_metrics import kl_tokens

ESTIMATORS = get_args(KlEstimatorName)
LN2 = math.log(2.0)


class Vocabulary:
    """Logits of three policies over the same six tokens."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        logits, other, old = torch.randn(3, 6, generator=generator, dtype=torch.float64)
        self.logits = logits.requires_grad_()
        self.other, self.old = other.log_softmax(0), old.log_softmax(0)

    @property
    def policy(self) -> Tensor:
        return self.logits.log_softmax(0)

    def gradient(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.logits)[0]

    def kl(self) -> Tensor:
        return (self.policy.exp() * (self.policy - self.other)).sum()

    def reverse_kl(self) -> Tensor:
        return (self.other.exp() * (self.other - self.policy)).sum()


def test_by_hand() -> None:
    # policy 1/2, other 1/4: d = ln 2, k2 = ln2^2 / 2, k3 = 1/2 - 1 + ln 2. Exchanged: d = -ln 2, k3 = 2 - 1 - ln 2
    policy, other = torch.tensor([0.5, 0.25]).log(), torch.tensor([0.25, 0.5]).log()
    assert token_kl(policy, other, "k1").tolist() == pytest.approx([LN2, -LN2])
    assert token_kl(policy, other, "k2").tolist() == pytest.approx([LN2**2 / 2, LN2**2 / 2])
    assert token_kl(policy, other, "k3").tolist() == pytest.approx([LN2 - 0.5, 1 - LN2])


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_arrays_and_tensors_agree(estimator: KlEstimatorName) -> None:
    policy, other = -3.0 * torch.rand(2, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    of_arrays = kl_tokens(policy.numpy(), other.numpy(), estimator)
    np.testing.assert_allclose(token_kl(policy, other, estimator).numpy(), of_arrays, atol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_equal_policies_are_exactly_0_apart(estimator: KlEstimatorName) -> None:
    logps = torch.tensor([-0.1, -7.3, -1e4])
    assert not token_kl(logps, logps, estimator).any()


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_expected_values(estimator: KlEstimatorName) -> None:
    words = Vocabulary()
    mean = float((words.policy.exp() * token_kl(words.policy, words.other, estimator)).sum().detach())
    if estimator == "k2":
        assert abs(mean - float(words.kl().detach())) > 1e-3  # biased
    else:
        assert mean == pytest.approx(float(words.kl().detach()))


@pytest.mark.parametrize(
    ("estimator", "truth"),
    [
        ("k1", lambda words: 0.0 * words.kl()),
        ("k2", Vocabulary.kl),
        ("k3", Vocabulary.reverse_kl),
    ],
)
def test_expected_gradients_in_a_loss(estimator: KlEstimatorName, truth: Callable[[Vocabulary], Tensor]) -> None:
    words = Vocabulary()
    seen = (words.policy.exp().detach() * token_kl(words.policy, words.other, estimator)).sum()
    expected = words.gradient(truth(words))
    torch.testing.assert_close(words.gradient(seen), expected)
    if estimator == "k3":
        assert float((expected - words.gradient(words.kl())).abs().max()) > 0.01  # not the KL's


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_weighted_the_expected_gradient_is_the_kls_even_for_samples_of_an_older_policy(
    estimator: KlEstimatorName,
) -> None:
    words = Vocabulary()
    ratio = (words.policy - words.old).exp()
    mean = (words.old.exp() * weighted_kl(words.policy, words.other, ratio, estimator)).sum()
    torch.testing.assert_close(words.gradient(mean), words.gradient(words.kl()))
    if estimator != "k2":
        assert float(mean.detach()) == pytest.approx(float(words.kl().detach()))


class Sentences:
    """All 9 texts of two tokens out of three: the second token's distribution depends on the first."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(2)
        self.logits = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
        self.other = torch.randn(4, 3, generator=generator, dtype=torch.float64).log_softmax(1)
        self.lengths = torch.full((9,), 2)
        self.branch = torch.arange(9).repeat_interleave(2)

    def tokens(self, table: Tensor) -> Tensor:
        """(18,) log-probabilities of the nine texts' tokens."""
        return torch.stack([entry for a in range(3) for b in range(3) for entry in (table[0, a], table[a + 1, b])])

    @property
    def policy(self) -> Tensor:
        return self.tokens(self.logits.log_softmax(1))

    def probabilities(self) -> Tensor:
        return self.policy.view(9, 2).sum(1).exp()

    def gradient(self, value: Tensor) -> Tensor:
        return torch.autograd.grad(value, self.logits)[0]

    def kl(self) -> Tensor:
        return (self.probabilities() * (self.policy - self.tokens(self.other)).view(9, 2).sum(1)).sum()


def test_k1_in_the_rewards_gives_the_gradient_of_the_kl_of_whole_texts() -> None:
    texts = Sentences()
    logps = texts.policy
    rewards = token_rewards(
        torch.zeros(9, dtype=torch.float64),
        token_kl(logps, texts.tokens(texts.other), "k1"),
        texts.lengths,
        beta=1.0,
    )
    advantages = generalised_advantages(rewards, torch.zeros_like(rewards), texts.lengths, gamma=1.0, lam=1.0)
    tokens = CompletionTokens(logps=logps, old_logps=logps, branch=texts.branch, lengths=texts.lengths)
    losses = ppo_loss(tokens, advantages.advantages, clip_range=0.2).losses
    expected = (texts.probabilities().detach() * losses).sum()
    torch.testing.assert_close(texts.gradient(expected), texts.gradient(texts.kl()))


def test_k2_in_the_loss_does_not_see_that_a_token_changes_those_after_it() -> None:
    texts = Sentences()
    terms = token_kl(texts.policy, texts.tokens(texts.other), "k2").view(9, 2).sum(1)
    gradient = texts.gradient((texts.probabilities().detach() * terms).sum())
    truth = texts.gradient(texts.kl())
    torch.testing.assert_close(gradient[1:], truth[1:])  # of the last token: the same
    assert float((gradient[0] - truth[0]).abs().max()) > 0.01  # of the first: not


def test_adaptive_kl_by_hand() -> None:
    # KL 6.6 of target 6: error 0.1; 256 completions, horizon 10,000: beta x (1 + 0.1 x 0.0256)
    start = AdaptiveKl(beta=0.2, target=6.0, horizon=10_000.0)
    assert start.after(6.6, 256).beta == pytest.approx(0.2 * (1 + 0.1 * 0.0256))
    assert start.after(60.0, 256).beta == pytest.approx(0.2 * (1 + 0.2 * 0.0256))  # held at +0.2
    assert start.after(-1.0, 256).beta == pytest.approx(0.2 * (1 - 0.2 * 0.0256))  # and at -0.2
    assert start.after(6.0, 256) == start
    assert start.beta == 0.2


def test_adaptive_kl_finds_the_weight_that_holds_the_target() -> None:
    """In a world where KL = 3 / beta, a target of 6 is held by beta = 1/2."""
    state = AdaptiveKl(beta=5.0, target=6.0, horizon=1000.0)
    for _ in range(300):
        state = state.after(3.0 / state.beta, 100)
    assert state.beta == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("name", ["beta", "target", "horizon"])
def test_adaptive_kl_refuses(name: str) -> None:
    numbers = {"beta": 0.1, "target": 6.0, "horizon": 1e4} | {name: 0.0}
    with pytest.raises(ValueError, match=f"{name} is 0.0, allowed is more than 0"):
        AdaptiveKl(**numbers)


def test_a_step_of_too_many_completions_could_bring_beta_to_0() -> None:
    with pytest.raises(ValueError, match=r"horizon is 100\.0, with 500 completions a step allowed is more than 100"):
        AdaptiveKl(beta=0.1, target=6.0, horizon=100.0).after(0.0, 500)


def test_target_kl() -> None:
    assert not exceeds_target(0.015, 0.01)
    assert exceeds_target(0.0151, 0.01)
    assert exceeds_target(float("nan"), 0.01)
    assert not exceeds_target(1e9, None)
