"""A process reward model on disk and ready to score: the probability that each step of an answer is right.

    config.json, model.safetensors, tokenizer files    an ordinary AutoModelForTokenClassification with two labels,
                                                       wrong and right, read where a step ends
    rewardkit.json                                     what plain transformers does not keep (`Card`)
    heads.safetensors                                  (K, h) member heads, (K,) biases
    members/0 .. members/K-1                           where each member has all weights of its own: models like this,
                                                       of which the folder itself holds the weight average (WARM)

A row of tokens is the prompt by the chat template, up to where the answer begins, then every step and behind each the
separator; a step is read at the last token of that. Steps are tokenised one by one, so that what follows a step changes
nothing before it. The score is the difference of both labels, so that a model with one label is read as it is.

A folder without `rewardkit.json` is somebody else's token classifier and is read as TRL's PRMTrainer lays rows out: the
prompt as plain text behind BOS, steps with a line break behind each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from rewardkit.config import Aggregation
from rewardkit.data.export_formats import plain_prompt
from rewardkit.data.records import Message, content_id
from rewardkit.data.stepwise.stepped_answer import split_steps
from rewardkit.distributed.collectives import default_device
from rewardkit.network.classifier import RewardScorer, load_classifier, own_head
from rewardkit.network.layout import trial_rows
from rewardkit.network.models import head_of, num_positions
from rewardkit.network.packed_rows import Branched, token_budget_batches
from rewardkit.network.shortening import cut_tokens
from rewardkit.network.tokens import cut_prompt, load_tokenizer, policy_prompts, token_ids
from rewardkit.reward.metadata import CARD_FILE, Card, read_card
from rewardkit.reward.reward import Reward
from rewardkit.reward.reward_model import LONGEST_OF_OTHERS, TOKENS_ON_CPU, TOKENS_ON_GPU, save_beside
from rewardkit.reward.step_rewards import StepRewards, aggregate
from rewardkit.stats.calibration import apply
from rewardkit.weights.held import hold_in_bf16

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LABELS = {0: "wrong", 1: "right"}
SAY_RIGHT = frozenset(("right", "correct", "true", "good", "positive", "yes", "+"))  # names others give the label


def step_rows(
    prompts: Sequence[Sequence[Message]],
    steps: Sequence[Sequence[str]],
    tokenizer: PreTrainedTokenizerBase,
    *,
    separator: str,
    max_length: int,
    plain: bool = False,
) -> tuple[list[list[Branched]], int]:
    """Rows of token ids whose reads, in their order, are the ends of the steps; and how many answers were too long.

    An answer is one row. Where it is too long, its prompt is shortened, to half of the length at most, and each step
    that still does not fit is read in a row of its own, behind the prompt and as many tokens before it as fit.

    Args:
        prompts: one conversation per answer.
        steps: of each answer.
        max_length: tokens of a row, 2 or more.
        plain: prompts are plain text behind BOS, not the chat template's.

    Raises:
        ValueError: if the chat template refuses a prompt.
    """
    if plain:
        bos: tuple[Any, ...] = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
        starts = [(*bos, *ids) for ids in token_ids([plain_prompt(prompt) for prompt in prompts], tokenizer)]
    else:
        starts = policy_prompts(prompts, tokenizer)
    (between,) = token_ids([separator], tokenizer)
    pieces = iter(token_ids([step for answer in steps for step in answer], tokenizer))
    rows: list[list[Branched]] = []
    num_cut = 0
    for prompt, start, answer in zip(prompts, starts, steps, strict=True):
        ids = [(*next(pieces), *between) for _ in answer]
        num_tokens = sum(map(len, ids))
        if len(start) + num_tokens > max_length:
            num_cut += 1
            if plain:
                start = cut_tokens(start, max(max_length - num_tokens, max_length // 2), tokenizer)
            else:
                start = cut_prompt(prompt, start, tokenizer, max_length=max_length, num_answer_tokens=num_tokens)
        rows.append(_rows_of(start, ids, max_length))
    return rows, num_cut


def _rows_of(start: tuple[int, ...], steps: Sequence[tuple[int, ...]], max_length: int) -> list[Branched]:
    answer = tuple(token for step in steps for token in step)
    ends = list(accumulate(map(len, steps)))
    room = max_length - len(start)
    fitting = tuple(end - 1 for end in ends if end <= room)
    rows = [Branched(prompt=start, branches=(answer[: fitting[-1] + 1],), reads=(fitting,))] if fitting else []
    return rows + [Branched(prompt=start, branches=(answer[end - room : end],)) for end in ends[len(fitting) :]]


def load_step_classifier(path: str | Path, tokenizer: PreTrainedTokenizerBase, **options: Any) -> PreTrainedModel:
    """A token classifier with one label; one of two labels gets their difference for its head.

    Of two labels the second is right, as in TRL, unless the file names the first one so.

    Args:
        options: of `rewardkit.network.classifier.load_classifier`.

    Raises:
        ValueError, ImportError: as there.
    """
    classifier = load_classifier(path, tokenizer, per_token=True, **options)
    if classifier.config.num_labels == 2:
        name, head = _last_linear(classifier, 2)
        names: Any = classifier.config.id2label or {}
        says_right = [str(names.get(number)).strip().lower() in SAY_RIGHT for number in (0, 1)]
        sign = -1 if says_right == [True, False] else 1
        _put_head(classifier, name, sign * (head.weight[1:] - head.weight[:1]), sign * (head.bias[1:] - head.bias[:1]))
    return classifier


@contextmanager
def two_labels(classifier: PreTrainedModel) -> Iterator[None]:
    """Within the block a classifier with one label z has two, -z / 2 and z / 2, as trainers of two classes write it."""
    name, head = _last_linear(classifier, 1)
    weight, bias = head.weight.detach(), head.bias.detach()
    _put_head(classifier, name, torch.cat((-weight, weight)) / 2, torch.cat((-bias, bias)) / 2)
    classifier.config.id2label = LABELS
    classifier.config.label2id = {label: number for number, label in LABELS.items()}
    try:
        yield
    finally:
        _put_head(classifier, name, weight, bias)


def _last_linear(classifier: PreTrainedModel, num_labels: int) -> tuple[str, Any]:
    linear = [
        (name, module)
        for name, module in classifier.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == num_labels and module.bias is not None
    ]
    if not linear:
        raise ValueError(f"{type(classifier).__name__} has no linear layer with {num_labels} outputs and a bias")
    return linear[-1]


@torch.no_grad()
def _put_head(classifier: PreTrainedModel, name: str, weight: Tensor, bias: Tensor) -> None:
    head = torch.nn.Linear(weight.shape[1], len(weight), device=weight.device, dtype=weight.dtype)
    head.weight.copy_(weight)
    head.bias.copy_(bias)
    classifier.set_submodule(name, head.requires_grad_(False))
    classifier.config.num_labels = len(weight)


@torch.no_grad()
def save_process_reward(
    scorer: RewardScorer,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    out_dir: Path,
    *,
    base: PreTrainedModel | None = None,
) -> None:
    """Writes the model so that plain transformers reads the members' mean; see the module's docstring.

    Args:
        base: the classifier to write where the scorer holds its weights narrower.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    if base is not None:
        scorer.classifier = base
    classifier = scorer.classifier
    head = head_of(classifier)
    head.weight.copy_(scorer.heads.mean(0, keepdim=True).to(head.weight.dtype))
    head.bias.copy_(scorer.bias.mean(0, keepdim=True))
    classifier.config.pad_token_id = tokenizer.pad_token_id
    with two_labels(classifier):
        classifier.save_pretrained(out_dir)
    save_beside({"heads": scorer.heads.detach(), "bias": scorer.bias.detach()}, tokenizer, card, out_dir)


@torch.no_grad()
def step_logits(scorer: RewardScorer, rows: Sequence[Branched], *, token_budget: int = 0) -> list[np.ndarray]:
    """By row, (K, E) float64 scores of its reads.

    Args:
        token_budget: tokens of a batch; 0 takes what suits the device.
    """
    token_budget = token_budget or (TOKENS_ON_CPU if scorer.heads.device.type == "cpu" else TOKENS_ON_GPU)
    scores: dict[int, np.ndarray] = {}
    for batch in token_budget_batches([row.num_tokens for row in rows], token_budget=token_budget):
        of_batch = scorer([rows[number] for number in batch]).double().cpu().numpy()
        ends = np.cumsum([len(rows[number].read_places[0]) for number in batch])
        scores.update(zip(batch, np.split(of_batch, ends[:-1], axis=1), strict=True))
    return [scores[number] for number in range(len(rows))]


class ProcessRewardModel:
    """A saved process reward model ready to score; also a `RewardFn`, which splits answers and aggregates their steps.

    Attributes:
        scorers: one with the heads of all members, or one of each member.
        aggregation: one of `rewardkit.config.Aggregation`, how the steps' probabilities become the reward of an answer.
        steps_by: what parts the steps of an answer, see `rewardkit.data.stepwise.stepped_answer.split_steps`.
        num_cut: answers scored so far that were longer than the card says.
    """

    def __init__(
        self,
        scorers: Sequence[RewardScorer],
        tokenizer: PreTrainedTokenizerBase,
        card: Card,
        *,
        aggregation: Aggregation = "min",
        steps_by: str = "line",
    ) -> None:
        self.scorers, self.tokenizer, self.card = [scorer.eval() for scorer in scorers], tokenizer, card
        self.aggregation: Aggregation = aggregation
        self.steps_by = steps_by
        self.num_cut = 0

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        device: torch.device | None = None,
        in_bf16: bool = False,
        aggregation: Aggregation = "min",
        steps_by: str = "line",
    ) -> ProcessRewardModel:
        """Loads what `save_process_reward` wrote, or any token classifier with one label or two.

        Args:
            device: None is the GPU where there is one.
            in_bf16: whether matrices are held in bf16, see `rewardkit.weights.held`.
            aggregation, steps_by: see the class.

        Raises:
            ValueError: if the chat template is not the one the model was trained with, there is no head, or a member is
                missing.
        """
        path, device = Path(path), device or default_device()
        if folders := member_folders(path):
            members = [cls.load(folder, device=device, in_bf16=in_bf16) for folder in folders]
            options: dict[str, Any] = {"aggregation": aggregation, "steps_by": steps_by}
            return cls([member.scorers[0] for member in members], members[0].tokenizer, read_card(path), **options)
        is_own = (path / CARD_FILE).exists()
        tokenizer = load_tokenizer(path, own_pad=is_own)
        card = read_card(path)
        if card.template and card.template != content_id(tokenizer.chat_template):
            raise ValueError(f"{path}: the chat template is not the one this model was trained with")
        classifier = load_step_classifier(path, tokenizer, dtype=torch.float32, may_grow=is_own)
        if not classifier.has_own_head:
            missing: Any = classifier.new_weights
            raise ValueError(f"{path}: no process reward model, its file has no {', '.join(missing)}")
        classifier.to(device)  # type: ignore[arg-type]
        scorer = RewardScorer(classifier)
        file = path / "heads.safetensors"
        heads = load_file(file) if file.exists() else dict(zip(("heads", "bias"), own_head(classifier), strict=True))
        scorer.heads, scorer.bias = torch.nn.Parameter(heads["heads"].to(device)), heads["bias"].to(device)
        if not is_own:
            limits = [num_positions(classifier.config) or LONGEST_OF_OTHERS, tokenizer.model_max_length]
            card = replace(card, max_length=min(limit for limit in limits if limit > 0))
        if in_bf16:
            scorer.requires_grad_(False)
            hold_in_bf16(classifier, must=False, run=partial(scorer, trial_rows(classifier.config)))
        return cls([scorer.placed(device)], tokenizer, card, aggregation=aggregation, steps_by=steps_by)

    @torch.inference_mode()
    def score_steps(
        self, prompts: Sequence[Sequence[Message]], steps: Sequence[Sequence[str]], *, token_budget: int = 0
    ) -> list[StepRewards]:
        """Calibrated probabilities of the steps of B answers, one prompt each, by every member.

        Args:
            steps: of each answer, one or more.
            token_budget: tokens of a batch; 0 takes what suits the device.

        Raises:
            ValueError: if an answer has no step, or the chat template refuses a prompt.
        """
        if empty := [number for number, answer in enumerate(steps) if not answer]:
            raise ValueError(f"answer {empty[0]} has no step")
        rows, num_cut = step_rows(
            prompts,
            steps,
            self.tokenizer,
            separator=self.card.steps["separator"],
            max_length=self.card.max_length,
            plain=self.card.steps["plain_prompt"],
        )
        self.num_cut += num_cut
        flat = [row for answer in rows for row in answer]
        by_scorer = [step_logits(scorer, flat, token_budget=token_budget) for scorer in self.scorers]
        logits = (np.concatenate(of_row) for of_row in zip(*by_scorer, strict=True))
        calibration = self.card.steps.get("calibration", {})
        return [
            StepRewards(members=apply(calibration, np.concatenate([next(logits) for _ in answer], axis=1)))
            for answer in rows
        ]

    def __call__(
        self, prompts: Sequence[Sequence[Message]], completions: Sequence[str], *, token_budget: int = 0
    ) -> Reward:
        """Rewards of B completions, one prompt each: the aggregate of their steps' probabilities; 0 without a step."""
        steps = [split_steps(completion, self.steps_by) for completion in completions]
        stepped = [number for number, answer in enumerate(steps) if answer]
        scored = self.score_steps(
            [prompts[number] for number in stepped], [steps[number] for number in stepped], token_budget=token_budget
        )
        members = np.zeros((sum(len(scorer.heads) for scorer in self.scorers), len(steps)))
        for number, one in zip(stepped, scored, strict=True):
            members[:, number] = aggregate(one.members, self.aggregation)
        return Reward(members=members)

    @property
    def networks(self) -> list[torch.nn.Module]:
        """What holds its weights."""
        return list(self.scorers)


def member_folders(path: Path) -> list[Path]:
    """Where the members lie that have all weights of their own; empty for a model without such.

    Raises:
        ValueError: naming one that is missing.
    """
    folders = [path / "members" / str(number) for number in range(read_card(path).num_members)]
    if not folders[0].exists():
        return []
    if missing := [folder for folder in folders if not (folder / CARD_FILE).exists()]:
        raise ValueError(f"{missing[0]} is missing")
    return folders
