"""Recursive reward modelling: a reward model of parts helps a person to judge wholes, and so on upwards."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import expit

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.stats.metrics import correctness

NUM_FEATURES = 4
NUM_TEST = 2_000
PRIOR_PRECISION = 1.0
WORLDS = (0, 1, 2)
TOP = 4

Votes = Literal["helped", "unhelped", "gold"]
NAMES: dict[Votes, str] = {
    "helped": "helped by the evaluator below",
    "unhelped": "unhelped, by the first part",
    "gold": "by gold",
}


def climb(*, bottom_votes: int, num_votes: int, num_levels: int, votes_by: Votes, seed: int) -> list[float]:
    """Accuracy of the evaluator of each level on pairs never seen, against gold.

    An answer of level l has 2^l parts of four features, its gold is the sum over its parts. At level 0 a person votes
    on parts by gold. Above, the person votes on wholes: helped, by the sum of what the evaluator below says of both
    halves; unhelped, by the first part alone; or by gold, which nobody can. All votes are Bradley-Terry. An evaluator
    of each level is fitted to its votes.

    Args:
        bottom_votes, num_votes: at level 0, and at each level above.
        num_levels: above the first.
    """
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=NUM_FEATURES)
    evaluator, accuracies = np.zeros(NUM_FEATURES), []
    for level in range(num_levels + 1):
        whole = np.tile(gold, 2**level)
        match votes_by:
            case _ if level == 0:
                believed = gold
            case "helped":
                believed = np.tile(evaluator, 2)
            case "unhelped":
                believed = np.where(np.arange(len(whole)) < NUM_FEATURES, whole, 0.0)
            case "gold":
                believed = whole
        differences = rng.normal(size=(num_votes if level else bottom_votes, len(whole)))
        votes = (rng.random(len(differences)) < expit(differences @ believed)).astype(float)
        evaluator = fit_head(make_pairs(differences, votes), prior_precision=PRIOR_PRECISION).weights
        test = rng.normal(size=(NUM_TEST, len(whole)))
        accuracies.append(float(correctness(np.sign(test @ whole) * (test @ evaluator)).mean()))
    return accuracies


def average(*, bottom_votes: int, num_votes: int, votes_by: Votes, num_levels: int = TOP) -> list[float]:
    """Mean accuracies by level over WORLDS."""
    runs = [
        climb(bottom_votes=bottom_votes, num_votes=num_votes, num_levels=num_levels, votes_by=votes_by, seed=seed)
        for seed in WORLDS
    ]
    return np.mean(runs, axis=0).tolist()


def move(values: Values) -> Picture:
    """Climbs the levels with votes of three sorts."""
    num_levels = round(values["levels"])
    by_way = {
        name: average(
            bottom_votes=round(10 ** values["bottom"]),
            num_votes=round(10 ** values["above"]),
            votes_by=votes_by,
            num_levels=num_levels,
        )
        for votes_by, name in NAMES.items()
    }
    rows = [
        {"at": level, "value": accuracy, "series": name}
        for name, accuracies in by_way.items()
        for level, accuracy in enumerate(accuracies)
    ]
    figures = [
        {"votes on wholes": name, "parts": accuracies[0], f"{2**num_levels} parts together": accuracies[-1]}
        for name, accuracies in by_way.items()
    ]
    words = (
        f"Level {num_levels} has answers of {2**num_levels} parts. Each evaluator learns from votes that the one below "
        "helped with, so it has that one's errors and some of its own. Means of 3 worlds."
    )
    chart = curves(rows, axis="right about gold", across="level", percent=True)
    return Picture(figures=figures, chart=chart, words=words)


def where_votes_are_worth_more() -> str:
    """Where ten times the votes help the top evaluator more, from 30 at the bottom and 1,000 at each level above."""
    bottom = average(bottom_votes=300, num_votes=1_000, votes_by="helped")[-1]
    above = average(bottom_votes=30, num_votes=10_000, votes_by="helped")[-1]
    return "at the bottom" if bottom > above else "at every level above"


def errors_pile_up() -> Finding:
    """Accuracy by level, helped and unhelped."""
    helped, unhelped = (average(bottom_votes=1_000, num_votes=1_000, votes_by=way) for way in ("helped", "unhelped"))
    return Finding(
        figures=[
            {"level": str(level), "parts": 2**level, "helped": one, "unhelped": other}
            for level, (one, other) in enumerate(zip(helped, unhelped, strict=True))
        ],
        is_wrong=helped[-1] - 0.5 > 0.75 * (helped[0] - 0.5) and helped[-1] > unhelped[-1] + 0.2,
    )


def votes_above_mend_the_bottom() -> Finding:
    """The top evaluator above a bottom of 30 votes, by votes at each level above; and above a bottom of 1,000."""
    runs = {
        (bottom, above): average(bottom_votes=bottom, num_votes=above, votes_by="helped")
        for bottom, above in ((30, 1_000), (30, 5_000), (1_000, 1_000))
    }
    return Finding(
        figures=[
            {
                "votes at the bottom": f"{bottom:,}",
                "at each level above": f"{above:,}",
                "level 0": run[0],
                "level 4": run[-1],
            }
            for (bottom, above), run in runs.items()
        ],
        is_wrong=runs[30, 5_000][-1] <= runs[30, 5_000][0] + 0.01 and runs[1_000, 1_000][-1] > runs[30, 5_000][-1],
    )


RECURSIVE_REWARDS = Lesson(
    key="recursive-reward-modelling",
    title="Recursive reward modelling: help with judging what is too large",
    text="""A book is too long to be judged page by page for every training step. Recursive reward modelling trains
evaluators that help with it: people judge what they can, a reward model learns from that, and with its help people
judge something larger, from which the next reward model learns (Leike et al. 2018).

Here an answer of level l has 2^l parts and its gold is the sum over them. A person can judge a part. On a whole the
person votes

- **helped**: asks the evaluator of the level below about both halves and adds up what it says;
- **unhelped**: by the first part, which is all there was time for;
- **by gold**: what nobody can, as the line above.

Every evaluator is a Bradley-Terry head fitted to the votes of its level. Watch what an error at the bottom does at the
top.""",
    sliders=(
        Slider(name="levels", label="Levels", low=1, high=4, step=1, default=4),
        Slider(name="bottom", label="Votes on parts, as a power of 10", low=1.5, high=3.5, step=0.25, default=3.0),
        Slider(
            name="above", label="Votes at each level above, as a power of 10", low=2, high=3.5, step=0.25, default=3.0
        ),
    ),
    move=move,
    question=Question(
        text="There are 30 votes on parts and 1,000 at each of four levels above. You may have ten times as many at "
        "the bottom, or ten times as many at every level above. Which makes the top evaluator better?",
        choices=("at the bottom", "at every level above"),
        answer=where_votes_are_worth_more,
        why="Votes above only pass on what the evaluator below says, however many there are: 270 more votes at the "
        "bottom do more than 36,000 above. From 100 votes on parts it is the other way round: parts are known well "
        "enough then, and what adds up are errors that each level makes of its own.",
    ),
    mistakes=(
        Mistake(
            claim="Each level adds the errors of all below it, so after a few levels nothing is left.",
            run=errors_pile_up,
            instead="Errors do add up, and slowly: four levels cost less than a quarter of what the first was better "
            "than chance. The person without help is soon near chance.",
        ),
        Mistake(
            claim="Enough votes higher up mend what the first reward model got wrong.",
            run=votes_above_mend_the_bottom,
            instead="No level is better than the one that helped with its votes. What is not seen at the bottom is not "
            "seen at the top.",
        ),
    ),
    papers=(
        Paper(
            title="Leike et al. 2018, Scalable agent alignment via reward modeling",
            link="https://arxiv.org/abs/1811.07871",
        ),
        Paper(
            title="Wu et al. 2021, Recursively summarizing books with human feedback",
            link="https://arxiv.org/abs/2109.10862",
        ),
    ),
)
