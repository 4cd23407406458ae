"""Best of n: what choosing is worth by the reward that chooses, by the true one, and in KL."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from alignment.best_of_n.value import expected_best, kl_bound
from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.pages.charts.curves import curves

NUM_PROMPTS, MOST = 400, 64


@lru_cache(maxsize=32)
def worth(correlation: float) -> tuple[np.ndarray, np.ndarray]:
    """(64,) each: the reward and the true reward of the best of 1, 2, ..., 64, mean over 400 prompts.

    Both rewards are normal with standard deviation 1 and correlate as given.
    """
    rng = np.random.default_rng(0)
    rewards, noise = rng.standard_normal((2, NUM_PROMPTS, MOST))
    true_rewards = correlation * rewards + math.sqrt(1 - correlation**2) * noise
    return expected_best(rewards).mean(0), expected_best(rewards, true_rewards).mean(0)


def move(values: Values) -> Picture:
    """What the best of n is worth, by the number and by how far the reward can be trusted."""
    n, correlation = int(values["n"]), values["correlation"]
    by_reward, by_truth = worth(correlation)
    figures = [
        {"what": "KL to the policy that draws, nats", "value": kl_bound(n)},
        {"what": "reward of what is chosen", "value": float(by_reward[n - 1])},
        {"what": "true reward of it", "value": float(by_truth[n - 1])},
    ]
    rows = [
        {"at": float(k), "value": float(line[k - 1]), "series": name}
        for name, line in (("reward of what is chosen", by_reward), ("true reward of it", by_truth))
        for k in range(1, MOST + 1)
    ]
    rows += [{"at": float(k), "value": kl_bound(k), "series": "KL, nats"} for k in range(1, MOST + 1)]
    marks = [{"at": float(n), "words": "where the slider stands"}]
    return Picture(
        figures=figures,
        chart=curves(rows, axis="standard deviations; nats", across="n", log=True, marks=marks),
        words="Each doubling of n costs twice the draws and gives less than the one before. Of what the reward gains, "
        "the share that is true is what it correlates with the truth.",
    )


def exact_kl(n: int, *, answers: int = 20_000) -> float:
    """KL of the best of n to a policy that draws each of so many answers alike, summed over all of them, nats."""
    places = np.arange(answers + 1) / answers
    chosen = np.diff(places**n)
    kept = chosen > 0
    return float((chosen[kept] * np.log(chosen[kept] * answers)).sum())


def log_n() -> Finding:
    """Log n, our figure, and the sum over 20,000 answers."""
    figures = [
        {
            "n": str(n),
            "log n": math.log(n),
            "log n - (n - 1) / n": kl_bound(n),
            "summed over 20,000 answers": exact_kl(n),
        }
        for n in (2, 4, 16, 64)
    ]
    is_wrong = all(abs(kl_bound(n) - exact_kl(n)) < 0.01 and math.log(n) - exact_kl(n) > 0.4 for n in (2, 4, 16, 64))
    return Finding(figures=figures, is_wrong=is_wrong)


def doubling() -> Finding:
    """What each doubling adds to the reward of what is chosen."""
    by_reward, _ = worth(0.5)
    gains = [float(by_reward[2 * n - 1] - by_reward[n - 1]) for n in (1, 2, 4, 8, 16, 32)]
    return Finding(
        figures=[
            {"from n": str(2**place), "to n": str(2 ** (place + 1)), "gain": gain} for place, gain in enumerate(gains)
        ],
        is_wrong=gains == sorted(gains, reverse=True) and gains[-1] < 0.7 * gains[0],
    )


def own_score() -> Finding:
    """The best of 64 by its own score and by the truth, at three correlations."""
    ends = {correlation: [float(line[-1]) for line in worth(correlation)] for correlation in (0.3, 0.6, 0.9)}
    return Finding(
        figures=[
            {"correlation": f"{correlation:g}", "by its score": score, "in truth": truth}
            for correlation, (score, truth) in ends.items()
        ],
        is_wrong=all(truth < 0.95 * score for score, truth in ends.values()),
    )


BEST_OF_N = Lesson(
    key="best-of-n",
    title="Best of n and its KL",
    text="""The simplest use of a reward model: draw n answers, show the one it likes best. Nothing is trained, and yet
it is another policy than the one that draws. How far it lies from it is known without looking:

    KL(best of n || policy) <= log n - (n - 1) / n

and nearly as much where hardly ever two of the n draws have the same reward; where the same answer is drawn twice it is
less. So best of n is the ruler for every other method: what reward
does it reach at the same KL?

Here the reward and the true reward are normal numbers with a correlation that you choose.""",
    sliders=(
        Slider(name="n", label="n, answers to choose from", low=1, high=64, step=1, default=16),
        Slider(
            name="correlation", label="Correlation of the reward with the truth", low=0, high=1, step=0.1, default=0.6
        ),
    ),
    move=move,
    question=Question(
        text="What is the KL of the best of 16, in nats? (Two decimals.)",
        answer=lambda: kl_bound(16),
        tolerance=0.006,
        why="log 16 - 15 / 16 = 2.773 - 0.938.",
    ),
    mistakes=(
        Mistake(
            claim="The KL of best of n is log n.",
            run=log_n,
            instead="It is smaller by (n - 1) / n: the policy often draws the answer that is chosen anyway.",
        ),
        Mistake(
            claim="Twice the answers, twice the gain.",
            run=doubling,
            instead="The best of many normal numbers grows like the root of 2 log n: each doubling adds less.",
        ),
        Mistake(
            claim="The reward model's score of the chosen answers shows what choosing was worth.",
            run=own_score,
            instead="They were chosen for that score. Only another reward, or people, can tell.",
        ),
    ),
    papers=(
        Paper(title="Stiennon et al. 2020, appendix G (the KL)", link="https://arxiv.org/abs/2009.01325"),
        Paper(
            title="Beirami et al. 2024, Theoretical guarantees on best-of-n (it is a bound)",
            link="https://arxiv.org/abs/2401.01879",
        ),
        Paper(title="Nakano et al. 2021, WebGPT, appendix I (all subsets)", link="https://arxiv.org/abs/2112.09332"),
    ),
)
