"""K process reward models with all weights of their own: trained one after another, scored together.

    members/0 .. members/K-1    ordinary saved process reward models, runs of their own
    the folder itself           their weight average as one ordinary model (WARM), and the ensemble's card

As `rewardkit.training.full_ensemble` does for rows of pairs: one trunk to begin at, and of its own for each member the
head, the order of rows, adapters where mode is lora, and the bootstrap of the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from rewardkit.config import RewardConfig
from rewardkit.network.classifier import RewardScorer
from rewardkit.network.tokens import load_tokenizer
from rewardkit.reward.metadata import CARD_FILE, Card
from rewardkit.reward.process_reward import ProcessRewardModel, load_step_classifier, save_process_reward
from rewardkit.run.training_command import Results, RunContext
from rewardkit.training.full_ensemble import Show, all_trained, train_member
from rewardkit.training.merging import averaged
from rewardkit.training.reward_objective import member_counts
from rewardkit.training.stepwise.step_objective import held_out_logits
from rewardkit.training.stepwise.step_run import (
    LoadedAnswers,
    card_of,
    check_options,
    prepare,
    results_of,
    train_prepared,
)
from rewardkit.training.training_run import join_processes


def train_step_members(context: RunContext[RewardConfig], loaded: LoadedAnswers) -> Results | None:
    """Trains, calibrates and saves; returns the results, or None where it was asked to stop and can be continued.

    Raises:
        ValueError: if an option does not go with answers in steps.
    """
    config, run = context.config, context.run
    assert run is not None
    check_options(config)
    device = join_processes(run)
    prepared = prepare(context, loaded)
    counts = member_counts(len(prepared.rows.rows), config)
    folders = [run.dir / "members" / str(number) for number in range(config.ensemble)]

    def train(number: int, member: RunContext[RewardConfig], show: Show) -> Results | None:
        weights = counts[number : number + 1]
        return train_prepared(member, prepared, loaded, device, trunk=config, weights=weights, show=show)

    for number, folder in enumerate(folders):
        if not (folder / CARD_FILE).exists() and not train_member(number, folder, context, train):
            return None
    scorers = [ProcessRewardModel.load(folder).scorers[0] for folder in folders]
    of_members = zip(*(held_out_logits(scorer, prepared.held_out, config) for scorer in scorers), strict=True)
    logits = [np.concatenate(of_answer) for of_answer in of_members]
    card, calibrated = card_of(logits, prepared, config, loaded)
    save_average(folders, card, run.dir)
    return results_of(calibrated, prepared, all_trained(folders), config)


@torch.no_grad()
def save_average(folders: Sequence[Path], card: Card, out_dir: Path) -> None:
    """Writes the average of process reward models of one head each as one ordinary model."""
    tokenizer = load_tokenizer(folders[0])
    average = averaged(folders, partial(load_step_classifier, tokenizer=tokenizer, dtype=torch.float32))
    files = [load_file(folder / "heads.safetensors") for folder in folders]
    scorer = RewardScorer(average, trains_bias=True)
    scorer.heads.copy_(torch.stack([file["heads"] for file in files]).mean(0))
    scorer.bias.copy_(torch.stack([file["bias"] for file in files]).mean(0))
    save_process_reward(scorer, tokenizer, card, out_dir)
