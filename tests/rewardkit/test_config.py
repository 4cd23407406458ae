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


@pytest.mark.parametrize("option", ["label_smoothing", "centring"])
def test_what_is_of_pairs_is_refused_where_whole_rankings_are_learned(option: str) -> None:
    with pytest.raises(ValueError, match=rf"{option} is 0\.1, likelihood plackett_luce has no use for it"):
        RewardConfig(model="tiny", out="x", data="d", likelihood="plackett_luce", **{option: 0.1})


def test_tfidf_has_nothing_but_a_head_to_train() -> None:
    with pytest.raises(ValueError, match="no weights to train but its head"):
        RewardConfig(model="tfidf", out="x", data="d", mode="full")
