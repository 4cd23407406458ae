"""`train` makes a reward model out of preferences; `merge` averages the weights of models that began alike."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from rewardkit.config import PRESET_NAMES, MergeConfig, RewardConfig
from rewardkit.run.directory import Run, read_status
from rewardkit.run.model_folder import model_folder
from rewardkit.run.training_command import Results, RunContext, execute

if TYPE_CHECKING:
    from rewardkit.data.preferences import Check
    from rewardkit.data.records import Preference
    from rewardkit.data.training_data import Loaded

MADE_HERE = (*PRESET_NAMES, "tfidf")


def train(config: RewardConfig) -> int:
    """Runs `rewardkit train`; returns the exit code."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and (
        config.mode == "head" or (config.members == "full" and config.ensemble > 1)
    ):
        raise ValueError("several processes train modes full and lora, members in one pass; start this one by itself")
    for one in by_criterion(config):
        if code := execute("rewardkit train", as_begun(one), _train):
            return code
    return 0


def by_criterion(config: RewardConfig) -> list[RewardConfig]:
    """The trainings of a configuration: one, or where it names several criteria one for each, in its own folder.

    Raises:
        ValueError: if two criteria have the same folder, or one has none of its own.
    """
    if len(config.criterion) < 2:
        return [config]
    folders = [re.sub(r"[^\w.-]", "_", name) for name in config.criterion]
    if len(set(folders)) < len(folders) or {".", ".."} & set(folders):
        told = ", ".join(map(repr, config.criterion))
        raise ValueError(f"criterion is {told}, whose folders {', '.join(folders)} are not one each: train them apart")
    trainings = []
    for name, folder in zip(config.criterion, folders, strict=True):
        out = Path(config.out) / folder
        if config.resume and read_status(out).get("state") == "done":
            continue
        resume = config.resume and (out / "config.yaml").exists()
        trainings.append(replace(config, criterion=[name], out=str(out), resume=resume))
    return trainings


def as_begun(config: RewardConfig) -> RewardConfig:
    """The configuration with the likelihood of the run that it continues, where it names none.

    Runs were begun with `bradley_terry` before `auto` was the default; they go on so.
    """
    file = Path(config.out) / "config.yaml"
    if not config.resume or config.likelihood != "auto" or not file.exists():
        return config
    return replace(config, likelihood=yaml.safe_load(file.read_text(encoding="utf-8"))["likelihood"])


def _train(context: RunContext[RewardConfig]) -> Results | None:
    """Loads the data and trains the configured kind of model."""
    config = context.config
    if config.model not in MADE_HERE:
        from rewardkit.training.reward_run import check_model

        check_model(config.model)
    if config.rows == "steps" or (config.rows == "auto" and config.data and _holds_steps(config)):
        return _train_on_steps(context)
    loaded = _load(context, context.run) if context.run else None
    if config.model == "tfidf" or config.mode == "head":
        assert loaded is not None
        from rewardkit.training.chosen_likelihood import with_likelihood
        from rewardkit.training.fixed_features.frozen_head import check_options, train_tfidf_head

        context = replace(context, config=with_likelihood(config, loaded.train, context.progress))
        check_options(context.config, loaded.train)
        if config.model == "tfidf":
            return train_tfidf_head(context, loaded)
        from rewardkit.training.fixed_features.trunk_head import train_trunk_head

        return train_trunk_head(context, loaded)
    if config.members == "full" and config.ensemble > 1:
        from rewardkit.training.full_ensemble import train_members

        assert loaded is not None
        return train_members(context, loaded)
    from rewardkit.training.reward_run import train_reward_model

    return train_reward_model(context, loaded)


def _holds_steps(config: RewardConfig) -> bool:
    from rewardkit.data.stepwise.stepwise_rows import holds_steps

    return holds_steps(config.data)


def _train_on_steps(context: RunContext[RewardConfig]) -> Results | None:
    from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
    from rewardkit.data.stepwise.stepwise_rows import STEPS
    from rewardkit.data.training_data import load_rows
    from rewardkit.training.stepwise.step_run import check_options, train_process_reward

    config, asked = context.config, None
    check_options(config)
    if config.model not in MADE_HERE:
        from rewardkit.network.template_check import TemplateCheck

        asked = TemplateCheck([config.model], writes=True)

    def check(row: SteppedAnswer, _place: str) -> None:
        if asked:
            asked(row.prompt, row.steps)

    loaded = load_rows(config, context.run.dir, STEPS, check) if context.run else None
    if loaded:
        context.progress.say(loaded.description)
    if config.members == "full" and config.ensemble > 1:
        from rewardkit.training.stepwise.step_members import train_step_members

        assert loaded is not None
        return train_step_members(context, loaded)
    return train_process_reward(context, loaded)


def _load(context: RunContext[RewardConfig], run: Run) -> Loaded:
    from rewardkit.data.training_data import load_training_data

    criterion = next(iter(context.config.criterion), "")
    loaded = load_training_data(context.config, run.dir, _template_check(context.config.model), criterion=criterion)
    context.progress.say(loaded.description)
    return loaded


def _template_check(model: str) -> Check[Preference] | None:
    """Asks the model's chat template for every pair; a model that is made here takes any."""
    if model in MADE_HERE:
        return None
    from rewardkit.network.template_check import TemplateCheck

    asked = TemplateCheck([model], writes=False)
    return lambda row, _place: asked(row.prompt, (row.chosen, row.rejected))


def merge_models(config: MergeConfig) -> int:
    """Runs `rewardkit merge`; returns the exit code."""
    out = Path(config.out)
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {out} is there already, choose another directory")
    folders = [str(model_folder(model)) for model in config.models]
    from rewardkit.training.merging import merge

    merge(folders, out)
    print(f"{out}: average of {len(config.models)} models, one member, not calibrated")
    return 0
