"""What a training on samples of a policy, or a choice of the best of them, is to do: configuration and prompts.

How plans lie in files is in `annotate_app.trainings.plan_files`. Nothing here trains or imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignment.config.online import GrpoConfig, OnlineConfig, OnlineDpoConfig
from alignment.config.rewards import RewardSpec, read_reward, read_rewards
from alignment.config.sampling import BonConfig
from annotate_app.trainings.options import TRAININGS, Trains, default_of, trains_of
from annotate_app.trainings.plans import check_suite, mode_of, model_name, names_files
from rewardkit.data.files import SUFFIXES

Keep = Literal["best", "above", "pairs"]
KEEP_WORDS: dict[str, str] = {"best": "the best", "above": "those above a threshold", "pairs": "best and worst"}


@dataclass(frozen=True, kw_only=True)
class SamplingPlan:
    """Answers of a policy, and what is learned or chosen from them by their rewards.

    Attributes:
        project: its name.
        config: of the command, as `annotate_app.trainings.options.make_config` makes it; rewards that are folders are
            named by their whole paths.
        prompts: empty for the project's, the bare name of a file that was uploaded into the run directory, or the whole
            path of one on the server.
        held_out: share of prompts that are kept apart for audits and the report; 0 with best of n, which answers all:
            who trains on its rows holds out.
        suite: what training may have cost elsewhere, as `TrainingPlan.suite`.
    """

    project: str
    config: OnlineConfig | BonConfig
    prompts: str = ""
    held_out: float = 0.1
    suite: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "suite", tuple(self.suite))  # a list, where it comes from a file
        check_suite(self.suite, self.config)
        if self.prompts and not self.names_server_file and Path(self.prompts).name != self.prompts:
            raise ValueError(f"prompts is {self.prompts!r}, allowed is the whole path of a file (/...)")
        for spec in self.reward_specs:
            if spec.kind in ("model", "rubric") and not Path(spec.target).is_absolute():
                what = "folder" if spec.kind == "model" else "file"
                raise ValueError(f"reward is {spec.target!r}, allowed is the whole path of a {what} (/...)")
        if isinstance(self.config, BonConfig):
            if self.held_out:
                raise ValueError(f"held_out is {self.held_out}, allowed is 0: who trains on the rows holds out")
            if self.config.keep not in KEEP_WORDS:
                raise ValueError(f"keep is {self.config.keep!r}, allowed are {', '.join(KEEP_WORDS)}")
        elif not 0.02 <= self.held_out <= 0.4:
            raise ValueError(f"held_out is {self.held_out}, allowed is 0.02 to 0.4")

    @property
    def trains(self) -> Trains:
        return trains_of(self.config)

    @property
    def reward_specs(self) -> tuple[RewardSpec, ...]:
        """Where rewards come from, those of audits first."""
        audits = read_rewards(self.config.audit_reward) if self.config.audit_reward else ()
        return (*audits, *self.config.sources)

    @property
    def names_server_file(self) -> bool:
        """Whether prompts are those of a file on the server."""
        return Path(self.prompts).is_absolute()

    @property
    def needs_admin(self) -> bool:
        """Whether it runs code of one's own, calls another machine, or reads any file of the server.

        A rubric may do all of that: its judge is an endpoint or a function, its checks are code.
        """
        kinds = {spec.kind for spec in self.reward_specs}
        of_suite = names_files(self.suite)
        return self.names_server_file or of_suite or not kinds.isdisjoint({"function", "server", "rubric"})

    @property
    def reward_model(self) -> str:
        """The reward model for the report, that of audits first; empty for none."""
        return next((spec.model_source for spec in self.reward_specs if spec.kind == "model"), "")

    def title(self, runs: Mapping[str, str]) -> str:
        """Title for people: what is done, the policy, its loss, the rewards; `runs` names models by their folders."""
        config = self.config
        model = runs.get(config.model) or model_name(config.model)
        by = "by " + " + ".join(reward_words(reward, runs) for reward in config.reward)
        if isinstance(config, BonConfig):
            return f"Best of {config.n}, {model}, {KEEP_WORDS[config.keep]}, {by}"
        loss = ""
        if isinstance(config, GrpoConfig | OnlineDpoConfig) and config.loss != default_of(self.trains, "loss"):
            loss = config.loss
        words = TRAININGS[self.trains].words
        return ", ".join(filter(None, (words[:1].upper() + words[1:], model, mode_of(config), loss, by)))


def reward_words(text: str, runs: Mapping[str, str]) -> str:
    """A reward for people, with its weight where that is not 1; `runs` names models by their folders."""
    try:
        spec = read_reward(text)
    except ValueError:  # of an earlier run, whose folder is gone
        return text[:80]
    name = runs.get(spec.target) or model_name(spec.target) if spec.kind == "model" else spec.target
    name = f"{name}:{spec.argument}" if spec.argument else name
    return f"{spec.weight:g} {name[:80]}" if spec.weight != 1 else name[:80]


def uploaded_name(name: str) -> str:
    """What a file of prompts is called in the run directory: by its form alone, whatever its owner called it.

    Raises:
        ValueError: if its name says no form that can be read.
    """
    name = name.lower()
    packed = ".gz" if name.endswith(".gz") else ""
    suffix = Path(name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise ValueError(f"{name} ends in {suffix!r}, allowed are {', '.join(SUFFIXES)}, and .gz behind them")
    return f"prompts{suffix}{packed}"
