"""How many tokens a model takes, read off its configuration and the tables of positions that it would build.

A table has rows that no token gets: those up to the padding index (RoBERTa: 514 rows, 512 tokens), or an offset (OPT).
Models with relative positions alone (T5, XLNet, DeBERTa-v3) and with ALiBi have no such limit.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import PretrainedConfig

# Names of configurations' own limits, in tokens.
LIMITS = ("max_position_embeddings", "max_seq_len", "n_positions", "n_ctx")
TABLE = re.compile(r"(wpe|embed_positions?|positions?_embed(ding)?s?|pos_embed(ding)?s?|embeddings_position)$")


def num_positions(config: PretrainedConfig) -> int | None:
    """Tokens that a model of a configuration takes; None where it sets no limit."""
    text_config = config.get_text_config()
    tables = _tables(text_config)
    stated = next((value for name in LIMITS if _is_count(value := getattr(text_config, name, None))), None)
    is_relative = getattr(text_config, "relative_attention", False) or getattr(text_config, "alibi", False)
    limits = [*tables, *([] if stated is None or (is_relative and not tables) else [stated])]
    return min(limits, default=None)


def saved_positions(path: str | Path) -> int | None:
    """Tokens that a saved model takes.

    Raises:
        OSError, ValueError: if its configuration cannot be read.
    """
    from transformers import AutoConfig

    return num_positions(AutoConfig.from_pretrained(path))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value > 0  # XLNet says -1


def _tables(config: PretrainedConfig) -> list[int]:
    """Tokens that each table of learned positions has rows for; the model is laid out without memory for it."""
    if getattr(config, "rope_parameters", None):
        return []
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            network = AutoModel.from_config(config)
    except (ValueError, TypeError, LookupError, AttributeError, ImportError, RuntimeError):
        return []  # what cannot be laid out so is loaded, and refused if it must be, later
    return [
        module.num_embeddings - max(_first_row(module), int(getattr(module, "offset", 0)))
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Embedding) and TABLE.search(name)
    ]


def _first_row(table: torch.nn.Embedding) -> int:
    return 0 if table.padding_idx is None else table.padding_idx + 1
