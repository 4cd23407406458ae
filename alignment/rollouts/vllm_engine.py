"""Rollouts by vLLM in this process, on the GPU that trains, behind `alignment.rollouts.source`.

Written by the source of vLLM 0.33 and tested with a stand-in; it has not been run with vLLM itself, which needs a GPU.
Weights go from memory to memory by its workers' `reload_weights`, which its server offers too (`vllm_server`). An
engine that fails in this process cannot be started anew there: the run ends, and goes on with --resume.

What vLLM is asked for and how its answers are read is the same in this process and by its server, and lives here.
Log-probabilities are vLLM's "processed" ones, of the logits that it draws from, which it divides by the temperature
first. They come from other kernels than the trainer's: how far apart the two are is measured, and weighed up to a cap
(`alignment.losses.importance`).

A sample depends on the seed, its prompt's key and its number, as those of the loops here do, and is another one than
theirs. vLLM draws from a generator of each request's own, but its logits depend on the batch by rounding.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from alignment.config.online import OnlineConfig
from alignment.generation.generate import Sampled, Sampling
from alignment.policy.policy import Policy
from alignment.rollouts.merged_weights import merged_weights
from alignment.rollouts.source import INSTALL, RolloutError
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.run.model_folder import adapter_base
from rewardkit.weights.held import compute_dtype

LOGPROBS_MODE = "processed_logprobs"


def sampling_options(sampling: Sampling, key: int, num_samples: int) -> dict[str, Any]:
    """Returns the sampling options of a prompt by the names of vLLM's `SamplingParams` and server.

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
    """Reads a completion of vLLM.

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
    for index, logp in enumerate(logps):
        if not isinstance(logp, int | float) or not math.isfinite(logp):
            raise RolloutError(f"the log-probability of token {index} is {logp!r:.40}, allowed is a finite number")
    if reason not in ("stop", "length"):
        raise RolloutError(f"a completion ended by {reason!r}, allowed is stop or length")
    return Sampled(
        prompt=tuple(prompt), completion=tuple(ids), logps=tuple(map(float, logps)), finished=reason == "stop"
    )


def check_count(count: int, wanted: int) -> None:
    """Raises RolloutError if a prompt got other than so many completions."""
    if count != wanted:
        raise RolloutError(f"{count} completions of a prompt, {wanted} were asked for")


T = TypeVar("T")
MEMORY_SHARE = 0.3  # of the GPU, for vLLM's weights and caches


class VllmEngine:
    """A copy of a policy in vLLM; one process trains.

    Raises:
        ImportError: if vLLM is missing.
        RolloutError: if it does not start.
    """

    def __init__(self, policy: Policy, config: OnlineConfig) -> None:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the engine in this process, so that tensors reach it
        try:
            from vllm import LLM  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(INSTALL) from error
        self.policy = policy
        bf16 = wants_bf16(config.precision, policy.device)
        self.llm: Any = _ending_in_one_line(
            lambda: LLM(
                model=adapter_base(config.model) or config.model,
                dtype="bfloat16" if bf16 else str(compute_dtype(policy.network)).removeprefix("torch."),
                max_model_len=config.max_prompt_length + config.max_new_tokens,
                gpu_memory_utilization=MEMORY_SHARE,
                logprobs_mode=LOGPROBS_MODE,
                seed=config.seed,
            )
        )

    def load(self) -> None:
        """Gives vLLM the policy's weights and lets it forget what it computed with others."""
        weights = merged_weights(self.policy.network)
        _ending_in_one_line(
            lambda: self.llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        )
        if not _ending_in_one_line(self.llm.reset_prefix_cache):
            raise RolloutError("vLLM did not let go of what it had computed with former weights")

    def draw(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, *, num_samples: int, keys: Sequence[int]
    ) -> list[tuple[Sampled, ...]]:
        """See `alignment.rollouts.source.RolloutSource`."""
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        asked = [SamplingParams(**sampling_options(sampling, key, num_samples)) for key in keys]
        token_prompts = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        answers = _ending_in_one_line(lambda: self.llm.generate(token_prompts, sampling_params=asked, use_tqdm=False))
        samples = []
        for prompt, answer in zip(prompts, answers, strict=True):
            check_count(len(answer.outputs), num_samples)
            samples.append(tuple(_read(prompt, output, sampling) for output in answer.outputs))
        return samples

    def close(self) -> None:
        """Ends the engine, which holds memory of the GPU."""
        self.llm.llm_engine.engine_core.shutdown()


def _read(prompt: Sequence[int], output: Any, sampling: Sampling) -> Sampled:
    ids = output.token_ids
    logps = [of_token[token].logprob for token, of_token in zip(ids, output.logprobs or (), strict=False)]
    return read_sample(prompt, ids, logps, output.finish_reason, sampling)


def _ending_in_one_line(work: Callable[[], T]) -> T:
    """Runs a call of vLLM; any exception becomes a RolloutError of one line."""
    try:
        return work()
    except Exception as error:
        raise RolloutError(f"vLLM: {type(error).__name__}: {error}") from error
