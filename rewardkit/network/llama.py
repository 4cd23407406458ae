"""Last hidden states of packed rows: Llama-shaped decoders run by steps of our own, all others by their own modules.

Llama-shaped means RMS norm, rotary attention, RMS norm and gated MLP, each half added to its input; biases, grouped key
heads and norms of queries and keys are allowed (Llama, Mistral, Qwen2, Qwen3). A decoder is recognised by its modules.
Whether the steps give its own states is tried on small rows before they are used (`try_steps`). Every call looks
through the modules again, and runs a decoder with an unusual one as transformers does.

The steps (`rewardkit.network.fused`) read the model's own parameters and peft's LoRA adapters as they are at the call,
so gradients arrive where autograd would put them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rewardkit.distributed.sharding import is_sharded
from rewardkit.network import attention
from rewardkit.network.attention import local_layers
from rewardkit.network.fused import Matrix, added_norm, gated, products, rotated
from rewardkit.network.packed_rows import PackedBatch
from rewardkit.network.router_loss import trunk_states
from rewardkit.weights.held import EMBEDDING, LINEAR, compute_dtype

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
    if any(is_sharded(parameter) for parameter in model.parameters()):
        raise ValueError("its weights lie in parts")
    missing = [name for name in ("embed_tokens", "layers", "norm", "rotary_emb") if not hasattr(trunk, name)]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    if type(trunk.embed_tokens) not in EMBEDDING:
        raise ValueError(f"its embedding is a {type(trunk.embed_tokens).__name__}")
    if local := local_layers(model.config):
        raise ValueError(f"it has layers of type {local}")
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
    if type(module) in LINEAR:
        return module, []
    base: Any = getattr(module, "base_layer", None)
    if type(base) not in LINEAR or not hasattr(module, "lora_A"):
        raise ValueError(f"it has a linear layer of type {type(module).__name__}")
    if module.disable_adapters or module.merged:
        if module.disable_adapters and module.merged:
            raise ValueError("its adapters are merged and off")
        return base, []
    names = [name for name in module.active_adapters if name in module.lora_A]
    if any(name in module.lora_variant or module.lora_bias.get(name) for name in names):
        raise ValueError("its adapters are no plain LoRA")
    return base, names


logger = logging.getLogger(__name__)

# How far states may be from the model's own, as a share of their norm: what rounding does, several times over.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def packed_states(model: PreTrainedModel, batch: PackedBatch, index: Tensor) -> Tensor:
    """(C, h) last hidden states of packed rows at some places.

    Args:
        model: a decoder of transformers with the attention of `rewardkit.network.attention`, of any task.
        index: (C,) int64, places in T, also more than once. What nobody reads the steps do not compute: in the last
            layer all but keys and values.
    """
    assert model.config._attn_implementation == attention.NAME, "rows would see each other"
    if getattr(model, "takes_own_steps", False):
        try:
            check(model)
        except ValueError as reason:
            logger.debug("%s runs by its own modules: %s", type(model).__name__, reason)
        else:
            return _states_by_steps(model, batch, index)
    states = _states_by_modules(model, batch)
    return states[index.to(states.device)]


@torch.no_grad()
def try_steps(model: PreTrainedModel, batch: PackedBatch) -> None:
    """Notes at the model, as `takes_own_steps`, whether the steps give its own states of a small batch."""
    model.takes_own_steps = False  # pyright: ignore
    try:
        check(model)
        expected = _states_by_modules(model, batch)
        states = _states_by_steps(model, batch, torch.arange(batch.num_tokens))
        difference = (states.double() - expected.double()).norm() / expected.double().norm()
        # Not above, said as not below: NaN is refused too.
        model.takes_own_steps = bool(difference <= TOLERANCE.get(compute_dtype(model), 0.0))  # pyright: ignore
        if not model.takes_own_steps:
            raise ValueError(f"its states differ by {float(difference):.2g}")
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as reason:
        first_line = str(reason).partition("\n")[0]
        logger.info("%s runs by its own modules, which is slower: %s", type(model).__name__, first_line)


def check(model: PreTrainedModel) -> None:
    """Whether the steps may stand in for the modules as these are now.

    Raises:
        ValueError: with the reason, if not.
    """
    check_shape(model)
    trunk: Any = model.base_model
    for module in trunk.modules():
        if any(getattr(module, name) for name in HOOKS) or "forward" in vars(module):
            raise ValueError("it has hooks")
        if getattr(module, "gradient_checkpointing", False):
            raise ValueError("it computes activations again in backward")
    if getattr(model.config, "output_hidden_states", False):
        raise ValueError("it is asked for all hidden states")
    norm_eps(trunk.norm)
    for layer in trunk.layers:
        norms = [layer.input_layernorm, layer.post_attention_layernorm]
        for module in norms + [part for name, part in layer.self_attn.named_children() if name in ("q_norm", "k_norm")]:
            norm_eps(module)
        for name, module in (*layer.self_attn.named_children(), *layer.mlp.named_children()):
            if name.endswith("_proj"):
                _check_matrix(module, compute_dtype(model))


def _check_matrix(module: Any, dtype: torch.dtype) -> None:
    base, adapters = base_and_adapters(module)
    if len(adapters) > 1:
        raise ValueError("it has several adapters at once")
    parts = [base]
    for name in adapters:
        dropout = module.lora_dropout[name]
        if module.training and getattr(dropout, "p", 0.0):
            raise ValueError("its adapters have dropout")
        parts += [module.lora_A[name], module.lora_B[name]]
    if any(type(part) not in LINEAR or (type(part) is nn.Linear and part.weight.dtype != dtype) for part in parts):
        raise ValueError("its matrices have different number formats")


def _states_by_modules(model: PreTrainedModel, batch: PackedBatch) -> Tensor:
    ids, positions = _inputs(model, batch)
    with attention.packed_rows(batch):
        return trunk_states(model, input_ids=ids, position_ids=positions)[0]


def _inputs(model: PreTrainedModel, batch: PackedBatch) -> tuple[Tensor, Tensor]:
    device = next(model.get_input_embeddings().parameters()).device
    return batch.input_ids.to(device), batch.position_ids.to(device)


def _states_by_steps(model: PreTrainedModel, batch: PackedBatch, index: Tensor) -> Tensor:
    """(C, h); in autocast products are in its number format, all else in the model's, as transformers does it."""
    trunk: Any = model.base_model
    ids, positions = _inputs(model, batch)
    embedding = trunk.embed_tokens
    states = embedding(ids[0])
    cos, sin = trunk.rotary_emb(states[None], position_ids=positions)
    turn = (cos[0, :, None], sin[0, :, None, : sin.shape[-1] // 2])
    kind = states.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype
    added: Tensor | None = None
    with attention.packed_rows(batch), torch.autocast(kind, enabled=False):
        for layer in trunk.layers:
            states, normed = _normed(states, added, layer.input_layernorm, dtype)
            attended = _attended(layer.self_attn, normed, turn)
            if layer is trunk.layers[-1]:
                places = index.to(states.device)
                states, attended = states.index_select(0, places), attended.index_select(0, places)
            (added,) = _products(attended, (layer.self_attn.o_proj,))
            states, normed = _normed(states, added, layer.post_attention_layernorm, dtype)
            gate, up = _products(normed, (layer.mlp.gate_proj, layer.mlp.up_proj))
            (added,) = _products(_gated(layer.mlp.act_fn, gate, up), (layer.mlp.down_proj,))
        return _normed(states, added, trunk.norm, states.dtype)[1]


def _attended(module: Any, normed: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """(T, H D), the output of the heads."""
    parts = _products(normed, (module.q_proj, module.k_proj, module.v_proj))
    query, key, value = (part.unflatten(-1, (-1, module.head_dim)) for part in parts)
    if hasattr(module, "q_norm"):
        query = _normed(query, None, module.q_norm, query.dtype)[1]
        key = _normed(key, None, module.k_norm, key.dtype)[1]
    query, key, value = (part.transpose(0, 1)[None] for part in (rotated(query, *turn), rotated(key, *turn), value))
    scale = getattr(module, "scaling", module.head_dim**-0.5)
    return attention.attend_rows(query, key, value, scale)[0].flatten(1)


def _gated(act_fn: nn.Module, gate: Tensor, up: Tensor) -> Tensor:
    is_silu = type(act_fn).__name__ in ("SiLU", "SiLUActivation")  # torch's and transformers' own
    return gated(gate, up) if is_silu else act_fn(gate) * up


def _normed(x: Tensor, added: Tensor | None, module: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    return added_norm(x, added, module.weight, norm_eps(module), dtype)


def _products(x: Tensor, modules: Sequence[Any]) -> tuple[Tensor, ...]:
    """(T, out) of every linear layer, in the number format of (T, in) x."""
    return products(x, [_matrix(module).to(x.dtype) for module in modules])


def _matrix(module: Any) -> Matrix:
    base, adapters = base_and_adapters(module)
    if not adapters:
        return Matrix(weight=base.weight, bias=base.bias)
    (name,) = adapters
    return Matrix(
        weight=base.weight,
        bias=base.bias,
        down=module.lora_A[name].weight,
        up=module.lora_B[name].weight,
        scale=module.scaling[name],
    )
