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

from rewardkit.commands.command import add_config, field_meanings
from rewardkit.config import Members, Mode, RewardConfig

PRESETS = ("tiny", "small", "tfidf")
PLACES = ("out", "data", "eval_data", "project", "db", "resume", "eval_share", "allow_leakage")
"""Options that say what is read and written; the app sets them."""
CHOSEN = ("model", "mode", "ensemble", "members", "criteria")
"""Options with a field of their own on the page."""
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
        model: `tiny`, `small`, `tfidf`, the whole path of a folder, or a hub id.
        advanced: any other options of `RewardConfig`, checked.
    """

    project: str
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
    advanced: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.teaches == "criterion") != bool(self.criterion):
            raise ValueError(f"criterion is {self.criterion!r} with teaches {self.teaches!r}: one goes with the other")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        for name in self.advanced:
            if name in (*PLACES, *CHOSEN):
                raise ValueError(_refusal(name))
        self.config(Path("model"), Path("data"))

    def config(self, out: Path, data: Path) -> RewardConfig:
        """The configuration that `rewardkit train` reads; ValueError from its own checks."""
        chosen = {name: getattr(self, name) for name in CHOSEN if name != "criteria"}
        return RewardConfig(
            **self.advanced, **chosen, criteria=self.teaches == "all", out=str(out), data=str(data)
        )  # fmt: skip

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


def advanced_text() -> str:
    """All other options with their defaults and what they mean, as YAML to edit."""
    meanings, lines = field_meanings(RewardConfig), []
    for each in fields(RewardConfig):
        if each.name not in (*PLACES, *CHOSEN):
            value = yaml.safe_dump(each.default).splitlines()[0]
            lines.append(f"# {meanings[each.name]}\n{each.name}: {value}\n")
    return "\n".join(lines)


def read_advanced(text: str) -> dict[str, Any]:
    """The options of a YAML text that differ from their defaults, with their types.

    Raises:
        ValueError: naming line or option, if it is no YAML, an option is unknown, the app's own, or of another type.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the text has {len(text):,} characters, allowed are {LONGEST_TEXT:,}")
    try:
        values = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise ValueError(f"{line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ValueError(f"the text is a {type(values).__name__}, allowed are lines of the form option: value")
    defaults = {each.name: each.default for each in fields(RewardConfig)}
    for name, value in values.items():
        if name in (*PLACES, *CHOSEN):
            raise ValueError(_refusal(name))
        if name not in defaults:
            allowed = [known for known in defaults if known not in (*PLACES, *CHOSEN)]
            raise ValueError(f"{name} is no option, allowed are {', '.join(allowed)}")
        if value is None or isinstance(value, dict | list):
            raise ValueError(f"{name} is {value!r}, allowed is a single value")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_config(parser, RewardConfig)
    parsed = {name: _parse(parser, name, value) for name, value in values.items()}
    return {name: value for name, value in parsed.items() if value != defaults[name]}


def _parse(parser: jsonargparse.ArgumentParser, name: str, value: object) -> Any:
    """The value with the option's type; YAML takes 5e-4 for a text, for example."""
    try:
        return parser.parse_object({"model": "tiny", "out": "model", name: value})[name]
    except (jsonargparse.ArgumentError, TypeError) as error:
        kind = get_type_hints(RewardConfig)[name]
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


def modes_of(model: str) -> tuple[Mode, ...]:
    """The ways a model can be trained."""
    return ("head",) if model == "tfidf" else get_args(Mode)


def _refusal(name: str) -> str:
    where = "is set by the app: a training reads and writes in its own folder only"
    return f"{name} {where}" if name in PLACES else f"{name} is chosen above, not in this text"
