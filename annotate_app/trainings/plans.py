"""What a training on judgments from the app is to do: whose votes count, which model, every other option.

What draws samples of a policy is planned in `annotate_app.trainings.sampling_plans` and its neighbours. Nothing here
trains or imports torch.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import yaml

from alignment.config.loss_names import PairLossName
from alignment.config.training import TrainingConfig
from annotate_app.trainings.options import WORDS_OF, Trains, check_advanced, config_of
from rewardkit.config import Members, Mode, RewardConfig

ON_JUDGMENTS: tuple[Trains, ...] = ("reward", "sft", "dpo")
PRESETS = ("tiny", "small", "tfidf")
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
NEEDED = {"torch": "torch", "transformers": "transformers", "scikit-learn": "sklearn"}
INSTALL = 'pip install "tiebreak[train]"'

Teaches = Literal["overall", "all", "criterion"]
Plan = TypeVar("Plan")


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
        rows_of: number of a run of best of n whose rows a policy learns from in place of judgments; 0 for judgments.
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
    rows_of: int = 0
    advanced: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.teaches == "criterion") != bool(self.criterion):
            raise ValueError(f"criterion is {self.criterion!r} with teaches {self.teaches!r}: one goes with the other")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        if self.trains not in ON_JUDGMENTS:
            raise ValueError(f"trains is {self.trains!r}, allowed are {', '.join(ON_JUDGMENTS)}")
        if self.trains != "reward":
            self._check_policy()
        if self.rows_of:
            self._check_rows()
        check_advanced(self.advanced, self.trains)
        self.config(Path("model"), Path("data"))

    def _check_policy(self) -> None:
        if self.model == "tfidf" or self.mode == "head":
            raise ValueError(f"a policy is trained whole or by adapters, not as {self.model} with mode {self.mode}")
        if self.teaches == "all" or self.ensemble > 1:
            raise ValueError("criteria with heads of their own, and several members, are for reward models")

    def _check_rows(self) -> None:
        if self.trains == "reward":
            raise ValueError("rows_of is for policies: reward models learn from people's judgments")
        asked = (self.teaches, self.min_votes, self.min_agreement, self.adjudicated_only)
        if asked != ("overall", 1, 0.0, False):
            raise ValueError("rows of best of n carry no votes: teaches, votes and agreement are for judgments")

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

    def title(self, runs: Mapping[str, str]) -> str:
        """For people: what is trained, how, and on what; `runs` names models by their folders."""
        what = self.criterion if self.teaches == "criterion" else {"overall": "", "all": "all criteria"}[self.teaches]
        what = f"rows of run {self.rows_of}" if self.rows_of else what
        kind = "" if self.trains == "reward" else WORDS_OF[self.trains]
        loss = self.loss if self.trains == "dpo" and self.loss != "sigmoid" else ""
        title = ", ".join(filter(None, (kind, runs.get(self.model) or model_name(self.model), self.mode, loss, what)))
        return f"{title} x{self.ensemble}" if self.ensemble > 1 else title

    def text(self) -> str:
        """As YAML."""
        return write_plan(self)

    @classmethod
    def read(cls, text: str) -> TrainingPlan:
        """What `text` wrote; ValueError where it is not that."""
        return read_fields(cls, yaml.safe_load(text))


def write_plan(plan: Any) -> str:
    """The fields of a plan as YAML."""
    values = {each.name: getattr(plan, each.name) for each in fields(plan)}
    return yaml.safe_dump(values | {"advanced": dict(plan.advanced)}, sort_keys=False, allow_unicode=True)


def read_fields(cls: type[Plan], values: Any) -> Plan:
    """The plan of the values that `write_plan` wrote.

    Raises:
        ValueError: if it is none.
    """
    known = {each.name for each in fields(cls)}  # type: ignore[arg-type]
    if not isinstance(values, dict) or set(values) - known:
        raise ValueError(f"a training plan has the fields {', '.join(sorted(known))}")
    return cls(**values)


def model_name(model: str) -> str:
    """For people: a folder's name, with the one around it where that is what tells models apart."""
    path = Path(model)
    return (f"{path.parent.name}/{path.name}" if path.name == "model" else path.name)[:80]


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
