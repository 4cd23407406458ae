"""Histories of metrics as runs leave them, drawn at random: healthy ones, and ones that fail in a known way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

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
