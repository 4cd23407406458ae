"""What the number formats of trained weights cost and save: `python tests/benchmarks/weight_formats.py [SEEDS]`.

Trains a Llama of two layers from random weights on replies of the simulated support desk, in every way in which trained
weights are held, over seeds 0, 1, ... (3 unless said), and prints the loss of held-out replies at the end, in nats a
token, with the difference to fp32 (mean and standard deviation over seeds), and the bytes that a weight takes: itself,
its gradient, the optimizer's state, as measured. `plain bf16` is no option: weights and moments in bf16, nothing done
about rounding, to see what that does.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig

from alignment.policy.policy import make_network
from rewardkit.distributed.checkpoint import optimizer_state
from rewardkit.distributed.optimization import adamw, schedule
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.network.tokens import train_tokenizer
from rewardkit.simulation.support_desk_world import World
from rewardkit.weights.held import hold_in_bf16

NUM_STEPS, BATCH_SIZE, NUM_HELD_OUT, LENGTH, RATE = 150, 4, 64, 32, 3e-3
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16_stochastic": {"trained_weights": "bf16_stochastic"},
    "bf16_kahan": {"trained_weights": "bf16_kahan"},
    "plain bf16": {},
    "fp32, adamw_8bit": {"optimizer": "adamw_8bit"},
    "bf16_stochastic, adamw_8bit": {"trained_weights": "bf16_stochastic", "optimizer": "adamw_8bit"},
    "bf16_kahan, adamw_8bit": {"trained_weights": "bf16_kahan", "optimizer": "adamw_8bit"},
}


def token_rows() -> tuple[list[Branched], int]:
    """Rows of replies, and how many tokens there are."""
    replies = [prompt.responses[0].text for prompt in World(seed=0, num_prompts=400).prompts()]
    tokenizer = train_tokenizer(replies, vocab_size=512)
    ids = [tuple(tokenizer(reply, add_special_tokens=False)["input_ids"][:LENGTH]) for reply in replies]
    return [Branched(prompt=row[:1], branches=(row[1:],)) for row in ids if len(row) > 1], len(tokenizer)


def nbytes(values: object) -> int:
    """Bytes of all tensors in nested containers."""
    if isinstance(values, Tensor):
        return values.nbytes
    return sum(map(nbytes, values.values())) if isinstance(values, dict) else 0


def trained(way: str, seed: int, rows: Sequence[Branched], num_tokens: int) -> tuple[float, float]:
    """Held-out loss at the end of a training, and the bytes of a trained number."""
    config = LlamaConfig(
        vocab_size=num_tokens,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
    )
    network = make_network(config, seed=seed)
    packed = can_pack_policy(network)
    if "bf16" in way:
        hold_in_bf16(network, trained=True)
    parameters: Any = list(network.parameters())
    if way == "plain bf16":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0)
    else:
        optimizer = adamw([(parameters, 0.0)], RATE, seed=seed, **WAYS[way])
    learned, held_out = rows[NUM_HELD_OUT:], rows[:NUM_HELD_OUT]
    rng = np.random.default_rng(seed)
    for step in range(NUM_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * schedule(step, NUM_STEPS, 0.05)
        batch = [learned[index] for index in rng.integers(0, len(learned), BATCH_SIZE)]
        (-completion_logps(network, batch, packed=packed).token_logps.mean()).backward()
        if step + 1 < NUM_STEPS:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    held = nbytes({index: parameter for index, parameter in enumerate(parameters)})
    gradients = nbytes({index: parameter.grad for index, parameter in enumerate(parameters)})
    state = nbytes(optimizer_state(optimizer)["state"])
    with torch.no_grad():
        loss = -completion_logps(network, held_out, packed=packed).token_logps.mean()
    return float(loss), (held + gradients + state) / sum(parameter.numel() for parameter in parameters)


def main(seeds: int) -> None:
    rows, num_tokens = token_rows()
    print("| trained weights | bytes a weight | held-out loss | less fp32 |\n|---|---|---|---|", flush=True)
    of_fp32: np.ndarray | None = None
    for way in WAYS:
        if "8bit" in way and importlib.util.find_spec("bitsandbytes") is None:
            print(f"| {way} | bitsandbytes is absent | | |")
            continue
        results = [trained(way, seed, rows, num_tokens) for seed in range(seeds)]
        losses = np.array([loss for loss, _ in results])
        of_fp32 = losses if of_fp32 is None else of_fp32
        less = losses - of_fp32
        shown = f"{less.mean():+.4f} ± {less.std(ddof=1):.4f}" if way != "fp32" else ""
        print(f"| {way} | {results[0][1]:.1f} | {losses.mean():.4f} | {shown} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
