"""The plan of a training on judgments, or on rows of best of n: its configuration and whose votes count.

What draws samples of a policy is planned in `annotate_app.trainings.sampling_plans`, how plans lie in files is in
`annotate_app.trainings.plan_files`. Nothing here trains or imports torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from alignment.config.sampling import BonConfig, read_suite
from alignment.config.training import DpoConfig, PolicyConfig, TrainingConfig
from annotate_app.trainings.options import TRAININGS, Config, Trains, trains_of
from rewardkit.config import PRESET_NAMES, Mode, RewardConfig
from rewardkit.run.model_folder import HUB_ID

PRESETS = (*PRESET_NAMES, "tfidf")
NEEDED = {"torch": "torch", "transformers": "transformers", "scikit-learn": "sklearn"}
INSTALL = 'pip install "tiebreak[train]"'


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """One training.

    Attributes:
        project: its name.
        config: of the command, as `annotate_app.trainings.options.make_config` makes it.
        criterion: taught in place of the overall choice; empty for that, and with `config.criteria` for both.
        min_votes, min_agreement, adjudicated_only: which items go out, see `ExportOptions`.
        held_out: share of prompts for early stopping and calibration, and the same again for the report.
        rows_of: number of a run of best of n whose rows a policy learns from in place of judgments; 0 for judgments.
        on_policy: comparisons of a turn of the loop that a reward model never learns from: it is measured on them, and
            so is the one before.
        newest: comparisons of that turn, which all take part whatever `replay` is.
        replay: share of all other comparisons that take part, 0 to 1.
        before: folder of the reward model before; empty for none.
        judges: judges that are no people whose votes count too; what they alone judged goes out with `min_votes` 0.
        suite: what training a policy may have cost elsewhere, as `alignment evaluate --suite` takes it, files by their
            whole paths.
    """

    project: str
    config: RewardConfig | TrainingConfig
    criterion: str = ""
    min_votes: int = 1
    min_agreement: float = 0.0
    adjudicated_only: bool = False
    held_out: float = 0.1
    rows_of: int = 0
    on_policy: tuple[str, ...] = ()
    newest: tuple[str, ...] = ()
    replay: float = 1.0
    before: str = ""
    judges: tuple[str, ...] = ()
    suite: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_suite(self.suite, self.config)
        for name in ("on_policy", "newest", "judges", "suite"):  # lists, where they come from a file
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not 0 <= self.replay <= 1:
            raise ValueError(f"replay is {self.replay}, allowed is 0 to 1")
        if not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")
        if isinstance(self.config, RewardConfig):
            if self.criterion and self.config.criteria:
                raise ValueError(f"criterion is {self.criterion!r} with criteria: teach one, or all with the choice")
            if self.rows_of:
                raise ValueError("rows_of is for policies: reward models learn from people's judgments")
        elif self.config.model == "tfidf":
            raise ValueError("a policy is trained whole or by adapters, tfidf is for reward models")
        votes = (self.criterion, self.min_votes, self.min_agreement, self.adjudicated_only)
        if self.rows_of and votes != ("", 1, 0.0, False):
            raise ValueError("rows of best of n carry no votes: criterion, votes and agreement are for judgments")

    @property
    def trains(self) -> Trains:
        """What is trained, and how."""
        return trains_of(self.config)

    def title(self, runs: Mapping[str, str]) -> str:
        """For people: what is trained, how, and on what; `runs` names models by their folders."""
        config = self.config
        taught = f"rows of run {self.rows_of}" if self.rows_of else self.criterion
        model = runs.get(config.model) or model_name(config.model)
        if isinstance(config, RewardConfig):
            title = ", ".join(filter(None, (model, config.mode, "all criteria" if config.criteria else taught)))
            return f"{title} x{config.ensemble}" if config.ensemble > 1 else title
        loss = config.loss if isinstance(config, DpoConfig) and config.loss != "sigmoid" else ""
        return ", ".join(filter(None, (TRAININGS[self.trains].words, model, mode_of(config), loss, taught)))


def check_suite(suite: Sequence[str], config: Config) -> None:
    """Checks what a trained policy is asked beside its own task.

    Raises:
        ValueError: if a part is not allowed, or no policy is held against the one it began from.
    """
    for name, path in read_suite(suite):
        if isinstance(config, RewardConfig | BonConfig):
            raise ValueError(f"suite names {name}: it is for policies that are trained")
        if config.model in PRESET_NAMES:
            raise ValueError(f"suite names {name}: {config.model} is made new, and has no policy to be held against")
        if path and not Path(path).is_absolute():
            raise ValueError(f"suite {name} is {path!r}, allowed is the whole path of a file (/...)")


def names_files(suite: Sequence[str]) -> bool:
    """Whether a part of a suite is a file of the server."""
    return any(path for _, path in read_suite(suite))


def mode_of(config: PolicyConfig) -> Mode:
    """How a policy is trained, in the words of reward models."""
    return "lora" if config.lora else "full"


def model_name(model: str) -> str:
    """For people: a folder's name, with the one around it where that is what tells models apart."""
    path = Path(model)
    return (f"{path.parent.name}/{path.name}" if path.name == "model" else path.name)[:80]


def check_model(model: str) -> str:
    """Reads the model that somebody names: a preset, the whole path of a folder that holds a model, or a hub id.

    Raises:
        ValueError: if it is none of these.
    """
    model = model.strip()
    if model in PRESETS:
        return model
    if model.startswith(("/", "~")):
        folder = Path(model).expanduser().resolve()
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} is no folder with a model: it has no config.json")
        return str(folder)
    if not HUB_ID.fullmatch(model):
        raise ValueError(f"model is {model!r}, allowed are the whole path of a folder (/...) and a hub id (owner/name)")
    return model


def missing_packages(model: str) -> list[str]:
    """Lists packages to install before this kind of model can be trained; imports none of them."""
    needed = ("scikit-learn",) if model == "tfidf" else ("torch", "transformers")
    return [name for name in needed if importlib.util.find_spec(NEEDED[name]) is None]


def modes_of(model: str, trains: Trains) -> tuple[Mode, ...]:
    """The ways a model can be trained."""
    if trains != "reward":
        return "full", "lora"
    return ("head",) if model == "tfidf" else get_args(Mode)
