"""Preference data, Bradley-Terry reward models, ensembles and uncertainty: the ground floor.

The public names of this package are loaded when they are first used: `import rewardkit` itself imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewardkit.data.files import read_rows as read_rows
    from rewardkit.data.files import write_rows as write_rows
    from rewardkit.data.preferences import Preferences as Preferences
    from rewardkit.data.preferences import read_preferences as read_preferences
    from rewardkit.data.records import Comparison as Comparison
    from rewardkit.data.records import Judgment as Judgment
    from rewardkit.data.records import Message as Message
    from rewardkit.data.records import Preference as Preference
    from rewardkit.evaluation.evaluate import Evaluation as Evaluation
    from rewardkit.evaluation.evaluate import evaluate as evaluate
    from rewardkit.evaluation.scored_preferences import score_preferences as score_preferences
    from rewardkit.losses import PreferenceLoss as PreferenceLoss
    from rewardkit.losses import bradley_terry_loss as bradley_terry_loss
    from rewardkit.losses import crowd_bradley_terry_loss as crowd_bradley_terry_loss
    from rewardkit.losses import davidson_loss as davidson_loss
    from rewardkit.losses import rao_kupper_loss as rao_kupper_loss
    from rewardkit.reward.load import load_reward_fn as load_reward_model
    from rewardkit.reward.reward import Reward as Reward
    from rewardkit.reward.reward import RewardFn as RewardFn
    from rewardkit.reward.reward import conservative as conservative
    from rewardkit.simulation.annotators import SimulatedAnnotator as SimulatedAnnotator
    from rewardkit.simulation.annotators import simulate_judgments as simulate_judgments
    from rewardkit.simulation.support_desk_world import World as World
    from rewardkit.stats.metrics import bootstrap_interval as bootstrap_interval
    from rewardkit.stats.uncertainty import integrated_probability as integrated_probability
    from rewardkit.stats.uncertainty import mutual_information as mutual_information

# By public name, its module, and where the two differ its name there.
_HOMES = {
    "Comparison": "rewardkit.data.records",
    "Evaluation": "rewardkit.evaluation.evaluate",
    "Judgment": "rewardkit.data.records",
    "Message": "rewardkit.data.records",
    "Preference": "rewardkit.data.records",
    "PreferenceLoss": "rewardkit.losses",
    "Preferences": "rewardkit.data.preferences",
    "Reward": "rewardkit.reward.reward",
    "RewardFn": "rewardkit.reward.reward",
    "SimulatedAnnotator": "rewardkit.simulation.annotators",
    "World": "rewardkit.simulation.support_desk_world",
    "bootstrap_interval": "rewardkit.stats.metrics",
    "bradley_terry_loss": "rewardkit.losses",
    "conservative": "rewardkit.reward.reward",
    "crowd_bradley_terry_loss": "rewardkit.losses",
    "davidson_loss": "rewardkit.losses",
    "evaluate": "rewardkit.evaluation.evaluate",
    "integrated_probability": "rewardkit.stats.uncertainty",
    "load_reward_model": "rewardkit.reward.load:load_reward_fn",
    "mutual_information": "rewardkit.stats.uncertainty",
    "rao_kupper_loss": "rewardkit.losses",
    "read_preferences": "rewardkit.data.preferences",
    "read_rows": "rewardkit.data.files",
    "score_preferences": "rewardkit.evaluation.scored_preferences",
    "simulate_judgments": "rewardkit.simulation.annotators",
    "write_rows": "rewardkit.data.files",
}
__all__ = [
    "Comparison",
    "Evaluation",
    "Judgment",
    "Message",
    "Preference",
    "PreferenceLoss",
    "Preferences",
    "Reward",
    "RewardFn",
    "SimulatedAnnotator",
    "World",
    "bootstrap_interval",
    "bradley_terry_loss",
    "conservative",
    "crowd_bradley_terry_loss",
    "davidson_loss",
    "evaluate",
    "integrated_probability",
    "load_reward_model",
    "mutual_information",
    "rao_kupper_loss",
    "read_preferences",
    "read_rows",
    "score_preferences",
    "simulate_judgments",
    "write_rows",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    value = getattr(importlib.import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
