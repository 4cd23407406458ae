"""Experiments in the simulated world: whole and tiny as people type them, and their figures on made-up numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.config.lab import CompareConfig, OveroptConfig
from alignment.lab.compare import Row, report_page, row_of, screen_lines, summary
from alignment.lab.gold_evaluation import Worth
from alignment.lab.overopt import best_of_n_curve, grpo_curve
from alignment.lab.steps import Spent
from rewardkit.run.directory import Run
from rewardkit.stats.metrics import Interval

SPENT = Spent(seconds=3.0, peak_mb=100.0, num_tokens=1000)


def worth(gold: np.ndarray, proxy: np.ndarray | None = None, kl: float = 0.0) -> Worth:
    return Worth(gold=gold, proxy=proxy, kl=np.full(gold.shape, kl), words=np.ones(gold.shape))


def test_gains_are_paired_by_message() -> None:
    """Gold is 0 and 4 for the two messages by SFT, and one more each by the other: the gain has no spread."""
    base, other = worth(np.array([[0.0, 0.0, 9.0], [4.0, 4.0, 9.0]])), worth(np.array([[1.0, 1.0], [5.0, 5.0]]), kl=2.0)
    row = row_of("dpo", 7, other, base, SPENT)
    assert row.gain is not None
    assert row.gain.value == 1.0
    assert not row.gain.is_known  # two messages that are alike say nothing of how far others are
    assert (row.gold.value, row.kl, row.num_tokens) == (3.0, 2.0, 1000)
    assert row_of("sft", 7, base, base, SPENT).gain is None


def test_a_proxy_that_is_wrong_at_the_top_is_seen_to_turn() -> None:
    """4 draws a message; gold is the proxy's rank, but for the best, which is worst."""
    proxy = np.tile(np.array([0.0, 1.0, 2.0, 3.0]), (1, 50, 1))
    gold = np.tile(np.array([0.0, 1.0, 2.0, -6.0]), (50, 1))
    config = OveroptConfig(out="o", n=4)
    curve = best_of_n_curve(config, 0, 200, 0.0, "mean", worth(gold, proxy))
    # best of 1: -3 / 4; best of 2: pairs 1 2 2 -6 -6 -6 over 6; best of 4: -6
    assert curve.gold == pytest.approx((0.0, -13 / 6 + 0.75, (2 - 6 * 3) / 4 + 0.75, -6 + 0.75))
    assert curve.proxy[-1] == pytest.approx(1.5)
    assert curve.distance[0] == 0.0
    assert curve.lost == pytest.approx(5.25)
    assert curve.fit is not None


def test_members_that_disagree_save_gold_under_uwo() -> None:
    """The same, and the members disagree about the best: uwo does not choose it."""
    one, other = np.array([0.0, 1.0, 2.0, 6.0]), np.array([0.0, 1.0, 2.0, 0.0])
    proxy = np.stack([np.tile(one, (50, 1)), np.tile(other, (50, 1))])
    gold = np.tile(np.array([0.0, 1.0, 2.0, -6.0]), (50, 1))
    config = OveroptConfig(out="o", n=4)
    plain, careful = (best_of_n_curve(config, 0, 200, 0.0, rule, worth(gold, proxy)) for rule in ("mean", "uwo"))
    assert plain.gold[-1] == pytest.approx(-6 + 0.75)
    assert careful.gold[-1] == pytest.approx(2 + 0.75)


def test_audits_of_a_run_are_its_curve(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", CompareConfig(out="o"))
    for step, (kl, gold, proxy) in enumerate([(0.0, 1.0, 2.0), (1.0, 1.5, 3.0), (4.0, 1.25, 5.0)], start=1):
        run.log(step, {"audit/kl": kl, "audit/reward": gold, "audit/raw": proxy})
        run.log(step, {"reward/mean": 0.0})
    curve = grpo_curve(0, 200, 0.5, "uwo", tmp_path / "run", (1.0, 2.0))
    assert curve.distance == (0.0, 1.0, 2.0)
    assert curve.gold == (0.0, 0.5, 0.25)
    assert curve.proxy == (0.0, 1.0, 3.0)
    assert (curve.best, curve.lost) == (0.5, 0.25)


def test_the_table_says_what_each_method_is_worth() -> None:
    def row(seed: int, method: Any, gold: float, gain: float | None, kl: float) -> Row:
        interval = Interval(value=gold, low=gold - 1, high=gold + 1)
        gains = None if gain is None else Interval(value=gain, low=gain - 1, high=gain + 1)
        return Row(
            seed=seed, method=method, gold=interval, gain=gains, proxy=0.5, kl=kl, words=30, **vars(SPENT)
        )  # fmt: skip

    rows = [row(0, "sft", 0.0, None, 0.0), row(1, "sft", 1.0, None, 0.0)]
    rows += [row(0, "dpo", 0.5, 0.5, 1.0), row(1, "dpo", 0.75, -0.25, 2.0), row(0, "best_of_n", 1.0, 1.0, 1.8)]
    assert summary(rows)[1][:6] == ["DPO", "+0.62", "+0.12", "-0.25", "+0.50", "1.50"]
    assert summary(rows)[2][5] == "up to 1.80"
    assert screen_lines(rows)[-1].startswith("means over 2 seeds")
    shown = report_page(rows)
    assert shown.count('class="dot s1"') >= 5
    assert "DPO, seed 1" in shown


@pytest.mark.slow
def test_experiments_run_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--seeds=1", "--num-prompts=60", "--steps=2", "--ensemble=2", "--json"]
    assert main(["compare", f"--out={tmp_path}/compare", "--n=4", *common]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["sft", "best_of_n", "dpo", "ppo", "grpo"]
    assert all(row["seconds"] > 0 for row in rows if row["method"] != "best_of_n")
    assert (tmp_path / "compare" / "report.html").exists()
    some = ["--pairs=40", "--noises=0.5", "--n=4"]
    assert main(["overopt", f"--out={tmp_path}/overopt", *some, *common]) == 0
    curves = json.loads(capsys.readouterr().out)
    assert [(curve["push"], curve["rule"]) for curve in curves] == [
        *(("best_of_n", rule) for rule in ("mean", "uwo", "wco")),
        *(("grpo", rule) for rule in ("mean", "uwo")),
    ]
    assert main(["compare", f"--out={tmp_path}/compare", "--n=4", *common, "--resume"]) == 2


@pytest.mark.parametrize(
    ("config", "options", "message"),
    [
        (CompareConfig, {"n": 1}, "n is 1, allowed is 2 or more"),
        (CompareConfig, {"noise": 1.0}, "noise is 1.0"),
        (CompareConfig, {"beta": 0.0}, "beta is 0.0, allowed is more than 0"),
        (OveroptConfig, {"pairs": [10]}, "pairs is 10, allowed is 40 to num_prompts, 2000"),
        (OveroptConfig, {"noises": [1.5]}, "noises holds 1.5"),
    ],
)
def test_bad_numbers_are_one_line(config: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(out="o", **options)
