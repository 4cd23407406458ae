"""Which completions every optimizer step takes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from alignment.config.online import PpoConfig
from alignment.online.algorithm import Carried, minibatches


def config_of(**more: int) -> PpoConfig:
    options = {"model": "m", "prompts": "p", "reward": ["json"], "out": "o", "prompts_per_step": 10}
    return PpoConfig(**options | more)  # pyright: ignore[reportArgumentType]


def test_every_pass_is_a_fresh_permutation_of_all() -> None:
    carried = Carried(0.0)
    found = minibatches(10, config_of(passes=3, minibatches=3), carried)
    assert [len(part) for part in found] == [4, 3, 3] * 3
    passes = [[place for part in found[start : start + 3] for place in part] for start in (0, 3, 6)]
    assert all(sorted(each) == list(range(10)) for each in passes)
    assert len({tuple(each) for each in passes}) == 3


def test_the_permutations_depend_on_the_place_in_the_run_alone() -> None:
    config, carried = config_of(passes=2), Carried(0.0)
    first = minibatches(10, config, carried)
    assert minibatches(10, config, carried) == first
    carried.position += 10
    assert minibatches(10, config, carried) != first


def test_parts_without_any_are_left_out() -> None:
    assert [len(part) for part in minibatches(2, config_of(passes=1, minibatches=4), Carried(0.0))] == [1, 1]
