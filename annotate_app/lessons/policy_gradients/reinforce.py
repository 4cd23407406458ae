"""REINFORCE: how much a baseline quietens the gradient, and which baseline leaves it as it is."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

if TYPE_CHECKING:
    from torch import Tensor

    from alignment.config.policy_gradient_names import BaselineName

LOGITS, REWARDS, NOISE = (0.0, 0.5, 0.0, -0.5), (1.0, 0.5, 0.0, -0.5), 0.5
NUM_BATCHES = 500
BASELINES: dict[str, BaselineName] = {
    "no baseline": "none",
    "mean of the others": "leave_one_out",
    "mean of all": "group",
}


def policy_gradients(answers: Tensor, rewards: Tensor, baseline: BaselineName) -> np.ndarray:
    """The gradient (N, 4) by the logits of each of N batches (N, G) of answers."""
    import torch

    from alignment.losses.advantages import group_advantages
    from alignment.losses.policy_gradient import reinforce_surrogate

    logits = torch.tensor(LOGITS, dtype=torch.float64).repeat(len(answers), 1).requires_grad_()
    advantages = group_advantages(rewards, baseline=baseline, scale="none")
    losses = reinforce_surrogate(logits.log_softmax(1).gather(1, answers), advantages).losses.mean(1)
    (slopes,) = torch.autograd.grad(losses.sum(), logits)
    return -slopes.numpy()


def sampled(offset: float, size: int, baseline: BaselineName) -> np.ndarray:
    """Gradients (N, 4) of batches of `size` answers, the same answers for every baseline."""
    import torch

    generator = torch.Generator().manual_seed(0)
    probabilities = torch.tensor(LOGITS, dtype=torch.float64).softmax(0)
    answers = torch.multinomial(probabilities, NUM_BATCHES * size, replacement=True, generator=generator)
    answers = answers.reshape(NUM_BATCHES, size)
    noise = NOISE * torch.randn(answers.shape, generator=generator, dtype=torch.float64)
    return policy_gradients(answers, torch.tensor(REWARDS, dtype=torch.float64)[answers] + offset + noise, baseline)


def variance(offset: float, size: int, baseline: BaselineName) -> float:
    """Of the gradient, summed over its four numbers, ddof 1."""
    return float(sampled(offset, size, baseline).var(0, ddof=1).sum())


def expected(baseline: BaselineName, *, size: int = 2, offset: float = 3.0) -> np.ndarray:
    """The exact mean (4,) of the gradient over all batches of `size` answers, each by its probability."""
    import torch

    probabilities = torch.tensor(LOGITS, dtype=torch.float64).softmax(0)
    answers = torch.tensor(list(product(range(len(LOGITS)), repeat=size)))
    rewards = torch.tensor(REWARDS, dtype=torch.float64)[answers] + offset
    weights = probabilities[answers].prod(1).numpy()
    return weights @ policy_gradients(answers, rewards, baseline)


def share_kept(baseline: BaselineName, *, size: int = 2) -> float:
    """How much of the gradient without a baseline is left on average."""
    plain = expected("none", size=size)
    return float(expected(baseline, size=size) @ plain / (plain @ plain))


def move(values: Values) -> Picture:
    """The gradient's variance by baseline, at an offset of all rewards and a number of samples."""
    offset, size = values["offset"], int(values["samples"])
    figures = [{"baseline": name, "variance": variance(offset, size, baseline)} for name, baseline in BASELINES.items()]
    rows = [
        {"at": place, "value": variance(float(place), size, baseline), "series": name}
        for name, baseline in BASELINES.items()
        for place in range(0, 11, 2)
    ]
    marks = [{"at": offset, "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="variance of the gradient", across="added to all rewards", marks=marks),
        words="A constant added to all rewards changes nothing that can be learned. Without a baseline it drowns the "
        "gradient in noise; the means of the same samples take it out.",
    )


def baseline_is_no_bias() -> Finding:
    """Exact expectations over all batches of two."""
    plain, others = expected("none"), expected("leave_one_out")
    return Finding(
        figures=[
            {"answer": str(place + 1), "no baseline": float(plain[place]), "mean of the others": float(others[place])}
            for place in range(len(plain))
        ],
        is_wrong=bool(np.allclose(plain, others)),
    )


def own_reward_in_the_mean() -> Finding:
    """How much of the gradient the mean of all leaves, by the size of the group."""
    shares = {size: share_kept("group", size=size) for size in (2, 3, 4, 5)}
    return Finding(
        figures=[{"samples": str(size), "gradient left": share} for size, share in shares.items()],
        is_wrong=max(shares.values()) < 0.9,
    )


REINFORCE = Lesson(
    key="reinforce",
    title="REINFORCE: what a baseline is for",
    text="""The plainest policy gradient makes each sampled answer more likely by its reward:

    loss = -(reward - baseline) log policy(answer)

With rewards around 10 every answer is pushed up, the good ones a little more; what is learned is the small difference
of large pushes. A baseline that does not depend on the answer itself takes the large part away and leaves the mean as
it is.

Four answers have rewards of 1, 0.5, 0 and -0.5, with noise. The variance is measured over 500 batches, the same for
each baseline.""",
    sliders=(
        Slider(name="offset", label="Added to all rewards", low=0, high=10, step=1, default=3),
        Slider(name="samples", label="Answers a batch", low=2, high=32, step=2, default=8),
    ),
    move=move,
    question=Question(
        text="Two answers a batch, the baseline is the mean of both. How much of the gradient is left on average, as a "
        "share of 1? (Two decimals.)",
        answer=lambda: share_kept("group"),
        tolerance=0.006,
        why="Half of the baseline is the answer's own reward: G samples leave 1 - 1 / G. The mean of the others "
        "leaves 1.",
    ),
    mistakes=(
        Mistake(
            claim="Subtracting a baseline biases the gradient.",
            run=baseline_is_no_bias,
            instead="Not one that does not depend on the answer: its part has an expected value of exactly 0.",
        ),
        Mistake(
            claim="The mean of the batch, own reward included, leaves the expected gradient unchanged.",
            run=own_reward_in_the_mean,
            instead="It shrinks it by a share of 1 / G. The direction stays, so with many samples nobody notices.",
        ),
    ),
    papers=(
        Paper(
            title="Williams 1992, Simple statistical gradient-following algorithms",
            link="https://doi.org/10.1007/BF00992696",
        ),
        Paper(
            title="Ahmadian et al. 2024, Back to basics: REINFORCE style optimization (RLOO)",
            link="https://arxiv.org/abs/2402.14740",
        ),
    ),
    needs_torch=True,
)
