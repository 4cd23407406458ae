"""What a saved reward model says of itself: its scale, and what its members give to everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rewardkit.reward.metadata import Card, member_offsets, read_card


def test_members_that_differ_by_an_offset_agree() -> None:
    """Members reward two completions with (1, 3) and (11, 13): their means, 2 and 12, are 5 from the mean of both."""
    held_out = np.array([[1.0, 3.0], [11.0, 13.0]])
    assert member_offsets(held_out) == (-5.0, 5.0)
    card = Card(num_members=2, score_mean=7.0, score_std=2.0, member_offsets=member_offsets(held_out))
    found = card.normalised_members(held_out)
    assert found.tolist() == [[-0.5, 0.5], [-0.5, 0.5]]
    assert found.mean(0).tolist() == card.normalised(held_out.mean(0)).tolist()  # the mean over members stays


def test_without_offsets_members_keep_them() -> None:
    members = np.array([[1.0], [3.0]])
    assert Card(num_members=2).normalised_members(members).tolist() == members.tolist()
    merged = replace(Card(num_members=1), member_offsets=(1.0, -1.0))
    assert merged.normalised_members(members[:1]).tolist() == [[1.0]]


def test_offsets_are_kept(tmp_path: Path) -> None:
    Card(num_members=2, member_offsets=(0.5, -0.5)).write(tmp_path)
    assert read_card(tmp_path).member_offsets == pytest.approx([0.5, -0.5])
