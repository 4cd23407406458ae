"""Annotators who are each of one mind and together of none: circles of the majority, and what Bradley-Terry says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.lessons.lesson import Choice, Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from annotate_app.ranking.bradley_terry import fit_bradley_terry, fit_resamples

A, B, C = 0, 1, 2
CIRCLE = np.array([[A, B, C], [B, C, A], [C, A, B]])
"""Condorcet's three annotators, best answer first."""
SPLIT = np.array([[A, B, C]] * 3 + [[B, C, A]] * 2)
"""Five annotators: a majority puts A before B and before C."""
NUMBERS = (1, 3, 5, 9, 15, 25, 51)
TABLES = 2_000


def wins_of(orders: np.ndarray) -> np.ndarray:
    """(..., M, M) how many annotators put row before column, from their orders (..., V, M), best first."""
    places = np.argsort(orders, axis=-1)
    return (places[..., :, None] < places[..., None, :]).sum(-3).astype(float)


def is_cyclic(wins: np.ndarray) -> np.ndarray:
    """(...) whether the majorities of a table (..., M, M) without ties go in a circle.

    They do not where the answers beat 0, 1, ..., M - 1 others (Landau 1953).
    """
    scores = np.sort((wins > wins.swapaxes(-1, -2)).sum(-1), axis=-1)
    return (scores != np.arange(wins.shape[-1])).any(-1)


def condorcet_winner(wins: np.ndarray) -> int | None:
    """The answer that a majority prefers to each other one, if there is one."""
    beaten = (wins > wins.T).sum(1)
    return int(beaten.argmax()) if beaten.max() == len(wins) - 1 else None


def strengths(wins: np.ndarray) -> np.ndarray:
    """(M,) log strengths that `fit_bradley_terry` reads off the votes; their differences are a reward's margins."""
    return fit_bradley_terry(wins, np.zeros_like(wins)).log_strength


def draw_orders(
    num_tables: int, num_annotators: int, num_answers: int, *, agreement: float, camps: int, seed: int
) -> np.ndarray:
    """(R, V, M) orders of annotators, best first.

    An annotator orders by what the camp finds, falling by `agreement` from its first answer to each next one, plus
    Gumbel noise of their own: within a camp every vote on a pair is Bradley-Terry (Luce 1959). Camps take turns, and
    each begins at another answer of the same circle.
    """
    rng = np.random.default_rng(seed)
    camp = np.arange(num_annotators) % camps
    first = camp * num_answers // camps
    worth = -agreement * ((np.arange(num_answers)[None] - first[:, None]) % num_answers)
    noise = rng.gumbel(size=(num_tables, num_annotators, num_answers))
    return np.argsort(-(worth + noise), axis=-1)


@dataclass(frozen=True, kw_only=True)
class Elections:
    """What became of many tables of votes.

    Attributes:
        cycles: share in which majorities go in a circle.
        unlike: share of the tables with an answer that beats every other one where Bradley-Terry puts another first.
    """

    cycles: float
    unlike: float


def elections(orders: np.ndarray) -> Elections:
    """Counts (R, V, M) orders; V odd, so that no majority is a tie.

    Half a vote is added to each side of each pair, so that all fits are finite; the order of strengths stays.
    """
    wins = wins_of(orders)
    num_answers = wins.shape[-1]
    beaten = (wins > wins.swapaxes(-1, -2)).sum(-1)
    has_winner = beaten.max(1) == num_answers - 1
    played = wins[has_winner] + 0.5 * (1 - np.eye(num_answers))
    fitted = fit_resamples(played, np.zeros_like(played), rule="half", start=np.zeros(num_answers))
    chosen = np.take_along_axis(fitted, beaten[has_winner].argmax(1)[:, None], 1)[:, 0]
    unlike = (chosen < fitted.max(1) - 1e-6).mean() if len(fitted) else 0.0
    return Elections(cycles=float(is_cyclic(wins).mean()), unlike=float(unlike))


def cycles_by_number(num_answers: int, *, agreement: float, camps: int) -> list[float]:
    """Share of circles at each of NUMBERS annotators."""
    return [
        float(is_cyclic(wins_of(draw_orders(TABLES, n, num_answers, agreement=agreement, camps=camps, seed=0))).mean())
        for n in NUMBERS
    ]


def move(values: Values) -> Picture:
    """Draws annotators and counts circles."""
    num_annotators, num_answers = round(values["annotators"]), round(values["answers"])
    agreement, camps = values["agreement"], 1 + 2 * round(values["camps"])
    orders = draw_orders(TABLES, num_annotators, num_answers, agreement=agreement, camps=camps, seed=1)
    counted = elections(orders)
    rows = [
        {"at": n, "value": share, "series": "majorities go in a circle"}
        for n, share in zip(NUMBERS, cycles_by_number(num_answers, agreement=agreement, camps=camps), strict=True)
    ]
    chart = curves(rows, axis="share of comparisons", across="annotators", percent=True)
    figures = [
        {f"of {TABLES:,} comparisons": "majorities go in a circle", "share": counted.cycles},
        {
            f"of {TABLES:,} comparisons": "one answer beats all others, Bradley-Terry puts another first",
            "share": counted.unlike,
        },
    ]
    words = (
        f"{num_annotators} annotators order {num_answers} answers. Where taste is shared, more annotators end the "
        "circles; where nothing is shared they do not, and camps turned against one another make circles certain."
    )
    return Picture(figures=figures, chart=chart, words=words)


def first_by_bradley_terry() -> str:
    """The answer that Bradley-Terry puts first on the votes of SPLIT."""
    return "ABC"[int(strengths(wins_of(SPLIT)).argmax())]


def everybody_is_consistent() -> Finding:
    """Condorcet's three annotators, their majorities and the strengths fitted to their votes."""
    wins = wins_of(CIRCLE)
    fitted = strengths(wins)
    return Finding(
        figures=[
            {
                "answer": "ABC"[one],
                "beats": "ABC"[other],
                "votes": f"{wins[one, other]:.0f} of 3",
                "reward": fitted[one],
            }
            for one, other in ((A, B), (B, C), (C, A))
        ],
        is_wrong=bool(is_cyclic(wins)),
    )


def a_third_answer_is_irrelevant() -> Finding:
    """A against B by the same five annotators, with and without votes on C."""
    wins = wins_of(SPLIT)
    with_c, without = strengths(wins), strengths(wins[:2, :2])
    return Finding(
        figures=[
            {"votes on": "A, B", "reward of A minus B": float(without[A] - without[B])},
            {"votes on": "A, B, C", "reward of A minus B": float(with_c[A] - with_c[B])},
        ],
        is_wrong=bool((without[A] > without[B]) != (with_c[A] > with_c[B])),
    )


ARROWS_PARADOX = Lesson(
    key="arrows-paradox",
    title="Arrow's paradox: annotators who agree with themselves and not together",
    text="""Three annotators order three answers: A B C, B C A, C A B. Two of three put A before B, two of three B
before C, and two of three C before A. Each annotator is consistent, the majority goes in a circle (Condorcet 1785).
Arrow (1950) showed that this is no accident of counting: with three answers or more, no rule turns all annotators'
orders into one order such that unanimity is kept, the order of two answers depends on votes about these two alone, and
no single annotator decides.

A reward model gives each answer one number, so its order can have no circle. Bradley-Terry answers the paradox by
giving something up: it fits all votes at once, so a third answer can turn the order of two. On the circle it says that
all three are equal, which no majority said.

Here each annotator orders answers by a shared taste plus noise of their own. Then every single vote *is* Bradley-Terry,
and circles are chance. In three camps whose tastes are turned against one another they are not.""",
    sliders=(
        Slider(name="annotators", label="Annotators", low=1, high=51, step=2, default=5),
        Slider(name="answers", label="Answers", low=3, high=6, step=1, default=3),
        Slider(name="agreement", label="How much taste is shared", low=0, high=3, step=0.25, default=0.5),
        Choice(name="camps", label="Tastes", options=("one", "three camps")),
    ),
    move=move,
    question=Question(
        text="Three annotators order A B C, two order B C A. Majorities put A before B and A before C. Which answer "
        "has the highest reward under Bradley-Terry, fitted to all their votes on pairs?",
        choices=("A", "B", "C"),
        answer=first_by_bradley_terry,
        why="Where all pairs are voted on equally often, Bradley-Terry orders by votes won: A 6, B 7, C 2. B wins 5 to "
        "0 against C, and that counts more than losing 2 to 3 against A.",
    ),
    mistakes=(
        Mistake(
            claim="If every annotator is consistent, the majority votes are, and some reward explains them.",
            run=everybody_is_consistent,
            instead="Each answer beats another by 2 to 1 and all rewards are 0: no reward fits all three "
            "majorities. That is no noise of training, and more of the same votes do not mend it.",
        ),
        Mistake(
            claim="Adding a third answer to the comparisons cannot change which of two is better.",
            run=a_third_answer_is_irrelevant,
            instead="Not a single vote on A and B has changed, yet their order has. By Arrow's theorem every rule that "
            "always gives an order pays some such price.",
        ),
    ),
    papers=(
        Paper(title="Arrow 1950, A difficulty in the concept of social welfare", link="https://doi.org/10.1086/256963"),
        Paper(
            title="Landau 1953, On dominance relations and the structure of animal societies: III",
            link="https://doi.org/10.1007/BF02476378",
        ),
        Paper(
            title="Conitzer et al. 2024, Social choice should guide AI alignment",
            link="https://arxiv.org/abs/2404.10271",
        ),
    ),
)
