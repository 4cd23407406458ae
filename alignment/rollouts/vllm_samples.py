"""What vLLM is asked for and what is made of its answers, the same in this process and by its server.

Log-probabilities are vLLM's "processed" ones, of the logits that it draws from, which it divides by the temperature
first. They come from other kernels than the trainer's: how far apart the two are is measured, and weighed up to a cap
(`alignment.losses.importance`).

A sample depends on the seed, its prompt's key and its number, as those of the loops here do, and is another one than
theirs. vLLM draws from a generator of each request's own, but its logits depend on the batch by rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from alignment.generation.generate import Sampled, Sampling
from alignment.rollouts.source import RolloutError

LOGPROBS_MODE = "processed_logprobs"


def sampling_options(sampling: Sampling, key: int, num_samples: int) -> dict[str, Any]:
    """What says how a prompt's completions are drawn, as vLLM's `SamplingParams` and its server name it.

    Every one is named that the model's own generation config could set otherwise.

    Args:
        key: what the seed calls the prompt; vLLM adds the sample's number to the seed that comes of both.
    """
    state = np.random.SeedSequence((sampling.seed, key)).generate_state(1, np.uint64)[0]
    return {
        "n": num_samples,
        "seed": int(state >> np.uint64(2)),  # room for the number within 63 bits
        "temperature": sampling.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "max_tokens": sampling.max_new_tokens,
        "stop": list(sampling.stop),
        "stop_token_ids": list(sampling.end_ids),
        "ignore_eos": True,  # stop_token_ids say what ends
        "skip_special_tokens": False,  # stop texts are looked for in all there is
        "logprobs": 0,  # of the drawn token only
    }


def read_sample(
    prompt: Sequence[int], ids: Sequence[int], logps: Sequence[Any], reason: str | None, sampling: Sampling
) -> Sampled:
    """A completion that vLLM gave.

    Args:
        logps: of the tokens, nats.
        reason: why it ended, vLLM's `finish_reason`.

    Raises:
        RolloutError: if it is not what was asked for.
    """
    if not 1 <= len(ids) <= sampling.max_new_tokens:
        raise RolloutError(f"a completion of {len(ids)} tokens, allowed is 1 to {sampling.max_new_tokens}")
    if len(logps) != len(ids):
        raise RolloutError(f"{len(logps)} log-probabilities for {len(ids)} tokens")
    for place, logp in enumerate(logps):
        if not isinstance(logp, int | float) or not math.isfinite(logp):
            raise RolloutError(f"the log-probability of token {place} is {logp!r:.40}, allowed is a finite number")
    if reason not in ("stop", "length"):
        raise RolloutError(f"a completion ended by {reason!r}, allowed is stop or length")
    return Sampled(
        prompt=tuple(prompt), completion=tuple(ids), logps=tuple(map(float, logps)), finished=reason == "stop"
    )


def check_count(found: int, wanted: int) -> None:
    """Raises RolloutError if a prompt got other than so many completions."""
    if found != wanted:
        raise RolloutError(f"{found} completions of a prompt, {wanted} were asked for")
