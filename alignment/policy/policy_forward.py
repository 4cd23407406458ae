"""A policy's log-probabilities over many rows: micro-batches by token budget, divided among processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alignment.config.training import PolicyConfig, Precision
from alignment.losses.pair_tokens import desensitised_sums
from alignment.policy.policy import Policy
from rewardkit.distributed import collectives
from rewardkit.distributed.optimization import autocast, wants_bf16
from rewardkit.distributed.sharding import Sharded
from rewardkit.network.logps import CompletionLogps, can_pack_policy, completion_logps
from rewardkit.network.models import recomputes_activations
from rewardkit.network.packed_rows import Branched
from rewardkit.training.loop import MicroBatch, micro_batches
from rewardkit.weights.offload import activations_away

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Forward:
    """A network with the options of its forward pass.

    Attributes:
        packed: whether they run packed.
        token_budget: tokens per micro-batch.
        sharded: the network with sharded weights; None where every process holds all of them.
        offload_activations: see `PolicyConfig`.
        frozen_in_bf16, offload_frozen: how a frozen copy of the network is held.
        ld_alpha: weight of the tokens of a pair's completion beyond the length of the other one, in sums over branches.
    """

    network: PreTrainedModel | PeftModel
    packed: bool
    token_budget: int
    precision: Precision
    sharded: Sharded | None = None
    offload_activations: bool = False
    frozen_in_bf16: bool = False
    offload_frozen: bool = False
    ld_alpha: float = 1.0

    @property
    def device(self) -> torch.device:
        return self.network.get_input_embeddings().weight.device  # pyright: ignore

    def shard(self, device: torch.device) -> Forward:
        """Shards the weights, in place; returns the forward of the sharded network."""
        return replace(self, sharded=Sharded(self.network, device))

    def autocast(self) -> AbstractContextManager[object]:
        """The number format of matrix products."""
        return autocast(self.precision, self.device, keeps_casts=not recomputes_activations(self.network))

    def activations_away(self, module: torch.nn.Module | None = None) -> AbstractContextManager[object]:
        """Where what backward needs of a pass through the network, or another module, lies in between."""
        asked = self.offload_activations and torch.is_grad_enabled()
        return activations_away(asked, self.network if module is None else module)

    def logps(
        self,
        rows: Sequence[Branched],
        *,
        keep: Tensor | None = None,
        with_entropy: bool = False,
        with_squares: bool = False,
        temperature: float = 1.0,
    ) -> CompletionLogps:
        options: dict[str, Any] = {"packed": self.packed, "with_entropy": with_entropy, "temperature": temperature}
        compute = partial(completion_logps, self.network, rows, keep=keep, with_squares=with_squares, **options)
        with self.autocast(), self.activations_away():
            if self.sharded is None:
                return compute()
            return CompletionLogps(**self.sharded.run(lambda: vars(compute())))

    def branch_sums(self, logps: CompletionLogps) -> Tensor:
        """(S,) float32, nats, sums over the branches' kept tokens, with `ld_alpha` for those of pairs."""
        if self.ld_alpha == 1.0:
            return logps.sums()
        return desensitised_sums(logps.token_logps, logps.lengths, ld_alpha=self.ld_alpha)

    def micro_batches(self, lengths: Sequence[int]) -> list[MicroBatch]:
        """This process's share of rows of the given lengths; all processes have equally many with sharded weights."""
        return micro_batches(lengths, token_budget=self.token_budget, equally_many=self.sharded is not None)

    @torch.no_grad()
    def sums(self, rows: Sequence[Branched]) -> Tensor:
        """(N, S) float32 log-probabilities of the branches, S alike in all rows; in every process all of them."""
        logps = torch.zeros(len(rows), len(rows[0].branches), device=self.device)
        for micro in self.micro_batches([row.num_tokens for row in rows]):
            sums = self.branch_sums(self.logps([rows[index] for index in micro.places]))
            logps[micro.places] += sums.view(len(micro.places), -1) * micro.share
        collectives.all_reduce_sum([logps])
        return logps


def place(policy: Policy, config: PolicyConfig, device: torch.device, *, will_be_sharded: bool = False) -> Forward:
    """Brings a policy to the device with the first process's weights, unless sharding will; returns its forward."""
    packed = policy.packed
    if not will_be_sharded:
        if not config.load_in_4bit:
            policy.network.to(device)  # pyright: ignore[reportArgumentType]
        collectives.broadcast_parameters(policy.network.parameters())
        if packed and device.type == "cuda":  # it was tried on the CPU, where rows are attended otherwise
            packed = can_pack_policy(policy.network)
    return Forward(
        network=policy.network,
        packed=packed,
        token_budget=config.token_budget,
        precision=config.precision,
        offload_activations=config.offload_activations,
        frozen_in_bf16=wants_bf16(config.frozen_weights, device),
        offload_frozen=config.offload_frozen,
    )
