"""Ensembles of reward models: what their disagreement sees, and what it does not."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.heads.posterior import laplace_members
from rewardkit.reward.reward import Reward, conservative
from rewardkit.stats.uncertainty import epistemic_std, integrated_probability, sigmoid

PLACES = np.linspace(0.0, 3.0, 61)


def features(x: np.ndarray) -> np.ndarray:
    """(N, 3) what the reward models see of an answer that has x of something, its length say."""
    return np.stack([x, x**2, x**3], axis=1)


def true_reward(x: np.ndarray) -> np.ndarray:
    """Good up to 1, then too much of it."""
    return 3.0 * x - 1.5 * x**2


@lru_cache(maxsize=64)
def members(votes: int, count: int) -> np.ndarray:
    """(K, 3) reward models that fit votes on pairs of answers with x between 0 and 1."""
    rng = np.random.default_rng(0)
    first, second = rng.uniform(0.0, 1.0, (2, votes))
    chosen = rng.random(votes) < sigmoid(true_reward(first) - true_reward(second))
    pairs = make_pairs(features(first) - features(second), chosen)
    return laplace_members(fit_head(pairs, prior_precision=0.1), pairs, count, rng)


def rewards_at(x: np.ndarray, votes: int, count: int) -> Reward:
    """What each member gives to answers, as compared with an answer of x = 0."""
    return Reward(members=members(votes, count) @ features(x).T)


def move(values: Values) -> Picture:
    """Rewards by x, where votes were (up to 1) and where none were."""
    votes, count = int(values["votes"]), int(values["members"])
    at = np.array([0.5, 1.0, 2.0, 3.0])
    reward = rewards_at(at, votes, count)
    figures = [
        {"x": f"{x:g}", "truth": float(truth), "mean of members": float(mean), "their std": float(std)}
        for x, truth, mean, std in zip(at, true_reward(at), reward.mean, reward.std, strict=True)
    ]
    curve = rewards_at(PLACES, votes, count)
    lines = {
        "truth": true_reward(PLACES),
        "mean of members": curve.mean,
        "worst member": conservative(curve, "wco"),
        "mean less variance": conservative(curve, "uwo", strength=0.5),
    }
    rows = [
        {"at": float(x), "value": float(np.clip(value, -12.0, 12.0)), "series": name}
        for name, line in lines.items()
        for x, value in zip(PLACES, line, strict=True)
    ]
    marks = [{"at": 1.0, "words": "votes end here"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="reward, cut at 12", across="x", marks=marks),
        words="Up to 1, where people have judged, the members agree. Beyond it nothing holds them together, and a "
        "policy that goes there is stopped only by a reward that subtracts their disagreement.",
    )


def least_sure() -> str:
    """Which of three answers the members differ about most."""
    choices = {"x = 0.5": 0.5, "x = 1": 1.0, "x = 3": 3.0}
    spread = rewards_at(np.array(list(choices.values())), 200, 5).std
    return list(choices)[int(spread.argmax())]


def another_criterion() -> Finding:
    """The same members on a criterion that is the opposite of what they learned."""
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0.0, 1.0, (2, 500))
    margins = rewards_at(first, 200, 5).members - rewards_at(second, 200, 5).members
    agreed = margins.mean(0) * (true_reward(first) - true_reward(second)) > 0
    spread = float(epistemic_std(margins).mean())
    same, opposite = float(agreed.mean()), float((~agreed).mean())
    return Finding(
        figures=[
            {"people judge by": "what was learned", "accuracy": same, "std of margins": spread},
            {"people judge by": "the opposite", "accuracy": opposite, "std of margins": spread},
        ],
        is_wrong=same > 0.8 and opposite < 0.2,
    )


def probability_of_the_mean() -> Finding:
    """The probability that an answer beats x = 0: of the mean margin, and the mean of the members' own."""
    at = np.array([0.5, 2.0, 3.0])
    margins = rewards_at(at, 50, 10).members
    of_mean, mean_of = sigmoid(margins.mean(0)), integrated_probability(margins)
    return Finding(
        figures=[
            {"x": f"{x:g}", "of the mean margin": float(a), "mean of the members'": float(b)}
            for x, a, b in zip(at, of_mean, mean_of, strict=True)
        ],
        is_wrong=bool((np.abs(of_mean - mean_of) > 0.02).any()),
    )


ENSEMBLES = Lesson(
    key="ensembles",
    title="Ensembles: what disagreement sees",
    text="""One reward model says a number and not how sure it is. Several that fit the same votes equally well agree
where the votes decide and differ where they do not. Their spread can be subtracted:

    worst member:        min over members
    mean less variance:  mean - strength × variance

Here an answer has x of something, its length say. People judged answers with x between 0 and 1, where more is better;
the truth turns at 1. The members are drawn from the posterior of one fitted reward model; the strength is 0.5.""",
    sliders=(
        Slider(name="votes", label="Votes", low=50, high=1000, step=50, default=200),
        Slider(name="members", label="Members", low=2, high=10, step=1, default=5),
    ),
    move=move,
    question=Question(
        text="About which answer do five members that saw 200 votes differ most?",
        choices=("x = 0.5", "x = 1", "x = 3"),
        answer=least_sure,
        why="No vote was about x = 3. The members' curves all pass through the votes and go apart behind them.",
    ),
    mistakes=(
        Mistake(
            claim="Where the members agree, the reward is right.",
            run=another_criterion,
            instead="They agree on what they were taught. If people judge by something else, the spread does not move.",
        ),
        Mistake(
            claim="An ensemble's probability is that of its mean margin.",
            run=probability_of_the_mean,
            instead="It is the mean of the members' probabilities: where they differ it lies elsewhere, mostly "
            "nearer to even.",
        ),
    ),
    papers=(
        Paper(
            title="Coste et al. 2024, Reward model ensembles help mitigate overoptimization",
            link="https://arxiv.org/abs/2310.02743",
        ),
        Paper(title="Eisenstein et al. 2023, Helping or herding?", link="https://arxiv.org/abs/2312.09244"),
        Paper(
            title="Kristiadi et al. 2020, Being Bayesian, even just a bit (last-layer Laplace)",
            link="https://arxiv.org/abs/2002.10118",
        ),
    ),
)
