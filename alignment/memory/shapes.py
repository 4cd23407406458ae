"""Shapes of models that are planned for: read from a name, a folder or a hub id; no weight is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PretrainedConfig

PRESET_VOCABULARY = 8192  # tokens at most that a preset's tokenizer is trained to have
# Llama 2, Touvron et al. 2023 (arXiv 2307.09288): hidden size, size within the MLP, layers, heads, key heads.
LLAMA_2: dict[str, tuple[int, int, int, int, int]] = {
    "7B": (4096, 11008, 32, 32, 32),
    "13B": (5120, 13824, 40, 40, 40),
    "70B": (8192, 28672, 80, 64, 8),
}


def read_shape(model: str, max_length: int = 2048) -> PretrainedConfig:
    """The transformers configuration of `tiny`, `small`, a size of Llama 2 (7B, 13B, 70B), a folder or a hub id.

    Args:
        max_length: tokens that a preset takes at least.

    Raises:
        ValueError: if it cannot be read.
    """
    from transformers import LlamaConfig

    from rewardkit.network.models import PRESETS, model_config, preset_shape

    if model in PRESETS:
        return preset_shape(model, vocab_size=PRESET_VOCABULARY, max_length=max(2048, max_length))
    if size := LLAMA_2.get(model.upper()):
        hidden, inner, layers, heads, key_heads = size
        return LlamaConfig(
            vocab_size=32_000,
            hidden_size=hidden,
            intermediate_size=inner,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=key_heads,
            max_position_embeddings=4096,
        )
    try:
        return model_config(model)
    except (OSError, ValueError) as error:
        names = ", ".join([*PRESETS, *LLAMA_2])
        raise ValueError(f"model {model!r}, allowed are {names}, a folder, a hub id: {error}") from error
