"""`evaluate` holds a trained policy against its base on held-out prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from alignment.commands.sample import say_bad_rows
from alignment.config.rewards import read_reward_model
from alignment.config.sampling import EvaluatePolicyConfig
from rewardkit.run.directory import Run
from rewardkit.run.progress import Progress

if TYPE_CHECKING:
    from alignment.evaluation.results import PolicyEvaluation


def evaluate(config: EvaluatePolicyConfig) -> int:
    """Runs `alignment evaluate`; returns the exit code."""
    from alignment.evaluation.evaluation import evaluate_policies, write_evaluation
    from alignment.evaluation.report import screen_lines
    from alignment.evaluation.suite import check_suite
    from alignment.generation.completion_sampler import load_samplers, template_check
    from alignment.generation.sample_to_file import read_different_prompts
    from rewardkit.network.models import check_policy_folder
    from rewardkit.reward.load import load_reward_fn

    for folder in (config.base, config.model):
        check_policy_folder(folder)
    prompt_set = read_different_prompts(config, template_check([config.base, config.model]))
    say_bad_rows("alignment evaluate", prompt_set.bad)
    check_suite(config)
    reward_fn = None
    if config.reward:
        spec = read_reward_model(config.reward)
        reward_fn = load_reward_fn(spec.target, criterion_weights=spec.criterion_weights)
    samplers = load_samplers([config.base, config.model])
    run = Run(config.out, config)  # now that the input is good
    with run.ending():
        evaluation = evaluate_policies(
            config, prompt_set, samplers, reward_fn, told=Progress("completions drawn").count, out_dir=run.dir
        )
        write_evaluation(evaluation, run.dir)
    run.status("done", results=_results(evaluation))
    if config.json:
        print(json.dumps(evaluation.values(), ensure_ascii=False, indent=1))
        return 0
    print("\n".join(screen_lines(evaluation)))
    print(run.dir / "report.html")
    return 0


def _results(evaluation: PolicyEvaluation) -> dict[str, float]:
    figures = {"tokens": evaluation.trained.length.value}
    figures |= {f"kl_{kl.estimator}": kl.per_sequence.value for kl in evaluation.kl}
    if evaluation.win_rate and evaluation.trained.reward:
        rate = evaluation.win_rate.rate
        figures |= {"reward": evaluation.trained.reward.value}
        figures |= {"win_rate": rate.value, "win_rate_low": rate.low, "win_rate_high": rate.high}
    return figures
