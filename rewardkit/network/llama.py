"""What a Llama-shaped decoder of transformers looks like from outside, for those who compute it themselves.

Llama-shaped: RMS norm, rotary attention, RMS norm, gated MLP, each half added to its input; biases, grouped key heads
and norms of queries and keys as they come (Llama, Mistral, Qwen2, Qwen3). It is recognised by its modules; whether it
really computes that is to be tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from rewardkit.distributed.sharding import is_part
from rewardkit.network.attention import has_sliding_window

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PARTS = {
    "layer": {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"},
    "attention": {"q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"},
    "MLP": {"gate_proj", "up_proj", "down_proj", "act_fn"},
}


def check_shape(model: PreTrainedModel) -> None:
    """Looks at the modules of a model, and at nothing that it computes.

    Raises:
        ValueError: with the reason, if it is not Llama-shaped, or its weights are not here as they are.
    """
    trunk: Any = model.base_model
    if any(is_part(parameter) for parameter in model.parameters()):
        raise ValueError("its weights lie in parts")
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
    frequencies = getattr(trunk.rotary_emb, "inv_freq", None)
    head_dim = getattr(trunk.layers[0].self_attn, "head_dim", None)
    if frequencies is None or head_dim is None or 2 * len(frequencies) != head_dim:
        raise ValueError("its rotation is not of whole heads")


def _check_parts(kind: str, module: nn.Module) -> None:
    others = {name for name, _ in module.named_children()} - PARTS[kind]
    if others:
        raise ValueError(f"its {kind} has a part {min(others)}")


def norm_eps(module: nn.Module) -> float:
    """What an RMS norm adds to the mean square.

    Raises:
        ValueError: if it is no such norm.
    """
    eps = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if eps is None or [name for name, _ in module.named_parameters()] != ["weight"]:
        raise ValueError(f"its norm is a {type(module).__name__}")
    return eps


def base_and_adapters(module: Any) -> tuple[nn.Linear, list[str]]:
    """A linear layer, or the one within a peft layer, and the names of the plain LoRA adapters that act on it.

    Raises:
        ValueError: if it is neither, or an adapter is no plain LoRA.
    """
    if type(module) is nn.Linear:
        return module, []
    base = getattr(module, "base_layer", None)
    if type(base) is not nn.Linear or not hasattr(module, "lora_A"):
        raise ValueError(f"it has a linear layer of type {type(module).__name__}")
    if module.disable_adapters or module.merged:
        if module.disable_adapters and module.merged:
            raise ValueError("its adapters are merged and off")
        return base, []
    names = [name for name in module.active_adapters if name in module.lora_A]
    if any(name in module.lora_variant or module.lora_bias.get(name) for name in names):
        raise ValueError("its adapters are no plain LoRA")
    return base, names
