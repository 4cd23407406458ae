"""K members with all weights of their own: trained one after another, scored together.

    members/0 .. members/K-1    ordinary saved reward models, runs of their own
    the folder itself           their weight average as one ordinary model (WARM), and the ensemble's card

Members begin at the same trunk, so that their average means something; each has its own head, order of rows, adapters
where mode is lora, and bootstrap of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardkit.config import RewardConfig
from rewardkit.distributed import collectives
from rewardkit.distributed.checkpoint import Checkpoint
from rewardkit.network.models import add_adapters, merge_adapters
from rewardkit.reward.metadata import CARD_FILE, member_offsets, read_card
from rewardkit.reward.reward_model import RewardModel
from rewardkit.run.directory import Run, read_status
from rewardkit.run.training_command import Interruption
from rewardkit.stats.calibration import fit_calibration
from rewardkit.training.merging import merge, write_merged_card
from rewardkit.training.reward_run import HeldOut, Prepared, build_classifier, build_scorer, finish, prepare, results
from rewardkit.training.train import TieParameter, Trained, member_weights, score_rows, train

if TYPE_CHECKING:
    from rewardkit.data.training_data import Loaded
    from rewardkit.run.progress import Progress
    from rewardkit.training.rows import TrainingRows


def train_members(
    config: RewardConfig, run: Run, loaded: Loaded, interruption: Interruption, progress: Progress
) -> Mapping[str, Any] | None:
    """Trains, calibrates and saves; returns the results, or None where it was asked to stop and can be continued."""
    prepared = prepare(config, run, loaded)
    folders = [run.dir / "members" / str(number) for number in range(config.ensemble)]
    for number, folder in enumerate(folders):
        if not (folder / CARD_FILE).exists() and not _train_member(
            number, folder, prepared, config, run, loaded, interruption, progress
        ):
            return None
    scores = [score_rows(RewardModel.load(each).scorer, prepared.held_out, config) for each in folders]
    chosen, rejected = (np.stack([side[which][0].numpy() for side in scores]).astype(float) for which in (0, 1))
    held_out = HeldOut(chosen=chosen, rejected=rejected, rows=prepared.held_out)
    targets = prepared.held_out
    calibration = fit_calibration(
        held_out.margins,
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
    return results(held_out, calibration, prepared, _all_trained(folders))


def member_rows(rows: TrainingRows, config: RewardConfig, number: int) -> TrainingRows:
    """The rows with the weights of one member's bootstrap, for the criteria too."""
    weight = member_weights(rows, config)[number]
    if not rows.criteria:
        return replace(rows, weight=weight)
    return replace(rows, weight=weight, criterion_weight=rows.criterion_weight * weight / rows.weight.clamp_min(1e-12))


def _train_member(
    number: int,
    folder: Path,
    prepared: Prepared,
    config: RewardConfig,
    run: Run,
    loaded: Loaded,
    interruption: Interruption,
    progress: Progress,
) -> bool:
    """Trains one member into its folder; False where it was asked to stop."""
    own = replace(config, ensemble=1, members="heads", seed=config.seed + number, out=str(folder), resume=False)
    member_run = Run(folder, own, resume=(folder / "config.yaml").exists())
    classifier = build_classifier(config, prepared)
    adapted = None
    if config.mode == "lora":
        adapted = add_adapters(classifier, rank=config.lora_rank, num_layers=config.lora_layers, seed=own.seed)
    scorer = build_scorer(own, classifier, num_criteria=len(prepared.rows.criteria)).to(
        collectives.init_process_group()
    )
    checkpoint = Checkpoint(folder / "checkpoints")
    own_rows = member_rows(prepared.rows, config, number)

    def show(step: int, num_steps: int, metrics: Mapping[str, float]) -> None:
        done, total = number * num_steps + step, config.ensemble * num_steps
        run.log(done, metrics)
        run.status(step=done, num_steps=total)
        progress.step(done, total, metrics)

    run.status(message=f"member {number + 1} of {config.ensemble}")
    with interruption.patient():
        trained = train(
            scorer,
            own_rows,
            prepared.held_out,
            own,
            member_run,
            checkpoint=checkpoint,
            cancelled=lambda: interruption.asked,
            show=show,
        )
    if trained.cancelled:
        member_run.status("cancelled")
        return False
    if adapted is not None:
        merge_adapters(adapted, folder / "adapter")
    member_results = finish(scorer, prepared, trained, own, member_run, loaded)
    member_run.status("done", results=dict(member_results))
    checkpoint.remove()
    return True


def _all_trained(folders: Sequence[Path]) -> Trained:
    """How the members' trainings ended, taken together: steps added up, the longest best step."""
    ended = [read_status(folder)["results"] for folder in folders]
    values = [each for each in ended if isinstance(each, dict)]
    return Trained(
        num_steps=sum(each["num_steps"] for each in values),
        best_step=max(each["best_step"] for each in values),
        best_nll=float("nan"),
        stopped_early=any(each["stopped_early"] for each in values),
        cancelled=False,
        tie=TieParameter(),
    )
