"""The weights of a Llama-shaped decoder as its own decode loop reads them (`alignment.generation.llama_decoding`).

It is recognised by its modules (`rewardkit.network.llama`), and whether it really computes that is tried afterwards
(`alignment.generation.engine`).

Matrices that read the same input stand side by side in one. LoRA adapters are folded in, W + scale B A. So most are
copies, in the number format of the rollout. On a CPU each is copied once more, as MKL packs it for the rows of a step:
products of 64 rows are then a half faster, and it takes about a third of the time of one such step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rewardkit.network.llama import base_and_adapters, check_shape, norm_eps

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rotary frequencies that change with the length, which a few small prompts do not show.
LENGTH_DEPENDENT_ROTARY = ("dynamic", "longrope")


@dataclass(frozen=True, kw_only=True)
class Map:
    """x -> x weight^T + bias.

    Attributes:
        weight: (out, in).
        bias: (out,) or None.
        packed: the weight as MKL reads it fastest for `num_rows` rows; None before `for_rows`, and where it does not.
    """

    weight: Tensor
    bias: Tensor | None
    packed: Tensor | None = None
    num_rows: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        """(N, out) of (N, in)."""
        if self.packed is None or len(x) != self.num_rows:
            return nn.functional.linear(x, self.weight, self.bias)
        return torch.ops.mkl._mkl_linear(x, self.packed, self.weight, self.bias, self.num_rows)

    def for_rows(self, num_rows: int) -> Map:
        """Returns the same map in the layout that is fastest for this many rows."""
        if not is_packed(self.weight):
            return self
        # What torch.compile makes of a linear layer whose weight does not change.
        packed = torch.ops.mkl._mkl_reorder_linear_weight(self.weight, num_rows)
        return replace(self, packed=packed, num_rows=num_rows)


@dataclass(frozen=True, kw_only=True)
class Norm:
    """RMS norm over the last dimension."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        """As large as x."""
        return nn.functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer; `qkv` gives query heads, then key heads, then value heads, `gate_up` gates, then what they gate."""

    attention_norm: Norm
    qkv: Map
    query_norm: Norm | None
    key_norm: Norm | None
    out: Map
    mlp_norm: Norm
    gate_up: Map
    down: Map
    activation: Callable[[Tensor], Tensor]
    scale: float

    def for_rows(self, num_rows: int) -> Layer:
        """The same layer, fastest for this many rows."""
        maps = {name: getattr(self, name).for_rows(num_rows) for name in ("qkv", "out", "gate_up", "down")}
        return replace(self, **maps)


@dataclass(frozen=True, kw_only=True)
class LlamaWeights:
    """A whole decoder.

    Attributes:
        embedding: (V, h), the model's own.
        rotary: the model's own module: (x, positions) to cos and sin in x's number format.
        num_heads, num_key_heads, head_dim: of attention, the same in all layers.
    """

    embedding: Tensor
    layers: tuple[Layer, ...]
    norm: Norm
    head: Map
    rotary: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    num_heads: int
    num_key_heads: int
    head_dim: int
    dtype: torch.dtype

    def for_rows(self, num_rows: int) -> LlamaWeights:
        """The same decoder, fastest for this many rows."""
        layers = tuple(layer.for_rows(num_rows) for layer in self.layers)
        return replace(self, layers=layers, head=self.head.for_rows(num_rows))

    @property
    def device(self) -> torch.device:
        return self.embedding.device


def is_packed(weight: Tensor) -> bool:
    """Whether steps read a copy of it that MKL has packed."""
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and torch.backends.mkl.is_available()


def read_weights(model: PreTrainedModel, dtype: torch.dtype) -> LlamaWeights:
    """Copies the weights of a causal language model that is Llama-shaped, adapters folded in; the model is not touched.

    Args:
        model: of transformers; LoRA adapters of peft may sit in it as modules.
        dtype: number format to compute in.

    Raises:
        ValueError: with the reason, if it has another shape.
    """
    check_shape(model)
    trunk: Any = model.base_model
    if (kind := getattr(trunk.rotary_emb, "rope_type", None)) in LENGTH_DEPENDENT_ROTARY:
        raise ValueError(f"its rotary frequencies are {kind}")
    first = trunk.layers[0].self_attn
    head_dim = first.head_dim
    rows = [weight_and_bias(getattr(first, name))[0].shape[0] for name in ("q_proj", "k_proj")]
    weights = LlamaWeights(
        embedding=trunk.embed_tokens.weight,
        layers=tuple(_layer(layer, dtype) for layer in trunk.layers),
        norm=_norm(trunk.norm, dtype),
        head=_map([model.get_output_embeddings()], dtype),
        rotary=trunk.rotary_emb,
        num_heads=rows[0] // head_dim,
        num_key_heads=rows[1] // head_dim,
        head_dim=head_dim,
        dtype=dtype,
    )
    width = (weights.num_heads + 2 * weights.num_key_heads) * head_dim
    if any(len(layer.qkv.weight) != width for layer in weights.layers):
        raise ValueError("its layers have different numbers of heads")
    return weights


def _layer(layer: Any, dtype: torch.dtype) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        attention_norm=_norm(layer.input_layernorm, dtype),
        qkv=_map([attention.q_proj, attention.k_proj, attention.v_proj], dtype),
        query_norm=_norm(attention.q_norm, dtype) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm, dtype) if hasattr(attention, "k_norm") else None,
        out=_map([attention.o_proj], dtype),
        mlp_norm=_norm(layer.post_attention_layernorm, dtype),
        gate_up=_map([mlp.gate_proj, mlp.up_proj], dtype),
        down=_map([mlp.down_proj], dtype),
        activation=mlp.act_fn,
        scale=getattr(attention, "scaling", attention.head_dim**-0.5),
    )


def _norm(module: nn.Module, dtype: torch.dtype) -> Norm:
    return Norm(weight=module.weight.detach().to(dtype), eps=norm_eps(module))  # pyright: ignore


def _map(modules: Sequence[Any], dtype: torch.dtype) -> Map:
    """Joins linear layers that read the same input into one map."""
    parts = [weight_and_bias(module) for module in modules]
    weights = [weight.detach().to(dtype) for weight, _ in parts]
    biases = [weight.new_zeros(len(weight)) if bias is None else bias.detach() for weight, bias in parts]
    return Map(
        weight=weights[0] if len(weights) == 1 else torch.cat(weights),
        bias=torch.cat(biases).to(dtype) if any(bias is not None for _, bias in parts) else None,
    )


def weight_and_bias(module: Any) -> tuple[Tensor, Tensor | None]:
    """Returns a linear layer's weight and bias, with its active LoRA adapters added out of place."""
    base, adapters = base_and_adapters(module)
    weight = base.weight
    for name in adapters:
        weight = weight + module.get_delta_weight(name)
    return weight, base.bias
