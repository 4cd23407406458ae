"""The configuration of planning a training's memory; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignment.config.training import check_least

Method = Literal["sft", "dpo", "online-dpo", "ppo", "grpo"]
OFFLINE: tuple[Method, ...] = ("sft", "dpo")


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What a training would take, and the largest micro-batch that fits.

    Attributes:
        model: `tiny`, `small`, a size of Llama 2 (7B, 13B, 70B), or a folder or hub id whose configuration alone is
            read.
        method: the training: sft, dpo, online-dpo, ppo or grpo.
        gpus: number of GPUs.
        memory: memory of each GPU, GiB.
        split: how weights lie on GPUs: all of them on each, or sharded (FSDP2; for sft and dpo).
        lora: whether only low-rank adapters are trained.
        lora_rank: rank of the LoRA adapters.
        lora_layers: number of top layers that get LoRA adapters; 0 adapts all layers.
        gradient_checkpointing: whether activations are computed again in backward.
        precision: number format of matrix products.
        prompt_tokens: number of tokens of a usual prompt.
        completion_tokens: number of tokens of a usual completion.
        completions_per_prompt: completions that online trainings draw of a prompt; 0 takes 1 for ppo, 8 for the others.
        reference: when dpo computes log-probabilities of the reference: once before the first step, or live in every
            step.
        value: value model of ppo: a head on the policy, or a network of its own.
        reward_model: a reward model that stays in memory, in the same forms as model.
        margin: share of the memory that is left free, for what the driver takes and what lies between buffers.
        json: whether figures are printed as JSON instead of the table.
    """

    model: str = "tiny"
    method: Method = "grpo"
    gpus: int = 1
    memory: float = 24.0
    split: Literal["none", "fsdp2"] = "none"
    lora: bool = False
    lora_rank: int = 16
    lora_layers: int = 0
    gradient_checkpointing: bool = False
    precision: Literal["bf16", "fp32"] = "bf16"
    prompt_tokens: int = 512
    completion_tokens: int = 256
    completions_per_prompt: int = 0
    reference: Literal["precomputed", "live"] = "precomputed"
    value: Literal["trunk", "separate"] = "trunk"
    reward_model: str = ""
    margin: float = 0.1
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, gpus=1, lora_rank=1, lora_layers=0, prompt_tokens=1, completion_tokens=1)
        check_least(self, completions_per_prompt=0)
        if not 0 < self.memory < float("inf"):
            raise ValueError(f"memory is {self.memory}, allowed is more than 0 GiB")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin is {self.margin}, allowed is 0 up to 1")
        if self.split == "fsdp2" and not self.is_offline:
            raise ValueError(f"split fsdp2 is for sft and dpo: in {self.method} every process holds all weights")
        if self.split == "fsdp2" and self.gpus == 1:
            raise ValueError("split fsdp2 takes two gpus or more")
        if self.reference == "live" and self.method != "dpo":
            raise ValueError(f"reference live is for dpo, not for {self.method}")
        if self.value == "separate" and self.method != "ppo":
            raise ValueError(f"value separate is for ppo, not for {self.method}")
        if self.completions_per_prompt and self.is_offline:
            raise ValueError(f"completions_per_prompt is for trainings that draw, not for {self.method}")
        if self.reward_model and self.is_offline:
            raise ValueError(f"reward_model is for trainings that draw, not for {self.method}")

    @property
    def is_offline(self) -> bool:
        """Whether the method trains on given rows instead of drawing completions."""
        return self.method in OFFLINE

    @property
    def group_size(self) -> int:
        """Completions of a prompt: 1 of sft, 2 of dpo."""
        own = {"sft": 1, "dpo": 2, "ppo": 1, "grpo": 8, "online-dpo": 8}[self.method]
        return self.completions_per_prompt or own
