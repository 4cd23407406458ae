"""Bradley-Terry, and why rewards are relative."""

from __future__ import annotations

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

CHOSEN, REJECTED = (1.6, 0.4, 2.0), (0.4, -0.6, 0.5)
"""Rewards of three pairs: margins of 1.2, 1.0 and 1.5."""


def losses_of(chosen: tuple[float, ...], rejected: tuple[float, ...], *, margin: float = 0.0) -> list[float]:
    """The loss of each pair."""
    import torch

    from rewardkit.losses import bradley_terry_loss

    asked = torch.full((len(chosen),), margin)
    return bradley_terry_loss(torch.tensor(chosen), torch.tensor(rejected), margin=asked).losses.tolist()


def mean_loss(chosen: tuple[float, ...], rejected: tuple[float, ...], *, margin: float = 0.0) -> float:
    """The mean over the pairs."""
    losses = losses_of(chosen, rejected, margin=margin)
    return sum(losses) / len(losses)


def move(values: Values) -> Picture:
    """The three pairs and the curve of the loss, shifted by a constant and by a margin."""
    constant, margin = values["constant"], values["margin"]
    chosen = tuple(reward + constant for reward in CHOSEN)
    rejected = tuple(reward + constant for reward in REJECTED)
    losses = losses_of(chosen, rejected, margin=margin)
    figures = [
        {"pair": str(number + 1), "chosen": chosen[number], "rejected": rejected[number], "loss": losses[number]}
        for number in range(3)
    ]
    places = tuple(place / 10 for place in range(-40, 41))
    zeros = (0.0,) * len(places)
    rows = [
        {"at": place, "value": loss, "series": f"margin asked {asked:g}"}
        for asked in sorted({0.0, margin})
        for place, loss in zip(places, losses_of(places, zeros, margin=asked), strict=True)
    ]
    chart = curves(rows, axis="loss, nats", across="chosen minus rejected reward")
    words = (
        f"Mean loss {sum(losses) / 3:.4f}. The constant changes every reward and no loss; a margin that is asked for "
        "moves the curve to the right by that much."
    )
    return Picture(figures=figures, chart=chart, words=words)


def exchanged() -> float:
    """The mean loss with chosen and rejected exchanged."""
    return mean_loss(REJECTED, CHOSEN)


def zero_is_no_threshold() -> Finding:
    """Two reward models that say the same, one of which calls every answer bad."""
    low = tuple(reward - 10.0 for reward in CHOSEN), tuple(reward - 10.0 for reward in REJECTED)
    as_is, shifted = mean_loss(CHOSEN, REJECTED), mean_loss(*low)
    return Finding(
        figures=[
            {"rewards": "as they are", "lowest chosen": min(CHOSEN), "mean loss": as_is},
            {"rewards": "10 lower", "lowest chosen": min(low[0]), "mean loss": shifted},
        ],
        is_wrong=abs(as_is - shifted) < 1e-5,
    )


def exchanging_is_seen() -> Finding:
    """The loss of the same pairs in both orders."""
    right = mean_loss(CHOSEN, REJECTED)
    return Finding(
        figures=[
            {"order": "chosen, rejected", "mean loss": right},
            {"order": "rejected, chosen", "mean loss": exchanged()},
        ],
        is_wrong=abs(right - exchanged()) > 0.1,
    )


BRADLEY_TERRY = Lesson(
    key="bradley-terry",
    title="Bradley-Terry: why rewards are relative",
    text="""People say which of two answers is better, never how good one is. Bradley and Terry's model takes each
answer to have a reward, and the difference of two rewards to be the log-odds that people prefer the first:

    P(chosen is preferred) = sigma(chosen reward - rejected reward)
    loss = -log sigma(chosen reward - rejected reward)

Only the difference is there. Add any constant to all rewards and nothing that anybody observed changes, so a reward of
0 is no threshold of good, and rewards of two models cannot be compared before they are centred.

Some votes come with a degree: "much better". A margin m asks for a difference of at least about m:
`-log sigma(difference - m)`.""",
    sliders=(
        Slider(name="constant", label="Constant added to every reward", low=-5, high=5, step=0.5, default=0.0),
        Slider(name="margin", label="Margin that is asked for", low=0, high=3, step=0.25, default=0.0),
    ),
    move=move,
    question=Question(
        text="The three pairs have a mean loss of about 0.26. By mistake, chosen and rejected are exchanged in the "
        "file. What is the mean loss of the same model now? (Three decimals.)",
        answer=exchanged,
        tolerance=0.005,
        why="-log sigma(-d) = d - log sigma(d): each loss grows by its pair's difference, the mean by 1.2333.",
    ),
    mistakes=(
        Mistake(
            claim="A reward below zero means that the answer is bad.",
            run=zero_is_no_threshold,
            instead="The loss cannot tell the two reward models apart: zero is where a constant happened to put it.",
        ),
        Mistake(
            claim="Which of the two columns comes first does not matter, the loss is symmetric.",
            run=exchanging_is_seen,
            instead="Exchanged pairs teach the opposite. A loss above log 2 = 0.693 on held-out pairs is a sign of it.",
        ),
    ),
    papers=(
        Paper(
            title="Bradley and Terry 1952, Rank analysis of incomplete block designs",
            link="https://doi.org/10.2307/2334029",
        ),
        Paper(
            title="Ouyang et al. 2022, Training language models to follow instructions",
            link="https://arxiv.org/abs/2203.02155",
        ),
        Paper(title="Touvron et al. 2023, Llama 2 (the margin, eq. 2)", link="https://arxiv.org/abs/2307.09288"),
    ),
    needs_torch=True,
)
