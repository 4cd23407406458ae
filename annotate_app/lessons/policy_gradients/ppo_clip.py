"""PPO's clip: which ratios lose their gradient, and on which side."""

from __future__ import annotations

from annotate_app.lessons.lesson import Choice, Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.lessons.tables import as_text
from annotate_app.pages.charts.curves import curves

LOG_RATIOS = (0.1, 0.3, -0.1, 0.5)
CLIPS = (0.1, 0.2, 0.3, 1000.0)


def token_ratios() -> tuple[float, ...]:
    """The ratios of four tokens, from log-probabilities of -1 under the old policy."""
    import torch

    from alignment.losses.policy_gradient import CompletionTokens, ppo_loss

    logps = torch.tensor(LOG_RATIOS, dtype=torch.float64) - 1.0
    tokens = CompletionTokens(
        logps=logps,
        old_logps=torch.full_like(logps, -1.0),
        branch=torch.zeros(len(logps), dtype=torch.long),
        lengths=torch.tensor([len(logps)]),
    )
    return tuple(ppo_loss(tokens, torch.ones_like(logps), clip_range=0.2).ratio.tolist())


def losses_and_slopes(ratios: tuple[float, ...], advantage: float, clip: float) -> tuple[list[float], list[float]]:
    """PPO's loss at some ratios, and how it changes with them."""
    import torch

    from alignment.losses.policy_gradient import clipped_surrogate

    ratio = torch.tensor(ratios, dtype=torch.float64, requires_grad=True)
    losses = clipped_surrogate(ratio, torch.full_like(ratio, advantage), clip_low=clip, clip_high=clip).losses
    (slopes,) = torch.autograd.grad(losses.sum(), ratio)
    return losses.tolist(), slopes.tolist()


def move(values: Values) -> Picture:
    """The losses of four tokens, and the loss by ratio, at an advantage and a clip."""
    advantage, clip = values["advantage"], CLIPS[int(values["clip"])]
    ratios = token_ratios()
    losses, slopes = losses_and_slopes(ratios, advantage, clip)
    figures = [
        {"log-ratio": log_ratio, "ratio": ratio, "loss": loss, "slope by ratio": slope}
        for log_ratio, ratio, loss, slope in zip(LOG_RATIOS, ratios, losses, slopes, strict=True)
    ]
    places = tuple(place / 50 for place in range(20, 101))
    rows = [
        {"at": place, "value": loss, "series": name}
        for name, width in ((f"clip {clip:g}", clip), ("without a clip", CLIPS[-1]))
        for place, loss in zip(places, losses_and_slopes(places, advantage, width)[0], strict=True)
    ]
    return Picture(
        figures=figures,
        chart=curves(
            rows, axis="loss", across="ratio", marks=[{"at": at, "words": f"token, {as_text(at)}"} for at in ratios]
        ),
        words="A slope of 0 means that the token teaches nothing more. With a positive advantage that happens above "
        "1 + eps, with a negative one below 1 - eps, and never on the other side.",
    )


def loss_of_a_bad_token() -> float:
    """The loss at ratio 1.649 with an advantage of -1 and a clip of 0.2."""
    return losses_and_slopes((token_ratios()[3],), -1.0, 0.2)[0][0]


def clipping_the_advantage() -> Finding:
    """Slopes where the ratio is clipped, and where the advantage is instead."""
    import torch

    from alignment.losses.policy_gradient import clipped_surrogate

    ratio = torch.tensor(token_ratios(), dtype=torch.float64, requires_grad=True)
    advantages = torch.full_like(ratio, 3.0)
    right = clipped_surrogate(ratio, advantages, clip_low=0.2, clip_high=0.2).losses
    wrong = clipped_surrogate(ratio, advantages.clamp(0.8, 1.2), clip_low=1000.0, clip_high=1000.0).losses
    right_slopes, wrong_slopes = (torch.autograd.grad(loss.sum(), ratio)[0].tolist() for loss in (right, wrong))
    return Finding(
        figures=[
            {"ratio": at, "slope, ratio clipped": a, "slope, advantage clipped": b}
            for at, a, b in zip(ratio.tolist(), right_slopes, wrong_slopes, strict=True)
        ],
        is_wrong=right_slopes[3] == 0.0 and wrong_slopes[3] < -1.0,
    )


def both_sides() -> Finding:
    """Slopes of the four tokens at both signs of the advantage."""
    ratios = token_ratios()
    good, bad = (losses_and_slopes(ratios, advantage, 0.2)[1] for advantage in (1.0, -1.0))
    return Finding(
        figures=[
            {"ratio": at, "slope, advantage +1": a, "slope, advantage -1": b}
            for at, a, b in zip(ratios, good, bad, strict=True)
        ],
        is_wrong=good[3] == 0.0 and bad[3] != 0.0,
    )


def drift(clip: float, *, steps: int = 200) -> float:
    """KL of the old policy to the new one, nats, after gradient steps on one batch of four answers."""
    import torch

    from alignment.losses.kl import token_kl
    from alignment.losses.policy_gradient import clipped_surrogate

    old = torch.zeros(4, dtype=torch.float64).log_softmax(0)
    advantages = torch.tensor([1.0, 0.5, -0.5, -1.0], dtype=torch.float64)
    logits = old.clone().requires_grad_()
    for _ in range(steps):
        ratio = (logits.log_softmax(0) - old).exp()
        loss = clipped_surrogate(ratio, advantages, clip_low=clip, clip_high=clip).losses.mean()
        (slope,) = torch.autograd.grad(loss, logits)
        logits = (logits - 0.5 * slope).detach().requires_grad_()
    return float((old.exp() * token_kl(old, logits.detach().log_softmax(0), "k1")).sum())


def without_bounds() -> Finding:
    """How far 200 steps on one batch carry the policy."""
    figures = [{"eps": f"{clip:g}", "KL to the policy that drew, nats": drift(clip)} for clip in CLIPS]
    return Finding(figures=figures, is_wrong=drift(1000.0) > 10 * drift(0.2))


PPO_CLIP = Lesson(
    key="ppo-clip",
    title="PPO's clip: which tokens still learn",
    text="""PPO makes several steps on the same samples. The further the policy has moved from the one that drew them,
the less the samples say, so each token's gain is bounded:

    ratio = exp(log policy - log old policy)
    loss  = max(-A ratio, -A clip(ratio, 1 - eps, 1 + eps))

Four tokens have log-ratios of 0.1, 0.3, -0.1 and 0.5: ratios of 1.105, 1.350, 0.905 and 1.649. A is the advantage: how
much better than expected the token was. Many texts call trainers that are gone: TRL's `PPOTrainer` with its
`step(queries, responses, rewards)` is of versions before 0.12. Check what the library that you have offers.""",
    sliders=(
        Slider(name="advantage", label="Advantage", low=-2, high=2, step=0.5, default=1.0),
        Choice(name="clip", label="eps", options=tuple(f"{clip:g}" for clip in CLIPS), default=1),
    ),
    move=move,
    question=Question(
        text="A token with an advantage of -1 has a ratio of 1.649: the policy has made it more likely although it was "
        "bad. eps is 0.2. What is its loss? (Two decimals.)",
        answer=loss_of_a_bad_token,
        tolerance=0.006,
        why="max(1.649, 1.2) = 1.649. The maximum takes the worse of the two, so the way back is never cut off.",
    ),
    mistakes=(
        Mistake(
            claim="PPO clips the advantages to 1 - eps and 1 + eps.",
            run=clipping_the_advantage,
            instead="It clips the ratio. Clipping advantages leaves every token its gradient, however far it has "
            "moved.",
        ),
        Mistake(
            claim="A token whose ratio is out of bounds gets no gradient.",
            run=both_sides,
            instead="Only where moving on would gain: at 1.649 with a positive advantage, not with a negative one.",
        ),
        Mistake(
            claim="With eps = 1000 PPO still keeps the policy near the old one.",
            run=without_bounds,
            instead="Nothing is ever clipped: it is the plain importance-weighted policy gradient, on old samples.",
        ),
    ),
    papers=(
        Paper(
            title="Schulman et al. 2017, Proximal policy optimization algorithms (eq. 7)",
            link="https://arxiv.org/abs/1707.06347",
        ),
        Paper(title="Yu et al. 2025, DAPO: bounds of different width", link="https://arxiv.org/abs/2503.14476"),
    ),
    needs_torch=True,
)
