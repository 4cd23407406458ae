"""What `plan` prints where all ways are asked for: the advisor's answer in words, and the published runs beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alignment.config.advisor import AdvisorConfig
from rewardkit.report.table import text_table

if TYPE_CHECKING:
    from alignment.advisor.advice import Advice, Way


def answer(config: AdvisorConfig) -> int:
    """Prints the advisor's answer; returns the exit code."""
    from alignment.advisor.advice import advise

    advice = advise(config)
    if config.json:
        print(json.dumps(advice.as_dict(), ensure_ascii=False, indent=1))
        return 0
    print("\n".join(_lines(config, advice)))
    return 0


def show_published(config: AdvisorConfig) -> int:
    """Prints the published runs with what is estimated for them; returns the exit code."""
    from alignment.advisor.advice import published_words
    from alignment.advisor.published import PUBLISHED

    if config.json:
        rows = [
            {"name": run.name, "gpus": run.gpus, "hours": run.hours, "estimate": run.estimate, "source": run.source}
            for run in PUBLISHED
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
        return 0
    rows = [
        [run.name, run.gpus, f"{run.hours:,.1f}", f"{run.estimate:,.1f}", f"{run.ratio:.2f}", run.source]
        for run in PUBLISHED
    ]
    print(text_table(("run", "GPUs", "hours", "estimate", "hours / estimate", "source"), rows, num_left=2))
    print(f"\n{published_words()}")
    return 0


def _lines(config: AdvisorConfig, advice: Advice) -> Iterator[str]:
    from alignment.advisor.advice import hours_words

    yield advice.question
    rows = [
        [
            way.title,
            "yes" if way.fits else "no",
            _how(way),
            f"{hours_words(way.hours)} ({hours_words(way.low)} to {hours_words(way.high)})" if way.fits else "",
            "" if way.cost is None else f"{way.cost:,.0f}",
            "" if way.in_time is None else "yes" if way.in_time else "no",
            ", ".join(f"{need.what}: {need.verdict}" for need in way.needs) or "nothing",
        ]
        for way in advice.ways
    ]
    header = ("way", "fits", "how", "hours", "cost", f"in {config.days:g} days", "data")
    yield text_table(header, rows, num_left=3)
    for way in advice.ways:
        yield ""
        yield from _way_lines(way)
    yield ""
    chosen = next((way.title for way in advice.ways if way.name == advice.recommendation.way), "none of them")
    yield f"Recommended: {chosen}. {advice.recommendation.reason}"
    if advice.recommendation.after:
        yield advice.recommendation.after
    yield ""
    yield f"Hours: {advice.rates}."
    yield f"{advice.published}; `--published` lists them."


def _how(way: Way) -> str:
    if not way.fits:
        return ""
    if way.name == "best-of-n":
        return "no training"
    words = [] if way.options.get("lora") else ["all weights"]
    words += [name if value is True else f"{name} {value}" for name, value in way.options.items()]
    return ", ".join(words)


def _way_lines(way: Way) -> Iterator[str]:
    yield way.title
    if way.fits:
        budgets = [f"token_budget {way.token_budget:,}"] if way.token_budget else []
        budgets += [f"draw_budget {way.draw_budget:,}"] if way.draw_budget else []
        yield f"  {way.peak:.1f} of {way.limit:.1f} GiB on each GPU; {', '.join(budgets)}"
        yield from (f"  {model}" for model in way.models)
        yield from (f"  {stage.hours:8.1f} h  {stage.name}" for stage in way.stages)
        if way.full is not None:
            yield f"  with all weights trained it fits too, in {way.full:,.1f} hours"
    else:
        yield "  does not fit in any configuration that was tried"
    yield from (f"  {need.what}: {need.verdict}; {need.words}" for need in way.needs)
    for failure in way.failures:
        yield f"  fails: {failure.title}. {failure.cause}."
        yield f"    sign: {failure.sign.rstrip('.')}"
        yield f"    then: {failure.advice}"
