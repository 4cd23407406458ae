"""What completions are rewarded by, as the command line says it: sources, weights, penalties. Nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from alignment.config.training import check_least
from alignment.verifiers.verifiers import VERIFIERS
from rewardkit.config import parse_criterion_weights
from rewardkit.reward.metadata import read_card
from rewardkit.reward.reward import Penalty, check_criterion_weights
from rewardkit.run.model_folder import HUB_ID, model_folder

Kind = Literal["model", "function", "verifier", "server", "rubric"]
StepReward = Literal["min", "product", "last", "mean", "sum", "steps"]
FORMS = (
    "[WEIGHT*] and then the folder or hub id of a reward model, FOLDER#CRITERION=WEIGHT,..., module:function, "
    "path/file.py:function, "
    "http://..., https://..., rubric:FILE, or "
    f"a verifier: {', '.join(verifier.form for verifier in VERIFIERS.values())}"
)
_WEIGHTED = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\*(.+)", re.DOTALL)
_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FILE_FUNCTION = re.compile(r".+\.py:[A-Za-z_]\w*")


@dataclass(frozen=True, kw_only=True)
class RewardSpec:
    """One source of rewards, as `--reward` names it.

    Attributes:
        kind: what it is.
        target: the folder, `module:function`, the name of the verifier, the URL, or the rubric's file.
        argument: of a verifier, the text after its colon; of a reward model, the text after `#`: the weights of its
            criteria, empty for the overall head alone.
        weight: what its rewards are multiplied by, not 0.
        name: what metrics and errors call it by.
    """

    kind: Kind
    target: str
    argument: str = ""
    weight: float = 1.0
    name: str

    @property
    def criterion_weights(self) -> dict[str, float]:
        """Weights of the reward model's criterion heads, see `rewardkit.reward.reward`; empty for its overall head."""
        return parse_criterion_weights(self.argument) if self.kind == "model" else {}

    @property
    def model_source(self) -> str:
        """A reward model with its criteria and without its weight, as `--reward` takes it."""
        return f"{self.target}#{self.argument}" if self.argument else self.target


def read_reward(text: str) -> RewardSpec:
    """Reads one `--reward`; see `FORMS`.

    A verifier's name goes before a folder's or module's; `./json` is the folder.

    Raises:
        ValueError: if it is of no known form, or a weight or an argument is not allowed.
    """
    weighted = _WEIGHTED.fullmatch(text)
    weight, what = (float(weighted[1]), weighted[2]) if weighted else (1.0, text)
    if not math.isfinite(weight) or weight == 0:
        raise ValueError(f"--reward {text}: the weight is {weight:g}, allowed is any number but 0")
    name, _, argument = what.partition(":")
    if what.startswith(("http://", "https://")):
        return RewardSpec(kind="server", target=what, weight=weight, name=_metric_name(_host(what)))
    if what.startswith("rubric:"):
        if not Path(argument).is_file():
            raise ValueError(f"--reward {text}: there is no file {argument}")
        return RewardSpec(kind="rubric", target=argument, weight=weight, name=_metric_name(Path(argument).stem))
    if name in VERIFIERS:
        try:
            VERIFIERS[name].make(argument)
        except ValueError as error:
            raise ValueError(f"--reward {text}: {error}") from error
        return RewardSpec(kind="verifier", target=name, argument=argument, weight=weight, name=name)
    if _FILE_FUNCTION.fullmatch(what):
        path, _, function = what.rpartition(":")
        if not Path(path).is_file():
            raise ValueError(f"--reward {text}: there is no file {path}")
        return RewardSpec(kind="function", target=what, weight=weight, name=function)
    folder, mark, criteria = _split_criteria(what)
    if folder and (Path(folder).is_dir() or HUB_ID.fullmatch(folder)):
        try:
            model_folder(folder)
        except FileNotFoundError as error:
            raise ValueError(f"--reward {text}: {error}; allowed is {FORMS}") from error
        if mark:
            _check_criteria(text, folder, criteria)
        name = _metric_name(Path(folder).resolve().name)
        return RewardSpec(kind="model", target=folder, argument=criteria, weight=weight, name=name)
    if _FUNCTION.fullmatch(what):
        return RewardSpec(kind="function", target=what, weight=weight, name=what.rpartition(":")[2])
    raise ValueError(f"--reward {text}: neither a folder nor any other source of rewards; allowed is {FORMS}")


def read_rewards(texts: Sequence[str]) -> tuple[RewardSpec, ...]:
    """Reads every `--reward`; sources of equal name get the suffixes `_2`, `_3`, ...

    Raises:
        ValueError: as `read_reward`, and if there is none.
    """
    if not texts:
        raise ValueError(f"reward is missing: name one source or more; allowed is {FORMS}")
    specs: list[RewardSpec] = []
    for text in texts:
        spec = read_reward(text)
        taken, number, name = {other.name for other in specs}, 1, spec.name
        while name in taken:
            number += 1
            name = f"{spec.name}_{number}"
        specs.append(RewardSpec(**{**vars(spec), "name": name}))
    return tuple(specs)


def named_bound(option: str, text: str, specs: Sequence[RewardSpec]) -> tuple[str, float | None]:
    """Reads NAME or NAME=LEAST of a `--gate` or `--constraint`, NAME being a source as metrics call it.

    Raises:
        ValueError: if LEAST is no number, or NAME no source or one with a weight: a gate or a constraint has none.
    """
    name, equals, number = text.rpartition("=")
    name = name if equals else text
    try:
        least = float(number) if equals else None
    except ValueError:
        least = math.nan
    if least is not None and not math.isfinite(least):
        raise ValueError(f"{option} is {text!r}, allowed is NAME=LEAST with a number")
    by_name = {spec.name: spec for spec in specs}
    if name not in by_name:
        raise ValueError(f"{option} {text!r} names no reward, the rewards are {', '.join(by_name)}")
    if by_name[name].weight != 1:
        raise ValueError(f"{option} {text!r}: the reward has a weight, {by_name[name].weight:g}, allowed is none")
    return name, least


def read_gates(texts: Sequence[str], specs: Sequence[RewardSpec]) -> dict[str, float | None]:
    """Reads every `--gate`, NAME=LEAST or NAME: by source, from which reward on it is open; None multiplies by it.

    Raises:
        ValueError: as `named_bound`, if one is named twice, or if no source is left behind the gates.
    """
    gates: dict[str, float | None] = {}
    for text in texts:
        name, least = named_bound("gate", text, specs)
        if name in gates:
            raise ValueError(f"gate {text!r}: {name} is a gate already")
        gates[name] = least
    if gates and len(gates) == len(specs):
        raise ValueError("every reward is a gate: name one that lies behind them")
    return gates


def read_reward_model(text: str) -> RewardSpec:
    """Reads a `--reward` that takes nothing but a reward model: its folder, or FOLDER#CRITERION=WEIGHT,...

    Whether there is such a folder is left to whoever loads it.

    Raises:
        ValueError: if the weights of its criteria are not allowed.
    """
    folder, mark, criteria = _split_criteria(text)
    if mark:
        _check_criteria(text, folder, criteria)
    return RewardSpec(kind="model", target=folder, argument=criteria, name=_metric_name(Path(folder).name))


def _split_criteria(text: str) -> tuple[str, str, str]:
    """Folder, `#` and weights of criteria. A `#` belongs to the folder's name unless a folder ends right before it."""
    name, mark, weights = text.partition("#")
    if mark and HUB_ID.fullmatch(name) and not Path(text).is_dir():
        return name, mark, weights
    if not Path(text).is_dir():
        for mark in reversed([match.start() for match in re.finditer("#", text)]):
            if mark and Path(text[:mark]).is_dir():
                return text[:mark], "#", text[mark + 1 :]
    return text, "", ""


def _check_criteria(text: str, folder: str, weights: str) -> None:
    """Raises ValueError, naming the option and its value, if a reward model cannot be used with these weights."""
    try:
        criteria = read_card(folder).criteria
        if not criteria:
            raise ValueError(f"{folder} has no heads of criteria, which `rewardkit train --criteria` trains")
        parsed = parse_criterion_weights(weights)
        if not parsed:
            raise ValueError(f"no weight after the #, allowed is NAME=NUMBER,... of overall, {', '.join(criteria)}")
        check_criterion_weights(parsed, criteria)
    except ValueError as error:
        raise ValueError(f"--reward {text}: {error}") from error


def _host(url: str) -> str:
    """Host and port of a reward server. Errors show no name and no password before an @."""
    shown = f"{url[: url.index('//') + 2]}***@{url.rpartition('@')[2]}" if "@" in url else url
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"--reward {shown}: {error}") from error
    if not host or parts.username is not None:
        raise ValueError(f"--reward {shown}: the address has to name a host, and no user")
    return f"{host}:{port}" if port else host


def _metric_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)


@dataclass(frozen=True, kw_only=True)
class RewardOptions:
    """How completions are rewarded.

        total = gates(conservative(sum_i weight_i reward_i)) - length term - repetition term - missing-EOS term

    Attributes:
        reward: a source of rewards: the folder of a reward model, a process reward model or an ensemble, perhaps with
            weights of its criteria (FOLDER#helpful=1,safe=2), module:function, path/file.py:function, the URL of a
            reward server, a rubric that a judge grades by (rubric:FILE), or a verifier (numeric, math, code,
            regex:PATTERN, json, length:WORDS, ifeval); a weight may stand before it, as in 0.5*numeric; given
            repeatedly, the weighted rewards are added.
        gate: a reward that is not added but decides whether the others count: NAME=LEAST gives gate_reward in place of
            their sum where it is below LEAST (0 unless safe), NAME multiplies their sum by it, held within 0 to 1; NAME
            is the reward's name in metrics; may be given repeatedly.
        gate_reward: what a closed gate gives; a sum that is lower already stays as it is.
        penalty: what stands for the members of an ensemble: their mean, the worst case (wco), the mean less their
            variance (uwo), the mean less their variance over the reward's own spread among the completions of a prompt
            (uwo_scaled), or the entropic mean.
        penalty_strength: factor of the variance (uwo) or risk aversion (entropic), per unit of reward; of uwo_scaled a
            number without a unit, 0.1 to begin with.
        step_reward: what a completion is worth where a source rewards its steps or tokens: the least of them, their
            product, the last, their mean or sum; or steps, their sum with each one credited at its own end (ppo, grpo).
        steps_by: what parts the steps of a completion, for a process reward model say: line, blank_line, sentence, or a
            text that stands between two steps.
        normalise_rewards: whether reward models are scaled by their saved statistics to mean 0, standard deviation 1.
        length_penalty: reward subtracted for each token of a completion beyond length_free.
        length_free: number of tokens of a completion that cost nothing.
        repetition_penalty: reward subtracted, times the share of repeated 4-grams of words.
        missing_eos_penalty: reward subtracted from a completion that was cut before it ended.
        reward_timeout_s: seconds that a function or a server has for one batch.
    """

    reward: list[str] = field(default_factory=list, metadata={"repeated": True})
    gate: list[str] = field(default_factory=list, metadata={"repeated": True})
    gate_reward: float = 0.0
    penalty: Penalty = "mean"
    penalty_strength: float = 1.0
    step_reward: StepReward = "min"
    steps_by: str = "line"
    normalise_rewards: bool = True
    length_penalty: float = 0.0
    length_free: int = 0
    repetition_penalty: float = 0.0
    missing_eos_penalty: float = 0.0
    reward_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        check_least(self, length_penalty=0, length_free=0, repetition_penalty=0, missing_eos_penalty=0)
        for name in ("penalty_strength", "reward_timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is more than 0")
        for name in ("length_penalty", "repetition_penalty", "missing_eos_penalty"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is 0 or more")
        if not self.steps_by:
            raise ValueError("steps_by is empty, allowed are line, blank_line, sentence, and a text that parts steps")
        if self.length_free and not self.length_penalty:
            raise ValueError(f"length_free is {self.length_free} without a length_penalty")
        if not math.isfinite(self.gate_reward):
            raise ValueError(f"gate_reward is {self.gate_reward}, allowed is any number")
        if self.reward:
            assert self.gates is not None
        elif self.gate:
            raise ValueError("gate names rewards, and none is given")
        if self.gate and self.step_reward == "steps":
            raise ValueError("step_reward is steps with a gate: a gate decides over a whole completion's reward")

    @property
    def gates(self) -> dict[str, float | None]:
        """By source, from which reward on it is open, None where it multiplies.

        Raises:
            ValueError: as `read_gates`.
        """
        return read_gates(self.gate, self.sources)

    @property
    def sources(self) -> tuple[RewardSpec, ...]:
        """The sources.

        Raises:
            ValueError: as `read_rewards`.
        """
        return read_rewards(self.reward)
