"""Rules by hand at their thresholds, silent on healthy runs, and not late on failing ones; histories are drawn here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest

from alignment.watch.failure_modes import FAILURE_MODES, READ, FailureMode
from alignment.watch.history import History, Sign
from alignment.watch.trait_rules import METRICS

MODES = {mode.kind: mode for mode in FAILURE_MODES}
Rows = list[dict[str, float | None]]
Courses = Mapping[str, tuple[float, float]]


def _noise(rng: np.random.Generator, num: int) -> np.ndarray:
    """(num,) standard noise: autocorrelated by up to 0.3, one step in thirty three times as far off."""
    shocks = rng.normal(size=num) * np.where(rng.random(num) < 1 / 30, 3.0, 1.0)
    memory = rng.uniform(0, 0.3)
    for at in range(1, num):
        shocks[at] += memory * shocks[at - 1]
    return shocks


def healthy_run(seed: int, num: int = 200) -> Rows:
    """A run that learns: the reward saturates, KL grows slowly, entropy and lengths drift, all of it noisy."""
    rng = np.random.default_rng(seed)
    at = np.arange(num)
    progress = 1 - np.exp(-at / rng.uniform(0.2, 1.0) / num)
    completions, size = float(rng.choice([16, 64, 256])), float(rng.choice([1, 4, 8]))
    spread, offset = rng.uniform(0.3, 3.0), rng.normal()
    step_error = spread * math.sqrt(2 / completions)
    gain = spread * rng.uniform(0.6, 2.5)
    tokens, audit_every = float(rng.choice([24, 64, 200, 600])), int(rng.choice([5, 10, 20]))
    raw = offset + gain * progress + step_error * _noise(rng, num)
    length = tokens * (1 + rng.uniform(-0.2, 0.2) * progress) * np.exp(rng.uniform(0.02, 0.12) * _noise(rng, num))
    kl = rng.uniform(0.002, 0.2) * tokens * progress ** rng.uniform(0.7, 1.5)
    kl = kl + np.sqrt(2 * kl / completions) * _noise(rng, num)
    entropy = rng.uniform(0.4, 3.0) * (1 - rng.uniform(0, 0.6) * progress) * np.exp(0.08 * _noise(rng, num))
    std = rng.uniform(0.1, 0.5) * spread * (1 + rng.uniform(-0.2, 0.25) * progress)
    explained = -rng.uniform(0, 0.6) * np.exp(-at / 8) + rng.uniform(0.2, 0.8) * progress + 0.15 * _noise(rng, num)
    repetition = rng.uniform(0.01, 0.15) * (1 + rng.uniform(-0.3, 0.5) * progress)
    columns = {
        "reward/raw": raw,
        "reward/mean": raw - 0.05 * kl,
        "reward/spread": spread * (1 - rng.uniform(0, 0.4) * progress) * np.exp(0.1 * _noise(rng, num)),
        "reward/std": std * np.exp(0.1 * _noise(rng, num)),
        "kl": kl,
        "ratio/clipfrac": rng.uniform(0, 0.2) * np.exp(0.3 * _noise(rng, num)),
        "ratio/approx_kl": rng.uniform(1e-4, 0.02) * np.exp(0.4 * _noise(rng, num)),
        "loss": 0.1 * _noise(rng, num),
        "grad_norm": np.exp(rng.uniform(-2, 2) + 0.5 * _noise(rng, num)),
        "value/explained_variance": np.minimum(explained, 1.0),
        "completions/length": length,
        "completions/truncated_share": np.clip(rng.uniform(0, 0.3) + 0.05 * _noise(rng, num), 0, 1),
        "completions/distinct_2": np.clip(rng.uniform(0.3, 0.9) * (1 - 0.3 * progress) + 0.03 * _noise(rng, num), 0, 1),
        "completions/repetition": np.clip(repetition + 0.02 * _noise(rng, num), 0, 1),
        "completions/refusal_share": rng.binomial(int(completions / size), rng.uniform(0, 0.2), num)
        * size
        / completions,
        "groups/unique_share": np.clip(rng.uniform(0.7, 1.0) * (1 - 0.2 * progress) + 0.05 * _noise(rng, num), 0, 1),
        "groups/zero_advantage_share": np.clip(0.5 * rng.random() * (1 + progress) / 2 + 0.1 * _noise(rng, num), 0, 1),
        "num_completions": np.full(num, completions),
        "num_prompts": np.full(num, completions / size),
        "beta": np.full(num, 0.05),
        "sampling/logp_difference": rng.uniform(0.001, 0.03) * np.exp(0.3 * _noise(rng, num)),
        "sampling/capped_share": rng.uniform(0, 0.02) * rng.random(num),
    }
    rows: Rows = [{"step": int(k) + 1} | {name: float(v[k]) for name, v in columns.items()} for k in at]
    for k in range(0, num, 10):
        rows[k]["entropy"] = float(entropy[k])
    others = gain * rng.uniform(0.5, 1.0)
    audit_error = step_error * rng.uniform(0.5, 1.0)
    for k in range(0, num, audit_every):
        rows[k]["audit/raw"] = float(offset + gain * progress[k] + audit_error * rng.normal())
        rows[k]["audit/reward"] = float(others * progress[k] + audit_error * others / gain * rng.normal())
    for row in rows:
        if rng.random() < 0.02:
            row["ratio/approx_kl"] = None
    others_rng, prompts = np.random.default_rng([seed, 1]), int(completions / size)
    for name in METRICS.values():
        share = others_rng.uniform(0, 0.5)
        for row in rows:
            row[name] = float(others_rng.binomial(prompts, share) / prompts)
    return rows


def changed(rows: Rows, begins: int, over: int, courses: Courses) -> Iterator[dict[str, float | None]]:
    """The same run in which, from step `begins` on, metrics are multiplied and added to, growing over `over` steps.

    Args:
        courses: by name: by what it is multiplied at the end, and what is added at the end.
    """
    for row in rows:
        share = min(1.0, max(0.0, ((row["step"] or 0) - begins) / over))
        after = dict(row)
        for name, (times, plus) in courses.items():
            if (value := row.get(name)) is not None:
                after[name] = value * times**share + plus * share
        yield after


def history_of(**columns: list[float | None]) -> History:
    """A history of whole columns, `__` in their names for `/`; None is a step without the metric."""
    history = History(READ)
    for step in range(max(map(len, columns.values()))):
        values = {name.replace("__", "/"): column[step] for name, column in columns.items() if step < len(column)}
        history.add(step + 1, {name: value for name, value in values.items() if value is not None})
    return history


def sign(kind: str, **columns: list[float | None]) -> Sign | None:
    return MODES[kind].sign(history_of(**columns))


RISING = [0.02 * k for k in range(30)]  # by 0.58 over 30 steps
STEADY = [0.3 + 0.01 * (k % 2) for k in range(30)]
ONES = [1.0] * 30
UP, DOWN, LEVEL = [0.1 * k for k in range(12)], [1 - 0.1 * k for k in range(12)], [0.5, 0.4] * 6
GROUPS = {"num_completions": [8.0] * 10, "num_prompts": [2.0] * 10}
LONG = [64.0] * 10

AT_THE_THRESHOLD: list[tuple[str, dict[str, list], dict[str, list]]] = [
    ("not_finite", {"loss": [0.1], "kl": [math.nan]}, {"loss": [0.1], "entropy": [math.nan]}),
    ("gradient_explosion", {"grad_norm": [1.0] * 20 + [5.1] * 3 + [1, 1]}, {"grad_norm": [1.0] * 20 + [5.0] * 5}),
    ("gradient_explosion", {"grad_norm": [0.1] * 20 + [1.1] * 5}, {"grad_norm": [0.1] * 20 + [1.0] * 5}),
    ("gradient_explosion", {"grad_norm": [1.0] * 20 + [6.0] * 5}, {"grad_norm": [1.0] * 19 + [6.0] * 5}),
    ("gradient_explosion", {"grad_norm": [1.0] * 30 + [6.0] * 5}, {"grad_norm": [1.0] * 30 + [90.0, 90, 1, 1, 1]}),
    ("kl_jump", {"kl": [0.0, 5.1, 6.0]}, {"kl": [0.0, 5.0, 60.0]}),  # the median of the last three counts
    (
        "kl_jump",
        {"kl": [0, 31, 31], "completions__length": [200] * 3},
        {"kl": [0, 30, 30], "completions__length": [200] * 3},
    ),
    ("kl_jump", {"kl": [20, 20, 20, 30.1, 31, 31]}, {"kl": [20, 20, 20, 30, 31, 30]}),  # by half
    ("negative_kl", {"kl": [-0.51] * 10}, {"kl": [-0.5] * 10}),
    (
        "negative_kl",
        {"kl": [-2.1] * 10, "completions__length": [200] * 10},
        {"kl": [-2.0] * 10, "completions__length": [200] * 10},
    ),
    ("large_updates", {"ratio__clipfrac": [0.41] * 6 + [0] * 4}, {"ratio__clipfrac": [0.4] * 10}),
    ("large_updates", {"ratio__approx_kl": [0.11] * 10}, {"ratio__approx_kl": [0.1] * 10}),
    ("entropy_collapse", {"entropy": [1.0] * 5 + [0.19] * 5}, {"entropy": [1.0] * 5 + [0.2] * 5}),
    ("entropy_growth", {"entropy": [1.0] * 5 + [2.1] * 5}, {"entropy": [1.0] * 5 + [2.0] * 5}),
    ("entropy_growth", {"entropy": [0.2] * 5 + [1.3] * 5}, {"entropy": [0.2] * 5 + [1.1] * 5}),
    (
        "useless_value",
        {"value__explained_variance": [0.5] * 20 + [-0.1] * 18 + [0.5] * 2},
        {"value__explained_variance": [-0.1] * 37 + [0.5] * 3},
    ),
    ("useless_value", {"value__explained_variance": [-0.1] * 40}, {"value__explained_variance": [-0.1] * 39}),
    ("truncated", {"completions__truncated_share": [0.51] * 10}, {"completions__truncated_share": [0.5] * 10}),
    ("sampler_mismatch", {"sampling__logp_difference": [0.11] * 10}, {"sampling__logp_difference": [0.1] * 10}),
    ("sampler_mismatch", {"sampling__capped_share": [0.11] * 10}, {"sampling__capped_share": [0.1] * 10}),
    ("zero_advantage", {"groups__zero_advantage_share": [0.91] * 10}, {"groups__zero_advantage_share": [0.9] * 10}),
    # groups of 4: 1/4 + 0.2 * 3/4 = 0.4
    ("mode_collapse", {"groups__unique_share": [0.39] * 10} | GROUPS, {"groups__unique_share": [0.41] * 10} | GROUPS),
    (
        "mode_collapse",
        {"groups__unique_share": [0.3] * 10, "completions__length": [8.0] * 10} | GROUPS,
        {"groups__unique_share": [0.3] * 10, "completions__length": [7.9] * 10} | GROUPS,
    ),
    (
        "mode_collapse",
        {"completions__distinct_2": [0.8] * 10 + [0.39] * 10},
        {"completions__distinct_2": [0.8] * 10 + [0.4] * 10},
    ),
    (
        "length_bias",
        {"completions__length": [20 + 0.8 * k for k in range(30)]},
        {"completions__length": [20.0] * 10 + [40.0] * 30},
    ),
    (
        "length_bias",
        {"completions__length": [10 + 0.6 * k for k in range(30)]},
        {"completions__length": [4 + 0.3 * k for k in range(30)]},
    ),
    (
        "gamed_reward",
        {"reward__raw": RISING, "completions__repetition": [0.01 * k for k in range(30)]},
        {"reward__raw": STEADY, "completions__repetition": [0.01 * k for k in range(30)]},
    ),
    (
        "gamed_reward",
        {"reward__raw": RISING, "completions__length": [20.0] * 15 + [61.0] * 15},
        {"reward__raw": RISING, "completions__length": [20.0] * 15 + [60.0] * 15},
    ),
    (
        "gamed_reward",
        {"reward__raw": RISING, "completions__distinct_2": [0.8] * 15 + [0.3] * 15},
        {"reward__raw": RISING, "reward__spread": [3.0] * 30, "completions__distinct_2": [0.8] * 15 + [0.3] * 15},
    ),
    (
        "disagreement",
        {"reward__raw": RISING, "reward__std": [1 + 0.03 * k for k in range(30)]},
        {"reward__raw": RISING, "reward__std": [1 + 0.02 * k for k in range(30)]},
    ),
    (
        "disagreement",
        {"reward__mean": RISING, "reward__std": [1 + 0.03 * k for k in range(30)]},
        {"reward__mean": STEADY, "reward__std": [1 + 0.03 * k for k in range(30)]},
    ),
    # from 0.1 to 0.4: four errors are 4 sqrt(2 * 0.25 * 0.75 / 10 n) = 0.77 / sqrt n, 0.29 for 7 and 0.32 for 6
    # 16 prompts, 10 steps: four errors of 0.02 and 0.2 are 4 sqrt(2 * 0.11 * 0.89 / 160) = 0.14, of 0.11 they are 0.11
    (
        "paid_trait",
        {"traits__emoji": [0.02] * 15 + [0.2] * 15, "reward__raw": RISING, "num_prompts": [16.0] * 30},
        {"traits__emoji": [0.02] * 15 + [0.11] * 15, "reward__raw": RISING, "num_prompts": [16.0] * 30},
    ),
    (
        "refusals",
        {"completions__refusal_share": [0.1] * 10 + [0.4] * 10, "num_prompts": [7.0] * 20},
        {"completions__refusal_share": [0.1] * 10 + [0.4] * 10, "num_prompts": [6.0] * 20},
    ),
    (
        "refusals",
        {"completions__refusal_share": [0.0] * 10 + [0.11] * 10, "num_prompts": [999.0] * 20},
        {"completions__refusal_share": [0.0] * 10 + [0.1] * 10, "num_prompts": [999.0] * 20},
    ),
    # without noise between steps the gain itself is the bound: 0.09 and 0.11 spreads
    (
        "reward_flat",
        {"reward__raw": [1.0] * 40 + [1.09] * 20, "reward__spread": [1.0] * 60},
        {"reward__raw": [1.0] * 40 + [1.11] * 20, "reward__spread": [1.0] * 60},
    ),
    (
        "reward_flat",
        {"reward__raw": [0.0] * 60, "reward__spread": [0.0] * 60},
        {"reward__raw": [0.0] * 59, "reward__spread": [0.0] * 59},
    ),
    (
        "reward_hacking",
        {"audit__raw": UP[:6], "audit__reward": DOWN[:6]},
        {"audit__raw": UP[:5], "audit__reward": DOWN[:5]},
    ),
    ("reward_hacking", {"audit__raw": UP, "audit__reward": LEVEL}, {"audit__raw": UP, "audit__reward": UP}),
    (
        "reward_hacking",
        {"audit__raw": [*UP[:11], 1.2], "audit__reward": LEVEL},
        {"audit__raw": UP[:11], "audit__reward": LEVEL[:11]},
    ),
    ("reward_hacking", {"audit__raw": UP, "audit__reward": DOWN}, {"audit__raw": DOWN, "audit__reward": DOWN}),
    (
        "reward_hacking",
        {"audit__raw": UP, "audit__reward": DOWN, "reward__spread": ONES},
        {"audit__raw": UP, "audit__reward": DOWN, "reward__spread": [6.0] * 30},
    ),
]


@pytest.mark.parametrize(("kind", "failing", "healthy"), AT_THE_THRESHOLD, ids=[each[0] for each in AT_THE_THRESHOLD])
def test_a_rule_speaks_beyond_its_threshold_and_not_at_it(kind: str, failing: dict, healthy: dict) -> None:
    seen = sign(kind, **failing)
    assert seen is not None
    assert set(seen.metrics) <= {name.replace("__", "/") for name in failing}
    assert any(character.isdigit() for character in seen.figure)
    assert sign(kind, **healthy) is None


def test_every_rule_has_a_case() -> None:
    assert {kind for kind, _, _ in AT_THE_THRESHOLD} == set(MODES)
    assert len(MODES) == len(FAILURE_MODES)


def test_a_figure_names_its_numbers() -> None:
    seen = sign("reward_hacking", audit__raw=UP[:6], audit__reward=DOWN[:6])
    assert seen is not None
    # thirds of six: medians of the first two and the last two
    assert seen.figure == (
        "over the last 6 audits the audit reward fell (0.95 to 0.55) while the reward that trains rose (0.05 to 0.45), "
        "on the same held-out prompts"
    )
    flat = sign("reward_flat", reward__mean=[1.0] * 60, reward__spread=[0.5] * 60, kl=[0.25] * 60, beta=[0.2] * 60)
    assert flat is not None
    assert flat.figure == (
        "reward/mean is 1 over the last 20 steps, was 1 over the first 20, and answers of a step differ by 0.5; KL is "
        "0.25 nats an answer; beta 0.2"
    )
    assert flat.metrics == ("reward/mean", "reward/spread", "kl", "beta")


def alarms_of(rows: Rows) -> dict[str, int]:
    """By kind, the step of the first alarm."""
    history, found = History(READ), {}
    for row in rows:
        history.add(int(row["step"] or 0), row)
        for mode in FAILURE_MODES:
            if mode.kind not in found and mode.sign(history):
                found[mode.kind] = history.step
    return found


def false_alarms(num: int, seed: int) -> list[dict[str, int]]:
    return [found for each in range(seed, seed + num) if (found := alarms_of(healthy_run(each)))]


@pytest.mark.slow
def test_healthy_runs_raise_hardly_any_alarm() -> None:
    assert len(false_alarms(30, seed=10_000)) <= 1


@pytest.mark.slow
def test_at_most_one_of_fifty_healthy_runs_raises_an_alarm() -> None:
    assert len(false_alarms(400, seed=0)) <= 8


def delay(mode: FailureMode, rows: Iterator[dict[str, float | None]], begins: int) -> float:
    """Steps from the failure's beginning to its alarm; infinite where there is none."""
    history = History(READ)
    for row in rows:
        history.add(int(row["step"] or 0), row)
        if history.step >= begins and mode.sign(history):
            return history.step - begins
    return math.inf


def spread(rows: Rows) -> float:
    return float(np.median([row["reward/spread"] or 0.0 for row in rows]))


def audit_gain(rows: Rows) -> float:
    audits = [row["audit/reward"] or 0.0 for row in rows if "audit/reward" in row]
    return max(audits) - min(audits)


# By kind: the step at which it begins, those over which it grows, the most of a median delay, and what changes.
FAILING: dict[str, tuple[int, int, float, Callable[[Rows], Courses]]] = {
    "kl_jump": (2, 4, 3, lambda rows: {"kl": (1, max(30.0, 1.5 * (rows[0]["completions/length"] or 0)))}),
    "reward_hacking": (
        60,
        100,
        80,
        lambda rows: {"audit/reward": (1, -audit_gain(rows)), "audit/raw": (1, spread(rows))},
    ),
    "gamed_reward": (60, 50, 25, lambda rows: {"completions/repetition": (1, 0.5), "reward/raw": (1, spread(rows))}),
    "mode_collapse": (60, 50, 25, lambda _: {"groups/unique_share": (0.05, 0), "completions/distinct_2": (0.1, 0)}),
    "disagreement": (60, 50, 30, lambda rows: {"reward/std": (3, 0), "reward/raw": (1, spread(rows))}),
    "length_bias": (60, 50, 30, lambda _: {"completions/length": (2.5, 10)}),
    "refusals": (60, 50, 30, lambda _: {"completions/refusal_share": (1, 0.5)}),
    "paid_trait": (60, 50, 35, lambda rows: {"traits/flattery": (1, 0.6), "reward/raw": (1, 2 * spread(rows))}),
    "entropy_collapse": (60, 50, 60, lambda _: {"entropy": (0.05, 0)}),
    "entropy_growth": (60, 50, 60, lambda _: {"entropy": (3, 2)}),
    "large_updates": (60, 50, 45, lambda _: {"ratio/clipfrac": (1, 0.5)}),
    "truncated": (60, 50, 40, lambda _: {"completions/truncated_share": (1, 0.7)}),
    "zero_advantage": (60, 50, 55, lambda _: {"groups/zero_advantage_share": (0, 1)}),
    "sampler_mismatch": (60, 50, 25, lambda _: {"sampling/logp_difference": (1, 0.3)}),
    "negative_kl": (60, 50, 25, lambda rows: {"kl": (1, -3 * max(5.0, rows[-1]["kl"] or 0))}),
    "gradient_explosion": (60, 50, 35, lambda _: {"grad_norm": (30, 0)}),
}


@pytest.mark.parametrize("kind", FAILING)
def test_a_failing_run_is_found_within_so_many_steps(kind: str) -> None:
    begins, over, most, courses = FAILING[kind]
    delays = []
    for seed in range(12):
        rows = healthy_run(seed)
        delays.append(delay(MODES[kind], changed(rows, begins, over, courses(rows)), begins))
    assert np.median(delays) <= most
    assert sum(map(math.isinf, delays)) <= 2  # of hacking, where an audit comes every 20 steps only


def test_a_reward_that_never_moves_is_found_in_its_noise() -> None:
    delays = []
    for seed in range(12):
        rows, rng = healthy_run(seed), np.random.default_rng(seed)
        error = spread(rows) * math.sqrt(2 / (rows[0]["num_completions"] or 1))
        still = (row | {"reward/raw": error * rng.normal()} for row in rows)
        delays.append(delay(MODES["reward_flat"], still, 0))
    assert np.median(delays) <= 80
    assert sum(map(math.isinf, delays)) <= 2
