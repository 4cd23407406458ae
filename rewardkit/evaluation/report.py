"""The evaluation as one HTML file that needs nothing else: no script, no network, light and dark. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from rewardkit.evaluation.evaluate import Evaluation, Group, HumanAgreement, LengthBias, UncertaintyMeasure
from rewardkit.evaluation.evaluation_text import MEASURES, RULES, Findings, sentences
from rewardkit.evaluation.out_of_domain import OutOfDomain
from rewardkit.evaluation.rewardbench import BenchmarkResult
from rewardkit.report.charts import Axis, Line, axis_of, interval_chart, line_chart
from rewardkit.report.page import definitions, page, table
from rewardkit.report.wording import interval_text, number_text, percent, points_text
from rewardkit.stats.metrics import CalibrationBin


def html_report(findings: Findings) -> str:
    """The whole page."""
    title = f"{findings.short_model} on {findings.short_data}"
    parts = [f"<h1>{escape(title)}</h1>"]
    parts += [f'<p class="note">{escape(note)}</p>' for note in findings.notes]
    if evaluation := findings.evaluation:
        parts.append(f'<p class="headline">{percent(evaluation.overall.accuracy.value)}</p>')
        parts.append(
            '<p class="quiet">of the pairs on which people are decided, the model prefers what they prefer</p>'
        )
    elif benchmark := findings.benchmark:
        parts.append(f'<p class="headline">{100 * benchmark.score:.1f}</p>')
    parts.append(f'<ul class="says">{"".join(f"<li>{escape(each)}</li>" for each in sentences(findings))}</ul>')
    if findings.benchmark:
        parts += _benchmark(findings.benchmark)
    if evaluation:
        parts += _accuracy(findings, evaluation)
        parts += _human(evaluation.human) if evaluation.human else []
        parts += _uncertainty(evaluation.uncertainty)
        parts += _calibration(evaluation)
        parts += _length(evaluation.length)
        for subset in evaluation.subsets:
            parts.append(f"<h2>By {escape(subset.column)}</h2>")
            parts += _groups(f"Accuracy by {subset.column}", subset.groups)
    if findings.out_of_domain:
        parts += _out_of_domain(findings.out_of_domain)
    parts += _about(findings)
    return page(title, parts)


def _accuracy(findings: Findings, evaluation: Evaluation) -> Iterable[str]:
    yield "<h2>Accuracy</h2>"
    undecided = evaluation.num_undecided
    left = f" {undecided:,} pairs on which people are even are no part of it." if undecided else ""
    yield f"<p>Lines are 95 percent intervals over resampled prompts; the dashed line is a coin.{left}</p>"
    rows = [("this model", evaluation.overall.accuracy), *((each.name, each.accuracy) for each in findings.baselines)]
    yield interval_chart("Accuracy of the model and of simple baselines", rows, 0.5)
    if findings.baselines:
        body = [
            [
                each.name,
                f"{each.num_train:,}" if each.num_train else "–",
                interval_text(each.accuracy),
                points_text(each.difference),
            ]
            for each in findings.baselines
        ]
        yield table(["baseline", "pairs it was fitted on", "accuracy", "model minus baseline, points"], body)


def _human(human: HumanAgreement) -> Iterable[str]:
    yield "<h2>Beside people</h2>"
    if human.counted:
        yield (
            "<p>How often a single vote agrees with the model, and with the majority of the other people who judged "
            f"the same pair. {human.num_pairs:,} pairs have two votes or more.</p>"
        )
    else:
        yield (
            "<p>How often a vote agrees with the model, and at most with anybody. Only shares of votes are known: the "
            "ceiling takes them for true rates, which makes it too high where votes were few.</p>"
        )
    yield interval_chart(
        "Agreement with a vote", [("this model", human.model), ("ceiling of people", human.ceiling)], 0.5
    )
    yield table(
        ["", "value"],
        [
            ["correlation of probabilities with vote shares", f"{human.correlation:.3f}"],
            ["NLL, nats a pair", f"{human.nll:.4f}"],
            ["lowest possible NLL (entropy of the shares)", f"{human.entropy_floor:.4f}"],
        ],
    )


def _uncertainty(measures: Sequence[UncertaintyMeasure]) -> Iterable[str]:
    yield "<h2>Does it know when it is wrong?</h2>"
    yield (
        "<p>Answering only the pairs it is surest of, how many answers are wrong? A model that knows has a curve that "
        "rises to the right; the dashed line is what a model that does not know would have.</p>"
    )
    first = measures[0]
    least = 20 / max(20, first.quantiles[0].num_pairs * len(first.quantiles))  # below this the curve is noise
    lines = [
        Line(
            name=MEASURES[each.name],
            x=[c for c in each.coverage if c >= least],
            y=[r for c, r in zip(each.coverage, each.risk, strict=True) if c >= least],
            series=number,
        )
        for number, each in enumerate(measures, start=1)
    ]
    lines.append(Line(name="chance", x=[0, 1], y=[first.random, first.random], series=0, dashed=True))
    risks = axis_of("wrong among them", [0.0, *(value for line in lines for value in line.y)])
    coverage = Axis(name="pairs answered, the surest first", low=0, high=1, step=0.2)
    chart = line_chart("Share of wrong answers by coverage", coverage, risks, lines)
    rows = [(_quantile_name(group), group.accuracy) for group in first.quantiles]
    bars = interval_chart("Accuracy by uncertainty", rows, 0.5)
    yield f"{chart}<h3>Accuracy by {escape(MEASURES[first.name])}</h3>{bars}"
    body = [
        [
            MEASURES[each.name],
            number_text(each.auroc, 3),
            f"{each.area:.3f}",
            f"{each.random:.3f}",
            f"{each.oracle:.3f}",
            f"{each.gain.value:+.3f} ({each.gain.low:+.3f} to {each.gain.high:+.3f})",
        ]
        for each in measures
    ]
    yield table(["uncertainty", "AUROC of errors", "area", "chance", "oracle", "better than chance by"], body)


def _quantile_name(group: Group) -> str:
    rank, _, total = group.name.partition(" of ")
    return {"1": "surest pairs", total: "least sure pairs"}.get(rank, f"group {rank}")


def _calibration(evaluation: Evaluation) -> Iterable[str]:
    yield "<h2>Do its probabilities hold?</h2>"
    yield (
        "<p>Dots are groups of pairs with similar predictions; on the dashed line as many people choose an answer as "
        "the model says. Every pair is counted from both sides, so the picture is symmetric.</p>"
    )
    x = Axis(name="predicted", low=0, high=1, step=0.2)
    y = Axis(name="chosen by people", low=0, high=1, step=0.2)
    yield line_chart("Reliability diagram", x, y, [_ideal(), _observed(evaluation.bins)])
    body = [
        [RULES[name], f"{figures.nll:.4f}", f"{figures.brier:.4f}", f"{figures.ece:.4f}"]
        for name, figures in evaluation.calibration.items()
    ]
    yield table(["probabilities", "NLL", "Brier", "ECE"], body)


def _ideal() -> Line:
    return Line(name="ideal", x=[0, 1], y=[0, 1], series=0, dashed=True)


def _observed(bins: Sequence[CalibrationBin]) -> Line:
    return Line(
        name="observed", x=[each.predicted for each in bins], y=[each.observed for each in bins], series=1, dots=4.5
    )


def _length(length: LengthBias) -> Iterable[str]:
    yield "<h2>Does it follow length?</h2>"
    yield (
        f"<p>Where lengths differ, people choose the longer answer in {percent(length.people_choose_longer)} of pairs, "
        f"the model in {percent(length.model_chooses_longer)}; its margin correlates with the difference of log "
        f"lengths by {length.correlation:.2f}.</p>"
    )
    yield from _groups("Accuracy by which answer people chose", length.groups)


def _groups(title: str, groups: Sequence[Group]) -> Iterable[str]:
    yield interval_chart(title, [(group.name, group.accuracy) for group in groups], 0.5)
    body = [
        [group.name, interval_text(group.accuracy), f"{group.num_pairs:,}", f"{group.num_prompts:,}"]
        for group in groups
    ]
    yield table(["", "accuracy", "pairs", "prompts"], body)


def _out_of_domain(domains: Sequence[OutOfDomain]) -> Iterable[str]:
    yield "<h2>Is it less sure of unlike text?</h2>"
    yield "<p>Standard deviation of an answer's reward over members, each member's mean taken off.</p>"
    body = [
        [
            Path(each.source).name,
            f"{each.num_texts:,}",
            f"{each.std_in_domain:.3f}",
            f"{each.std_out_of_domain:.3f}",
            number_text(each.ratio),
            number_text(each.auroc, 3),
        ]
        for each in domains
    ]
    yield table(
        ["texts", "number", "std on the evaluation data", "std there", "ratio", "AUROC there against here"], body
    )


def _benchmark(benchmark: BenchmarkResult) -> Iterable[str]:
    yield f"<h2>RewardBench{' 2' if benchmark.version == 2 else ''}</h2>"
    if benchmark.sections:
        yield table(["section", "score"], [[name, f"{100 * score:.1f}"] for name, score in benchmark.sections.items()])
    yield interval_chart("Score by subset", [(group.name, group.accuracy) for group in benchmark.subsets])
    body = [[group.name, interval_text(group.accuracy), f"{group.num_pairs:,}"] for group in benchmark.subsets]
    yield table(["subset", "score", "prompts"], body)


def _about(findings: Findings) -> Iterable[str]:
    yield "<h2>How this was made</h2>"
    yield definitions(findings.about)
    yield (
        '<p class="quiet">Intervals: percentile bootstrap over prompts, 95 percent. Equal rewards count half. NLL in '
        "nats a pair; ECE over ten groups of equal count. Area: mean share of wrong answers over coverage (AURC).</p>"
    )
