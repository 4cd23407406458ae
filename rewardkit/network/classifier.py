"""Reward models as networks: a transformers classifier with one label, read at the last token or where rows say.

Decoders run packed rows with shared prompts (`rewardkit.network.attention`); a model whose packed scores are not those
of one row alone (encoders, sliding windows) runs padded, and says so once (`rewardkit.network.layout`). On disk it
stays an ordinary `AutoModelForSequenceClassification`, or for step ends an `AutoModelForTokenClassification`, beside a
small `rewardkit.json`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from rewardkit.config import Precision
from rewardkit.network import attention
from rewardkit.network.layout import Layout, attended_plainly, choose_layout, trial_rows
from rewardkit.network.llama import packed_states
from rewardkit.network.models import LAYER, check_shapes, four_bits, head_of, merged, model_config, switch_off_dropout
from rewardkit.network.packed_rows import Branched, filler, pack, pad
from rewardkit.run.model_folder import adapter_base, reading
from rewardkit.weights.held import compute_dtype

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


class RewardScorer(torch.nn.Module):
    """Trunk and heads of a reward model, from rows of tokens to one score per place that is read and member.

    That is one place a branch, its last token, unless rows say otherwise (`Branched.reads`).

    Attributes:
        classifier: the transformers model, num_labels = 1; its own head is written when it is saved.
        heads: (K, h) float32 parameter, one row per ensemble member.
        bias: (K,) float32 added to the scores: 0, or what the head of a classifier that came with one has; trained
            where that is asked for, since scores that are no differences need it.
        layout: how rows run.
        skipped: the token behind which features are not read, where the model comes from elsewhere: plain transformers
            reads a decoder at its last token that is not this one (its pad token, and for many also EOS). None reads
            the last token.
    """

    bias: Tensor
    layout: Layout

    def __init__(
        self,
        classifier: PreTrainedModel,
        *,
        num_members: int = 1,
        seed: int = 0,
        skipped: int | None = None,
        trains_bias: bool = False,
    ) -> None:
        super().__init__()
        self.classifier = classifier
        self.skipped = skipped
        head_of(classifier).requires_grad_(False)  # it is written when the model is saved
        hidden = head_of(classifier).weight.shape[1]
        generator = torch.Generator().manual_seed(seed)
        heads = torch.empty(num_members, hidden).normal_(0.0, 1.0 / math.sqrt(hidden + 1), generator=generator)
        device = next(classifier.parameters()).device
        self.heads = torch.nn.Parameter(heads.to(device))
        bias = torch.zeros(num_members, device=device)
        if trains_bias:
            self.bias = torch.nn.Parameter(bias)
        else:
            self.register_buffer("bias", bias, persistent=False)
        self.layout = classifier_layout(classifier)

    def placed(self, device: torch.device) -> Self:
        """Itself, on a device; packed rows are tried there, as a GPU attends otherwise than a CPU."""
        self.to(device)
        if self.packed and device.type == "cuda":
            self.layout = self.tried_layout()
        return self

    def tried_layout(self) -> Layout:
        """How rows run where the classifier is now."""
        return classifier_layout(self.classifier)

    @property
    def packed(self) -> bool:
        """Whether rows run packed with shared prompts."""
        return self.layout == "packed"

    @torch.no_grad()
    def take_own_head(self) -> None:
        """Gives the first member the head that the classifier came with."""
        weight, bias = own_head(self.classifier)
        self.heads[:1], self.bias[:1] = weight.to(self.heads.device), bias.to(self.heads.device)

    def features(self, rows: Sequence[Branched]) -> Tensor:
        """(S, h) what the score head reads, one per branch (or place that is read), branches in order of rows.

        For a decoder the hidden state at the last token; for an encoder whatever its classifier pools.
        """
        if self.layout == "packed":
            return packed_features(self.classifier, rows, skipped=self.skipped)
        if self.layout == "padded" and _share_a_batch(self.classifier, rows):
            return padded_features(self.classifier, rows, skipped=self.skipped)
        single = [
            Branched(prompt=row.prompt, branches=(branch,), reads=(places,))
            for row in rows
            for branch, places in zip(row.branches, row.read_places, strict=True)
        ]
        return torch.cat([padded_features(self.classifier, [row], skipped=self.skipped) for row in single])

    def forward(self, rows: Sequence[Branched]) -> Tensor:
        """(K, S) float32 scores of the branches by each member."""
        features = self.features(rows).float()
        with torch.autocast(self.heads.device.type, enabled=False):
            return self.heads.float() @ features.T + self.bias[:, None]


def _share_a_batch(classifier: PreTrainedModel, rows: Sequence[Branched]) -> bool:
    """Whether a classifier takes rows together: encoder-decoders (T5, BART) want as many EOS tokens in each."""
    if not classifier.config.is_encoder_decoder:
        return True
    eos = classifier.config.eos_token_id
    return len({row.prompt.count(eos) + branch.count(eos) for row in rows for branch in row.branches}) <= 1


def own_head(classifier: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Weight (1, h) and bias (1,) of a classifier's head, float32; a bias of 0 where it has none."""
    head = head_of(classifier)
    bias = torch.zeros(1) if head.bias is None else head.bias.detach().float()
    return head.weight.detach().float(), bias


def packed_features(classifier: PreTrainedModel, rows: Sequence[Branched], *, skipped: int | None = None) -> Tensor:
    """(S, h) features with every prompt computed once and no padding; see `RewardScorer.skipped`."""
    batch = pack(rows)
    return packed_states(classifier, batch, batch.read_index(skipped))


def padded_features(classifier: PreTrainedModel, rows: Sequence[Branched], *, skipped: int | None = None) -> Tensor:
    """(S, h) features of the full sequences, right-padded: the input of the classifier's last linear layer."""
    padded = pad(rows, filler(classifier.config), skipped=skipped)
    device = classifier.device
    head_inputs: list[Tensor] = []
    hook = head_of(classifier).register_forward_pre_hook(lambda _module, inputs: head_inputs.append(inputs[0]))
    try:
        classifier(input_ids=padded.input_ids.to(device), attention_mask=padded.attention_mask.to(device))
    finally:
        hook.remove()
    if head_inputs[0].dim() == 2:
        return head_inputs[0]
    return head_inputs[0][padded.read_row.to(device), padded.read_index.to(device)]


def classifier_layout(classifier: PreTrainedModel) -> Layout:
    """How the classifier's rows run, see `rewardkit.network.layout.choose_layout`; sets its attention."""

    def features(rows: Sequence[Branched], packed: bool) -> Tensor:
        return packed_features(classifier, rows) if packed else padded_features(classifier, rows)

    return choose_layout(classifier, features, trial_rows(classifier.config), tolerance=_rounding(classifier))


def _rounding(classifier: PreTrainedModel) -> float:
    """How far equal results may be apart in the model's number format, as a share of the largest."""
    return 0.05 if compute_dtype(classifier).itemsize < 4 else 1e-3


@torch.no_grad()
def check_scores(scorer: RewardScorer) -> None:
    """Holds the scores of a classifier with its own head, on small rows, against its own forward pass on each alone.

    Raises:
        ValueError: if they differ, because it does more than its last linear layer.
    """
    classifier = scorer.classifier
    scores = scorer(trial_rows(classifier.config))[0]
    config, own = classifier.config.get_text_config(), []
    pad_token_id, config.pad_token_id = config.pad_token_id, scorer.skipped
    with attended_plainly(classifier):
        for row in trial_rows(classifier.config):
            for branch in row.branches:
                ids = torch.tensor([row.prompt + branch], device=classifier.device)
                own.append(classifier(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.float()[0, 0])
    config.pad_token_id = pad_token_id
    expected = torch.stack(own)
    if not expected.isfinite().all():
        raise ValueError(f"{classifier.name_or_path} gives scores that are not finite")
    if not (scores - expected).abs().max() <= _rounding(classifier) * max(1.0, float(expected.abs().max())):
        raise ValueError(f"{type(classifier).__name__} scores by more than a linear layer, which is not known here")


def load_classifier(
    path: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    *,
    dtype: torch.dtype,
    load_in_4bit: bool = False,
    precision: Precision = "auto",
    may_grow: bool = True,
    per_token: bool = False,
) -> PreTrainedModel:
    """A sequence classifier with one label from a folder or hub id, or an adapter on one, merged; dropout off.

    What the file does not hold is new and random: its attribute `new_weights` names it, `has_own_head` says whether it
    is nothing. `pooled_pad` is the pad token that the file names, or None.

    Args:
        precision: of products with weights in 4 bits.
        may_grow: whether tokens that the tokenizer has and the model has not get new weights, to be trained.
        per_token: whether it is a token classifier instead, which may have two labels.

    Raises:
        ValueError: if transformers has no such classifier for the architecture, or the file lacks layers of it.
        ImportError: if 4 bits are asked for and bitsandbytes is missing.
    """
    attention.register()
    base = adapter_base(path)
    config = model_config(path)
    automatic = _classifiers(per_token)
    if type(config) not in automatic._model_mapping:
        kind = "token" if per_token else "sequence"
        raise ValueError(f"{path}: transformers has no {kind} classifier for models of type {config.model_type}")
    num_labels = config.num_labels
    if not (per_token and num_labels == 2 and is_token_classifier(config)):
        config.num_labels = 1
    four = four_bits(precision) if load_in_4bit else None
    with reading(base or path):
        classifier, report = automatic.from_pretrained(
            base or path,
            config=config,
            dtype=dtype,
            quantization_config=four,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            trust_remote_code=False,
        )
    missing, mismatched = set(report["missing_keys"]), report["mismatched_keys"]
    trunk = f"{classifier.base_model_prefix}."
    if layers := sorted(name for name in missing if name.startswith(trunk) and LAYER.search(name)):
        raise ValueError(f"{base or path}: no whole model, its file has no {', '.join(layers[:4])}")
    check_shapes(path, [key for key in mismatched if num_labels == 1 or tuple(key[1])[:1] != (num_labels,)])
    if mismatched:
        missing.add(f"head with one label (it has {num_labels})")
    if base:
        classifier, read = _with_adapter(classifier, path)
        missing -= read
    classifier.has_own_head = not missing  # pyright: ignore[reportArgumentType]
    classifier.new_weights = sorted(missing)  # pyright: ignore[reportArgumentType]
    classifier.pooled_pad = config.get_text_config().pad_token_id
    if missing and not base:
        logger.info("%s has no %s: these weights are new", path, ", ".join(sorted(missing)[:4]))
    num_embeddings = classifier.get_input_embeddings().weight.shape[0]  # pyright: ignore[reportIndexIssue]
    if len(tokenizer) > num_embeddings and may_grow:
        classifier.resize_token_embeddings(len(tokenizer))
    elif len(tokenizer) > num_embeddings:
        tokenizer.num_known = num_embeddings  # type: ignore[attr-defined]
    if tokenizer.pad_token_id is not None:
        classifier.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    switch_off_dropout(classifier)
    return classifier


def _with_adapter(classifier: PreTrainedModel, path: str | Path) -> tuple[PreTrainedModel, set[str]]:
    """A classifier with the adapter of a folder merged, and the names of the weights that the adapter holds whole."""
    from peft.utils import load_peft_weights

    names = {name.removeprefix("base_model.model.") for name in load_peft_weights(str(path), device="cpu")}
    return merged(classifier, path), names


def is_token_classifier(config: PretrainedConfig) -> bool:
    """Whether a saved model says that it classifies tokens."""
    return any(name.endswith("ForTokenClassification") for name in config.architectures or ())


def _classifiers(per_token: bool) -> Any:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification

    return AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification


def make_classifier(config: PretrainedConfig, *, seed: int, per_token: bool = False) -> PreTrainedModel:
    """A sequence classifier, or a classifier of tokens, with random weights from a configuration."""
    attention.register()
    config.num_labels = 1
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = _classifiers(per_token).from_config(config)
    switch_off_dropout(classifier)
    return classifier
