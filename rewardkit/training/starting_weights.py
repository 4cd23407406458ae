"""The weights that a training of a reward model begins from, and the number formats that they are held in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from rewardkit.config import RewardConfig
from rewardkit.distributed.optimization import wants_bf16
from rewardkit.network.classifier import RewardScorer, load_classifier, make_classifier
from rewardkit.network.layout import trial_rows
from rewardkit.network.models import recompute_activations
from rewardkit.reward.process_reward import load_step_classifier
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Start:
    """What every process starts from, whatever the rows are.

    Attributes:
        model_config: of a model made here; None for one that is loaded.
        max_length: tokens of a row, at most what the model takes.
    """

    tokenizer: PreTrainedTokenizerBase
    model_config: PretrainedConfig | None
    max_length: int


def build_classifier(config: RewardConfig, prepared: Start, *, per_token: bool = False) -> PreTrainedModel:
    """The classifier to train, on the CPU unless it is loaded in 4 bits.

    Args:
        per_token: whether it reads tokens, as a process reward model does, and not rows.
    """
    if prepared.model_config is not None:
        classifier = make_classifier(prepared.model_config, seed=config.seed, per_token=per_token)
    else:
        load = load_step_classifier if per_token else load_classifier
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)  # of what the file does not hold
            classifier = load(
                config.model,
                prepared.tokenizer,
                dtype=torch.float32,
                load_in_4bit=config.load_in_4bit,
                precision=config.precision,
            )
    if config.gradient_checkpointing:
        recompute_activations(classifier)
    return classifier


def is_held_narrow(config: RewardConfig, device: torch.device) -> bool:
    """Whether weights that are not trained are held in fewer bits than on disk, from where they are saved then."""
    return config.mode != "full" and (config.load_in_4bit or wants_bf16(config.frozen_weights, device))


def read_base(config: RewardConfig, prepared: Start, *, per_token: bool = False) -> PreTrainedModel:
    """The classifier that training began from, in fp32."""
    return build_classifier(replace(config, load_in_4bit=False), prepared, per_token=per_token)


def hold_weights(scorer: RewardScorer, config: RewardConfig, device: torch.device) -> None:
    """Holds frozen and trained weights in the number formats that are asked for, for the device they will be on."""
    frozen = config.mode != "full" and wants_bf16(config.frozen_weights, device)
    if frozen or config.trained_weights != "fp32":
        rows = trial_rows(scorer.classifier.config)
        must = not frozen or config.frozen_weights == "bf16"
        hold_in_bf16(scorer.classifier, trained=not frozen, must=must, run=partial(scorer, rows))
