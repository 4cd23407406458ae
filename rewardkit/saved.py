"""A reward model on disk and ready to score.

    config.json, model.safetensors, tokenizer files    an ordinary AutoModelForSequenceClassification with one label
    rewardkit.json                                     what plain transformers does not keep (`Card`)
    heads.safetensors                                  (K, h) member heads, where members are heads

With heads as members the ordinary model's head is their mean, so its score is exactly the ensemble's mean reward.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from rewardkit.batch import token_budget_batches
from rewardkit.data import Message, content_id
from rewardkit.model import RewardScorer, head_of, load_classifier
from rewardkit.reward import Reward
from rewardkit.runs import write_text
from rewardkit.tokens import load_tokenizer, tokenise

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a saved reward model says of itself in `rewardkit.json`.

    Attributes:
        num_members: K.
        max_length: tokens kept of a conversation.
        template: hash of the chat template it was trained with.
        score_mean, score_std: of the mean reward on held-out chosen completions; normalised = (r - mean) / std.
        calibration: {"kind": "temperature", "temperature": T}, {"kind": "isotonic", "x": [...], "y": [...]} or {}.
        likelihood: the likelihood it was trained with, and its tie parameter where it has one.
        criteria: names of the criterion heads, in the order of their rows in heads.safetensors after the K members.
        data_hash: of the preferences it was trained on.
        versions: of rewardkit, torch and transformers.
    """

    num_members: int = 1
    max_length: int = 1024
    template: str = ""
    score_mean: float = 0.0
    score_std: float = 1.0
    calibration: Mapping[str, object] = field(default_factory=dict)
    likelihood: Mapping[str, object] = field(default_factory=dict)
    criteria: Sequence[str] = ()
    data_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def save(scorer: RewardScorer, tokenizer: PreTrainedTokenizerBase, card: Card, out_dir: str | Path) -> None:
    """Writes the model so that plain transformers scores the same; see the module's docstring."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    head = head_of(scorer.classifier)
    with torch.no_grad():
        head.weight.copy_(scorer.heads[: card.num_members].mean(0, keepdim=True).to(head.weight.dtype))
        if head.bias is not None:
            head.bias.zero_()
    scorer.classifier.config.pad_token_id = tokenizer.pad_token_id
    scorer.classifier.save_pretrained(out_dir)
    tokenizer.save_pretrained(out_dir)
    save_file({"heads": scorer.heads.detach().cpu().contiguous()}, out_dir / "heads.safetensors")
    values = asdict(card) | {"template": content_id(tokenizer.chat_template), "versions": versions()}
    write_text(out_dir / "rewardkit.json", json.dumps(values, indent=1))


def versions() -> dict[str, str]:
    """Of what decides the numbers."""
    return {name: importlib.metadata.version(name) for name in ("tiebreak", "torch", "transformers")}


class RewardModel:
    """A saved reward model ready to score; a `RewardFn`."""

    def __init__(self, scorer: RewardScorer, tokenizer: PreTrainedTokenizerBase, card: Card) -> None:
        self.scorer = scorer.eval()
        self.tokenizer = tokenizer
        self.card = card

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> RewardModel:
        """Loads what `save` wrote, or any sequence classifier with one label, which is then a single member.

        Raises:
            ValueError: if the tokenizer's chat template is not the one the model was trained with.
        """
        path = Path(path)
        tokenizer = load_tokenizer(path)
        card = Card()
        if (path / "rewardkit.json").exists():
            card = Card(**json.loads((path / "rewardkit.json").read_text()))
            if card.template != content_id(tokenizer.chat_template):
                raise ValueError(f"{path}: the chat template is not the one this model was trained with")
        classifier = load_classifier(path, tokenizer, dtype=dtype).to(device)
        scorer = RewardScorer(classifier)
        heads = path / "heads.safetensors"
        weights = load_file(heads)["heads"] if heads.exists() else head_of(classifier).weight.detach().float()
        scorer.heads = torch.nn.Parameter(weights.to(device))
        return cls(scorer, tokenizer, card)

    @torch.inference_mode()
    def __call__(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], *, token_budget: int = 8192
    ) -> Reward:
        """Rewards of B completions, one prompt each, by every member; batches by length, results in the given order."""
        rows, _ = tokenise(prompts, [[text] for text in completions], self.tokenizer, max_length=self.card.max_length)
        members = np.zeros((self.card.num_members, len(rows)))
        for micro in token_budget_batches([row.num_tokens for row in rows], token_budget=token_budget):
            scores = self.scorer([rows[index] for index in micro])
            members[:, micro] = scores[: self.card.num_members].double().cpu().numpy()
        return Reward(members=members)
