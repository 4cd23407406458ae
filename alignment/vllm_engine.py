"""Sampling by vLLM in this process, on the GPU that trains, behind the call of `alignment.generate`.

Written against the interface of vLLM 0.22 to 0.31 as TRL 1.16 uses it, tested with a stand-in; it has not been run
with vLLM itself, which needs a GPU. Its log-probabilities come from other kernels than a trainer's: the difference is
to be measured, and corrected by truncated importance sampling.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from alignment.engine import base_of
from alignment.generate import Sampled, Sampling
from alignment.llama_weights import weight_and_bias

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What vLLM asks torch.distributed's launcher for; one process stands alone.
ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29571"}


class VllmEngine:
    """A copy of a policy in vLLM, given the policy's weights before each rollout.

    Args:
        folder: where the policy's configuration is, or its hub id.
        max_length: tokens of a prompt and its completion.
        memory_share: of the GPU's memory, for weights and caches.

    Raises:
        ImportError: if vLLM is missing.
    """

    def __init__(self, folder: str, *, max_length: int, memory_share: float = 0.3) -> None:
        try:
            from vllm import LLM  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError('rollouts by vLLM need it: pip install "tiebreak[vllm]"') from error
        for name, value in ALONE.items():
            os.environ.setdefault(name, value)
        self.llm: Any = LLM(
            model=folder,
            max_model_len=max_length,
            gpu_memory_utilization=memory_share,
            distributed_executor_backend="external_launcher",  # in this process, so that weights need no message
            logprobs_mode="processed_logprobs",  # at the sampling temperature
        )

    def generate(
        self,
        policy: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        *,
        num_samples: int = 1,
        keys: Sequence[int] | None = None,
    ) -> list[tuple[Sampled, ...]]:
        """Draws completions of the policy as it is now; see `alignment.generate.generate`.

        Samples depend on the seed and a prompt's key, but are others than those that the loops here draw.

        Raises:
            ValueError: if top_p is below 1: vLLM's log-probabilities are of what it leaves, a trainer's are not.
        """
        from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

        if sampling.top_p < 1:
            raise ValueError(f"top_p is {sampling.top_p}, allowed with vLLM is 1")
        self._load(base_of(policy))
        numbers = range(len(prompts)) if keys is None else keys
        options = [
            SamplingParams(
                n=num_samples,
                temperature=sampling.temperature,
                max_tokens=sampling.max_new_tokens,
                stop_token_ids=list(sampling.end_ids),
                stop=list(sampling.stop),
                ignore_eos=True,  # end_ids say what ends
                seed=int(np.random.SeedSequence((sampling.seed, number)).generate_state(1)[0]),
                logprobs=0,  # of the drawn token only
            )
            for number in numbers
        ]
        given = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        answers = self.llm.generate(given, sampling_params=options, use_tqdm=False)
        return [
            tuple(_sampled(prompt, output) for output in answer.outputs)
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    def _load(self, base: PreTrainedModel) -> None:
        """Gives vLLM the policy's weights and lets it forget what it computed with others."""
        receiver = self.llm.llm_engine.model_executor.driver_worker.model_runner.model
        for named in named_weights(base):
            receiver.load_weights([named])
        self.llm.reset_prefix_cache()


@torch.no_grad()
def named_weights(base: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """All weights under the names of the model without adapters; LoRA is folded in, out of place, layer by layer."""
    adapted = {name: module for name, module in base.named_modules() if hasattr(module, "lora_A")}
    for name, module in adapted.items():
        weight, bias = weight_and_bias(module)
        yield f"{name}.weight", weight
        if bias is not None:
            yield f"{name}.bias", bias
    prefixes = tuple(f"{name}." for name in adapted)
    for name, parameter in base.named_parameters():
        if not name.startswith(prefixes):
            yield name, parameter.detach()


def _sampled(prompt: Sequence[int], output: Any) -> Sampled:
    tokens = tuple(output.token_ids)
    return Sampled(
        prompt=tuple(prompt),
        completion=tokens,
        logps=tuple(of_token[token].logprob for token, of_token in zip(tokens, output.logprobs, strict=True)),
        finished=output.finish_reason == "stop",
    )
