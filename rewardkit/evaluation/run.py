"""One run of `rewardkit evaluate`: model and data in, findings out, written to the run directory.

evaluation.json   all figures
report.html       the same for people, in one file
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rewardkit.config import EvaluateConfig, parse_criterion_weights
from rewardkit.data.export_formats import normal_prompt
from rewardkit.data.preferences import count_reasons, read_preferences
from rewardkit.data.records import Preference
from rewardkit.data.splitting import find_leakage
from rewardkit.data.training_data import TrainedOn, read_trained_on
from rewardkit.evaluation.baselines import compare
from rewardkit.evaluation.evaluate import evaluate
from rewardkit.evaluation.evaluation_text import Findings
from rewardkit.evaluation.out_of_domain import compare_domains
from rewardkit.evaluation.report import html_report
from rewardkit.evaluation.rewardbench import read_rewardbench, score_rewardbench
from rewardkit.evaluation.scored_preferences import score_preferences
from rewardkit.reward.load import cut_warning, template_check
from rewardkit.reward.metadata import Card, read_card
from rewardkit.reward.reward import OVERALL, RewardFn, criterion_weights_text, is_overall_reward
from rewardkit.run.directory import write_text

Told = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an evaluation works on.

    Attributes:
        rows: to evaluate on.
        train: to fit the TF-IDF baseline on, none of an evaluated prompt.
        notes: what the reader has to know of them.
    """

    rows: list[Preference]
    train: list[Preference]
    source: str
    notes: list[str]


def read_inputs(config: EvaluateConfig) -> Inputs:
    """Reads the data and what the model was trained on, and compares them.

    Raises:
        ValueError: if there is nothing to evaluate on, a row is bad, or prompts were trained on without leave.
        FileNotFoundError: if there is no such file.
    """
    notes: list[str] = []
    trained_on = _trained_on(config, notes)
    if config.data:
        asked = template_check(config.model, implicit=config.implicit)
        read = read_preferences(
            config.data,
            on_bad_row=config.on_bad_row,
            check=asked and (lambda row, _place: asked(row.prompt, (row.chosen, row.rejected))),
        )
        rows, source = read.rows, config.data
        if read.bad_rows:
            notes.append(f"{len(read.bad_rows):,} bad rows left out ({count_reasons(read.bad_rows)}).")
    elif trained_on:
        rows, source = trained_on.held_out, "the pairs held out in training"
        notes.append(
            "Training used these pairs to calibrate and to choose a checkpoint: figures favour the model a little."
        )
    else:
        raise ValueError("data is empty, and the model's folder records no training whose held-out pairs could be used")
    if config.data and trained_on and (shared := find_leakage(trained_on.train, rows)):
        if not config.allow_leakage:
            example = " ".join(shared[0].split())[:80]
            raise ValueError(
                f"{len(shared)} prompts of {config.data} were trained on, for example {example!r}; "
                "--allow-leakage evaluates on them all the same"
            )
        notes.append(f"{len(shared):,} of the prompts were trained on, which was allowed: accuracy is too high.")
    if config.train_data:
        candidates = read_preferences(config.train_data, on_bad_row=config.on_bad_row).rows
    else:
        candidates = trained_on.train if trained_on else []
    train = _without_prompts(candidates, rows)
    if len(train) < len(candidates):
        notes.append(
            f"The TF-IDF baseline leaves out {len(candidates) - len(train):,} training pairs of evaluated prompts."
        )
    if not train:
        notes.append("No TF-IDF baseline: what the model was trained on is not at hand; name it with --train-data.")
    return Inputs(rows=rows, train=train, source=source, notes=notes)


def _trained_on(config: EvaluateConfig, notes: list[str]) -> TrainedOn | None:
    try:
        trained_on = read_trained_on(config.model)
    except (ValueError, FileNotFoundError, ImportError) as error:
        if not config.data:
            raise
        notes.append(f"Whether prompts were trained on is not known: {error}.")
        return None
    if trained_on is None and config.data:
        notes.append("Whether prompts were trained on is not known: the model's folder records no training.")
    return trained_on


def _without_prompts(rows: Sequence[Preference], others: Sequence[Preference]) -> list[Preference]:
    """The rows whose prompts do not occur in others."""
    prompts = {normal_prompt(row.prompt) for row in others}
    return [row for row in rows if normal_prompt(row.prompt) not in prompts]


def evaluate_model(config: EvaluateConfig, reward_fn: RewardFn, inputs: Inputs, *, told: Told) -> Findings:
    """Scores and computes everything that the configuration asks for on preferences.

    Probabilities are by the model's own calibration, but of a reward with criterion weights, for which it was not
    fitted, sigma(margin); a note says so.

    Raises:
        ValueError: if no pair is decided, a subset column is unknown, or a reward is not finite.
    """
    card = read_card(config.model)
    weights = parse_criterion_weights(config.criterion_weights)
    calibration = card.calibration if is_overall_reward(weights) else {}
    scored = score_preferences(inputs.rows, reward_fn, calibration=calibration, told=told)
    columns = [name.strip() for name in config.subset.split(",") if name.strip()]
    evaluation = evaluate(scored, columns=columns, seed=config.seed)
    sources = [name.strip() for name in config.ood.split(",") if name.strip()]
    out_of_domain = [compare_domains(scored, reward_fn, source, seed=config.seed) for source in sources]
    cut = cut_warning(reward_fn)
    return Findings(
        model=config.model,
        data=inputs.source,
        about=_about(card, config, reward_fn),
        notes=[*inputs.notes, *_weights_notes(weights, card), *([f"{cut}."] if cut else [])],
        evaluation=evaluation,
        baselines=compare(scored, inputs.train, seed=config.seed),
        out_of_domain=out_of_domain,
    )


def run_benchmark(config: EvaluateConfig, reward_fn: RewardFn) -> Findings:
    """Scores a file of RewardBench."""
    version = 2 if config.benchmark == "rewardbench2" else 1
    items = read_rewardbench(config.data, version=version)
    result = score_rewardbench(items, reward_fn, version=version)
    return Findings(
        model=config.model, data=config.data, about=_about(read_card(config.model), config, reward_fn), benchmark=result
    )


def _weights_notes(weights: Mapping[str, float], card: Card) -> Iterator[str]:
    """Returns notes on a reward that is not the overall head's alone."""
    if is_overall_reward(weights):
        return
    yield (
        f"The reward is {criterion_weights_text(weights)}. The model's calibration was fitted to its overall head and "
        "is not used: probabilities are the logistic function of the margin."
    )
    if not weights.get(OVERALL) and card.kind != "full":
        yield "Without a weight of overall the reward has one member: a criterion has one head."


def _about(card: Card, config: EvaluateConfig, reward_fn: RewardFn) -> dict[str, str]:
    if config.implicit:
        data = config.data or "held out in training"
        return {"model": config.model, "data": data, **getattr(reward_fn, "about", {}), "seed": str(config.seed)}
    calibration = card.calibration.get("kind", "none")
    temperature = card.calibration.get("temperature")
    weights = parse_criterion_weights(config.criterion_weights)
    if not is_overall_reward(weights):
        calibration, temperature = "none for a reward with criterion weights", None
    return {
        "model": config.model,
        "data": config.data or "held out in training",
        "kind": f"{card.kind}: {card.features}" if card.features else card.kind,
        "members": str(card.num_members),
        "criterion weights": criterion_weights_text(weights) or "none: the overall head",
        "calibration": f"{calibration}, T = {temperature:.3g}" if temperature else str(calibration),
        "likelihood": str(card.likelihood.get("name", "not recorded")),
        "trained on data with hash": card.data_hash[:16] or "not recorded",
        "versions": ", ".join(f"{name} {version}" for name, version in card.versions.items()) or "not recorded",
        "seed": str(config.seed),
    }


def write_findings(findings: Findings, out_dir: Path) -> None:
    """Writes evaluation.json and report.html."""
    write_text(out_dir / "evaluation.json", json.dumps(findings.values(), ensure_ascii=False, indent=1))
    write_text(out_dir / "report.html", html_report(findings))
