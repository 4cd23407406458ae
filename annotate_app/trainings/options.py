"""Every option of a training's command as YAML that is checked: what a page offers beside the choices it draws.

Where a training reads and writes is the app's to say, so those options are refused. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, get_args, get_type_hints

import jsonargparse
import yaml

from alignment.config.loss_names import PAIR_LOSSES
from alignment.config.online import GrpoConfig, OnlineDpoConfig, PpoConfig
from alignment.config.policy_gradient_names import POLICY_LOSSES
from alignment.config.sampling import BonConfig
from alignment.config.training import DpoConfig, SftConfig
from rewardkit.config import RewardConfig
from rewardkit.run.command import add_config, field_meanings

OnlineTrains = Literal["ppo", "grpo", "online-dpo"]
Trains = Literal["reward", "sft", "dpo", "ppo", "grpo", "online-dpo", "bon"]
"""A reward model (`rewardkit train`), or else a command of `alignment`."""
ONLINE: tuple[OnlineTrains, ...] = get_args(OnlineTrains)
"""Those that learn from rewarded samples of the policy; bon draws and rewards them too, and learns nothing."""
DRAWS: tuple[Trains, ...] = (*ONLINE, "bon")
WORDS_OF: dict[str, str] = {
    "reward": "reward model",
    "sft": "SFT",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO",
    "online-dpo": "online DPO",
    "bon": "best of n",
}
"""What people call each."""
CONFIGS: dict[Trains, type] = {
    "reward": RewardConfig,
    "sft": SftConfig,
    "dpo": DpoConfig,
    "ppo": PpoConfig,
    "grpo": GrpoConfig,
    "online-dpo": OnlineDpoConfig,
    "bon": BonConfig,
}

PLACES = ("out", "data", "eval_data", "project", "db", "resume", "eval_share", "allow_leakage")
"""Options that say what is read and written; the app sets them."""
POLICY_PLACES = (*PLACES, "reference_cache", "push_to_hub")
ONLINE_PLACES = ("out", "resume", "prompts", "eval_prompts", "eval_share", "replay", "rollouts", "push_to_hub")
BEST_PLACES = ("out", "resume", "prompts", "json", "window")
CHOSEN = ("model", "mode", "ensemble", "members", "criteria")
"""Options with a field of their own on the page."""
POLICY_CHOSEN = ("model", "lora", "loss", "beta")
ONLINE_CHOSEN = (
    *("model", "lora", "loss", "beta", "learning_rate", "epochs", "max_steps", "prompts_per_step"),
    *(
        "completions_per_prompt",
        "max_new_tokens",
        "reward",
        "penalty",
        "penalty_strength",
        "audit_reward",
        "audit_samples",
        "on_alarm",
    ),
)
BEST_CHOSEN = (
    *("model", "n", "keep", "threshold", "threshold_of", "soft_labels", "max_new_tokens"),
    *("reward", "penalty", "penalty_strength", "audit_reward"),
)
LONGEST_TEXT = 20_000
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list[str]: "a list of texts"}


def config_of(trains: Trains) -> type:
    """The class of a training's configuration."""
    return CONFIGS[trains]


def command_of(trains: Trains) -> tuple[str, str]:
    """The package and the command of a training."""
    return ("rewardkit", "train") if trains == "reward" else ("alignment", trains)


def default_of(trains: Trains, name: str) -> Any:
    """What an option is where nobody chooses: the command's own, so that form, plan and command line agree."""
    return next(_default(each) for each in fields(config_of(trains)) if each.name == name)


def losses_of(trains: Trains) -> tuple[str, ...]:
    """The losses that a training of a policy may choose from; none where there is nothing to choose."""
    if trains == "grpo":
        return tuple(POLICY_LOSSES)
    if trains == "online-dpo":
        return tuple(name for name, each in PAIR_LOSSES.items() if not each.whole_batch)
    return tuple(PAIR_LOSSES) if trains == "dpo" else ()


def kept_options(trains: Trains) -> tuple[str, ...]:
    """The options that are not for the text: set by the app, or chosen on the page."""
    if trains == "bon":
        return (*BEST_PLACES, *BEST_CHOSEN)
    chosen = CHOSEN if trains == "reward" else ONLINE_CHOSEN if trains in ONLINE else POLICY_CHOSEN
    return (*_places(trains), *chosen)


def check_advanced(names: Iterable[str], trains: Trains) -> None:
    """Raises ValueError for the first option that is not for the text."""
    for name in names:
        if name in kept_options(trains):
            raise ValueError(_refusal(name, trains))


def advanced_text(trains: Trains = "reward") -> str:
    """All other options with their defaults and what they mean, as YAML to edit."""
    config, lines = config_of(trains), []
    meanings = field_meanings(config)
    for each in fields(config):
        if each.name not in kept_options(trains):
            value = yaml.safe_dump(_default(each)).splitlines()[0]
            lines.append(f"# {meanings[each.name]}\n{each.name}: {value}\n")
    return "\n".join(lines)


def read_advanced(text: str, trains: Trains = "reward") -> dict[str, Any]:
    """The options of a YAML text that differ from their defaults, with their types.

    Raises:
        ValueError: naming line or option, if it is no YAML, an option is unknown, the app's own, or of another type.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the text has {len(text):,} characters, allowed are {LONGEST_TEXT:,}")
    values = _read_yaml(text)
    check_advanced(values, trains)
    config = config_of(trains)
    defaults = {each.name: _default(each) for each in fields(config)}
    for name, value in values.items():
        if name not in defaults:
            allowed = [known for known in defaults if known not in kept_options(trains)]
            raise ValueError(f"{name} is no option, allowed are {', '.join(allowed)}")
        is_list = isinstance(value, list) and not isinstance(defaults[name], list)
        if isinstance(value, dict) or is_list or (value is None and defaults[name] is not None):
            raise ValueError(f"{name} is {value!r}, allowed is a single value")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, config)
    parsed = {name: _parse(parser, config, name, value) for name, value in values.items()}
    return {name: value for name, value in parsed.items() if value != defaults[name]}


def _default(each: Field) -> Any:
    """The default of an option; MISSING where it has none."""
    return each.default if each.default_factory is MISSING else each.default_factory()


def _read_yaml(text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if values is not None and not isinstance(values, dict):
        raise ValueError(f"the text is a {type(values).__name__}, allowed are lines of the form option: value")
    return values or {}


def _parse(parser: jsonargparse.ArgumentParser, config: type, name: str, value: object) -> Any:
    """The value with the option's type; YAML takes 5e-4 for a text, for example."""
    try:
        return parser.parse_object({"model": "tiny", "out": "model", name: value})[name]
    except (jsonargparse.ArgumentError, TypeError) as error:
        kind = get_type_hints(config)[name]
        kind = next((each for each in get_args(kind) if each in WORDS), kind)  # of one that may also be none
        kind = list[str] if isinstance(value, list) else kind
        allowed = WORDS.get(kind) or ", ".join(map(str, get_args(kind)))
        raise ValueError(f"{name} is {value!r}, allowed is {allowed}") from error


def _places(trains: Trains) -> tuple[str, ...]:
    if trains == "bon":
        return BEST_PLACES
    return PLACES if trains == "reward" else ONLINE_PLACES if trains in ONLINE else POLICY_PLACES


def _refusal(name: str, trains: Trains) -> str:
    where = "is set by the app: a training reads and writes in its own folder only"
    return f"{name} {where}" if name in _places(trains) else f"{name} is chosen above, not in this text"
