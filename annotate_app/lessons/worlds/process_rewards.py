"""Rewards of steps against rewards of outcomes: who finds the first wrong step, and who chooses better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignment.best_of_n.value import expected_best
from annotate_app.lessons.lesson import Choice, Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.config import Aggregation
from rewardkit.data.stepwise.stepped_answer import first_error
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.reward.step_rewards import AGGREGATIONS, aggregate
from rewardkit.stats.uncertainty import sigmoid

RIGHT = np.array([0.99, 0.98, 0.97, 0.96, 0.95, 0.9, 0.7, 0.4, 0.2, 0.1])
"""How often a step of each kind is right."""
DRAWN = np.array([2, 2, 2, 2, 2, 2, 1, 1, 1, 1]) / 16
"""How often the policy takes a step of each kind."""
PRIOR_PRECISION = 1.0
NUM_PROBLEMS, NUM_CANDIDATES, NUM_TEST = 200, 32, 1_000
WORLDS = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """N answers of S steps.

    Attributes:
        kinds: (N, S) of each step.
        labels: (N, S) whether each step is right.
        outcomes: (N,) whether the answer at the end is the right one: all steps are right, or luck.
    """

    kinds: np.ndarray
    labels: np.ndarray
    outcomes: np.ndarray


def draw(num_answers: int, *, num_steps: int, luck: float, rng: np.random.Generator) -> Answers:
    """Draws answers; with a wrong step an answer still ends right with the probability `luck`."""
    kinds = rng.choice(len(RIGHT), size=(num_answers, num_steps), p=DRAWN)
    labels = rng.random(kinds.shape) < RIGHT[kinds]
    outcomes = labels.all(1) | (rng.random(num_answers) < luck)
    return Answers(kinds=kinds, labels=labels, outcomes=outcomes)


def counts(kinds: np.ndarray) -> np.ndarray:
    """(..., 11) how many steps of each kind, and a one for the constant, from (..., S)."""
    number = (kinds[..., None] == np.arange(len(RIGHT))).sum(-2).astype(float)
    return np.concatenate((number, np.ones((*number.shape[:-1], 1))), axis=-1)


def fit_steps(answers: Answers) -> np.ndarray:
    """(11,) a process reward model: the logit of each kind of step being right, from the steps' labels.

    The loss is `rewardkit.losses.step_losses`, which for hard labels is that of a Bradley-Terry head whose pair is a
    step against nothing.
    """
    steps = answers.kinds.reshape(-1, 1)
    labels = answers.labels.ravel().astype(float)
    return fit_head(make_pairs(counts(steps), labels), prior_precision=PRIOR_PRECISION).weights


def fit_outcomes(answers: Answers) -> np.ndarray:
    """(11,) an outcome reward model: the logit of an answer ending right by its steps of each kind."""
    labels = answers.outcomes.astype(float)
    return fit_head(make_pairs(counts(answers.kinds), labels), prior_precision=PRIOR_PRECISION).weights


def step_probabilities(weights: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(..., S) by a process reward model, the probability that each step is right."""
    return sigmoid(counts(kinds[..., None]) @ weights)


def outcome_probabilities(weights: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """(...,) by an outcome reward model, the probability that answers (..., S) end right."""
    return sigmoid(counts(kinds) @ weights)


def named_step(probabilities: np.ndarray) -> int:
    """The step that a process reward model names in a wrong answer: the first below 1/2, else the lowest."""
    first = first_error(probabilities.tolist())
    return int(probabilities.argmin()) if first is None or first == len(probabilities) else first


def blamed_step(weights: np.ndarray, kinds: np.ndarray) -> int:
    """The step that an outcome reward model blames: the one that costs its logit most."""
    return int(weights[kinds].argmin())


@dataclass(frozen=True, kw_only=True)
class Rewards:
    """What one way to reward is worth.

    Attributes:
        first_error: share of answers with a wrong step whose first wrong step it names.
        best: (n,) chance that all steps are right of what it chooses among 1, 2, ..., n answers.
    """

    first_error: float
    best: np.ndarray


def compare(*, num_answers: int, num_steps: int, luck: float, rule: Aggregation, seed: int) -> dict[str, Rewards]:
    """Trains on answers and tries on others: steps, outcomes of the same answers, and outcomes of as many labels.

    Args:
        num_answers: that are labelled, for the process reward model by step.
        rule: how its steps become one reward, of AGGREGATIONS.
    """
    rng = np.random.default_rng(seed)
    trained = draw(num_answers * num_steps, num_steps=num_steps, luck=luck, rng=rng)
    few = Answers(
        kinds=trained.kinds[:num_answers], labels=trained.labels[:num_answers], outcomes=trained.outcomes[:num_answers]
    )
    tried = draw(NUM_TEST, num_steps=num_steps, luck=luck, rng=rng)
    truths = [first_error(labels) for labels in tried.labels.astype(float)]
    wrong = [number for number, truth in enumerate(truths) if truth != num_steps]
    kinds = draw(NUM_PROBLEMS * NUM_CANDIDATES, num_steps=num_steps, luck=luck, rng=rng).kinds
    candidates = kinds.reshape(NUM_PROBLEMS, NUM_CANDIDATES, num_steps)
    gold = RIGHT[candidates].prod(-1)
    process = fit_steps(few)
    told = step_probabilities(process, tried.kinds)
    by_steps = aggregate(step_probabilities(process, candidates), rule)
    found = {"steps": np.mean([named_step(told[number]) == truths[number] for number in wrong])}
    best = {"steps": expected_best(by_steps, gold).mean(0)}
    for name, answers in (("outcomes", few), ("outcomes, as many labels", trained)):
        weights = fit_outcomes(answers)
        found[name] = np.mean([blamed_step(weights, tried.kinds[number]) == truths[number] for number in wrong])
        best[name] = expected_best(outcome_probabilities(weights, candidates), gold).mean(0)
    found["truth"] = np.mean([named_step(RIGHT[tried.kinds[number]]) == truths[number] for number in wrong])
    best["truth"] = expected_best(gold).mean(0)
    return {name: Rewards(first_error=float(found[name]), best=best[name]) for name in best}


def average(*, num_answers: int, num_steps: int, luck: float, rule: Aggregation = "product") -> dict[str, Rewards]:
    """Means over WORLDS."""
    runs = [compare(num_answers=num_answers, num_steps=num_steps, luck=luck, rule=rule, seed=seed) for seed in WORLDS]
    return {
        name: Rewards(
            first_error=float(np.mean([run[name].first_error for run in runs])),
            best=np.mean([run[name].best for run in runs], axis=0),
        )
        for name in runs[0]
    }


def move(values: Values) -> Picture:
    """Learns from labels of steps and of outcomes, and chooses the best of n by each."""
    num_answers, num_steps = round(values["answers"]), round(values["steps"])
    by_reward = average(
        num_answers=num_answers, num_steps=num_steps, luck=values["luck"], rule=AGGREGATIONS[round(values["rule"])]
    )
    rows = [
        {"at": number, "value": float(rewards.best[number - 1]), "series": name}
        for name, rewards in by_reward.items()
        for number in (1, 2, 4, 8, 16, 32)
    ]
    figures = [
        {"reward from": name, "finds the first wrong step": one.first_error, "best of 32 is right": float(one.best[-1])}
        for name, one in by_reward.items()
    ]
    words = (
        f"From {num_answers} answers: {num_answers * num_steps:,} labels of steps, or {num_answers} of outcomes; "
        f"as many labels are outcomes of {num_answers * num_steps:,} answers. Means of 3 worlds."
    )
    chart = curves(
        rows, axis="all steps of the best are right", across="answers to choose from", percent=True, log=True
    )
    return Picture(figures=figures, chart=chart, words=words)


def lucky_share(*, num_steps: int, luck: float) -> float:
    """Of the answers that end right, the share that has a wrong step."""
    all_right = float(DRAWN @ RIGHT) ** num_steps
    lucky = luck * (1.0 - all_right)
    return lucky / (all_right + lucky)


def steps_choose_better_per_label() -> Finding:
    """Best of 32 with 1,200 labels of either sort, without luck and with it."""
    rows = []
    for luck in (0.0, 0.5):
        one = average(num_answers=200, num_steps=6, luck=luck)
        steps, outcomes = float(one["steps"].best[-1]), float(one["outcomes, as many labels"].best[-1])
        rows.append({"wrong answers that end right": f"{luck:.0%}", "labels of steps": steps, "of outcomes": outcomes})
    return Finding(
        figures=rows, is_wrong=abs(float(str(rows[0]["labels of steps"])) - float(str(rows[0]["of outcomes"]))) < 0.02
    )


def read_at_the_end() -> Finding:
    """Best of 32 by each way to make one reward of the steps' rewards."""
    best = {
        rule: float(average(num_answers=200, num_steps=6, luck=0.0, rule=rule)["steps"].best[-1])
        for rule in AGGREGATIONS
    }
    return Finding(
        figures=[{"rule": rule, "best of 32 is right": value} for rule, value in best.items()],
        is_wrong=best["last"] < min(best["min"], best["product"]) - 0.2,
    )


PROCESS_REWARDS = Lesson(
    key="process-rewards",
    title="Rewards of steps (PRM) and of outcomes (ORM)",
    text="""An outcome reward model learns from whether answers end right, a process reward model from labels of their
steps. Labels of steps say where it went wrong; an outcome spreads the blame over the whole answer, and some wrong
derivations end right by luck.

Here an answer is a row of steps. Steps are of ten kinds: six are right nearly always, four are right in 70, 40, 20 and
10 % of cases. The answer is right if all its steps are; otherwise it still *ends* right with some luck. Both reward
models see the kinds:

- **steps**: a logit for each kind, from a label for each step, put together by a rule (product: that all are right);
- **outcomes**: a logit for the counts of kinds, from one label for each of the same answers;
- **outcomes, as many labels**: the same from as many *labels* as the steps had, so from more answers;
- **truth**: the probabilities themselves, which is the most that can be known.

Each then names the first wrong step of answers that have one, and chooses the best of n new answers.""",
    sliders=(
        Slider(name="answers", label="Answers labelled", low=25, high=500, step=25, default=100),
        Slider(name="steps", label="Steps in an answer", low=2, high=12, step=1, default=6),
        Slider(name="luck", label="Wrong answers that end right", low=0, high=0.8, step=0.1, default=0.3),
        Choice(
            name="rule", label="One reward from steps by", options=AGGREGATIONS, default=AGGREGATIONS.index("product")
        ),
    ),
    move=move,
    question=Question(
        text="Answers have six steps, and half of the answers with a wrong step end right by luck. All steps are right "
        "in 27.5 % of answers. Of the answers that end right, which share has a wrong step? (Two decimals, 0 to 1.)",
        answer=lambda: lucky_share(num_steps=6, luck=0.5),
        tolerance=0.006,
        why="0.5 * 0.725 = 0.363 end right by luck, 0.275 by right steps: 0.363 / 0.638 = 0.57. More than half of what "
        "an outcome reward model is told to like is wrong.",
    ),
    mistakes=(
        Mistake(
            claim="For the same number of labels, rewards of steps always choose better among answers.",
            run=steps_choose_better_per_label,
            instead="Where outcomes never lie, as many outcome labels choose as well. Labels of steps win per answer, "
            "where outcomes lie, and where one wants to know which step is wrong.",
        ),
        Mistake(
            claim="The reward of an answer is what the process reward model says at its last step.",
            run=read_at_the_end,
            instead="The last step may be right after three wrong ones. A model that was taught labels of single steps "
            "has to be read at all of them: their product or their minimum.",
        ),
    ),
    papers=(
        Paper(title="Uesato et al. 2022, Solving math word problems", link="https://arxiv.org/abs/2211.14275"),
        Paper(title="Lightman et al. 2024, Let's verify step by step", link="https://arxiv.org/abs/2305.20050"),
        Paper(title="Wang et al. 2024, Math-Shepherd", link="https://arxiv.org/abs/2312.08935"),
    ),
)
