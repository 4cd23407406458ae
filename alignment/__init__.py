"""SFT, the DPO family, PPO and GRPO against rewards that know how sure they are; stands on rewardkit.

The public names of this package are loaded when they are first used: `import alignment` itself imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alignment.best_of_n.value import best_of_k as best_of_k
    from alignment.config.loss_names import PairLossOptions as PairLossOptions
    from alignment.config.policy_gradient_names import PolicyLossOptions as PolicyLossOptions
    from alignment.config.rewards import RewardOptions as RewardOptions
    from alignment.losses.advantages import generalised_advantages as gae
    from alignment.losses.advantages import group_advantages as group_advantages
    from alignment.losses.advantages import token_rewards as token_rewards
    from alignment.losses.anchored import kto_loss as kto_loss
    from alignment.losses.by_name import PairLogps as PairLogps
    from alignment.losses.by_name import pair_loss as pair_loss
    from alignment.losses.kl import token_kl as token_kl
    from alignment.losses.pair import PairLoss as PairLoss
    from alignment.losses.pair import ipo_loss as ipo_loss
    from alignment.losses.pair import sigmoid_loss as dpo_loss
    from alignment.losses.policy_gradient import CompletionTokens as CompletionTokens
    from alignment.losses.policy_gradient import PolicyLoss as PolicyLoss
    from alignment.losses.policy_gradient import loss_total as loss_total
    from alignment.losses.policy_gradient import policy_loss as policy_loss
    from alignment.losses.policy_gradient import ppo_loss as ppo_loss
    from alignment.losses.reference_free import orpo_loss as orpo_loss
    from alignment.losses.reference_free import simpo_loss as simpo_loss
    from alignment.losses.value import value_loss as value_loss
    from alignment.rewards.rewards import Rewards as Rewards
    from alignment.rewards.rewards import load_rewards as load_rewards
    from alignment.rewards.source import RewardBatch as RewardBatch
    from alignment.rollouts.rollouts import Rollouts as Rollouts

# By public name, its module, and where the two differ its name there.
_HOMES = {
    "CompletionTokens": "alignment.losses.policy_gradient",
    "PairLogps": "alignment.losses.by_name",
    "PairLoss": "alignment.losses.pair",
    "PairLossOptions": "alignment.config.loss_names",
    "PolicyLoss": "alignment.losses.policy_gradient",
    "PolicyLossOptions": "alignment.config.policy_gradient_names",
    "RewardBatch": "alignment.rewards.source",
    "RewardOptions": "alignment.config.rewards",
    "Rewards": "alignment.rewards.rewards",
    "Rollouts": "alignment.rollouts.rollouts",
    "best_of_k": "alignment.best_of_n.value",
    "dpo_loss": "alignment.losses.pair:sigmoid_loss",
    "gae": "alignment.losses.advantages:generalised_advantages",
    "group_advantages": "alignment.losses.advantages",
    "ipo_loss": "alignment.losses.pair",
    "kto_loss": "alignment.losses.anchored",
    "load_rewards": "alignment.rewards.rewards",
    "loss_total": "alignment.losses.policy_gradient",
    "orpo_loss": "alignment.losses.reference_free",
    "pair_loss": "alignment.losses.by_name",
    "policy_loss": "alignment.losses.policy_gradient",
    "ppo_loss": "alignment.losses.policy_gradient",
    "simpo_loss": "alignment.losses.reference_free",
    "token_kl": "alignment.losses.kl",
    "token_rewards": "alignment.losses.advantages",
    "value_loss": "alignment.losses.value",
}
__all__ = [
    "CompletionTokens",
    "PairLogps",
    "PairLoss",
    "PairLossOptions",
    "PolicyLoss",
    "PolicyLossOptions",
    "RewardBatch",
    "RewardOptions",
    "Rewards",
    "Rollouts",
    "best_of_k",
    "dpo_loss",
    "gae",
    "group_advantages",
    "ipo_loss",
    "kto_loss",
    "load_rewards",
    "loss_total",
    "orpo_loss",
    "pair_loss",
    "policy_loss",
    "ppo_loss",
    "simpo_loss",
    "token_kl",
    "token_rewards",
    "value_loss",
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
