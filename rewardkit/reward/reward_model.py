"""A reward model on disk and ready to score, and an ensemble of whole ones (`MembersReward`).

    config.json, model.safetensors, tokenizer files    an ordinary AutoModelForSequenceClassification with one label
    rewardkit.json                                     what plain transformers does not keep (`Card`)
    heads.safetensors                                  (K + C, h) member heads, then criterion heads; (K + C,) biases
    members.safetensors                                with adapters as members, each of them
                                                       (`rewardkit.reward.lora_ensemble`)
    members/0, members/1, ...                          with whole models as members, each of them as above

A folder without `rewardkit.json` is somebody else's model and scores as plain transformers scores it: at its last token
that is not its pad token, with its head's bias, up to the length that its positions allow.

With heads as members the ordinary model's head is their mean, so its score is exactly the ensemble's mean reward; with
adapters its weights are their mean too, and its score is near it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rewardkit.data.records import Message, content_id
from rewardkit.distributed.collectives import default_device
from rewardkit.distributed.merged_weights import merged_weights, save_weights
from rewardkit.network.classifier import RewardScorer, check_scores, load_classifier, own_head
from rewardkit.network.layout import trial_rows
from rewardkit.network.models import head_of, num_positions
from rewardkit.network.packed_rows import Branched, branches_within, token_budget_batches
from rewardkit.network.tokens import load_tokenizer, tokenise
from rewardkit.reward.lora_ensemble import MEMBERS_FILE, LoraEnsemble, read_ensemble
from rewardkit.reward.metadata import CARD_FILE, Card, read_card
from rewardkit.reward.reward import Reward, check_criterion_weights, combine
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rewardkit.network.packed_rows import Branched


# Tokens of a conversation for a model from elsewhere whose positions know no end.
LONGEST_OF_OTHERS = 4096
# Tokens of a batch when scoring: on a CPU its activations stay in the cache, a GPU has to be filled.
TOKENS_ON_CPU, TOKENS_ON_GPU = 1024, 16384


def save(
    scorer: RewardScorer,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    out_dir: str | Path,
    *,
    base: PreTrainedModel | None = None,
) -> None:
    """Writes the model so that plain transformers scores the same; see the module's docstring.

    Args:
        base: the classifier to write where the scorer holds its weights narrower; for members that are adapters as it
            was before these.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    if isinstance(scorer, LoraEnsemble):
        scorer.write_members(out_dir, base)
    elif base is not None:
        scorer.classifier = base
    head = head_of(scorer.classifier)
    with torch.no_grad():
        head.weight.copy_(scorer.heads[: card.num_members].mean(0, keepdim=True).to(head.weight.dtype))
        if head.bias is not None:
            head.bias.copy_(scorer.bias[: card.num_members].mean(0, keepdim=True))
    scorer.classifier.config.pad_token_id = tokenizer.pad_token_id
    scorer.classifier.save_pretrained(out_dir)
    save_beside({"heads": scorer.heads.detach(), "bias": scorer.bias}, tokenizer, card, out_dir)


def all_weights(scorer: RewardScorer) -> dict[str, dict[str, Tensor]]:
    """What `save_weights_of` writes, by file: of the ordinary model, the heads, and members that are adapters.

    Sharded weights stay sharded; every process has to call it.
    """
    weights = {
        "model": merged_weights(scorer.classifier),
        "heads": {"heads": scorer.heads.detach(), "bias": scorer.bias},
    }
    return weights | ({"members": scorer.members()} if isinstance(scorer, LoraEnsemble) else {})


def save_weights_of(
    scorer: RewardScorer,
    weights: Mapping[str, Mapping[str, Tensor]],
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    out_dir: Path,
) -> Mapping[str, Tensor]:
    """As `save`, of a scorer whose weights are sharded; returns the weights of the ordinary model, with its head.

    Args:
        weights: those of `all_weights`, put together of their shards.
    """
    heads, model = weights["heads"], dict(weights["model"])
    head = head_of(scorer.classifier)
    name = next(name for name, module in scorer.classifier.named_modules() if module is head)
    for part, values in (("weight", heads["heads"]), ("bias", heads["bias"])):
        if f"{name}.{part}" in model:
            mean = values[: card.num_members].mean(0, keepdim=True)
            model[f"{name}.{part}"] = mean.to(model[f"{name}.{part}"].dtype)
    scorer.classifier.config.pad_token_id = tokenizer.pad_token_id
    save_weights(scorer.classifier, model, out_dir)
    if "members" in weights:
        save_file(dict(weights["members"]), out_dir / MEMBERS_FILE)
    save_beside(heads, tokenizer, card, out_dir)
    return model


def save_beside(heads: Mapping[str, Tensor], tokenizer: PreTrainedTokenizerBase, card: Card, out_dir: Path) -> None:
    """Writes tokenizer, heads and card beside the ordinary model."""
    tokenizer.save_pretrained(out_dir)
    save_file({name: tensor.cpu().contiguous() for name, tensor in heads.items()}, out_dir / "heads.safetensors")
    replace(card, template=content_id(tokenizer.chat_template)).write(out_dir)


class RewardModel:
    """A saved reward model ready to score; a `RewardFn`."""

    def __init__(
        self,
        scorer: RewardScorer,
        tokenizer: PreTrainedTokenizerBase,
        card: Card,
        *,
        criterion_weights: Mapping[str, float] | None = None,
    ) -> None:
        check_criterion_weights(criterion_weights or {}, card.criteria)
        self.scorer = scorer.eval()
        self.tokenizer = tokenizer
        self.card = card
        self.criterion_weights = criterion_weights or {}
        self.num_cut = 0  # conversations scored so far that were longer than the card says

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
        criterion_weights: Mapping[str, float] | None = None,
        in_bf16: bool = False,
    ) -> RewardModel:
        """Loads what `save` wrote, or any sequence classifier with one label, which is then a single member.

        Args:
            device: None is the GPU where there is one.
            criterion_weights: of the heads in the reward, see `rewardkit.reward.reward`; None is the overall head.
            in_bf16: whether matrices are held in bf16, see `rewardkit.weights.held`.

        Raises:
            ValueError: if the tokenizer's chat template is not the one the model was trained with, or the folder holds
                no reward head.
        """
        path = Path(path)
        device = device or default_device()
        if not (path / CARD_FILE).exists():
            model = cls._load_other(path, device=device, dtype=dtype, criterion_weights=criterion_weights)
        else:
            model = cls._load_own(path, device=device, dtype=dtype, criterion_weights=criterion_weights)
        if in_bf16:
            model.scorer.requires_grad_(False)
            rows = trial_rows(model.scorer.classifier.config)
            hold_in_bf16(model.scorer.classifier, must=False, run=partial(model.scorer, rows))
        return model

    @classmethod
    def _load_own(
        cls, path: Path, *, device: torch.device, dtype: torch.dtype, criterion_weights: Mapping[str, float] | None
    ) -> RewardModel:
        """Loads what `save` wrote."""
        tokenizer = load_tokenizer(path)
        card = read_card(path)
        if card.template and card.template != content_id(tokenizer.chat_template):
            raise ValueError(f"{path}: the chat template is not the one this model was trained with")
        classifier = load_classifier(path, tokenizer, dtype=dtype)
        classifier.to(device)  # type: ignore[arg-type]
        file = path / "heads.safetensors"
        heads = load_file(file) if file.exists() else dict(zip(("heads", "bias"), own_head(classifier), strict=True))
        if card.kind == "lora":
            scorer = read_ensemble(classifier, heads["heads"], card.num_members, path)
        else:
            scorer = RewardScorer(classifier)
            scorer.heads = torch.nn.Parameter(heads["heads"].to(device))
            scorer.bias = heads.get("bias", torch.zeros(len(scorer.heads))).to(device)
        return cls(scorer, tokenizer, card, criterion_weights=criterion_weights)

    @classmethod
    def _load_other(
        cls, path: Path, *, device: torch.device, dtype: torch.dtype, criterion_weights: Mapping[str, float] | None
    ) -> RewardModel:
        """Loads a classifier that was not trained here; see the module's docstring."""
        tokenizer = load_tokenizer(path, own_pad=False)
        classifier = load_classifier(path, tokenizer, dtype=dtype, may_grow=False)
        if not classifier.has_own_head:
            missing: Any = classifier.new_weights
            raise ValueError(f"{path}: no reward model, its file has no {', '.join(missing)}")
        classifier.to(device)  # type: ignore[arg-type]
        scorer = RewardScorer(classifier, skipped=classifier.pooled_pad)  # pyright: ignore[reportArgumentType]
        scorer.take_own_head()
        check_scores(scorer)
        limits = [num_positions(classifier.config) or LONGEST_OF_OTHERS, tokenizer.model_max_length]
        card = Card(max_length=min(limit for limit in limits if limit and limit > 0), keeps_marks=True)
        return cls(scorer, tokenizer, card, criterion_weights=criterion_weights)

    def __call__(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], *, token_budget: int = 0
    ) -> Reward:
        """Rewards of B completions, one prompt each, by every member; results in the given order.

        Completions of one prompt are shortened alike where one is too long, and share its tokens where rows run packed;
        rows of like length share a batch.

        Args:
            token_budget: tokens of a batch; 0 takes what suits the device.
        """
        rows, places = self._lay_out(prompts, completions)
        return Reward(members=self.score_rows(rows, token_budget=token_budget).members[:, places])

    def states(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> np.ndarray:
        """(B, h) what the heads read of B completions, one prompt each: the trunk's pooled states."""
        rows, places = self._lay_out(prompts, completions)
        width = self.scorer.heads.shape[1]
        return self._by_branch(rows, lambda batch: self.scorer.features(batch).float().T, width)[:, places].T

    def _lay_out(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]
    ) -> tuple[list[Branched], np.ndarray]:
        """Completions as rows, those of one prompt together, and (B,) at which branch each stands."""
        groups: dict[object, list[int]] = {}
        for index, prompt in enumerate(prompts):
            groups.setdefault(tuple(prompt), []).append(index)
        texts = [[completions[index] for index in group] for group in groups.values()]
        firsts = [prompts[group[0]] for group in groups.values()]
        limit = {"max_length": self.card.max_length, "keeps_marks": self.card.keeps_marks}
        rows, num_cut = tokenise(firsts, texts, self.tokenizer, **limit)
        self.num_cut += num_cut
        if not self.packed:
            rows = [Branched(prompt=row.prompt, branches=(branch,)) for row in rows for branch in row.branches]
        return rows, np.argsort([index for group in groups.values() for index in group])

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What holds its weights."""
        return [self.scorer]

    @property
    def packed(self) -> bool:
        return self.scorer.packed

    def score_rows(self, rows: Sequence[Branched], *, token_budget: int = 0) -> Reward:
        """Rewards of the branches of rows that are tokens already, in order of rows; none longer than the card says.

        Args:
            token_budget: tokens of a batch; 0 takes what suits the device.
        """
        scores = self._by_branch(rows, self.scorer, len(self.scorer.heads), token_budget=token_budget)
        return Reward(members=combine(scores, criteria=self.card.criteria, weights=self.criterion_weights))

    @torch.inference_mode()
    def _by_branch(
        self,
        rows: Sequence[Branched],
        network: Callable[[Sequence[Branched]], Tensor],
        num_values: int,
        *,
        token_budget: int = 0,
    ) -> np.ndarray:
        """(num_values, S) what a network gives to the branches, rows of like length in a batch."""
        token_budget = token_budget or (TOKENS_ON_CPU if self.scorer.heads.device.type == "cpu" else TOKENS_ON_GPU)
        parts: list[Branched] = []
        columns: list[range] = []  # of the branches, by part
        start = 0
        for row in rows:
            for branches in branches_within(row, token_budget):
                parts.append(Branched(prompt=row.prompt, branches=row.branches[branches]))
                columns.append(range(start + branches.start, start + branches.stop))
            start += len(row.branches)
        values = np.zeros((num_values, start))
        for batch in token_budget_batches([part.num_tokens for part in parts], token_budget=token_budget):
            of_batch = network([parts[number] for number in batch]).double().cpu().numpy()
            values[:, [column for number in batch for column in columns[number]]] = of_batch
        return values


class MembersReward:
    """A saved ensemble of whole models ready to score; a `RewardFn`."""

    def __init__(self, members: Sequence[RewardModel], card: Card) -> None:
        self.members = members
        self.card = card

    @classmethod
    def load(
        cls, path: str | Path, *, criterion_weights: Mapping[str, float] | None = None, in_bf16: bool = False
    ) -> MembersReward:
        """Loads what `train_members` wrote; see `RewardModel.load`.

        Raises:
            ValueError: if it is no such ensemble or a member is missing.
        """
        card = read_card(path)
        folders = [Path(path) / "members" / str(number) for number in range(card.num_members)]
        if card.kind != "full":
            raise ValueError(f"{path}: a model of kind {card.kind!r}, not full")
        if missing := [folder for folder in folders if not (folder / CARD_FILE).exists()]:
            raise ValueError(f"{missing[0]} is missing")
        options: dict[str, Any] = {"criterion_weights": criterion_weights, "in_bf16": in_bf16}
        return cls([RewardModel.load(folder, **options) for folder in folders], card)

    def __call__(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> Reward:
        """Rewards of B completions, one prompt each, by every member."""
        return Reward(members=np.concatenate([member(prompts, completions).members for member in self.members]))

    def states(self, prompts: Sequence[Sequence[Message]], completions: Sequence[str]) -> np.ndarray:
        """(B, K h) what the members' heads read, side by side."""
        return np.concatenate([member.states(prompts, completions) for member in self.members], axis=1)

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What holds its weights."""
        return [member.scorer for member in self.members]

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.members[0].tokenizer

    @property
    def num_cut(self) -> int:
        """Conversations scored so far that were longer than the card says."""
        return self.members[0].num_cut

    @property
    def packed(self) -> bool:
        return self.members[0].packed

    def score_rows(self, rows: Sequence[Branched], *, token_budget: int = 0) -> Reward:
        """As `RewardModel.score_rows`, by every member."""
        rewards = [member.score_rows(rows, token_budget=token_budget).members for member in self.members]
        return Reward(members=np.concatenate(rewards))
