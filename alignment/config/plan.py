"""The configuration of planning a training's memory; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from alignment.config.training import check_least
from rewardkit.config import FrozenWeights, Members, OptimizerName, TrainedWeights

Method = Literal["sft", "dpo", "online-dpo", "ppo", "grpo", "reward"]
OFFLINE: tuple[Method, ...] = ("sft", "dpo", "reward")


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What a training would take, and the largest micro-batch that fits.

    Attributes:
        model: `tiny`, `small`, a size of Llama 2 (7B, 13B, 70B), or a folder or hub id whose configuration alone is
            read.
        method: the training: sft, dpo, online-dpo, ppo, grpo, or reward for a reward model.
        gpus: number of GPUs.
        memory: memory of each GPU, GiB.
        split: how weights lie on GPUs: all of them on each, or sharded (FSDP2).
        lora: whether only low-rank adapters are trained.
        lora_rank: rank of the LoRA adapters.
        lora_layers: number of top layers that get LoRA adapters; 0 adapts all layers.
        load_in_4bit: whether the frozen weights below adapters are held in 4 bits (QLoRA).
        frozen_weights: number format of weights that are not trained (below adapters, of the reference and of reward
            models); auto takes that of precision.
        trained_weights: number format of trained weights: fp32, or bf16 with one of the two ways to round its steps.
        optimizer: what takes the steps, with moments in fp32 or in 8 bits; paged ones count as lying on the CPU.
        gradient_checkpointing: whether activations are computed again in backward.
        offload_activations: whether activations that backward needs lie in the CPU's memory in between.
        offload_frozen: whether reference and reward models lie in the CPU's memory between their uses.
        precision: number format of matrix products.
        prompt_tokens: number of tokens of a usual prompt.
        completion_tokens: number of tokens of a usual completion.
        completions_per_prompt: completions that online trainings draw of a prompt; 0 takes 1 for ppo, 8 for the others.
        token_budget: tokens of a micro-batch; 0 looks for the largest that fits.
        draw_budget: tokens of a batch when drawing; 0 looks for the largest that fits.
        reference: when dpo computes log-probabilities of the reference: once before the first step, or live in every
            step.
        value: value model of ppo: a head on the policy, or a network of its own.
        reward_model: a reward model that stays in memory, in the same forms as model; its name may be given repeatedly,
            once for each.
        ensemble: number of members of the reward model that is trained.
        members: what a member of its own has: a head, a LoRA adapter and a head, or all weights (one after another).
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
    load_in_4bit: bool = False
    frozen_weights: FrozenWeights = "auto"
    trained_weights: TrainedWeights = "fp32"
    optimizer: OptimizerName = "adamw"
    gradient_checkpointing: bool = False
    offload_activations: bool = False
    offload_frozen: bool = False
    precision: Literal["bf16", "fp32"] = "bf16"
    prompt_tokens: int = 512
    completion_tokens: int = 256
    completions_per_prompt: int = 0
    token_budget: int = 0
    draw_budget: int = 0
    reference: Literal["precomputed", "live"] = "precomputed"
    value: Literal["trunk", "separate"] = "trunk"
    reward_model: list[str] = field(default_factory=list, metadata={"repeated": True})
    ensemble: int = 1
    members: Members = "heads"
    margin: float = 0.1
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, gpus=1, lora_rank=1, lora_layers=0, prompt_tokens=1, completion_tokens=1, ensemble=1)
        check_least(self, completions_per_prompt=0, token_budget=0, draw_budget=0)
        if not 0 < self.memory < float("inf"):
            raise ValueError(f"memory is {self.memory}, allowed is more than 0 GiB")
        if not 0 <= self.margin < 1:
            raise ValueError(f"margin is {self.margin}, allowed is 0 up to 1")
        if self.split == "fsdp2" and self.gpus == 1:
            raise ValueError("split fsdp2 takes two gpus or more")
        if self.load_in_4bit and not self.lora:
            raise ValueError("load_in_4bit trains adapters on frozen weights: give lora too")
        if self.load_in_4bit and self.split == "fsdp2":
            raise ValueError("load_in_4bit and split fsdp2 do not go together")
        if self.split == "fsdp2":
            plain = {"trained_weights": "fp32", "optimizer": "adamw", "offload_activations": False}
            for name, value in plain.items():
                if getattr(self, name) != value:
                    raise ValueError(f"{name} and split fsdp2 do not go together, as in trainings")
        if self.trained_weights != "fp32" and self.lora:
            raise ValueError(f"trained_weights is {self.trained_weights}, adapters stay fp32: leave it out with lora")
        if self.reference == "live" and self.method != "dpo":
            raise ValueError(f"reference live is for dpo, not for {self.method}")
        if self.value == "separate" and self.method != "ppo":
            raise ValueError(f"value separate is for ppo, not for {self.method}")
        for name in ("completions_per_prompt", "reward_model", "draw_budget"):
            if getattr(self, name) and self.is_offline:
                raise ValueError(f"{name} is for trainings that draw, not for {self.method}")
        if self.ensemble > 1 and self.method != "reward":
            raise ValueError(f"ensemble is for reward, not for {self.method}")
        if self.members == "lora" and self.ensemble > 1 and not self.lora:
            raise ValueError("members lora are adapters: give lora too")

    @property
    def holds_bf16(self) -> bool:
        """Whether weights that are not trained are held in bf16."""
        return (self.precision if self.frozen_weights == "auto" else self.frozen_weights) == "bf16"

    @property
    def is_offline(self) -> bool:
        """Whether the method trains on given rows instead of drawing completions."""
        return self.method in OFFLINE

    @property
    def group_size(self) -> int:
        """Completions of a prompt: 1 of sft, 2 of dpo and reward."""
        own = {"sft": 1, "dpo": 2, "reward": 2, "ppo": 1, "grpo": 8, "online-dpo": 8}[self.method]
        return self.completions_per_prompt or own
