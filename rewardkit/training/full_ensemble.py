"""K members with all weights of their own: trained one after another, scored together.

    members/0 .. members/K-1    ordinary saved reward models, runs of their own
    the folder itself           their weight average as one ordinary model (WARM), and the ensemble's card

Members begin at the same trunk, so that their average means something; each has its own head, order of rows, adapters
where mode is lora, and bootstrap of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rewardkit.config import RewardConfig
from rewardkit.reward.metadata import CARD_FILE, member_offsets, read_card
from rewardkit.reward.reward_model import RewardModel
from rewardkit.run.directory import Run, read_status
from rewardkit.run.training_command import Results, RunContext
from rewardkit.stats.calibration import fit_calibration
from rewardkit.training.loop import Trained
from rewardkit.training.merging import merge, write_merged_card
from rewardkit.training.reward_objective import member_weights, score_rows
from rewardkit.training.reward_run import HeldOutRewards, prepare, results, train_prepared
from rewardkit.training.training_run import checkpoint_of, join_processes

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded
    from rewardkit.training.rows import TrainingRows

Show = Callable[[int, int, Mapping[str, float]], None]
"""Told of every step: its number, how many there are, its metrics."""


def train_members(context: RunContext[RewardConfig], loaded: Loaded) -> Results | None:
    """Trains, calibrates and saves; returns the results, or None where it was asked to stop and can be continued."""
    config, run = context.config, context.run
    assert run is not None
    device = join_processes(run)
    prepared = prepare(context, loaded)
    folders = [run.dir / "members" / str(number) for number in range(config.ensemble)]

    def train(number: int, member: RunContext[RewardConfig], show: Show) -> Results | None:
        rows = member_rows(prepared.rows, config, number)
        return train_prepared(member, prepared, rows, loaded, device, trunk=config, show=show)

    for number, folder in enumerate(folders):
        if not (folder / CARD_FILE).exists() and not train_member(number, folder, context, train):
            return None
    scores = [score_rows(RewardModel.load(folder).scorer, prepared.held_out, config) for folder in folders]
    chosen, rejected = (np.stack([side[which][0].numpy() for side in scores]).astype(float) for which in (0, 1))
    held_out = HeldOutRewards(chosen=chosen, rejected=rejected, rows=prepared.held_out)
    targets = prepared.held_out
    calibration = fit_calibration(
        chosen - rejected,
        targets.p_chosen.numpy(),
        targets.weight.numpy(),
        kind=config.calibration,
        prompt=targets.prompt.numpy(),
    )
    merge(folders, run.dir)
    first = read_card(folders[0])
    rewards = chosen.mean(0)
    card = replace(
        first,
        kind="full",
        num_members=config.ensemble,
        calibration=calibration.calibration,
        score_mean=float(rewards.mean()),
        score_std=float(rewards.std(ddof=1)) or 1.0,
        member_offsets=member_offsets(chosen),
    )
    write_merged_card(run.dir, card)
    return results(held_out, calibration, prepared, all_trained(folders))


def member_rows(rows: TrainingRows, config: RewardConfig, number: int) -> TrainingRows:
    """The rows with the weights of one member's bootstrap, for the criteria too."""
    weight = member_weights(rows, config)[number]
    if not rows.criteria:
        return replace(rows, weight=weight)
    return replace(rows, weight=weight, criterion_weight=rows.criterion_weight * weight / rows.weight.clamp_min(1e-12))


def train_member(
    number: int,
    folder: Path,
    context: RunContext[RewardConfig],
    train: Callable[[int, RunContext[RewardConfig], Show], Results | None],
) -> bool:
    """Trains one member into its folder; False where it was asked to stop.

    Args:
        train: takes the member's number, its own context, and what is told of every step.
    """
    config, run = context.config, context.run
    assert run is not None
    own = replace(config, ensemble=1, members="heads", seed=config.seed + number, out=str(folder), resume=False)
    member = replace(context, config=own, run=Run(folder, own, resume=(folder / "config.yaml").exists()))

    def show(step: int, num_steps: int, metrics: Mapping[str, float]) -> None:
        done, total = number * num_steps + step, config.ensemble * num_steps
        run.log(done, metrics)
        run.status(step=done, num_steps=total)
        context.progress.step(done, total, metrics)

    run.status(message=f"member {number + 1} of {config.ensemble}")
    member_results = train(number, member, show)
    assert member.run is not None
    if member_results is None:
        member.run.status("cancelled")
        return False
    member.run.status("done", results=dict(member_results))
    checkpoint_of(own).remove()
    return True


def all_trained(folders: Sequence[Path]) -> Trained:
    """How the members' trainings ended, taken together: steps added up, the longest best step."""
    statuses = [read_status(folder)["results"] for folder in folders]
    member_results = [results for results in statuses if isinstance(results, dict)]
    return Trained(
        num_steps=sum(results["num_steps"] for results in member_results),
        best_step=max(results["best_step"] for results in member_results),
        best_loss=float("nan"),
        stopped_early=any(results["stopped_early"] for results in member_results),
        cancelled=False,
    )
