"""Charts of trainings, made from rows; no function here reads a run."""

from __future__ import annotations

import altair as alt

from annotate_app.pages.charts.charts import MUTED, PERCENT_TICKS, WARNING, Drawing, Rows, around_flat

HEIGHT = 230


def _values(rows: Rows) -> alt.InlineData:
    if not rows:
        raise ValueError("a chart of no rows: say in words what is missing instead")
    return alt.InlineData(values=[dict(row) for row in rows])


def _names(rows: Rows, field: str) -> list[str]:
    return list(dict.fromkeys(str(row[field]) for row in rows))


def curves(
    rows: Rows,
    *,
    axis: str,
    across: str = "step",
    percent: bool = False,
    log: bool = False,
    reference: float | None = None,
    reference_label: str = "",
    marks: Rows = (),
) -> Drawing:
    """One line a series over the steps of a training; a single point is drawn as a dot.

    Args:
        rows: `at`, `value`, `series`.
        axis: title of the vertical axis.
        across: title of the horizontal one.
        percent: whether values count in percent of 1.
        log: whether the horizontal axis is logarithmic.
        reference: where a dashed line lies, for example chance.
        reference_label: its words.
        marks: `at` and `words`, places on the horizontal axis where something happened.

    Raises:
        ValueError: if there are no rows.
    """
    names = _names(rows, "series")
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=190) if len(names) > 1 else None
    ticks = alt.Axis(tickCount=5, labelOverlap=True, **({} if log else {"tickMinStep": 1, "format": "~s"}))
    x = alt.X("at:Q", title=across, axis=ticks, scale=alt.Scale(type="log" if log else "linear", nice=False))
    flat = around_flat(rows, percent)
    y = alt.Y(
        "value:Q",
        title=axis,
        scale=alt.Scale(zero=False, padding=8, domain=flat or alt.Undefined),
        axis=alt.Axis(format=PERCENT_TICKS if percent else ".3~g" if flat else ".6~g", tickCount=4),
    )
    tooltip = [
        alt.Tooltip("series:N", title=" "),
        alt.Tooltip("at:Q", title=across, format="~g"),
        alt.Tooltip("value:Q", title=axis, format=".1%" if percent else ".4f"),
    ]
    colour = alt.Color("series:N", title=None, sort=names, legend=legend)
    line = (
        alt.Chart(_values(rows))
        .mark_line(point=alt.OverlayMarkDef(size=30) if len(rows) <= 40 * len(names) else False, strokeWidth=2)
        .encode(x=x, y=y, color=colour, tooltip=tooltip)
    )
    layers = [line]
    if reference is not None:
        mark = alt.Chart(alt.InlineData(values=[{"at": reference, "words": reference_label}]))
        rule = mark.mark_rule(color=MUTED, strokeDash=[4, 4], strokeWidth=1.5)
        layers.insert(0, rule.encode(y=alt.Y("at:Q", title=axis), tooltip=alt.Tooltip("words:N", title=" ")))
    if marks:
        rule = alt.Chart(_values(marks)).mark_rule(color=WARNING, strokeDash=[2, 3], strokeWidth=1.5)
        layers.insert(0, rule.encode(x=alt.X("at:Q", title=across), tooltip=alt.Tooltip("words:N", title=" ")))
    return alt.layer(*layers).properties(height=HEIGHT + (24 * -(-len(names) // 2) if legend else 0))


def before_and_after(rows: Rows) -> Drawing:
    """Two dots a figure, joined by a line: how it changed. Lower is better, the axis starts at 0.

    Args:
        rows: `figure`, `when` ("before" or "after") and `value`.

    Raises:
        ValueError: if there are no rows.
    """
    figures, times = _names(rows, "figure"), _names(rows, "when")
    y = alt.Y(
        "figure:N", title=None, sort=figures, axis=alt.Axis(labelLimit=180, ticks=False, domain=False, labelPadding=8)
    )
    base = alt.Chart(_values(rows)).encode(y=y)
    joined = base.mark_line(color=MUTED, strokeWidth=2).encode(x=alt.X("value:Q"), detail="figure:N")
    dots = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("value:Q", title="lower is better", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=4)),
        color=alt.Color("when:N", title=None, sort=times, legend=alt.Legend(orient="bottom")),
        tooltip=[
            alt.Tooltip("figure:N", title=" "),
            alt.Tooltip("when:N", title="calibration"),
            alt.Tooltip("value:Q", title="value", format=".4f"),
        ],
    )
    return alt.layer(joined, dots).properties(height=34 * len(figures) + 96)


def reliability(rows: Rows) -> Drawing:
    """How often the model is right at each predicted probability; on the dashed line it is as sure as it should be.

    Args:
        rows: `predicted`, `observed`, `num`.

    Raises:
        ValueError: if there are no rows.
    """
    data = _values(rows)
    scale = alt.Scale(domain=[0, 1])
    even = alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
    diagonal = even.mark_line(color=MUTED, strokeDash=[4, 4], strokeWidth=1.5).encode(x="x:Q", y="y:Q")
    dots = (
        alt.Chart(data)
        .mark_line(point=alt.OverlayMarkDef(size=70))
        .encode(
            x=alt.X("predicted:Q", title="predicted", scale=scale, axis=alt.Axis(format=".0%", tickCount=5)),
            y=alt.Y("observed:Q", title="chosen by people", scale=scale, axis=alt.Axis(format=".0%", tickCount=5)),
            tooltip=[
                alt.Tooltip("predicted:Q", format=".1%"),
                alt.Tooltip("observed:Q", format=".1%"),
                alt.Tooltip("num:Q", title="pairs", format=","),
            ],
        )
    )
    return alt.layer(diagonal, dots).properties(height=260)


def members(probabilities: tuple[float, ...], mean: float) -> Drawing:
    """Where each member of an ensemble stands between B (left) and A (right), and their mean.

    Args:
        probabilities: that A is preferred, by member.
        mean: of all.
    """
    ends = "datum.value == 0 ? 'B better' : datum.value == 1 ? 'A better' : datum.value == 0.5 ? 'even' : ''"
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=ends, labelFlush=True)
    x = alt.X("p:Q", title=None, scale=alt.Scale(domain=[0, 1]), axis=axis)
    rows = alt.InlineData(values=[{"p": value, "member": number} for number, value in enumerate(probabilities, 1)])
    ticks = (
        alt.Chart(rows)
        .mark_tick(thickness=2, size=34, opacity=0.55)
        .encode(
            x=x,
            tooltip=[alt.Tooltip("member:O"), alt.Tooltip("p:Q", title="probability of A", format=".1%")],
        )
    )
    dot = (
        alt.Chart(alt.InlineData(values=[{"p": mean}]))
        .mark_point(filled=True, size=160, opacity=1)
        .encode(x=x, tooltip=[alt.Tooltip("p:Q", title="mean", format=".1%")])
    )
    even = alt.Chart(alt.InlineData(values=[{"p": 0.5}])).mark_rule(color=MUTED, strokeDash=[4, 4]).encode(x="p:Q")
    return alt.layer(even, ticks, dot).properties(height=96)
