"""What is held all the time: weights, gradients and moments of what is trained, weights of what is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignment.config.plan import PlanConfig
from alignment.memory.network_counts import FLOAT32, NetworkCounts

GRADIENTS = "gradients"
BFLOAT16 = 2  # bytes
QUANTILES = 256  # numbers that share a scale of 4 bytes in 8-bit moments


@dataclass(frozen=True, kw_only=True)
class MemoryPart:
    """Something that takes memory.

    Attributes:
        name: for people.
        num_bytes: on each GPU.
        exact: whether it is counted, and not estimated.
        frozen: whether it lies on the CPU between its uses where that is asked for.
    """

    name: str
    num_bytes: int
    exact: bool = True
    frozen: bool = False


def total(parts: Sequence[MemoryPart]) -> int:
    """Bytes of all."""
    return sum(part.num_bytes for part in parts)


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks of a training.

    Attributes:
        policy: what is trained: a policy, or a reward model.
        value: the value network of ppo; None where the policy's states are read.
        rewards: reward models that stay in memory, by name.
    """

    policy: NetworkCounts
    value: NetworkCounts | None
    rewards: tuple[tuple[str, NetworkCounts], ...]


def standing_parts(config: PlanConfig, networks: Networks) -> tuple[MemoryPart, ...]:
    """The parts that each GPU always holds."""
    counts = networks.policy
    shares = config.gpus if config.split == "fsdp2" else 1
    parts = [MemoryPart(name=f"{_trained(config)}, weights", num_bytes=-(-counts.weights // shares))]
    parts += trained_parts(config, counts, shares)
    if has_copy(config):
        size = (BFLOAT16 if config.holds_bf16 else FLOAT32) * counts.num_parameters
        parts.append(MemoryPart(name="reference, weights", num_bytes=-(-size // shares), frozen=shares == 1))
    if networks.value is not None:
        head = FLOAT32 * counts.num_head  # of the network that it begins from; it is not trained
        own = total(trained_parts(config, networks.value, shares)) + (networks.value.weights + head) // shares
        parts.append(MemoryPart(name="value, weights, gradients, moments", num_bytes=own))
    elif config.method == "ppo":
        parts.append(MemoryPart(name="value, head", num_bytes=4 * FLOAT32 * (counts.hidden_size + 1)))
    for name, reward in networks.rewards:  # whole on each GPU
        parts.append(MemoryPart(name=f"reward model {name}, weights", num_bytes=reward.weights, frozen=True))
    if config.method == "reward":
        parts.append(MemoryPart(name="heads", num_bytes=4 * FLOAT32 * num_heads(config) * counts.hidden_size))
    if shares > 1:
        # Outside of layers all is whole, with its gradient; of the layers one that computes, the next, and a gradient.
        whole = FLOAT32 * (2 * counts.num_outside + 3 * counts.num_in_layer)
        parts.append(MemoryPart(name="whole layers while they compute", num_bytes=whole, exact=False))
    return tuple(parts)


def trained_parts(config: PlanConfig, counts: NetworkCounts, shares: int) -> list[MemoryPart]:
    """Gradients and moments of trained weights; moments of bf16 weights are in float32 too."""
    number = -(-counts.num_trained // shares)
    parts = [MemoryPart(name=GRADIENTS, num_bytes=-(-counts.gradients // shares))]
    if config.optimizer == "adamw":
        parts.append(MemoryPart(name="AdamW, two moments", num_bytes=2 * FLOAT32 * number))
    elif config.optimizer == "adamw_8bit":
        scales = FLOAT32 * -(-number // QUANTILES)
        parts.append(MemoryPart(name="AdamW, two moments in 8 bits", num_bytes=2 * (number + scales)))
    if config.trained_weights == "bf16_kahan":
        parts.append(MemoryPart(name="what rounding took", num_bytes=BFLOAT16 * number))
    return parts


def models(config: PlanConfig) -> Iterator[str]:
    """What is held, in words."""
    how = "its adapters are trained" if config.lora else "all weights are trained"
    if config.load_in_4bit:
        how += ", the weights below are held in 4 bits"
    elif config.lora and config.holds_bf16:
        how += ", the weights below are held in bf16"
    yield f"{_trained(config)}: {how}"
    if config.method == "reward" and config.ensemble > 1:
        ways = {
            "heads": f"{config.ensemble} heads on one trunk",
            "lora": f"{config.ensemble} adapters on one trunk, each with a head",
            "full": f"{config.ensemble} networks, trained one after another",
        }
        yield f"members: {ways[config.members]}"
    if config.method == "dpo" and config.reference == "precomputed":
        yield "reference: log-probabilities computed once before the first step, no weights"
    elif has_copy(config):
        yield f"reference: a frozen copy{' in bf16' if config.holds_bf16 else ''}"
    elif config.method not in ("sft", "reward"):
        yield "reference: the policy without its adapters, no weights of its own"
    if config.method == "ppo":
        yield "value: a network of its own, trained" if config.value == "separate" else "value: a head on the policy"
    for name in config.reward_model:
        yield f"reward model: {name}{' in bf16' if config.holds_bf16 else ''}"
    if not config.is_offline and not config.reward_model:
        yield "rewards: without a model here; name one with reward_model"


def has_copy(config: PlanConfig) -> bool:
    """Whether the reference has weights of its own."""
    if config.lora or config.method in ("sft", "reward"):
        return False
    return config.method != "dpo" or config.reference == "live"


def num_heads(config: PlanConfig) -> int:
    """Score heads of a reward model that is trained."""
    return 1 if config.members == "full" else config.ensemble


def _trained(config: PlanConfig) -> str:
    return "reward model" if config.method == "reward" else "policy"
