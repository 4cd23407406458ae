"""The configuration of experiments in the simulated world; nothing heavy imported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal, get_args

from alignment.config.objectives import check_multiplier
from alignment.config.training import check_least

Method = Literal["sft", "best_of_n", "dpo", "ppo", "grpo", "more_sft", "spin"]
METHODS: tuple[Method, ...] = ("sft", "best_of_n", "dpo", "ppo", "grpo")
"""Those that are run where none is named; the others learn from the demonstrations again, and from no vote."""
SWEPT: Mapping[str, Sequence[Method]] = {
    "beta": ("dpo", "spin"),
    "kl_weight": ("ppo", "grpo"),
    "flips": ("best_of_n", "dpo"),
}
"""Options of which several values can be tried at once, and the methods that are run for them where none is named."""
Exercise = Literal["flips", "shape", "features", "kl"]
PPO_PASSES = 4  # updates of a step of PPO, and of self-play
PHRASES_CHOSEN_ON = range(100, 120)  # worlds of phrases that what is chosen is chosen on; none is reported
ADMITTED = 0.4
"""Correlation with gold among replies to one message, above which a proxy is worth pushing."""
ProxyMembers = Literal["full", "heads"]
LEAST_PHRASE_WORLDS = 3  # of which an interval over worlds still says something
MULTIPLIER_RATE, MULTIPLIER_BOUNDS = 1.0, (0.02, 20.0)  # of the constraint between two golds


@dataclass(frozen=True, kw_only=True)
class LabConfig:
    """Options that every experiment has.

    Attributes:
        out: the run directory: tables, a report, and the runs it is made of, by seed.
        resume: whether an experiment that was stopped continues; finished parts are not done again.
        seeds: number of worlds, each with its own data, policies and rewards.
        first_seed: seed of the first world; the others follow.
        num_prompts: number of messages of a world to train on, each with a pair of replies that annotators voted on.
        ensemble: number of members of the reward model that is trained on the votes.
        steps: number of steps of PPO and GRPO, each of 64 completions.
        json: whether figures are printed as JSON instead of the table.
    """

    out: str
    resume: bool = False
    seeds: int = 3
    first_seed: int = 0
    num_prompts: int = 2000
    ensemble: int = 5
    steps: int = 60
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, seeds=0, first_seed=0, num_prompts=40, ensemble=1, steps=1)
        if not self.numbers:
            raise ValueError(f"seeds is {self.seeds}, allowed is 1 or more")

    @property
    def numbers(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(LabConfig):
    """The same data through several ways of aligning a policy, side by side.

    Attributes:
        methods: ways to compare: best_of_n, dpo, ppo, grpo, and two that see no vote: more_sft, SFT continued on its
            demonstrations, and spin, self-play of demonstrations against own samples; may be given repeatedly; by
            default the first four, in a sweep those of them that it is of. SFT is always there.
        equal: what the methods have the same of: updates (`steps` updates of the weights by each; a step of PPO and of
            self-play makes four), tokens (`steps` steps of PPO and of GRPO; DPO reads its votes as often as the reward
            model and their completions take tokens), or steps (nothing but the steps of PPO, GRPO and self-play; DPO
            has an epoch). What learns from demonstrations makes as many updates with equal tokens as with equal steps.
        sweep: option with several values to try, as beta=0.03,0.1,0.3; beta of DPO and self-play, kl_weight of PPO and
            GRPO, where 0 is a run without a KL, or flips; may be given repeatedly, and all combinations are run.
        flips: share of the votes that are turned around, besides what annotators err anyway.
        num_numbers: number of amounts, and of order numbers, that messages name, which a small policy learns to copy;
            0 takes any of a range, which it does not learn.
        n: number of completions that best-of-n chooses from.
        penalty: conservative rule of the ensemble's rewards for PPO, GRPO and best-of-n.
        beta: beta of DPO and of self-play.
        kl_weight: weight of the KL to the SFT policy for PPO and GRPO; the default was chosen on seed 100,
            for 40 updates.
        objectives: whether two golds, helpfulness and safety, are traded off by GRPO instead: their weighted sum, the
            first subject to the second, and policies between the two that maximise one.
        weights: weights of helpfulness in the sum, safety having the rest, and in the interpolated policies; may be
            given repeatedly; 0.25, 0.5 and 0.75 where none is given, beside 0 and 1.
        floors: mean safety that is asked for; may be given repeatedly; -0.6, -0.4 and -0.2 where none is given.
        multiplier_starts: multiplier of the constraint at the start, for every floor; may be given repeatedly; 1 where
            none is given.
    """

    methods: list[Method] = field(default_factory=list, metadata={"repeated": True})
    equal: Literal["updates", "tokens", "steps"] = "updates"
    sweep: list[str] = field(default_factory=list, metadata={"repeated": True})
    flips: float = 0.0
    num_numbers: int = 8
    n: int = 16
    penalty: Literal["mean", "wco", "uwo", "entropic"] = "mean"
    beta: float = 0.3
    kl_weight: float = 0.1
    objectives: bool = False
    weights: list[float] = field(default_factory=list, metadata={"repeated": True})
    floors: list[float] = field(default_factory=list, metadata={"repeated": True})
    multiplier_starts: list[float] = field(default_factory=list, metadata={"repeated": True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, n=2)
        _check_num_numbers(self.num_numbers)
        if (self.weights or self.floors or self.multiplier_starts) and not self.objectives:
            raise ValueError("weights, floors and multiplier_starts are of the two golds: give objectives too")
        for start in self.multiplier_starts:
            check_multiplier(start, MULTIPLIER_RATE, *MULTIPLIER_BOUNDS)
        for weight in self.weights:
            if not 0 < weight < 1:
                raise ValueError(f"weights holds {weight}, allowed is between 0 and 1")
        for beta in self.values("beta"):
            if not 0 < beta < math.inf:
                raise ValueError(f"beta is {beta}, allowed is more than 0")
        for kl_weight in self.values("kl_weight"):
            if not 0 <= kl_weight < math.inf:
                raise ValueError(f"kl_weight is {kl_weight}, allowed is 0 or more")
        for flips in self.values("flips"):
            if not 0 <= flips <= 1:
                raise ValueError(f"flips is {flips}, allowed is 0 to 1")
        in_fours = {"ppo", "spin"} & set(self.chosen)
        if self.equal == "updates" and self.steps % PPO_PASSES and in_fours and not self.objectives:
            raise ValueError(f"steps is {self.steps}, with equal updates allowed are multiples of {PPO_PASSES}")
        self._check_sweeps()

    def _check_sweeps(self) -> None:
        """Raises ValueError for a sweep of what no method that is run has, and for what objectives do not take."""
        if self.objectives and (self.sweep or self.flips or self.equal != "updates"):
            raise ValueError(
                "sweep, flips and equal are of the methods, objectives compares ways of one: leave them out"
            )
        for name, values in self.swept.items():
            if name != "flips" and not set(SWEPT[name]) & set(self.chosen):  # votes are everybody's
                raise ValueError(f"sweep is of {name}, which is of {' and '.join(SWEPT[name])}: none of them is run")
            if len({f"{value:g}" for value in values}) < len(values):
                raise ValueError(f"sweep of {name} holds values that agree in six digits")

    def values(self, name: str) -> Sequence[float]:
        """The values of an option of `SWEPT` that are tried: those of its sweep, or the one that it has."""
        return self.swept.get(name) or [getattr(self, name)]

    @property
    def swept(self) -> Mapping[str, Sequence[float]]:
        """By option, the values of `sweep`, from the lowest.

        Raises:
            ValueError: if one is of another form, of an option that cannot be swept, or given twice.
        """
        values_of: dict[str, Sequence[float]] = {}
        for text in self.sweep:
            name, _, values = text.partition("=")
            if name not in SWEPT or name in values_of:
                raise ValueError(f"sweep is {text!r}, allowed is NAME=VALUE,VALUE, once of each of {', '.join(SWEPT)}")
            try:
                values_of[name] = sorted({float(value) for value in values.split(",")})
            except ValueError:
                raise ValueError(f"sweep is {text!r}, allowed is numbers with commas between them") from None
        return values_of

    @property
    def chosen(self) -> Sequence[Method]:
        """The methods that are run."""
        of_sweeps = [method for name in self.swept for method in SWEPT[name]]
        return self.methods or [method for method in METHODS if method in of_sweeps or not of_sweeps]

    @property
    def weight_shares(self) -> Sequence[float]:
        return sorted(self.weights) or (0.25, 0.5, 0.75)

    @property
    def starts(self) -> Sequence[float]:
        return sorted(self.multiplier_starts, reverse=True) or (1.0,)

    @property
    def safety_floors(self) -> Sequence[float]:
        return sorted(self.floors) or (-0.6, -0.4, -0.2)


@dataclass(frozen=True, kw_only=True)
class OveroptConfig(LabConfig):
    """How far a proxy of the gold reward can be pushed before gold falls, by best-of-n and by reinforcement learning.

    Attributes:
        world: text, where policies and reward models are trained; or phrases, where a reply is a bag of phrases, the
            policy that a KL holds is known in closed form, and a world takes seconds: strengths of penalties are
            chosen on worlds kept apart, and all is compared at equal KL. Options of the text world are refused there.
        pairs: pairs that the proxies learn from; given repeatedly, a proxy for each; a tenth of num_prompts and all of
            them where none is given.
        noises: shares of careless answers in their votes; given repeatedly, a proxy for each; 0 and 0.5 where none is
            given.
        members: what the members of a proxy have of their own: full, a whole model each; or heads, on one trunk; given
            repeatedly, a proxy for each; full where none is given.
        num_numbers: number of amounts, and of order numbers, that messages name, which a small policy learns to copy;
            0 takes any of a range, which it does not learn.
        n: largest number of completions that best-of-n chooses from; 0 takes 64 in the text world, 1024 of phrases.
        rl: whether GRPO without a KL trains on the proxies too, by the mean of all, uwo, and one member; the last by
            whole members alone, as a head of a shared trunk is no reward model of its own.
        admit: correlation with gold among replies to one message that a proxy's mean must exceed: others are not
            trained on by GRPO and do not count over worlds; -1 pushes all.
        uwo_share: spread of what uwo takes from the mean among replies to one message, as a share of the mean's own
            spread; its strength is found for each proxy on replies of the SFT policy. The default was chosen on seed
            100.
        seeds: number of worlds; 0 takes 1 of text, 30 of phrases.
    """

    world: Literal["text", "phrases"] = "text"
    pairs: list[int] = field(default_factory=list, metadata={"repeated": True})
    noises: list[float] = field(default_factory=list, metadata={"repeated": True})
    members: list[ProxyMembers] = field(default_factory=list, metadata={"repeated": True})
    num_numbers: int = 8
    n: int = 0
    rl: bool = True
    admit: float = ADMITTED
    uwo_share: float = 0.1
    seeds: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, n=4 if self.n else 0)
        if self.world == "phrases":
            self._check_phrases()
        for pairs in self.pairs:
            if not 40 <= pairs <= self.num_prompts:
                raise ValueError(f"pairs is {pairs}, allowed is 40 to num_prompts, {self.num_prompts}")
        for noise in self.noises:
            if not 0 <= noise < 1:
                raise ValueError(f"noises holds {noise}, allowed is 0 up to 1")
        if len(set(self.members)) < len(self.members):
            raise ValueError(f"members holds {', '.join(self.members)}, allowed is each kind once")
        _check_num_numbers(self.num_numbers)
        if not -1 <= self.admit < 1:
            raise ValueError(f"admit is {self.admit}, allowed is -1 up to 1")
        if not 0 < self.uwo_share < math.inf:
            raise ValueError(f"uwo_share is {self.uwo_share}, allowed is more than 0")

    def _check_phrases(self) -> None:
        own = {"out", "resume", "json", "world", "seeds", "first_seed", "ensemble", "n"}
        for option in fields(self):
            if option.name not in own and getattr(self, option.name) not in (option.default, []):
                raise ValueError(f"{option.name} is of the text world, where policies are trained: leave it out")
        check_least(self, ensemble=2)
        if len(self.numbers) < LEAST_PHRASE_WORLDS:
            raise ValueError(
                f"seeds is {self.seeds}, allowed is {LEAST_PHRASE_WORLDS} or more: intervals are over worlds"
            )
        if set(self.numbers) & set(PHRASES_CHOSEN_ON):
            first, last = PHRASES_CHOSEN_ON[0], PHRASES_CHOSEN_ON[-1]
            raise ValueError(
                f"worlds {first} to {last} are those that strengths are chosen on: choose another first_seed"
            )

    @property
    def numbers(self) -> range:
        seeds = self.seeds or (30 if self.world == "phrases" else 1)
        return range(self.first_seed, self.first_seed + seeds)

    @property
    def num_best_of(self) -> int:
        """Largest number of completions that best-of-n chooses from."""
        return self.n or (1024 if self.world == "phrases" else 64)

    @property
    def pair_counts(self) -> Sequence[int]:
        return self.pairs or (max(40, self.num_prompts // 10), self.num_prompts)

    @property
    def noise_shares(self) -> Sequence[float]:
        return self.noises or (0.0, 0.5)

    @property
    def member_kinds(self) -> Sequence[ProxyMembers]:
        return self.members or ("full",)


def _check_num_numbers(num_numbers: int) -> None:
    if num_numbers and not 2 <= num_numbers <= 100:
        raise ValueError(f"num_numbers is {num_numbers}, allowed is 0 or 2 to 100")


@dataclass(frozen=True, kw_only=True)
class LoopLabConfig:
    """Turns of choose, label, learn and align, against other ways to spend the same labels, in a world of known worth.

    Attributes:
        out: the run directory: tables, a report, and the finished parts, by seed, arm and turn.
        resume: whether an experiment that was stopped continues; finished parts are not done again.
        seeds: number of worlds, each with its own data, policies and votes.
        first_seed: seed of the first world; the others follow. The defaults below were chosen on seeds from 100 on.
        turns: number of turns.
        labels: labels that people give in a turn.
        prompts: messages of a turn, of which no other turn and no demonstration is.
        n: candidates that the present policy writes for each message.
        steps: optimiser steps of a turn's DPO, each of 16 pairs.
        beta: beta of DPO.
        learning_rate: peak learning rate of DPO.
        judge_reliability: share of the judge's votes that are not careless; people's is 0.95.
        judge_left_bias: logits by which the judge is drawn to the answer on the left.
        judge_price: price of a vote of the judge, in votes of people.
        json: whether figures are printed as JSON instead of the table.
    """

    out: str
    resume: bool = False
    seeds: int = 10
    first_seed: int = 0
    turns: int = 3
    labels: int = 60
    prompts: int = 80
    n: int = 4
    steps: int = 20
    beta: float = 0.3
    learning_rate: float = 2e-4
    judge_reliability: float = 0.6
    judge_left_bias: float = 1.0
    judge_price: float = 0.25
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, seeds=1, first_seed=0, turns=2, labels=20, prompts=30, n=2, steps=1, judge_left_bias=0)
        for name in ("beta", "learning_rate", "judge_price"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed is more than 0")
        if not 0 <= self.judge_reliability <= 1:
            raise ValueError(f"judge_reliability is {self.judge_reliability}, allowed is 0 to 1")
        pairs = self.prompts * self.n * (self.n - 1) // 2
        most = round(self.labels * max(self.turns, 1 / self.judge_price))
        if most > pairs * 2 // 3:
            raise ValueError(
                f"{self.labels} labels in each of {self.turns} turns are up to {most} on the candidates of one turn, "
                f"allowed is two thirds of its {pairs} pairs: more prompts or n, or fewer labels"
            )

    @property
    def numbers(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)


@dataclass(frozen=True, kw_only=True)
class ExercisesConfig:
    """Exercises of textbooks in small worlds of features, beside the answers that are expected; seconds each.

    Attributes:
        names: exercises to do: flips (labels turned around), shape (linear and non-linear rewards), features (few and
            many), kl (KL weights and none); may be given repeatedly; by default all.
        seeds: number of worlds.
        first_seed: seed of the first world; the others follow.
        json: whether figures are printed as JSON instead of tables.
    """

    names: list[Exercise] = field(default_factory=list, metadata={"repeated": True})
    seeds: int = 20
    first_seed: int = 0
    json: bool = False

    def __post_init__(self) -> None:
        check_least(self, seeds=2, first_seed=0)

    @property
    def chosen(self) -> Sequence[Exercise]:
        return self.names or get_args(Exercise)

    @property
    def numbers(self) -> range:
        return range(self.first_seed, self.first_seed + self.seeds)
