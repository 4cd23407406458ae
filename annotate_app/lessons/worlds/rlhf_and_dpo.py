"""RLHF and DPO on the same votes in one world: where they are the same policy, and where they part."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from scipy.special import expit, softmax

from annotate_app.lessons.lesson import Choice, Finding, Lesson, Mistake, Paper, Picture, Question, Slider, Values
from annotate_app.lessons.worlds.tabular_policy import (
    PRIOR_PRECISION,
    fit_by_pairs,
    fit_by_reward,
    kl_between,
    tilted,
)
from annotate_app.pages.charts.curves import curves
from rewardkit.heads.fit import fit_head, make_pairs

NUM_TRAITS = 3
SIGNS = np.array(list(product((1.0, -1.0), repeat=NUM_TRAITS)))
"""(A, 3) the eight answers: each of three traits there or not."""
FEATURES = np.array(
    [
        [np.prod(signs[list(members)]) for size in range(1, NUM_TRAITS + 1) for members in combinations(range(3), size)]
        for signs in SIGNS
    ]
)
"""(A, 7) the traits, their pairs and all three together: with all of them any reward can be written."""
LEVELS = (3, 6, 7)
SEES = ("each trait alone", "traits and pairs", "everything")


@dataclass(frozen=True, kw_only=True)
class World:
    """Eight answers to one prompt.

    Attributes:
        gold: (A,) what people prefer by, nats of a vote.
        reference: (A,) where the policy begins.
        drawn: (A,) the policy that wrote the answers voted on.
        wins: (A, A) votes for row over column.
    """

    gold: np.ndarray
    reference: np.ndarray
    drawn: np.ndarray
    wins: np.ndarray


def make_world(*, num_votes: int, off_policy: float, seed: int) -> World:
    """Draws a world and the votes in it.

    Args:
        num_votes: on pairs of different answers.
        off_policy: 0: the reference wrote what is voted on, 1: another policy did, and between.
        seed: of all of it.
    """
    rng = np.random.default_rng(seed)
    sizes = np.repeat([0.8, 0.7, 0.5], [3, 3, 1])
    gold = FEATURES @ (sizes * rng.normal(size=7))
    reference, other = softmax(rng.normal(size=8)), softmax(2.0 * rng.normal(size=8))
    drawn = tilted(reference, off_policy * (np.log(other) - np.log(reference)), 1.0)
    chances = np.outer(drawn, drawn) * np.triu(np.ones((8, 8)), 1)
    shown = rng.multinomial(num_votes, (chances / chances.sum()).ravel()).reshape(8, 8)
    first = rng.binomial(shown, expit(gold[:, None] - gold[None, :]))
    return World(gold=gold, reference=reference, drawn=drawn, wins=(first + (shown - first).T).astype(float))


def rlhf(world: World, *, reward_level: int, policy_level: int, beta: float) -> np.ndarray:
    """(A,) a reward model fitted to the votes, then the best policy under it."""
    chosen, rejected = np.nonzero(world.wins)
    features = FEATURES[:, : LEVELS[reward_level]]
    votes = make_pairs(features[chosen] - features[rejected], np.ones(len(chosen)), weight=world.wins[chosen, rejected])
    rewards = features @ fit_head(votes, prior_precision=PRIOR_PRECISION).weights
    return fit_by_reward(world.reference, FEATURES[:, : LEVELS[policy_level]], rewards, beta=beta)


def dpo(world: World, *, policy_level: int, beta: float) -> np.ndarray:
    """(A,) the policy itself fitted to the votes, by `alignment.losses.pair.sigmoid_loss`."""
    from alignment.losses.pair import sigmoid_loss

    return fit_by_pairs(
        world.reference,
        FEATURES[:, : LEVELS[policy_level]],
        world.wins,
        lambda chosen, rejected: sigmoid_loss(chosen, rejected, beta=beta),
        beta=beta,
    )


def worth(world: World, policy: np.ndarray, *, beta: float) -> float:
    """E[gold] - beta KL(policy || reference): what both methods are after."""
    return float(policy @ world.gold) - beta * kl_between(policy, world.reference)


def best(world: World, *, policy_level: int, beta: float) -> np.ndarray:
    """(A,) the best that such a policy can be, found with gold itself."""
    return fit_by_reward(world.reference, FEATURES[:, : LEVELS[policy_level]], world.gold, beta=beta)


NUM_VOTES = (100, 500, 2_000, 10_000, 50_000)
WORLDS = (0, 1, 2, 3)


def move(values: Values) -> Picture:
    """Fits both policies to ever more votes of one world."""
    reward_level, policy_level = round(values["reward"]), round(values["policy"])
    beta = values["beta"]
    off_policy, seed = values["off_policy"], round(values["world"])
    worlds = {number: make_world(num_votes=number, off_policy=off_policy, seed=seed) for number in NUM_VOTES}
    policies = {
        "RLHF": [
            rlhf(world, reward_level=reward_level, policy_level=policy_level, beta=beta) for world in worlds.values()
        ],
        "DPO": [dpo(world, policy_level=policy_level, beta=beta) for world in worlds.values()],
    }
    world = worlds[NUM_VOTES[-1]]
    rows = [
        {"at": number, "value": worth(world, policy, beta=beta), "series": name}
        for name, by_number in policies.items()
        for number, policy in zip(NUM_VOTES, by_number, strict=True)
    ]
    shown = {name: by_number[-1] for name, by_number in policies.items()}
    apart = float(np.abs(shown["RLHF"] - shown["DPO"]).max())
    shown |= {
        "the best of such policies": best(world, policy_level=policy_level, beta=beta),
        "the reference": world.reference,
    }
    figures = [
        {
            "policy": name,
            "gold": float(policy @ world.gold),
            "KL": kl_between(policy, world.reference),
            "gold - beta KL": worth(world, policy, beta=beta),
        }
        for name, policy in shown.items()
    ]
    chart = curves(
        rows,
        axis="gold - beta KL",
        across="votes",
        log=True,
        reference=float(str(figures[2]["gold - beta KL"])),
        reference_label="the best of such policies",
    )
    words = (
        f"With {NUM_VOTES[-1]:,} votes the two policies differ by at most {apart:.4f} in the probability of an answer. "
        "The dashed line is the best of all policies that can change as much."
    )
    return Picture(figures=figures, chart=chart, words=words)


def both(*, reward_level: int, policy_level: int, seed: int) -> tuple[float, float, float]:
    """What RLHF and DPO reach with 20,000 votes of the reference's answers, and how far their probabilities differ."""
    world = make_world(num_votes=20_000, off_policy=0.0, seed=seed)
    one = rlhf(world, reward_level=reward_level, policy_level=policy_level, beta=0.5)
    other = dpo(world, policy_level=policy_level, beta=0.5)
    return worth(world, one, beta=0.5), worth(world, other, beta=0.5), float(np.abs(one - other).max())


def higher(*, reward_level: int, policy_level: int) -> str:
    """Which of the two reaches more, on average over WORLDS."""
    gain = np.mean(
        [
            one - other
            for seed in WORLDS
            for one, other, _ in [both(reward_level=reward_level, policy_level=policy_level, seed=seed)]
        ]
    )
    return "the same" if abs(gain) < 1e-3 else "RLHF" if gain > 0 else "DPO"


def always_the_same() -> Finding:
    """Both methods with policies that can become anything, under reward models that see more and less."""
    rows = []
    for level in range(3):
        one, other, apart = both(reward_level=level, policy_level=2, seed=0)
        rows.append({"reward model sees": SEES[level], "RLHF": one, "DPO": other, "probabilities differ by": apart})
    return Finding(
        figures=rows, is_wrong=any(abs(float(str(row["RLHF"])) - float(str(row["DPO"]))) > 0.01 for row in rows)
    )


def rewards_are_better() -> Finding:
    """A reward model that sees each trait alone against DPO of a policy that can become anything, in four worlds."""
    rows = [
        {"world": str(seed), "RLHF": one, "DPO": other}
        for seed in WORLDS
        for one, other, _ in [both(reward_level=0, policy_level=2, seed=seed)]
    ]
    return Finding(figures=rows, is_wrong=any(float(str(row["RLHF"])) < float(str(row["DPO"])) - 0.01 for row in rows))


RLHF_AND_DPO = Lesson(
    key="rlhf-and-dpo",
    title="RLHF and DPO: one world, the same votes",
    text="""RLHF fits a reward to votes and then looks for the policy with the highest

    E[reward] - beta KL(policy || reference),

whose answer is known: policy ~ reference exp(reward / beta). DPO turns this around. Each policy *is* the best one under
the reward beta log(policy / reference), so it fits the policy to the votes by the same Bradley-Terry likelihood and
needs no reward model and no sampling.

So both maximise one likelihood. They part where the two can say different things:

- the reward model sees less than the policy can do: RLHF follows its blind spot, DPO does not;
- the policy can do less than the reward model sees: RLHF looks for the best among such policies; DPO takes the one
  that explains the votes best, on the answers that were voted on.

Here are eight answers to one prompt, made of three traits. Gold counts each trait, pairs of them and all three
together. Votes are Bradley-Terry of gold. The policy is a table, its best form is computed, so nothing is left to
training.""",
    sliders=(
        Choice(name="reward", label="The reward model sees", options=SEES, default=2),
        Choice(name="policy", label="The policy can change", options=SEES, default=2),
        Slider(
            name="off_policy",
            label="Voted on: by the reference (0), another policy (1)",
            low=0,
            high=1,
            step=0.25,
            default=0.0,
        ),
        Slider(name="beta", label="beta", low=0.1, high=2, step=0.1, default=0.5),
        Slider(name="world", label="World", low=0, high=19, step=1, default=0),
    ),
    move=move,
    question=Question(
        text="The reward model sees everything, the policy can only change each trait alone, and the reference wrote "
        "20,000 pairs. Which method reaches the higher gold - beta KL, on average over worlds 0 to 3?",
        choices=("RLHF", "DPO", "the same"),
        answer=lambda: higher(reward_level=2, policy_level=0),
        why="No such policy has an implicit reward that explains the votes, and DPO spends what it has on explaining "
        "them. RLHF has the right reward and asks which of these policies earns most by it.",
    ),
    mistakes=(
        Mistake(
            claim="DPO and RLHF always give the same policy: the derivation is exact.",
            run=always_the_same,
            instead="It is exact where the reward model can say what the policy can, as in the last row. The "
            "derivation takes that for granted.",
        ),
        Mistake(
            claim="With a reward model RLHF is always at least as good as DPO.",
            run=rewards_are_better,
            instead="A reward model with a blind spot is worse than none. Both orders occur, and which one is decided "
            "by what each of the two can express (Shi et al. 2025).",
        ),
    ),
    papers=(
        Paper(title="Rafailov et al. 2023, Direct preference optimization", link="https://arxiv.org/abs/2305.18290"),
        Paper(
            title="Shi et al. 2025, Understanding the performance gap in preference learning",
            link="https://arxiv.org/abs/2505.19770",
        ),
        Paper(title="Xu et al. 2024, Is DPO superior to PPO?", link="https://arxiv.org/abs/2404.10719"),
    ),
    needs_torch=True,
)
