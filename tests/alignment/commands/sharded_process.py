"""One of several processes that hold a policy's weights in parts; `test_sharded.py` starts them and reads the results.

Run by torch's launcher with a folder, into which the first process writes NAME.pt for every architecture.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from transformers import GPT2Config, LlamaConfig

from alignment.offline.objective import PolicyObjective
from alignment.offline.sft import SftLoss
from alignment.policy.policy import make_network
from alignment.policy.policy_forward import Forward
from alignment.policy.rows import PolicyRows
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint, TrainingState
from rewardkit.distributed.optimization import adamw
from rewardkit.distributed.sharding import full_tensor
from rewardkit.network.logps import can_pack_policy
from rewardkit.network.packed_rows import Branched
from rewardkit.training.loop import sum_parts


def llama(*, tied: bool) -> LlamaConfig:
    """A vocabulary that does not divide by two."""
    return LlamaConfig(
        vocab_size=61,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=0,
        tie_word_embeddings=tied,
    )


NETWORKS = {
    "llama": llama(tied=False),
    "tied": llama(tied=True),
    "gpt2": GPT2Config(vocab_size=61, n_embd=16, n_layer=2, n_head=2, pad_token_id=0, bos_token_id=1, eos_token_id=2),
}
BATCHES = ([0, 1, 2, 3, 4, 5, 6], [7])  # of the second one a process has no row
MAX_NORM = 0.5


def rows() -> PolicyRows:
    """Rows of very different length, so that processes need different numbers of micro-batches."""
    generator = torch.Generator().manual_seed(0)
    lengths = [30, 3, 4, 25, 5, 3, 4, 9]
    prompts = [torch.randint(3, 61, (length,), generator=generator).tolist() for length in lengths]
    made = [Branched(prompt=tuple(prompt), branches=((prompt[0], prompt[-1], 5),)) for prompt in prompts]
    count = len(made)
    return PolicyRows(
        rows=made,
        keep=None,
        weight=torch.arange(1, count + 1) / count,
        p_chosen=torch.ones(count),
        margin=torch.zeros(count),
        desirable=torch.ones(count, dtype=torch.bool),
        prompts=[()] * count,
        partners=[],
    )


def forward_of(name: str) -> Forward:
    """In float64, and by transformers' modules as weights in parts run, so that what differs is not rounding."""
    network = make_network(NETWORKS[name], seed=0).double()
    packed = can_pack_policy(network)
    network.takes_own_steps = False
    return Forward(network=network, packed=packed, token_budget=12, precision="fp32")


def held_bytes(forward: Forward, optimizer: torch.optim.Optimizer) -> int:
    """Bytes that this process holds of weights, their gradients and the optimizer's moments."""
    weights = list(forward.network.parameters())
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    moments = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    held = (*weights, *gradients, *moments)
    local = [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in held]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in local}
    return sum(storages.values())  # gradients of a layer share one


def trainable(forward: Forward) -> tuple[PolicyObjective, torch.optim.Optimizer]:
    """What `two_steps` trains."""
    objective = PolicyObjective(forward=forward, loss=SftLoss(), rows=rows(), held_out=rows(), weight_decay=0.1)
    return objective, adamw(objective.parameter_groups(), 0.01)


@contextmanager
def no_full_tensors() -> Iterator[None]:
    """Within the block nothing is put together of shards."""
    with patch.object(DTensor, "full_tensor", side_effect=AssertionError("a tensor was put together")):
        yield


def two_steps(forward: Forward, folder: Path) -> dict:
    """Gradients, norms, losses and weights of two steps, the state between them kept in a folder and read again."""
    objective, optimizer = trainable(forward)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    checkpoint = Checkpoint(folder)
    found: dict = {"gradients": [], "norms": [], "held": 0, "shares": []}
    for step, batch in enumerate(BATCHES):
        if step:
            with torch.no_grad():
                for parameter in parameters:  # what is not read back would be seen
                    parameter.zero_()
            with no_full_tensors():
                checkpoint.restore(forward.network, objective.extra, optimizer)
        sizes = [rows().rows[index].num_tokens for index in batch]
        found["shares"].append([micro.share for micro in forward.micro_batches(sizes)])
        sums = sum_parts(objective, batch, measures=False, learns=True)
        collectives.all_reduce_sum([sums])
        gradients = {name: p.grad for name, p in forward.network.named_parameters() if p.grad is not None}
        found["gradients"].append({name: full_tensor(gradient).clone() for name, gradient in gradients.items()})
        found["norms"].append(float(full_tensor(torch.nn.utils.clip_grad_norm_(parameters, MAX_NORM))))
        optimizer.step()
        found["held"] = held_bytes(forward, optimizer)
        optimizer.zero_grad(set_to_none=True)
        found[f"loss {step}"] = float(sums[0, 0])
        found[f"held out {step}"] = objective.evaluate().loss
        if not step:
            with no_full_tensors():
                checkpoint.write(TrainingState(step=1), forward.network, objective.extra, optimizer)
            collectives.any_true(False, forward.device)  # nobody reads before it is written
    found["weights"] = {name: full_tensor(p.detach()) for name, p in forward.network.named_parameters()}
    return found


def main(folder: Path) -> None:
    """Writes what two steps give in parts, with the bytes of every process."""
    device = collectives.init_process_group()
    rank, world_size = collectives.rank(), collectives.world_size()
    for name in NETWORKS:
        forward = forward_of(name)
        forward = forward.shard(device)
        found = two_steps(forward, folder / name)
        of_each: list = [None] * world_size
        dist.all_gather_object(of_each, (found["held"], found["shares"]))
        held, shares = zip(*of_each, strict=True)
        if rank == 0:
            torch.save(found | {"held by process": held, "shares by process": shares}, folder / f"{name}.pt")
    collectives.destroy_process_group()
    os._exit(0)  # as `rewardkit.run.training_command` ends one of several processes


if __name__ == "__main__":
    main(Path(sys.argv[1]))
