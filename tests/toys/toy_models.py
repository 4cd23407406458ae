"""Models of random weights, small enough to make for every test: their configurations and their folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rewardkit.network.models import preset_config

SHAPE: dict[str, Any] = {
    "vocab_size": 60,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
NARROW = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1}


def config_of(architecture: str, **differing: Any) -> PretrainedConfig:
    """The configuration of any architecture that names its sizes as Llama does; `differing` replaces or adds fields."""
    return AutoConfig.for_model(architecture, **SHAPE | differing)


def llama_config(**differing: Any) -> LlamaConfig:
    """Two layers of width 32; `differing` replaces or adds fields."""
    return LlamaConfig(**SHAPE | differing)


def gpt2_config(**differing: Any) -> GPT2Config:
    """As `llama_config`, in GPT-2's names of the sizes."""
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return GPT2Config(**{"vocab_size": 60, "n_embd": 32, "n_layer": 2, "n_head": 4} | ids | differing)


def config_for(tokenizer: PreTrainedTokenizerBase, **differing: Any) -> LlamaConfig:
    """As `llama_config`, for the words, the padding and the end token of a tokenizer."""
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id}
    return llama_config(**{"vocab_size": len(tokenizer)} | ids | differing)


def tiny_config(tokenizer: PreTrainedTokenizerBase, *, max_length: int, num_layers: int = 2) -> PretrainedConfig:
    """The preset `tiny`, made smaller still."""
    config = preset_config("tiny", tokenizer, max_length=max_length)
    config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.head_dim = num_layers, 32, 64, 8
    return config


def save_model(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Path:
    """Writes a model and its tokenizer."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_policy(folder: Path, config: LlamaConfig, tokenizer: PreTrainedTokenizerBase, *, seed: int) -> Path:
    """Writes a causal language model of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return save_model(folder, LlamaForCausalLM(config), tokenizer)
