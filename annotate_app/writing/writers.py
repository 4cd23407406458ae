"""Who can write: the policies of a project's runs, and the models in folders that these began from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from annotate_app.access import Actor
from annotate_app.store.store import Store
from annotate_app.trainings.runs import ModelRun, list_policies, list_runs


@dataclass(frozen=True, kw_only=True)
class Writer:
    """A policy that can be asked.

    Attributes:
        key: how a request names it: the number of its run, `12`, or of the run that began from it, `12-base`.
        source: what its answers are called by in a project: `run-12`, `base-of-run-12`.
        title: for people.
    """

    key: str
    source: str
    title: str
    folder: Path


@dataclass(frozen=True, kw_only=True)
class Models:
    """What a project has at hand: writers by key, newest first, and reward models by the number of their run."""

    writers: Mapping[str, Writer]
    scorers: Mapping[str, ModelRun]

    def choose(self, keys: Sequence[str]) -> list[Writer]:
        """The writers of these keys.

        Raises:
            ValueError: if there is none of one, naming those there are.
        """
        if missing := next((key for key in keys if key not in self.writers), None):
            there = ", ".join(self.writers) or "none"
            raise ValueError(f"run {missing} is no policy of this project that can write; there are {there}")
        return [self.writers[key] for key in keys]

    def scorer(self, key: str) -> ModelRun | None:
        """The reward model of a run; None for an empty key.

        Raises:
            ValueError: if there is none, naming those there are.
        """
        if key and key not in self.scorers:
            there = ", ".join(self.scorers) or "none"
            raise ValueError(f"run {key} is no reward model of this project; there are {there}")
        return self.scorers[key] if key else None


def list_models(store: Store, actor: Actor, project_id: int) -> Models:
    """The models of a project's finished runs. Lead or above.

    A base is listed where it is a folder that is there and no run of the project.
    """
    actor.require("lead", "letting policies write")
    runs = list_runs(store, actor, project_id)
    policies = list_policies(runs)
    known = {run.model.resolve() for run in policies}
    writers: dict[str, Writer] = {}
    for run in policies:
        number = str(run.job.id)
        writers[number] = Writer(key=number, source=f"run-{number}", title=run.name, folder=run.model)
    for run in policies:
        base = Path(str(run.option("model") or "")).resolve()
        is_there = any((base / name).is_file() for name in ("config.json", "adapter_config.json"))
        if run.option("model") and is_there and base not in known:
            known.add(base)
            writers[f"{run.job.id}-base"] = Writer(
                key=f"{run.job.id}-base",
                source=f"base-of-run-{run.job.id}",
                title=f"{base.name}: what run {run.job.id} began from",
                folder=base,
            )
    return Models(writers=writers, scorers={str(run.job.id): run for run in runs if run.is_scorer})
