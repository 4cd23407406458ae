"""`rewardkit.json`: what a saved reward model says of itself. No torch, so that any machine can read it."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from rewardkit.run.directory import write_text
from rewardkit.run.model_folder import ADAPTER_FILE, HUB_ID, model_folder

Kind = Literal["heads", "head", "lora", "full", "tfidf", "steps"]
CARD_FILE = "rewardkit.json"


@dataclass(frozen=True, kw_only=True)
class Card:
    """What `rewardkit.json` holds.

    Attributes:
        kind: what a member has of its own: `heads` a head on a trained trunk, `head` a head drawn from the posterior of
            a head on a frozen trunk, `lora` adapters and a head, `full` all weights; `tfidf` is a head on TF-IDF
            features drawn from its posterior; `steps` is a head as well, of a process reward model.
        num_members: K.
        max_length: tokens kept of a conversation.
        keeps_marks: whether a longer one keeps BOS, system prompt and role marks (`rewardkit.network.shortening`);
            models of before keep its last tokens, whatever they are.
        template: hash of the chat template it was trained with.
        score_mean, score_std: of the mean reward on held-out chosen completions; normalised = (r - mean) / std.
        member_offsets: (K,) by how much each member rewards these more than the members' mean; a likelihood of pairs
            leaves that open, so it says nothing of a single completion. Empty where it was not measured.
        calibration: {"kind": "temperature", "temperature": T}, {"kind": "isotonic", "x": [...], "y": [...]} or {}.
        likelihood: the likelihood it was trained with, its tie parameter where it has one, its fit where it has one.
        features: what a TF-IDF model counts, `words` or `words, length` for example; empty for other kinds and where it
            was not recorded, when the length was always counted.
        criteria: names of the criterion heads, in the order of their rows after the K members.
        steps: of a process reward model, how it reads steps: `separator` behind each, `plain_prompt` (no chat
            template), and `calibration` of a step's logit, in the form of the field of that name, which is of pairs
            and empty here. Empty for other kinds.
        data_hash: of the preferences it was trained on.
        versions: of what decides the numbers.
    """

    kind: Kind = "heads"
    num_members: int = 1
    max_length: int = 1024
    keeps_marks: bool = False
    template: str = ""
    score_mean: float = 0.0
    score_std: float = 1.0
    member_offsets: Sequence[float] = ()
    calibration: Mapping[str, Any] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    features: str = ""
    criteria: Sequence[str] = ()
    steps: Mapping[str, Any] = field(default_factory=dict)
    data_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_statistics(self) -> bool:
        """Whether its scores' mean and standard deviation were measured."""
        return (self.score_mean, self.score_std) != (0.0, 1.0)

    def normalised(self, rewards: np.ndarray) -> np.ndarray:
        """Rewards on the scale where held-out chosen completions have mean 0 and standard deviation 1."""
        return (rewards - self.score_mean) / self.score_std

    def normalised_members(self, members: np.ndarray) -> np.ndarray:
        """(K, B) rewards by members on that scale, without their offsets: what is left between them is disagreement."""
        offsets = np.array(self.member_offsets) if len(self.member_offsets) == len(members) else np.zeros(len(members))
        return self.normalised(members - offsets[:, None])

    def write(self, folder: Path) -> None:
        """Writes `rewardkit.json` with the versions of now."""
        values = asdict(self) | {"versions": versions()}
        write_text(folder / CARD_FILE, json.dumps(values, ensure_ascii=False, indent=1))


def read_card(folder: str | Path) -> Card:
    """The card of a saved reward model; one with defaults where the folder (or hub id) has none.

    A classifier of tokens without one is a process reward model, and reads steps as TRL's PRMTrainer lays them out.

    Raises:
        ValueError: if it is not readable, or says what this version does not know.
    """
    path = (model_folder(folder) if HUB_ID.fullmatch(str(folder)) else Path(folder)) / CARD_FILE
    if not path.exists():
        if _classifies_tokens(path.parent):
            return Card(kind="steps", keeps_marks=True, steps={"separator": "\n", "plain_prompt": True})
        return Card(keeps_marks=True)
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"{path}: holds {type(values).__name__}, allowed is an object")
    if unknown := sorted(set(values) - {attribute.name for attribute in fields(Card)}):
        raise ValueError(f"{path}: unknown fields {', '.join(unknown)}; it may be of a newer version")
    if (kind := values.get("kind", "heads")) not in get_args(Kind):
        raise ValueError(f"{path}: a model of kind {kind!r}, allowed are {', '.join(get_args(Kind))}")
    values["criteria"] = tuple(values.get("criteria", ()))
    return Card(**values)


def _classifies_tokens(folder: Path) -> bool:
    """Whether a model without a card, or an adapter of one, says that it classifies tokens."""
    for name in (ADAPTER_FILE, "config.json"):
        if (folder / name).exists():
            with suppress(ValueError, AttributeError):  # whoever reads the model says what is wrong with it
                values = json.loads((folder / name).read_text(encoding="utf-8"))
                kinds = [str(values.get("task_type")), *map(str, values.get("architectures") or ())]
                return any(kind == "TOKEN_CLS" or kind.endswith("ForTokenClassification") for kind in kinds)
    return False


def member_offsets(rewards: np.ndarray) -> tuple[float, ...]:
    """Computes `Card.member_offsets` from (K, N) member rewards of the held-out chosen completions."""
    means = rewards.mean(1)
    return tuple((means - means.mean()).tolist())


def versions() -> dict[str, str]:
    """Returns the versions of installed packages that affect the numbers; a source tree counts as `uninstalled`."""
    by_package = {"tiebreak": "uninstalled"}
    for name in ("tiebreak", "torch", "transformers", "scikit-learn"):
        try:
            by_package[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_package
