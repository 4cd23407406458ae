"""Ways of aligning a policy side by side: whole and tiny as people type them, and their figures on made-up numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from alignment.__main__ import main
from alignment.config.lab import METHODS, CompareConfig
from alignment.generation.completion_sampler import Completion
from alignment.generation.generate import Sampled
from alignment.lab.gold_evaluation import Replies, Worth
from alignment.lab.methods.arms import Arm, arm_step, arms_of, dpo_updates, setting_name
from alignment.lab.methods.compare_report import SERIES, between, gain_lines, report_page, screen_lines, summary, work
from alignment.lab.methods.method_rows import (
    BY_REWARD,
    Cost,
    RewardRow,
    Row,
    answer_cost,
    best_of_n_cost,
    best_of_n_row,
    reward_row,
    row_of,
    sft_row,
    yardstick_rows,
)
from alignment.lab.pushed_curves import admission
from alignment.lab.steps import Spent
from alignment.simulated_world import WorldFiles, write_world
from rewardkit.stats.metrics import Interval

SPENT = Spent(seconds=3.0, peak_mb=100.0, num_tokens=1000, num_updates=240)
REWARD = Spent(seconds=7.0, peak_mb=1.0, num_tokens=70, num_updates=10)
ANSWER = Cost(tokens=20.0, seconds=0.5)
CONFIG = CompareConfig(out="o")


def worth(gold: np.ndarray, proxy: np.ndarray | None = None, kl: float = 0.0) -> Worth:
    return Worth(gold=gold, proxy=proxy, kl=np.full(gold.shape, kl), words=np.ones(gold.shape))


def arm(method: Any, value: float = 0.3) -> Arm:
    return Arm(method=method, value=value, flips=0.0)


def test_gains_are_paired_by_message() -> None:
    """Gold is 0 and 4 for the two messages by SFT, and one more each by the other: the gain has no spread."""
    base, other = worth(np.array([[0.0, 0.0, 9.0], [4.0, 4.0, 9.0]])), worth(np.array([[1.0, 1.0], [5.0, 5.0]]), kl=2.0)
    row = row_of(7, arm("dpo"), other, base, SPENT, REWARD, ANSWER)
    assert row.gain is not None
    assert row.gain.value == 1.0
    assert not row.gain.is_known  # two messages that are alike say nothing of how far others are
    assert (row.gold.value, row.kl, row.spent, row.value) == (3.0, 2.0, SPENT, 0.3)
    assert sft_row(7, base, SPENT, ANSWER).gain is None


def test_a_reward_model_counts_for_those_that_need_one() -> None:
    both = worth(np.array([[0.0, 0.0]]), np.zeros((1, 1, 2)))
    rows = [row_of(0, arm(name), both, both, SPENT, REWARD, ANSWER) for name in ("dpo", "ppo", "grpo")]
    assert [row.reward for row in rows] == [None, REWARD, REWARD]
    best = best_of_n_row(CompareConfig(out="o", n=2), 0, 0.0, both, REWARD, ANSWER)
    assert (best.spent.num_tokens, best.spent.num_updates, best.reward) == (0, 0, REWARD)


def test_best_of_n_pays_for_every_message_that_it_answers() -> None:
    """Four replies of 3 and 5 tokens to messages of 10, drawn in 2 s; of 8 the best is 8 times drawn and read."""

    def reply(length: int) -> Completion:
        tokens = Sampled(prompt=(1,) * 10, completion=(2,) * length, logps=(0.0,) * length, finished=True)
        return Completion(text="", sampled=tokens)

    replies = Replies(prompts=((), ()), drawn=(reply(3), reply(5), reply(3), reply(5)))
    assert answer_cost(replies, 2.0) == Cost(tokens=4.0, seconds=0.5)
    assert best_of_n_cost(CompareConfig(out="o", n=8), replies, 4.0) == Cost(tokens=8 * (4.0 + 14.0), seconds=8.0)


def test_yardsticks_are_what_demonstrations_are_worth() -> None:
    """Two messages: SFT is worth 0 and 1; the two replies to each that demonstrations come from 1, 3 and 2, 0."""
    base = worth(np.array([[0.0, 0.0], [1.0, 1.0]]))
    demonstrated = worth(np.array([[1.0, 3.0], [2.0, 0.0]]), np.array([[[5.0, 1.0], [5.0, 1.0]]]))
    one, better = yardstick_rows(3, demonstrated, base)
    assert one.gain is not None
    assert better.gain is not None
    assert (one.method, one.gold.value, one.gain.value, one.proxy) == ("demonstrations", 1.5, 1.0, 3.0)
    assert (better.method, better.gold.value, better.gain.value, better.proxy) == ("best_of_two", 2.5, 2.0, 3.0)
    assert not np.isfinite(one.kl)


def test_a_reward_model_is_admitted_by_how_it_follows_gold_within_messages() -> None:
    """Three pairs: one ordered right, one wrong, one of the same gold, which does not count."""
    pairs = worth(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([[[3.0, 1.0], [3.0, 1.0], [3.0, 1.0]]]))
    base = worth(np.array([[0.0, 1.0], [5.0, 7.0]]), np.array([[[0.0, 1.0], [1.0, 3.0]]]))
    good = reward_row(CONFIG, 0, 0.0, pairs, base)
    assert (good.right.value, good.follows, good.penalty, good.is_admitted) == (0.5, pytest.approx(1.0), 0.0, True)
    weak = RewardRow(seed=1, flips=0.4, right=good.right, follows=0.12, penalty=0.0)
    assert admission([good.follows]).startswith("Every proxy follows gold by more than 0.4 within messages")
    both = admission([good.follows, weak.follows])
    assert both.startswith("1 of 2 proxies follow gold by no more than 0.4 within messages (down to +0.12)")
    assert not weak.is_admitted


@pytest.mark.parametrize(("equal", "updates"), [("steps", 0), ("updates", 60), ("tokens", 150)])
def test_dpo_has_the_updates_that_make_it_equal(equal: Any, updates: int) -> None:
    """SFT read 16,000 tokens in 100 updates of 16: 10 each. The reward model took 9,600, and 60 steps of 64 38,400."""
    sft = Spent(seconds=1.0, peak_mb=1.0, num_tokens=16_000, num_updates=100)
    reward = Spent(seconds=1.0, peak_mb=1.0, num_tokens=9_600, num_updates=10)
    config = CompareConfig(out="o", equal=equal, num_prompts=800)
    assert dpo_updates(config, sft, reward) == updates
    steps = {
        of: arm_step(config, arm(of, 0.5), Path("o/seed-3"), WorldFiles(folder=Path("w")), sft, reward).words
        for of in ("dpo", "ppo", "grpo")
    }
    assert f"--max-steps={15 if equal == 'updates' else 60}" in steps["ppo"]
    assert "--max-steps=60" in steps["grpo"]
    assert (f"--max-steps={updates}" in steps["dpo"]) == (updates > 0)
    assert all({"--beta=0.5", "--seed=3"} <= set(words) for words in steps.values())


def test_a_sweep_is_an_arm_for_each_value() -> None:
    config = CompareConfig(out="o", sweep=["beta=0.3,0.1", "kl_weight=0,1"])
    assert config.chosen == ["dpo", "ppo", "grpo"]
    assert [arm.folder for arm in arms_of(config, 0.2)] == [
        *("dpo-0.1-flips-0.2", "dpo-0.3-flips-0.2", "ppo-0-flips-0.2", "ppo-1-flips-0.2"),
        *("grpo-0-flips-0.2", "grpo-1-flips-0.2"),
    ]
    assert CompareConfig(out="o", sweep=["flips=0,0.4"]).chosen == ["best_of_n", "dpo"]
    assert CompareConfig(out="o", sweep=["flips=0,0.4"], methods=["grpo"]).chosen == ["grpo"]
    assert list(CONFIG.values("beta")) == [0.3]


def test_what_sees_no_vote_is_trained_once_whatever_votes_are_turned_around() -> None:
    config = CompareConfig(out="o", methods=["more_sft", "spin", "dpo"], sweep=["beta=0.3,1", "flips=0.1,0.2"])
    without_votes = ["more_sft", "spin-0.3", "spin-1"]
    for_dpo = [[f"dpo-{beta}-flips-{flips}" for beta in ("0.3", "1")] for flips in (0.1, 0.2)]
    assert [arm.folder for arm in arms_of(config, 0.1)] == without_votes + for_dpo[0]
    assert [arm.folder for arm in arms_of(config, 0.2)] == for_dpo[1]
    first, second = list(arms_of(config, 0.1))[:2]
    assert setting_name(first.method, first.value, first.flips) == "SFT continued"
    assert setting_name(second.method, second.value, second.flips) == "SPIN, beta 0.3"
    words = [
        arm_step(config, each, Path("o/seed-3"), WorldFiles(folder=Path("w")), SPENT, REWARD).words
        for each in (first, second)
    ]
    assert all("--data=w/demonstrations.jsonl" in each and "--seed=3" in each for each in words)
    assert {"--max-steps=60", "--batch-size=16"} <= set(words[0])
    # 15 draws of 64 samples, each learned from in four updates of 16 pairs
    assert {"--pairs=spin", "--max-steps=15", "--prompts-per-step=64", "--minibatches=4"} <= set(words[1])


def row(seed: int, method: Any, gold: float, gain: float | None, kl: float, value: float = float("nan")) -> Row:
    def around(value: float) -> Interval:
        return Interval(value=value, low=value - 1, high=value + 1)

    return Row(
        seed=seed,
        method=method,
        value=value,
        gold=around(gold),
        gain=None if gain is None else around(gain),
        proxy=0.5,
        kl=kl,
        words=30,
        spent=SPENT,
        reward=REWARD if method in BY_REWARD else None,
        answer=Cost() if method == "demonstrations" else ANSWER,
    )


def test_the_table_says_what_each_method_is_worth_and_took() -> None:
    rows = [row(0, "demonstrations", 0.75, 0.75, float("nan"))]
    rows += [row(0, "sft", 0.0, None, 0.0), row(1, "sft", 1.0, None, 0.0)]
    rows += [row(0, "dpo", 0.5, 0.5, 1.0, 0.3), row(1, "dpo", 0.75, -0.25, 2.0, 0.3)]
    rows += [row(0, "best_of_n", 1.0, 1.0, 1.8)]
    models = [RewardRow(seed=0, flips=0.1, right=Interval(value=0.8, low=0.7, high=0.9), follows=0.5, penalty=0.25)]
    assert summary(rows)[0] == ["a demonstration", "+0.75", "+0.75 (-0.25 to +1.75)", "+0.75", "+0.50", "", "30.0"]
    # Student's interval of two seeds: half of (0.5 + 0.25), times 12.71
    assert summary(rows)[2][:6] == ["DPO, beta 0.3", "+0.62", "+0.12 (-4.64 to +4.89)", "-0.25", "+0.50", "1.50"]
    assert summary(rows)[3][5] == "up to 1.80"
    shown = "\n".join(screen_lines(CONFIG, rows, models))
    assert "means over 2 seeds" in shown
    assert "seed 0, 10% of votes flipped" in shown
    assert "80.0% (70.0 to 90.0)" in shown
    assert "25%" in shown
    assert gain_lines(rows) == (
        ["gold above SFT", "seed 0", "seed 1"],
        [
            ["a demonstration", "+0.75 (-0.25 to +1.75)", ""],
            ["DPO, beta 0.3", "+0.50 (-0.50 to +1.50)", "-0.25 (-1.25 to +0.75)"],
            ["best of n", "+1.00 (+0.00 to +2.00)", ""],
        ],
    )
    # -0.5 and +0.25: half of 0.75 times Student's 12.71; best of n has one seed, of which nothing is said
    assert between(rows) == [["SFT", "DPO, beta 0.3", "-0.12 (-4.89 to +4.64)", "1 of 2"]]
    assert work(rows)[1:] == [
        ["DPO, beta 0.3", "240", "1,000", "3", "", "", "100", "20", "0.500"],
        ["best of n", "240", "1,070", "10", "70", "7", "", "20", "0.500"],
    ]
    page = report_page(CONFIG, rows, models)
    assert page.count('class="dot s4"') == 2  # best of n stands in both charts of KL
    assert "DPO, beta 0.3, seed 1" in page
    assert "+0.50 (-0.50 to +1.50)" in page


def test_every_method_has_a_colour_of_its_own() -> None:
    page = report_page(CONFIG, [row(0, method, 0.5, 0.5, 1.0) for method in SERIES], [])
    for series in SERIES.values():
        for style in (f"--s{series}: #", f".s{series} {{ stroke", f".dot.s{series} {{ fill", f'class="dot s{series}"'):
            assert style in page
    assert len(set(SERIES.values())) == len(SERIES)


def test_a_sweep_is_a_line_through_what_differs_in_nothing_else() -> None:
    """Over KL beta 0.1 and 0.3 of the same votes, in gold and in proxy; over flips beta 0.1 of both."""
    rows = [row(0, "dpo", 0.5, 0.5, 3.0, 0.1), row(0, "dpo", 0.5, 0.5, 1.0, 0.3)]
    rows.append(replace(rows[0], flips=0.2, kl=0.2))
    assert report_page(CONFIG, rows, []).count('<polyline class="line s1"') == 2
    assert report_page(CompareConfig(out="o", sweep=["flips=0,0.2"]), rows, []).count('<polyline class="line s1"') == 3
    assert [line[0] for line in summary(rows)] == ["DPO, beta 0.1", "DPO, beta 0.3", "DPO, beta 0.1, 20% flipped"]


@pytest.mark.slow
def test_comparisons_run_from_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["--seeds=1", "--num-prompts=60", "--steps=4", "--ensemble=2", "--json"]
    options = ["--n=4", "--kl-weight=0", "--sweep=beta=0.1,1", *(f"--methods={name}" for name in METHODS[1:])]
    options += ["--methods=more_sft", "--methods=spin"]
    assert main(["compare", f"--out={tmp_path}/compare", *options, *common]) == 0
    measured = json.loads(capsys.readouterr().out)
    updates = [(row["method"], row["value"], row["spent"]["num_updates"]) for row in measured["rows"][3:]]
    assert updates == [
        *(("best_of_n", None, 0), ("dpo", 0.1, 4), ("dpo", 1.0, 4), ("ppo", 0.0, 4), ("grpo", 0.0, 4)),
        *(("more_sft", None, 4), ("spin", 0.1, 4), ("spin", 1.0, 4)),
    ]
    answers = {row["method"]: row["answer"]["tokens"] for row in measured["rows"]}
    assert answers["best_of_n"] > 4 * answers["sft"] > 0
    assert [model["flips"] for model in measured["reward_models"]] == [0.0]
    assert (tmp_path / "compare" / "report.html").exists()
    assert main(["compare", f"--out={tmp_path}/compare", "--n=8", *common, "--resume"]) == 2


def votes_of(folder: Path, flips: float) -> list[tuple[str, float]]:
    """For each pair the reply that comes first in the alphabet, and the share of votes for it."""
    files = write_world(folder, seed=0, num_train=60, flips=flips)
    rows = [json.loads(line) for line in Path(files.preferences).read_text().splitlines()]
    return [
        (row["chosen"], row["p_chosen"]) if row["chosen"] < row["rejected"] else (row["rejected"], 1 - row["p_chosen"])
        for row in rows
    ]


def test_flipped_votes_are_those_of_the_same_people_turned_around(tmp_path: Path) -> None:
    """All flipped is the opposite of none; of a fifth, most pairs keep their votes."""
    none, some, every = (dict(votes_of(tmp_path / str(flips), flips)) for flips in (0.0, 0.2, 1.0))
    assert every == pytest.approx({text: 1 - share for text, share in none.items()})
    kept = np.mean([some[text] == pytest.approx(share) for text, share in none.items()])
    assert 0.3 < kept < 0.8  # (1 - 0.2)^3 of three votes is 0.51, and ties stay what they are


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 1}, "n is 1, allowed is 2 or more"),
        ({"flips": 1.5}, "flips is 1.5, allowed is 0 to 1"),
        ({"beta": 0.0}, "beta is 0.0, allowed is more than 0"),
        ({"sweep": ["beta=0,1"]}, "beta is 0.0, allowed is more than 0"),
        ({"sweep": ["kl_weight=-1"]}, "kl_weight is -1.0, allowed is 0 or more"),
        ({"sweep": ["n=2,4"]}, "sweep is 'n=2,4', allowed is NAME=VALUE,VALUE, once of each of beta"),
        ({"sweep": ["beta=1", "beta=2"]}, "sweep is 'beta=2', allowed is NAME=VALUE,VALUE, once of each"),
        ({"sweep": ["beta=a"]}, "sweep is 'beta=a', allowed is numbers with commas"),
        ({"sweep": ["beta=1"], "objectives": True}, "sweep, flips and equal are of the methods"),
        ({"flips": 0.3, "objectives": True}, "sweep, flips and equal are of the methods"),
        ({"sweep": ["beta=1,inf"]}, "beta is inf, allowed is more than 0"),
        ({"sweep": ["beta=0.1,0.3"], "methods": ["ppo"]}, "sweep is of beta, which is of dpo and spin: none of them"),
        ({"sweep": ["flips=0.1,0.10000001"]}, "values that agree in six digits"),
        ({"equal": "updates", "steps": 30}, "steps is 30, with equal updates allowed are multiples of 4"),
        ({"num_numbers": 1}, "num_numbers is 1, allowed is 0 or 2 to 100"),
    ],
)
def test_bad_numbers_are_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompareConfig(out="o", **options)
