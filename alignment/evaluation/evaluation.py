"""A trained policy beside its base: both answer held-out prompts, and what their answers are worth and how far apart.

evaluation.json     all figures
report.html         the same for people, in one file (`alignment.evaluation.report`)
completions.jsonl   prompts with both policies' completions and rewards, as `annotate-app import` takes them
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignment.config.sampling import EvaluatePolicyConfig
from alignment.evaluation.results import Answered, PolicyEvaluation, PolicyFigures
from alignment.evaluation.suite import run_suite
from alignment.generation.completion_sampler import Completion, Sampler, Told
from alignment.generation.sample_to_file import Prompts
from alignment.watch.text_metrics import Kl, distinct_n, estimate_kl, repetition, win_rate
from rewardkit.data.export_formats import normal_prompt, turns
from rewardkit.data.files import write_rows
from rewardkit.data.prompts import Prompt, read_trained_prompts
from rewardkit.evaluation.scored_preferences import score_completions
from rewardkit.reward.reward import Reward
from rewardkit.run.directory import write_text
from rewardkit.stats.metrics import Interval, average_interval, difference_interval, mean_interval

if TYPE_CHECKING:
    from rewardkit.reward.reward import RewardFn

ESTIMATORS = ("k1", "k3")
NUM_SHOWN = 12  # prompts whose completions stand in the report


def evaluate_policies(
    config: EvaluatePolicyConfig,
    prompt_set: Prompts,
    samplers: Sequence[Sampler],
    reward_fn: RewardFn | None,
    *,
    told: Told,
    out_dir: Path,
) -> PolicyEvaluation:
    """Lets both policies answer, scores the answers, computes the figures, and writes completions.jsonl.

    Args:
        samplers: the base, then the trained policy.
        told: called with the completions drawn and all there are.
    """
    prompts = prompt_set.prompts
    total = 2 * config.n * len(prompts)
    completions = [
        sampler.draw(
            prompts,
            config,
            n=config.n,
            told=lambda done, _of, before=side: told((before * len(prompts) + done) * config.n, total),
        )
        for side, sampler in enumerate(samplers)
    ]
    base, trained = ([one for group in groups for one in group] for groups in completions)
    numbers = np.repeat(np.arange(len(prompts)), config.n)
    rewards = _rewards(reward_fn, [prompts[number] for number in numbers], base, trained)
    notes = [f"{len(prompt_set.bad):,} bad rows left out."] if prompt_set.bad else []
    notes += seen_in_training(config.model, prompts)
    base_figures, trained_figures = (
        _figures(sampler.name, group, numbers, reward, config.seed)
        for sampler, group, reward in zip(samplers, (base, trained), rewards or (None, None), strict=True)
    )
    kl = _kl(config, samplers, trained, numbers, notes)
    _write_completions(out_dir / "completions.jsonl", prompts, numbers, samplers, (base, trained), rewards)
    same = np.array([one.text == other.text for one, other in zip(trained, base, strict=True)])
    by_reward: dict[str, Any] = {}
    if rewards:
        by_reward["reward_gain"] = difference_interval(rewards[1].mean, rewards[0].mean, numbers, seed=config.seed)
        by_reward["win_rate"] = win_rate(rewards[1].mean, rewards[0].mean, numbers, same=same, seed=config.seed)
        if len(rewards[0].members) > 1:
            by_reward["member_win_rates"] = [
                win_rate(one, other, numbers, same=same).rate.value
                for one, other in zip(rewards[1].members, rewards[0].members, strict=True)
            ]
    return PolicyEvaluation(
        base=base_figures,
        trained=trained_figures,
        num_prompts=len(prompts),
        num_samples=config.n,
        about=_about(config),
        notes=notes,
        kl=kl,
        shown=_shown(prompts, base, trained, rewards, config.n),
        suite=run_suite(config, samplers),
        **by_reward,
    )


def seen_in_training(model: str, prompts: Sequence[Prompt]) -> list[str]:
    """Returns notes on prompts that the policy may have been trained on."""
    try:
        trained = read_trained_prompts(model)
    except (ValueError, FileNotFoundError, ImportError) as error:
        return [f"Whether prompts were trained on is not known: {error}."]
    if trained is None:
        return ["Whether prompts were trained on is not known: the policy's folder records no training."]
    trained_texts = {normal_prompt(prompt) for prompt in trained}
    if not (shared := sum(normal_prompt(prompt) in trained_texts for prompt in prompts)):
        return []
    return [f"{shared:,} of {len(prompts):,} prompts stand in the data that the policy was trained from: not held out."]


def write_evaluation(evaluation: PolicyEvaluation, out_dir: Path) -> None:
    """Writes evaluation.json and report.html."""
    from alignment.evaluation.report import html_report

    write_text(out_dir / "evaluation.json", json.dumps(evaluation.values(), ensure_ascii=False, indent=1))
    write_text(out_dir / "report.html", html_report(evaluation))


def _rewards(
    reward_fn: RewardFn | None, prompts: Sequence[Prompt], base: Sequence[Completion], trained: Sequence[Completion]
) -> tuple[Reward, Reward] | None:
    """Returns the rewards of base and trained completions; equal texts of a prompt are scored once."""
    if reward_fn is None:
        return None
    asked = [(prompt, one.text) for group in (base, trained) for prompt, one in zip(prompts, group, strict=True)]
    indices = {pair: index for index, pair in enumerate(dict.fromkeys(asked))}
    members = score_completions(list(indices), reward_fn)[:, [indices[pair] for pair in asked]]
    return Reward(members=members[:, : len(base)]), Reward(members=members[:, len(base) :])


def _figures(
    name: str, completions: Sequence[Completion], numbers: np.ndarray, reward: Reward | None, seed: int
) -> PolicyFigures:
    texts = [one.text for one in completions]

    def mean(values: Sequence[float] | np.ndarray) -> Interval:
        return average_interval(np.asarray(values, dtype=float), numbers, seed=seed)

    cut = np.array([not one.sampled.finished for one in completions], dtype=float)
    return PolicyFigures(
        name=name,
        reward=mean(reward.mean) if reward else None,
        reward_std=float(reward.std.mean()) if reward else None,
        length=mean([len(one.sampled.completion) for one in completions]),
        cut=mean_interval(cut, numbers, seed=seed),
        distinct_1=distinct_n(texts, 1),
        distinct_2=distinct_n(texts, 2),
        repetition=mean_interval(np.array([repetition(text) for text in texts]), numbers, seed=seed),
    )


def _kl(
    config: EvaluatePolicyConfig,
    samplers: Sequence[Sampler],
    completions: Sequence[Completion],
    numbers: np.ndarray,
    notes: list[str],
) -> list[Kl]:
    base, trained = samplers
    if base.tokenizer.get_vocab() != trained.tokenizer.get_vocab():
        notes.append("No KL: base and trained policy have different tokens.")
        return []
    if config.temperature == 0:
        notes.append("No KL: at temperature 0 completions are no samples of the policy; choose a temperature above 0.")
        return []
    if config.top_p < 1:
        notes.append(f"The KL is too high or too low: it is that of samples with top_p {config.top_p:g}, not of all.")
    reference = base.logps([one.sampled for one in completions], temperature=config.temperature)
    policy = [np.array(one.sampled.logps) for one in completions]
    return [estimate_kl(policy, reference, numbers, estimator=estimator, seed=config.seed) for estimator in ESTIMATORS]


def _write_completions(
    path: Path,
    prompts: Sequence[Prompt],
    numbers: np.ndarray,
    samplers: Sequence[Sampler],
    completions: tuple[Sequence[Completion], Sequence[Completion]],
    rewards: tuple[Reward, Reward] | None,
) -> None:
    def response(index: int, side: int) -> dict[str, Any]:
        one = completions[side][index]
        row = {"model": samplers[side].name, "text": one.text, **one.columns}
        if rewards:
            # Not called a reward or score, which an import would read as a label that is there already.
            row |= {
                "model_reward": float(rewards[side].mean[index]),
                "model_reward_std": float(rewards[side].std[index]),
            }
        return row

    write_rows(
        path,
        (
            {"prompt": turns(prompts[number]), "responses": [response(index, side) for side in (0, 1)]}
            for index, number in enumerate(numbers)
        ),
    )


def _shown(
    prompts: Sequence[Prompt],
    base: Sequence[Completion],
    trained: Sequence[Completion],
    rewards: tuple[Reward, Reward] | None,
    n: int,
) -> list[Answered]:
    """Returns the first completions of NUM_SHOWN prompts spread evenly over all."""
    places = np.unique(np.linspace(0, len(prompts) - 1, min(NUM_SHOWN, len(prompts))).round().astype(int))
    return [
        Answered(
            prompt=prompts[index],
            base=base[index * n].text,
            trained=trained[index * n].text,
            base_reward=float(rewards[0].mean[index * n]) if rewards else None,
            trained_reward=float(rewards[1].mean[index * n]) if rewards else None,
        )
        for index in places
    ]


def _about(config: EvaluatePolicyConfig) -> dict[str, str]:
    return {
        "trained policy": config.model,
        "base and reference": config.base,
        "prompts": config.prompts,
        "reward model": config.reward or "none",
        "temperature, top_p": f"{config.temperature:g}, {config.top_p:g}",
        "longest completion": f"{config.max_new_tokens} tokens",
        "completions a prompt": str(config.n),
        "seed": str(config.seed),
    }
