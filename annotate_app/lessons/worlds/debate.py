"""Debate before a judge who can check one claim of many: what two who disagree are worth, and where they fail."""

from __future__ import annotations

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

CLEAR = 0.95
"""How often the judge reads a clear claim right."""
NUM_ARGUMENTS = 1_000
NUMBERS = (1, 2, 4, 8, 16, 32)


def draw_sight(num_claims: int, *, murky: float, murky_sight: float, seed: int, clear: float = CLEAR) -> np.ndarray:
    """(R, N) how often the judge reads each claim of R arguments right.

    Args:
        murky: share of claims that are hard to read.
        murky_sight, clear: how often the judge is right about those and about the others.
    """
    is_murky = np.random.default_rng(seed).random((NUM_ARGUMENTS, num_claims)) < murky
    return np.where(is_murky, murky_sight, clear)


def random_claim(sight: np.ndarray) -> float:
    """Share of right verdicts where the judge checks a claim at random, and says that the argument holds if it does.

    Half of the arguments hold, in the others one claim is false, each as likely as the others. A verdict on an argument
    that holds is right as often as the claim is read right; on one that fails the judge has to hit the false claim, or
    to misread another.
    """
    hit = 1.0 / sight.shape[1]
    fails = hit * sight + (1.0 - hit) * (1.0 - sight)
    return float(0.5 * sight.mean() + 0.5 * fails.mean())


def debate(sight: np.ndarray, *, skill: float = 1.0) -> float:
    """The same where the debater who denies the argument says which claim to check.

    Honest, that debater points at the false claim; dishonest, as the argument holds, at the one that is read worst.

    Args:
        skill: how often the honest one knows the false claim; otherwise points at any.
    """
    blind = 2.0 * random_claim(sight) - float(sight.mean())
    fails = skill * float(sight.mean()) + (1.0 - skill) * blind
    return 0.5 * float(sight.min(1).mean()) + 0.5 * fails


def claim_of_defender(sight: np.ndarray) -> float:
    """The same where the debater who defends the argument says which claim to check: a true one that is read best."""
    holds = sight.max(1)
    return float(0.5 * holds.mean() + 0.5 * (1.0 - _best_of_others(sight)).mean())


def one_adviser(sight: np.ndarray) -> float:
    """The same where one adviser argues for a side, as often the wrong as the right one, and says what to check."""
    holds = 0.5 * (sight.max(1) + sight.min(1)).mean()
    fails = 0.5 * (sight + 1.0 - _best_of_others(sight)).mean()
    return float(0.5 * (holds + fails))


def _best_of_others(sight: np.ndarray) -> np.ndarray:
    """(R, N) by which claim is false, how well the best read of the others is read; of one claim nothing is left."""
    if sight.shape[1] == 1:
        return 1.0 - sight  # the false claim itself is all that can be shown
    ordered = np.sort(sight, axis=1)
    is_best = np.arange(sight.shape[1]) == sight.argmax(1)[:, None]
    return np.where(is_best, ordered[:, -2:-1], ordered[:, -1:])


def move(values: Values) -> Picture:
    """Judges many arguments in three ways."""
    num_claims = round(values["claims"])

    def sight(number: int) -> np.ndarray:
        return draw_sight(number, murky=values["murky"], murky_sight=values["sight"], seed=0)

    ways = {
        "the judge alone": random_claim,
        "one adviser": one_adviser,
        "debate": lambda drawn: debate(drawn, skill=values["skill"]),
    }
    rows = [
        {"at": number, "value": way(sight(number)), "series": name} for name, way in ways.items() for number in NUMBERS
    ]
    figures = [{"who chooses the claim": name, "right verdicts": way(sight(num_claims))} for name, way in ways.items()]
    chart = curves(
        rows, axis="right verdicts", across="claims in an argument", percent=True, log=True, reference=0.5,
        reference_label="a coin",
    )  # fmt: skip
    words = (
        f"Arguments of {num_claims} claims, of which the judge checks one. The longer an argument, the surer it holds "
        "a claim that the judge misreads, and a dishonest debater points at that one."
    )
    return Picture(figures=figures, chart=chart, words=words)


def alone_on_sixteen() -> float:
    """Right verdicts of a judge who never misreads and checks one of 16 claims at random."""
    return random_claim(draw_sight(16, murky=0.0, murky_sight=1.0, seed=0, clear=1.0))


def who_points_does_not_matter() -> Finding:
    """16 claims, all clear: the claim that is checked is chosen by each side in turn."""
    sight = draw_sight(16, murky=0.0, murky_sight=CLEAR, seed=0)
    denies, defends = debate(sight), claim_of_defender(sight)
    return Finding(
        figures=[
            {"who says which claim is checked": "the one who denies", "right verdicts": denies},
            {"who says which claim is checked": "the one who defends", "right verdicts": defends},
        ],
        is_wrong=denies - defends > 0.1,
    )


def truth_wins_before_any_judge() -> Finding:
    """16 claims, half of them murky: debate by how often the judge reads those right."""
    rows, debates, alone = [], [], []
    for murky_sight in (0.8, 0.5, 0.2):
        sight = draw_sight(16, murky=0.5, murky_sight=murky_sight, seed=0)
        debates.append(debate(sight))
        alone.append(random_claim(sight))
        rows.append(
            {
                "murky claims are read right": f"{murky_sight:.0%}",
                "debate": debates[-1],
                "the judge alone": alone[-1],
            }
        )
    return Finding(figures=rows, is_wrong=debates[-1] < min(alone[-1], 0.5))


DEBATE = Lesson(
    key="debate",
    title="Debate before a weak judge",
    text="""Who judges answers that take longer to check than anybody has time? In debate two models argue for opposite
answers before a judge who cannot do the task but can follow one point of it (Irving et al. 2018). The hope: it is
easier to point at a lie than to hide one.

Here an argument is a chain of claims. Half of all arguments hold; in the others exactly one claim is false. The judge
has time to check **one** claim, and says that the argument holds if that claim does.

- **The judge alone** checks a claim at random.
- **One adviser** argues for a side, as often the wrong one as the right one, and says which claim to check.
- **In debate** one side defends the argument, the other denies it and says which claim to check. Where the argument
  fails, the one who denies it is honest and points at the false claim. Where it holds, that side is dishonest and
  points at the claim that the judge is most likely to misread.

Some claims are murky. Everybody but the judge knows which claims are false and which are murky.""",
    sliders=(
        Slider(name="claims", label="Claims in an argument", low=1, high=32, step=1, default=16),
        Slider(name="murky", label="Share of murky claims", low=0, high=0.5, step=0.05, default=0.1),
        Slider(name="sight", label="How often a murky claim is read right", low=0, high=0.9, step=0.05, default=0.3),
        Slider(
            name="skill",
            label="How often an honest debater knows the false claim",
            low=0,
            high=1,
            step=0.1,
            default=1.0,
        ),
    ),
    move=move,
    question=Question(
        text="A judge never misreads a claim and has time for one of 16. Half of the arguments hold, in the others one "
        "claim is false. Alone, how often is the judge's verdict right? (Three decimals, from 0 to 1.)",
        answer=alone_on_sixteen,
        tolerance=0.0015,
        why="All arguments that hold, and of the others the sixteenth part: 1/2 + 1/2 * 1/16 = 0.53125. With a debater "
        "who points at the false claim it is 1.",
    ),
    mistakes=(
        Mistake(
            claim="What helps is that the judge hears both sides; who says what is checked does not matter.",
            run=who_points_does_not_matter,
            instead="A defender shows a claim that is true, and there are many. That one false claim is enough to "
            "refute is why the one who denies has to choose.",
        ),
        Mistake(
            claim="In debate the truth wins, however weak the judge.",
            run=truth_wins_before_any_judge,
            instead="A judge who can be led to misread is led. Where murky claims mislead, debate is worse than no "
            "debate: the problem of obfuscated arguments.",
        ),
    ),
    papers=(
        Paper(
            title="Irving, Christiano and Amodei 2018, AI safety via debate", link="https://arxiv.org/abs/1805.00899"
        ),
        Paper(
            title="Khan et al. 2024, Debating with more persuasive LLMs leads to more truthful answers",
            link="https://arxiv.org/abs/2402.06782",
        ),
        Paper(
            title="Kenton et al. 2024, On scalable oversight with weak LLMs judging strong LLMs",
            link="https://arxiv.org/abs/2407.04622",
        ),
    ),
)
