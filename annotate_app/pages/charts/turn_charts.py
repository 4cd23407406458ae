"""A chart of a figure over turns, made from the rows of `annotate_app.turns.curves`."""

from __future__ import annotations

import altair as alt

from annotate_app.pages.charts.charts import MUTED, PERCENT_TICKS, Drawing
from annotate_app.turns.curves import TurnCurve

HEIGHT = 210


def over_turns(curve: TurnCurve) -> Drawing:
    """One line a series with a dot and a whisker a turn; turns are whole numbers, series stand side by side.

    Raises:
        ValueError: if the curve has no rows.
    """
    if not curve.rows:
        raise ValueError("a chart of no rows: say in words what is missing instead")
    names = list(dict.fromkeys(str(row["series"]) for row in curve.rows))
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=190) if len(names) > 1 else None
    turns = sorted({int(str(row["at"])) for row in curve.rows})
    x = alt.X("at:O", title="turn", sort=turns, axis=alt.Axis(labelAngle=0, labelOverlap=True, ticks=False))
    aside = alt.XOffset("series:N", sort=names, scale=alt.Scale(paddingOuter=0.8 if len(names) > 1 else 0.5))
    scale = alt.Scale(zero=False, padding=8)
    ticks = alt.Axis(format=PERCENT_TICKS if curve.percent else ".6~g", tickCount=4)
    y = alt.Y("value:Q", title=curve.axis, scale=scale, axis=ticks)
    form = ".1%" if curve.percent else ",.4~g"
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("at:O", title="turn"),
        alt.Tooltip("value:Q", title=curve.axis, format=form),
        alt.Tooltip("low:Q", title="from", format=form),
        alt.Tooltip("high:Q", title="to", format=form),
    ]
    colour = alt.Color("series:N", title=None, sort=names, legend=legend)
    base = alt.Chart(alt.InlineData(values=[dict(row) for row in curve.rows])).encode(x=x, xOffset=aside, color=colour)
    whiskers = (
        base.transform_filter("isValid(datum.low)")
        .mark_rule(strokeWidth=2, opacity=0.55)
        .encode(y=alt.Y("low:Q", title=curve.axis, scale=scale, axis=ticks), y2="high:Q", tooltip=tooltip)
    )
    line = base.mark_line(strokeWidth=2).encode(y=y, tooltip=tooltip)
    dots = base.mark_point(filled=True, size=60, opacity=1).encode(y=y, tooltip=tooltip)
    layers: list[alt.Chart] = [whiskers, line, dots]
    if curve.reference is not None:
        mark = alt.Chart(alt.InlineData(values=[{"at": curve.reference, "words": curve.reference_label}]))
        rule = mark.mark_rule(color=MUTED, strokeDash=[4, 4], strokeWidth=1.5)
        layers.insert(0, rule.encode(y=alt.Y("at:Q", title=curve.axis), tooltip=alt.Tooltip("words:N", title=" ")))
    return alt.layer(*layers).properties(height=HEIGHT + (24 if legend else 0))
