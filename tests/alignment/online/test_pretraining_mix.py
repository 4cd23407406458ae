"""A pretraining mix: its gradient is that of the formula, however it is split; runs with it, and a value rate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from online_toys import metrics_of, toy_rollouts, toy_rows, toy_update, weights_of

from alignment.__main__ import main
from alignment.config.online import GrpoConfig
from alignment.online.pretraining_mix import PretrainingMix
from alignment.online.update import Minibatch, PolicyUpdate
from alignment.policy.rows import PolicyRows
from alignment.rollouts.rollouts import Micro
from rewardkit.network.logps import CompletionLogps
from rewardkit.network.packed_rows import Branched
from rewardkit.training.steps import RATE_FACTOR, Part, set_learning_rate

ROWS = [Branched(prompt=(1, 2), branches=((3, 4, 5),)), Branched(prompt=(7,), branches=((8, 9, 10, 11, 12),))]


def mix(weight: float) -> PretrainingMix:
    ones = torch.ones(2)
    rows = PolicyRows(
        rows=ROWS, keep=None, weight=ones, p_chosen=ones, margin=ones, desirable=ones.bool(), prompts=[(), ()]
    )
    return PretrainingMix(rows=rows, weight=weight, seed=3)


def nothing(logps: CompletionLogps, micro: Micro) -> Part:
    return Part(loss=0.0 * logps.sums().sum(), sums=torch.zeros(1), weights=torch.ones(1))


def step(update: PolicyUpdate, number: int = 0) -> float:
    rollouts = toy_rollouts(update, toy_rows())
    minibatch = Minibatch(branches=range(6), total=6.0)
    stepped = update.step(rollouts, minibatch, nothing, num_metrics=2, number=number)
    return float(stepped.sums[0, -1] / stepped.sums[1, -1])


def test_the_step_is_that_of_the_formula() -> None:
    """weight times the mean over the tokens of six rows, drawn by seed, prompts and number of the step."""
    update, naive = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1)
    update.mix = mix(0.7)
    numbers = toy_rollouts(update, toy_rows()).numbers
    loss = step(update, number=2)
    picked = np.random.default_rng([3, *numbers, 2]).integers(2, size=6)
    assert 0 < picked.sum() < 6
    network = naive.forward.network
    network.set_attn_implementation("sdpa")
    total, count = torch.zeros(()), 0
    for row in (ROWS[number] for number in picked):
        ids = torch.tensor([row.prompt + row.branches[0]])
        logps = network(input_ids=ids).logits[0, :-1].log_softmax(-1)[len(row.prompt) - 1 :]
        total = total - logps.gather(1, ids[0, len(row.prompt) :, None]).sum()
        count += len(row.branches[0])
    (0.7 * total / count).backward()
    naive.optimizer.step()
    assert loss == pytest.approx(float(total.detach()) / count, rel=1e-5)
    torch.testing.assert_close(weights_of(update), weights_of(naive), atol=2e-6, rtol=1e-4)


def test_micro_batches_change_nothing_and_other_steps_take_other_rows() -> None:
    whole, split = toy_update(learning_rate=0.1), toy_update(learning_rate=0.1, token_budget=8)
    losses = []
    for update in (whole, split):
        update.mix = mix(1.0)
        losses.append(step(update))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(weights_of(whole), weights_of(split), atol=2e-6, rtol=1e-4)
    other = toy_update(learning_rate=0.1)
    other.mix = mix(1.0)
    assert len({step(other, number) for number in range(3)}) == 3


def test_a_group_may_have_a_rate_of_its_own() -> None:
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.ones(1)], RATE_FACTOR: 10.0}], lr=1.0)
    assert set_learning_rate(optimizer, 0.4, step=1, num_steps=100, warmup_share=0.02) == pytest.approx(0.2)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.2, 2.0])


def test_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="ptx_weight is 0"):
        GrpoConfig(model="m", prompts="p", out="o", reward=["json"], ptx_data="f", ptx_weight=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["grpo", "ppo"])
def test_runs_keep_up_the_likelihood_of_given_texts(
    tmp_path: Path, policy_folders: tuple[Path, Path], command: str
) -> None:
    rows = [{"prompt": f"My kettle {number} arrived broken. What now?"} for number in range(24)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    texts = [{"text": "A new kettle leaves today, keep the old one."}, {"text": "We are sorry."}]
    (tmp_path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    more = ["--value-learning-rate=0.02", "--passes=2"] if command == "ppo" else ["--completions-per-prompt=2"]
    words = [
        *(command, f"--model={policy_folders[0]}", f"--prompts={tmp_path}/prompts.jsonl", "--reward=length:3"),
        *("--max-steps=6", "--prompts-per-step=4", "--max-new-tokens=6", "--learning-rate=0.003", "--precision=fp32"),
        *("--sample-every=0", "--audit-every=6", f"--ptx-data={tmp_path}/texts.jsonl", "--ptx-weight=1", *more),
    ]
    assert main([*words, f"--out={tmp_path / 'run'}"]) == 0
    losses = [row["ptx/loss"] or 0.0 for row in metrics_of(tmp_path / "run")]
    assert losses[-1] < 0.8 * losses[0]
