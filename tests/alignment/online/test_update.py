"""Optimizer steps on rollouts: no split changes them, and memory that runs out only makes the split finer."""

from __future__ import annotations

import logging

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import TEMPERATURE, toy_rollouts, toy_rows, toy_update, weights_of

from alignment.online.update import Minibatch, PolicyUpdate, is_out_of_memory
from alignment.policy.policy_forward import Forward
from alignment.rollouts.rollouts import Micro
from rewardkit.network.logps import CompletionLogps
from rewardkit.training.steps import Part

ROWS = toy_rows()


def part(logps: CompletionLogps, micro: Micro) -> Part:
    """Minus the log-probability of each completion, weighted by its number."""
    loss = -(logps.sums() * micro.branches).sum()
    return Part(loss=loss, sums=loss.detach()[None], weights=torch.ones(1))


def stepped(token_budget: int) -> tuple[torch.Tensor, torch.Tensor]:
    update = toy_update(token_budget=token_budget)
    rollouts = toy_rollouts(update, ROWS)
    found = update.step(rollouts, Minibatch(branches=range(len(rollouts)), total=7.0), part, num_metrics=1)
    return weights_of(update), found.sums


def test_micro_batches_do_not_change_a_step() -> None:
    (whole, sums), (split, split_sums) = stepped(10**6), stepped(16)
    torch.testing.assert_close(whole, split, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(sums[0], split_sums[0])
    assert not torch.equal(whole, weights_of(toy_update()))


def test_a_step_is_that_of_a_padded_loop() -> None:
    update, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    rollouts = toy_rollouts(update, ROWS)
    update.step(rollouts, Minibatch(branches=[2, 5], total=3.0), part, num_metrics=1)
    network = naive.forward.network
    network.set_attn_implementation("sdpa")
    for number in (2, 5):
        row = ROWS[number // 4]
        ids = torch.tensor([row.prompt + row.branches[number % 4]])
        logps = (network(input_ids=ids).logits[0, :-1] / TEMPERATURE).log_softmax(-1)
        picked = logps[len(row.prompt) - 1 :].gather(1, ids[0, len(row.prompt) :, None])
        (-number * picked.sum() / 3.0).backward()
    naive.optimizer.step()
    torch.testing.assert_close(weights_of(update), weights_of(naive), atol=4e-6, rtol=1e-5)


def test_memory_that_runs_out_halves_the_micro_batches(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = stepped(10**6)
    update = toy_update(token_budget=512)
    rollouts = toy_rollouts(update, ROWS)
    plain, most = Forward.logps, 90

    def limited(self: Forward, rows: list, **options: object) -> CompletionLogps:
        if sum(row.num_tokens for row in rows) > most:
            raise torch.OutOfMemoryError("no more")
        return plain(self, rows, **options)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(Forward, "logps", limited)
    with caplog.at_level(logging.WARNING):
        update.step(rollouts, Minibatch(branches=range(len(rollouts)), total=7.0), part, num_metrics=1)
    assert update.token_budget == 64
    assert "micro-batches have up to 64 tokens" in caplog.text
    torch.testing.assert_close(weights_of(update), expected, atol=4e-6, rtol=1e-5)
    most = 10
    with pytest.raises(torch.OutOfMemoryError):
        update.step(rollouts, Minibatch(branches=range(len(rollouts)), total=7.0), part, num_metrics=1)


def test_only_allocations_count_as_memory() -> None:
    assert is_out_of_memory(RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_values_of_all_tokens_do_not_depend_on_the_split() -> None:
    update: PolicyUpdate = toy_update(token_budget=24)
    rollouts = toy_rollouts(update, ROWS)
    found = update.over_tokens(
        rollouts,
        lambda logps, micro: torch.stack((logps.token_logps, micro.branches[logps.branch].float())),
        num_columns=2,
    )
    torch.testing.assert_close(found[0], rollouts.logps)
    assert torch.equal(found[1].long(), rollouts.branch)


def test_a_gradient_that_is_not_finite_stops() -> None:
    update = toy_update()
    rollouts = toy_rollouts(update, ROWS)

    def broken(logps: CompletionLogps, micro: Micro) -> Part:
        return Part(loss=logps.sums().sum() * float("nan"), sums=torch.zeros(1), weights=torch.ones(1))

    before = weights_of(update)
    with pytest.raises(FloatingPointError, match="gradient norm nan"):
        update.step(rollouts, Minibatch(branches=[0], total=1.0), broken, num_metrics=1)
    assert torch.equal(weights_of(update), before)
