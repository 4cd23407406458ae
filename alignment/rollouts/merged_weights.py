"""All weights of a policy as an engine of others takes them: adapters folded in, under the names without adapters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@torch.no_grad()
def merged_weights(network: PreTrainedModel) -> dict[str, Tensor]:
    """By name; LoRA is folded in, W + scale B A, out of place: the network is not touched.

    What no adapter acts on is the network's own memory.
    """
    adapted = {name: module for name, module in network.named_modules() if hasattr(module, "lora_A")}
    prefixes = tuple(f"{name}." for name in adapted)
    weights = {name: weight for name, weight in network.state_dict().items() if not name.startswith(prefixes)}
    for name, module in adapted.items():
        weights |= {f"{name}.{part}": weight for part, weight in _folded(module).items()}
    return weights


def write_merged(network: PreTrainedModel, folder: Path) -> None:
    """Writes the merged weights as an ordinary transformers model, renamed into place when complete.

    Raises:
        OSError: if the disk is full.
    """
    writing = folder.with_name(f".{folder.name}.writing")
    try:
        network.save_pretrained(writing, state_dict=merged_weights(network))
    except SafetensorError as error:
        raise OSError(f"weights could not be written to {folder}: {error}") from error
    writing.rename(folder)


def _folded(module: Any) -> dict[str, Tensor]:
    """Returns weight and bias of a layer with its LoRA folded in."""
    base = module.get_base_layer()
    weight = base.weight.detach()
    for name in module.active_adapters:
        weight = weight + module.get_delta_weight(name).to(weight.device)  # a held bf16 widens
    bias = getattr(base, "bias", None)
    return {"weight": weight} if bias is None else {"weight": weight, "bias": bias.detach()}
