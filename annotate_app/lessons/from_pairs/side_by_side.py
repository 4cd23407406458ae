"""DPO, IPO, KTO and ORPO side by side: what each asks of the same pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

if TYPE_CHECKING:
    from torch import Tensor

REFERENCE_LOGP = -2.0  # of every token
LOSSES = ("DPO", "IPO", "KTO", "ORPO")
DIFFERENCES = tuple(place / 2 for place in range(-30, 31))


def losses_of(differences: Tensor, *, beta: float, length: float) -> dict[str, Tensor]:
    """The losses (N,) of pairs whose chosen log-ratio is half the difference and whose rejected one is minus that."""
    import torch

    from alignment.losses.anchored import kto_loss
    from alignment.losses.pair import ipo_loss, sigmoid_loss
    from alignment.losses.reference_free import orpo_loss

    chosen, rejected = differences / 2, -differences / 2
    lengths = torch.full_like(differences, length)
    reference = lengths * REFERENCE_LOGP
    no_kl = torch.zeros((), dtype=differences.dtype)
    desired, undesired = (
        kto_loss(ratios, torch.full(ratios.shape, fill_value=is_desirable), kl=no_kl, beta=beta).losses
        for ratios, is_desirable in ((chosen, True), (rejected, False))
    )
    return {
        "DPO": sigmoid_loss(chosen, rejected, beta=beta).losses,
        "IPO": ipo_loss(chosen, rejected, lengths, lengths, beta=beta).losses,
        "KTO": desired + undesired,
        "ORPO": orpo_loss(reference + chosen, reference + rejected, lengths, lengths, beta=beta).losses,
    }


def losses_and_slopes(
    differences: tuple[float, ...], *, beta: float, length: float
) -> dict[str, tuple[list[float], list[float]]]:
    """By loss, its values and how they change with the difference."""
    import torch

    at = torch.tensor(differences, dtype=torch.float64, requires_grad=True)
    return {
        name: (losses.tolist(), torch.autograd.grad(losses.sum(), at, retain_graph=True)[0].tolist())
        for name, losses in losses_of(at, beta=beta, length=length).items()
    }


def move(values: Values) -> Picture:
    """Four losses of the same pair, by the difference of its log-ratios."""
    beta, length, difference = values["beta"], values["length"], values["difference"]
    figures = [
        {"loss": name, "value": loss[0], "slope": slope[0]}
        for name, (loss, slope) in losses_and_slopes((difference,), beta=beta, length=length).items()
    ]
    rows = [
        {"at": place, "value": loss, "series": name}
        for name, (losses, _) in losses_and_slopes(DIFFERENCES, beta=beta, length=length).items()
        for place, loss in zip(DIFFERENCES, losses, strict=True)
    ]
    marks = [{"at": difference, "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="loss", across="chosen minus rejected log-ratio, nats", marks=marks),
        words="DPO pushes on for ever, less and less. IPO stops at its distance and pulls back beyond it. KTO "
        "gives up on "
        "what is hopelessly wrong. ORPO also wants the chosen answer likely by itself.",
    )


def turning_back() -> str:
    """The one loss that is least inside of the range."""
    turning = [
        name
        for name, (losses, _) in losses_and_slopes(DIFFERENCES, beta=0.5, length=10).items()
        if 0 < losses.index(min(losses)) < len(losses) - 1
    ]
    (only,) = turning
    return only


def ipo_minimum(beta: float, *, length: float = 10.0) -> float:
    """The difference per token at which IPO's loss is least: a step of Newton's, exact for a square."""
    (_, slopes) = losses_and_slopes((0.0, 1.0), beta=beta, length=length)["IPO"]
    return -slopes[0] / (slopes[1] - slopes[0]) / length


def ipo_reversed() -> Finding:
    """The distance at which IPO's loss is least, when chosen and rejected move apart alike."""
    distances = {beta: ipo_minimum(beta) for beta in (0.1, 0.5, 1.0)}
    return Finding(
        figures=[{"beta": f"{beta:g}", "distance per token, nats": at} for beta, at in distances.items()],
        is_wrong=distances[0.1] > distances[0.5] > distances[1.0],
    )


def single_answers() -> Finding:
    """KTO on three liked answers and no disliked one."""
    import torch

    from alignment.losses.anchored import kto_loss

    ratios = torch.tensor([-5.0, 0.0, 5.0], requires_grad=True)
    losses = kto_loss(ratios, torch.tensor([True, True, True]), kl=torch.zeros(()), beta=0.1).losses
    (slopes,) = torch.autograd.grad(losses.sum(), ratios)
    return Finding(
        figures=[
            {"log-ratio": float(ratio), "loss": float(loss), "slope": float(slope)}
            for ratio, loss, slope in zip(ratios.detach(), losses.detach(), slopes, strict=True)
        ],
        is_wrong=bool((slopes < 0).all()),
    )


def same_scale() -> Finding:
    """The four losses of an untouched pair, at beta 0.1."""
    losses = {name: loss[0] for name, (loss, _) in losses_and_slopes((0.0,), beta=0.1, length=10).items()}
    return Finding(
        figures=[{"loss": name, "at the reference": loss} for name, loss in losses.items()],
        is_wrong=max(losses.values()) > 10 * min(losses.values()),
    )


SIDE_BY_SIDE = Lesson(
    key="side-by-side",
    title="DPO, IPO, KTO and ORPO side by side",
    text="""Four losses see the same pair. d is the difference of the log-ratios, L the number of tokens:

    DPO   -log sigma(beta d)
    IPO   (d / L - 1 / (2 beta))²           with answers of the same length
    KTO   liked: 1 - sigma(beta (log-ratio - z)); disliked: 1 - sigma(beta (z - log-ratio)); here z = 0
    ORPO  -log p(chosen) / L - beta log sigma(log odds of chosen - log odds of rejected), no reference

Chosen and rejected move apart by half of d each. The reference gives each token a log-probability of -2.""",
    sliders=(
        Slider(name="difference", label="Difference d, nats", low=-15, high=15, step=0.5, default=2.0),
        Slider(name="beta", label="beta", low=0.1, high=1, step=0.1, default=0.5),
        Slider(name="length", label="Tokens of an answer", low=5, high=20, step=1, default=10),
    ),
    move=move,
    question=Question(
        text="Which of the four pulls the pair together again when it has moved too far apart?",
        choices=LOSSES,
        answer=turning_back,
        why="IPO is a square around its distance 1 / (2 beta). The others fall without end, if ever more slowly.",
    ),
    mistakes=(
        Mistake(
            claim="In IPO a larger beta asks for a larger distance.",
            run=ipo_reversed,
            instead="The distance is 1 / (2 beta): as in DPO, a larger beta holds the policy nearer to the reference.",
        ),
        Mistake(
            claim="KTO is a loss of pairs.",
            run=single_answers,
            instead="Each answer has a loss by itself: liked ones alone already teach. Pairs are one way to get them.",
        ),
        Mistake(
            claim="Whichever of these losses is lowest has learned most.",
            run=same_scale,
            instead="They do not share a scale: nothing has been learned here yet. Compare what policies write "
            "instead.",
        ),
    ),
    papers=(
        Paper(title="Azar et al. 2023, A general theoretical paradigm (IPO)", link="https://arxiv.org/abs/2310.12036"),
        Paper(title="Ethayarajh et al. 2024, KTO", link="https://arxiv.org/abs/2402.01306"),
        Paper(title="Hong et al. 2024, ORPO", link="https://arxiv.org/abs/2403.07691"),
    ),
    needs_torch=True,
)
