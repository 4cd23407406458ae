"""What the app can train: each training's command and configuration, and which options are the app's.

The app says where a training reads and writes, so a page refuses those options. All others a page offers as fields of
its form or as YAML that is checked here. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_type_hints

import jsonargparse
import yaml

from alignment.config.loss_names import PAIR_LOSSES
from alignment.config.online import GrpoConfig, OnlineConfig, OnlineDpoConfig, PpoConfig
from alignment.config.policy_gradient_names import POLICY_LOSSES
from alignment.config.sampling import BonConfig
from alignment.config.training import DpoConfig, SftConfig, TrainingConfig
from rewardkit.config import RewardConfig
from rewardkit.data.tables.yaml_nodes import did_you_mean
from rewardkit.run.command import add_config, field_meanings

OnlineTrains = Literal["ppo", "grpo", "online-dpo"]
Trains = Literal["reward", "sft", "dpo", "ppo", "grpo", "online-dpo", "bon"]
"""A reward model (`rewardkit train`), or else a command of `alignment`."""
Config = RewardConfig | TrainingConfig | OnlineConfig | BonConfig
ONLINE: tuple[OnlineTrains, ...] = get_args(OnlineTrains)
"""Those that learn from rewarded samples of the policy; bon draws and rewards them too, and learns nothing."""
DRAWS: tuple[Trains, ...] = (*ONLINE, "bon")

MODEL, DATA, ROWS = "model", "data", "chosen.jsonl"
TRAIN_PROMPTS, TEST_PROMPTS = "train.jsonl", "test.jsonl"
"""Files of the snapshot in DATA: prompts to answer, and held out for audits and the report."""
ON_ROWS = {"out": MODEL, "data": DATA}
ON_PROMPTS = {"out": MODEL, "prompts": f"{DATA}/{TRAIN_PROMPTS}", "eval_prompts": f"{DATA}/{TEST_PROMPTS}"}
ROWS_LEFT = ("eval_data", "project", "db", "resume", "eval_share", "allow_leakage")
POLICY_LEFT = (*ROWS_LEFT, "push_to_hub")
ONLINE_LEFT = ("resume", "eval_share", "replay", "rollouts", "push_to_hub", "epochs")
WINDOW = 16
"""Prompts of best of n answered, rewarded and saved at a time: how finely progress is told, what a cancel loses."""

LONGEST_TEXT = 20_000
TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list[str]: "a list of texts",
}
AnyConfig = TypeVar("AnyConfig", bound=Config)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training that the app can start.

    Attributes:
        words: what people call it.
        config: the class of its configuration, whose fields are its options.
        command: the package and the command.
        paths: options that name what is read and written, relative to the run directory.
        fixed: options that the app sets to other values than the command's.
        left: options that stay the command's defaults.
        losses: the losses to choose from; none where there is nothing to choose.
    """

    words: str
    config: type
    command: tuple[str, str]
    paths: Mapping[str, str]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    left: tuple[str, ...]
    losses: tuple[str, ...] = ()

    @property
    def app_options(self) -> frozenset[str]:
        """The options that are the app's and nobody else's to set."""
        return frozenset((*self.paths, *self.fixed, *self.left))


TRAININGS: dict[Trains, Training] = {
    "reward": Training(
        words="reward model",
        config=RewardConfig,
        command=("rewardkit", "train"),
        paths=ON_ROWS,
        left=(*ROWS_LEFT, "rows"),
    ),
    "sft": Training(words="SFT", config=SftConfig, command=("alignment", "sft"), paths=ON_ROWS, left=POLICY_LEFT),
    "dpo": Training(
        words="DPO",
        config=DpoConfig,
        command=("alignment", "dpo"),
        paths=ON_ROWS,
        left=(*POLICY_LEFT, "reference_cache"),
        losses=tuple(PAIR_LOSSES),
    ),
    "ppo": Training(words="PPO", config=PpoConfig, command=("alignment", "ppo"), paths=ON_PROMPTS, left=ONLINE_LEFT),
    "grpo": Training(
        words="GRPO",
        config=GrpoConfig,
        command=("alignment", "grpo"),
        paths=ON_PROMPTS,
        left=ONLINE_LEFT,
        losses=tuple(POLICY_LOSSES),
    ),
    "online-dpo": Training(
        words="online DPO",
        config=OnlineDpoConfig,
        command=("alignment", "online-dpo"),
        paths=ON_PROMPTS,
        left=ONLINE_LEFT,
        losses=tuple(name for name, traits in PAIR_LOSSES.items() if not traits.whole_batch),
    ),
    "bon": Training(
        words="best of n",
        config=BonConfig,
        command=("alignment", "bon"),
        paths={"out": ROWS, "prompts": f"{DATA}/{TRAIN_PROMPTS}"},
        fixed={"window": WINDOW, "json": True},
        left=("resume",),
    ),
}


def trains_of(config: Config) -> Trains:
    """Names the training of a configuration."""
    return next(name for name, training in TRAININGS.items() if type(config) is training.config)


def make_config(trains: Trains, options: Mapping[str, Any]) -> Any:
    """Makes the configuration of a training from everybody's options and the app's; paths are relative to the run's.

    Raises:
        ValueError: if an option is the app's or unknown, or the configuration's own checks refuse it.
    """
    training = TRAININGS[trains]
    check_options(options, trains)
    if not options.get("model"):
        raise ValueError("model is missing: name the model to begin with")
    return training.config(**options, **training.paths, **training.fixed)


def place_config(config: AnyConfig, run_dir: Path) -> AnyConfig:
    """The configuration with whole paths, as the command of a run reads it."""
    paths = TRAININGS[trains_of(config)].paths
    return replace(config, **{name: str(run_dir / path) for name, path in paths.items()})


def default_of(trains: Trains, name: str) -> Any:
    """Returns the command's default for an option, so that form, plan and command line agree."""
    return next(_default(option) for option in fields(TRAININGS[trains].config) if option.name == name)


def check_options(options: Collection[str], trains: Trains, chosen: Collection[str] = ()) -> None:
    """Checks that each option exists and is neither the app's nor `chosen` elsewhere.

    Raises:
        ValueError: for the first one that is not allowed.
    """
    training = TRAININGS[trains]
    names = [option.name for option in fields(training.config)]
    for name in options:
        if name in training.app_options:
            raise ValueError(f"{name} is set by the app: a training reads and writes in its own folder only")
        if name in chosen:
            raise ValueError(f"{name} is chosen above, not in this text")
        if name not in names:
            allowed = [name for name in names if name not in training.app_options and name not in chosen]
            raise ValueError(f"{name} is no option{did_you_mean(name, allowed)}")


def advanced_text(trains: Trains, chosen: Collection[str]) -> str:
    """All options but those chosen elsewhere, with their defaults and what they mean, as YAML to edit."""
    training, lines = TRAININGS[trains], []
    meanings = field_meanings(training.config)
    for option in fields(training.config):
        if option.name not in training.app_options and option.name not in chosen:
            value = yaml.safe_dump(_default(option)).splitlines()[0]
            lines.append(f"# {meanings[option.name]}\n{option.name}: {value}\n")
    return "\n".join(lines)


def read_advanced(text: str, trains: Trains, chosen: Collection[str]) -> dict[str, Any]:
    """Reads the options of a YAML text that differ from their defaults, with their types.

    Args:
        chosen: options that the form has a field for.

    Raises:
        ValueError: naming line or option, if it is no YAML, an option is unknown, the app's own, or of another type.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the text has {len(text):,} characters, allowed are {LONGEST_TEXT:,}")
    values = _read_yaml(text)
    check_options(values, trains, chosen)
    config = TRAININGS[trains].config
    defaults = {option.name: _default(option) for option in fields(config)}
    for name, value in values.items():
        is_list = isinstance(value, list) and not isinstance(defaults[name], list)
        if isinstance(value, dict) or is_list or (value is None and defaults[name] is not None):
            raise ValueError(f"{name} is {value!r}, allowed is a single value")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, config)
    # A form draws itself at every change of a field, and parsing all of its options took half a second each time.
    changed = {name: value for name, value in values.items() if not _is_default(value, defaults[name])}
    parsed = {name: _parse(parser, config, name, value) for name, value in changed.items()}
    return {name: value for name, value in parsed.items() if value != defaults[name]}


def _default(option: Field) -> Any:
    """The default of an option; MISSING where it has none."""
    return option.default if option.default_factory is MISSING else option.default_factory()


def _is_default(value: Any, default: Any) -> bool:
    """Whether a value is the default and of its type; True and 1 are not the same option."""
    return type(value) is type(default) and value == default


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
        kind = next((member for member in get_args(kind) if member in TYPE_NAMES), kind)  # of one that may be none
        kind = list[str] if isinstance(value, list) else kind
        allowed = TYPE_NAMES.get(kind) or ", ".join(map(str, get_args(kind)))
        raise ValueError(f"{name} is {value!r}, allowed is {allowed}") from error
