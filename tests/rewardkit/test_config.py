"""What a configuration of a reward model fills in by itself."""

from __future__ import annotations

import pytest

from rewardkit.config import Mode, RewardConfig


@pytest.mark.parametrize(
    ("model", "given", "mode"),
    [("tfidf", None, "head"), ("tiny", None, "full"), ("some/model", None, "full"), ("tiny", "lora", "lora")],
)
def test_the_mode_follows_the_model_where_it_is_left_out(model: str, given: Mode | None, mode: str) -> None:
    assert RewardConfig(model=model, out="x", data="d", mode=given).mode == mode


def test_tfidf_has_nothing_but_a_head_to_train() -> None:
    with pytest.raises(ValueError, match="no weights to train but its head"):
        RewardConfig(model="tfidf", out="x", data="d", mode="full")
