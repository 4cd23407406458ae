"""What a network takes, counted on one that has shapes but no numbers: parameters, and what is alive in a step.

The network of a configuration is built of torch's fake tensors, and a forward and backward pass of it run as in
training, so that every architecture counts as it is, Llama-shaped ones by the steps of `rewardkit.network.llama`.
Attention is a stand-in that keeps what fused kernels keep: queries, keys, values, its output, and a sum for each query.
What the vocabulary head takes is in `alignment.memory.passing_parts`: it works in blocks of its own.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from alignment.generation.llama_weights import read_weights
from alignment.memory.four_bit_shapes import quantised_shapes
from alignment.memory.live_bytes import SIZES, Line, LiveBytes, highest, lines, storage_of
from rewardkit.network import attention, llama
from rewardkit.network.attention import local_layers
from rewardkit.network.models import adapt, recompute_activations, recomputes_activations, switch_off_dropout
from rewardkit.network.packed_rows import Branched, pack
from rewardkit.reward.lora_ensemble import adapt_members
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

FLOAT32 = 4  # bytes
FEW = (3, 4)  # layers of the two networks from which one of many equal layers is extrapolated


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What passes through a trunk take, its weights and their gradients aside.

    Attributes:
        kept: what backward keeps.
        steps: what is alive at the steps that may be the highest, of forward and backward, what is kept among it.
        scoring: the same of a forward pass without gradients.
    """

    kept: Line
    steps: tuple[Line, ...]
    scoring: tuple[Line, ...]


@dataclass(frozen=True, kw_only=True)
class NetworkCounts:
    """Parameter and byte counts of a network.

    Attributes:
        num_parameters, num_trained: of the network with its adapters; those that are trained.
        num_trunk: of the network without its head and adapters; a tied head belongs to the trunk.
        num_head: of the vocabulary head, where it is not tied.
        num_in_layer: parameters of the largest layer.
        num_outside: parameters outside of layers: embeddings, last norm, head.
        num_layers: layers.
        weights, gradients: bytes of all parameters as they are held, and of the gradients of trained ones.
        hidden_size, vocab_size: of the vocabulary head.
        trains_head: whether the vocabulary head is trained.
        passes: of the trunk.
        prefill_per_token: bytes that a token of a prompt takes while a layer draws.
        decoding: bytes of the copies of weights that the decode loop reads.
        cache_per_token: bytes of the keys and values of a token.
        own_loop: whether prompts are computed once per group when drawing (`alignment.generation.llama_decoding`).
        packed: whether rows run packed; it attends in a sliding window otherwise.
    """

    num_parameters: int
    num_trained: int
    num_trunk: int
    num_head: int
    num_in_layer: int
    num_outside: int
    num_layers: int
    weights: int
    gradients: int
    hidden_size: int
    vocab_size: int
    trains_head: bool
    passes: Passes
    prefill_per_token: float
    decoding: int
    cache_per_token: int
    own_loop: bool
    packed: bool


@dataclass(frozen=True, kw_only=True)
class Held:
    """How a network is held and trained.

    Attributes:
        precision: number format of matrix products.
        frozen_in_bf16, trained_in_bf16: whether these matrices are held in bf16 (`rewardkit.weights.held`).
        lora_rank, lora_layers: of adapters that are trained in place of the weights; rank 0 trains the weights.
        load_in_4bit: whether the linear layers below adapters are held in 4 bits.
        by_modules: whether it runs by transformers' modules, as sharded weights do, whatever its shape.
        task: a policy, with a vocabulary head; or a reward model.
        is_trained: whether anything is.
        members: adapters that a reward model's members have each of their own; 1 for one set.
    """

    precision: Literal["bf16", "fp32"]
    frozen_in_bf16: bool = False
    trained_in_bf16: bool = False
    lora_rank: int = 0
    lora_layers: int = 0
    load_in_4bit: bool = False
    gradient_checkpointing: bool = False
    by_modules: bool = False
    task: Literal["policy", "reward"] = "policy"
    is_trained: bool = True
    members: int = 1


FORMATS = {"bf16": torch.bfloat16, "fp32": torch.float32}


def count_network(config: PretrainedConfig, held: Held) -> NetworkCounts:
    """Counts the network of a configuration.

    Raises:
        ValueError: if transformers builds no such model, or none whose attention can be chosen by name.
        ImportError: if adapters are asked for and peft is missing.
    """
    text = config.get_text_config()
    width = FORMATS[held.precision]
    network = _build(config, held.task)
    num_trunk = _count(network.base_model)
    layers = _layers(network)
    num_layers = len(layers)
    num_head = _count(network) - num_trunk
    if held.lora_rank:
        _adapt(network, held)
    num_parameters, num_in_layer = _count(network), max(_count(layer) for layer in layers)
    num_outside = num_parameters - sum(_count(layer) for layer in layers)
    if held.load_in_4bit:
        quantised_shapes(network, network.base_model)
    if not held.is_trained:
        network.requires_grad_(False)
    for is_trained, in_bf16 in ((False, held.frozen_in_bf16), (True, held.trained_in_bf16)):
        if in_bf16:
            hold_in_bf16(network, trained=is_trained)
    with FakeTensorMode():
        _fill(network)
        decoding, own_loop = _decoding(network, width) if held.task == "policy" else (0, False)
        head: Any = network.get_output_embeddings() if held.task == "policy" else None
        key_heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
        head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        if held.gradient_checkpointing:
            recompute_activations(network)
        network.takes_own_steps = not held.by_modules and held.members == 1 and _takes_own_steps(network)  # pyright: ignore
        passes = _passes(network, layers, held.precision, held.lora_layers or num_layers)
        return NetworkCounts(
            num_parameters=num_parameters,
            num_trained=_count(network, trained=True),
            num_trunk=num_trunk,
            num_head=num_head,
            num_in_layer=num_in_layer,
            num_outside=num_outside,
            num_layers=num_layers,
            weights=sum(parameter.nbytes for parameter in network.parameters()),
            gradients=sum(parameter.nbytes for parameter in network.parameters() if parameter.requires_grad),
            hidden_size=text.hidden_size,
            vocab_size=0 if head is None else len(head.weight),
            trains_head=head is not None and head.weight.requires_grad,
            passes=passes,
            prefill_per_token=passes.kept.per_token / num_layers,
            decoding=decoding,
            cache_per_token=2 * num_layers * key_heads * head_dim * width.itemsize,
            own_loop=own_loop,
            packed=not local_layers(config),
        )


def _build(config: PretrainedConfig, task: str) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    kind: Any = AutoModelForCausalLM if task == "policy" else AutoModelForSequenceClassification
    attention.register()
    config = copy.deepcopy(config)  # which otherwise attends by packed rows from then on
    if task == "reward":
        config.num_labels = 1
    try:
        with torch.device("meta"):
            network = kind.from_config(config, dtype=torch.float32, attn_implementation=attention.NAME)
    except (ValueError, ImportError) as error:
        raise ValueError(f"{config.model_type} cannot be planned: {error}") from error
    switch_off_dropout(network)
    return network.train()


def _adapt(network: PreTrainedModel, held: Held) -> None:
    """Puts adapters in as trainings do."""
    with torch.device("meta"):
        if held.members == 1:
            adapt(network, rank=held.lora_rank, num_layers=held.lora_layers, seed=0)
            return
        network.requires_grad_(False)
        adapt_members(
            network,
            num_members=held.members,
            rank=held.lora_rank,
            num_layers=held.lora_layers,
            generator=torch.Generator(),
        )


def _fill(network: nn.Module) -> None:
    """Puts fake tensors on a CPU in place of those without a device, which autocast does not know; ties stay."""
    filled: dict[Tensor, Tensor] = {}

    def fill(tensor: Tensor) -> Tensor:
        if tensor not in filled:
            fake = torch.empty(tensor.shape, dtype=tensor.dtype)
            is_parameter = isinstance(tensor, nn.Parameter)
            filled[tensor] = nn.Parameter(fake, requires_grad=tensor.requires_grad) if is_parameter else fake
        return filled[tensor]

    for module in network.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = fill(tensor)  # pyright: ignore


def _layers(network: PreTrainedModel) -> Sequence[nn.Module]:
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [module for module in network.modules() if isinstance(module, GradientCheckpointingLayer)]
    if not layers:
        raise ValueError(f"{type(network).__name__} cannot be planned: its layers are not told apart")
    return layers


def _count(module: nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


def _decoding(network: PreTrainedModel, width: torch.dtype) -> tuple[int, bool]:
    """Bytes of the copies of weights that the decode loop reads, and whether it is the one of our own."""
    try:
        with torch.no_grad():
            weights = read_weights(network, width)
    except ValueError:
        return 0, False
    ours = {storage_of(parameter) for parameter in network.parameters()}
    layers = [part for layer in weights.layers for part in (layer.qkv, layer.out, layer.gate_up, layer.down)]
    read = [part.weight for part in (*layers, weights.head)]
    return sum(weight.nbytes for weight in read if storage_of(weight) not in ours), True


def _passes(network: PreTrainedModel, layers: Sequence[nn.Module], precision: str, num_trained: int) -> Passes:
    """What passes take; of many equal layers few are run.

    Args:
        num_trained: top layers in which something is trained.
    """
    for parameter in network.parameters():
        if parameter.requires_grad:  # as of the micro-batch before
            parameter.grad = torch.empty_like(parameter)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        with _shortened(network, layers[: FEW[0]]):
            scored, _, _ = _run(network, precision, learns=False)
        return Passes(kept=Line(once=0.0), steps=(), scoring=highest(scored))
    below = min(1, len(layers) - num_trained)  # a layer below those that are trained, where there is one
    lowest = len(layers) - num_trained - below
    equal = not local_layers(network.config) and len({_count(layer) for layer in layers[-num_trained:]}) == 1
    if num_trained <= FEW[1] or not equal:
        scored = _run(network, precision, learns=False)
        forward, backward, _ = _run(network, precision)
        return Passes(kept=forward[-1], steps=highest((*forward, *backward)), scoring=highest(scored[0]))
    with _shortened(network, layers[lowest : lowest + below + FEW[0]]):
        scored = _run(network, precision, learns=False)
        forward, backward, names = _run(network, precision)
    with _shortened(network, layers[lowest : lowest + below + FEW[1]]):
        longer_scored = _run(network, precision, learns=False)
        longer, _, longer_names = _run(network, precision)

    def more(few: Sequence[Line], several: Sequence[Line]) -> Line:
        """What all other layers add at the end of forward."""
        return (several[-1] + few[-1] * -1.0) * (num_trained - FEW[0])

    # The layers' backward passes come before that of the embedding, when nothing of other layers is kept any more.
    alike = next(place for place, pair in enumerate(zip(names, longer_names, strict=False)) if pair[0] != pair[1])
    added, casts = more(forward[:-1], longer[:-1]), more(scored[0][:-1], longer_scored[0][:-1])
    kept = more(forward, longer)
    steps = [line + added for line in forward] + [line + kept for line in backward[:alike]] + backward[alike:]
    return Passes(kept=forward[-1] + kept, steps=highest(steps), scoring=highest(line + casts for line in scored[0]))


def _takes_own_steps(network: PreTrainedModel) -> bool:
    try:
        llama.check(network)
    except ValueError:
        return False
    return True


@contextmanager
def _shortened(network: PreTrainedModel, layers: Sequence[nn.Module]) -> Iterator[None]:
    """Within the block the network has these layers only."""
    parent, name, whole = next(
        (parent, name, child)
        for parent in network.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.ModuleList) and layers[-1] in list(child)
    )
    setattr(parent, name, nn.ModuleList(layers))
    try:
        yield
    finally:
        setattr(parent, name, whole)


def _run(network: PreTrainedModel, precision: str, *, learns: bool = True) -> tuple[list[Line], list[Line], list[str]]:
    """Lines of the steps of forward and of backward, and the names of the latter's."""
    _live(network, precision, *SIZES[0], learns=learns)  # what is made once
    lives = [_live(network, precision, *size, learns=learns) for size in SIZES]
    (live, start), *others = lives
    assert all(other.names == live.names for other, _ in others), "steps depend on the number of tokens"
    of_steps = lines(live.steps for live, _ in lives)
    return of_steps[:start], of_steps[start:], live.names[start:]


def _live(
    network: PreTrainedModel, precision: str, num_tokens: int, num_read: int, *, learns: bool
) -> tuple[LiveBytes, int]:
    """What is alive at the steps of a pass, and the number of those of forward."""
    weights = list(network.parameters())
    live = LiveBytes([*weights, *(p.grad for p in weights if p.grad is not None)])
    batch = pack([Branched(prompt=(0,), branches=((0,) * (num_tokens - 1),))])
    with attention.replaced_by(_Kept.apply), live, torch.set_grad_enabled(learns):  # pyright: ignore
        # As `alignment.policy.policy_forward.Forward.autocast`.
        cached = not recomputes_activations(network)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=cached):
            states = llama.packed_states(network, batch, torch.arange(num_read))
        live.note("forward")  # without what autocast kept
        start = len(live.steps)
        if learns:
            states.backward(torch.empty_like(states))
    return live, start


class _Kept(torch.autograd.Function):
    """Keeps what a fused attention keeps, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, result, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:  # pyright: ignore
        query, key, value, *_ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)
