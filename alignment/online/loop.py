"""The steps of a run that learns from its own samples: draw, learn, record, audit, keep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alignment.config.online import OnlineConfig
from alignment.online.algorithm import Algorithm, Learned
from alignment.online.audit import Audit
from alignment.online.update import PolicyUpdate
from alignment.policy.publishing import Tracker
from alignment.rewards.objectives import Multipliers
from alignment.rollouts.collector import Collected, Collector, score
from alignment.rollouts.file import FILE, Replay, append_rollouts, truncate_rollouts
from alignment.rollouts.source import RolloutError
from alignment.rollouts.training_samples import drawn_samples, write_samples
from alignment.watch.completion_metrics import completion_metrics
from alignment.watch.trait_rules import trait_metrics
from alignment.watch.watcher import Watcher
from rewardkit.distributed import collectives
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress
from rewardkit.training.steps import begin_run, is_due, set_learning_rate
from rewardkit.training.training_run import checkpoint_of

TRAINED_ON = 1  # first part of the key of what is drawn to train on, see `alignment.online.audit.DRAWN_FOR`


class OnlineLoop:
    """The steps of a run."""

    def __init__(
        self,
        config: OnlineConfig,
        run: Run | None,
        collector: Collector,
        audit: Audit,
        algorithm: Algorithm,
        update: PolicyUpdate,
        tracker: Tracker,
        progress: Progress,
        *,
        learning_rate: float,
    ) -> None:
        self.config, self.run, self.collector, self.audit = config, run, collector, audit
        self.algorithm, self.update, self.tracker, self.progress = algorithm, update, tracker, progress
        self.learning_rate = learning_rate
        self.checkpoint = checkpoint_of(config)
        self.replay = Replay(Path(config.replay), collector.rows) if config.replay else None
        num_steps = math.ceil(config.epochs * len(collector.rows) / config.prompts_per_step)
        self.num_steps = config.max_steps or num_steps
        self.watcher: Watcher | None = None
        self.broken: RolloutError | None = None  # why no completions are drawn any more
        self.drawn: dict[int, Collected] = {}  # in the present step, by number of the draw
        self.audit_every = config.audit_every or max(1, self.num_steps // 10)

    def run_steps(self, cancelled: Callable[[], bool]) -> dict[str, Any] | None:
        """Runs the remaining steps; returns the results, or None where it was asked to stop.

        Raises:
            RolloutError: if completions are not drawn; the steps before that are kept.
            FloatingPointError: if a gradient is not finite; what the step drew is noted beside the checkpoint.
        """
        network, carried = self.update.forward.network, self.algorithm.carried
        writes = self.run is not None or self.update.forward.sharded is not None
        self.checkpoint.check_base(network)
        state = self.checkpoint.restore(network, carried, self.update.optimizer)
        self._begin(state.step)
        network.train()
        asked, metrics, stop = False, {}, ""
        if not state.step:
            self.audit.begin()
            if writes:
                self.checkpoint.write(state, network, carried, self.update.optimizer)
        while state.step < self.num_steps and not asked and not stop:
            step = state.step + 1
            try:
                metrics, stop = self._step(step)
                state = state.after_step()
            except RolloutError as error:
                self.broken = error
            asked = collectives.any_true(cancelled(), self.update.forward.device)
            if writes and self._keeps(step, asked or bool(stop) or bool(self.broken)):
                self.checkpoint.write(state, network, carried, self.update.optimizer)
            if self.broken:
                raise RolloutError(f"{self.broken}; continue with --resume --out {self.config.out}") from self.broken
        if asked and state.step < self.num_steps and not stop:
            return None
        results: dict[str, Any] = {"num_steps": state.step, "stopped": stop} if stop else {"num_steps": state.step}
        final = self.audit(state.step) if not any(name.startswith("audit/") for name in metrics) else metrics
        return results | {f"eval/{name.removeprefix('audit/')}": v for name, v in final.items() if "audit/" in name}

    def _begin(self, step: int) -> None:
        begin_run(self.run, step=step, num_steps=self.num_steps)
        if self.run:
            truncate_rollouts(self.run.dir, step)
            self.watcher = Watcher(self.run.dir)

    def _keeps(self, step: int, ends: bool) -> bool:
        return ends or step == self.num_steps or step % (self.config.checkpoint_every or self.audit_every) == 0

    def _step(self, step: int) -> tuple[dict[str, float], str]:
        """Runs one step and records it; returns its metrics and the reason to end the run.

        Raises:
            RolloutError: if what it learns from is not drawn; the step can be taken again then.
        """
        started = time.perf_counter()
        rate = set_learning_rate(
            self.update.optimizer,
            self.learning_rate,
            step=step,
            num_steps=self.num_steps,
            warmup_share=self.config.warmup_share,
        )
        position = int(self.algorithm.carried.position)
        self.drawn = {}
        multipliers = self._multipliers()
        try:
            learned = self.algorithm.step(
                lambda count, number: self._draw(step, count, number),
                with_entropy=is_due(step, self.config.entropy_every),
                with_kl=is_due(step, self.config.kl_every),
            )
        except RolloutError:
            self.algorithm.carried.position.fill_(position)
            raise
        except FloatingPointError as error:
            raise FloatingPointError(f"step {step}: {error}{self._write_aside(step)}") from error
        metrics = self._metrics(learned, started) | {"learning_rate": rate} | self._after_step(multipliers)
        if step % self.audit_every == 0 or step == self.num_steps:
            try:
                metrics |= self.audit(step)
            except RolloutError as error:  # what was learned is recorded first
                self.broken = error
        stop = learned.stop
        if self.run and self.watcher:
            self.run.log(step, metrics)
            self.run.status(step=step)
            critical = [alarm for alarm in self.watcher.step(step, metrics) if alarm.severity == "critical"]
            if critical and self.config.on_alarm == "stop":
                stop = f"alarm: {critical[0].title}: {critical[0].figure}"
            if is_due(step, self.config.sample_every) or step == self.num_steps:
                lines = drawn_samples(learned.rollouts, learned.scored, step=step)
                write_samples(self.run.dir, lines, step=step)
        self.progress.step(step, self.num_steps, metrics)
        self.tracker.log(metrics, step)
        return metrics, collectives.broadcast_object(stop)

    def _multipliers(self) -> Multipliers:
        """Gives the rewards the constraints' multipliers as they are, and returns them."""
        config, rewards = self.config, self.collector.rewards
        logs = self.algorithm.carried.log_multipliers.tolist()
        multipliers = Multipliers(
            constraints=rewards.constraints,
            logs=logs,
            rate=config.multiplier_rate,
            smallest=config.multiplier_min,
            most=config.multiplier_max,
        )
        rewards.multipliers = multipliers.by_name
        return multipliers

    def _after_step(self, multipliers: Multipliers) -> dict[str, float]:
        """Moves the multipliers by all that the step drew; returns their metrics, of before they moved."""
        scored = [collected.scored.by_source for collected in self.drawn.values()]
        means = {
            one.name: float(np.concatenate([rewards[one.name].mean for rewards in scored]).mean())
            for one in multipliers.constraints
        }
        self.algorithm.carried.log_multipliers.copy_(torch.tensor(multipliers.after(means).logs, dtype=torch.float64))
        missed = {f"constraint/{one.name}/missed_by": one.least - means[one.name] for one in multipliers.constraints}
        return missed | {f"constraint/{name}/multiplier": value for name, value in multipliers.by_name.items()}

    def _draw(self, step: int, count: int, number: int) -> Collected:
        """Draws completions of the next `count` prompts."""
        carried, rows = self.algorithm.carried, self.collector.rows
        keys = range(int(carried.position), int(carried.position) + count)
        numbers = [_number(key, len(rows), self.config.seed) for key in keys]
        carried.position += count
        if self.replay:
            rollouts = self.replay.rollouts(step, number)
            scored = score(rollouts, self.collector.rewards)
            collected = Collected(rollouts=rollouts, scored=scored, generate_s=0.0, reward_s=0.0)
        else:
            size = self.config.completions_per_prompt
            collected = self.collector.collect(numbers, keys, (TRAINED_ON, step), num_samples=size)
        if self.run and self.config.keep_rollouts:
            append_rollouts(self.run.dir / FILE, step, number, collected)
        self.drawn[number] = collected
        return collected

    def _write_aside(self, step: int) -> str:
        """Notes what a step drew whose gradient was not finite, as `append_rollouts` does; says where."""
        if not self.run:
            return ""
        file = self.checkpoint.dir / "not_finite.jsonl"
        file.unlink(missing_ok=True)
        for number, collected in self.drawn.items():
            append_rollouts(file, step, number, collected)
        return f", batch noted in {file}"

    def _metrics(self, learned: Learned, started: float) -> dict[str, float]:
        """Collects the metrics of a step: rewards, completions, the algorithm's own, and time."""
        rollouts, carried = learned.rollouts, self.algorithm.carried
        carried.num_tokens += rollouts.num_tokens
        seconds = time.perf_counter() - started
        learning_s = max(seconds - learned.metrics["time/generate_s"] - learned.metrics["time/reward_s"], 1e-9)
        size = rollouts.group_size
        groups = [number // size for number in range(len(rollouts))]
        text_metrics = completion_metrics(rollouts.texts, rollouts.lengths.tolist(), rollouts.finished.tolist(), groups)
        text_metrics |= trait_metrics(rollouts.prompts, rollouts.texts, groups)
        metrics = learned.scored.metrics() | text_metrics | dict(learned.metrics)
        return metrics | {
            "num_tokens": int(carried.num_tokens),
            "num_prompts": int(carried.position),
            "num_completions": len(rollouts),
            "time/update_s": learning_s,
            "time/step_s": seconds,
            "tokens_per_s/update": rollouts.num_tokens / learning_s,
            "tokens_per_s": rollouts.num_tokens / seconds,
        }


def _number(key: int, num_rows: int, seed: int) -> int:
    """Returns the prompt at an index of the endless order: a fresh permutation for each pass over the prompts."""
    epoch, index = divmod(key, num_rows)
    return int(_order(num_rows, seed, epoch)[index])


@lru_cache(maxsize=2)
def _order(num_rows: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(num_rows)
