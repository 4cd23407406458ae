"""One model out of several that began alike: the average of their weights.

theta = (1 / M) sum_m theta_m.  WARM, Rame et al. 2024, eq. 1 (arXiv 2401.12187): models fine-tuned from one
initialisation can be averaged, and the average is more robust than each; of models that began differently it is noise.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from rewardkit.network.classifier import RewardScorer, load_classifier
from rewardkit.network.models import head_of
from rewardkit.network.tokens import load_tokenizer
from rewardkit.reward.metadata import CARD_FILE, Card, read_card
from rewardkit.reward.reward_model import save

if TYPE_CHECKING:
    from transformers import PreTrainedModel

logger = logging.getLogger(__name__)


def merge(folders: Sequence[str | Path], out_dir: str | Path) -> Card:
    """Writes the average of saved reward models as one ordinary model with one member; returns its card.

    Every model counts alike, with the mean of its members' heads. Calibration and score scale are of no single model
    and left out.

    Raises:
        ValueError: naming two models that differ in architecture, tokenizer, template, criteria or shapes.
    """
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    first, *others = map(Path, folders)
    for other in others:
        check_alike(first, other)
    tokenizer = load_tokenizer(first)
    average = averaged([first, *others], partial(load_classifier, tokenizer=tokenizer, dtype=torch.float32))
    heads = torch.stack([heads_of(folder).double() for folder in (first, *others)]).mean(0)
    scorer = RewardScorer(average)
    scorer.heads = torch.nn.Parameter(heads.float())
    card = read_card(first)
    merged = Card(
        max_length=card.max_length,
        keeps_marks=card.keeps_marks,
        criteria=card.criteria,
        likelihood={"name": "merged"},
    )
    save(scorer, tokenizer, merged, out_dir)
    return merged


def averaged(folders: Sequence[Path], load: Callable[[Path], PreTrainedModel]) -> PreTrainedModel:
    """The first of saved models, with the average of the weights of all of them.

    Raises:
        ValueError: naming two models that differ in shapes.
    """
    first, *others = folders
    average = load(first)
    total = {name: tensor.double() for name, tensor in average.state_dict().items() if tensor.is_floating_point()}
    for other in others:
        weights = load(other).state_dict()
        for name, tensor in total.items():
            if name not in weights or weights[name].shape != tensor.shape:
                raise ValueError(f"{first} and {other} cannot be merged: {name} differs in shape")
            tensor += weights[name]
    average.load_state_dict({name: (tensor / len(folders)).float() for name, tensor in total.items()}, strict=False)
    return average


def heads_of(folder: Path) -> Tensor:
    """(1 + C, h) mean of the members' heads, then the criteria's."""
    file = folder / "heads.safetensors"
    if not file.exists():
        tokenizer = load_tokenizer(folder)
        return head_of(load_classifier(folder, tokenizer, dtype=torch.float32)).weight.detach().float()
    heads = load_file(file)["heads"]
    num_criteria = len(read_card(folder).criteria)
    split = len(heads) - num_criteria
    return torch.cat((heads[:split].mean(0, keepdim=True), heads[split:]))


def check_alike(first: Path, other: Path) -> None:
    """Raises ValueError if two saved models cannot be averaged."""
    for folder in (first, other):
        if not all((folder / name).exists() for name in ("config.json", CARD_FILE)):
            raise ValueError(f"{folder} holds no neural reward model made here, with config.json and {CARD_FILE}")
        if read_card(folder).kind == "steps":
            raise ValueError(f"{folder} is a process reward model, and these are not merged")
    configs = [json.loads((folder / "config.json").read_text(encoding="utf-8")) for folder in (first, other)]
    ignored = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}
    for name in sorted(set(configs[0]) | set(configs[1]) - ignored):
        if name not in ignored and configs[0].get(name) != configs[1].get(name):
            values = f"{configs[0].get(name)!r} and {configs[1].get(name)!r}"
            raise ValueError(f"{first} and {other} cannot be merged: {name} is {values}")
    tokenizers = [load_tokenizer(folder) for folder in (first, other)]
    if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
        raise ValueError(f"{first} and {other} cannot be merged: their tokenizers differ")
    if tokenizers[0].chat_template != tokenizers[1].chat_template:
        raise ValueError(f"{first} and {other} cannot be merged: their chat templates differ")
    criteria = [read_card(folder).criteria for folder in (first, other)]
    if read_card(first).keeps_marks != read_card(other).keeps_marks:
        raise ValueError(f"{first} and {other} cannot be merged: they shorten long conversations differently")
    if criteria[0] != criteria[1]:
        raise ValueError(f"{first} and {other} cannot be merged: their criteria are {criteria[0]} and {criteria[1]}")


def write_merged_card(folder: Path, card: Card) -> None:
    """Gives a merged model another card, its template kept."""
    assert (folder / CARD_FILE).exists()
    replace(card, template=read_card(folder).template).write(folder)
