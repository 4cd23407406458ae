"""Advantages: how much better a completion or a token was than expected.

Without a value head, rewards of completions are compared with one another (`group_advantages`). They come as (P, G), G
completions of each of P prompts, and must be those of the whole step, gathered over micro-batches and processes, where
something is computed over more than a group. With a value head, a completion's score becomes a reward per token
(`token_rewards`), and generalised advantage estimation holds these against the values (`generalised_advantages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor

from alignment.config.policy_gradient_names import BaselineName, ScaleName
from alignment.losses.importance import later_tokens
from alignment.losses.pair import exact
from alignment.losses.value import moment_sums, whiten


@dataclass(frozen=True, kw_only=True)
class Advantages:
    """Advantages and returns of tokens.

    Attributes:
        advantages: (C,) float32, detached, reward units.
        returns: (C,) float32, detached: advantages plus values, what the value head learns.
    """

    advantages: Tensor
    returns: Tensor


def generalised_advantages(rewards: Tensor, values: Tensor, lengths: Tensor, *, gamma: float, lam: float) -> Advantages:
    """GAE over each completion's tokens.

    A_t = sum over i of (gamma lam)^i delta_{t+i},  delta_t = r_t + gamma V_{t+1} - V_t.
    Schulman et al. 2016, eq. 16 (arXiv 1506.02438). After the last token the value is 0, whether the completion ended
    or was cut: its score was given for the text as it is, and nothing comes after. The sum is built by doubling, in
    log2 of the longest completion's tokens: A over 2 k tokens is A over k plus (gamma lam)^k times that k tokens later.

    Args:
        rewards: (C,) float, of each token, as `alignment.losses.advantages.token_rewards`.
        values: (C,) float, reward units: what is expected from before each token on, hence read where the token is
            predicted.
        lengths: (S,) int64, tokens of each completion.
        gamma: discount of a token's time, 0 to 1.
        lam: how far rewards count beyond the value's own forecast: 0 one token, 1 all of them.

    Raises:
        ValueError: if gamma or lam is out of range.
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"{name} is {value}, allowed is 0 to 1")
    rewards, values = exact(rewards).detach(), exact(values).detach()
    later = later_tokens(lengths)
    next_values = F.pad(values[1:], (0, 1)).where(later > 0, 0.0)
    advantages = rewards + gamma * next_values - values
    step, longest = 1, int(lengths.max()) if len(lengths) else 0
    while step < longest:
        tail = F.pad(advantages[step:], (0, step)).where(later >= step, 0.0)
        advantages = advantages + (gamma * lam) ** step * tail
        step *= 2
    return Advantages(advantages=advantages, returns=advantages + values)


EPSILON = 1e-4


def group_advantages(rewards: Tensor, *, baseline: BaselineName, scale: ScaleName, running_mean: float = 0.0) -> Tensor:
    """(P, G) float32, detached: reward minus baseline, divided by a spread.

    A = (R - b) / (std + 1e-4), or R - b.
    `group` with scale `group`: Shao et al. 2024, section 4.1.2 (GRPO, arXiv 2402.03300); with `none`: Liu et al. 2025
    (Dr. GRPO, arXiv 2503.20783). `leave_one_out`: b is the mean of the other G - 1, R - b = G / (G - 1) (R - mean);
    Ahmadian et al. 2024 (RLOO, arXiv 2402.14740). `batch` with `batch`, and `group` with `centred`: Hu et al. 2025
    (REINFORCE++ and its variant with a baseline, arXiv 2501.03262). Standard deviations have ddof 1; 1e-4 is TRL's.

    Exactly 0 where all rewards that make the baseline are equal or there is one only: there is nothing to compare, and
    a mean of equal numbers may differ from them by rounding.

    Args:
        rewards: (P, G) float.
        baseline: `group`, `leave_one_out`, `batch` (mean of all P G), `running` (`running_mean`) or `none` (0). The
            means of `group` and `batch` hold the completion's own reward, which shrinks the expected gradient by a
            share of 1 / G or 1 / (P G); the others leave it as it is.
        scale: `group`, `batch` (the standard deviation of all P G rewards), `centred` (of all P G differences from
            the baseline) or `none`.
        running_mean: of steps before this one, as `RunningMean` keeps it.
    """
    rewards = exact(rewards).detach()
    size = rewards.shape[1]
    centred = rewards - rewards.mean(1, keepdim=True)
    flat = rewards.amax(1, keepdim=True) == rewards.amin(1, keepdim=True)
    match baseline:
        case "group":
            advantages = centred.masked_fill(flat, 0.0)
        case "leave_one_out":
            advantages = (centred * (size / max(size - 1, 1))).masked_fill(flat, 0.0)
        case "batch":
            advantages = (rewards - rewards.mean()).masked_fill(rewards.max() == rewards.min(), 0.0)
        case "running":
            advantages = rewards - running_mean
        case "none":
            advantages = rewards
        case _:
            assert_never(baseline)
    match scale:
        case "group":
            return advantages / (_std(rewards) + EPSILON)
        case "batch":
            return advantages / (_std(rewards.flatten()) + EPSILON)
        case "centred":
            return advantages / (_std(advantages.flatten()) + EPSILON)
        case "none":
            return advantages
        case _:
            assert_never(scale)


def process_advantages(
    rewards: Tensor, places: Tensor, lengths: Tensor, *, group_size: int, scale: ScaleName
) -> Tensor:
    """(C,) float32, detached, advantages of tokens from rewards of steps.

    A_t = sum over the steps j of the completion that end at t or later of (r_j - mean(R)) / (std(R) + 1e-4),
    R the rewards of all steps of all completions of the group. Shao et al. 2024, section 4.1.3 (arXiv 2402.03300).
    With one step in each completion, at its end, these are `group_advantages` with baseline `group`. The standard
    deviation has ddof 1, as there. Exactly 0 where all rewards of a group are equal, and behind the last step.

    The mean is over steps, not over completions: a completion of many steps above it gains by their number.

    Args:
        rewards: (S,) float, of steps.
        places: (S,) int64, index among the C tokens of each step's last one.
        lengths: (N,) int64, tokens of each completion, those of a group one after another.
        group_size: G, completions of a group.
        scale: `group`, `batch` (the standard deviation of all rewards of all groups), `centred` (of all differences
            from their group's mean) or `none`.
    """
    rewards = exact(rewards).detach()
    number = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)[places] // group_size
    centred = torch.zeros_like(rewards)
    for group in range(len(lengths) // group_size):
        steps = number == group
        of_group = rewards[steps]
        if len(of_group) and bool(of_group.amax() > of_group.amin()):
            divisor = _std(of_group) + EPSILON if scale == "group" else 1.0
            centred[steps] = (of_group - of_group.mean()) / divisor
    spread = {"batch": rewards, "centred": centred}.get(scale)
    normalised = centred if spread is None else centred / (_std(spread) + EPSILON)
    by_token = torch.zeros(int(lengths.sum()), device=rewards.device).index_add(0, places, normalised)
    return generalised_advantages(by_token, torch.zeros_like(by_token), lengths, gamma=1.0, lam=1.0).advantages


def kl_penalised_advantages(scores: Tensor, kl: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """(C,) float32, detached, advantages of tokens from scores of completions less the KL that is still to come.

    A_t = R - beta sum over i >= t of kl_i, whitened over all tokens of the step.
    Hu et al. 2025 (REINFORCE++, arXiv 2501.03262); the standard deviation has ddof 0.

    Args:
        scores: (N,) float, reward units, of completions.
        kl: (C,) float, nats, as for `token_rewards`.
        lengths: (N,) int64, tokens of each completion, none of them 0.
        beta: weight of the KL, 0 or more.
    """
    rewards = token_rewards(scores, kl, lengths, beta=beta)
    to_come = generalised_advantages(rewards, torch.zeros_like(rewards), lengths, gamma=1.0, lam=1.0).advantages
    return whiten(to_come, moment_sums(to_come))


def normalised_first(rewards: Tensor, weights: Sequence[float], subtracted: Tensor | None = None) -> Tensor:
    """(P, G) float32, detached: rewards normalised within their groups, added by weight, divided by the step's spread.

    A = a / (std(a) + 1e-4),  a = sum_k w_k (R_k - mean R_k) / (std R_k + 1e-4), the latter two within the group.
    Liu et al. 2026 (GDPO, arXiv 2601.05242); TRL 1.16 has it as `normalize_then_sum`. Standard deviations have ddof 1.
    The mean of a, which they subtract, is 0 but for rounding and is left out, so that groups without signal stay
    exactly 0.

    Args:
        rewards: (K, P, G) float, of K sources.
        weights: K, of the sources.
        subtracted: (P, G), what is subtracted besides, in standard deviations of a reward within a group.
    """
    shares = [
        weight * group_advantages(reward, baseline="group", scale="group")
        for reward, weight in zip(rewards, weights, strict=True)
    ]
    added = torch.stack(shares).sum(0)
    if subtracted is not None:
        added = added - group_advantages(subtracted, baseline="group", scale="none")
    return added / (_std(added.flatten()) + EPSILON)


def without_signal(advantages: Tensor) -> Tensor:
    """(P,) bool, groups all of whose advantages are 0.

    Their completions add exactly 0 to loss and gradient as long as the loss has no KL: they need no forward pass, but
    still count in the loss's total. DAPO draws other prompts in their place instead.

    Args:
        advantages: (P, G).
    """
    return (advantages == 0.0).all(1)


@dataclass(frozen=True, kw_only=True)
class RunningMean:
    """Mean reward of the steps so far, of which the older count less: a baseline that no present sample has moved.

    mean = sum over steps of decay^age m / sum over steps of decay^age.

    Attributes:
        decay: of a step's weight with every step after it, 0 up to 1.
        total: weighted sum of the steps' means.
        weight: sum of weights.

    Raises:
        ValueError: if decay is out of range.
    """

    decay: float = 0.9
    total: float = 0.0
    weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0:
            raise ValueError(f"decay is {self.decay}, allowed is 0 up to 1")

    @property
    def mean(self) -> float:
        """0 before the first step."""
        return self.total / self.weight if self.weight else 0.0

    def after(self, mean: float) -> RunningMean:
        """Returns the state after a step with this mean reward."""
        return replace(self, total=self.decay * self.total + mean, weight=self.decay * self.weight + 1.0)


def _std(rewards: Tensor) -> Tensor:
    """Standard deviation over the last dimension, which is kept, ddof 1; 0 for a single value."""
    if rewards.shape[-1] == 1:
        return torch.zeros_like(rewards)
    return rewards.std(-1, keepdim=True)


def token_rewards(scores: Tensor, kl: Tensor, lengths: Tensor, *, beta: float, places: Tensor | None = None) -> Tensor:
    """Returns (C,) float32 rewards of the tokens, detached.

    r_t = -beta kl_t, plus the score on the completion's last token, or each step's score on the step's last token.
    Ziegler et al. 2019, eq. 2 (arXiv 1909.08593), by token as in Stiennon et al. 2020. The last token is the last one
    that was drawn: the EOS where there is one, else the token the completion was cut after. Its own KL counts too.
    TRL's last PPO, 1.12, puts the score one place behind the EOS, with a value of its own there.

    Args:
        scores: (S,) float, reward units, of whole completions or of their steps.
        kl: (C,) float, nats, k1 by tokens of `alignment.losses.kl.token_kl` under the policy that drew them, which
            makes the sum of a completion's rewards an unbiased score minus beta KL.
        lengths: (S,) int64, tokens of each completion, none of them 0.
        beta: weight of the KL, 0 or more.
        places: (S,) int64, index among the C tokens of the one that each score belongs to; None takes the last ones.
    """
    assert bool((lengths > 0).all()), "a completion without tokens has nowhere to put its score"
    rewards = -beta * exact(kl).detach()
    return rewards.index_add(0, lengths.cumsum(0) - 1 if places is None else places, scores.detach().to(rewards))
