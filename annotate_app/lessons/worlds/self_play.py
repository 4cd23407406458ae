"""SPIN: a policy that plays against its last self for demonstrations, and what it does when it has reached them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import log

import numpy as np
from scipy.special import softmax

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.lessons.worlds.tabular_policy import fit_by_pairs, kl_between
from annotate_app.pages.charts.curves import curves

NUM_ANSWERS, NUM_ROUNDS = 6, 6
GOLD = np.linspace(0.0, 1.0, NUM_ANSWERS)
"""What each answer is worth."""
MANY = 1e6
"""Pairs where demonstrations are without end."""


@dataclass(frozen=True, kw_only=True)
class Round:
    """A time of training on pairs of a demonstration and an own answer.

    Attributes:
        policy: (A,) what came of it.
        loss: at its end, nats a pair; log 2 at its beginning, where policy and reference are the same.
    """

    policy: np.ndarray
    loss: float


def people(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(A,) what people write, good answers more often, and the policy that begins."""
    rng = np.random.default_rng(seed)
    return softmax(1.5 * GOLD + 0.5 * rng.normal(size=NUM_ANSWERS)), softmax(0.8 * rng.normal(size=NUM_ANSWERS))


def spin_round(policy: np.ndarray, demonstrated: np.ndarray, drawn: np.ndarray, *, beta: float) -> Round:
    """Trains to the end on all pairs of a demonstration, chosen, and an own answer; the policy is the reference.

    Chen et al. 2024, eq. 4.7, their lambda being beta (arXiv 2401.01335). Without bounds on the policy and with exact
    frequencies the minimum is log policy' = log policy + (log demonstrated - log policy) / beta: what is missing,
    measured in logs, shrinks by 1 - 1 / beta.

    Args:
        demonstrated, drawn: (A,) how often each answer was demonstrated and drawn.
    """
    import torch

    from alignment.losses.pair import sigmoid_loss

    pairs = np.outer(demonstrated, drawn) / drawn.sum()
    fitted = fit_by_pairs(policy, np.eye(NUM_ANSWERS), pairs, partial(sigmoid_loss, beta=beta), beta=beta)
    moved = torch.tensor(np.log(fitted) - np.log(policy))
    losses = sigmoid_loss(moved[:, None], moved[None, :], beta=beta).losses.double().numpy()
    return Round(policy=fitted, loss=float((pairs * losses).sum() / pairs.sum()))


def spin(*, beta: float, num_demonstrations: int | None, seed: int) -> list[Round]:
    """Rounds of SPIN from the policy that begins, which is the first of them.

    Args:
        num_demonstrations: drawn once, and as many own answers in each round; None takes exact frequencies.
    """
    demonstrations, policy = people(seed)
    rng = np.random.default_rng(seed)
    size = num_demonstrations or MANY
    shown = rng.multinomial(num_demonstrations, demonstrations) if num_demonstrations else MANY * demonstrations
    rounds = [Round(policy=policy, loss=log(2))]
    for _ in range(NUM_ROUNDS):
        policy = rounds[-1].policy
        own = rng.multinomial(num_demonstrations, policy) if num_demonstrations else size * policy
        rounds.append(spin_round(policy, shown.astype(float), own.astype(float), beta=beta))
    return rounds


def left(policy: np.ndarray, demonstrations: np.ndarray) -> np.ndarray:
    """(A,) log demonstrations - log policy, about its mean: what is still to be learned."""
    apart = np.log(demonstrations) - np.log(policy)
    return apart - apart.mean()


def move(values: Values) -> Picture:
    """Plays rounds on demonstrations without end and on few."""
    beta, seed = values["beta"], round(values["world"])
    number = round(10 ** values["demonstrations"])
    demonstrations, _ = people(seed)
    runs = {
        "demonstrations without end": spin(beta=beta, num_demonstrations=None, seed=seed),
        f"{number:,} demonstrations": spin(beta=beta, num_demonstrations=number, seed=seed),
    }
    rows = [
        {"at": place, "value": kl_between(demonstrations, one.policy), "series": name}
        for name, rounds in runs.items()
        for place, one in enumerate(rounds)
    ]
    figures = [
        {
            "after round": str(place),
            "gold": float(one.policy @ GOLD),
            "loss": one.loss,
            "KL from the demonstrations": kl_between(demonstrations, one.policy),
        }
        for place, one in enumerate(next(iter(runs.values())))
    ]
    words = (
        f"Demonstrations are worth {demonstrations @ GOLD:.4f}, the best answer 1. A round multiplies what is left to "
        f"learn by 1 - 1 / beta = {1 - 1 / beta:.2f}; the table is of demonstrations without end."
    )
    return Picture(figures=figures, chart=curves(rows, axis="KL, nats", across="round"), words=words)


def left_after_one_round(beta: float) -> float:
    """The share of what was left to learn that still is after a round."""
    demonstrations, policy = people(0)
    after = spin_round(policy, MANY * demonstrations, MANY * policy, beta=beta).policy
    before = left(policy, demonstrations)
    return float(left(after, demonstrations) @ before / (before @ before))


def grows_without_limit() -> Finding:
    """Gold before and after the rounds, beside the demonstrations' and the best answer's."""
    demonstrations, policy = people(0)
    reached = spin(beta=1.0, num_demonstrations=None, seed=0)[-1].policy
    gold = {
        "where it begins": policy,
        f"after {NUM_ROUNDS} rounds": reached,
        "the demonstrations": demonstrations,
        "the best answer alone": np.eye(NUM_ANSWERS)[-1],
    }
    return Finding(
        figures=[{"policy": name, "gold": float(one @ GOLD)} for name, one in gold.items()],
        is_wrong=bool(abs(reached @ GOLD - demonstrations @ GOLD) < 0.01),
    )


def the_loss_goes_to_zero() -> Finding:
    """The loss at the end of each round, while the policy reaches the demonstrations."""
    rounds = spin(beta=2.0, num_demonstrations=None, seed=0)
    return Finding(
        figures=[{"after round": str(place), "loss": one.loss} for place, one in enumerate(rounds)][1:],
        is_wrong=rounds[-1].loss > rounds[1].loss and abs(rounds[-1].loss - log(2)) < 0.01,
    )


def small_beta_is_only_faster() -> Finding:
    """What is left after each of two rounds, by beta."""
    demonstrations, _ = people(0)
    rows = []
    for beta in (2.0, 1.0, 0.4):
        rounds = spin(beta=beta, num_demonstrations=None, seed=0)
        kl = [kl_between(demonstrations, one.policy) for one in rounds]
        rows.append(
            {"beta": f"{beta:g}", "KL at the start": kl[0], "round 1": kl[1], "round 2": kl[2], "round 6": kl[-1]}
        )
    return Finding(figures=rows, is_wrong=float(str(rows[-1]["round 6"])) > float(str(rows[-1]["KL at the start"])))


SELF_PLAY = Lesson(
    key="self-play",
    title="SPIN: self-play against demonstrations, and its end",
    text="""SPIN trains a policy on pairs that nobody voted on: a demonstration is chosen, an answer of the policy
itself is rejected, and the policy as it was is the reference. The loss is DPO's. Then the new policy draws new answers
and the next round begins.

With as many demonstrations as one likes, and trained to the end, a round does something simple: it multiplies what is
left to learn, log demonstrations - log policy, by 1 - 1 / beta. At beta 1 one round is enough. Above it the policy
approaches step by step, below it overshoots, and below 1/2 each round ends further off than it began. Real runs with a
beta of 0.1 stay sane because they stop long before their loss is at its lowest.

Where the policy writes what people write, chosen and rejected are alike. Every pair comes in both orders equally often,
the gradient is 0, and the game is over. With few demonstrations the policy reaches these few, and each round's draws
move it around them.

Six answers of known worth to one prompt; people write good ones more often.""",
    sliders=(
        Slider(name="beta", label="beta (SPIN's lambda)", low=0.4, high=4, step=0.1, default=2.0),
        Slider(
            name="demonstrations", label="Demonstrations, as a power of 10", low=1.5, high=4, step=0.25, default=2.0
        ),
        Slider(name="world", label="World", low=0, high=19, step=1, default=0),
    ),
    move=move,
    question=Question(
        text="What is left to learn is log demonstrations - log policy. Which share of it is left after one round with "
        "beta 4, trained to the end on demonstrations without end? (Two decimals.)",
        answer=lambda: left_after_one_round(4.0),
        tolerance=0.01,
        why="The loss is Bradley-Terry of beta times the log-ratio, and demonstrations win against own answers by "
        "log demonstrations - log policy. So the policy moves by a quarter of that, and 1 - 1/4 is left.",
    ),
    mistakes=(
        Mistake(
            claim="By self-play a model becomes better than its demonstrations, round after round.",
            run=grows_without_limit,
            instead="It becomes the demonstrations and stops. Getting beyond needs something that tells good answers "
            "from better ones: votes, a reward, a check.",
        ),
        Mistake(
            claim="As the policy learns the game, its loss falls towards 0.",
            run=the_loss_goes_to_zero,
            instead="The nearer the policy is, the less there is to tell apart, so each round ends at a higher loss: "
            "log 2 = 0.6931 when all is learned.",
        ),
        Mistake(
            claim="A smaller beta only makes it learn faster.",
            run=small_beta_is_only_faster,
            instead="Below 1 a round that is trained to its end overshoots, below 1/2 rounds diverge.",
        ),
    ),
    papers=(
        Paper(title="Chen et al. 2024, Self-play fine-tuning (SPIN)", link="https://arxiv.org/abs/2401.01335"),
        Paper(title="Rafailov et al. 2023, Direct preference optimization", link="https://arxiv.org/abs/2305.18290"),
    ),
    needs_torch=True,
)
