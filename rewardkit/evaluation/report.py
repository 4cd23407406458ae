"""The evaluation of a reward model as one HTML file (template `reward_model.html`). No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewardkit.evaluation.evaluate import Evaluation, Group, HumanAgreement, UncertaintyMeasure
from rewardkit.evaluation.evaluation_text import (
    CALIBRATION_HEADER,
    MEASURES,
    Findings,
    calibration_rows,
    figures_row,
    sentences,
    step_rank_rows,
    step_share_rows,
)
from rewardkit.evaluation.out_of_domain import OutOfDomain
from rewardkit.evaluation.rewardbench import BenchmarkResult
from rewardkit.evaluation.steps import StepEvaluation
from rewardkit.report.charts import Axis, Line, axis_of, interval_chart, line_chart
from rewardkit.report.page import render_page
from rewardkit.report.table import interval_text, number_text, points_text, signed_text
from rewardkit.stats.calibration import CalibrationBin

LEAST_ANSWERED = 20  # pairs; with fewer the risk curve is noise


def html_report(findings: Findings) -> str:
    """The whole page."""
    values: dict[str, Any] = {}
    if findings.benchmark:
        values |= _benchmark(findings.benchmark)
    if findings.steps:
        values |= _steps(findings.steps)
    if findings.evaluation:
        values |= _evaluation(findings, findings.evaluation)
    return render_page(
        "reward_model.html",
        title=f"{findings.short_model} on {findings.short_data}",
        findings=findings,
        evaluation=findings.evaluation,
        benchmark=findings.benchmark,
        steps=findings.steps,
        sentences=sentences(findings),
        domain_rows=[_domain_row(domain) for domain in findings.out_of_domain],
        group_rows=_group_rows,
        interval_text=interval_text,
        **values,
    )


def _benchmark(benchmark: BenchmarkResult) -> dict[str, Any]:
    subsets = [(group.name, group.accuracy) for group in benchmark.subsets]
    return {
        "benchmark_chart": interval_chart("Score by subset", subsets),
        "section_rows": [[name, f"{100 * score:.1f}"] for name, score in benchmark.sections.items()],
        "subset_rows": [
            [group.name, interval_text(group.accuracy), f"{group.num_pairs:,}"] for group in benchmark.subsets
        ],
    }


def _evaluation(findings: Findings, evaluation: Evaluation) -> dict[str, Any]:
    measures = evaluation.uncertainty
    accuracies = [("this model", evaluation.overall.accuracy)]
    accuracies += [(baseline.name, baseline.accuracy) for baseline in findings.baselines]
    quantiles = [(_quantile_name(group), group.accuracy) for group in measures[0].quantiles]
    values: dict[str, Any] = {
        "accuracy_chart": interval_chart("Accuracy of the model and of simple baselines", accuracies, 0.5),
        "baseline_rows": [
            [
                baseline.name,
                f"{baseline.num_train:,}" if baseline.num_train else "–",
                interval_text(baseline.accuracy),
                points_text(baseline.difference),
            ]
            for baseline in findings.baselines
        ],
        "risk_chart": _risk_chart(measures),
        "first_measure": MEASURES[measures[0].name],
        "quantile_chart": interval_chart("Accuracy by uncertainty", quantiles, 0.5),
        "uncertainty_rows": [_uncertainty_row(measure) for measure in measures],
        "reliability_chart": _reliability_chart(evaluation.bins),
        "calibration_header": CALIBRATION_HEADER,
        "calibration_rows": calibration_rows(evaluation),
        "length_chart": _group_chart("Accuracy by which answer people chose", evaluation.length.groups),
        "subset_charts": [
            (subset, _group_chart(f"Accuracy by {subset.column}", subset.groups)) for subset in evaluation.subsets
        ],
    }
    return values | (_human(evaluation.human) if evaluation.human else {})


def _steps(steps: StepEvaluation) -> dict[str, Any]:
    shares = [("steps", steps.accuracy), ("first wrong step", steps.first_error)]
    shares += [("  where there is one", steps.with_error), ("  where there is none", steps.without_error)]
    return {
        "step_chart": interval_chart(
            "Accuracy on steps and on first errors", [one for one in shares if one[1].is_known]
        ),
        "step_share_rows": step_share_rows(steps),
        "step_rank_rows": step_rank_rows(steps),
        "reliability_chart": _reliability_chart(steps.bins, "right by the labels"),
        "calibration_header": CALIBRATION_HEADER,
        "calibration_rows": [figures_row("as the model tells", steps.calibration)],
    }


def _human(human: HumanAgreement) -> dict[str, Any]:
    agreements = [("this model", human.model), ("ceiling of people", human.ceiling)]
    return {
        "human_chart": interval_chart("Agreement with a vote", agreements, 0.5),
        "human_rows": [
            ["correlation of probabilities with vote shares", number_text(human.correlation, 3)],
            ["NLL, nats a pair", f"{human.nll:.4f}"],
            ["lowest possible NLL (entropy of the shares)", f"{human.entropy_floor:.4f}"],
        ],
    }


def _risk_chart(measures: Sequence[UncertaintyMeasure]) -> str:
    """Share of wrong answers against the share of pairs that are answered, a line a measure, and chance."""
    first = measures[0]
    num_pairs = first.quantiles[0].num_pairs * len(first.quantiles)
    least_coverage = LEAST_ANSWERED / max(LEAST_ANSWERED, num_pairs)
    lines = []
    for series, measure in enumerate(measures, start=1):
        points = [point for point in zip(measure.coverage, measure.risk, strict=True) if point[0] >= least_coverage]
        x, y = [coverage for coverage, _ in points], [risk for _, risk in points]
        lines.append(Line(name=MEASURES[measure.name], x=x, y=y, series=series))
    lines.append(Line(name="chance", x=[0, 1], y=[first.random, first.random], series=0, dashed=True))
    risks = axis_of("wrong among them", [0.0, *(value for line in lines for value in line.y)])
    coverage = Axis(name="pairs answered, the surest first", low=0, high=1, step=0.2)
    return line_chart("Share of wrong answers by coverage", coverage, risks, lines)


def _uncertainty_row(measure: UncertaintyMeasure) -> list[str]:
    return [
        MEASURES[measure.name],
        number_text(measure.auroc, 3),
        f"{measure.area:.3f}",
        f"{measure.random:.3f}",
        f"{measure.oracle:.3f}",
        signed_text(measure.gain, 3),
    ]


def _quantile_name(group: Group) -> str:
    rank, _, total = group.name.partition(" of ")
    return {"1": "surest pairs", total: "least sure pairs"}.get(rank, f"group {rank}")


def _reliability_chart(bins: Sequence[CalibrationBin], observed_as: str = "chosen by people") -> str:
    x = Axis(name="predicted", low=0, high=1, step=0.2)
    y = Axis(name=observed_as, low=0, high=1, step=0.2)
    ideal = Line(name="ideal", x=[0, 1], y=[0, 1], series=0, dashed=True)
    predicted, observed = [group.predicted for group in bins], [group.observed for group in bins]
    return line_chart(
        "Reliability diagram", x, y, [ideal, Line(name="observed", x=predicted, y=observed, series=1, dots=4.5)]
    )


def _group_chart(title: str, groups: Sequence[Group]) -> str:
    return interval_chart(title, [(group.name, group.accuracy) for group in groups], 0.5)


def _group_rows(groups: Sequence[Group]) -> list[list[str]]:
    return [
        [group.name, interval_text(group.accuracy), f"{group.num_pairs:,}", f"{group.num_prompts:,}"]
        for group in groups
    ]


def _domain_row(domain: OutOfDomain) -> list[str]:
    return [
        Path(domain.source).name,
        f"{domain.num_texts:,}",
        f"{domain.std_in_domain:.3f}",
        f"{domain.std_out_of_domain:.3f}",
        number_text(domain.ratio),
        number_text(domain.auroc, 3),
    ]
