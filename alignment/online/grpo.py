"""Group-relative policy optimisation and its critic-free relatives: a completion is as good as it is beside its group.

Shao et al. 2024 (DeepSeekMath, arXiv 2402.03300); the other losses are in `alignment.losses.policy_gradient`, each with
its paper. A step:
1. G completions of each of P prompts are drawn from the policy and rewarded.
2. Advantages compare rewards, mostly within the group (`alignment.losses.advantages`); of steps, where `step_reward`
   is steps: process supervision, section 4.1.3 there.
3. One or more optimizer steps on the clipped surrogate, groups never split.
Where we differ:
1. A group shares its prompt in packed rows; loss and gradient equal the padded form.
2. Where a step is a single optimizer step, the policy has not moved: its own log-probabilities, without gradient, are
   the old ones, and no forward pass is spent on them. Otherwise one pass takes them before the first step.
3. Groups without signal are skipped exactly: they add nothing to loss or gradient, only to its total.
4. Where only tokens of high entropy act, one pass before the first step says which: they stay the same in all of them.
5. Tokens are weighted for what sampler and trainer differ by, up to a cap (`alignment.losses.importance`); under a
   ratio of the summed completion (rloo), completions are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignment.config.online import GrpoConfig
from alignment.config.policy_gradient_names import POLICY_LOSSES
from alignment.losses.advantages import (
    RunningMean,
    group_advantages,
    kl_penalised_advantages,
    normalised_first,
    process_advantages,
    without_signal,
)
from alignment.losses.importance import importance_weights
from alignment.losses.kl import token_kl
from alignment.losses.policy_gradient import CompletionTokens, loss_total, policy_loss, top_entropy_mask
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
from alignment.rewards.rewards import ScoredBatch, joined_scores
from alignment.rollouts.collector import Collected
from alignment.rollouts.rollouts import Micro, Rollouts, joined
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part, weighted

NAMES = (*RATIO_METRICS, "sampling/logp_difference", "sampling/capped_share")


class Grpo:
    """One step after another; see the module.

    Args:
        reference: None where neither the loss nor anybody else asks for a KL.
    """

    def __init__(self, config: GrpoConfig, update: PolicyUpdate, reference: LiveReference | None) -> None:
        self.config, self.update, self.reference = config, update, reference
        self.options = config.options
        self.carried = Carried(config.beta)

    def step(self, draw: Draw, *, with_entropy: bool, with_kl: bool) -> Learned:
        collected, num_drawn = self._collect(draw)
        rollouts, scored = collected.rollouts, collected.scored
        reference = None
        if self.reference is not None and (self.config.beta or with_kl):
            reference = reference_logps(self.update, self.reference, rollouts)
        old, acting = self._before(rollouts)
        if self.config.kl_in == "reward":
            assert reference is not None
            advantages = self._kl_penalised(rollouts, scored, old, reference)
            silent = torch.zeros(len(rollouts.rows), dtype=torch.bool)
        else:
            advantages, silent = self._advantages(rollouts, scored)
        metrics = dict(collected.timed)
        metrics["groups/zero_advantage_share"] = float(silent.float().mean())
        metrics["groups/drawn"] = float(num_drawn)
        metrics["advantages/std"] = float(advantages.std()) if advantages.numel() > 1 else 0.0
        if reference is not None:
            policy = rollouts.logps.to(reference) if old is None else old
            metrics |= kl_metrics(policy, reference, len(rollouts))
        metrics |= self._learn(rollouts, advantages, silent, old, reference, acting, with_entropy=with_entropy)
        metrics["beta"] = self.config.beta
        return Learned(rollouts=rollouts, scored=scored, metrics=metrics)

    def _collect(self, draw: Draw) -> tuple[Collected, int]:
        """Returns a step's groups and how many were drawn; dynamic sampling redraws groups without signal."""
        wanted = self.config.prompts_per_step
        first = draw(wanted, 0)
        if not self.config.dynamic_sampling:
            return first, wanted
        with_signal, num_drawn = [self._with_signal(first)], wanted
        for number in range(1, 1 + self.config.dynamic_sampling):
            missing = wanted - sum(len(part.rollouts.rows) for part in with_signal if part)
            if not missing:
                break
            with_signal.append(self._with_signal(draw(missing, number)))
            num_drawn += missing
        parts = [part for part in with_signal if part]
        return (_together(parts) if parts else first), num_drawn

    def _with_signal(self, collected: Collected) -> Collected | None:
        """Returns the groups that there is something to learn from; None where there is none."""
        groups = len(collected.rollouts.rows)
        if collected.scored.credits is None and self.config.several_rewards == "sum_first":
            rewards = collected.scored.total.reshape(groups, -1)
            places = np.flatnonzero(rewards.max(1) > rewards.min(1)).tolist()
        else:  # totals may be alike where steps or single rewards are not, and the other way round
            _, silent = self._advantages(collected.rollouts, collected.scored)
            places = (~silent).nonzero()[:, 0].tolist()
        if not places:
            return None
        size = collected.rollouts.group_size
        branches = [group * size + number for group in places for number in range(size)]
        return Collected(
            rollouts=collected.rollouts.take(places),
            scored=collected.scored.take(branches),
            generate_s=collected.generate_s,
            reward_s=collected.reward_s,
        )

    def _before(self, rollouts: Rollouts) -> tuple[Tensor | None, Tensor | None]:
        """Returns (C,) old log-probabilities and which tokens act, each None where no pass is needed for it."""
        several = self.config.passes * self.config.minibatches > 1
        if self.options.top_entropy_quantile == 1.0:
            return (self.update.token_logps(rollouts) if several else None), None

        def logps_and_entropy(logps: CompletionLogps, _micro: Micro) -> Tensor:
            assert logps.entropy is not None
            return torch.stack((logps.token_logps, logps.entropy))

        old, entropy = self.update.over_tokens(rollouts, logps_and_entropy, num_columns=2, with_entropy=True)
        return (old if several else None), top_entropy_mask(entropy, self.options.top_entropy_quantile)

    def _advantages(self, rollouts: Rollouts, scored: ScoredBatch) -> tuple[Tensor, Tensor]:
        """Returns (N,) advantages of completions or (C,) of tokens, and (P,) whether a group has none but 0."""
        if scored.credits is not None:
            lengths = rollouts.lengths
            advantages = process_advantages(
                torch.from_numpy(scored.credits.rewards).float(),
                torch.from_numpy(scored.credits.places(lengths.numpy())),
                lengths,
                group_size=rollouts.group_size,
                scale=self.options.divisor,
            )
            sizes = lengths.view(-1, rollouts.group_size).sum(1).tolist()
            return advantages, torch.stack([(part == 0.0).all() for part in advantages.split(sizes)])
        rewards = torch.from_numpy(scored.total).float().view(len(rollouts.rows), -1)
        if self.config.several_rewards == "normalise_first":
            parts = torch.from_numpy(np.stack(list(scored.parts.values()))).float().view(-1, *rewards.shape)
            terms = torch.from_numpy(scored.penalised - scored.total).float().view_as(rewards)
            advantages = normalised_first(parts, list(scored.weights.values()), terms)
            return advantages.flatten(), without_signal(advantages)
        total, weight = self.carried.baseline.tolist()
        running = RunningMean(total=total, weight=weight)
        advantages = group_advantages(
            rewards, baseline=self.options.subtracted, scale=self.options.divisor, running_mean=running.mean
        )
        after = running.after(float(rewards.mean()))
        self.carried.baseline.copy_(torch.tensor([after.total, after.weight], dtype=torch.float64))
        return advantages.flatten(), without_signal(advantages)

    def _kl_penalised(self, rollouts: Rollouts, scored: ScoredBatch, old: Tensor | None, reference: Tensor) -> Tensor:
        """Returns (C,) advantages of tokens from which the KL is subtracted."""
        kl = token_kl(rollouts.logps.to(reference) if old is None else old, reference, "k1")
        scores = torch.from_numpy(scored.total).to(kl)
        return kl_penalised_advantages(scores, kl, rollouts.lengths.to(kl.device), beta=self.config.beta).cpu()

    def _learn(
        self,
        rollouts: Rollouts,
        advantages: Tensor,
        silent: Tensor,
        old: Tensor | None,
        reference: Tensor | None,
        acting: Tensor | None,
        *,
        with_entropy: bool,
    ) -> dict[str, float]:
        """Takes the optimizer steps and returns their metrics."""
        kept = rollouts.finished if self.config.mask_truncated else None
        size = rollouts.group_size

        def part(logps: CompletionLogps, micro: Micro) -> Part:
            return self._part(logps, micro, rollouts, advantages, kept, old, reference, acting)

        def minibatch(groups: Sequence[int]) -> Minibatch:
            whole = [group * size + index for group in groups for index in range(size)]
            total = loss_total(
                self.config.loss,
                rollouts.lengths[whole],
                max_length=self.config.max_new_tokens,
                kept=None if kept is None else kept[whole],
            )
            everywhere = self.config.beta or self.config.entropy_coef
            branches = whole if everywhere else [branch for branch in whole if not silent[branch // size]]
            return Minibatch(branches=branches, total=total)

        steps = map(minibatch, minibatches(len(rollouts.rows), self.config, self.carried))
        with_entropy = with_entropy or bool(self.config.entropy_coef)
        return self.update.learn(rollouts, steps, part, NAMES, with_entropy=with_entropy)

    def _part(
        self,
        logps: CompletionLogps,
        micro: Micro,
        rollouts: Rollouts,
        advantages: Tensor,
        kept: Tensor | None,
        old: Tensor | None,
        reference: Tensor | None,
        acting: Tensor | None,
    ) -> Part:
        """Computes losses and metrics of a micro-batch."""
        device = logps.token_logps.device
        tokens = micro.tokens.to(device)
        own = logps.token_logps.detach()
        before = own if old is None else old[tokens]
        sampled = rollouts.logps[micro.tokens].to(device)
        cap = self.config.importance_cap
        level = "sequence" if POLICY_LOSSES[self.config.loss].ratio == "sequence_sum" else "token"
        weights = importance_weights(before, sampled, logps.branch, logps.lengths, cap=cap or float("inf"), level=level)
        loss = policy_loss(
            CompletionTokens(
                logps=logps.token_logps,
                old_logps=before,
                branch=logps.branch,
                lengths=logps.lengths,
                reference_logps=None if reference is None else reference[tokens],
                weights=weights.weights if self.config.importance_cap else None,
                kept=None if kept is None else kept[micro.branches].to(device),
                entropy=logps.entropy,
                acting=None if acting is None else acting[tokens],
            ),
            advantages[micro.branches if len(advantages) == len(rollouts) else micro.tokens].to(device),
            self.options,
        )
        ones = torch.ones_like(own)
        sampling = [((before - sampled).abs(), ones), (weights.capped, ones)]
        sums, total_weights = weighted([*ratio_columns(logps, loss), *sampling])
        return Part(loss=loss.losses.sum(), sums=sums, weights=total_weights)


def _together(parts: Sequence[Collected]) -> Collected:
    return Collected(
        rollouts=joined([part.rollouts for part in parts]),
        scored=joined_scores([part.scored for part in parts]),
        generate_s=sum(part.generate_s for part in parts),
        reward_s=sum(part.reward_s for part in parts),
    )


def train_grpo(context: RunContext[GrpoConfig]) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    config = context.config

    def build(parts: Parts) -> tuple[Grpo, PolicyUpdate]:
        update = parts.update(config)
        return Grpo(config, update, parts.reference), update

    method = f"reinforcement learning, loss {config.loss}: {POLICY_LOSSES[config.loss].summary}"
    return train_online(context, build, method=method, needs_reference=config.beta > 0)
