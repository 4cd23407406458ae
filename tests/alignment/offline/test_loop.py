"""The loop of policies in this process: it learns, resumes, splits and stops as it should, whatever the loss."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import NARROW, gpt2_config, llama_config
from transformers import PretrainedConfig, PreTrainedModel

from alignment.config.loss_names import PAIR_LOSSES, PairLossName
from alignment.config.training import DpoConfig, KtoConfig, SftConfig, TrainingConfig
from alignment.losses.by_name import PairLogps, pair_loss
from alignment.offline.dpo import DpoLoss, rows_for
from alignment.offline.kto import KtoLoss
from alignment.offline.objective import PolicyObjective, RowLoss, loop_options
from alignment.offline.run import batches_of
from alignment.offline.sft import SftLoss
from alignment.policy.policy import make_network
from alignment.policy.policy_forward import Forward
from alignment.policy.reference import with_reference
from alignment.policy.rows import PolicyRows
from rewardkit.data.records import Preference
from rewardkit.distributed import checkpoint
from rewardkit.distributed.checkpoint import Checkpoint
from rewardkit.network.logps import can_pack_policy, completion_logps
from rewardkit.network.packed_rows import Branched
from rewardkit.run.directory import Run
from rewardkit.run.directory import read_metrics as logged_metrics
from rewardkit.training import loop
from rewardkit.training.loop import Trained, sum_parts
from rewardkit.training.steps import means

LLAMA = llama_config(**NARROW, tie_word_embeddings=True)
GPT2 = gpt2_config(n_embd=16, n_head=2)


def toy_rows(count: int = 24, *, num_branches: int = 1, seed: int = 0) -> PolicyRows:
    """The first branch ends in 5 9, a second one in 6 9; weights and soft labels vary."""
    generator = torch.Generator().manual_seed(seed)

    def ids(*more: int) -> tuple[int, ...]:
        length = int(torch.randint(2, 9, (1,), generator=generator))
        return (*torch.randint(10, 60, (length,), generator=generator).tolist(), *more)

    rows = [
        Branched(prompt=ids(), branches=tuple(ids(5 + number, 9) for number in range(num_branches)))
        for _ in range(count)
    ]
    return PolicyRows(
        rows=rows,
        keep=None,
        weight=torch.rand(count, generator=generator) + 0.5,
        p_chosen=torch.where(torch.arange(count) % 4 == 0, 0.75, 1.0),
        margin=torch.zeros(count),
        desirable=torch.arange(count) % 2 == 0,
        prompts=[()] * count,
        partners=[
            Branched(prompt=row.prompt, branches=rows[(number + 1) % count].branches[:1])
            for number, row in enumerate(rows)
        ],
    )


def forward_of(network: PreTrainedModel | None = None, *, token_budget: int = 4096) -> Forward:
    network = network or make_network(LLAMA, seed=0)
    return Forward(network=network, packed=can_pack_policy(network), token_budget=token_budget, precision="fp32")


def objective_of(forward: Forward, loss: RowLoss, rows: PolicyRows, held_out: PolicyRows) -> PolicyObjective:
    return PolicyObjective(forward=forward, loss=loss, rows=rows, held_out=held_out)


def train(
    forward: Forward,
    loss: RowLoss,
    rows: PolicyRows,
    held_out: PolicyRows,
    config: TrainingConfig,
    run: Run,
    *,
    learning_rate: float,
    **options: Any,
) -> Trained:
    objective = objective_of(forward, loss, rows, held_out)
    numbers = loop_options(config, learning_rate=learning_rate)
    return loop.train(objective, batches_of(len(rows), config), numbers, run, **options)


def evaluate(forward: Forward, loss: RowLoss, rows: PolicyRows) -> Mapping[str, float]:
    return objective_of(forward, loss, rows, rows).evaluate().metrics


def backward(forward: Forward, loss: RowLoss, rows: PolicyRows, batch: list[int], *, with_entropy: bool) -> dict:
    """Adds the gradient of a step; its metrics."""
    objective = objective_of(forward, loss, rows, rows)
    return means(("loss", *objective.names), sum_parts(objective, batch, measures=with_entropy, learns=True))


def sft(forward: Forward, rows: PolicyRows, tmp_path: Path) -> tuple[RowLoss, PolicyRows]:
    return SftLoss(), rows


def dpo(forward: Forward, rows: PolicyRows, tmp_path: Path) -> tuple[RowLoss, PolicyRows]:
    config = DpoConfig(model="tiny", data="x", out="y")
    (found,) = with_reference(rows, forward=forward, cache_dir=tmp_path / "reference", is_first=True)
    return DpoLoss(config, forward, None), found


def aot(forward: Forward, rows: PolicyRows, tmp_path: Path) -> tuple[RowLoss, PolicyRows]:
    """A loss that sorts the pairs of the whole batch."""
    config = DpoConfig(model="tiny", data="x", out="y", loss="aot", sft_weight=0.3)
    hard = replace(rows, p_chosen=torch.ones(len(rows)))
    (found,) = with_reference(hard, forward=forward, cache_dir=tmp_path / "reference", is_first=True)
    return DpoLoss(config, forward, None), found


def kto(forward: Forward, rows: PolicyRows, tmp_path: Path) -> tuple[RowLoss, PolicyRows]:
    config = KtoConfig(model="tiny", data="x", out="y", beta=0.5)
    (found,) = with_reference(rows, forward=forward, cache_dir=tmp_path / "reference", is_first=True)
    return KtoLoss(config, forward, None), found


Make = Callable[[Forward, PolicyRows, Path], tuple[RowLoss, PolicyRows]]
ALGORITHMS = pytest.mark.parametrize(
    ("make", "num_branches"), [(sft, 1), (dpo, 2), (aot, 2), (kto, 1)], ids=["sft", "dpo", "aot", "kto"]
)


def run_of(tmp_path: Path, **options: object) -> tuple[TrainingConfig, Run, Checkpoint]:
    values = {"model": "tiny", "data": "x", "out": str(tmp_path / "run"), "batch_size": 8, "entropy_every": 1}
    config = SftConfig(**(values | options))  # type: ignore[arg-type]
    run = Run(config.out, config)
    return config, run, Checkpoint(run.dir / "checkpoints")


def fit(forward: Forward, objective: RowLoss, rows: PolicyRows, tmp_path: Path, **options: object) -> list[dict]:
    """Trains and evaluates on the same rows; returns the logged lines."""
    config, run, kept = run_of(tmp_path, **options)
    train(forward, objective, rows, rows, config, run, learning_rate=0.01, checkpoint=kept)
    return list(logged_metrics(run.dir))


@ALGORITHMS
def test_training_lowers_the_held_out_loss(make: Make, num_branches: int, tmp_path: Path) -> None:
    forward = forward_of()
    objective, rows = make(forward, toy_rows(num_branches=num_branches), tmp_path)
    before = evaluate(forward, objective, rows)
    lines = fit(forward, objective, rows, tmp_path, epochs=6)
    after = evaluate(forward, objective, rows)
    assert len(lines) == 18
    assert after["loss"] < 0.9 * before["loss"]
    assert lines[-1]["eval/loss"] == pytest.approx(after["loss"], rel=1e-6)
    assert all(
        {"loss", "entropy", "grad_norm", "learning_rate", "num_tokens", "tokens_per_s"} <= line.keys() for line in lines
    )
    sizes = [row.num_padded_free_tokens for row in rows.rows]
    assert lines[-1]["num_tokens"] == 6 * sum(sizes)
    if make is dpo:
        assert after["rewards/accuracies"] == 1.0
        assert after["rewards/margins"] == pytest.approx(after["rewards/chosen"] - after["rewards/rejected"])


@ALGORITHMS
@pytest.mark.parametrize("token_budget", [1, 40])
def test_micro_batches_change_neither_loss_nor_gradient(
    make: Make, num_branches: int, token_budget: int, tmp_path: Path
) -> None:
    found = []
    for budget in (4096, token_budget):
        network = make_network(LLAMA, seed=0)
        forward = forward_of(network, token_budget=budget)
        objective, rows = make(forward, toy_rows(num_branches=num_branches), tmp_path)
        with torch.no_grad():  # away from the reference, so that every term of the loss counts
            for number, parameter in enumerate(network.parameters()):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
        sums = backward(forward, objective, rows, list(range(12)), with_entropy=True)
        gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        found.append((sums, gradients))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-5, abs=1e-6)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@ALGORITHMS
def test_a_stopped_run_resumes_bit_for_bit(make: Make, num_branches: int, tmp_path: Path) -> None:
    rows = toy_rows(num_branches=num_branches)
    options = {"epochs": 2, "eval_every": 2}

    whole = forward_of()
    objective, data = make(whole, rows, tmp_path / "whole")
    config, run, kept = run_of(tmp_path / "whole", **options)
    train(whole, objective, data, data, config, run, learning_rate=0.01, checkpoint=kept)

    broken = forward_of()
    objective, data = make(broken, rows, tmp_path / "broken")
    config, other, kept = run_of(tmp_path / "broken", **options)
    asked = iter([False, False, True])
    stopped = train(
        broken, objective, data, data, config, other, learning_rate=0.01, checkpoint=kept, cancelled=lambda: next(asked)
    )
    assert (stopped.cancelled, stopped.num_steps) == (True, 3)

    resumed = forward_of()
    objective, data = make(resumed, rows, tmp_path / "broken")
    done = train(resumed, objective, data, data, config, other, learning_rate=0.01, checkpoint=kept)
    assert (done.cancelled, done.num_steps) == (False, 6)
    for (name, expected), (_, found) in zip(
        whole.network.named_parameters(), resumed.network.named_parameters(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=name)
    for one, two in zip(logged_metrics(run.dir), logged_metrics(other.dir), strict=True):
        clocked = ("time/at", "time/step_s", "tokens_per_s")
        assert {k: v for k, v in one.items() if k not in clocked} == {k: v for k, v in two.items() if k not in clocked}


def test_the_loss_of_sft_is_the_mean_over_kept_tokens() -> None:
    forward, rows = forward_of(), toy_rows(40)
    keep = [torch.arange(row.num_tokens - len(row.prompt)) % 2 == 0 for row in rows.rows]
    rows = replace(rows, keep=keep)
    found = evaluate(forward, SftLoss(), rows)
    total = count = entropy = tokens = right = 0.0
    with torch.no_grad():
        for row, kept, weight in zip(rows.rows, keep, rows.weight.tolist(), strict=True):
            plain = make_network(LLAMA, seed=0)
            plain.set_attn_implementation("eager")
            ids = torch.tensor([row.prompt + row.branches[0]])
            shares = plain(input_ids=ids).logits[0].log_softmax(-1)[len(row.prompt) - 1 : -1]
            logps = shares.gather(-1, torch.tensor(row.branches[0])[:, None])[:, 0]
            total -= weight * float(logps[kept].sum())
            count += weight * int(kept.sum())
            entropy -= float((shares.exp() * shares).sum(-1)[kept].sum())
            tokens += int(kept.sum())
            right += int((shares.argmax(-1) == torch.tensor(row.branches[0]))[kept].sum())
    assert found["loss"] == pytest.approx(total / count, rel=1e-5)
    assert found["entropy"] == pytest.approx(entropy / tokens, rel=1e-5)
    assert found["mean_token_accuracy"] == pytest.approx(right / tokens)


@pytest.mark.parametrize("config", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_the_first_dpo_loss_is_ln_2(config: PretrainedConfig, tmp_path: Path) -> None:
    forward = forward_of(make_network(config, seed=0))
    objective, rows = dpo(forward, toy_rows(num_branches=2), tmp_path)
    found = backward(forward, objective, rows, list(range(8)), with_entropy=False)
    assert found["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert abs(found["rewards/margins"]) < 1e-5
    assert "entropy" not in found


@pytest.mark.parametrize("loss", list(PAIR_LOSSES))
def test_every_loss_gives_the_gradient_of_its_formula(loss: PairLossName, tmp_path: Path) -> None:
    traits = PAIR_LOSSES[loss]
    config = DpoConfig(model="tiny", data="x", out="y", loss=loss, sft_weight=0.5, use_margin=traits.margin)
    rows = replace(toy_rows(6, num_branches=2), margin=torch.arange(6) / 4)
    if not traits.soft_labels:
        rows = replace(rows, p_chosen=torch.ones(6))
    network = make_network(LLAMA, seed=0)
    forward = forward_of(network, token_budget=30)
    (rows,) = with_reference(rows, forward=forward, cache_dir=tmp_path, is_first=True)
    assert rows.reference is not None
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    objective = DpoLoss(config, forward, None)
    metrics = backward(forward, objective, rows, list(range(6)), with_entropy=False)
    found = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
    network.zero_grad()
    logps = completion_logps(network, rows.rows, packed=forward.packed)
    chosen, rejected = logps.sums().view(-1, 2).unbind(1)
    lengths = logps.lengths.view(-1, 2).unbind(1)
    pairs = PairLogps(
        chosen=chosen,
        rejected=rejected,
        reference_chosen=rows.reference[:, 0],
        reference_rejected=rows.reference[:, 1],
        chosen_lengths=lengths[0],
        rejected_lengths=lengths[1],
    )
    p_chosen = rows.p_chosen if traits.soft_labels else None
    result = pair_loss(pairs, config.options, p_chosen=p_chosen, margin=rows.margin if traits.margin else None)
    losses = result.losses - 0.5 * chosen / lengths[0]
    expected = (losses * rows.weight).sum() / rows.weight.sum()
    expected.backward()
    expected = expected.detach()
    assert metrics["loss"] == pytest.approx(float(expected), rel=1e-5)
    assert metrics["rewards/margins"] == pytest.approx(float(result.margins.mean()), rel=1e-4, abs=1e-6)
    decided = rows.p_chosen > 0.5
    assert metrics["rewards/accuracies"] == pytest.approx(float(result.accuracies[decided].mean()))
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_a_loss_without_soft_labels_refuses_them() -> None:
    config = DpoConfig(model="tiny", data="x", out="y", loss="aot")
    pair = Preference(prompt=(), chosen="a", rejected="b", p_chosen=0.8)
    with pytest.raises(ValueError, match=r"loss aot takes no soft labels, 1 rows have a p_chosen below 1"):
        rows_for(config, [pair], None, max_length=10)  # type: ignore[arg-type]


def test_the_first_kto_loss_is_a_half(tmp_path: Path) -> None:
    # r = z = 0: 1 - sigma(0) on either side
    forward = forward_of()
    objective, rows = kto(forward, toy_rows(), tmp_path)
    found = evaluate(forward, objective, rows)
    assert found["loss"] == pytest.approx(0.5, abs=1e-6)
    assert found["kl"] == pytest.approx(0.0, abs=1e-5)


def test_the_baseline_of_kto_is_the_mean_ratio_of_partners_and_never_negative(tmp_path: Path) -> None:
    forward = forward_of()
    objective, rows = kto(forward, toy_rows(6), tmp_path)
    assert rows.partner_reference is not None
    above = replace(rows, partner_reference=rows.partner_reference - torch.tensor([[1.0], [2], [3], [4], [5], [6]]))
    assert objective.prepare(above, [1, 3, 4]) == pytest.approx((2 + 4 + 5) / 3, abs=1e-4)
    below = replace(rows, partner_reference=rows.partner_reference + 1.0)
    assert objective.prepare(below, [1, 3, 4]) == 0.0


def test_soft_labels_train_towards_their_share(tmp_path: Path) -> None:
    # d/ds of -(p log sigma(s) + (1 - p) log sigma(-s)) is 0 at s = log(p / (1 - p))
    forward = forward_of()
    objective, rows = dpo(forward, replace(toy_rows(8, num_branches=2), p_chosen=torch.full((8,), 0.75)), tmp_path)
    fit(forward, objective, rows, tmp_path, epochs=60, entropy_every=0, eval_every=60)
    assert evaluate(forward, objective, rows)["rewards/margins"] == pytest.approx(math.log(3), abs=0.15)


def test_a_loss_that_is_not_finite_stops_and_notes_the_batch(tmp_path: Path) -> None:
    forward, rows = forward_of(), toy_rows()
    config, run, kept = run_of(tmp_path)
    poisoned = replace(rows, weight=torch.where(torch.arange(24) == 7, float("nan"), 1.0))
    with pytest.raises(FloatingPointError, match=r"step \d: loss nan.*not_finite\.json"):
        train(forward, SftLoss(), poisoned, rows, config, run, learning_rate=0.01, checkpoint=kept)
    noted = json.loads((kept.dir / "not_finite.json").read_text())
    assert 7 in noted["rows"]
    assert all(torch.isfinite(parameter).all() for parameter in forward.network.parameters())


def test_the_best_weights_are_kept_when_asked_for(tmp_path: Path) -> None:
    # held-out rows are the opposite of the training pairs: every evaluation after the first is worse
    forward = forward_of()
    objective, rows = dpo(forward, toy_rows(num_branches=2), tmp_path)
    opposite = replace(rows, rows=[replace(row, branches=row.branches[::-1]) for row in rows.rows])
    assert rows.reference is not None
    opposite = replace(opposite, reference=rows.reference.flip(1))
    config, run, kept = run_of(tmp_path, keep="best", epochs=2, eval_every=2)
    trained = train(forward, objective, rows, opposite, config, run, learning_rate=0.01, checkpoint=kept)
    losses = {line["step"]: line["eval/loss"] for line in logged_metrics(run.dir) if "eval/loss" in line}
    assert (trained.best_step, trained.num_steps) == (2, 6)
    assert losses[2] < losses[4]
    assert evaluate(forward, objective, opposite)["loss"] == pytest.approx(losses[2], abs=1e-6)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward, rows = forward_of(), toy_rows()
    config, run, kept = run_of(tmp_path)

    def full(_values: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OSError, match=r"last\.pt could not be written: .*No space left"):
        train(forward, SftLoss(), rows, rows, config, run, learning_rate=0.01, checkpoint=kept)
    assert list(kept.dir.iterdir()) == []


def test_steps_are_counted_by_epochs_or_by_max_steps() -> None:
    config = SftConfig(model="tiny", data="x", out="y", batch_size=4, epochs=2, seed=3)
    by_epochs = batches_of(10, config)
    assert [len(batch) for batch in by_epochs] == [4, 4, 2, 4, 4, 2]
    assert sorted(index for batch in by_epochs[:3] for index in batch) == list(range(10))
    assert by_epochs[:3] != by_epochs[3:]
    assert batches_of(10, replace(config, max_steps=8))[:6] == by_epochs
    assert len(batches_of(10, replace(config, max_steps=8))) == 8
