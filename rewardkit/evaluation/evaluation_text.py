"""Everything `rewardkit evaluate` found, as JSON, as sentences and as lines for a terminal. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rewardkit.evaluation.baselines import Baseline
from rewardkit.evaluation.evaluate import Evaluation, UncertaintyMeasure
from rewardkit.evaluation.out_of_domain import OutOfDomain
from rewardkit.evaluation.rewardbench import BenchmarkResult
from rewardkit.evaluation.steps import StepEvaluation
from rewardkit.report.table import interval_text, number_text, points_text, text_table
from rewardkit.stats.calibration import CalibrationFigures
from rewardkit.stats.metrics import Interval
from rewardkit.stats.small_samples import LEAST

MEASURES = {
    "probability": "closeness to a toss-up",
    "relative_std": "spread of its members over the margin",
    "vote_entropy": "votes of its members",
    "std": "spread of its members",
    "mutual_information": "mutual information",
}
BASELINES = {"longer answer": "choosing the longer answer", "TF-IDF": "TF-IDF"}
RULES = {
    "sigmoid": "as the rewards say",
    "calibrated": "calibrated",
    "integrated": "members averaged out",
}


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One evaluation of one model.

    Attributes:
        model, data: as they were given.
        about: by name, what else describes model and data.
        notes: what a reader has to know before believing a figure: rows left out, prompts seen in training.
        evaluation, benchmark, steps: one of them is there.
    """

    model: str
    data: str
    about: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    evaluation: Evaluation | None = None
    baselines: list[Baseline] = field(default_factory=list)
    out_of_domain: list[OutOfDomain] = field(default_factory=list)
    benchmark: BenchmarkResult | None = None
    steps: StepEvaluation | None = None

    @property
    def short_model(self) -> str:
        return Path(self.model).name or self.model

    @property
    def short_data(self) -> str:
        return Path(self.data).name or self.data

    def values(self) -> dict[str, Any]:
        """Returns plain values for JSON; unknown figures are None."""
        return finite(asdict(self))


def finite(value: Any) -> Any:
    """Replaces numbers that are not finite by None in nested values, for JSON."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: finite(item) for name, item in value.items()}
        case list() | tuple():
            return [finite(item) for item in value]
        case _:
            return value


def sentences(findings: Findings) -> list[str]:
    """Returns the figures as sentences; where an interval includes chance, the sentence says that nothing is shown."""
    lines: list[str] = []
    if findings.benchmark:
        lines += _benchmark_sentences(findings.benchmark)
    if findings.steps:
        lines += _step_sentences(findings.steps)
    if (evaluation := findings.evaluation) is None:
        return lines
    overall = evaluation.overall
    prompts = "1 prompt" if overall.num_prompts == 1 else f"{overall.num_prompts:,} prompts"
    counts = f"{overall.num_pairs:,} pairs of {prompts}"
    lines.append(f"Right on {interval_text(overall.accuracy)} of {counts}{_against_chance(overall.accuracy)}.")
    lines += [_baseline_sentence(baseline) for baseline in findings.baselines]
    if human := evaluation.human:
        other = "the majority of the others does" if human.counted else "at most to expect is"
        agreed = f"It agrees with a person's vote in {interval_text(human.model)} of cases"
        lines.append(f"{agreed}; {other} {interval_text(human.ceiling)}.")
        lines.append(f"Its probabilities correlate with the shares of votes by {number_text(human.correlation)}.")
    told = list(evaluation.calibration.values())[-1]
    if told.is_off is not None and evaluation.num_prompts >= LEAST:
        lines.append(_calibration_sentence(told, is_apart=evaluation.num_pairs == evaluation.num_prompts))
    lines += [_uncertainty_sentence(measure) for measure in evaluation.uncertainty]
    if len(evaluation.length.groups) == 2:
        shorter, longer = evaluation.length.groups
        lines.append(
            f"Where people chose the shorter answer it is right on {interval_text(shorter.accuracy)}, where they chose "
            f"the longer one on {interval_text(longer.accuracy)}."
        )
    if controlled := evaluation.length.controlled:
        chance = _against_chance(controlled)
        lines.append(f"Length-controlled accuracy, the mean of both, is {interval_text(controlled)}{chance}.")
    lines += [_domain_sentence(domain) for domain in findings.out_of_domain]
    return lines


def _against_chance(share: Interval) -> str:
    return {1: "", 0: ": not shown to be better than chance", -1: ": worse than chance"}[share.against(0.5)]


def _baseline_sentence(baseline: Baseline) -> str:
    difference = baseline.difference
    verdict = {1: "better than", 0: "not shown to differ from", -1: "worse than"}[difference.against(0)]
    return f"On the same pairs it is {verdict} {_named(baseline)}; points: {points_text(difference)}."


def _named(baseline: Baseline) -> str:
    fitted = f" fitted on {baseline.num_train:,} pairs" if baseline.num_train else ""
    return f"{BASELINES[baseline.name]}{fitted} ({interval_text(baseline.accuracy)})"


def _uncertainty_sentence(measure: UncertaintyMeasure) -> str:
    auroc = number_text(measure.auroc)
    name = MEASURES[measure.name]
    match measure.auroc.against(0.5):
        case 1:
            return f"It knows where it errs: {name} tells errors from hits with AUROC {auroc}."
        case -1:
            return f"It is surer where it errs: {name} tells errors from hits with AUROC {auroc}, worse than chance."
        case _:
            return f"Not shown: that {name} tells errors from hits, AUROC {auroc}."


def _domain_sentence(domain: OutOfDomain) -> str:
    verdict = {1: "less sure", 0: "not shown to be less sure", -1: "surer"}[domain.ratio.against(1)]
    ratio = number_text(domain.ratio)
    name = Path(domain.source).name
    return f"On {name} it is {verdict}: members differ {ratio} times as much as on the evaluation data."


def _benchmark_sentences(benchmark: BenchmarkResult) -> Iterator[str]:
    name = "RewardBench 2" if benchmark.version == 2 else "RewardBench"
    yield f"{name} score {100 * benchmark.score:.1f} on {benchmark.num_items:,} prompts."
    if benchmark.missing:
        yield (
            f"The file lacks {len(benchmark.missing)} of the benchmark's subsets ({', '.join(benchmark.missing)}): "
            "the score is not comparable with published ones."
        )


def _step_sentences(steps: StepEvaluation) -> Iterator[str]:
    prompts = "1 prompt" if steps.num_prompts == 1 else f"{steps.num_prompts:,} prompts"
    decided = steps.num_steps - steps.num_undecided
    share = "" if math.isnan(steps.share_right) else f"; to call every step right is right on {steps.share_right:.1%}"
    yield f"Right on {interval_text(steps.accuracy)} of {decided:,} judged steps of {prompts}{share}."
    shown = {1: "", 0: ": not shown to be better than chance", -1: ": worse than chance"}[steps.auroc.against(0.5)]
    if steps.auroc.is_known:
        yield f"A right step is found likelier than a wrong one with AUROC {number_text(steps.auroc)}{shown}."
    if steps.num_first_errors:
        yield (
            f"It names the first wrong step, or that there is none, of {interval_text(steps.first_error)} of "
            f"{steps.num_first_errors:,} answers."
        )
    if steps.calibration.is_off is not None and steps.num_prompts >= LEAST:
        yield _calibration_sentence(steps.calibration, is_apart=steps.num_steps == steps.num_prompts)


def step_share_rows(steps: StepEvaluation) -> list[list[str]]:
    """Shares of steps and of answers, with how many they are of."""
    decided = steps.num_steps - steps.num_undecided
    rows = [
        _row("steps: accuracy", steps.accuracy, decided),
        ["steps: share that is right", f"{steps.share_right:.1%}", f"{decided:,}"],
        _row("answers: first wrong step, or none", steps.first_error, steps.num_first_errors),
        ["  where there is one", interval_text(steps.with_error), ""],
        ["  where there is none", interval_text(steps.without_error), ""],
        ["  F1 of both", f"{steps.f1:.1%}", ""],
    ]
    return [row for row in rows if "nan" not in row[1]]


def step_rank_rows(steps: StepEvaluation) -> list[list[str]]:
    """How well steps, and whole answers by each aggregate, are told apart."""
    by_rule = [(f"answers by {rule}", auroc) for rule, auroc in steps.aggregated.items()]
    return [[name, number_text(auroc, 3)] for name, auroc in [("steps", steps.auroc), *by_rule]]


def screen_lines(findings: Findings) -> Iterator[str]:
    """Returns the tables' lines for a terminal, then the sentences."""
    yield f"{findings.model} on {findings.data}"
    for note in findings.notes:
        yield f"NOTE: {note}"
    if benchmark := findings.benchmark:
        rows: list[list[str]] = [_row(group.name, group.accuracy, group.num_pairs) for group in benchmark.subsets]
        rows += [[section, f"{100 * score:.1f}%", ""] for section, score in benchmark.sections.items()]
        yield "\n" + text_table(("subset", "accuracy", "pairs"), rows)
    if steps := findings.steps:
        yield "\n" + text_table(("", "share, 95% interval", "number"), step_share_rows(steps))
        yield "\n" + text_table(("right told from wrong", "AUROC"), step_rank_rows(steps))
        yield "\n" + text_table(CALIBRATION_HEADER, [figures_row("as the model tells", steps.calibration)])
    if evaluation := findings.evaluation:
        yield "\n" + text_table(("", "share, 95% interval", "pairs"), _share_rows(findings, evaluation))
        yield "\n" + text_table(CALIBRATION_HEADER, calibration_rows(evaluation))
    yield ""
    yield from sentences(findings)


CALIBRATION_HEADER = ("probabilities", "NLL", "Brier", "ECE", "ECE if they were right")


def calibration_rows(evaluation: Evaluation) -> list[list[str]]:
    """Returns figures by how probabilities are made; the last is what chance alone leaves of ECE."""
    return [figures_row(RULES[name], figures) for name, figures in evaluation.calibration.items()]


def figures_row(name: str, figures: CalibrationFigures) -> list[str]:
    """Figures under `CALIBRATION_HEADER`."""
    return [
        name,
        *(f"{value:.4f}" for value in (figures.nll, figures.brier, figures.ece)),
        "–" if figures.ece_floor is None else f"{figures.ece_floor:.4f} (up to {figures.ece_floor_high:.4f})",
    ]


def _calibration_sentence(figures: CalibrationFigures, *, is_apart: bool) -> str:
    """Of the probabilities that the model tells; is_apart says whether each pair has a prompt of its own."""
    chance = f"{figures.ece_floor:.3f}, up to {figures.ece_floor_high:.3f} in 95 of 100 cases"
    if not is_apart:
        chance += ", if pairs of one prompt were independent"
    verdict = "are off" if figures.is_off else "are not shown to be off"
    return f"Its probabilities {verdict}: ECE {figures.ece:.3f}, where right ones would have {chance}."


def _share_rows(findings: Findings, evaluation: Evaluation) -> list[list[str]]:
    """Accuracy, of baselines and people as well, then by groups of pairs under a heading each."""
    overall = evaluation.overall
    rows = [_row("accuracy", overall.accuracy, overall.num_pairs)]
    rows += [_row(baseline.name, baseline.accuracy, overall.num_pairs) for baseline in findings.baselines]
    if human := evaluation.human:
        rows.append(_row("agreement with a vote", human.model, human.num_pairs))
        rows.append(_row("human ceiling", human.ceiling, human.num_pairs))
    by = [("length", evaluation.length.groups), ("certainty, the surest first", evaluation.uncertainty[0].quantiles)]
    by += [(subset.column, subset.groups) for subset in evaluation.subsets]
    for column, groups in by:
        rows.append([f"by {column}"])
        rows += [_row(f"  {group.name}", group.accuracy, group.num_pairs) for group in groups]
    return rows


def _row(name: str, share: Interval, num_pairs: int) -> list[str]:
    return [name, interval_text(share), f"{num_pairs:,}"]
