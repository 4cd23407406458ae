"""Rollouts by vLLM in this process, on the GPU that trains, behind `alignment.rollouts.source`.

Written by the source of vLLM 0.33 and tested with a stand-in; it has not been run with vLLM itself, which needs a GPU.
Weights go from memory to memory by its workers' `reload_weights`, which its server offers too (`vllm_server`). An
engine that fails in this process cannot be started anew there: the run ends, and goes on with --resume.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from alignment.config.online import OnlineConfig
from alignment.generation.generate import Sampled, Sampling
from alignment.policy.policy import Policy
from alignment.rollouts.merged_weights import merged_weights
from alignment.rollouts.source import INSTALL, RolloutError
from alignment.rollouts.vllm_samples import LOGPROBS_MODE, check_count, read_sample, sampling_options
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.network.policy_model import adapter_base

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
                dtype="bfloat16" if bf16 else str(policy.network.dtype).removeprefix("torch."),
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
        given = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        answers = _ending_in_one_line(lambda: self.llm.generate(given, sampling_params=asked, use_tqdm=False))
        found = []
        for prompt, answer in zip(prompts, answers, strict=True):
            check_count(len(answer.outputs), num_samples)
            found.append(tuple(_read(prompt, output, sampling) for output in answer.outputs))
        return found

    def close(self) -> None:
        """Ends the engine, which holds memory of the GPU."""
        self.llm.llm_engine.engine_core.shutdown()


def _read(prompt: Sequence[int], output: Any, sampling: Sampling) -> Sampled:
    ids = output.token_ids
    logps = [of_token[token].logprob for token, of_token in zip(ids, output.logprobs or (), strict=False)]
    return read_sample(prompt, ids, logps, output.finish_reason, sampling)


def _ending_in_one_line(work: Callable[[], T]) -> T:
    """What vLLM gives; whatever it raises is a failure of the outside."""
    try:
        return work()
    except Exception as error:
        raise RolloutError(f"vLLM: {type(error).__name__}: {error}") from error
