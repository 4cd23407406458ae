"""Experiments in the simulated world: whole and tiny as people type them, and their figures on made-up numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.config.lab import OveroptConfig
from alignment.lab.curve_fits import FALLS
from alignment.lab.gold_evaluation import Worth
from alignment.lab.overopt import admitted, best_of_n_push, grpo_push, rl_rules
from alignment.lab.overopt_report import kinds, over_worlds, proxy_name
from alignment.lab.overopt_report import report_page as overopt_page
from alignment.lab.overopt_report import screen_lines as overopt_lines
from alignment.lab.pushed_curves import Curve, Proxy, Push, Rule, curves_of, following, penalty_share, uwo_strength
from rewardkit.stats.metrics import Interval


def worth(gold: np.ndarray, proxy: np.ndarray | None = None, kl: float = 0.0) -> Worth:
    return Worth(gold=gold, proxy=proxy, kl=np.full(gold.shape, kl), words=np.ones(gold.shape))


def push_of(rule: Rule, gold: list[float], proxy: np.ndarray, strength: float = 1.0) -> Push:
    """Best of 4 draws for each of 50 messages, whose gold is the given one in the mean and a little more or less."""
    base = worth(np.linspace(0.99, 1.01, 50)[:, None] * np.array(gold), proxy)
    return best_of_n_push(Proxy(seed=0, pairs=200, noise=0.0), rule, base, strength=strength)


def test_a_proxy_that_is_wrong_at_the_top_is_seen_to_turn() -> None:
    """4 draws a message; gold is the proxy's rank, but for the best, which is worst."""
    push = push_of("mean", [0.0, 1.0, 2.0, -6.0], np.tile(np.array([0.0, 1.0, 2.0, 3.0]), (1, 50, 1)))
    (curve,) = curves_of([push])
    # best of 1: -3 / 4; best of 2: pairs 1 2 2 -6 -6 -6 over 6; best of 4: -6
    assert curve.gold == pytest.approx((0.0, -13 / 6 + 0.75, (2 - 6 * 3) / 4 + 0.75, -6 + 0.75))
    assert curve.proxy[-1] == pytest.approx(1.5)
    assert curve.distance[0] == 0.0
    assert (curve.best.value, curve.end.value, curve.rose) == (0.0, pytest.approx(-5.25), "no")
    assert curve.fit is not None
    assert curve.fit.turning == FALLS


def test_members_that_disagree_save_gold_under_uwo() -> None:
    """The same, and the members disagree about the best: uwo does not choose it, one member alone does."""
    one, other = np.array([0.0, 1.0, 2.0, 6.0]), np.array([0.0, 1.0, 2.0, 0.0])
    proxy = np.stack([np.tile(one, (50, 1)), np.tile(other, (50, 1))])
    single, plain, careful = curves_of([push_of(rule, [0.0, 1.0, 2.0, -6.0], proxy) for rule in ("one", "mean", "uwo")])
    assert plain.gold[-1] == pytest.approx(-6 + 0.75)
    assert careful.gold[-1] == pytest.approx(2 + 0.75)
    assert single.proxy[-1] == pytest.approx(6 - 9 / 4)
    assert plain.gain_at_common is None
    assert careful.gain_at_common is not None
    assert careful.gain_at_common.value == pytest.approx(8.0)
    assert careful.rose == "yes"
    # uwo takes the variance, 0 0 0 18: a spread of 9 beside that of the means 0 1 2 3
    assert [curve.penalty for curve in (single, plain, careful)] == [0.0, 0.0, pytest.approx(9 / np.sqrt(5 / 3))]
    shown = overopt_lines([single, plain, careful])[0]
    assert "+8.00 (+7.99 to +8.01)" in shown
    page = overopt_page([single, plain, careful])
    assert page.count('class="band s') == 3
    assert "Where gold went" in page


def test_bands_over_worlds_take_each_world_once() -> None:
    """Beside the mean 8 in one world and 6 in the other: 7, and Student's t of one degree is 12.706 errors of 1."""
    proxy = np.stack([np.tile([0.0, 1.0, 2.0, 6.0], (50, 1)), np.tile([0.0, 1.0, 2.0, 0.0], (50, 1))])
    plain, careful = curves_of([push_of(rule, [0.0, 1.0, 2.0, -6.0], proxy) for rule in ("mean", "uwo")])
    assert over_worlds([plain, careful]) == []
    assert careful.fit is not None
    other = replace(careful, seed=1, gain_at_common=Interval(value=6.0), fit=replace(careful.fit, a=careful.fit.a + 2))
    (line,) = over_worlds([plain, careful, other])
    assert line[:3] == ["best of n, whole members, 200 pairs, 0% careless", "uwo", "2"]
    assert line[6] == "+7.00 (-5.71 to +19.71)"
    assert line[7] == line[8] == "+2.75 (too few or too alike to say)"  # best and end of both worlds
    assert line[9].startswith(f"{careful.fit.a + 1:.2f} (")
    assert "Over worlds" in overopt_page([plain, careful, other])


def test_a_proxy_follows_gold_within_messages_or_not_at_all() -> None:
    """It knows which message is worth more (0 or 10), and among the replies to one it is the wrong way round."""
    gold = np.array([[0.0, 1.0], [10.0, 11.0]])
    assert following(np.array([[1.0, 0.0], [11.0, 10.0]]), gold) == -1.0
    assert following(2 * gold, gold) == 1.0
    assert np.isnan(following(np.array([[1.0, 1.0], [2.0, 2.0]]), gold))


def test_what_a_penalty_takes_is_told_as_a_share_of_the_signal() -> None:
    """Two members, one message of two replies: means 0 and 2, variances 0 and 2, so that uwo at 1 takes all of it."""
    members = np.array([[[0.0, 1.0]], [[0.0, 3.0]]])
    assert penalty_share(members, "mean") == 0.0
    assert penalty_share(members, "uwo") == pytest.approx(1.0)
    assert penalty_share(members, "uwo", strength=0.25) == pytest.approx(0.25)
    assert penalty_share(members, "wco") == pytest.approx(0.5)  # minima 0 and 1
    assert np.isnan(penalty_share(np.zeros((2, 1, 2)), "uwo"))


def test_a_strength_is_found_from_a_share_of_the_signal() -> None:
    """Means 0 and 2, variances 0 and 2 of the first message, 0 and 1, and 2 and 0 of the second.

    Spreads within are by sqrt((2 + 0.5) / 2) of the mean and sqrt((2 + 2) / 2) of the variance: 1.2649 at strength 1.
    """
    members = np.array([[[0.0, 1.0], [-1.0, 1.0]], [[0.0, 3.0], [1.0, 1.0]]])
    assert penalty_share(members, "uwo") == pytest.approx(np.sqrt(2 / 1.25))
    assert uwo_strength(members, 0.3) == pytest.approx(0.3 / np.sqrt(1.6), rel=1e-3)
    for share in (0.1, 0.3, 2.0):
        strength = uwo_strength(members, share)
        assert penalty_share(members, "uwo", strength=strength) == pytest.approx(share, rel=1e-3)
    # rewards ten times as large have variances a hundred times as large, and the same share
    assert uwo_strength(10 * members, 0.3) == pytest.approx(uwo_strength(members, 0.3) / 10, rel=1e-3)
    assert uwo_strength(members[:1].repeat(2, 0), 0.3) == 1.0  # members that agree
    assert uwo_strength(np.zeros((2, 1, 2)), 0.3) == 1.0


def test_a_proxy_that_hardly_follows_gold_is_left_out_and_told() -> None:
    """Members 0 1 2 3 and 0 1 2 -1 of gold 0 1 2 3: their mean, 0 1 2 1, follows by 2 / sqrt(5 2)."""
    ranks = np.array([0.0, 1.0, 2.0, 3.0])
    base = worth(np.tile(ranks, (3, 1)), np.stack([np.tile(ranks, (3, 1)), np.tile([0.0, 1.0, 2.0, -1.0], (3, 1))]))
    proxy = Proxy(seed=4, pairs=1000, noise=0.25, members="heads")
    told: list[str] = []
    assert admitted(proxy, base, 0.6, told.append) == proxy
    assert told == []
    assert admitted(proxy, base, 0.7, told.append) == replace(proxy, admitted=False)
    assert told == [
        "heads on one trunk, 1,000 pairs, 25% careless: its mean follows gold by +0.63 within messages, no more than "
        "0.7: GRPO does not train on it, and it does not count over worlds"
    ]
    silent = worth(base.gold, np.zeros((2, 3, 4)))
    assert not admitted(proxy, silent, -1.0, told.append).admitted


def careful_curves(proxy: Proxy) -> list[Curve]:
    disagreeing = np.stack([np.tile([0.0, 1.0, 2.0, 6.0], (50, 1)), np.tile([0.0, 1.0, 2.0, 0.0], (50, 1))])
    base = worth(np.linspace(0.99, 1.01, 50)[:, None] * np.array([0.0, 1.0, 2.0, -6.0]), disagreeing)
    return curves_of([best_of_n_push(proxy, rule, base, strength=1.0) for rule in ("mean", "uwo")])


def test_what_was_not_admitted_does_not_count_over_worlds() -> None:
    proxies = [Proxy(seed=seed, pairs=200, noise=0.0, admitted=seed != 2) for seed in range(3)]
    curves = [curve for proxy in proxies for curve in careful_curves(proxy)]
    assert [line[2] for line in over_worlds(curves)] == ["2", "2"]
    # the mean 0 1 2 3 of gold 0 1 2 -6: -8.5 / sqrt(5 38.75)
    left_out = "not counted over worlds, for how they follow: whole members, 200 pairs, 0% careless, seed 2 (-0.61)"
    assert left_out in "\n".join(overopt_lines(curves))
    assert "not counted over worlds, for how" in overopt_page(curves)
    assert "for how they follow" not in "\n".join(overopt_lines(curves[:4]))
    assert over_worlds(curves[2:]) == []


def test_whole_members_are_held_beside_heads_in_each_world() -> None:
    """By 1 in one world and 3 in the other: 2, and Student's t of one degree is 12.706 errors of 1."""
    proxies = [Proxy(seed=seed, pairs=200, noise=0.0, members=kind) for seed in (0, 1) for kind in ("full", "heads")]
    curves = []
    for proxy, ahead in zip(proxies, (1.0, 0.0, 3.0, 0.0), strict=True):
        plain = careful_curves(proxy)[0]
        curves.append(replace(plain, gold=tuple(gold + ahead for gold in plain.gold)))
    assert kinds(curves) == [["best of n, 200 pairs, 0% careless", "mean", "2", "+2.00 (-10.71 to +14.71)"]]
    assert kinds(curves[:3]) == []  # one world has both
    assert "whole members beside heads" in "\n".join(overopt_lines(curves))
    page = overopt_page(curves)
    assert page.count("best of n, seed 1, heads on one trunk, 200 pairs, 0% careless") >= 1
    near = replace(curves[0], distance=(1.0, 2.0), gold=(4.0, 6.0))
    assert (near.gold_at(0.5), near.gold_at(1.5)) == (2.0, 5.0)


def test_a_head_of_a_shared_trunk_is_not_trained_on_alone() -> None:
    whole, heads = (Proxy(seed=0, pairs=40, noise=0.0, members=kind) for kind in ("full", "heads"))
    assert rl_rules(whole, OveroptConfig(out="o")) == ["one", "mean", "uwo"]
    assert rl_rules(heads, OveroptConfig(out="o")) == ["mean", "uwo"]
    assert rl_rules(heads, OveroptConfig(out="o", ensemble=1)) == ["one"]
    assert [proxy_name(proxy) for proxy in (whole, heads)] == [
        "whole members, 40 pairs, 0% careless",
        "heads on one trunk, 40 pairs, 0% careless",
    ]


def test_arms_are_compared_at_the_distance_that_all_reached() -> None:
    """Both lose one gold a unit of distance; one goes to 4, the other to 1: at their ends the slow one would win."""

    def push(rule: Rule, furthest: float) -> Push:
        distance = np.array([0.0, furthest / 2, furthest])
        gold = -np.tile(distance, (5, 1))
        return Push(
            by="grpo",
            proxy=Proxy(seed=0, pairs=200, noise=0.0),
            rule=rule,
            distance=distance,
            gold=gold,
            reward=gold,
            follows=0.5,
        )

    fast, slow = curves_of([push("mean", 4.0), push("uwo", 1.0)])
    assert (fast.end.value, slow.end.value) == (-4.0, -1.0)
    assert (fast.common, fast.gold_at_common.value, slow.gold_at_common.value) == (1.0, -1.0, -1.0)
    assert slow.gain_at_common is not None
    assert slow.gain_at_common.value == 0.0


def write_audits(run_dir: Path, audits: list[dict[str, Any]]) -> Path:
    (run_dir / "audit").mkdir(parents=True)
    (run_dir / "audit" / "scores.jsonl").write_text("".join(json.dumps(audit) + "\n" for audit in audits))
    return run_dir


def test_audits_of_a_run_are_its_curve_from_the_nearest_to_the_furthest(tmp_path: Path) -> None:
    """Two messages, whose gold begins at 1 and 3; the KL of the third audit is less than that of the second."""
    audits: list[dict[str, Any]] = [
        {"step": 0, "kl": [0.0, 0.0], "reward": [1.0, 3.0], "raw": [2.0, 2.0]},
        {"step": 5, "kl": [3.0, 5.0], "reward": [1.5, 3.5], "raw": [5.0, 5.0]},
        {"step": 10, "kl": [1.0, 1.0], "reward": [2.0, 3.0], "raw": [3.0, 3.0]},
        {"step": 15, "kl": [None, 1.0], "reward": [9.0, 9.0], "raw": [9.0, 9.0]},
    ]
    run_dir = write_audits(tmp_path / "run", audits)
    push = grpo_push(Proxy(seed=0, pairs=200, noise=0.5), "uwo", run_dir, follows=0.25)
    assert push.gold_at(1.5).tolist() == [0.75, 0.25]
    (curve,) = curves_of([push])
    assert curve.distance == (0.0, 1.0, 2.0)
    assert curve.gold == (0.0, 0.5, 0.5)
    assert curve.proxy == (0.0, 1.0, 3.0)
    assert np.isnan([curve.gold_low[2], curve.gold_high[2]]).all()  # two messages, and both alike
    assert curve.gold_low[1] < 0.0 < 1.0 < curve.gold_high[1]
    assert curve.follows == 0.25
    assert (curve.best.value, curve.rose, curve.gain_at_common) == (0.5, "not shown", None)


def test_a_run_without_scores_of_its_start_is_named(tmp_path: Path) -> None:
    """A run of an earlier version has no scores, and one that was resumed since then none of its start."""
    with pytest.raises(ValueError, match="run keeps no scores of the policy it began from: remove it"):
        grpo_push(Proxy(seed=0, pairs=200, noise=0.5), "uwo", tmp_path / "run", follows=0.25)
    run_dir = write_audits(tmp_path / "resumed", [{"step": 15, "kl": [1.0], "reward": [1.0], "raw": [1.0]}])
    with pytest.raises(ValueError, match="resumed keeps no scores of the policy it began from"):
        grpo_push(Proxy(seed=0, pairs=200, noise=0.5), "uwo", run_dir, follows=0.25)


@pytest.mark.slow
def test_experiments_run_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--seeds=1", "--num-prompts=60", "--steps=2", "--ensemble=2", "--json"]
    some = ["--pairs=40", "--noises=0.5", "--n=4", "--admit=-1", "--members=full", "--members=heads"]
    assert main(["overopt", f"--out={tmp_path}/overopt", *some, *common]) == 0
    curves = json.loads(capsys.readouterr().out)
    assert [(curve["members"], curve["push"], curve["rule"]) for curve in curves] == [
        *(("full", "best_of_n", rule) for rule in ("one", "mean", "uwo", "wco")),
        *(("full", "grpo", rule) for rule in ("one", "mean", "uwo")),
        *(("heads", "best_of_n", rule) for rule in ("one", "mean", "uwo", "wco")),
        *(("heads", "grpo", rule) for rule in ("mean", "uwo")),
    ]
    assert {round(curve["penalty"], 3) for curve in curves if curve["rule"] == "uwo"} == {0.1}
    heads = tmp_path / "overopt" / "seed-0" / "grpo-40-0.5-heads-uwo" / "config.yaml"
    whole = tmp_path / "overopt" / "seed-0" / "grpo-40-0.5-full-uwo" / "config.yaml"
    strengths = [yaml.safe_load(file.read_text())["penalty_strength"] for file in (heads, whole)]
    assert len({1.0, *strengths}) == 3
    assert main(["overopt", f"--out={tmp_path}/overopt", "--n=8", *common, "--resume"]) == 2


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (OveroptConfig, {"pairs": [10]}, "pairs is 10, allowed is 40 to num_prompts, 2000"),
        (OveroptConfig, {"noises": [1.5]}, "noises holds 1.5"),
        (OveroptConfig, {"num_numbers": 1}, "num_numbers is 1, allowed is 0 or 2 to 100"),
        (OveroptConfig, {"admit": 1.0}, "admit is 1.0, allowed is -1 up to 1"),
        (OveroptConfig, {"uwo_share": 0.0}, "uwo_share is 0.0, allowed is more than 0"),
        (OveroptConfig, {"members": ["full", "full"]}, "members holds full, full, allowed is each kind once"),
    ],
)
def test_bad_numbers_are_one_line(config: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(out="o", **options)
