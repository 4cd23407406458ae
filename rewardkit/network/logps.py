"""Log-probabilities of completions under a causal language model: the one place where they are computed.

Hidden states at the positions that predict a completion token are gathered before the vocabulary head, which then works
in blocks (`rewardkit.network.vocabulary_head`). Prompts are computed once per row and nothing is padded where the model
takes packed rows; where it does not, full sequences run right-padded with the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rewardkit.network.layout import attended_plainly, choose_layout, trial_rows
from rewardkit.network.llama import packed_states
from rewardkit.network.packed_rows import Branched, filler, pack, pad
from rewardkit.network.router_loss import trunk_states
from rewardkit.network.vocabulary_head import BLOCK, LogitForm, token_logps
from rewardkit.weights.held import compute_dtype

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CompletionLogps:
    """Log-probabilities of the completion tokens of a batch of rows.

    Attributes:
        token_logps: (C,) float32, nats, kept tokens in the order of `PackedBatch.completion_index`.
        branch: (C,) int64, the branch, 0 to S - 1, of each token; branches in order of rows.
        lengths: (S,) int64, kept completion tokens of each branch.
        entropy: (C,) float32, nats, with gradient, of the distribution each token was drawn from; None unless asked
            for.
        is_top: (C,) bool, whether no other token is likelier; None unless the entropy is asked for.
        log_squares: (C,) float32, detached, log of the sum over the vocabulary of squared probabilities; None unless
            asked for.
        states: (C, h), the last hidden states that predict the tokens, which a value head reads.
    """

    token_logps: Tensor
    branch: Tensor
    lengths: Tensor
    entropy: Tensor | None
    states: Tensor
    is_top: Tensor | None = None
    log_squares: Tensor | None = None

    def sums(self) -> Tensor:
        """(S,) float32, summed over each branch's kept tokens."""
        return self._summed(self.token_logps)

    def means(self) -> Tensor:
        """(S,) float32, mean over each branch's kept tokens; 0 for a branch of which nothing is kept."""
        return self.sums() / self.lengths.clamp_min(1)

    def _summed(self, values: Tensor) -> Tensor:
        return values.new_zeros(len(self.lengths)).index_add(0, self.branch, values)


def completion_logps(
    policy: PreTrainedModel | PeftModel,
    rows: Sequence[Branched],
    *,
    packed: bool,
    temperature: float = 1.0,
    keep: Tensor | None = None,
    with_entropy: bool = False,
    with_squares: bool = False,
    chunk_size: int = BLOCK,
) -> CompletionLogps:
    """Log-probabilities of every completion token of the rows.

    log softmax(logits / temperature)[token], logits as the model itself defines them.

    Args:
        policy: a transformers causal language model, or one with adapters; dropout off.
        rows: with prompts, which predict the first tokens of their branches.
        packed: rows run packed with shared prompts; False for a model that `can_pack_policy` says no to.
        temperature: the logits are divided by it, > 0.
        keep: bool, over all completion tokens of the batch in the order of `PackedBatch.completion_index`: which to
            compute; None computes all.
        with_entropy: also computes the entropy, which costs about as much as the softmax.
        with_squares: also computes `log_squares`.
        chunk_size: vocabulary entries whose logits are held at a time.

    Raises:
        ValueError: if a prompt is empty, temperature is not positive, or keep does not fit.
    """
    if temperature <= 0.0:
        raise ValueError(f"temperature is {temperature}, allowed is more than 0")
    model = _without_wrapper(policy)
    batch = pack(rows)
    index, targets, branch = batch.completion_index, batch.completion_ids, batch.completion_branch
    if not packed:
        index = _padded_index(rows)
    if keep is not None:
        if keep.shape != targets.shape:
            raise ValueError(f"keep has shape {tuple(keep.shape)}, the batch has {len(targets)} completion tokens")
        keep = keep.cpu()
        index, targets, branch = index[keep], targets[keep], branch[keep]
    lengths = torch.bincount(branch, minlength=sum(len(row.branches) for row in rows))
    states = packed_states(model, batch, index) if packed else _padded_states(model, rows, index)
    tokens = token_logps(
        states,
        _head_of(model),
        targets.to(states.device),
        form=_logit_form(model.config, temperature),
        with_entropy=with_entropy,
        with_squares=with_squares,
        block=chunk_size,
    )
    return CompletionLogps(
        token_logps=tokens.logps,
        branch=branch.to(states.device),
        lengths=lengths.to(states.device),
        entropy=tokens.entropy,
        states=states,
        is_top=tokens.is_top,
        log_squares=tokens.log_squares,
    )


def completion_states(model: PreTrainedModel, rows: Sequence[Branched], *, packed: bool) -> Tensor:
    """(C, h) last hidden states that predict the completion tokens of the rows, in the order of `completion_logps`.

    Args:
        model: a transformers decoder of any task.
        packed: as of `completion_logps`.

    Raises:
        ValueError: if a prompt is empty.
    """
    batch = pack(rows)
    if packed:
        return packed_states(model, batch, batch.completion_index)
    return _padded_states(model, rows, _padded_index(rows))


def _without_wrapper(policy: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The transformers model, in which adapters sit as modules.

    Raises:
        ValueError: if the adapter puts tokens before the prompt instead.
    """
    if not hasattr(policy, "peft_config") or not hasattr(policy, "get_base_model"):
        return policy  # pyright: ignore[reportReturnType]
    if any(config.is_prompt_learning for config in policy.peft_config.values()):  # pyright: ignore
        raise ValueError("prompt-tuning adapters are not known here, allowed are adapters on layers such as LoRA")
    return policy.get_base_model()  # pyright: ignore[reportCallIssue, reportReturnType]


def _head_of(model: PreTrainedModel) -> torch.nn.Module:
    """The linear map from hidden states to logits.

    Raises:
        ValueError: if the model has none, as a classifier or a bare trunk.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise ValueError(f"{type(model).__name__} has no vocabulary head, allowed are causal language models")
    return head


def _input_device(model: PreTrainedModel) -> torch.device:
    return next(model.get_input_embeddings().parameters()).device


def _padded_states(model: PreTrainedModel, rows: Sequence[Branched], index: Tensor) -> Tensor:
    """(C, h) last hidden states of the full sequences, right-padded to L, at places in S L."""
    padded = pad(rows, filler(model.config))
    device = _input_device(model)
    states = trunk_states(model, input_ids=padded.input_ids.to(device), attention_mask=padded.attention_mask.to(device))
    return states.flatten(0, 1)[index.to(device)]


def _padded_index(rows: Sequence[Branched]) -> Tensor:
    """(C,) int64, as `PackedBatch.completion_index` but into the rows of `_padded_states`."""
    shapes = [(len(row.prompt), len(branch)) for row in rows for branch in row.branches]
    width = max(prompt + branch for prompt, branch in shapes)
    starts = [number * width + prompt - 1 for number, (prompt, _) in enumerate(shapes)]
    return torch.cat([torch.arange(start, start + length) for start, (_, length) in zip(starts, shapes, strict=True)])


def _logit_form(config: PretrainedConfig, temperature: float) -> LogitForm:
    """What the architecture does to the head's output: Cohere multiplies, Granite divides, Gemma bounds it."""
    scale = getattr(config, "logit_scale", None) or 1.0
    return LogitForm(
        scale=scale / (getattr(config, "logits_scaling", None) or 1.0),
        softcap=getattr(config, "final_logit_softcapping", None),
        temperature=temperature,
    )


@torch.no_grad()
def can_pack_policy(policy: PreTrainedModel | PeftModel) -> bool:
    """Whether packed rows give the log-probabilities of each row alone, tried on small rows; where not, one warning.

    Sets the attention implementation accordingly.

    Raises:
        ValueError: if even those of padded rows do not, or are not those of the model's own logits, because it does
            something to them that is not known here; or if it looks at tokens that it is to predict.
    """
    model = _without_wrapper(policy)
    rows = trial_rows(model.config)
    tolerance = 0.25 if compute_dtype(model).itemsize < 4 else 1e-3  # half precision rounds logits of 20 to 1/8

    def logps(rows: Sequence[Branched], packed: bool) -> Tensor:
        return completion_logps(policy, rows, packed=packed).token_logps

    layout = choose_layout(model, logps, rows, tolerance=tolerance)
    if layout == "alone":
        raise ValueError(f"{type(model).__name__} cannot run as a policy: its rows depend on padding")
    with attended_plainly(model):
        if _looks_ahead(model, rows[0]):
            raise ValueError(f"{type(model).__name__} sees the tokens that it is to predict: it is no causal model")
        if not _close(logps(rows, False), _logps_of_logits(model, rows), tolerance):
            raise ValueError(f"{type(model).__name__} changes its logits in a way that is not known here")
    return layout == "packed"


def _looks_ahead(model: PreTrainedModel, row: Branched) -> bool:
    """Whether states before the last token change with it."""
    branch = row.branches[0]
    row = Branched(prompt=row.prompt, branches=(branch,))
    other = Branched(prompt=row.prompt, branches=((*branch[:-1], row.prompt[0]),))
    before = torch.arange(len(row.prompt) + len(branch) - 1)
    states, others = (_padded_states(model, [each], before).float() for each in (row, other))
    tolerance = 0.05 if compute_dtype(model).itemsize < 4 else 1e-4
    return not bool((states - others).abs().max() <= tolerance * max(1.0, float(states.abs().max())))


def _logps_of_logits(model: PreTrainedModel, rows: Sequence[Branched]) -> Tensor:
    """(C,) float32 log-probabilities from the model's own logits, all of them at once."""
    padded = pad(rows, filler(model.config))
    device = _input_device(model)
    logits = model(
        input_ids=padded.input_ids.to(device), attention_mask=padded.attention_mask.to(device), use_cache=False
    ).logits
    logps = logits.float().log_softmax(-1).flatten(0, 1)[_padded_index(rows).to(device)]
    return logps.gather(-1, pack(rows).completion_ids.to(device)[:, None])[:, 0]


def _close(logps: Tensor, other_logps: Tensor, tolerance: float) -> bool:
    return bool((logps - other_logps).abs().max() <= tolerance)
