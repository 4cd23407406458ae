"""Log-probabilities under the reference: the policy as it was before the first step.

Precomputed, the policy itself computes them before it moves, and a file keeps them under a hash of all that decides
them. Live, a frozen copy computes them in every step, or with adapters the same weights without these.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from alignment.policy.policy import Policy
from alignment.policy.policy_forward import Forward
from alignment.policy.rows import PolicyRows
from rewardkit.distributed import collectives
from rewardkit.distributed.sharding import full_tensor
from rewardkit.network.layout import trial_rows
from rewardkit.network.logps import completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.weights.held import hold_in_bf16
from rewardkit.weights.offload import Away

logger = logging.getLogger(__name__)


class LiveReference:
    """Computes the reference's log-probabilities on demand; without adapters it holds a copy of the weights."""

    def __init__(self, policy: Policy, forward: Forward) -> None:
        self.policy, self.forward = policy, forward
        self.away: Away | None = None
        if policy.adapted is None:
            network = copy.deepcopy(policy.network).eval().requires_grad_(False)
            self.forward = replace(forward, network=network)
            if forward.frozen_in_bf16:
                run = partial(completion_logps, network, trial_rows(network.config), packed=forward.packed)
                hold_in_bf16(network, must=False, run=run)
            if forward.offload_frozen:
                self.away = Away(network, forward.device)

    def shard(self, forward: Forward) -> None:
        """Shards the copy's weights as `forward`, the policy's, is sharded; adapters need no copy."""
        if self.policy.adapted is None:
            self.away = None  # a shard stays on its device
            forward = self.forward.shard(forward.device)
        self.forward = forward

    def _mode(self) -> AbstractContextManager[None]:
        if self.policy.adapted is not None:
            return self.policy.without_adapters()
        return nullcontext() if self.away is None else self.away.here()

    @contextmanager
    def computing(self) -> Iterator[Forward]:
        """Yields the reference's `Forward` within the block."""
        with self._mode():
            yield self.forward

    @torch.no_grad()
    def sums(self, rows: Sequence[Branched]) -> Tensor:
        """(N, S) float32 of one micro-batch."""
        with self.computing() as forward:
            return forward.branch_sums(forward.logps(rows)).view(len(rows), -1)

    def all_sums(self, rows: Sequence[Branched]) -> Tensor:
        """Returns (N, S) float32 of many rows, divided among the processes."""
        with self.computing() as forward:
            return forward.sums(rows)


def with_reference(*sides: PolicyRows, forward: Forward, cache_dir: Path, is_first: bool) -> tuple[PolicyRows, ...]:
    """The rows with log-probabilities under the network as it is now, read from the cache or computed and kept there.

    Args:
        forward: of the network before its first step; new adapters change nothing yet.
        cache_dir: a folder, made if it is missing; runs may share it.
        is_first: whether this process reads and writes.

    Raises:
        OSError: naming the file, if the disk is full.
    """
    model = hash_of_model(forward) if is_first or forward.sharded else None

    def look_up(rows: Sequence[Branched]) -> Tensor:
        file = cache_dir / f"{hash_of_rows(rows, model)}.safetensors" if model and is_first else None
        values = collectives.broadcast_object(_read(file) if file else None)
        if values is None:
            values = forward.sums(rows).cpu()
            if file:
                _write(values, file)
        elif file:
            logger.info("log-probabilities of the reference for %d rows are read from %s", len(rows), file)
        return values

    return tuple(
        replace(
            side,
            reference=look_up(side.rows),
            partner_reference=look_up(side.partners) if side.partners else None,
        )
        for side in sides
    )


def hash_of_model(forward: Forward) -> bytes:
    """SHA-256 of what decides log-probabilities of token ids: weights, architecture, precision, what is summed.

    New adapters, which change nothing, do not count; the chat template does through the tokens that it gave.
    """
    digest = hashlib.sha256()
    config = {name: value for name, value in forward.network.config.to_dict().items() if name != "_name_or_path"}
    form = [str(forward.precision), forward.device.type, torch.__version__, forward.packed]
    form += [] if forward.ld_alpha == 1.0 else [forward.ld_alpha]
    digest.update(json.dumps([config, form], sort_keys=True, default=str).encode())
    for name, tensor in forward.network.state_dict().items():
        if "lora_" in name:
            continue
        digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(full_tensor(tensor.detach()).cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.digest()


def hash_of_rows(rows: Sequence[Branched], model: bytes) -> str:
    """SHA-256 of a model's hash and token ids, in hexadecimal digits."""
    digest = hashlib.sha256(model)
    for row in rows:
        digest.update(json.dumps([row.prompt, row.branches]).encode())
    return digest.hexdigest()


def _read(file: Path) -> Tensor | None:
    try:
        return load_file(file)["logps"] if file.exists() else None
    except (SafetensorError, KeyError) as error:
        logger.warning("%s is not readable and is computed again: %s", file, error)
        return None


def _write(values: Tensor, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        save_file({"logps": values.contiguous()}, temporary)
        temporary.replace(file)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(f"{file} could not be written: {error}") from error
