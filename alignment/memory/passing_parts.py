"""What comes and goes: a micro-batch that is learned from, completions that are drawn, scores that are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignment.config.plan import PlanConfig
from alignment.generation.llama_decoding import PREFILL_TOKENS
from alignment.memory.live_bytes import Line
from alignment.memory.network_counts import FLOAT32, NetworkCounts
from alignment.memory.standing_parts import BFLOAT16, MemoryPart, Networks
from rewardkit.network.vocabulary_head import BLOCK, KEPT_BYTES
from rewardkit.reward import reward_model


def training_parts(config: PlanConfig, networks: Networks, tokens: int) -> tuple[MemoryPart, ...]:
    """Returns the memory of one micro-batch in training, besides the standing parts."""
    counts = networks.policy
    read = int(tokens * read_share(config, counts))
    others = (networks.value.passes.kept,) if networks.value else ()
    kept, highest = counts.passes.kept, max(line(tokens, read) for line in counts.passes.steps)
    for other in others:
        kept, highest = kept + other, highest + other(tokens, read)
    head = HeadBytes.of(config, counts, read)
    with_head = kept(tokens, read) + head.kept
    moments = [highest, with_head + max(head.forward, head.backward)]
    if config.method == "dpo" and config.reference == "live":  # it is asked while the policy's activations are kept
        moments.append(with_head + scoring_bytes(config, counts, tokens))
    if config.offload_activations:  # all but what one layer, or the head, needs at once lies on the CPU
        at_once = max(kept(tokens, read) / counts.num_layers, head.kept)
        moment = max(moments[0] - kept(tokens, read), head.forward, head.backward)
        return (
            MemoryPart(name="activations of a layer or the head", num_bytes=round(at_once), exact=False),
            MemoryPart(name="forward or backward, for a moment", num_bytes=round(moment), exact=False),
        )
    return (
        MemoryPart(name="weights in bf16, kept for backward", num_bytes=round(kept.once)),
        MemoryPart(name="activations of layers", num_bytes=round(kept(tokens, read) - kept.once)),
        MemoryPart(name="vocabulary head, kept for backward", num_bytes=head.kept),
        MemoryPart(name="forward or backward, for a moment", num_bytes=max(0, round(max(moments) - with_head))),
    )


def scoring_parts(
    config: PlanConfig, networks: Networks, held: Sequence[MemoryPart], tokens: int
) -> tuple[MemoryPart, ...]:
    """Returns the memory of a pass of the reference or a reward model, besides the standing parts.

    Args:
        held: all parts that are held anywhere.
    """
    frozen = [part for part in held if part.frozen] if config.offload_frozen else []
    passes = [] if config.is_offline else [networks.policy, *(reward for _, reward in networks.rewards)]
    parts = []
    if frozen:
        largest = max(frozen, key=lambda part: part.num_bytes)
        parts.append(MemoryPart(name=largest.name, num_bytes=largest.num_bytes))
    if passes:
        sizes = [tokens, *(reward_model.TOKENS_ON_GPU for _ in networks.rewards)]
        moment = max(scoring_bytes(config, *each) for each in zip(passes, sizes, strict=True))
        parts.append(MemoryPart(name="a pass without gradients, for a moment", num_bytes=moment))
    return tuple(parts)


@dataclass(frozen=True, kw_only=True)
class HeadBytes:
    """Bytes of the blockwise vocabulary head (`rewardkit.network.vocabulary_head`) for C tokens.

    Attributes:
        kept: for backward.
        forward, backward: beyond that, for a moment.
    """

    kept: int
    forward: int
    backward: int

    @classmethod
    def of(cls, config: PlanConfig, counts: NetworkCounts, tokens: int, *, learns: bool = True) -> HeadBytes:
        """Counts them; a reward model's head is too small to count."""
        if not counts.vocab_size:
            return cls(kept=0, forward=0, backward=0)
        width = BFLOAT16 if config.precision == "bf16" else FLOAT32
        size = min(BLOCK, counts.vocab_size)
        blocks = -(-counts.vocab_size // BLOCK)
        block = tokens * size * width
        num_kept = min(blocks, KEPT_BYTES // max(1, block)) if learns else 0
        logits = min(num_kept * block, tokens * counts.vocab_size * width)
        is_copied = config.precision == "bf16" or not config.is_offline  # cast, or divided by a temperature
        # Index, target and branch of a token, two numbers of it, and its share of each block's probability.
        of_token = 3 * 8 + 2 * FLOAT32 + blocks * FLOAT32
        kept = tokens * (counts.hidden_size * width * is_copied + of_token) + logits
        exact = tokens * size * FLOAT32
        cast = exact if config.precision == "bf16" else 0
        weights = size * counts.hidden_size * width if config.precision == "bf16" else 0
        # Logits of a block, in float32 too, and what the sum of their exponentials or the entropy makes of them.
        forward = (0 if num_kept == blocks else block) + cast + 2 * exact + weights
        gradient = tokens * counts.hidden_size * (FLOAT32 + width)
        own = FLOAT32 * counts.vocab_size * counts.hidden_size + size * counts.hidden_size * width
        backward = (block if num_kept == blocks else 2 * block) + gradient + weights + own * counts.trains_head
        return cls(kept=kept, forward=forward, backward=backward)


def scoring_bytes(config: PlanConfig, counts: NetworkCounts, tokens: int) -> int:
    """Bytes of a pass without gradients over a micro-batch, weights aside."""
    read = int(tokens * read_share(config, counts))
    head = HeadBytes.of(config, counts, read, learns=False)
    trunk = max(line(tokens, read) for line in counts.passes.scoring)
    states = Line(once=0, per_read=FLOAT32 * counts.hidden_size)(tokens, read)
    return round(max(trunk, states + head.kept + head.forward))


def drawing_parts(config: PlanConfig, counts: NetworkCounts, tokens: int) -> tuple[MemoryPart, ...]:
    """Returns the memory of drawing a batch of completions, besides the standing parts; empty for offline methods.

    The few samples of an evaluation, which offline methods draw without copies of weights, are too small to count.
    """
    if config.is_offline:
        return ()
    size, length = config.group_size, config.completion_tokens
    groups = max(1, tokens // (size * (config.prompt_tokens + length)))
    own_loop = counts.own_loop and config.split == "none"
    prompts = groups * config.prompt_tokens * (1 if own_loop else size)
    cached = (prompts + groups * size * length) * counts.cache_per_token
    logits = groups * size * counts.vocab_size * 4 * FLOAT32
    prefill = counts.prefill_per_token * min(prompts, PREFILL_TOKENS)
    return (
        MemoryPart(name="copies of weights to draw with", num_bytes=counts.decoding * own_loop),
        MemoryPart(name="keys and values", num_bytes=cached),
        MemoryPart(name="logits, prompts in a layer", num_bytes=round(logits + prefill), exact=False),
    )


def in_a_row(config: PlanConfig) -> int:
    """Returns the completions of a prompt that share a row in training: two of the group for online-dpo."""
    return 2 if config.method == "online-dpo" else config.group_size


def row_tokens(config: PlanConfig, counts: NetworkCounts, num_completions: int) -> int:
    """Tokens of a prompt with completions; where rows are padded, with the prompt before each."""
    prompts = 1 if counts.packed else num_completions
    return prompts * config.prompt_tokens + num_completions * config.completion_tokens


def read_share(config: PlanConfig, counts: NetworkCounts) -> float:
    """Share of a row's tokens whose last states are read: all of completions, for a reward model their last."""
    size = in_a_row(config)
    read = 1 if config.method == "reward" else config.completion_tokens
    return size * read / row_tokens(config, counts, size)
