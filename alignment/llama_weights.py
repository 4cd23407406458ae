"""The weights of a Llama-shaped decoder as its own decode loop reads them (`alignment.llama_decoding`).

Llama-shaped: RMS norm, rotary attention, RMS norm, gated MLP, each half added to its input; biases, grouped key heads
and norms of queries and keys as they come (Llama, Mistral, Qwen2, Qwen3). It is recognised by its modules, and whether
it really computes that is tried afterwards (`alignment.engine`).

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

from rewardkit.model import has_sliding_window
from rewardkit.sharding import is_part

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Rotary frequencies that change with the length, which a few small prompts do not show.
LENGTH_DEPENDENT_ROTARY = ("dynamic", "longrope")
PARTS = {
    "layer": {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"},
    "attention": {"q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"},
    "MLP": {"gate_proj", "up_proj", "down_proj", "act_fn"},
}


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
    trunk: Any = model.base_model
    if any(is_part(parameter) for parameter in model.parameters()):
        raise ValueError("its weights lie in parts")
    _check_trunk(model, trunk)
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


def _check_trunk(model: PreTrainedModel, trunk: Any) -> None:
    missing = [name for name in ("embed_tokens", "layers", "norm", "rotary_emb") if not hasattr(trunk, name)]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    if type(trunk.embed_tokens) is not nn.Embedding:
        raise ValueError(f"its embedding is a {type(trunk.embed_tokens).__name__}")
    if has_sliding_window(model.config):
        raise ValueError("it attends in a sliding window")
    devices = {parameter.device for parameter in model.parameters()}
    if len(devices) > 1 or next(iter(devices)).type == "meta":
        raise ValueError("its weights are not on one device")
    for layer in trunk.layers:
        _check_parts("layer", layer)
        _check_parts("attention", layer.self_attn)
        _check_parts("MLP", layer.mlp)
    kind = getattr(trunk.rotary_emb, "rope_type", None)
    if kind in LENGTH_DEPENDENT_ROTARY:
        raise ValueError(f"its rotary frequencies are {kind}")
    frequencies = getattr(trunk.rotary_emb, "inv_freq", None)
    head_dim = getattr(trunk.layers[0].self_attn, "head_dim", None)
    if frequencies is None or head_dim is None or 2 * len(frequencies) != head_dim:
        raise ValueError("its rotation is not of whole heads")


def _check_parts(kind: str, module: nn.Module) -> None:
    others = {name for name, _ in module.named_children()} - PARTS[kind]
    if others:
        raise ValueError(f"its {kind} has a part {min(others)}")


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
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if eps is None or [name for name, _ in module.named_parameters()] != ["weight"]:
        raise ValueError(f"its norm is a {type(module).__name__}")
    return Norm(weight=module.weight.detach().to(dtype), eps=eps)  # pyright: ignore


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
    if type(module) is nn.Linear:
        return module.weight, module.bias
    base = getattr(module, "base_layer", None)
    if type(base) is not nn.Linear or not hasattr(module, "lora_A"):
        raise ValueError(f"it has a linear layer of type {type(module).__name__}")
    weight = base.weight
    if module.disable_adapters or module.merged:
        if module.disable_adapters and module.merged:
            raise ValueError("its adapters are merged and off")
        return weight, base.bias
    for name in module.active_adapters:
        if name in module.lora_A:
            if name in module.lora_variant or module.lora_bias.get(name):
                raise ValueError("its adapters are no plain LoRA")
            weight = weight + module.get_delta_weight(name)
    return weight, base.bias
