"""LoRA: low-rank adapters on the linear layers of a trunk (Hu et al. 2022, arXiv 2106.09685), through peft."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers.pytorch_utils import Conv1D

from rewardkit.network.models import head_of

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

LAYER = re.compile(r"\.(\d+)\.")


def add_adapters(classifier: PreTrainedModel, *, rank: int, num_layers: int, seed: int) -> PeftModel:
    """Adapts a classifier, see `adapt`; what stands between trunk and head (as in some encoders) is trained whole."""
    trunk = {id(parameter) for parameter in classifier.base_model.parameters()}
    between = [p for p in classifier.parameters() if id(p) not in trunk]
    adapted = adapt(classifier, rank=rank, num_layers=num_layers, seed=seed)
    for parameter in between:
        parameter.requires_grad_(True)
    head_of(classifier).requires_grad_(False)
    return adapted


def adapt(network: PreTrainedModel, *, rank: int, num_layers: int, seed: int, task: str | None = None) -> PeftModel:
    """Puts adapters into a network's trunk, in place, and freezes all its own weights.

    Scale alpha / rank = 2, no dropout.

    Args:
        rank: of the adapters.
        num_layers: adapt only this many top layers; 0 adapts all.
        task: peft's name of what the network does, noted in the adapter's file.

    Raises:
        ValueError: if the trunk has fewer layers.
        ImportError: if peft is missing.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ImportError('LoRA needs peft: pip install "tiebreak[train]"') from error
    names = linear_layers(network, num_layers=num_layers)
    lora = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules=names,
        task_type=task,  # pyright: ignore[reportArgumentType]
        fan_in_fan_out=isinstance(network.get_submodule(names[0]), Conv1D),
    )
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by a name that goes with version 6
        torch.manual_seed(seed)
        return get_peft_model(network, lora)  # pyright: ignore[reportReturnType]


def linear_layers(network: PreTrainedModel, *, num_layers: int) -> list[str]:
    """Names of the linear layers in the trunk's top layers; 0 takes all.

    Raises:
        ValueError: if there are fewer layers.
    """
    prefix = f"{network.base_model_prefix}."
    names = [
        prefix + name
        for name, module in network.base_model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
    ]
    numbered = [(name, int(found[1])) for name in names if (found := LAYER.search(name))]
    depth = 1 + max((number for _, number in numbered), default=-1)
    if num_layers > depth:
        raise ValueError(f"lora_layers is {num_layers}, the model has {depth} layers")
    return [name for name, number in numbered if not num_layers or number >= depth - num_layers]


def merge_adapters(adapted: PeftModel, adapter_dir: Path) -> None:
    """Writes the adapters by themselves, then adds them to the weights of the network they were put into."""
    adapted.save_pretrained(str(adapter_dir))
    adapted.merge_and_unload()  # pyright: ignore[reportCallIssue]
