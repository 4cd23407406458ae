"""Optimizer steps on parts of the rollouts, and passes without gradient over all of them.

A step's loss is a sum over completions divided by a total over the whole step, so that micro-batches and processes
never change it. A micro-batch that does not fit into memory is halved, and the step is begun again; not where weights
are sharded, as processes compute their layers together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignment.online import pretraining_mix
from alignment.online.pretraining_mix import PretrainingMix
from alignment.policy.policy_forward import Forward
from alignment.rollouts.rollouts import Micro, Rollouts
from rewardkit.distributed import collectives
from rewardkit.network import router_loss
from rewardkit.network.logps import CompletionLogps
from rewardkit.training.steps import Part, Stepped, means, optimizer_step

logger = logging.getLogger(__name__)
LEAST_BUDGET = 64  # tokens: a micro-batch this small is not halved again

PartOf = Callable[[CompletionLogps, Micro], Part]
"""Loss and metrics of a micro-batch, given the policy's log-probabilities of its tokens."""


@dataclass(frozen=True, kw_only=True)
class Minibatch:
    """The completions of one optimizer step.

    Attributes:
        branches: numbers of the completions.
        total: what the sum of their losses is divided by; 0 takes no gradient.
    """

    branches: Sequence[int]
    total: float


class PolicyUpdate:
    """A network and its optimizer, and the size of micro-batches that memory allows.

    Args:
        temperature: of all log-probabilities.
        token_budget: tokens of a micro-batch, until memory says less.
        mix: what is learned beside the rewards; None where nothing is.
    """

    def __init__(
        self,
        forward: Forward,
        optimizer: torch.optim.Optimizer,
        *,
        temperature: float,
        token_budget: int,
        max_grad_norm: float,
        mix: PretrainingMix | None = None,
    ) -> None:
        self.forward, self.optimizer, self.temperature = forward, optimizer, temperature
        self.token_budget, self.max_grad_norm = token_budget, max_grad_norm
        self.mix = mix
        self.num_steps = 0  # taken by this process
        self.balances = router_loss.has_router_loss(forward.network)

    def learn(
        self,
        rollouts: Rollouts,
        minibatches: Iterable[Minibatch],
        part: PartOf,
        names: Sequence[str],
        *,
        with_entropy: bool = False,
        together: bool = False,
        is_enough: Callable[[Mapping[str, float]], bool] = lambda metrics: False,
    ) -> dict[str, float]:
        """Takes an optimizer step for every minibatch.

        Args:
            names: of the metrics that `part` gives.
            is_enough: given the metrics of a step, whether it is the last one.

        Returns:
            The mean loss and gradient norm of the steps, and the metrics, weighted over all of them.
        """
        names = (*names, *((router_loss.METRIC,) if self.balances else ()))
        names = (*names, *((pretraining_mix.METRIC,) if self.mix else ()))
        sums, losses, grad_norms = torch.zeros(2, len(names)), [], []
        for number, minibatch in enumerate(minibatches):
            stepped = self.step(
                rollouts,
                minibatch,
                part,
                num_metrics=len(names),
                with_entropy=with_entropy,
                together=together,
                number=number,
            )
            sums += stepped.sums[:, 1:]
            losses.append(float(stepped.sums[0, 0]) / (minibatch.total or 1.0))
            grad_norms.append(stepped.grad_norm)
            if is_enough(means(names, stepped.sums[:, 1:])):
                break
        return {"loss": float(np.mean(losses)), "grad_norm": float(np.mean(grad_norms))} | means(names, sums)

    def step(
        self,
        rollouts: Rollouts,
        minibatch: Minibatch,
        part: PartOf,
        *,
        num_metrics: int,
        with_entropy: bool = False,
        together: bool = False,
        number: int = 0,
    ) -> Stepped:
        """Takes one optimizer step on some completions.

        Args:
            part: its losses are summed over the micro-batches.
            num_metrics: M, how many metrics `part` gives, one more where the network balances its experts, and one more
                with a mix.
            number: of the optimizer step among those on these rollouts.
            together: see `Rollouts.micro_batches`.

        Raises:
            FloatingPointError: if loss or gradient is not finite.
        """

        def gradients() -> Tensor:
            sums = torch.zeros(2, 1 + num_metrics, device=self.forward.device)
            for micro in self._micro_batches(rollouts, minibatch.branches, together=together):
                with router_loss.router_losses() as auxiliary, torch.set_grad_enabled(bool(minibatch.total)):
                    logps = self.forward.logps(micro.rows, temperature=self.temperature, with_entropy=with_entropy)
                    micro_part = part(logps, micro)
                if self.balances:
                    num_rows = len(micro.branches)
                    share = minibatch.total * num_rows / len(minibatch.branches)
                    micro_part = micro_part.with_router_loss(auxiliary, num_rows=num_rows, share=share)
                if minibatch.total:
                    (micro_part.loss * micro.share / minibatch.total).backward()
                columns = micro_part.columns() * micro.share
                sums[:, : columns.shape[1]] += columns
            if self.mix:
                key = (*rollouts.numbers, number)
                sums[:, -1] += self.mix.backward(self.forward, key, max(len(minibatch.branches), 1))
            if collectives.rank() == 0:
                sums[1, 0] = minibatch.total
            return sums

        stepped = optimizer_step(self.optimizer, self._within_memory(gradients), max_grad_norm=self.max_grad_norm)
        self.num_steps += 1
        return stepped

    @torch.no_grad()
    def over_tokens(
        self,
        rollouts: Rollouts,
        values: Callable[[CompletionLogps, Micro], Tensor],
        *,
        num_columns: int = 1,
        forward: Forward | None = None,
        with_entropy: bool = False,
    ) -> Tensor:
        """(columns, C) float32 of all tokens, the same in every process.

        Args:
            values: (columns, M) of a micro-batch, given log-probabilities of its tokens.
            forward: of another network than the policy.
        """

        def compute() -> Tensor:
            columns = torch.zeros(num_columns, int(rollouts.lengths.sum()), device=self.forward.device)
            for micro in self._micro_batches(rollouts, range(len(rollouts))):
                logps = (forward or self.forward).logps(
                    micro.rows, temperature=self.temperature, with_entropy=with_entropy
                )
                of_tokens = values(logps, micro).to(columns)
                if micro.share:
                    columns[:, micro.tokens.to(columns.device)] = of_tokens
            return columns

        columns = self._within_memory(compute)
        collectives.all_reduce_sum([columns])
        return columns

    def token_logps(self, rollouts: Rollouts, *, forward: Forward | None = None) -> Tensor:
        """(C,) float32, nats, of all tokens under the policy, or under another network; the same in every process."""
        return self.over_tokens(rollouts, lambda logps, _: logps.token_logps[None], forward=forward)[0]

    def _micro_batches(self, rollouts: Rollouts, branches: Sequence[int], *, together: bool = False) -> list[Micro]:
        equally_many = self.forward.sharded is not None
        return rollouts.micro_batches(
            branches, token_budget=self.token_budget, together=together, equally_many=equally_many
        )

    def _within_memory(self, work: Callable[[], Tensor]) -> Tensor:
        """Runs work again with smaller micro-batches while memory does not suffice; returns its result."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.token_budget <= LEAST_BUDGET:
                    raise
                if self.forward.sharded:  # the others wait for the rest of this micro-batch
                    raise type(error)(f"token_budget {self.token_budget} does not fit, give less: {error}") from error
                self.token_budget //= 2
            self.optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            logger.warning("out of memory: micro-batches have up to %d tokens from now on", self.token_budget)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on a GPU or (said in words only) on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
