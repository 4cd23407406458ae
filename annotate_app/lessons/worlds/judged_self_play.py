"""Self-play before a judge of pairs: where it ends if one answer is best, and what it does in a circle."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.optimize import linprog
from scipy.special import expit

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.lessons.worlds.tabular_policy import fit_by_pairs
from annotate_app.pages.charts.curves import curves
from annotate_app.ranking.bradley_terry import fit_bradley_terry

NAMES = ("A", "B", "C")
FIRST = np.array([0.6, 0.3, 0.1])
"""The policy that begins."""
NUM_ROUNDS = 100
MANY = 1e6
"""Pairs of a round: so many that frequencies are probabilities."""


def preferences(*, circle: float, better: float) -> np.ndarray:
    """(3, 3) how often the judge prefers row to column.

    Args:
        circle: log-odds of A over B, of B over C and of C over A.
        better: log-odds that A has besides over B and B over C, half of what A has over C.
    """
    around = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]])
    height = np.array([1.0, 0.0, -1.0])
    return expit(circle * around + better * (height[:, None] - height[None, :]))


def play_round(policy: np.ndarray, preferred: np.ndarray, *, beta: float) -> np.ndarray:
    """(3,) the policy after a round of `alignment.losses.anchored.sppo_hard_loss` on pairs of its own answers.

    The loss draws an answer's log-ratio to (win rate against the policy - 1/2) / beta: multiplicative weights, by which
    Wu et al. 2024 (arXiv 2405.00675) look for the policy that no answer beats.
    """
    from alignment.losses.anchored import sppo_hard_loss

    wins = MANY * np.outer(policy, policy) * preferred
    return fit_by_pairs(policy, np.eye(len(policy)), wins, partial(sppo_hard_loss, beta=beta), beta=beta)


def play(preferred: np.ndarray, *, beta: float) -> np.ndarray:
    """(rounds + 1, 3) policies from FIRST on."""
    policies = [FIRST]
    for _ in range(NUM_ROUNDS):
        policies.append(play_round(policies[-1], preferred, beta=beta))
    return np.array(policies)


def least_win_rate(policy: np.ndarray, preferred: np.ndarray) -> float:
    """How often a policy wins against the answer that does best against it; 1/2 is the most there is."""
    return float((policy @ preferred).min())


def unbeaten(preferred: np.ndarray) -> np.ndarray:
    """(3,) the policy whose least win rate is 1/2: the von Neumann winner, by linear programming."""
    size = len(preferred)
    solved = linprog(
        np.append(np.zeros(size), -1.0),
        A_ub=np.column_stack((-preferred.T, np.ones(size))),
        b_ub=np.zeros(size),
        A_eq=np.append(np.ones(size), 0.0)[None],
        b_eq=[1.0],
    )
    return solved.x[:size]


def bradley_terry_choice(preferred: np.ndarray) -> np.ndarray:
    """(3,) the answer of the highest reward alone, fitted by Bradley-Terry to as many votes on each pair."""
    strengths = fit_bradley_terry(preferred * (1 - np.eye(len(preferred))), np.zeros_like(preferred)).log_strength
    return np.eye(len(preferred))[strengths.argmax()]


def move(values: Values) -> Picture:
    """Plays rounds before a judge, and looks for the best answer against what came of it."""
    preferred = preferences(circle=values["circle"], better=values["better"])
    policies = play(preferred, beta=values["beta"])
    rows = [
        {"at": number, "value": float(policy[place]), "series": f"probability of {name}"}
        for number, policy in enumerate(policies)
        for place, name in enumerate(NAMES)
    ]
    shown = {
        f"after {NUM_ROUNDS} rounds": policies[-1],
        "mean of all rounds": policies.mean(0),
        "first by Bradley-Terry, alone": bradley_terry_choice(preferred),
        "the one that nothing beats": unbeaten(preferred),
    }
    figures = [
        {"policy": name, "least win rate": least_win_rate(policy, preferred)}
        | {answer: float(chance) for answer, chance in zip(NAMES, policy, strict=True)}
        for name, policy in shown.items()
    ]
    words = (
        f"The judge prefers A to B in {preferred[0, 1]:.0%}, B to C in {preferred[1, 2]:.0%} and C to A in "
        f"{preferred[2, 0]:.0%} of cases. The least win rate is that against the answer which does best."
    )
    return Picture(figures=figures, chart=curves(rows, axis="probability", across="round"), words=words)


UNEVEN = np.array([[0.5, 0.7, 0.1], [0.3, 0.5, 0.7], [0.9, 0.3, 0.5]])
"""An uneven circle: A over B and B over C in 7 of 10 cases, C over A in 9."""


def it_ends_at_the_best() -> Finding:
    """How much the policy still moves in its last ten rounds, with a best answer and in a circle."""
    rows, moves = [], []
    for name, preferred in (("A is best", preferences(circle=0.0, better=1.0)), ("a circle", UNEVEN)):
        policies = play(preferred, beta=0.5)
        moves.append(float(np.ptp(policies[-11:], axis=0).max()))
        least = least_win_rate(policies[-1], preferred)
        rows.append({"preferences": name, "probabilities move by": moves[-1], "least win rate of the last": least})
    return Finding(figures=rows, is_wrong=moves[0] < 0.01 and moves[1] > 0.1)


def a_reward_says_the_same() -> Finding:
    """In a circle, the answer that Bradley-Terry puts first, and the mean of self-play."""
    policies = {
        "first by Bradley-Terry": bradley_terry_choice(UNEVEN),
        "mean of self-play": play(UNEVEN, beta=0.5).mean(0),
    }
    least = {name: least_win_rate(policy, UNEVEN) for name, policy in policies.items()}
    return Finding(
        figures=[{"policy": name, "least win rate": value} for name, value in least.items()],
        is_wrong=least["first by Bradley-Terry"] < least["mean of self-play"] - 0.1,
    )


JUDGED_SELF_PLAY = Lesson(
    key="judged-self-play",
    title="Self-play before a judge: the best answer, or none",
    text="""A policy draws two answers, a judge says which is better, and the policy learns from that; then it draws
again. It plays against itself, and what it looks for is a policy that no answer beats more often than not. SPPO does
this with squared losses that draw each answer's log-ratio to (its win rate against the policy - 1/2) / beta.

Where one answer is best, all ends there, and a reward model would have said the same. But a judge of pairs need not
have a reward in mind: A may be preferred to B, B to C and C to A. Then no single answer is unbeaten, yet a mixture is
(von Neumann 1928). The rounds circle around it. What comes near it is their *mean*, which is why such methods speak of
average policies, or hold the policy near a reference.

Here are three answers, and as many pairs of each round as one likes.""",
    sliders=(
        Slider(
            name="circle",
            label="A over B over C over A, log-odds",
            low=0,
            high=2,
            step=0.1,
            default=1.0,
        ),
        Slider(name="better", label="A better than B better than C: log-odds", low=0.1, high=2, step=0.1, default=0.2),
        Slider(name="beta", label="beta: how little a round moves", low=0.5, high=3, step=0.25, default=1.0),
    ),
    move=move,
    question=Question(
        text="A is preferred to B in 70 % of cases, B to C in 70 %, and C to A in 90 %. How often does the policy that "
        "no answer beats give B? (Two decimals, from 0 to 1.)",
        answer=lambda: float(unbeaten(UNEVEN)[1]),
        tolerance=0.01,
        why="An answer's share goes with the strength of the preference between the two *others*: A 0.2, B 0.4, C 0.2 "
        "above 1/2, in all 0.8, so B is given half of the time.",
    ),
    mistakes=(
        Mistake(
            claim="Self-play before a judge of pairs ends at the best answer.",
            run=it_ends_at_the_best,
            instead="Where preferences go in a circle there is none, and the last policy goes on turning. A judge of "
            "several criteria at once is such a judge more often than one thinks.",
        ),
        Mistake(
            claim="A reward fitted to the judge's votes finds what self-play finds.",
            run=a_reward_says_the_same,
            instead="A reward puts one answer first, and in a circle every single answer loses to another. The mixture "
            "wins about half of the time against all.",
        ),
    ),
    papers=(
        Paper(
            title="Wu et al. 2024, Self-play preference optimization (SPPO)", link="https://arxiv.org/abs/2405.00675"
        ),
        Paper(title="Munos et al. 2023, Nash learning from human feedback", link="https://arxiv.org/abs/2312.00886"),
        Paper(title="Swamy et al. 2024, A minimaximalist approach", link="https://arxiv.org/abs/2401.04056"),
    ),
    needs_torch=True,
)
