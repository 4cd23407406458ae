"""What this machine gets done, in half a minute: one layer of the model trained and drawn from by our own loops.

A layer is as wide as the model's, so that its products have the shapes of the whole; it is trained on a usual pair's
tokens and drawn from in two lengths, whose difference leaves out what a batch costs once. One GPU is measured: what
processes say to each other is not.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch

from alignment.advisor.gpus import Gpu
from alignment.advisor.work import BF16, Network, Passes, Rates, pass_flops
from alignment.generation.generate import Sampling, generate
from alignment.memory.shapes import read_shape
from alignment.policy.policy import make_network
from alignment.policy.policy_forward import Forward
from rewardkit.distributed.collectives import default_device
from rewardkit.distributed.optimization import multiplies_bf16
from rewardkit.network.logps import can_pack_policy
from rewardkit.network.packed_rows import Branched

SECONDS = 12.0  # of each of the two measurements
LOW, HIGH = 0.8, 1.5
"""Factors of the hours: other lengths than the usual, evaluation, and GPUs that wait for each other are left."""
VOCABULARY = 1024
ROWS = 8  # drawn at once: few, so that reading decides
SHORT, LONG = 8, 40  # tokens


def measure_rates(
    model: str, prompt_tokens: int, completion_tokens: int, gpu: Gpu, *, seconds: float = SECONDS
) -> Rates:
    """Rates of this machine's device for a model.

    Args:
        gpu: whose link to the others is taken from its data sheet.
        seconds: of training, and of drawing; more where one time takes more.

    Raises:
        ValueError: if the model's shape cannot be read.
    """
    device = default_device()
    shape = copy.deepcopy(read_shape(model, prompt_tokens + completion_tokens))
    text = shape.get_text_config()
    text.num_hidden_layers, text.vocab_size = 1, VOCABULARY
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:1]
    network = make_network(shape, seed=0).to(device)  # pyright: ignore[reportArgumentType]
    precision = "bf16" if multiplies_bf16(device) else "fp32"
    layer = sum(parameter.numel() for parameter in network.parameters()) - 2 * VOCABULARY * text.hidden_size
    heads, head_dim = text.num_attention_heads, getattr(text, "head_dim", None)
    head_dim = head_dim or text.hidden_size // heads
    cache = 2 * BF16 * (getattr(text, "num_key_value_heads", None) or heads) * head_dim
    counted = Network(
        num_layer_weights=layer,
        num_head_weights=VOCABULARY * text.hidden_size,
        num_layers=1,
        width=heads * head_dim,
        cache_per_token=cache,
    )
    answer = tuple(place % VOCABULARY for place in range(completion_tokens))
    row = Branched(prompt=tuple(place % VOCABULARY for place in range(prompt_tokens)), branches=(answer, answer))
    forward = Forward(network=network, packed=can_pack_policy(network), token_budget=2**20, precision=precision)

    def learn() -> None:
        forward.logps([row]).token_logps.sum().backward()

    tokens = prompt_tokens + 2 * completion_tokens
    passes = Passes(
        network=counted,
        kind="train",
        tokens=tokens,
        head_tokens=2 * completion_tokens,
        length=prompt_tokens + completion_tokens,
    )
    network.train()
    flops = pass_flops(passes) / _seconds_of(learn, seconds, device)
    network.zero_grad(set_to_none=True)
    network.eval()

    def draw(num_tokens: int) -> Callable[[], object]:
        sampling = Sampling(max_new_tokens=num_tokens)
        return lambda: generate(network, [row.prompt], sampling, num_samples=ROWS, precision=precision)

    short, long = (_seconds_of(draw(number), seconds / 2, device) for number in (SHORT, LONG))
    context = prompt_tokens + (SHORT + LONG) / 2
    read = BF16 * counted.num_weights + ROWS * context * cache
    step = max(long - short, 1e-9) / (LONG - SHORT)
    bandwidth = read / step
    source = f"measured here on {device.type} in {precision}: {flops / 1e12:,.3g} TFLOP/s, {bandwidth / 1e9:,.3g} GB/s"
    return Rates(flops=flops, bandwidth=bandwidth, link=gpu.link, low=LOW, high=HIGH, source=source)


def _seconds_of(work: Callable[[], object], seconds: float, device: torch.device) -> float:
    """Least seconds of some work, done as often as `seconds` allow, and once at least: what disturbs only adds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() + min(times) < end:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)
