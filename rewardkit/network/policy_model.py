"""A policy from its folder: an ordinary causal language model of transformers, or a PEFT adapter on one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rewardkit.network.models import switch_off_dropout
from rewardkit.network.tokens import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER_FILE = "adapter_config.json"


def load_policy(
    path: str | Path, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The policy in a folder (or of a hub id) and its tokenizer, in evaluation mode; an adapter is merged.

    Raises:
        FileNotFoundError: if a path is given and there is no such folder.
        ValueError: if the folder holds no model.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # of loading weights, which is short
    folder = check_policy_folder(path)
    base = adapter_base(folder)
    policy = AutoModelForCausalLM.from_pretrained(base or folder, dtype=dtype, attn_implementation="sdpa")
    has_own = not base or (Path(folder) / "tokenizer_config.json").exists()
    tokenizer = load_tokenizer(folder if has_own else base, own_pad=False)
    if len(tokenizer) > policy.get_input_embeddings().num_embeddings:  # pyright: ignore[reportOperatorIssue]
        policy.resize_token_embeddings(len(tokenizer))
    if base:
        from peft import PeftModel

        policy = PeftModel.from_pretrained(policy, str(folder)).merge_and_unload()  # pyright: ignore[reportCallIssue]
    policy.config.pad_token_id = tokenizer.pad_token_id
    switch_off_dropout(policy)
    policy.to(torch.device(device))  # type: ignore[arg-type]
    return policy.eval(), tokenizer


def check_policy_folder(path: str | Path) -> str:
    """The path, once it is known to hold a model; a hub id as it is.

    Raises:
        FileNotFoundError, ValueError: see `load_policy`.
    """
    folder = Path(path)
    if not folder.is_dir():
        if folder.is_absolute() or len(folder.parts) != 2:
            raise FileNotFoundError(f"{path}: there is no such folder")
        return str(path)
    if not (folder / "config.json").exists() and not (folder / ADAPTER_FILE).exists():
        raise ValueError(f"{path}: no model, it holds neither config.json nor {ADAPTER_FILE}")
    return str(path)


def adapter_base(path: str | Path) -> str:
    """What the adapter in a folder was trained on; empty for a whole model."""
    file = Path(path) / ADAPTER_FILE
    if not file.exists() or (Path(path) / "config.json").exists():
        return ""
    return str(json.loads(file.read_text(encoding="utf-8"))["base_model_name_or_path"])
