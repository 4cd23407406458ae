"""DPO's beta: the smaller it is, the further the policy goes."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import minimise

BETAS = tuple(float(beta) for beta in np.geomspace(0.05, 1.0, 13))


@lru_cache(maxsize=256)
def learned(beta: float, wrong_share: float) -> tuple[float, float, float]:
    """What DPO comes to on one pair whose votes are divided; the policy writes one of three answers.

    Returns:
        The difference of the log-ratios, the probability of the chosen answer, and the KL to the reference, nats.
    """
    import torch

    from alignment.losses.kl import token_kl
    from alignment.losses.pair import sigmoid_loss

    reference = torch.zeros(3, dtype=torch.float64).log_softmax(0)  # chosen, rejected, neither

    def loss_of(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.from_numpy(flat).requires_grad_()
        logratios = logits.log_softmax(0) - reference
        loss = sigmoid_loss(logratios[:1], logratios[1:2], beta=beta, label_smoothing=wrong_share).losses.sum()
        (slopes,) = torch.autograd.grad(loss, logits)
        return loss.item(), slopes.numpy()

    minimum = minimise(loss_of, reference.numpy(), tolerance=1e-6 * beta, max_iterations=300)
    logps = torch.from_numpy(minimum.x).log_softmax(0)
    kl = float((logps.exp() * token_kl(logps, reference, "k1")).sum())
    return float(logps[0] - logps[1]), float(logps[0].exp()), kl


def move(values: Values) -> Picture:
    """Where DPO ends on one pair, by beta."""
    beta, wrong_share = values["beta"], values["wrong"] / 100
    difference, probability, kl = learned(beta, wrong_share)
    figures = [
        {"what": "difference of log-ratios, nats", "value": difference},
        {"what": "beta times that", "value": beta * difference},
        {"what": "probability of the chosen answer", "value": probability},
        {"what": "KL to the reference, nats", "value": kl},
    ]
    rows = [
        {"at": place, "value": learned(place, wrong_share)[number], "series": name}
        for number, name in ((1, "probability of the chosen answer"), (2, "KL to the reference, nats"))
        for place in BETAS
    ]
    marks = [{"at": beta, "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="at the end of training", across="beta", log=True, marks=marks),
        words="beta times the difference is the same wherever beta stands: the log-odds of the votes. So a tenth "
        "of beta is "
        "ten times the difference.",
    )


def direction() -> str:
    """What going from 0.1 to 0.05 does to the KL."""
    before, after = learned(0.1, 0.2)[2], learned(0.05, 0.2)[2]
    return "further from it" if after > before else "nearer to it" if after < before else "the same"


def reversed_beta() -> Finding:
    """The KL to the reference at three betas."""
    kls = {beta: learned(beta, 0.2)[2] for beta in (0.1, 0.3, 1.0)}
    return Finding(
        figures=[{"beta": f"{beta:g}", "KL to the reference, nats": kl} for beta, kl in kls.items()],
        is_wrong=kls[0.1] > kls[0.3] > kls[1.0],
    )


def first_losses() -> Finding:
    """The loss before the first step, where the policy is the reference."""
    import torch

    from alignment.losses.pair import sigmoid_loss

    at_start = torch.zeros(1)
    losses = {beta: float(sigmoid_loss(at_start, at_start, beta=beta).losses) for beta in (0.01, 0.1, 1.0)}
    return Finding(
        figures=[{"beta": f"{beta:g}", "first loss": loss} for beta, loss in losses.items()],
        is_wrong=all(abs(loss - math.log(2)) < 1e-6 for loss in losses.values()),
    )


def both_fall() -> Finding:
    """The loss of a policy that has made both answers less likely, and of the reference."""
    import torch

    from alignment.losses.pair import sigmoid_loss

    chosen, rejected = torch.tensor([0.0, -5.0]), torch.tensor([0.0, -25.0])
    losses = sigmoid_loss(chosen, rejected, beta=0.1).losses.tolist()
    return Finding(
        figures=[
            {"log-ratio of chosen": float(up), "log-ratio of rejected": float(down), "loss": loss}
            for up, down, loss in zip(chosen, rejected, losses, strict=True)
        ],
        is_wrong=losses[1] < losses[0],
    )


DPO_BETA = Lesson(
    key="dpo-beta",
    title="DPO's beta, in the right direction",
    text="""DPO learns from pairs without a reward model: beta times the policy's log-ratio to the reference stands for
the reward.

    d = log-ratio of chosen - log-ratio of rejected
    loss = -log sigma(beta d)

beta is the strength of the penalty for leaving the reference. If 80 of 100 votes are for the first answer, the loss is
least where sigma(beta d) = 0.8, that is d = 1.386 / beta. A large beta is content with a small d.

Here the policy writes one of three answers, two of which are the pair; the figures are those at the end of
training.""",
    sliders=(
        Slider(name="beta", label="beta", low=0.05, high=1, step=0.05, default=0.1),
        Slider(name="wrong", label="Votes for the rejected answer, percent", low=5, high=40, step=5, default=20),
    ),
    move=move,
    question=Question(
        text="beta goes from 0.1 to 0.05. Where does the policy end, as seen from the reference?",
        choices=("nearer to it", "the same", "further from it"),
        answer=direction,
        why="With half of beta the difference must be twice as large before the pair counts as learned.",
    ),
    mistakes=(
        Mistake(
            claim="A higher beta lets the policy move further from the reference.",
            run=reversed_beta,
            instead="It holds the policy nearer: beta is the same beta as that of the KL penalty.",
        ),
        Mistake(
            claim="The first loss shows whether beta was chosen well.",
            run=first_losses,
            instead="It is log 2 at every beta, as the policy still is the reference. Another number is a fault.",
        ),
        Mistake(
            claim="When the loss falls, the chosen answers become more likely.",
            run=both_fall,
            instead="The loss sees the difference alone. Watch the log-ratio of chosen answers beside it.",
        ),
    ),
    papers=(
        Paper(
            title="Rafailov et al. 2023, Direct preference optimization (eq. 7)",
            link="https://arxiv.org/abs/2305.18290",
        ),
        Paper(title="Mitchell 2023, A note on DPO with noisy preferences", link="https://ericmitchell.ai/cdpo.pdf"),
    ),
    needs_torch=True,
)
