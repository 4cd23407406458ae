"""The configuration of `plan`, which plans one training or holds all ways side by side; nothing heavy imported."""

from __future__ import annotations

from dataclasses import dataclass, fields

from alignment.config.plan import PlanConfig
from alignment.config.training import check_least

ASKED = (
    *("model", "gpus", "lora_rank", "lora_layers", "prompt_tokens", "completion_tokens", "completions_per_prompt"),
    *("reward_model", "margin", "json"),
)
"""What of a plan's options is part of the question; the advisor chooses the others."""


@dataclass(frozen=True, kw_only=True)
class AdvisorConfig(PlanConfig):
    """One training's memory, or with `pairs` or named GPUs an answer for every way of aligning a policy.

    Attributes:
        gpus: number of GPUs, or number, name and memory of them as in 4xA100-80, which asks for all ways.
        pairs: number of preference pairs there are; more than 0 asks for all ways.
        days: number of days that the GPUs are there; 0 sets no limit.
        price_per_hour: price of one GPU for an hour, in any currency; 0 tells no cost.
        prompts: number of prompts that online trainings and best-of-n draw for; 0 takes as many as pairs.
        new_tokens: number of tokens of a drawn completion; 0 takes completion_tokens.
        n: number of completions of a prompt that best-of-n draws.
        tuned: whether the model answers as an assistant already, so that no supervised fine-tuning comes first.
        verifiable: whether a program can check answers, so that no reward model is needed online.
        learning_curve: file (JSONL, CSV) of rows with pairs and accuracy, of reward models trained on parts of your
            pairs.
        measure: whether training and drawing are timed for half a minute on this machine, in place of data sheets.
        published: whether the estimate is shown beside published runs, instead of a plan.
    """

    gpus: int | str = 1  # pyright: ignore[reportIncompatibleVariableOverride]
    pairs: int = 0
    days: float = 0.0
    price_per_hour: float = 0.0
    prompts: int = 0
    new_tokens: int = 0
    n: int = 16
    tuned: bool = False
    verifiable: bool = False
    learning_curve: str = ""
    measure: bool = False
    published: bool = False

    def __post_init__(self) -> None:
        if not self.is_question:
            self.memory_config()
            for name in ("days", "price_per_hour", "prompts", "new_tokens", "learning_curve", "measure"):
                if getattr(self, name):
                    raise ValueError(f"{name} is for all ways side by side: ask with pairs, and gpus as in 4xA100-80")
            return
        check_least(self, pairs=1, prompts=0, new_tokens=0, n=2, days=0, price_per_hour=0)
        if not isinstance(self.gpus, str):
            raise ValueError(f"gpus is {self.gpus}; all ways side by side need them by name, as in 4xA100-80")
        defaults = PlanConfig()
        for name in (field.name for field in fields(PlanConfig) if field.name not in ASKED):
            if getattr(self, name) != getattr(defaults, name):
                raise ValueError(f"{name} is chosen for each way: leave it out with pairs or gpus by name")

    @property
    def is_question(self) -> bool:
        """Whether all ways are asked for, and not one training."""
        return not self.published and (self.pairs > 0 or isinstance(self.gpus, str))

    @property
    def num_prompts(self) -> int:
        """Prompts that completions are drawn for."""
        return self.prompts or self.pairs

    @property
    def drawn_tokens(self) -> int:
        """Tokens of a completion that is drawn."""
        return self.new_tokens or self.completion_tokens

    def memory_config(self, **options: object) -> PlanConfig:
        """The plan of one training: this one's options, and others in their place.

        Raises:
            ValueError: if they do not go together.
        """
        own = {field.name: getattr(self, field.name) for field in fields(PlanConfig)}
        return PlanConfig(**own | options)  # pyright: ignore[reportArgumentType]
