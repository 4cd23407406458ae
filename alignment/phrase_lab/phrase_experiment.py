"""The over-optimisation experiment in the world of phrases: gold at equal KL, with and without a penalty.

A reward learned from votes is pushed by best-of-n, and by the policy that a KL holds, over a path of betas
(`alignment.phrase_lab.optimum`): by one member of an ensemble, by the mean of K, and by their conservative rules. Every
world draws its own worths, votes and members. What is chosen (uwo's strength at each KL, the KL at which to stop) is
chosen by gold on worlds 100 to 119, for each arm, kind and number of members; the worlds reported had no part in it.

overopt.json    all rows
overopt.md      the tables, in Markdown
report.html     the same for people, with charts
worlds/         what each world gave: a finished world is not done again
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from alignment.best_of_n.value import kl_bound
from alignment.config.lab import PHRASES_CHOSEN_ON, OveroptConfig
from alignment.phrase_lab.optimum import divergence, expected_sum, tilted, uwo_optimum
from alignment.phrase_lab.phrase_world import ARMS, KINDS, Arm, Kind, PhraseWorld, choose_prior, draw_world, fit_members
from rewardkit.evaluation.evaluation_text import finite
from rewardkit.reward.reward import Reward, conservative
from rewardkit.run.directory import write_text
from rewardkit.stats.metrics import Interval, student_interval

Push = Literal["path", "best_of_n"]
Rule = Literal["one", "mean", "uwo", "uwo_1", "wco", "gold"]
"""uwo has the strength that was chosen, uwo_1 the strength 1, which `--penalty uwo` has by default."""
Key: TypeAlias = tuple[Arm, Kind, int, Push, Rule, float]
"""Arm, kind and number of members, what pushes, the rule, and its strength, 0 for a rule that has none."""
Curves: TypeAlias = dict[Key, np.ndarray]
"""(2, M) gold and proxy, the mean of all members, above the policy's own, at the KLs of the push."""

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0)
SIZES = (2, 5, 10)  # numbers of members, beside the one that is asked for
INVERSE_BETAS = np.geomspace(0.3, 50.0, 28)  # of a reward whose spread over the policy's replies is 1
FURTHER = (8.0, 12.0, 16.0, 24.0, 32.0, 48.0)  # KLs of the path, beside those of best-of-n
POOL = 32  # times n replies are drawn for best-of-n


@dataclass(frozen=True, kw_only=True)
class Point:
    """Gold of a rule at one KL, over worlds.

    Attributes:
        kl: nats a reply.
        strength: of uwo, as chosen on the worlds kept apart; 0 for the other rules.
        gold: above the policy's own, logits.
        proxy: the mean of the members above the policy's own, in its spreads over the policy's replies.
        gain: that minus gold by the mean, paired by world: at the same KL, or each at its own where that is said.
        num_ahead: worlds in which it is above the mean's.
    """

    kl: float
    strength: float
    gold: Interval
    proxy: float
    gain: Interval
    num_ahead: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """A rule, pushed.

    Attributes:
        members: K.
        points: from the nearest KL to the furthest that all worlds reached.
        best: at the KL, and of uwo the strength, with the most gold on the worlds kept apart; its gain is over the mean
            at the mean's own best.
        fall: gold at the furthest point minus gold at the best one's KL, at one strength, paired by world.
    """

    arm: Arm
    kind: Kind
    members: int
    push: Push
    rule: Rule
    points: tuple[Point, ...]
    best: Point
    fall: Interval

    @property
    def way(self) -> str:
        """Whether gold rose and fell, in words: only what did both shows over-optimisation."""
        if not self.best.gold.low > 0:
            return "not shown to rise"
        if self.best.kl == self.points[-1].kl:
            return "rises to the furthest"
        return "rises, then falls" if self.fall.high < 0 else "rises, no fall shown"

    def at(self, kl: float) -> Point:
        """The point nearest to a KL."""
        return min(self.points, key=lambda point: abs(point.kl - kl))


def best_of_n_sizes(n: int) -> list[int]:
    """2, 4, 8 .. up to n."""
    return [2**power for power in range(1, n.bit_length())]


def distances(n: int, push: Push) -> np.ndarray:
    """(M,) KLs at which a push is looked at: the path at those of best-of-n, and further."""
    bounds = [kl_bound(size) for size in best_of_n_sizes(n)]
    return np.array(bounds if push == "best_of_n" else sorted({*bounds, *FURTHER}))


def overopt_phrases(config: OveroptConfig, told: Callable[[str], None]) -> list[Row]:
    """Runs the worlds to choose on and those to report.

    Args:
        told: given a line for people.
    """
    seeds = [*PHRASES_CHOSEN_ON, *config.numbers]
    curves = {}
    for number, seed in enumerate(seeds, start=1):
        told(f"world {number} of {len(seeds)}: {seed}{', to choose on' if seed in PHRASES_CHOSEN_ON else ''}")
        curves[seed] = _kept_world(config, seed)
    apart, fresh = (stacked([curves[seed] for seed in which]) for which in (PHRASES_CHOSEN_ON, config.numbers))
    return rows_of(apart, fresh, config.num_best_of)


def _kept_world(config: OveroptConfig, seed: int) -> Curves:
    """A world's curves, from its file where there is one."""
    path = Path(config.out) / "worlds" / f"{seed}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        found = world_curves(seed, ensemble=config.ensemble, n=config.num_best_of)
        write_text(path, json.dumps([[*key, finite(curve.tolist())] for key, curve in found.items()]))
    kept = json.loads(path.read_text(encoding="utf-8"))
    return {tuple(key): np.array(curve, dtype=float) for *key, curve in kept}


def world_curves(seed: int, *, ensemble: int, n: int) -> Curves:
    """Gold and proxy of one world under every rule."""
    curves: Curves = {}
    for arm in ARMS:
        world = draw_world(seed, arm)
        prior = choose_prior(world.votes, seed)
        replies = world.draw(POOL * n, np.random.default_rng([seed, 3]))
        for kind in KINDS:
            for count in sorted({*SIZES, ensemble}):
                members = fit_members(world.votes, kind, count, prior_precision=prior, seed=seed)
                members /= spread(world, members.mean(0))
                found: dict[tuple[Push, Rule, float], np.ndarray] = dict(_path(world, members, n))
                if count == ensemble:
                    found |= _path_alone(world, members, n) | best_of_n(world, members, replies, n)
                curves |= {(arm, kind, count, *key): curve for key, curve in found.items()}
    return curves


def spread(world: PhraseWorld, weights: np.ndarray) -> float:
    """Standard deviation of a linear reward over the policy's replies: the unit, as of a saved reward model."""
    counts = np.arange(world.shares.shape[1])
    variances = world.shares @ counts**2 - (world.shares @ counts) ** 2
    return float(np.sqrt(variances @ weights**2))


def _path(world: PhraseWorld, members: np.ndarray, n: int) -> Mapping[tuple[Push, Rule, float], np.ndarray]:
    """The mean of the members, and uwo with every strength."""
    proxy = _table(world, members.mean(0))
    inverse_beta, strength = (grid.ravel() for grid in np.meshgrid(INVERSE_BETAS, STRENGTHS))
    policies = uwo_optimum(world.shares, members, inverse_beta, strength)
    curves: dict[tuple[Push, Rule, float], np.ndarray] = {
        ("path", "mean", 0.0): read_off(world, tilted(world.shares, proxy, INVERSE_BETAS), proxy, n)
    }
    for strength, part in zip(STRENGTHS, np.split(policies, len(STRENGTHS), axis=2), strict=True):
        curves["path", "uwo", strength] = read_off(world, part, proxy, n)
    return curves


def _path_alone(world: PhraseWorld, members: np.ndarray, n: int) -> dict[tuple[Push, Rule, float], np.ndarray]:
    """One member alone, and gold itself."""
    proxy = _table(world, members.mean(0))
    pushed: Mapping[Rule, np.ndarray] = {"one": _table(world, members[0]), "gold": world.gold}
    return {
        ("path", rule, 0.0): read_off(world, tilted(world.shares, rewards, INVERSE_BETAS), proxy, n)
        for rule, rewards in pushed.items()
    }


def _table(world: PhraseWorld, weights: np.ndarray) -> np.ndarray:
    """(D, V) reward of a phrase that occurs 0, 1, .. times."""
    return weights[:, None] * np.arange(world.shares.shape[1])


def read_off(world: PhraseWorld, policies: np.ndarray, proxy: np.ndarray, n: int) -> np.ndarray:
    """(2, M) gold and proxy above the policy's own along a path of betas, read off at the distances.

    Linear in KL between two policies of the path: a mixture of them, whose KL is at most that; nan beyond the furthest.
    """
    reached = divergence(policies, world.shares)
    order = np.argsort(reached)
    x, at = np.concatenate(([0.0], reached[order])), distances(n, "path")
    curves = []
    for values in (world.gold, proxy):
        above = expected_sum(policies, values) - float((world.shares * values).sum())
        curves.append(np.interp(at, x, np.concatenate(([0.0], above[order])), right=math.nan))
    return np.array(curves)


def best_of_n(
    world: PhraseWorld, members: np.ndarray, replies: np.ndarray, n: int
) -> dict[tuple[Push, Rule, float], np.ndarray]:
    """By rule (2, M) gold and proxy of the best of 2, 4, .. n replies above a reply's.

    Args:
        members: (K, D).
        replies: (R, D) counts; each is one of as many blocks of n as there are.
    """
    gold = world.gold_of(replies)
    reward = Reward(members=members @ replies.T)
    scores: dict[tuple[Push, Rule, float], np.ndarray] = {
        ("best_of_n", "one", 0.0): reward.members[0],
        ("best_of_n", "mean", 0.0): conservative(reward, "mean"),
        ("best_of_n", "wco", 0.0): conservative(reward, "wco"),
        ("best_of_n", "gold", 0.0): gold,
    }
    for strength in STRENGTHS:
        scores["best_of_n", "uwo", strength] = conservative(reward, "uwo", strength=strength)
    values = np.array([gold, reward.mean])
    sizes = best_of_n_sizes(n)
    return {key: np.stack([_best_of(size, score, values) for size in sizes], 1) for key, score in scores.items()}


def _best_of(size: int, scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(2,) values, (2, R), of the best of each block of replies by scores, (R,), above their means."""
    num = len(scores) // size
    best = scores[: num * size].reshape(num, size).argmax(1) + size * np.arange(num)
    return values[:, best].mean(1) - values.mean(1)


def stacked(worlds: Sequence[Curves]) -> Curves:
    """(worlds, 2, M) by key."""
    return {key: np.array([world[key] for world in worlds]) for key in worlds[0]}


def rows_of(apart: Curves, fresh: Curves, n: int) -> list[Row]:
    """A row an arm, kind and number of members, push and rule.

    Args:
        apart: of the worlds that strengths and stops are chosen on.
        fresh: of the worlds that are reported.
    """
    keys = list(dict.fromkeys(key[:5] for key in fresh))
    at_default = [(arm, kind, count, push, "uwo_1") for arm, kind, count, push, rule in keys if rule == "uwo"]
    return [_row(apart, fresh, key, n) for key in [*keys, *at_default]]


def _row(apart: Curves, fresh: Curves, key: tuple[Arm, Kind, int, Push, Rule], n: int) -> Row:
    arm, kind, count, push, rule = key
    kls = distances(n, push)
    plain: Key = (arm, kind, count, push, "mean", 0.0)
    settings: list[Key] = [(*key, 0.0)]
    if rule in ("uwo", "uwo_1"):
        strengths = STRENGTHS if rule == "uwo" else (1.0,)
        settings = [(arm, kind, count, push, "uwo", strength) for strength in strengths]
    by_mean = np.isfinite(np.concatenate([apart[plain], fresh[plain]]).sum((0, 1)))  # KLs that the mean reached
    on_apart = np.array([np.where(by_mean, _means(apart[setting]), -math.inf) for setting in settings])
    reached = [
        place
        for place, choice in enumerate(on_apart.argmax(0))
        if by_mean[place] and np.isfinite(fresh[settings[choice]][:, :, place]).all()
    ]
    points = []
    for place in reached:
        setting = settings[on_apart[:, place].argmax()]
        here = fresh[setting][:, :, place]
        points.append(_point(kls[place], setting[-1], here, here[:, 0] - fresh[plain][:, 0, place]))
    choice, place = np.unravel_index(on_apart[:, reached].argmax(), (len(settings), len(reached)))
    stop, stop_of_mean = reached[place], np.where(by_mean, _means(apart[plain]), -math.inf).argmax()
    along = fresh[settings[choice]]
    there = along[:, :, stop]
    return Row(
        arm=arm,
        kind=kind,
        members=count,
        push=push,
        rule=rule,
        points=tuple(points),
        best=_point(kls[stop], settings[choice][-1], there, there[:, 0] - fresh[plain][:, 0, stop_of_mean]),
        fall=student_interval((along[:, 0, reached[-1]] - along[:, 0, stop]).tolist()),
    )


def _means(curves: np.ndarray) -> np.ndarray:
    """(M,) mean gold over worlds; -inf where a world did not get there."""
    means = curves[:, 0].mean(0)
    return np.where(np.isfinite(means), means, -math.inf)


def _point(kl: float, strength: float, curves: np.ndarray, gains: np.ndarray) -> Point:
    return Point(
        kl=float(kl),
        strength=strength,
        gold=student_interval(curves[:, 0].tolist()),
        proxy=float(curves[:, 1].mean()),
        gain=student_interval(gains.tolist()),
        num_ahead=int((gains > 0).sum()),
    )


def write_phrases(rows: Sequence[Row], config: OveroptConfig, markdown: str, page: str) -> None:
    """Writes overopt.json, overopt.md and report.html."""
    values = {
        "worlds": list(config.numbers),
        "chosen_on": list(PHRASES_CHOSEN_ON),
        "rows": [finite(asdict(row)) | {"way": row.way} for row in rows],
    }
    out_dir = Path(config.out)
    write_text(out_dir / "overopt.json", json.dumps(values, indent=1))
    write_text(out_dir / "overopt.md", markdown + "\n")
    write_text(out_dir / "report.html", page)
