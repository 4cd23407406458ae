"""`evaluate` says how good a reward model is, and whether it knows."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rewardkit.config import EvaluateConfig
from rewardkit.run.directory import Run

if TYPE_CHECKING:
    from rewardkit.evaluation.evaluation_text import Findings
    from rewardkit.evaluation.run import Inputs
    from rewardkit.reward.reward import RewardFn


def evaluate(config: EvaluateConfig) -> int:
    """Runs `rewardkit evaluate`; returns the exit code."""
    from rewardkit.evaluation.evaluation_text import screen_lines
    from rewardkit.evaluation.run import read_inputs, write_findings

    if not config.implicit and not Path(config.model).is_dir():
        raise FileNotFoundError(f"--model {config.model}: there is no such folder")
    inputs = read_inputs(config) if config.benchmark == "none" else None
    run = Run(config.out, config)  # now that the input is good
    try:
        findings = _findings(config, inputs)
    except KeyboardInterrupt:
        run.status("cancelled")
        raise
    except BaseException as error:
        run.status("failed", message=f"{type(error).__name__}: {error}")
        raise
    write_findings(findings, run.dir)
    run.status("done", results=_results(findings))
    if config.json:
        print(json.dumps(findings.values(), ensure_ascii=False, indent=1))
        return 0
    print("\n".join(screen_lines(findings)))
    print(run.dir / "report.html")
    return 0


def _findings(config: EvaluateConfig, inputs: Inputs | None) -> Findings:
    from rewardkit.evaluation.run import evaluate_model, run_benchmark

    reward_fn = _reward_fn(config)  # heavy, so after the input has been read
    if inputs is None:
        return run_benchmark(config, reward_fn)
    return evaluate_model(config, reward_fn, inputs, told=_progress())


def _reward_fn(config: EvaluateConfig) -> RewardFn:
    if config.implicit:
        from rewardkit.reward.implicit import ImplicitReward

        return ImplicitReward.load(config.model, reference=config.reference, beta=config.beta)
    from rewardkit.reward.load import load_reward_fn

    return load_reward_fn(config.model)


def _progress() -> Callable[[int, int], None]:
    """A line that redraws itself on a terminal; nothing in a log, where scoring is short."""
    if not sys.stderr.isatty():
        return lambda _done, _total: None

    def told(done: int, total: int) -> None:
        end = "\n" if done == total else ""
        print(f"\r\x1b[Kscored {done:,} of {total:,} answers", end=end, file=sys.stderr, flush=True)

    return told


def _results(findings: Findings) -> dict[str, float]:
    if findings.benchmark:
        return {"score": findings.benchmark.score}
    assert findings.evaluation is not None
    accuracy = findings.evaluation.overall.accuracy
    return {"accuracy": accuracy.value, "accuracy_low": accuracy.low, "accuracy_high": accuracy.high}
