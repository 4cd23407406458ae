"""Optimizer steps on parts of the rollouts, and passes without gradient over all of them.

A step's loss is a sum over completions divided by a total over the whole step, so that micro-batches and processes
never change it. A micro-batch that does not fit into memory is halved, and the step is begun again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignment.policy.policy_forward import Forward, Part
from alignment.rollouts.rollouts import Micro, Rollouts
from rewardkit.distributed import collectives
from rewardkit.distributed.optimization import all_reduce_gradients
from rewardkit.network.logps import CompletionLogps

logger = logging.getLogger(__name__)
LEAST_BUDGET = 64  # tokens: a micro-batch this small is not halved again

PartOf = Callable[[CompletionLogps, Micro], Part]
"""Loss and metrics of a micro-batch, given the policy's log-probabilities of its tokens."""


@dataclass(frozen=True, kw_only=True)
class Stepped:
    """What an optimizer step measured.

    Attributes:
        sums: (2, M) float32, weighted sums and weights of the metrics.
        grad_norm: of the gradient before it was clipped.
    """

    sums: Tensor
    grad_norm: float


class PolicyUpdate:
    """A network and its optimizer, and the size of micro-batches that memory allows.

    Args:
        temperature: of all log-probabilities.
        token_budget: tokens of a micro-batch, until memory says less.
    """

    def __init__(
        self,
        forward: Forward,
        optimizer: torch.optim.Optimizer,
        *,
        temperature: float,
        token_budget: int,
        max_grad_norm: float,
    ) -> None:
        self.forward, self.optimizer, self.temperature = forward, optimizer, temperature
        self.token_budget, self.max_grad_norm = token_budget, max_grad_norm
        self.parameters: list[torch.nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]

    def step(
        self,
        rollouts: Rollouts,
        branches: Sequence[int],
        part: PartOf,
        *,
        total: float,
        num_metrics: int,
        with_entropy: bool = False,
        together: bool = False,
    ) -> Stepped:
        """One optimizer step on some completions.

        Args:
            part: its losses are summed over the micro-batches.
            total: what the sum is divided by; 0 takes no gradient.
            num_metrics: M, how many metrics `part` gives.
            together: see `Rollouts.micro_batches`.
        """

        def gradients() -> Tensor:
            sums = torch.zeros(2, num_metrics, device=self.forward.device)
            for micro in rollouts.micro_batches(branches, token_budget=self.token_budget, together=together):
                logps = self.forward.logps(micro.rows, temperature=self.temperature, with_entropy=with_entropy)
                found = part(logps, micro)
                if total:
                    (found.loss / total).backward()
                sums += torch.stack((found.sums, found.weights))
            return sums

        sums = self._within_memory(gradients)
        all_reduce_gradients(self.parameters, sums)
        grad_norm = float(torch.nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm))
        if not torch.isfinite(torch.tensor(grad_norm)):
            raise FloatingPointError(f"gradient norm {grad_norm}")
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Stepped(sums=sums, grad_norm=grad_norm)

    @torch.no_grad()
    def over_tokens(
        self,
        rollouts: Rollouts,
        values: Callable[[CompletionLogps, Micro], Tensor],
        *,
        num_columns: int = 1,
        forward: Forward | None = None,
    ) -> Tensor:
        """(columns, C) float32 of all tokens, the same in every process.

        Args:
            values: (columns, M) of a micro-batch, given log-probabilities of its tokens.
            forward: of another network than the policy.
        """

        def compute() -> Tensor:
            found = torch.zeros(num_columns, int(rollouts.lengths.sum()), device=self.forward.device)
            for micro in rollouts.micro_batches(range(len(rollouts)), token_budget=self.token_budget):
                logps = (forward or self.forward).logps(micro.rows, temperature=self.temperature)
                found[:, micro.tokens.to(found.device)] = values(logps, micro).to(found)
            return found

        found = self._within_memory(compute)
        collectives.all_reduce_sum([found])
        return found

    def token_logps(self, rollouts: Rollouts, *, forward: Forward | None = None) -> Tensor:
        """(C,) float32, nats, of all tokens under the policy, or under another network; the same in every process."""
        return self.over_tokens(rollouts, lambda logps, _: logps.token_logps[None], forward=forward)[0]

    def _within_memory(self, work: Callable[[], Tensor]) -> Tensor:
        """The result of work that is tried again with smaller micro-batches while memory does not suffice."""
        while True:
            try:
                return work()
            except RuntimeError as error:
                if not is_out_of_memory(error) or self.token_budget <= LEAST_BUDGET:
                    raise
                self.token_budget //= 2
            self.optimizer.zero_grad(set_to_none=True)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            logger.warning("out of memory: micro-batches have up to %d tokens from now on", self.token_budget)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed, on a GPU or (said in words only) on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)
