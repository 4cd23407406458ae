"""Two toy policies in folders, for tests that let them answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_models import config_for, save_policy

from rewardkit.network.tokens import train_tokenizer

TEXTS = ["My kettle arrived broken. What now?", "We are sorry. A new kettle leaves today, keep the old one."] * 2


@pytest.fixture(scope="session")
def toy_policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two different policies of random weights with one tokenizer."""
    root = tmp_path_factory.mktemp("policies")
    tokenizer = train_tokenizer(TEXTS, vocab_size=300)
    config = config_for(
        tokenizer, num_key_value_heads=4, max_position_embeddings=256, initializer_range=0.3, bos_token_id=None
    )
    return save_policy(root / "one", config, tokenizer, seed=1), save_policy(root / "other", config, tokenizer, seed=2)
