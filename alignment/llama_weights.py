"""The weights of a Llama-shaped decoder as its own decode loop reads them (`alignment.llama_decoding`).

It is recognised by its modules (`rewardkit.llama_shape`), and whether it really computes that is tried afterwards
(`alignment.engine`).

Matrices that read the same input stand side by side in one, transposed: products with few rows are a third faster so
on a CPU. LoRA adapters are folded in, W + scale B A. So these are copies: as much memory as the layers and the head
have in the number format of the rollout, and on a CPU about the time of one step of 64 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rewardkit.llama_shape import base_and_adapters, check_shape, norm_eps

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rotary frequencies that change with the length, which a few small prompts do not show.
LENGTH_DEPENDENT_ROTARY = ("dynamic", "longrope")


@dataclass(frozen=True, kw_only=True)
class Map:
    """x -> x matrix + bias; matrix (in, out), bias (out,) or None."""

    matrix: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(N, out) of (N, in)."""
        return x @ self.matrix if self.bias is None else torch.addmm(self.bias, x, self.matrix)

    def added(self, x: Tensor, to: Tensor) -> Tensor:
        """(N, out), what it makes of (N, in), added to (N, out)."""
        return torch.addmm(to if self.bias is None else to + self.bias, x, self.matrix)


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

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.embedding.device


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
    if any(layer.qkv.matrix.shape[1] != width for layer in weights.layers):
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
    """Linear layers of one input side by side."""
    parts = [weight_and_bias(module) for module in modules]
    matrix = torch.cat([weight.detach().to(dtype) for weight, _ in parts]).t()
    biases = [weight.new_zeros(len(weight)) if bias is None else bias.detach() for weight, bias in parts]
    return Map(
        matrix=matrix.contiguous() if matrix.device.type == "cpu" else matrix,
        bias=torch.cat(biases).to(dtype) if any(bias is not None for _, bias in parts) else None,
    )


def weight_and_bias(module: Any) -> tuple[Tensor, Tensor | None]:
    """Of a linear layer; of one with LoRA adapters, those that are active folded in, out of place."""
    base, adapters = base_and_adapters(module)
    weight = base.weight
    for name in adapters:
        weight = weight + module.get_delta_weight(name)
    return weight, base.bias
