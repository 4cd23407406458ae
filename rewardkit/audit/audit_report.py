"""The audit as one HTML file (template `audit.html`). No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rewardkit.audit.effects import Effects
from rewardkit.audit.findings import EFFECTS_HEADER, SHIFTS_HEADER, Findings, effect_rows, sentences, shift_rows
from rewardkit.report.charts import interval_chart
from rewardkit.report.page import render_page
from rewardkit.report.table import signed_text
from rewardkit.stats.metrics import Interval
from rewardkit.traits.traits import TRAITS


def html_report(findings: Findings) -> str:
    """The whole page."""
    charts = [
        (heading, interval_chart(heading, list(chart_rows(effects)), 0.0, shares=False))
        for heading, effects in (("What people pay for", findings.people), ("What the model pays for", findings.model))
        if effects is not None and any(chart_rows(effects))
    ]
    return render_page(
        "audit.html",
        title="What has the reward learned?",
        findings=findings,
        sentences=list(sentences(findings)),
        charts=charts,
        effects_header=EFFECTS_HEADER,
        effect_rows=effect_rows(findings),
        shifts_header=SHIFTS_HEADER,
        shift_rows=shift_rows(findings),
        traits=TRAITS,
        signed_text=signed_text,
    )


def chart_rows(effects: Effects) -> Iterator[tuple[str, Interval]]:
    """The traits of which anything is known, by name."""
    for name in effects.traits:
        if math.isfinite((interval := effects.interval(name)).value):
            yield name.replace("_", " "), interval
