"""Reward hacking before one's eyes: a reward learned from votes, pushed until gold falls, and what catches it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from scipy.special import expit

from alignment.watch.alarms import Alarm
from alignment.watch.failure_modes import FAILURE_MODES, READ
from alignment.watch.history import History
from annotate_app.lessons.lesson import Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.lessons.worlds.tabular_policy import kl_between, tilted
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import fit_head, make_pairs
from rewardkit.reward.reward import Reward, conservative

NUM_PHRASES, MOST_TIMES = 6, 3
TIMES = np.array(list(product(range(MOST_TIMES + 1), repeat=NUM_PHRASES)), dtype=float)
"""(A, 6) all 4,096 answers: how often each holds each phrase."""
REFERENCE = np.prod(np.array([0.55, 0.40, 0.04, 0.01])[TIMES.astype(int)], axis=1)
"""(A,) the policy that begins: it hardly repeats itself."""
NUM_MEMBERS, PRIOR_PRECISION = 5, 1.0
NUM_STEPS, AUDIT_EVERY, NUM_AUDITED = 60, 2, 64
PUSH = 0.1
"""By how much 1 / beta grows with a step."""

Rule = Literal["one", "mean", "uwo"]


@dataclass(frozen=True, kw_only=True)
class World:
    """Phrases, what people find of them, and rewards learned from votes.

    Attributes:
        gold: (A,) nats of a vote: the phrases that are there, less `harm` for every time one is repeated.
        reward: of all answers by five heads on the counts of phrases, each from a bootstrap of the votes.
    """

    gold: np.ndarray
    reward: Reward


def make_world(*, num_votes: int, harm: float, seed: int) -> World:
    """Draws what phrases are worth and pairs of the reference's answers, has people vote, and fits the heads."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(0.2, 0.7, size=NUM_PHRASES)
    gold = (TIMES > 0) @ worth - harm * np.maximum(TIMES - 1, 0).sum(1)
    first, second = rng.choice(len(TIMES), size=(2, num_votes), p=REFERENCE)
    votes = (rng.random(num_votes) < expit(gold[first] - gold[second])).astype(float)
    pairs = make_pairs(TIMES[first] - TIMES[second], votes)
    heads = [
        fit_head(pairs.take(rng.integers(num_votes, size=num_votes)), prior_precision=PRIOR_PRECISION).weights
        for _ in range(NUM_MEMBERS)
    ]
    return World(gold=gold, reward=Reward(members=np.array(heads) @ TIMES.T))


def rewarded(world: World, rule: Rule, *, strength: float = 1.0) -> np.ndarray:
    """(A,) what the policy is trained for: the first member alone, their mean, or less their variance."""
    if rule == "one":
        return world.reward.members[0]
    return conservative(world.reward, rule, strength=strength)


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A policy pushed step by step: at each the best one at a beta, so that nothing is left to training.

    Attributes:
        policies: (steps + 1, A), the reference first.
        kl: (steps + 1,) nats to the reference.
        gold, reward: (steps + 1,) means over the policy: of gold, and of what it was pushed for.
    """

    policies: np.ndarray
    kl: np.ndarray
    gold: np.ndarray
    reward: np.ndarray

    def gold_at(self, kl: float) -> float:
        """Gold at a KL, linear between the steps."""
        return float(np.interp(kl, self.kl, self.gold))


def push(world: World, rewards: np.ndarray) -> Pushed:
    """Pushes for rewards with a beta that falls as 1 / step."""
    policies = np.array(
        [REFERENCE, *(tilted(REFERENCE, rewards, 1.0 / (PUSH * step)) for step in range(1, NUM_STEPS + 1))]
    )
    return Pushed(
        policies=policies,
        kl=np.array([kl_between(policy, REFERENCE) for policy in policies]),
        gold=policies @ world.gold,
        reward=policies @ rewards,
    )


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a run's watcher saw.

    Attributes:
        alarms: the first of each kind, in the order in which they were raised.
        audits: (audits, 2) mean reward and mean gold of the answers drawn at each.
    """

    alarms: tuple[Alarm, ...]
    audits: np.ndarray


def watch(world: World, pushed: Pushed, rewards: np.ndarray, *, seed: int) -> Watched:
    """Logs the push as a training would and asks each rule of `alignment.watch` at each step.

    Every second step 64 answers are drawn, and gold is asked about them: the audit reward.
    """
    rng = np.random.default_rng(seed)
    history = History(READ)
    raised: dict[str, Alarm] = {}
    audits = []
    for step, policy in enumerate(pushed.policies):
        drawn = rng.choice(len(TIMES), size=NUM_AUDITED, p=policy)
        metrics: dict[str, float | None] = {
            "reward/raw": float(rewards[drawn].mean()),
            "reward/spread": float(rewards[drawn].std(ddof=1)),
            "reward/std": float(world.reward.std[drawn].mean()),
            "kl": float(pushed.kl[step]),
        }
        if step % AUDIT_EVERY == 0:
            audits.append((rewards[drawn].mean(), world.gold[drawn].mean()))
            metrics |= {"audit/raw": float(audits[-1][0]), "audit/reward": float(audits[-1][1])}
        history.add(step, metrics)
        for mode in FAILURE_MODES:
            alarm = mode.alarm(history)
            if alarm is not None:
                raised.setdefault(mode.kind, alarm)
    return Watched(alarms=tuple(raised.values()), audits=np.array(audits))


WORLDS = (0, 1, 2, 3)
FEW_VOTES, HARM = 150, 0.5
"""Of the lesson's question and claims."""


def move(values: Values) -> Picture:
    """Pushes a policy for three rewards, and watches the first."""
    world = make_world(num_votes=round(values["votes"]), harm=values["harm"], seed=round(values["world"]))
    rewards = {
        "the mean of five": rewarded(world, "mean"),
        "one reward model": rewarded(world, "one"),
        "the mean less variance (uwo)": rewarded(world, "uwo", strength=values["strength"]),
    }
    pushed = {name: push(world, values) for name, values in rewards.items()}
    first, of_first = next(iter(pushed.items()))
    seen = watch(world, of_first, rewards[first], seed=round(values["world"]))
    common = min(one.kl[-1] for one in pushed.values())
    figures = [
        {"pushed for": name, "gold at its best": one.gold.max(), f"gold at KL {common:.1f}": one.gold_at(common)}
        for name, one in pushed.items()
    ]
    lines = {f"gold, {name}": (one.kl, one.gold) for name, one in pushed.items()}
    lines[f"what is rewarded, {first}"] = (of_first.kl, of_first.reward)
    rows = [
        {"at": float(kl), "value": float(value), "series": name}
        for name, (distance, heights) in lines.items()
        for kl, value in zip(distance[::3], heights[::3], strict=True)
    ]
    marks = [{"at": float(of_first.kl[alarm.step]), "words": f"{alarm.title}: {alarm.figure}"} for alarm in seen.alarms]
    chart = curves(rows, axis="nats of a vote", across="KL to the reference, nats", marks=marks)
    caught = "; ".join(f"{alarm.title.lower()} at KL {of_first.kl[alarm.step]:.1f}" for alarm in seen.alarms)
    words = f"The watcher of a run that is pushed for {first} says: {caught or 'nothing'} (dashed lines)."
    return Picture(figures=figures, chart=chart, words=words)


def place_of(times: list[int]) -> int:
    """The number of the answer that holds each phrase so many times."""
    return int(np.ravel_multi_index(times, [MOST_TIMES + 1] * NUM_PHRASES))


def pay_for_three() -> float:
    """What the heads pay for a phrase said three times, in what they pay for saying it once."""
    world = make_world(num_votes=FEW_VOTES, harm=HARM, seed=0)
    never, once, thrice = (place_of([number] + [0] * (NUM_PHRASES - 1)) for number in (0, 1, 3))
    reward = world.reward.mean
    return float((reward[thrice] - reward[never]) / (reward[once] - reward[never]))


def a_mean_does_not_give_in() -> Finding:
    """Gold before the push for the mean of five, at its best and at the end, in four worlds."""
    rows, falls = [], []
    for seed in WORLDS:
        world = make_world(num_votes=FEW_VOTES, harm=HARM, seed=seed)
        gold = push(world, rewarded(world, "mean")).gold
        falls.append(float(gold.max() - gold[-1]))
        rows.append(
            {
                "world": str(seed),
                "gold before": float(gold[0]),
                "at its best": float(gold.max()),
                "at the end": float(gold[-1]),
            }
        )
    return Finding(figures=rows, is_wrong=min(falls) > 0.1)


def it_shows_in_the_reward() -> Finding:
    """Reward and gold where gold was at its best and at the end of the push, and when the watcher spoke."""
    rows, are_wrong = [], []
    for seed in WORLDS:
        world = make_world(num_votes=FEW_VOTES, harm=HARM, seed=seed)
        rewards = rewarded(world, "mean")
        pushed = push(world, rewards)
        caught = [
            alarm.step for alarm in watch(world, pushed, rewards, seed=seed).alarms if alarm.kind == "reward_hacking"
        ]
        best = int(pushed.gold.argmax())
        rows.append(
            {
                "world": str(seed),
                "gold's best step": best,
                "alarm at step": caught[0] if caught else "none",
                "reward, from that step to the last": f"{pushed.reward[best]:.2f} to {pushed.reward[-1]:.2f}",
                "gold": f"{pushed.gold[best]:.2f} to {pushed.gold[-1]:.2f}",
            }
        )
        are_wrong.append(bool(caught and (np.diff(pushed.reward) > 0).all() and pushed.gold[-1] < pushed.gold[best]))
    return Finding(figures=rows, is_wrong=all(are_wrong))


def penalties_always_pay() -> Finding:
    """Gold at equal KL where repeating a phrase does no harm, so that the heads err nowhere by rule."""
    rows, gains = [], []
    for seed in WORLDS:
        world = make_world(num_votes=FEW_VOTES, harm=0.0, seed=seed)
        mean, less = (push(world, rewarded(world, rule)) for rule in ("mean", "uwo"))
        common = min(mean.kl[-1], less.kl[-1])
        rows.append(
            {"world": str(seed), "KL": float(common), "mean": mean.gold_at(common), "uwo": less.gold_at(common)}
        )
        gains.append(less.gold_at(common) - mean.gold_at(common))
    return Finding(figures=rows, is_wrong=float(np.mean(gains)) < 0)


REWARD_HACKING = Lesson(
    key="reward-hacking",
    title="Reward hacking, happening and being caught",
    text="""A reward model is a stand-in for what people want. Push a policy for it and both rise, until the policy
finds where the two differ; from there the reward goes on rising and what people want falls (Gao et al. 2022).

Here an answer holds each of six phrases no, one, two or three times. People like some phrases and dislike others, and
are annoyed by every repetition. The policy that begins hardly repeats itself, so votes on its answers say next to
nothing about repeating. Five Bradley-Terry heads on the counts of phrases are fitted to resampled votes. To a head that
counts, what is good once is three times as good three times.

At each step the policy is the best one under its reward at a smaller beta: hacking is what the reward asks for, not an
accident of training. Three things may catch it:

- **an audit**: gold is asked about 64 answers of now, and the watcher of runs compares trends (dashed lines);
- **disagreement**: the heads come apart where votes were few, which raises a warning of its own;
- **a penalty** on that disagreement, so that the policy stays where the heads agree.""",
    sliders=(
        Slider(name="votes", label="Votes", low=100, high=1000, step=50, default=150),
        Slider(name="harm", label="How much a repetition annoys", low=0, high=1, step=0.05, default=0.5),
        Slider(name="strength", label="Strength of the penalty", low=0.25, high=6, step=0.25, default=1.0),
        Slider(name="world", label="World", low=0, high=19, step=1, default=0),
    ),
    move=move,
    question=Question(
        text="A head on counts learned from votes in which nobody repeats a phrase. How many times as much as for "
        "saying a phrase once does it pay for saying it three times?",
        answer=pay_for_three,
        tolerance=0.01,
        why="It is linear in the count, so 3 times: beyond its votes a reward model goes on as its form has it. People "
        "pay once and take something off for each repetition.",
    ),
    mistakes=(
        Mistake(
            claim="Averaging an ensemble of reward models keeps a policy from hacking them.",
            run=a_mean_does_not_give_in,
            instead="The five make the same mistake, for they have the same form and similar votes. A mean takes out "
            "only what they do not share.",
        ),
        Mistake(
            claim="One sees hacking in the reward curve.",
            run=it_shows_in_the_reward,
            instead="The reward rises at every step, there is nothing to see. It takes another measure of the same "
            "answers that was not trained on, and even an audit of 64 answers needs a while to be sure.",
        ),
        Mistake(
            claim="A penalty on disagreement pays in any case: it only holds back what is uncertain.",
            run=penalties_always_pay,
            instead="Members also disagree about what is good and rare. Where hacking does not leave the data, the "
            "penalty holds back gold: at equal KL it costs more than it gives.",
        ),
    ),
    papers=(
        Paper(
            title="Gao et al. 2022, Scaling laws for reward model overoptimization",
            link="https://arxiv.org/abs/2210.10760",
        ),
        Paper(title="Coste et al. 2024, Reward model ensembles", link="https://arxiv.org/abs/2310.02743"),
        Paper(title="Eisenstein et al. 2023, Helping or herding?", link="https://arxiv.org/abs/2312.09244"),
    ),
)
