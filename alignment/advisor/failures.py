"""How each way fails in a manner of its own, and the sign that shows it.

Of trainings that draw, the rows and rules of `alignment.watch.failure_modes`, which raise alarms while they train. DPO
and best-of-n have no steps that are watched so: their rows stand here.
"""

from __future__ import annotations

from dataclasses import dataclass

from alignment.advisor.ways import WayName
from alignment.watch.failure_modes import FAILURE_MODES

# By way the kinds of `FAILURE_MODES`: those that it alone has, or has first.
WATCHED: dict[WayName, tuple[str, ...]] = {
    "online-dpo": ("disagreement", "mode_collapse"),
    "grpo": ("zero_advantage", "length_bias", "entropy_collapse"),
    "ppo": ("useless_value", "large_updates", "kl_jump"),
}


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A way to fail.

    Attributes:
        title, cause, advice: for people.
        sign: what shows it.
        kind: of the alarm that sees it; empty where none does.
    """

    title: str
    cause: str
    sign: str
    advice: str
    kind: str = ""


OWN: dict[WayName, tuple[Failure, ...]] = {
    "sft+dpo": (
        Failure(
            title="Chosen answers grow unlikely",
            cause="The margin grows by pushing rejected answers down, and what shares words with them goes along",
            sign="logps/chosen falls from step to step while rewards/margins rises (Pal et al. 2024, arXiv 2402.13228)",
            advice="Raise beta, add the SFT term (sft_weight), or lower the learning rate",
        ),
        Failure(
            title="Pairs of another model",
            cause="Answers in the pairs are unlikely for this policy: it learns to tell them apart, not to write them",
            sign="rewards/accuracies is near 1 within an epoch, and the win rate of a blind round stays at one half",
            advice="Run SFT on the chosen answers first, or label pairs of its own samples",
        ),
    ),
    "best-of-n": (
        Failure(
            title="The reward's favourite, not people's",
            cause="The more answers compete, the likelier an error of the reward wins: KL is log n - (n - 1) / n",
            sign="The reward of the best goes on rising with n, and a blind round's win rate falls (Gao et al. 2023, "
            "arXiv 2210.10760)",
            advice="Lower n to where the win rate is highest, or take an ensemble and a penalty on disagreement",
        ),
        Failure(
            title="Every answer costs n",
            cause="Nothing is trained: each request draws n answers and scores them, for as long as it serves",
            sign="Seconds and GPU hours of serving, times n of the policy's own",
            advice="Fine-tune on the chosen answers: the command writes them as rows",
        ),
    ),
}


def failures(way: WayName) -> tuple[Failure, ...]:
    """Those of a way."""
    watched = [mode for kind in WATCHED.get(way, ()) for mode in FAILURE_MODES if mode.kind == kind]
    return (
        *OWN.get(way, ()),
        *(
            Failure(
                title=mode.title,
                cause=mode.cause,
                sign=(mode.sign.__doc__ or "").strip().partition("\n")[0],
                advice=mode.advice,
                kind=mode.kind,
            )
            for mode in watched
        ),
    )
