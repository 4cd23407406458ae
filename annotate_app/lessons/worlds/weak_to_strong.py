"""A weak labeller teaches a strong student: which of the labeller's errors the student does without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.stats.metrics import correctness

NUM_FEATURES = 8
NUM_TEST = 4_000
PRIOR_PRECISION = 1.0
NUMBERS = (50, 100, 250, 500, 1_000, 2_500, 5_000)
WORLDS = (0, 1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Pupils:
    """Accuracies on pairs never seen, against gold.

    Attributes:
        weak: of the labeller itself, careless votes and all.
        student: of a head fitted to the labeller's votes.
        ceiling: of the same head fitted to votes by gold.
    """

    weak: float
    student: float
    ceiling: float

    @property
    def recovered(self) -> float:
        """Performance gap recovered: (student - weak) / (ceiling - weak); nan where there is no gap.

        Burns et al. 2023, section 3 (arXiv 2312.09390).
        """
        gap = self.ceiling - self.weak
        return (self.student - self.weak) / gap if gap > 0 else float("nan")


def teach(*, num_pairs: int, blind: int, careless: float, seed: int) -> Pupils:
    """Lets a weak labeller vote on pairs, and fits a student to the votes.

    Answers have eight features, gold is a sum of all of them. The labeller goes by the right weights of those features
    that it sees, and turns its vote around when careless. The student sees all features.

    Args:
        num_pairs: that the labeller votes on.
        blind: features of the eight that the labeller does not see.
        careless: share of votes turned around, 0 up to 0.5.
        seed: of all of it; the pairs of a smaller number are the first of a larger one.
    """
    rng = np.random.default_rng(seed)
    gold = rng.normal(size=NUM_FEATURES)
    test, pairs = rng.normal(size=(NUM_TEST, NUM_FEATURES)), rng.normal(size=(NUMBERS[-1], NUM_FEATURES))
    turned = rng.random(NUMBERS[-1]) < careless
    differences = pairs[:num_pairs]
    seen = np.where(np.arange(NUM_FEATURES) < NUM_FEATURES - blind, gold, 0.0)
    voted = (differences @ seen > 0) != turned[:num_pairs]
    accuracy = [
        float(correctness(np.sign(test @ gold) * (test @ weights)).mean())
        for weights in (seen, _fitted(differences, voted), _fitted(differences, differences @ gold > 0))
    ]
    weak = (1.0 - careless) * accuracy[0] + careless * (1.0 - accuracy[0])
    return Pupils(weak=weak, student=accuracy[1], ceiling=accuracy[2])


def _fitted(differences: np.ndarray, votes: np.ndarray) -> np.ndarray:
    return fit_head(make_pairs(differences, votes.astype(float)), prior_precision=PRIOR_PRECISION).weights


def average(*, num_pairs: int, blind: int, careless: float) -> Pupils:
    """Mean accuracies over WORLDS."""
    pupils = [teach(num_pairs=num_pairs, blind=blind, careless=careless, seed=seed) for seed in WORLDS]
    return Pupils(
        weak=float(np.mean([one.weak for one in pupils])),
        student=float(np.mean([one.student for one in pupils])),
        ceiling=float(np.mean([one.ceiling for one in pupils])),
    )


def move(values: Values) -> Picture:
    """Teaches students by ever more votes."""
    blind, careless = round(values["blind"]), values["careless"]
    by_number = {number: average(num_pairs=number, blind=blind, careless=careless) for number in NUMBERS}
    rows = [
        {"at": number, "value": value, "series": name}
        for number, one in by_number.items()
        for name, value in (
            ("the weak labeller", one.weak),
            ("the student", one.student),
            ("the same head taught by gold", one.ceiling),
        )
    ]
    figures = [
        {
            "votes": f"{number:,}",
            "labeller": one.weak,
            "student": one.student,
            "taught by gold": one.ceiling,
            "gap recovered": "no gap" if np.isnan(one.recovered) else f"{one.recovered:.0%}",
        }
        for number, one in by_number.items()
        if number in (100, 1_000, 5_000)
    ]
    words = (
        f"The labeller does not see {blind} of 8 features and turns {careless:.0%} of its votes around. The student "
        "does without the second kind of error, and takes over the first. Means of 4 worlds."
    )
    chart = curves(rows, axis="right about gold", across="votes of the labeller", percent=True, log=True)
    return Picture(figures=figures, chart=chart, words=words)


def better_teacher() -> str:
    """Which of two labellers' students is right more often, by more than a percent."""
    careless = average(num_pairs=2_500, blind=0, careless=0.3)
    blind = average(num_pairs=2_500, blind=3, careless=0.0)
    if abs(careless.student - blind.student) < 0.01:
        return "neither"
    return "the careless one" if careless.student > blind.student else "the blind one"


def no_better_than_its_labels() -> Finding:
    """A labeller who sees everything and turns three of ten votes around."""
    one = average(num_pairs=2_500, blind=0, careless=0.3)
    return Finding(
        figures=[{"who": "the labeller", "right": one.weak}, {"who": "its student", "right": one.student}],
        is_wrong=one.student > one.weak + 0.1,
    )


def votes_mend_everything() -> Finding:
    """A labeller who is never careless and sees five of eight features, by votes."""
    by_number = {number: average(num_pairs=number, blind=3, careless=0.0) for number in (250, 1_000, 5_000)}
    return Finding(
        figures=[
            {"votes": f"{number:,}", "labeller": one.weak, "student": one.student, "taught by gold": one.ceiling}
            for number, one in by_number.items()
        ],
        is_wrong=by_number[5_000].recovered < 0.1,
    )


WEAK_TO_STRONG = Lesson(
    key="weak-to-strong",
    title="Weak to strong: what a student does without",
    text="""People will have to judge models that know more than they do. Weak-to-strong generalisation asks what comes
of it: a weak labeller's votes teach a strong student, and the student is held against gold (Burns et al. 2023). The
figure is the share of the gap that is recovered:

    (student - weak labeller) / (same model taught by gold - weak labeller)

Here answers have eight features and gold is a weighted sum of them. The labeller errs in two ways: it does not *see*
some features, and it is *careless*, turning some votes around. The student is a Bradley-Terry head on all eight
features, fitted to the labeller's votes.

Careless votes follow no rule, so there is nothing in them to learn and they average out. Blindness is a rule. The
student can learn it, and with many votes learns it exactly.""",
    sliders=(
        Slider(name="blind", label="Features the labeller does not see", low=0, high=6, step=1, default=2),
        Slider(name="careless", label="Share of votes turned around", low=0, high=0.45, step=0.05, default=0.2),
    ),
    move=move,
    question=Question(
        text="One labeller sees everything and turns 30 % of its votes around: it is right in 70 % of cases. Another "
        "is never careless and does not see 3 of 8 features: it is right in about 80 %. Each votes on 2,500 pairs. "
        "Whose student is right more often?",
        choices=("the careless one", "the blind one", "neither"),
        answer=better_teacher,
        why="The student of the careless one is right in about 95 % of cases, that of the blind one no more often than "
        "its teacher. How often a labeller errs says little; how its errors come about says nearly all.",
    ),
    mistakes=(
        Mistake(
            claim="A model cannot become better than the labels that it learns from.",
            run=no_better_than_its_labels,
            instead="It can where errors follow no rule: then what votes have in common is the truth.",
        ),
        Mistake(
            claim="With enough of a weak labeller's votes a strong student gets past its errors.",
            run=votes_mend_everything,
            instead="Errors by rule are learned like anything else. What is recovered goes to 0 as votes grow, not to "
            "1; only something that the student brings along could keep it from imitating.",
        ),
    ),
    papers=(
        Paper(title="Burns et al. 2023, Weak-to-strong generalization", link="https://arxiv.org/abs/2312.09390"),
        Paper(
            title="Christiano et al. 2018, Supervising strong learners by amplifying weak experts",
            link="https://arxiv.org/abs/1810.08575",
        ),
    ),
)
