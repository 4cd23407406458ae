"""What a training from the app is to do: whose votes count, which model, and every option as YAML that is checked.

Where it reads and writes is the app's to say, so those options are refused. Nothing here trains or imports torch.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import jsonargparse
import yaml

from alignment.config import DpoConfig, SftConfig, TrainingConfig
from alignment.loss_names import PairLossName
from rewardkit.commands.command import add_config, field_meanings
from rewardkit.config import Members, Mode, RewardConfig

Trains = Literal["reward", "sft", "dpo"]
TRAINS: tuple[Trains, ...] = get_args(Trains)
PRESETS = ("tiny", "small", "tfidf")
PLACES = ("out", "data", "eval_data", "project", "db", "resume", "eval_share", "allow_leakage")
"""Options that say what is read and written; the app sets them."""
POLICY_PLACES = (*PLACES, "reference_cache", "push_to_hub")
CHOSEN = ("model", "mode", "ensemble", "members", "criteria")
"""Options with a field of their own on the page."""
POLICY_CHOSEN = ("model", "lora", "loss", "beta")
LONGEST_TEXT = 20_000
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
NEEDED = {"torch": "torch", "transformers": "transformers", "scikit-learn": "sklearn"}
INSTALL = 'pip install "tiebreak[train]"'

Teaches = Literal["overall", "all", "criterion"]


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """One training.

    Attributes:
        project: its name.
        teaches: the overall choice; that and each criterion, a head each; or one `criterion` in place of the choice.
        criterion: its name, where one is taught.
        min_votes, min_agreement, adjudicated_only: which items go out, see `ExportOptions`.
        held_out: share of prompts for early stopping and calibration, and the same again for the report.
        trains: a reward model, or a policy by supervised fine-tuning or direct preference optimisation.
        model: `tiny`, `small`, `tfidf` (reward models alone), the whole path of a folder, or a hub id.
        mode: a policy knows `full` and `lora`.
        ensemble, members: of a reward model.
        loss, beta: of DPO; a beta of 0 is the loss's own.
        advanced: any other options of the configuration, checked.
    """

    project: str
    trains: Trains = "reward"
    teaches: Teaches = "overall"
    criterion: str = ""
    min_votes: int = 1
    min_agreement: float = 0.0
    adjudicated_only: bool = False
    held_out: float = 0.1
    model: str = "tiny"
    mode: Mode = "full"
    ensemble: int = 1
    members: Members = "heads"
    loss: PairLossName = "sigmoid"
    beta: float = 0.0
    advanced: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.teaches == "criterion") != bool(self.criterion):
            raise ValueError(f"criterion is {self.criterion!r} with teaches {self.teaches!r}: one goes with the other")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        if self.trains not in TRAINS:
            raise ValueError(f"trains is {self.trains!r}, allowed are {', '.join(TRAINS)}")
        if self.trains != "reward":
            self._check_policy()
        for name in self.advanced:
            if name in _kept(self.trains):
                raise ValueError(_refusal(name))
        self.config(Path("model"), Path("data"))

    def _check_policy(self) -> None:
        if self.model == "tfidf" or self.mode == "head":
            raise ValueError(f"a policy is trained whole or by adapters, not as {self.model} with mode {self.mode}")
        if self.teaches == "all" or self.ensemble > 1:
            raise ValueError("criteria with heads of their own, and several members, are for reward models")

    def config(self, out: Path, data: Path) -> RewardConfig | TrainingConfig:
        """The configuration that the training's command reads; ValueError from its own checks."""
        values: dict[str, Any] = {**self.advanced, "model": self.model, "out": str(out), "data": str(data)}
        if self.trains == "reward":
            values |= {"mode": self.mode, "ensemble": self.ensemble, "members": self.members}
            values["criteria"] = self.teaches == "all"
        else:
            values["lora"] = self.mode == "lora"
        if self.trains == "dpo":
            values |= {"loss": self.loss, "beta": self.beta or None}
        return config_of(self.trains)(**values)

    def text(self) -> str:
        """As YAML."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return yaml.safe_dump(values | {"advanced": dict(self.advanced)}, sort_keys=False, allow_unicode=True)

    @classmethod
    def read(cls, text: str) -> TrainingPlan:
        """What `text` wrote; ValueError where it is not that."""
        values = yaml.safe_load(text)
        known = {each.name for each in fields(cls)}
        if not isinstance(values, dict) or set(values) - known:
            raise ValueError(f"a training plan has the fields {', '.join(sorted(known))}")
        return cls(**values)


def config_of(trains: Trains) -> type:
    """The class of a training's configuration."""
    return {"reward": RewardConfig, "sft": SftConfig, "dpo": DpoConfig}[trains]


def _kept(trains: Trains) -> tuple[str, ...]:
    """The options that are not for the text: set by the app, or chosen on the page."""
    return (*PLACES, *CHOSEN) if trains == "reward" else (*POLICY_PLACES, *POLICY_CHOSEN)


def advanced_text(trains: Trains = "reward") -> str:
    """All other options with their defaults and what they mean, as YAML to edit."""
    config, lines = config_of(trains), []
    meanings = field_meanings(config)
    for each in fields(config):
        if each.name not in _kept(trains):
            value = yaml.safe_dump(each.default).splitlines()[0]
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
    config = config_of(trains)
    defaults = {each.name: each.default for each in fields(config)}
    for name, value in values.items():
        if name in _kept(trains):
            raise ValueError(_refusal(name))
        if name not in defaults:
            allowed = [known for known in defaults if known not in _kept(trains)]
            raise ValueError(f"{name} is no option, allowed are {', '.join(allowed)}")
        if isinstance(value, dict | list) or (value is None and defaults[name] is not None):
            raise ValueError(f"{name} is {value!r}, allowed is a single value")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, config)
    parsed = {name: _parse(parser, config, name, value) for name, value in values.items()}
    return {name: value for name, value in parsed.items() if value != defaults[name]}


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
        allowed = WORDS.get(kind) or ", ".join(map(str, get_args(kind)))
        raise ValueError(f"{name} is {value!r}, allowed is {allowed}") from error


def check_model(given: str) -> str:
    """The model that somebody names: a preset, the whole path of a folder that holds a model, or a hub id.

    Raises:
        ValueError: if it is none of these.
    """
    given = given.strip()
    if given in PRESETS:
        return given
    if given.startswith(("/", "~")):
        folder = Path(given).expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no folder with a model: it has no config.json")
        return str(folder)
    if not HUB_ID.fullmatch(given):
        raise ValueError(f"model is {given!r}, allowed are the whole path of a folder (/...) and a hub id (owner/name)")
    return given


def missing_packages(model: str) -> list[str]:
    """What has to be installed before this kind of model can be trained; asked without importing any of it."""
    needed = ("scikit-learn",) if model == "tfidf" else ("torch", "transformers")
    return [name for name in needed if importlib.util.find_spec(NEEDED[name]) is None]


def modes_of(model: str, trains: Trains = "reward") -> tuple[Mode, ...]:
    """The ways a model can be trained."""
    if trains != "reward":
        return "full", "lora"
    return ("head",) if model == "tfidf" else get_args(Mode)


def _refusal(name: str) -> str:
    where = "is set by the app: a training reads and writes in its own folder only"
    return f"{name} {where}" if name in POLICY_PLACES else f"{name} is chosen above, not in this text"
