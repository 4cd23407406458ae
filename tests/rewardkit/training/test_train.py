"""The training loop in this process: best weights kept, early stopping, NaN, LoRA, criteria, gradient checkpointing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_models import NARROW, config_of, gpt2_config, llama_config
from transformers import PretrainedConfig

from rewardkit.config import RewardConfig
from rewardkit.distributed import checkpoint
from rewardkit.distributed.checkpoint import Checkpoint, TrainingState
from rewardkit.distributed.optimization import schedule
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.models import add_adapters, linear_layers, merge_adapters, recompute_activations
from rewardkit.network.packed_rows import Branched
from rewardkit.run.directory import Run, read_metrics
from rewardkit.training import loop
from rewardkit.training.loop import Trained, step_batches, sum_parts
from rewardkit.training.reward_objective import (
    RewardObjective,
    TieParameter,
    evaluate_rows,
    head_weights,
    loop_options,
    score_rows,
)
from rewardkit.training.rows import TrainingRows

LLAMA = llama_config(**NARROW)


def toy_rows(count: int = 24, *, seed: int = 0, criteria: bool = False) -> TrainingRows:
    """Chosen answers hold token 5, rejected ones token 6; by criterion `odd` the rejected one is better."""
    generator = torch.Generator().manual_seed(seed)

    def ids(*more: int) -> tuple[int, ...]:
        length = int(torch.randint(2, 9, (1,), generator=generator))
        return (*torch.randint(10, 60, (length,), generator=generator).tolist(), *more)

    odd = torch.zeros(1, count)
    return TrainingRows(
        rows=[Branched(prompt=ids(), branches=(ids(5, 9), ids(6, 9))) for _ in range(count)],
        p_chosen=torch.ones(count),
        weight=torch.ones(count),
        margin=torch.zeros(count),
        outcome_shares=torch.tensor([[1.0, 0.0, 0.0]]).repeat(count, 1),
        reliability_logits=torch.full((count,), 3.0),
        prompt=torch.arange(count),
        criteria=("odd",) if criteria else (),
        criterion_p=odd if criteria else torch.zeros(0, count),
        criterion_weight=(torch.arange(count) % 2 == 0).float()[None] if criteria else torch.zeros(0, count),
    )


def setup(
    tmp_path: Path, *, num_heads: int = 1, **options: object
) -> tuple[RewardScorer, RewardConfig, Run, Checkpoint]:
    values = {"model": "tiny", "data": "x", "out": str(tmp_path / "run"), "batch_size": 8, "precision": "fp32"}
    config = RewardConfig(**(values | {"learning_rate": 0.01} | options))  # type: ignore[arg-type]
    run = Run(config.out, config)
    scorer = RewardScorer(make_classifier(LLAMA, seed=0), num_members=num_heads)
    return scorer, config, run, Checkpoint(run.dir / "checkpoints")


def train(
    scorer: RewardScorer, rows: TrainingRows, held_out: TrainingRows, config: RewardConfig, run: Run, **options: Any
) -> Trained:
    batches = step_batches(len(rows), batch_size=config.batch_size, epochs=config.epochs, seed=config.seed)
    return loop.train(RewardObjective(scorer, rows, held_out, config), batches, loop_options(config), run, **options)


def test_a_learnable_rule_is_learned(tmp_path: Path) -> None:
    scorer, config, run, kept = setup(tmp_path, epochs=6, patience=0)
    held_out = toy_rows(16, seed=1)
    before = evaluate_rows(scorer, held_out, config).loss
    trained = train(scorer, toy_rows(), held_out, config, run, checkpoint=kept)
    after = evaluate_rows(scorer, held_out, config)
    assert trained.num_steps == 18
    assert after.loss == pytest.approx(trained.best_loss, abs=1e-6)
    assert after.loss < 0.2 < before
    assert after.metrics["accuracy"] == 1.0


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    # held-out pairs are the opposite of the training pairs: every evaluation after the first is worse
    scorer, config, run, kept = setup(tmp_path, epochs=10, eval_every=2, patience=2)
    rows = toy_rows()
    opposite = replace(rows, rows=[replace(row, branches=row.branches[::-1]) for row in rows.rows])
    trained = train(scorer, rows, opposite, config, run, checkpoint=kept)
    logged = {row["step"]: row["eval/nll"] for row in read_metrics(run.dir) if "eval/nll" in row}
    assert trained.stopped_early
    assert not trained.cancelled
    assert list(logged) == [2, 4, 6]
    assert (trained.best_step, trained.num_steps) == (2, 6)
    assert logged[2] < logged[4]
    assert evaluate_rows(scorer, opposite, config).loss == pytest.approx(logged[2], abs=1e-6)
    assert [file.name for file in kept.dir.glob("best-*")] == ["best-2.pt"]


def test_an_early_stopped_run_that_is_resumed_trains_no_further(tmp_path: Path) -> None:
    scorer, config, run, kept = setup(tmp_path, epochs=10, eval_every=2, patience=1)
    rows = toy_rows()
    opposite = replace(rows, rows=[replace(row, branches=row.branches[::-1]) for row in rows.rows])
    first = train(scorer, rows, opposite, config, run, checkpoint=kept)
    again = RewardScorer(make_classifier(LLAMA, seed=5))
    second = train(again, rows, opposite, config, run, checkpoint=kept)
    assert (second.num_steps, second.best_step, second.best_loss) == (first.num_steps, 2, first.best_loss)
    torch.testing.assert_close(again.heads, scorer.heads, rtol=0, atol=0)


def test_a_loss_that_is_not_finite_stops_and_notes_the_batch(tmp_path: Path) -> None:
    scorer, config, run, kept = setup(tmp_path)
    rows = toy_rows()
    poisoned = replace(rows, weight=torch.where(torch.arange(24) == 7, float("nan"), 1.0))
    with pytest.raises(FloatingPointError, match=r"step \d: loss nan.*not_finite\.json"):
        train(scorer, poisoned, rows, config, run, checkpoint=kept)
    noted = json.loads((kept.dir / "not_finite.json").read_text())
    assert 7 in noted["rows"]
    assert len(noted["rows"]) == 8
    assert all(torch.isfinite(parameter).all() for parameter in scorer.parameters())


def test_a_cancelled_run_resumes_with_the_numbers_of_an_unbroken_one(tmp_path: Path) -> None:
    whole, config, run, kept = setup(tmp_path / "whole", epochs=2, eval_every=2)
    train(whole, toy_rows(), toy_rows(8, seed=1), config, run, checkpoint=kept)
    broken, config, other, kept = setup(tmp_path / "broken", epochs=2, eval_every=2)
    asked = iter([False, False, True])
    stopped = train(
        broken, toy_rows(), toy_rows(8, seed=1), config, other, checkpoint=kept, cancelled=lambda: next(asked)
    )
    assert stopped.cancelled
    assert stopped.num_steps == 3
    resumed = RewardScorer(make_classifier(LLAMA, seed=99))
    done = train(resumed, toy_rows(), toy_rows(8, seed=1), config, other, checkpoint=kept)
    assert done.num_steps == 6
    for (name, expected), (_, found) in zip(whole.named_parameters(), resumed.named_parameters(), strict=True):
        if expected.requires_grad:
            torch.testing.assert_close(found, expected, rtol=0, atol=0, msg=name)
    losses = [[row["loss"] for row in read_metrics(each.dir)] for each in (run, other)]
    assert losses[0] == losses[1]


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    scorer, config, run, kept = setup(tmp_path)
    train(scorer, toy_rows(), toy_rows(8), config, run, checkpoint=kept)
    with pytest.raises(ValueError, match="state of another model"):
        train(RewardScorer(make_classifier(LLAMA, seed=0), num_members=2), toy_rows(), toy_rows(8),
              replace(config, ensemble=2), run, checkpoint=kept)  # fmt: skip


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scorer, config, run, kept = setup(tmp_path)

    def full(_values: object, file: Path) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    with pytest.raises(OSError, match=r"best-3\.pt could not be written: .*No space left"):
        train(scorer, toy_rows(), toy_rows(8), replace(config, eval_every=3), run, checkpoint=kept)
    assert list(kept.dir.iterdir()) == []


def test_best_weights_of_a_lost_future_are_not_taken_for_the_state_s_own(tmp_path: Path) -> None:
    # killed after the evaluation of step 4 wrote its weights, before the state of step 4: the state of step 3 counts
    scorer, _config, _run, kept = setup(tmp_path)
    tie, optimizer = TieParameter(), torch.optim.AdamW(scorer.parameters())
    state = TrainingState(step=3, best_step=2, best_nll=0.5)
    kept.write_best(2, scorer, tie)
    kept.write(state, scorer, tie, optimizer)
    expected = scorer.heads.detach().clone()
    scorer.heads.data.add_(1.0)
    kept.write_best(4, scorer, tie)
    restored = kept.restore(scorer, tie, optimizer)
    assert restored == state
    kept.load_best(restored, scorer, tie)
    torch.testing.assert_close(scorer.heads.detach(), expected)


def test_criterion_heads_learn_their_own_judgments(tmp_path: Path) -> None:
    scorer, config, run, kept = setup(tmp_path, num_heads=3, epochs=8, ensemble=2, patience=0)
    trained_on, held_out = toy_rows(64, criteria=True), toy_rows(16, seed=1, criteria=True)
    train(scorer, trained_on, held_out, config, run, checkpoint=kept)
    chosen, rejected = score_rows(scorer, held_out, config)
    assert (chosen[:2] > rejected[:2]).all()
    assert (chosen[2] < rejected[2]).float().mean() > 0.8
    metrics = evaluate_rows(scorer, held_out, config).metrics
    judged = held_out.criterion_weight[0] > 0
    assert metrics["accuracy/odd"] == float((chosen[2] < rejected[2])[judged].float().mean())


def test_a_row_without_a_criterion_s_judgment_does_not_move_its_head() -> None:
    config = RewardConfig(model="tiny", data="x", out="y", precision="fp32")
    rows = toy_rows(4, criteria=True)
    weights = head_weights(rows, config)
    assert weights.tolist() == [[1, 1, 1, 1], [1, 0, 1, 0]]
    scorer = RewardScorer(make_classifier(LLAMA, seed=0), num_members=2)
    sum_parts(RewardObjective(scorer, rows, rows, config), [1, 3], measures=False, learns=True)
    assert scorer.heads.grad is not None
    assert scorer.heads.grad[0].abs().max() > 0
    assert scorer.heads.grad[1].abs().max() == 0


def test_gradient_checkpointing_changes_nothing() -> None:
    config = RewardConfig(model="tiny", data="x", out="y", precision="fp32")
    found = []
    for recompute in (False, True):
        scorer = RewardScorer(make_classifier(LLAMA, seed=0)).train()
        if recompute:
            recompute_activations(scorer.classifier)
        objective = RewardObjective(scorer, toy_rows(6), toy_rows(6), config)
        loss = float(sum_parts(objective, [0, 1, 2, 3, 4, 5], measures=False, learns=True)[0, 0])
        found.append((loss, {name: p.grad for name, p in scorer.named_parameters() if p.grad is not None}))
    assert found[0][0] == found[1][0]
    assert found[0][1].keys() == found[1][1].keys()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, msg=name)


@pytest.mark.parametrize(
    "config",
    [LLAMA, gpt2_config(n_embd=16, n_head=2)],
    ids=["llama", "gpt2"],
)
def test_adapters_learn_and_merge_into_the_same_scores(config: PretrainedConfig, tmp_path: Path) -> None:
    classifier = make_classifier(config, seed=0)
    before = {name: p.detach().clone() for name, p in classifier.named_parameters()}
    adapted = add_adapters(classifier, rank=4, num_layers=0, seed=0)
    scorer = RewardScorer(classifier)
    assert scorer.packed
    trainable = [name for name, p in scorer.named_parameters() if p.requires_grad]
    assert all("lora_" in name or name == "heads" for name in trainable)
    options = RewardConfig(
        model="tiny",
        data="x",
        out=str(tmp_path / "run"),
        mode="lora",
        epochs=8,
        batch_size=8,
        learning_rate=0.02,
        precision="fp32",
        patience=0,
    )
    run = Run(options.out, options)
    held_out = toy_rows(16, seed=1)
    nll = evaluate_rows(scorer, held_out, options).loss
    trained = train(scorer, toy_rows(64), held_out, options, run, checkpoint=Checkpoint(run.dir / "checkpoints"))
    assert trained.best_loss < 0.7 * nll
    scores = score_rows(scorer, held_out, options)
    merge_adapters(adapted, tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    merged = score_rows(scorer, held_out, options)
    torch.testing.assert_close(merged, scores, atol=1e-4, rtol=1e-4)
    after = dict(scorer.classifier.named_parameters())
    assert after.keys() == before.keys()
    changed = {name for name, p in after.items() if not torch.equal(p, before[name])}
    assert len(changed) == len(linear_layers(scorer.classifier, num_layers=0))


def test_adapters_of_the_top_layer_only() -> None:
    classifier = make_classifier(LLAMA, seed=0)
    names = linear_layers(classifier, num_layers=1)
    assert len(names) == 7
    assert all(name.startswith("model.layers.1.") for name in names)
    with pytest.raises(ValueError, match="lora_layers is 3, the model has 2 layers"):
        linear_layers(classifier, num_layers=3)


def test_an_encoder_s_adapters_leave_its_pooling_trainable() -> None:
    config = config_of("bert", **NARROW)
    classifier = make_classifier(config, seed=0)
    add_adapters(classifier, rank=2, num_layers=1, seed=0)
    trained = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert all(".layer.1." in name and "lora_" in name for name in trained)


def test_the_schedule_rises_then_falls_to_zero() -> None:
    factors = [schedule(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert factors[10] == pytest.approx(1.0)
    assert factors[55] == pytest.approx(0.5)
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[99] < 0.001
