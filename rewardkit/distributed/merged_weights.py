"""All weights of a network as an ordinary model has them: adapters folded in, under the names without adapters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from rewardkit.distributed import collectives
from rewardkit.distributed.sharding import full_tensor, has_shards, is_sharded, sharded_by_rows
from rewardkit.distributed.shared_file import whole_on_disk

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

BELOW = re.compile(r"\.base(_layer)?\.(?=weight$)")  # a layer beneath its adapters
FILE_SIZE = "5GB"  # of a file of a model whose weights were sharded, so that a part of it is in memory at a time


@torch.no_grad()
def merged_weights(network: PreTrainedModel) -> dict[str, Tensor]:
    """By name; LoRA is folded in, W + scale B A, out of place: the network is not touched; of members their average.

    What no adapter acts on is the network's own memory. Sharded weights stay sharded; every process has to call it.
    """
    adapted = {
        name: module
        for name, module in network.named_modules()
        if hasattr(module, "lora_A") or hasattr(module, "averaged_members")
    }
    prefixes = tuple(f"{name}." for name in adapted)
    own = network.state_dict(keep_vars=True)
    weights = {name: weight for name, weight in own.items() if not name.startswith(prefixes)}
    for name, module in adapted.items():
        weights |= {f"{name}.{part}": weight for part, weight in _folded(module).items()}
    # Sharded weights that are tied are known by being one object.
    return {name: weight if is_sharded(weight) else weight.detach() for name, weight in weights.items()}


def write_merged(network: PreTrainedModel, folder: Path) -> None:
    """Writes the merged weights as an ordinary transformers model, renamed into place when complete.

    Every process takes part where weights are sharded; else the first one calls it.

    Raises:
        OSError: if the disk is full.
    """
    writing = folder.with_name(f".{folder.name}.writing")
    weights = merged_weights(network)
    try:
        if not has_shards(network):
            save_weights(network, weights, writing)
        else:
            with whole_on_disk(weights, folder.parent) as whole:
                if collectives.rank() == 0:
                    save_weights(network, whole, writing)
    except SafetensorError as error:
        raise OSError(f"weights could not be written to {folder}: {error}") from error
    if collectives.rank() == 0:
        writing.rename(folder)


def save_weights(network: PreTrainedModel, weights: Mapping[str, Tensor], folder: Path) -> None:
    """Writes an ordinary transformers model with these weights; SafetensorError where the disk is full."""
    size: dict[str, Any] = {"max_shard_size": FILE_SIZE} if has_shards(network) else {}
    network.save_pretrained(folder, state_dict=dict(weights), **size)


def in_full_width(weights: Mapping[str, Tensor], network: PreTrainedModel, base: PreTrainedModel) -> dict[str, Tensor]:
    """Merged weights with what frozen ones lost when they were rounded to bf16.

    Args:
        weights: those of `merged_weights`, put together of their shards.
        network: the one that they are of.
        base: that network as it is on disk, without adapters.
    """
    held = [name for name, parameter in network.named_parameters() if parameter.dtype == torch.bfloat16]
    exact, wide = base.state_dict(), {}
    for name in (BELOW.sub(".", name) for name in held):
        lost = exact[name] - exact[name].bfloat16().float()
        wide[id(weights[name])] = weights[name].float() + lost
    return {name: wide.get(id(weight), weight) for name, weight in weights.items()}  # tied ones stay one


def full_adapters(adapted: PeftModel) -> dict[str, Tensor]:
    """The weights of adapters by peft's names, put together of their shards; every process has to call it."""
    return {name: full_tensor(weight) for name, weight in adapted.state_dict().items() if "lora_" in name}


def _folded(module: Any) -> dict[str, Tensor]:
    """Returns weight and bias of a layer with its LoRA folded in."""
    if hasattr(module, "averaged_members"):  # `rewardkit.reward.lora_ensemble`
        return module.averaged_members()
    base = module.get_base_layer()
    weight = base.weight.detach()
    for name in module.active_adapters:
        weight = weight + module.get_delta_weight(name).to(weight.device)  # a held bf16 widens
    weight = sharded_by_rows(weight)
    bias = getattr(base, "bias", None)
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias.detach()}
