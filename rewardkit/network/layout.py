"""How rows of tokens go through a model of transformers: packed, padded, or one by one; decided by its numbers.

An architecture may take no attention by name, change nothing when it is given one, or read padding whatever the mask
says, and none of them says so. So a model is loaded with the attention that transformers chooses, a name is set and
read back, and each way of running rows is tried against one row alone before it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from rewardkit.network import attention
from rewardkit.network.llama import try_steps
from rewardkit.network.packed_rows import Branched, pack

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)
Layout = Literal["packed", "padded", "alone"]
# What an architecture says when it cannot run something here.
REASONS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ImportError, AssertionError)


def set_attention(model: PreTrainedModel, name: str) -> None:
    """Sets the attention of a model by name and reads it back.

    Raises:
        ValueError: if some part of the model does not take it.
    """
    from transformers import PreTrainedModel
    from transformers.utils import logging as transformers_logging

    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # it warns of what is read back here
    try:
        model.set_attn_implementation(name)
    finally:
        transformers_logging.set_verbosity(verbosity)
    configs = [module.config for module in model.modules() if isinstance(module, PreTrainedModel)]
    if any(config._attn_implementation != name for config in configs):
        raise ValueError(f"it takes no attention by name, {name} is not set")


def attend_plainly(model: PreTrainedModel) -> None:
    """Sets attention that takes padded sequences: the fused one, else the explicit one, else leaves the model's own."""
    for name in ("sdpa", "eager"):
        try:
            return set_attention(model, name)
        except (ValueError, ImportError):
            continue


@contextmanager
def attended_plainly(model: PreTrainedModel) -> Iterator[None]:
    """Within the block a model that runs packed attends to padded sequences and caches, as transformers does."""
    packed = model.config._attn_implementation == attention.NAME
    if packed:
        attend_plainly(model)
    try:
        yield
    finally:
        if packed:
            set_attention(model, attention.NAME)


def trial_rows(config: PretrainedConfig) -> list[Branched]:
    """Small rows of different lengths, of tokens without meaning; branches end with EOS if there is one."""
    text = config.get_text_config()
    special = {getattr(text, f"{name}_token_id", None) for name in ("pad", "bos", "sep", "decoder_start")}
    eos = getattr(text, "eos_token_id", None)
    eos = eos[0] if isinstance(eos, list) else eos
    plain = [token for token in range(5, min(64, text.vocab_size)) if token not in special | {eos}]

    def row(prompt: int, *branches: int) -> Branched:
        tokens = iter(plain * 2)
        end = (eos,) if isinstance(eos, int) and 0 <= eos < text.vocab_size else (plain[-1],)
        return Branched(
            prompt=tuple(next(tokens) for _ in range(prompt)),
            branches=tuple((*(next(tokens) for _ in range(length)), *end) for length in branches),
        )

    return [row(3, 1, 2), row(2, 1, 3), row(24, 4)]


@torch.no_grad()
def choose_layout(
    model: PreTrainedModel,
    run: Callable[[Sequence[Branched], bool], Tensor],
    rows: Sequence[Branched],
    *,
    tolerance: float,
) -> Layout:
    """The fastest way in which rows give what each gives alone; sets the attention it takes, and warns of a slow one.

    Args:
        run: from rows, and whether they run packed, to results by branch or token, first dimension in order of rows.
        rows: small ones to try on, of different lengths.
        tolerance: as a share of the largest result.

    Raises:
        ValueError: if the model cannot run one row alone, or gives no finite numbers for it.
    """
    attention.register()
    attend_plainly(model)
    single = [Branched(prompt=row.prompt, branches=(branch,)) for row in rows for branch in row.branches]
    try:
        alone = torch.cat([run([row], False) for row in single]).float()
    except REASONS as reason:
        raise ValueError(f"{type(model).__name__} cannot be run here: {first_line(reason)}") from reason
    if not alone.isfinite().all():
        raise ValueError(f"{model.name_or_path or type(model).__name__} gives numbers that are not finite")
    limit = tolerance * max(1.0, float(alone.abs().max()))

    def check(packed: bool) -> None:
        difference = float((run(rows, packed).float() - alone).abs().max())
        if not difference <= limit:  # NaN is refused too
            raise ValueError(f"{'packed' if packed else 'padded'} rows differ from rows alone by {difference:.2g}")

    try:
        if local := attention.local_layers(model.config):
            raise ValueError(f"it has layers of type {local}")
        set_attention(model, attention.NAME)
        try_steps(model, pack(rows))
        check(packed=True)
        return "packed"
    except REASONS as reason:
        logger.warning("%s runs padded, which is slower: %s", type(model).__name__, first_line(reason))
        attend_plainly(model)
    try:
        check(packed=False)
        return "padded"
    except REASONS as reason:
        logger.warning("%s runs row by row, which is slow: %s", type(model).__name__, first_line(reason))
        return "alone"


def first_line(reason: BaseException) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return f"{reason}".partition("\n")[0] or type(reason).__name__
