"""One run of `rewardkit evaluate` on answers in steps: model and data in, findings out. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rewardkit.config import EvaluateConfig
from rewardkit.data.preferences import count_reasons
from rewardkit.data.splitting import find_leakage
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
from rewardkit.data.stepwise.stepwise_rows import STEPS, holds_steps, read_stepwise
from rewardkit.data.training_data import read_rows_trained_on
from rewardkit.evaluation.evaluation_text import Findings
from rewardkit.evaluation.steps import ScoredSteps, evaluate_steps
from rewardkit.reward.load import cut_warning, is_process_reward, template_check
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward import RewardFn
from rewardkit.reward.step_rewards import StepRewardFn

WINDOW = 256  # answers scored at a time, between two words to people


@dataclass(frozen=True, kw_only=True)
class StepInputs:
    """What an evaluation works on; `notes` are what the reader has to know of it."""

    answers: list[SteppedAnswer]
    source: str
    notes: list[str]


def is_of_steps(config: EvaluateConfig) -> bool:
    """Whether steps are evaluated: a process reward model on answers in steps, or on what its training held out.

    Raises:
        ValueError, FileNotFoundError: if the model or the data cannot be found.
    """
    if config.implicit or config.benchmark != "none" or not is_process_reward(config.model):
        return False
    return not config.data or holds_steps(config.data)


def read_step_inputs(config: EvaluateConfig) -> StepInputs:
    """Reads the answers, and compares them with those that the model was trained on.

    Raises:
        ValueError: if there is nothing to evaluate on, a row is bad, prompts were trained on without leave, or an
            option goes with preferences.
        FileNotFoundError: if there is no such file.
    """
    for name in ("subset", "train_data", "ood"):
        if getattr(config, name):
            raise ValueError(f"{name} goes with preferences, not with answers in steps")
    notes: list[str] = []
    try:
        trained_on = read_rows_trained_on(config.model, STEPS)
    except (ValueError, FileNotFoundError, ImportError) as error:
        if not config.data:
            raise
        trained_on = None
        notes.append(f"Whether prompts were trained on is not known: {error}.")
    if not config.data:
        if trained_on is None:
            raise ValueError(
                "data is empty, and the model's folder records no training whose held-out rows could be used"
            )
        notes.append("Training used these answers to calibrate and to choose a checkpoint: figures favour it a little.")
        return StepInputs(answers=trained_on.held_out, source="the answers held out in training", notes=notes)
    asked = template_check(config.model)
    read = read_stepwise(
        config.data,
        on_bad_row=config.on_bad_row,
        check=asked and (lambda row, _place: asked(row.prompt, row.steps)),
    )
    if read.bad_rows:
        notes.append(f"{len(read.bad_rows):,} bad rows left out ({count_reasons(read.bad_rows)}).")
    if trained_on and (shared := find_leakage(trained_on.train, read.rows)):
        if not config.allow_leakage:
            example = " ".join(shared[0].split())[:80]
            raise ValueError(
                f"{len(shared)} prompts of {config.data} were trained on, for example {example!r}; "
                "--allow-leakage evaluates on them all the same"
            )
        notes.append(f"{len(shared):,} of the prompts were trained on, which was allowed: figures are too good.")
    return StepInputs(answers=read.rows, source=config.data, notes=notes)


def evaluate_process_reward(
    config: EvaluateConfig, reward_fn: RewardFn, inputs: StepInputs, *, told: Callable[[int, int], None]
) -> Findings:
    """Scores the steps and computes the figures.

    Args:
        told: called with the answers scored so far and all there are.

    Raises:
        ValueError: if no step was judged.
    """
    model: StepRewardFn = reward_fn  # type: ignore[assignment]
    answers, rewards = inputs.answers, []
    for start in range(0, len(answers), WINDOW):
        window = answers[start : start + WINDOW]
        rewards += model.score_steps([one.prompt for one in window], [one.steps for one in window])
        told(start + len(window), len(answers))
    card, cut = read_card(config.model), cut_warning(reward_fn)
    temperature = card.steps.get("calibration", {}).get("temperature")
    return Findings(
        model=config.model,
        data=inputs.source,
        about={
            "model": config.model,
            "data": config.data or "held out in training",
            "kind": "process reward model",
            "members": str(card.num_members),
            "calibration": f"temperature, T = {temperature:.3g}" if temperature else "none",
            "trained on data with hash": card.data_hash[:16] or "not recorded",
            "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()) or "not recorded",
            "seed": str(config.seed),
        },
        notes=[*inputs.notes, *([f"{cut}."] if cut else [])],
        steps=evaluate_steps(ScoredSteps(answers=answers, rewards=rewards), seed=config.seed),
    )
