"""The loss at step ends: by value, beside a naive twin, its gradient, and what must not move it."""

from __future__ import annotations

from itertools import pairwise
from math import log

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from toy_architectures import make_tokenizer, sentences
from toy_models import config_for

from rewardkit.config import RewardConfig
from rewardkit.data.records import Message
from rewardkit.data.stepwise.stepped_answer import SteppedAnswer
from rewardkit.losses import step_losses
from rewardkit.network.classifier import RewardScorer, make_classifier
from rewardkit.network.layout import attended_plainly
from rewardkit.training.loop import sum_parts
from rewardkit.training.stepwise.step_objective import StepObjective, held_out_logits, step_training_rows

TEXTS = sentences(12)
TOKENIZER = make_tokenizer("llama")


def answer(number: int, *labels: float | None) -> SteppedAnswer:
    prompt = (Message(role="user", content=TEXTS[number]),)
    return SteppedAnswer(prompt=prompt, steps=tuple(TEXTS[number + 1 : number + 1 + len(labels)]), labels=labels)


ANSWERS = [
    answer(0, 1.0, 0.25, None),
    answer(2, 0.0),
    answer(4, 0.5, 1.0),
    answer(6, None),
    answer(7, 0.9, 0.0, 1.0, 0.0),
]


def objective(**options: object) -> StepObjective:
    config = RewardConfig(**({"model": "tiny", "data": "x", "out": "y", "precision": "fp32"} | options))  # type: ignore[arg-type]
    classifier = make_classifier(config_for(TOKENIZER), seed=0, per_token=True)
    scorer = RewardScorer(classifier, num_members=config.ensemble, seed=config.seed, trains_bias=True)
    rows = step_training_rows(ANSWERS, TOKENIZER, max_length=400)
    return StepObjective(scorer, rows, rows, config)


def test_losses_by_value() -> None:
    """At z = log 3 sigma is 3/4: right -log 3/4, wrong -log 1/4, half of each at 0.5; at z = 0 log 2 whatever y."""
    losses = step_losses(torch.tensor([[log(3)] * 3, [0.0] * 3]), torch.tensor([1.0, 0.0, 0.5]))
    right, wrong = -log(0.75), -log(0.25)
    assert losses.tolist() == [pytest.approx([right, wrong, (right + wrong) / 2]), pytest.approx([log(2)] * 3)]


def test_losses_are_those_of_a_classifier_of_two_labels() -> None:
    logits, labels = torch.randn(7, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    two = torch.stack((torch.zeros(7), logits), dim=1)
    expected = torch.nn.functional.cross_entropy(two, labels, reduction="none")
    assert step_losses(logits, labels.float()).tolist() == pytest.approx(expected.tolist())


def test_losses_have_the_right_gradient() -> None:
    logits = torch.tensor([-2.0, 0.1, 1.5], requires_grad=True)
    labels = torch.tensor([0.3, 1.0, 0.0])
    step_losses(logits, labels).sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == pytest.approx((logits.sigmoid() - labels).tolist())  # d/dz = sigma(z) - y
    big = step_losses(torch.tensor([-200.0, 200.0]), torch.tensor([1.0, 0.0]))
    assert big.tolist() == [200.0, 200.0]  # and no overflow


def naive_loss(which: StepObjective, indices: list[int]) -> torch.Tensor:
    """The mean over judged steps, each read from a row that ends with it."""
    losses = []
    for index in indices:
        row, labels = which.rows.rows[index], which.rows.labels[index]
        for place, label in zip(row.read_places[0], labels.tolist(), strict=True):
            if label == label:
                ids = torch.tensor([row.prompt + row.branches[0][: place + 1]])
                state = which.network.classifier.base_model(input_ids=ids).last_hidden_state[0, -1]
                logit = which.network.heads[0] @ state + which.network.bias[0]
                p = torch.sigmoid(logit)
                losses.append(-(label * p.log() + (1 - label) * (1 - p).log()))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("token_budget", [4096, 40])
def test_loss_and_gradient_equal_a_naive_twin(token_budget: int) -> None:
    which = objective(token_budget=token_budget)
    batch = list(range(which.num_examples))
    assert which.num_examples == 4  # the answer without a label is left out
    columns = sum_parts(which, batch, measures=True, learns=True)
    parameters = [p for p in which.network.parameters() if p.requires_grad]
    gradients = [p.grad.clone() for p in parameters if p.grad is not None]
    which.network.zero_grad()
    with attended_plainly(which.network.classifier):
        expected = naive_loss(which, batch)
    expected.backward()
    assert float(columns[0, 0]) == pytest.approx(expected.item(), rel=1e-5)
    twin = [p.grad for p in parameters if p.grad is not None]
    assert len(gradients) == len(twin) > 5
    for ours, theirs in zip(gradients, twin, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_metrics_are_over_judged_and_decided_steps() -> None:
    which = objective(ensemble=2, bootstrap=False)
    with torch.no_grad():
        which.network.heads.zero_()
        which.network.bias.copy_(torch.tensor([1.0, -1.0]))
    part = which.part(list(range(4)), which.prepare(list(range(4))), measures=True)
    probability, accuracy = (part.sums / part.weights).tolist()
    assert probability == pytest.approx(0.5)
    # Labels above 0.5: 1, 1, 0.9, 1; below: 0.25, 0, 0, 0. Each member is right on its half.
    assert part.weights.tolist() == [18.0, 16.0]
    assert accuracy == 0.5


def test_bootstrap_weighs_members_apart() -> None:
    which = objective(ensemble=3, seed=4)
    assert which.weights.sum(1).tolist() == [4.0] * 3
    assert len({tuple(row) for row in which.weights.tolist()}) > 1


def test_label_smoothing_moves_labels_to_the_middle() -> None:
    plain, smooth = (objective(label_smoothing=share) for share in (0.0, 0.1))
    for which in (plain, smooth):
        with torch.no_grad():
            which.network.heads.zero_()
            which.network.bias.fill_(log(3))
    (one,) = [index for index, row in enumerate(plain.rows.labels) if len(row) == 1]  # a wrong step: y = 0, then 0.1
    parts = [which.part([one], which.prepare([one]), measures=True) for which in (plain, smooth)]
    losses = [part.loss.item() for part in parts]
    assert losses == pytest.approx([-log(0.25), -0.9 * log(0.25) - 0.1 * log(0.75)], rel=1e-5)


def test_held_out_logits_go_by_answer_and_their_nll_is_that_of_the_mean() -> None:
    which = objective(ensemble=2)
    logits = held_out_logits(which.network, which.held_out, which.config)
    assert [one.shape for one in logits] == [(2, 3), (2, 1), (2, 2), (2, 4)]
    labels = np.array([1.0, 0.25, np.nan, 0.0, 0.5, 1.0, 0.9, 0.0, 1.0, 0.0])
    mean = np.concatenate(logits, axis=1).mean(0)[~np.isnan(labels)]
    labels = labels[~np.isnan(labels)]
    p = 1 / (1 + np.exp(-mean))
    expected = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean()
    evaluated = which.evaluate()
    assert evaluated.loss == pytest.approx(expected)
    right = ((p > 0.5) == (labels > 0.5))[labels != 0.5]
    assert evaluated.metrics["accuracy"] == pytest.approx(right.mean())


def test_labels_of_a_cut_answer_go_with_the_rows_that_read_them() -> None:
    long = SteppedAnswer(prompt=ANSWERS[0].prompt, steps=tuple(TEXTS), labels=tuple(np.linspace(0, 1, 12).tolist()))
    rows = step_training_rows([long, ANSWERS[1]], TOKENIZER, max_length=60)
    assert rows.num_cut >= 1
    assert rows.starts[-1] == len(rows.rows)
    assert [start for start, _ in pairwise(rows.starts)] == list(rows.starts[:2])
    assert torch.cat(list(rows.labels[: rows.starts[1]])).tolist() == pytest.approx(list(long.labels))
    assert all(len(row.read_places[0]) == len(labels) for row, labels in zip(rows.rows, rows.labels, strict=True))
