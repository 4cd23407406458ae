"""Online direct preference optimisation: pairs with the policy's own samples, step after step.

Guo et al. 2024 (arXiv 2402.04792), with a reward in the annotator's place; iterated as in Xiong et al. 2024 (arXiv
2312.11456), whose pairs are the best and the worst of several samples too. A step:
1. G completions of each of P prompts are drawn from the policy and rewarded.
2. The best and the worst of each prompt are a pair; a prompt whose completions all have one reward gives none.
3. One or more optimizer steps on a loss of pairs (`alignment.losses.by_name`) against the reference.
Where we differ:
1. Log-probabilities are at the sampling temperature: what is compared with the reference is the policy that draws.
2. Labels may be soft: the probability that chosen is better, averaged over the members of the reward.
3. The reference is the policy of the start, or every so many steps the policy as it is then.
With `--pairs spin` demonstrations are chosen over own samples, without a reward: `alignment.online.drawn_pairs`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignment.config.loss_names import PAIR_LOSSES
from alignment.config.online import OnlineDpoConfig
from alignment.losses.by_name import pair_loss
from alignment.offline.dpo import PAIR_METRICS, pair_columns, pair_logps
from alignment.online.algorithm import Carried, Draw, Learned, entropy_column, kl_metrics, minibatches, reference_logps
from alignment.online.drawn_pairs import DrawnPairs, against_own, best_and_worst, with_demonstrations
from alignment.online.run import Parts, train_online
from alignment.online.update import Minibatch, PolicyUpdate
from alignment.policy.reference import LiveReference
from alignment.rollouts.rollouts import Micro, Rollouts
from rewardkit.network.logps import CompletionLogps
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.steps import Part, weighted

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NAMES = (*PAIR_METRICS, "entropy", "sampling/logp_difference")


class OnlineDpo:
    """One step after another; see the module.

    Args:
        reference: the policy of the start; None where nobody asks for it.
        anchor: a reference of the loss that follows the policy; None where the loss keeps the one of the start.
        tokenizer: of the policy, which demonstrations are read by; None where there are none.
    """

    def __init__(
        self,
        config: OnlineDpoConfig,
        update: PolicyUpdate,
        reference: LiveReference | None,
        anchor: LiveReference | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        self.config, self.update, self.reference, self.anchor = config, update, reference, anchor
        self.tokenizer = tokenizer
        self.options, self.traits = config.options, PAIR_LOSSES[config.loss]
        self.carried = Carried(self.options.strength, anchor=anchor.forward.network if anchor else None)

    def step(self, draw: Draw, *, with_entropy: bool, with_kl: bool) -> Learned:
        collected = draw(self.config.prompts_per_step, 0)
        rollouts, scored = collected.rollouts, collected.scored
        metrics = dict(collected.timed) | {"beta": self.options.strength}
        held_to = None if self.config.plays_demonstrations else self.anchor or self.reference
        held = reference_logps(self.update, held_to, rollouts) if held_to and self.traits.needs_reference else None
        if with_kl and self.reference:
            reference = held if held_to is self.reference else None
            reference = reference_logps(self.update, self.reference, rollouts) if reference is None else reference
            metrics |= kl_metrics(rollouts.logps.to(reference), reference, len(rollouts))
        if self.config.plays_demonstrations:
            assert self.tokenizer
            learned_from = with_demonstrations(rollouts, self.tokenizer, max_new_tokens=self.config.max_new_tokens)
            held = self.update.token_logps(learned_from)  # of the policy that drew: it has not moved yet
            pairs = against_own(learned_from, held)
        else:
            learned_from, pairs = rollouts, best_and_worst(rollouts, scored)
        metrics["groups/zero_advantage_share"] = 1.0 - len(set(pairs.groups.tolist())) / len(rollouts.rows)
        if len(pairs):
            metrics["pairs/margin"] = float(pairs.margin.mean())
            metrics["pairs/p_chosen"] = float(pairs.p_chosen.mean())
            metrics |= self._learn(learned_from, pairs, held, with_entropy=with_entropy)
        self._move_anchor()
        return Learned(rollouts=rollouts, scored=scored, metrics=metrics)

    def _learn(
        self, rollouts: Rollouts, pairs: DrawnPairs, held: Tensor | None, *, with_entropy: bool
    ) -> dict[str, float]:
        """Takes the optimizer steps and returns their metrics."""
        reference = None
        if held is not None:
            reference = held.new_zeros(len(rollouts)).index_add(0, rollouts.branch.to(held.device), held)
        p_chosen = None
        if self.config.soft_labels:
            p_chosen = torch.ones(len(rollouts.rows))
            p_chosen[pairs.groups] = torch.from_numpy(pairs.p_chosen).float()
        weight = torch.ones(len(rollouts.rows))
        weight[pairs.groups] = torch.from_numpy(pairs.weight).float()

        steps_before = self.update.num_steps

        def part(logps: CompletionLogps, micro: Micro) -> Part:
            has_moved = self.update.num_steps > steps_before
            return self._part(logps, micro, rollouts, reference, p_chosen, weight, has_moved=has_moved)

        steps = (
            Minibatch(branches=pairs.branches(places), total=float(pairs.weight[places].sum()))
            for places in minibatches(len(pairs), self.config, self.carried)
        )
        return self.update.learn(rollouts, steps, part, NAMES, with_entropy=with_entropy, together=True)

    def _part(
        self,
        logps: CompletionLogps,
        micro: Micro,
        rollouts: Rollouts,
        reference: Tensor | None,
        p_chosen: Tensor | None,
        weight: Tensor,
        *,
        has_moved: bool,
    ) -> Part:
        """Losses and metrics of a micro-batch, whose completions are pairs, chosen before rejected.

        Args:
            reference: (N,) log-probabilities of completions.
            p_chosen, weight: (P,) by prompt.
            has_moved: whether the policy is another than the one that drew, which is not measured then.
        """
        policy = logps.sums().view(-1, 2)
        lengths = logps.lengths.view(-1, 2)
        prompts = micro.branches[::2] // rollouts.group_size
        of_reference = None if reference is None else reference[micro.branches.to(reference.device)].view(-1, 2)
        loss = pair_loss(
            pair_logps(policy, of_reference, lengths),
            self.options,
            p_chosen=None if p_chosen is None else p_chosen[prompts].to(policy.device),
        )
        own = logps.token_logps.detach()
        sampler = rollouts.logps[micro.tokens].to(own)
        was_drawn = sampler.isfinite()  # demonstrations were not
        difference = (own - sampler).abs().where(was_drawn, 0.0)
        columns = [
            *pair_columns(loss, policy, torch.ones_like(loss.chosen_rewards)),
            entropy_column(logps),
            (difference, was_drawn.to(own) * float(not has_moved)),
        ]
        sums, weights = weighted(columns)
        return Part(loss=(loss.losses * weight[prompts].to(policy.device)).sum(), sums=sums, weights=weights)

    @torch.no_grad()
    def _move_anchor(self) -> None:
        """Copies the policy's weights to the loss's reference, if that is due; a step draws its prompts at once."""
        steps = int(self.carried.position) // self.config.prompts_per_step
        if self.anchor is None or steps % self.config.reference_every:
            return
        held, own = self.anchor.forward.network.parameters(), self.update.forward.network.parameters()
        for anchored, moved in zip(held, own, strict=True):
            anchored.copy_(moved)


def train_online_dpo(context: RunContext[OnlineDpoConfig]) -> Results | None:
    """Trains and saves; returns the results, or None where it was asked to stop and can be continued."""
    config = context.config
    traits = PAIR_LOSSES[config.loss]

    def build(parts: Parts) -> tuple[OnlineDpo, PolicyUpdate]:
        update = parts.update(config)
        return OnlineDpo(config, update, parts.reference, parts.anchor, parts.policy.tokenizer), update

    name = "self-play fine-tuning" if config.plays_demonstrations else "online direct preference optimisation"
    method = f"{name}, loss {config.loss}: {traits.summary}"
    needs_reference = traits.needs_reference and not config.reference_every and not config.plays_demonstrations
    needs_anchor = bool(config.reference_every)
    return train_online(context, build, method=method, needs_reference=needs_reference, needs_anchor=needs_anchor)
