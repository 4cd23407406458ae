"""The KL penalty: what too little and too much of it do, and where it is paid."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import minimise

ANSWERS = ("short", "clear", "helpful", "very helpful", "praise and no answer")
REFERENCE = (0.4, 0.3, 0.2, 0.099, 0.001)
PROXY = (0.0, 0.5, 1.0, 1.2, 4.0)
GOLD = (0.0, 0.5, 1.0, 1.2, -2.0)
BETAS = tuple(float(beta) for beta in np.geomspace(0.1, 10, 21))
POLICY_LOGPS, REFERENCE_LOGPS = (-1.0, -0.2, -2.0, -0.1, -0.5), (-1.5, -0.1, -2.4, -0.1, -1.9)
"""Of the five tokens of one answer that the policy drew."""


@lru_cache(maxsize=256)
def best_policy(betas: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The policies (N, 5) that maximise the expected proxy less beta times the KL, and their KL (N,), nats."""
    import torch

    from alignment.losses.kl import token_kl

    reference = torch.tensor(REFERENCE, dtype=torch.float64).log()
    paid = torch.tensor(PROXY, dtype=torch.float64) / torch.tensor(betas, dtype=torch.float64)[:, None]

    def lost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        logits = torch.from_numpy(flat).reshape(paid.shape).requires_grad_()
        logps = logits.log_softmax(1)
        total = (logps.exp() * (token_kl(logps, reference, "k1") - paid)).sum()
        (slopes,) = torch.autograd.grad(total, logits)
        return total.item(), slopes.numpy().ravel()

    start = reference.repeat(len(betas)).numpy()
    minimum = minimise(lost, start, tolerance=1e-7, max_iterations=1000)
    logps = torch.from_numpy(minimum.x).reshape(paid.shape).log_softmax(1)
    kl = (logps.exp() * token_kl(logps, reference, "k1")).sum(1)
    return logps.exp().numpy(), kl.numpy()


def move(values: Values) -> Picture:
    """What the best policy at a strength of the penalty is worth, by the reward it was given and by the true one."""
    beta = values["beta"]
    probabilities, kls = best_policy((beta,))
    figures = [
        {"what": "KL to the reference, nats", "value": float(kls[0])},
        {"what": "reward that it is paid", "value": float(probabilities[0] @ PROXY)},
        {"what": "true reward", "value": float(probabilities[0] @ GOLD)},
        *(
            {"what": f"probability: {name}", "value": float(p)}
            for name, p in zip(ANSWERS, probabilities[0], strict=True)
        ),
    ]
    curve, _ = best_policy(BETAS)
    rows = [
        {"at": place, "value": float(policy @ np.array(worth)), "series": name}
        for name, worth in (("reward that it is paid", PROXY), ("true reward", GOLD))
        for place, policy in zip(BETAS, curve, strict=True)
    ]
    return Picture(
        figures=figures,
        chart=curves(
            rows,
            axis="expected reward",
            across="beta",
            log=True,
            marks=[{"at": beta, "words": "where the slider stands"}],
        ),
        words="To the left the penalty is too weak: the policy finds the one answer whose reward is wrong. To the "
        "right "
        "it is too strong: the policy stays where it was.",
    )


def best_beta() -> str:
    """Which of four strengths gives the highest true reward."""
    choices = ("0.3", "1", "3", "10")
    worth = best_policy(tuple(map(float, choices)))[0] @ np.array(GOLD)
    return choices[int(worth.argmax())]


def wrong_sign() -> Finding:
    """Both signs of the log-ratio, averaged over what the policy draws."""
    import torch

    from alignment.losses.kl import token_kl

    reference = torch.tensor(REFERENCE, dtype=torch.float64).log()
    policy = torch.from_numpy(best_policy((1.0,))[0][0])
    right = float((policy * token_kl(policy.log(), reference, "k1")).sum())
    reversed_ = float((policy * token_kl(reference, policy.log(), "k1")).sum())
    return Finding(
        figures=[
            {"mean over samples of": "log policy - log reference", "nats": right},
            {"mean over samples of": "log reference - log policy", "nats": reversed_},
        ],
        is_wrong=right > 0.0 > reversed_,
    )


def paid_at_each_token() -> Finding:
    """The rewards that PPO gives to the tokens of one answer with a score of 1, at beta 0.2."""
    import torch

    from alignment.losses.advantages import token_rewards
    from alignment.losses.kl import token_kl

    kl = token_kl(torch.tensor(POLICY_LOGPS), torch.tensor(REFERENCE_LOGPS), "k1")
    rewards = token_rewards(torch.tensor([1.0]), kl, torch.tensor([len(kl)]), beta=0.2)
    figures = [
        {"token": str(place + 1), "log-ratio": float(kl[place]), "reward": float(rewards[place])}
        for place in range(len(kl))
    ]
    figures.append({"token": "sum", "log-ratio": float(kl.sum()), "reward": float(rewards.sum())})
    return Finding(figures=figures, is_wrong=bool((rewards[:-1].abs() > 0.01).any()))


def single_token_below_zero() -> Finding:
    """The three estimates of single tokens."""
    import torch

    from alignment.losses.kl import token_kl

    estimates = {
        name: token_kl(torch.tensor(POLICY_LOGPS), torch.tensor(REFERENCE_LOGPS), name) for name in ("k1", "k2", "k3")
    }
    return Finding(
        figures=[
            {"token": str(place + 1), **{name: float(values[place]) for name, values in estimates.items()}}
            for place in range(len(POLICY_LOGPS))
        ],
        is_wrong=bool((estimates["k1"] < 0).any()),
    )


KL_PENALTY = Lesson(
    key="kl-penalty",
    title="The KL penalty: too low, too high, per token",
    text="""A policy that is trained on a reward finds what the reward errs on. The penalty keeps it near the reference,
where the reward was learned:

    maximise  reward - beta KL(policy || reference)
    KL = mean over the policy's own samples of (log policy - log reference)

Here are five answers. The reward is right about four of them; the fifth, praise and no answer, is paid 4.0 and worth
-2.0, and the reference writes it once in a thousand times. The figures are those of the policy that maximises the line
above.""",
    sliders=(Slider(name="beta", label="beta, the strength of the penalty", low=0.1, high=5, step=0.1, default=1.0),),
    move=move,
    question=Question(
        text="Which strength gives the highest true reward?",
        choices=("0.3", "1", "3", "10"),
        answer=best_beta,
        why="At 0.3 the policy writes little but the fifth answer, at 10 it is the reference. Between, the good "
        "answers "
        "have gained and the wrong one has not yet.",
    ),
    mistakes=(
        Mistake(
            claim="The KL is the mean of log reference - log policy over the policy's samples.",
            run=wrong_sign,
            instead="That is its negative: subtracting it pays the policy for leaving the reference.",
        ),
        Mistake(
            claim="The penalty is one number, subtracted from the score of the whole answer.",
            run=paid_at_each_token,
            instead="The sum is the same, but each token pays for its own log-ratio; the score stands at the last one.",
        ),
        Mistake(
            claim="A KL is never negative, so no token's estimate is.",
            run=single_token_below_zero,
            instead="Only the mean is: the plain log-ratio k1 of single tokens has both signs; k2 and k3 never do.",
        ),
    ),
    papers=(
        Paper(
            title="Ziegler et al. 2019, Fine-tuning language models from human preferences",
            link="https://arxiv.org/abs/1909.08593",
        ),
        Paper(
            title="Stiennon et al. 2020, Learning to summarize from human feedback",
            link="https://arxiv.org/abs/2009.01325",
        ),
        Paper(
            title="Gao et al. 2023, Scaling laws for reward model overoptimization",
            link="https://arxiv.org/abs/2210.10760",
        ),
    ),
    needs_torch=True,
)
