"""What a completion is expected to earn from before each of its tokens on: a head on the policy's states, or a network.

The value of a token is read where the token is predicted, from the state that has not seen it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from alignment.config.online import PpoConfig
from alignment.policy.policy import Policy
from rewardkit.network.classifier import classifier_layout, load_classifier
from rewardkit.network.logps import CompletionLogps, can_pack_policy, completion_states
from rewardkit.network.models import head_of, load_network, recompute_activations
from rewardkit.network.packed_rows import Branched
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TrunkValue(torch.nn.Module):
    """A linear head on the policy's own last hidden states, 0 at first (Ziegler et al. 2019), in float32."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.head = torch.nn.Linear(hidden_size, 1)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)

    def forward(self, logps: CompletionLogps, rows: Sequence[Branched]) -> Tensor:
        """(C,) float32 values of the tokens of a micro-batch."""
        return _read(self.head, logps.states)


class SeparateValue(torch.nn.Module):
    """A network of its own: that of a reward model with its head, or the policy's with a head that is 0 at first."""

    def __init__(self, network: PreTrainedModel, head: torch.nn.Linear, *, packed: bool) -> None:
        super().__init__()
        self.trunk = network.base_model
        self.head = head
        self.packed = packed
        self._network = (network,)  # a tuple keeps heads that are not trained out of the parameters

    def forward(self, logps: CompletionLogps, rows: Sequence[Branched]) -> Tensor:
        """(C,) float32 values of the tokens of a micro-batch."""
        return _read(self.head, completion_states(self._network[0], rows, packed=self.packed))


ValueModel = TrunkValue | SeparateValue


def build_value(config: PpoConfig, policy: Policy) -> ValueModel:
    """Builds the value model that a configuration names.

    Raises:
        ValueError: if the folder holds no reward model, or one with other tokens than the policy's.
    """
    hidden_size = policy.network.config.get_text_config().hidden_size
    if config.value == "trunk":
        return TrunkValue(hidden_size).to(policy.device)
    if config.value_model:
        network = _load_reward_model(config.value_model, policy)
        head, layout = head_of(network), classifier_layout(network)
        if layout == "alone":
            raise ValueError(f"value_model {config.value_model!r} gives other values in a batch than alone")
        packed = layout == "packed"
    else:
        network = load_network(config.model, policy.tokenizer)
        head, packed = TrunkValue(hidden_size).head, can_pack_policy(network)
    network.to(policy.device)  # pyright: ignore[reportArgumentType]
    if config.trained_weights != "fp32":
        hold_in_bf16(network, trained=True)
    if config.gradient_checkpointing:
        recompute_activations(network)
    return SeparateValue(network, head.to(policy.device).float(), packed=packed)


def _load_reward_model(path: str, policy: Policy) -> PreTrainedModel:
    from rewardkit.network.tokens import load_tokenizer

    try:
        tokenizer = load_tokenizer(path)
        network = load_classifier(path, tokenizer, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ValueError(f"value_model {path!r} holds no reward model that can be read: {error}") from error
    if tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise ValueError(f"value_model {path!r} has other tokens than the policy {policy.network.name_or_path!r}")
    if not network.has_own_head:
        raise ValueError(f"value_model {path!r} has no head of its own, allowed is a reward model")
    return network


def _read(head: torch.nn.Linear, states: Tensor) -> Tensor:
    with torch.autocast(states.device.type, enabled=False):
        return torch.nn.functional.linear(states.float(), head.weight, head.bias)[:, 0]
