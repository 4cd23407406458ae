"""K members as K LoRA adapters on one trunk, computed in one batched pass.

The layers below the adapted ones run once; then the states are repeated K times, and every adapted linear layer adds
its members' low-rank updates by one batched product: K members cost K passes over the top layers only. LoRA: Hu et al.
2022 (arXiv 2106.09685), scale alpha / r = 2.

On disk the ordinary model is the members' weight average (WARM, Rame et al. 2024, arXiv 2401.12187), whose score is
near the ensemble's mean but not equal to it; `members.safetensors` holds each adapter (see
`rewardkit.reward.reward_model`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rewardkit.network import attention
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.packed_rows import Branched, pack

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

SCALE = 2.0
MEMBERS_FILE = "members.safetensors"


class MemberLinear(torch.nn.Module):
    """A frozen linear layer with one low-rank update per member.

    y_k = W x_k + b + SCALE (x_k A_k) B_k;  A_k starts random, B_k at 0.

    Attributes:
        base: the layer.
        down: (K, in, r) parameter A.
        up: (K, r, out) parameter B.
    """

    def __init__(self, base: torch.nn.Linear, *, num_members: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        down = torch.empty(num_members, base.in_features, rank)
        down.uniform_(-1.0, 1.0, generator=generator).mul_(1.0 / math.sqrt(base.in_features))
        self.down = torch.nn.Parameter(down.to(base.weight.device))
        self.up = torch.nn.Parameter(torch.zeros(num_members, rank, base.out_features, device=base.weight.device))

    def forward(self, states: Tensor) -> Tensor:
        """(K, T, in) to (K, T, out)."""
        down, up = self.down.to(states.dtype), self.up.to(states.dtype)
        return self.base(states) + SCALE * torch.bmm(torch.bmm(states, down), up)

    def mean_update(self) -> Tensor:
        """(out, in) float32: the members' average addition to the weight."""
        return SCALE * torch.einsum("kir,kro->oi", self.down.float(), self.up.float()) / len(self.down)


class LoraEnsemble(RewardScorer):
    """K adapters and K heads on a frozen trunk; trained, checkpointed and scored like any `RewardScorer`.

    A criterion's head reads the members' mean features.
    """

    def __init__(
        self,
        classifier: PreTrainedModel,
        *,
        num_members: int,
        num_criteria: int = 0,
        rank: int,
        num_layers: int,
        seed: int = 0,
    ) -> None:
        super().__init__(classifier, num_members=num_members + num_criteria, seed=seed)
        if not self.packed:
            raise ValueError(f"members lora needs a decoder that runs packed rows, not {type(classifier).__name__}")
        self.num_members = num_members
        classifier.requires_grad_(False)
        generator = torch.Generator().manual_seed(seed + 1)
        self._hook = adapt_members(
            classifier, num_members=num_members, rank=rank, num_layers=num_layers, generator=generator
        )

    def member_features(self, rows: Sequence[Branched]) -> Tensor:
        """(K, S, h) what each member's head reads."""
        batch, device = pack(rows), self.classifier.device
        with attention.packed_rows(batch):
            states = self.classifier.base_model(
                input_ids=batch.input_ids.to(device), position_ids=batch.position_ids.to(device), use_cache=False
            ).last_hidden_state
        return states[:, batch.last_index.to(device)]

    def features(self, rows: Sequence[Branched]) -> Tensor:
        """(S, h) mean over members."""
        return self.member_features(rows).mean(0)

    def forward(self, rows: Sequence[Branched]) -> Tensor:
        """(K + C, S) float32 scores of the branches by each member, then by each criterion's head."""
        features = self.member_features(rows).float()
        with torch.autocast(self.heads.device.type, enabled=False):
            heads = self.heads.float()
            members = torch.einsum("ksh,kh->ks", features, heads[: self.num_members])
            return torch.cat((members, heads[self.num_members :] @ features.mean(0).T))

    def write_members(self, folder: Path, base: PreTrainedModel | None = None) -> None:
        """Writes the adapters, and turns the classifier into the members' weight average for good.

        Args:
            base: the classifier without adapters as it is on disk, which becomes the average, where this one holds its
                weights narrower.
        """
        wrapped = _wrapped(self.classifier)
        tensors = {
            f"{name}.{part}": getattr(linear, part).detach().cpu() for name, linear in wrapped.items() for part in PARTS
        }
        save_file(tensors, folder / MEMBERS_FILE)
        self._hook.remove()
        for name, linear in wrapped.items():
            layer: Any = linear.base if base is None else base.get_submodule(name)
            with torch.no_grad():
                layer.weight += linear.mean_update().to(layer.weight)
            self.classifier.set_submodule(name, layer)
        if base is not None:
            self.classifier = base


def adapt_members(
    classifier: PreTrainedModel, *, num_members: int, rank: int, num_layers: int, generator: torch.Generator
) -> RemovableHandle:
    """Puts the members' adapters into the top layers; returns the hook that gives the first its states once a member.

    Args:
        num_layers: 0 takes all.
    """

    def repeat(
        _layer: torch.nn.Module, inputs: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if inputs:
            return (inputs[0].expand(num_members, -1, -1), *inputs[1:]), options
        return inputs, options | {"hidden_states": options["hidden_states"].expand(num_members, -1, -1)}

    layers = top_layers(classifier, num_layers)
    for layer in layers:
        _wrap(layer, num_members=num_members, rank=rank, generator=generator)
    return layers[0].register_forward_pre_hook(repeat, with_kwargs=True)


PARTS = ("down", "up")


def read_ensemble(classifier: PreTrainedModel, heads: Tensor, num_members: int, folder: Path) -> LoraEnsemble:
    """The ensemble from its weight average and its adapters; the members' own sum is subtracted in float32.

    Raises:
        ValueError: if the adapters are not of this model.
    """
    tensors = load_file(folder / MEMBERS_FILE)
    names = sorted({name.rpartition(".")[0] for name in tensors})
    modules = dict(classifier.named_modules())
    if not names or any(name not in modules for name in names):
        raise ValueError(f"{folder / MEMBERS_FILE}: the adapters are of another model")
    layers = base_layers(classifier)
    adapted = sum(any(modules[name] in layer.modules() for name in names) for layer in layers)
    rank = tensors[f"{names[0]}.down"].shape[2]
    ensemble = LoraEnsemble(classifier, num_members=num_members, rank=rank, num_layers=adapted)
    wrapped = _wrapped(classifier)
    if sorted(wrapped) != names:
        raise ValueError(f"{folder / MEMBERS_FILE}: the adapters are of another model")
    for name, linear in wrapped.items():
        with torch.no_grad():
            for part in PARTS:
                getattr(linear, part).copy_(tensors[f"{name}.{part}"])
            linear.base.weight -= linear.mean_update().to(linear.base.weight.dtype)
    ensemble.heads = torch.nn.Parameter(heads.to(ensemble.heads.device))
    return ensemble


def base_layers(classifier: PreTrainedModel) -> torch.nn.ModuleList:
    """The trunk's layers, lowest first.

    Raises:
        ValueError: if the model does not keep them as Llama-like decoders do.
    """
    layers = getattr(classifier.base_model, "layers", None)
    if not isinstance(layers, torch.nn.ModuleList):
        raise ValueError(f"members lora needs a decoder with a list of layers, not {type(classifier).__name__}")
    return layers


def top_layers(classifier: PreTrainedModel, num_layers: int) -> list[torch.nn.Module]:
    """The adapted layers; 0 takes all.

    Raises:
        ValueError: if there are fewer.
    """
    layers = base_layers(classifier)
    if num_layers > len(layers):
        raise ValueError(f"lora_layers is {num_layers}, the model has {len(layers)} layers")
    return list(layers)[-num_layers:] if num_layers else list(layers)


def _wrap(layer: torch.nn.Module, *, num_members: int, rank: int, generator: torch.Generator) -> None:
    for name, module in list(layer.named_modules()):
        if isinstance(module, torch.nn.Linear):
            layer.set_submodule(name, MemberLinear(module, num_members=num_members, rank=rank, generator=generator))


def _wrapped(classifier: PreTrainedModel) -> Mapping[str, MemberLinear]:
    return {name: module for name, module in classifier.named_modules() if isinstance(module, MemberLinear)}
