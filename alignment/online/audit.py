"""Audits of a run: held-out prompts answered every so often, and rewarded also by what is never trained on.

audit/reference.jsonl     what the policy answered before its first step, once
audit/step-000120.jsonl   its answers at a step beside those, as a blind round that `annotate-app import` takes
audit/scores.jsonl        by audit, from before the first step on: rewards and KL of each held-out prompt's answer

All audits draw with the same keys: a policy that has not moved answers the same again, so that the difference of two
audits by prompt holds what was learned and little luck.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from alignment.config.online import OnlineConfig
from alignment.losses.kl import token_kl
from alignment.online.algorithm import reference_logps
from alignment.online.update import PolicyUpdate
from alignment.policy.reference import LiveReference
from alignment.rewards.rewards import Rewards
from alignment.rollouts.collector import Collector, score
from alignment.rollouts.rollouts import Rollouts
from rewardkit.data.export_formats import turns
from rewardkit.distributed import collectives
from rewardkit.run.directory import write_text

DRAWN_FOR = 2  # first part of the key of what audits draw, so that it differs from what is trained on
REFERENCE_KEY, AUDIT_KEY = (DRAWN_FOR, 0), (DRAWN_FOR, 1)  # people do not compare an answer with its own twin
FOLDER, SCORES = "audit", "scores.jsonl"


class Audit:
    """Answers held-out prompts with the policy as it is.

    Args:
        collector: of the held-out prompts, with the rewards that are trained on.
        rewards: never trained on; None without.
        run_dir: where rounds for people go; None in all processes but the first.
    """

    def __init__(
        self,
        config: OnlineConfig,
        collector: Collector,
        rewards: Rewards | None,
        update: PolicyUpdate,
        reference: LiveReference | None,
        run_dir: Path | None,
    ) -> None:
        self.config, self.collector, self.rewards = config, collector, rewards
        self.update, self.reference, self.run_dir = update, reference, run_dir
        self.numbers = range(min(len(collector.rows), config.audit_prompts))

    def begin(self) -> None:
        """Audits the untrained policy and writes its answers, if audit samples are kept for people to compare."""
        self(0)
        written = self.run_dir is not None and (self.run_dir / FOLDER / "reference.jsonl").exists()
        if not self.config.audit_samples or collectives.broadcast_object(written):
            return
        rollouts = self.collector.draw(self.numbers, self.numbers, REFERENCE_KEY, num_samples=1)
        if self.run_dir:
            _write(
                self.run_dir / FOLDER / "reference.jsonl", [_answer(rollouts, index) for index in range(len(rollouts))]
            )

    def __call__(self, step: int) -> dict[str, float]:
        """Runs an audit and returns its metrics."""
        collected = self.collector.collect(self.numbers, self.numbers, AUDIT_KEY, num_samples=1)
        rollouts = collected.rollouts
        by_prompt = {"raw": collected.scored.raw.mean.tolist()} if collected.scored.is_rewarded else {}
        if self.rewards:
            by_prompt["reward"] = score(rollouts, self.rewards).total.tolist()
        if self.reference:
            policy = self.update.token_logps(rollouts)
            reference = reference_logps(self.update, self.reference, rollouts)
            by_prompt["kl"] = _sums(token_kl(policy, reference, "k1"), rollouts.lengths)
        if self.run_dir:
            self._write_scores(step, by_prompt)
            if self.config.audit_samples and step:
                self._write_round(rollouts, step)
        metrics = {
            "audit/length": float(rollouts.lengths.float().mean()),
            "audit/truncated_share": float((~rollouts.finished).float().mean()),
        }
        return metrics | {f"audit/{name}": float(np.mean(values)) for name, values in by_prompt.items()}

    def _write_scores(self, step: int, by_prompt: Mapping[str, list[float]]) -> None:
        """Appends an audit; one that a resumed run takes again replaces that of before, and what came later."""
        assert self.run_dir
        file = self.run_dir / FOLDER / SCORES
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        earlier = [row for row in map(json.loads, lines) if row["step"] < step]
        _write(file, [*earlier, {"step": step, **{name: _finite(values) for name, values in by_prompt.items()}}])

    def _write_round(self, rollouts: Rollouts, step: int) -> None:
        """Writes the first answers beside the reference's."""
        assert self.run_dir
        before = [json.loads(line) for line in (self.run_dir / FOLDER / "reference.jsonl").read_text().splitlines()]
        rows = [
            {"prompt": one["prompt"], "responses": [one["response"], _answer(rollouts, index, step)["response"]]}
            for index, one in enumerate(before[: self.config.audit_samples])
        ]
        _write(self.run_dir / FOLDER / f"step-{step:06}.jsonl", rows)


def _answer(rollouts: Rollouts, index: int, step: int = 0) -> dict[str, Any]:
    response = {
        "model": f"step-{step}" if step else "reference",
        "text": rollouts.texts[index],
        "finished": bool(rollouts.finished[index]),
        "num_tokens": int(rollouts.lengths[index]),
    }
    return {"prompt": turns(rollouts.prompts[index]), "response": response}


def _write(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    file.parent.mkdir(exist_ok=True)
    write_text(file, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def _sums(values: Tensor, lengths: Tensor) -> list[float]:
    """Sums of (tokens,) values over each completion."""
    return [float(part.sum()) for part in values.split(lengths.tolist())]


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]


def read_scores(run_dir: Path) -> list[Mapping[str, Any]]:
    """The audits of a run in their order: `step`, and by prompt `raw`, `reward` and `kl` where they were taken.

    A number that was not finite is None. Empty for a run that kept none.
    """
    file = run_dir / FOLDER / SCORES
    return list(map(json.loads, file.read_text(encoding="utf-8").splitlines())) if file.exists() else []
