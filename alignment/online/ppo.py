"""Proximal policy optimisation: the policy moves a little at a time, judged by what a value model expected.

Schulman et al. 2017 (arXiv 1707.06347); for language models Ziegler et al. 2019 (arXiv 1909.08593), Stiennon et al.
2020, and the details of Huang et al. 2024 (arXiv 2403.17031). A step:
1. Completions are drawn and rewarded; log-probabilities of policy and reference and values are taken once.
2. A token earns minus beta times its KL, the last one the reward too, or (`step_reward` steps) the last one of each
   step that step's reward; advantages by GAE, whitened over the step.
3. Passes over the completions in fresh permutations: clipped surrogate plus weighted clipped value loss, less an
   entropy bonus where that is asked for.
Where we differ:
1. The reward goes to the last token that was drawn, EOS where there is one; the value after it is 0, also where the
   completion was cut: it was scored as it is.
2. Old log-probabilities are the trainer's, taken before the first pass, so that the first ratio is exactly 1; what the
   sampler's differ by is weighted, up to a cap (`alignment.losses.importance`).
3. The value head may share the policy's trunk. Dropout is off everywhere.
4. Losses are means over the tokens of the whole minibatch, whatever micro-batches and processes it was split into.
5. The value head may have a learning rate of its own, whose schedule is that of the policy's.
6. AdamW has its usual epsilon, 1e-8, as in TRL, where Huang et al. have 1e-5; its rate falls by half a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignment.config.online import PpoConfig
from alignment.losses.advantages import Advantages, generalised_advantages, token_rewards
from alignment.losses.importance import ImportanceWeights, importance_weights
from alignment.losses.kl import AdaptiveKl, exceeds_target, token_kl
from alignment.losses.policy_gradient import CompletionTokens, ppo_loss
from alignment.losses.value import explained_variance, moment_sums, value_loss, whiten
from alignment.online.algorithm import (
    RATIO_METRICS,
    Carried,
    Draw,
    Learned,
    kl_metrics,
    minibatches,
    ratio_columns,
    reference_logps,
)
from alignment.online.run import Parts, train_online
from alignment.online.update import Minibatch, PolicyUpdate
from alignment.policy.reference import LiveReference
from alignment.policy.value_model import ValueModel, build_value
from alignment.rollouts.rollouts import Micro, Rollouts
from rewardkit.distributed.sharding import Sharded
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part, weighted

NAMES = ("loss/policy", "loss/value", *RATIO_METRICS, "value/clipfrac", "value/mean")


@dataclass(frozen=True, kw_only=True)
class Before:
    """Quantities of the step's tokens before any optimizer step, all (C,) float32.

    Attributes:
        logps: under the policy, nats.
        values: of the value model.
        reference: log-probabilities under the reference; None without.
        weights: for what the sampler differs by; None leaves tokens unweighted.
        learned: advantages and returns.
    """

    logps: Tensor
    values: Tensor
    reference: Tensor | None
    weights: Tensor | None
    learned: Advantages


class Ppo:
    """One step after another; see the module.

    Args:
        sharded: the value model with sharded weights; None where every process holds all of them.
    """

    def __init__(
        self,
        config: PpoConfig,
        update: PolicyUpdate,
        reference: LiveReference | None,
        carried: Carried,
        sharded: Sharded | None = None,
    ) -> None:
        self.config, self.update, self.reference, self.carried = config, update, reference, carried
        self.sharded = sharded
        assert carried.value is not None
        self.value: ValueModel = carried.value  # pyright: ignore[reportAttributeAccessIssue]

    def step(self, draw: Draw, *, with_entropy: bool, with_kl: bool) -> Learned:
        """Draws completions, takes values and advantages, learns in passes."""
        collected = draw(self.config.prompts_per_step, 0)
        rollouts, scored = collected.rollouts, collected.scored
        beta = float(self.carried.beta)
        logps, values = self.update.over_tokens(rollouts, self._logps_and_values, num_columns=2)
        reference = None
        if self.reference is not None and (beta or with_kl):
            reference = reference_logps(self.update, self.reference, rollouts)
        metrics = dict(collected.timed) | {"beta": beta}
        sampled = rollouts.logps.to(logps)
        weighed = self._weights(rollouts, logps, sampled)
        metrics |= {
            "sampling/logp_difference": float((logps - sampled).abs().mean()),
            "sampling/logp_difference_max": float((logps - sampled).abs().max()),
            "sampling/capped_share": float(weighed.capped.mean()),
        }
        if reference is not None:
            metrics |= kl_metrics(logps, reference, len(rollouts))
        scores, places = scored.total, None
        if scored.credits is not None:
            scores, places = scored.credits.rewards, scored.credits.places(rollouts.lengths.numpy())
        learned = self._advantages(rollouts, scores, logps, values, reference, beta, places)
        metrics["value/explained_variance"] = explained_variance(
            moment_sums(learned.returns - values), moment_sums(learned.returns)
        )
        metrics["returns/mean"] = float(learned.returns.mean())
        metrics["advantages/std"] = float(learned.advantages.std())
        if self.config.whiten_advantages:
            whitened = whiten(learned.advantages, moment_sums(learned.advantages))
            learned = Advantages(advantages=whitened, returns=learned.returns)
        before = Before(
            logps=logps,
            values=values,
            reference=reference,
            weights=weighed.weights if self.config.importance_cap else None,
            learned=learned,
        )
        metrics |= self._learn(rollouts, before, beta, with_entropy=with_entropy)
        return Learned(rollouts=rollouts, scored=scored, metrics=metrics, stop=self._after(metrics, len(rollouts)))

    def _logps_and_values(self, logps: CompletionLogps, micro: Micro) -> Tensor:
        """Returns (2, M) log-probabilities and values."""
        return torch.stack((logps.token_logps, self._values(logps, micro)))

    def _values(self, logps: CompletionLogps, micro: Micro) -> Tensor:
        """Returns (M,) values."""
        forward = self.update.forward
        with forward.autocast(), forward.activations_away(self.value):
            if self.sharded is None:
                return self.value(logps, micro.rows)
            return self.sharded.run(lambda: self.value(logps, micro.rows).clone())  # FSDP2 warns of views

    def _advantages(
        self,
        rollouts: Rollouts,
        scores: np.ndarray,
        logps: Tensor,
        values: Tensor,
        reference: Tensor | None,
        beta: float,
        places: np.ndarray | None = None,
    ) -> Advantages:
        """Computes GAE from token rewards, which may include the KL; scores and places as for `token_rewards`."""
        in_reward = beta if self.config.kl_in == "reward" else 0.0
        kl = torch.zeros_like(logps) if reference is None else token_kl(logps, reference, "k1")
        lengths = rollouts.lengths.to(logps.device)
        at = None if places is None else torch.from_numpy(places).to(lengths)
        rewards = token_rewards(torch.from_numpy(scores).to(logps), kl, lengths, beta=in_reward, places=at)
        if self.config.whiten_rewards:
            rewards = whiten(rewards, moment_sums(rewards), shift_mean=False)
        return generalised_advantages(rewards, values, lengths, gamma=self.config.gamma, lam=self.config.lam)

    def _weights(self, rollouts: Rollouts, logps: Tensor, sampled: Tensor) -> ImportanceWeights:
        """Returns the importance weights of tokens."""
        cap = self.config.importance_cap or float("inf")
        branch, lengths = rollouts.branch.to(logps.device), rollouts.lengths.to(logps.device)
        return importance_weights(logps, sampled, branch, lengths, cap=cap, level="token")

    def _learn(self, rollouts: Rollouts, before: Before, beta: float, *, with_entropy: bool) -> dict[str, float]:
        """Runs the passes and returns their metrics."""
        in_loss = beta if self.config.kl_in == "loss" else 0.0

        def part(logps: CompletionLogps, micro: Micro) -> Part:
            return self._part(logps, micro, before, in_loss)

        def is_enough(metrics: Mapping[str, float]) -> bool:
            return exceeds_target(metrics["ratio/approx_kl"], self.config.stop_pass_kl or None)

        steps = (
            Minibatch(branches=branches, total=float(rollouts.lengths[branches].sum()))
            for branches in minibatches(len(rollouts), self.config, self.carried)
        )
        steps_before = self.update.num_steps
        with_entropy = with_entropy or bool(self.config.entropy_coef)
        metrics = self.update.learn(rollouts, steps, part, NAMES, with_entropy=with_entropy, is_enough=is_enough)
        metrics["loss"] = metrics["loss/policy"] + self.config.value_weight * metrics["loss/value"]
        num_passes = math.ceil((self.update.num_steps - steps_before) / self.config.minibatches)
        return metrics | {"passes": float(num_passes)}

    def _part(self, logps: CompletionLogps, micro: Micro, before: Before, in_loss: float) -> Part:
        """Computes losses and metrics of a micro-batch."""
        tokens = micro.tokens.to(logps.token_logps.device)
        policy = ppo_loss(
            CompletionTokens(
                logps=logps.token_logps,
                old_logps=before.logps[tokens],
                branch=logps.branch,
                lengths=logps.lengths,
                reference_logps=None if before.reference is None else before.reference[tokens],
                weights=None if before.weights is None else before.weights[tokens],
                entropy=logps.entropy,
            ),
            before.learned.advantages[tokens],
            clip_range=self.config.clip_range,
            delta=self.config.delta,
            beta=in_loss,
            entropy_coef=self.config.entropy_coef,
        )
        values = self._values(logps, micro)
        value = value_loss(
            values, before.values[tokens], before.learned.returns[tokens], clip_range=self.config.clip_range_value
        )
        ones = torch.ones_like(logps.token_logps)
        per_token = torch.full_like(policy.losses, float(len(tokens)) / len(policy.losses))
        columns = [
            (policy.losses / per_token, per_token),
            (value.losses, ones),
            *ratio_columns(logps, policy),
            (value.clipped, ones),
            (values, ones),
        ]
        sums, weights = weighted(columns)
        loss = policy.losses.sum() + self.config.value_weight * value.losses.sum()
        return Part(loss=loss, sums=sums, weights=weights)

    def _after(self, metrics: Mapping[str, float], count: int) -> str:
        """Adapts beta; returns the reason to end the run, if there is one."""
        kl = metrics.get("kl")
        if kl is None:
            return ""
        if self.config.kl_target:
            controller = AdaptiveKl(
                beta=float(self.carried.beta), target=self.config.kl_target, horizon=self.config.kl_horizon
            )
            self.carried.beta.fill_(controller.after(kl, count).beta)
        limit = self.config.stop_run_kl
        return f"the KL to the reference is {kl:.2f} nats, stop_run_kl is {limit:g}" if limit and kl > limit else ""


def train_ppo(context: RunContext[PpoConfig]) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    config = context.config

    def build(parts: Parts) -> tuple[Ppo, PolicyUpdate]:
        value = build_value(config, parts.policy)
        sharded = Sharded(value, parts.forward.device) if parts.forward.sharded else None
        update = parts.update(config, value, value_rate=config.value_learning_rate)
        return Ppo(config, update, parts.reference, Carried(config.beta, value), sharded), update

    method = "proximal policy optimisation (Schulman et al. 2017)"
    return train_online(context, build, method=method, needs_reference=config.beta > 0)
