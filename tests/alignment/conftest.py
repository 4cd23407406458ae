"""Policies of random weights in folders, small enough to make for every session."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_models import config_for, save_policy

from rewardkit.network.tokens import train_tokenizer

TEXTS = ["My kettle arrived broken. What now?", "We are sorry. A new kettle leaves today, keep the old one."] * 2


def make_policy_folder(folder: Path, *, seed: int, spread: float = 0.3) -> Path:
    """A policy of two layers, its weights drawn with the given standard deviation, so that it prefers some tokens."""
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    config = config_for(
        tokenizer, num_key_value_heads=4, max_position_embeddings=256, initializer_range=spread, bos_token_id=None
    )
    return save_policy(folder, config, tokenizer, seed=seed)


@pytest.fixture(scope="session")
def policy_folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two different policies with one tokenizer."""
    root = tmp_path_factory.mktemp("policies")
    return make_policy_folder(root / "base", seed=1), make_policy_folder(root / "trained", seed=2)
