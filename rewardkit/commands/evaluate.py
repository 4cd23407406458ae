"""`evaluate` says how good a reward model is, and whether it knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rewardkit.config import EvaluateConfig, parse_criterion_weights
from rewardkit.run.directory import Run
from rewardkit.run.model_folder import model_folder
from rewardkit.run.progress import Progress

if TYPE_CHECKING:
    from rewardkit.evaluation.evaluation_text import Findings
    from rewardkit.evaluation.run import Inputs
    from rewardkit.evaluation.step_run import StepInputs
    from rewardkit.reward.reward import RewardFn


def evaluate(config: EvaluateConfig) -> int:
    """Runs `rewardkit evaluate`; returns the exit code."""
    from rewardkit.evaluation.evaluation_text import screen_lines
    from rewardkit.evaluation.run import read_inputs, write_findings
    from rewardkit.evaluation.step_run import is_of_steps, read_step_inputs
    from rewardkit.reward.load import read_criterion_weights

    if not config.implicit:
        model_folder(config.model)
    read_criterion_weights(config.criterion_weights, config.model)  # before anything is read or scored
    inputs = None
    if is_of_steps(config):
        inputs = read_step_inputs(config)
    elif config.benchmark == "none":
        inputs = read_inputs(config)
    run = Run(config.out, config)  # now that the input is good
    with run.ending():
        findings = _findings(config, inputs)
    write_findings(findings, run.dir)
    run.status("done", results=_results(findings))
    if config.json:
        print(json.dumps(findings.values(), ensure_ascii=False, indent=1))
        return 0
    print("\n".join(screen_lines(findings)))
    print(run.dir / "report.html")
    return 0


def _findings(config: EvaluateConfig, inputs: Inputs | StepInputs | None) -> Findings:
    from rewardkit.evaluation.run import evaluate_model, run_benchmark
    from rewardkit.evaluation.step_run import StepInputs, evaluate_process_reward

    reward_fn = _reward_fn(config)  # heavy, so after the input has been read
    if inputs is None:
        return run_benchmark(config, reward_fn)
    told = Progress("answers scored").count
    if isinstance(inputs, StepInputs):
        return evaluate_process_reward(config, reward_fn, inputs, told=told)
    return evaluate_model(config, reward_fn, inputs, told=told)


def _reward_fn(config: EvaluateConfig) -> RewardFn:
    if config.implicit:
        from rewardkit.reward.implicit import ImplicitReward

        return ImplicitReward.load(config.model, reference=config.reference, beta=config.beta)
    from rewardkit.reward.load import load_reward_fn

    return load_reward_fn(config.model, criterion_weights=parse_criterion_weights(config.criterion_weights))


def _results(findings: Findings) -> dict[str, float]:
    if findings.benchmark:
        return {"score": findings.benchmark.score}
    if findings.steps:
        accuracy = findings.steps.accuracy
    else:
        assert findings.evaluation is not None
        accuracy = findings.evaluation.overall.accuracy
    return {"accuracy": accuracy.value, "accuracy_low": accuracy.low, "accuracy_high": accuracy.high}
