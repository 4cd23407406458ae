"""What a network takes, counted on one that has shapes but no numbers: parameters, and what backward keeps of a token.

The network of a configuration is built of torch's fake tensors and run once or twice, so that every architecture counts
as it is. Attention is a stand-in that keeps what fused kernels keep: queries, keys, values, its output, and a sum for
each query. What the vocabulary head keeps is in `alignment.memory.plan`: it works in blocks of its own. Llama-shaped
models run by steps of our own (`rewardkit.network.llama`), which keep up to a quarter less: what is counted is on
the safe side there.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from alignment.generation.llama_weights import is_packed, read_weights
from rewardkit.network import attention
from rewardkit.network.attention import local_layers
from rewardkit.network.models import linear_layers, recompute_activations, switch_off_dropout
from rewardkit.network.packed_rows import Branched, pack

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

STAND_IN = "tiebreak_counted"
TOKENS = (16, 32)  # of the two passes: memory is a constant and a multiple of the tokens
FLOAT32 = 4  # bytes


@dataclass(frozen=True, kw_only=True)
class NetworkCounts:
    """Parameter and byte counts of a causal language model.

    Attributes:
        num_parameters, num_trained: of the network with its adapters; those that are trained.
        num_trunk: of the network without its vocabulary head; a tied head belongs to the trunk.
        num_in_layer: parameters of the largest layer.
        num_outside: parameters outside of layers: embeddings, last norm, head.
        hidden_size, vocab_size: of the vocabulary head.
        trains_head: whether the vocabulary head is trained.
        kept_once: bytes that backward keeps besides activations: weights cast to the number format of products.
        kept_per_token: bytes that backward keeps of the trunk for every token.
        kept_in_layer: those of one layer, before any recomputation.
        decoding: bytes of the copies of weights that the decode loop reads.
        cache_per_token: bytes of the keys and values of a token.
        own_loop: whether prompts are computed once per group when drawing (`alignment.generation.llama_decoding`).
        packed: whether rows run packed; it attends in a sliding window otherwise.
    """

    num_parameters: int
    num_trained: int
    num_trunk: int
    num_in_layer: int
    num_outside: int
    hidden_size: int
    vocab_size: int
    trains_head: bool
    kept_once: int
    kept_per_token: float
    kept_in_layer: float
    decoding: int
    cache_per_token: int
    own_loop: bool
    packed: bool


def count_network(
    config: PretrainedConfig,
    *,
    precision: Literal["bf16", "fp32"],
    lora_rank: int = 0,
    lora_layers: int = 0,
    gradient_checkpointing: bool = False,
) -> NetworkCounts:
    """Counts the causal language model of a configuration, weights in float32, products in `precision`.

    Args:
        lora_rank: of adapters that are trained in place of the weights; 0 trains the weights.

    Raises:
        ValueError: if transformers builds no such model, or none whose attention can be chosen by name.
    """
    with FakeTensorMode():
        network = _build(config)
        layers = _layers(network)
        text = config.get_text_config()
        width = torch.bfloat16 if precision == "bf16" else torch.float32
        num_trunk = _count(network.base_model)
        decoding, own_loop = _decoding(network, width)
        if lora_rank:
            _adapt(network, lora_rank, lora_layers)
        whole = _kept(network, TOKENS[1], precision)
        slope = (whole - _kept(network, TOKENS[0], precision)) / (TOKENS[1] - TOKENS[0])
        kept_in_layer = slope / len(layers)
        if gradient_checkpointing:
            recompute_activations(network)
            whole = _kept(network, TOKENS[1], precision)
            slope = (whole - _kept(network, TOKENS[0], precision)) / (TOKENS[1] - TOKENS[0])
        head = network.get_output_embeddings()
        key_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        return NetworkCounts(
            num_parameters=_count(network),
            num_trained=_count(network, trained=True),
            num_trunk=num_trunk,
            num_in_layer=max(_count(layer) for layer in layers),
            num_outside=_count(network) - sum(_count(layer) for layer in layers),
            hidden_size=text.hidden_size,
            vocab_size=len(head.weight),  # pyright: ignore
            trains_head=head.weight.requires_grad,  # pyright: ignore
            kept_once=max(0, round(whole - slope * TOKENS[1])),
            kept_per_token=slope,
            kept_in_layer=kept_in_layer,
            decoding=decoding,
            cache_per_token=2 * len(layers) * key_heads * head_dim * width.itemsize,
            own_loop=own_loop,
            packed=not local_layers(config),
        )


def count_classifier(config: PretrainedConfig) -> int:
    """Parameters of the sequence classifier with one label of a configuration.

    Raises:
        ValueError: if transformers builds no such model.
    """
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(config)
    config.num_labels = 1
    with FakeTensorMode():
        return _count(AutoModelForSequenceClassification.from_config(config, dtype=torch.float32))


def _build(config: PretrainedConfig) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(STAND_IN, _stand_in)
    ALL_MASK_ATTENTION_FUNCTIONS.register(STAND_IN, attention.no_mask)
    config = copy.deepcopy(config)  # which otherwise attends by the stand-in from then on
    try:
        network = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=STAND_IN)
    except (ValueError, ImportError) as error:
        raise ValueError(f"{config.model_type} cannot be planned: {error}") from error
    switch_off_dropout(network)
    return network.train()


class _Adapted(torch.nn.Module):
    """A linear layer with an adapter, as peft's: base(x) + 2 B A x, only A and B trained."""

    def __init__(self, base: torch.nn.Module, rank: int) -> None:
        super().__init__()
        assert isinstance(base.weight, Tensor)
        rows, columns = base.weight.shape
        num_in, num_out = (columns, rows) if isinstance(base, torch.nn.Linear) else (rows, columns)  # or a Conv1D
        self.base = base
        self.down = torch.nn.Linear(num_in, rank, bias=False)
        self.up = torch.nn.Linear(rank, num_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As large as what the layer gives."""
        return self.base(x) + self.up(self.down(x)) * 2.0


def _adapt(network: PreTrainedModel, rank: int, num_layers: int) -> None:
    """What `rewardkit.network.models.adapt` does; peft cannot put its adapters into fake tensors."""
    network.requires_grad_(False)
    for name in linear_layers(network, num_layers=num_layers):
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, _Adapted(network.get_submodule(name), rank))


def _layers(network: PreTrainedModel) -> Sequence[torch.nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(f"{type(network).__name__} cannot be planned: its layers are not told apart")
    return layers


def _count(module: torch.nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def _decoding(network: PreTrainedModel, width: torch.dtype) -> tuple[int, bool]:
    """Bytes of the copies of weights that the decode loop reads, and whether it is the one of our own."""
    try:
        with torch.no_grad():
            weights = read_weights(network, width)
    except ValueError:
        return 0, False
    ours = {_storage(parameter) for parameter in network.parameters()}
    layers = [part for layer in weights.layers for part in (layer.qkv, layer.out, layer.gate_up, layer.down)]
    read = [part.weight for part in (*layers, weights.head)]
    copied = [weight for weight in read if _storage(weight) not in ours]
    packed = [weight for weight in read if is_packed(weight)]
    return sum(weight.numel() for weight in (*copied, *packed)) * width.itemsize, True


def _kept(network: PreTrainedModel, num_tokens: int, precision: str) -> int:
    """Returns the bytes that the trunk's forward pass keeps for backward, without parameters, each storage once."""
    ours = {_storage(p) for p in network.parameters()}
    storages: dict[int, Tensor] = {}  # which keeps them, so that no place in memory is taken twice

    def keep(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in ours:
            storages[_storage(tensor)] = tensor
        return tensor

    row = Branched(prompt=(0,), branches=((0,) * (num_tokens - 1),))
    with (
        attention.packed_rows(pack([row])),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
    ):
        places = torch.arange(num_tokens)[None]
        result = network.base_model(input_ids=places * 0, position_ids=places, use_cache=False)
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _stand_in(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: object, **_: Any
) -> tuple[Tensor, None]:
    """Replaces attention: (M, H, T, D) in, (M, T, H, D) out."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (part.to(torch.bfloat16) for part in (query, key, value))
    return _Kept.apply(query, key, value).transpose(1, 2), None  # pyright: ignore


class _Kept(torch.autograd.Function):
    """Keeps what a fused attention keeps, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, result, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> None:  # pyright: ignore
        raise NotImplementedError("it stands in for counting")
