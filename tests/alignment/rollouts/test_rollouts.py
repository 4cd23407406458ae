"""Rollouts in flat rows of tokens: every completion is computed once, wherever its tokens go."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import toy_rollouts, toy_rows, toy_update

from alignment.rollouts.rollouts import Rollouts, joined


@pytest.fixture(scope="module")
def rollouts() -> Rollouts:
    return toy_rollouts(toy_update(), toy_rows())


def tokens_of(rollouts: Rollouts, branch: int) -> tuple[int, ...]:
    group, place = divmod(branch, rollouts.group_size)
    return rollouts.rows[group].branches[place]


@pytest.mark.parametrize("token_budget", [1, 20, 40, 4096])
def test_micro_batches_hold_every_completion_once(rollouts: Rollouts, token_budget: int) -> None:
    chosen = [0, 1, 3, 7, 8, 12, 19, 18]
    seen: list[int] = []
    flat = [token for row in rollouts.rows for branch in row.branches for token in branch]
    for micro in rollouts.micro_batches(chosen, token_budget=token_budget):
        branches = [branch for row in micro.rows for branch in row.branches]
        assert branches == [tokens_of(rollouts, number) for number in micro.branches.tolist()]
        assert [flat[place] for place in micro.tokens.tolist()] == [token for branch in branches for token in branch]
        prompts = [row.prompt for row in micro.rows]
        for row, prompt in zip(micro.rows, prompts, strict=True):
            assert prompt in {whole.prompt for whole in rollouts.rows}
            assert row.num_tokens <= max(token_budget, len(row.prompt) + max(map(len, row.branches)))
        seen += micro.branches.tolist()
    assert sorted(seen) == sorted(chosen)


def test_a_prompt_is_computed_once_where_memory_allows(rollouts: Rollouts) -> None:
    (micro,) = rollouts.micro_batches(range(len(rollouts)), token_budget=10**6)
    assert sorted(micro.rows, key=hash) == sorted(rollouts.rows, key=hash)


@pytest.mark.parametrize("token_budget", [1, 30, 4096])
def test_pairs_stay_together_and_in_order(rollouts: Rollouts, token_budget: int) -> None:
    pairs = {(3, 1), (8, 11), (19, 16), (13, 12)}
    given = [number for pair in pairs for number in pair]
    seen = []
    for micro in rollouts.micro_batches(given, token_budget=token_budget, together=True):
        assert all(len(row.branches) == 2 for row in micro.rows)
        branches = [branch for row in micro.rows for branch in row.branches]
        assert branches == [tokens_of(rollouts, number) for number in micro.branches.tolist()]
        seen += [tuple(pair) for pair in micro.branches.view(-1, 2).tolist()]
    assert len(seen) == 4
    assert set(seen) == pairs


def test_parts_and_their_sum(rollouts: Rollouts) -> None:
    part, rest = rollouts.take([3, 1]), rollouts.take([0])
    assert part.numbers == (3, 1)
    assert part.texts == tuple(f"text {number}" for number in (12, 13, 14, 15, 4, 5, 6, 7))
    assert part.lengths.tolist() == [len(tokens_of(rollouts, number)) for number in (12, 13, 14, 15, 4, 5, 6, 7)]
    assert torch.equal(part.logps[: part.lengths[0]], rollouts.logps[rollouts.places([12])])
    whole = joined([rest, part])
    assert whole.take([2]).texts == rollouts.take([1]).texts
    assert torch.equal(whole.take([2]).logps, rollouts.take([1]).logps)
    assert whole.num_tokens == rest.num_tokens + part.num_tokens
