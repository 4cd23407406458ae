"""Altair charts for the pages, made from rows; no function here reads the store.

Rows are plain mappings so that a chart can be tested and exported without the app. Colours of marks come from the
app's theme; what is fixed here is legible on light and on dark. Times are UTC, as the store writes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

Rows = Sequence[Mapping[str, object]]
Drawing = alt.Chart | alt.LayerChart | alt.FacetChart  # what the functions below give

MUTED = "#8b909a"  # rules, references, whiskers: 3:1 or better on both themes
WARNING = "#d97706"  # marks that ask for attention
DIVERGING = ("#b45309", "#6b7280", "#0e7490")  # low, even, high: for the colour-blind too, and white reads on them
# Pixels. The app's theme fits axes, titles and legends into a chart's height, so they are added to the rows'.
ROW_HEIGHT = 30
AXIS_HEIGHT = 62
LEGEND_HEIGHT = 62
STACK_STEP, MOST_STACKED = 12, 96  # pixels between equal answers, and of all that stand on one another
PERCENT_TICKS = ".3~%"  # as many digits as ticks that lie close together need to differ: 5%, 5.5%
MARK = "mark"  # what a click selects
LINE_BREAK = ": "  # a label such as "InstructGPT: held-out labelers" takes two lines


def _data(rows: Rows) -> alt.InlineData:
    if not rows:
        raise ValueError("a chart of no rows: say in words what is missing instead")
    return alt.InlineData(values=[dict(row) for row in rows])


def _order(rows: Rows, field: str) -> list[str]:
    return list(dict.fromkeys(str(row[field]) for row in rows))


def _height(num_rows: int, *, legend: bool = False, row: int = ROW_HEIGHT) -> int:
    return row * num_rows + AXIS_HEIGHT + (LEGEND_HEIGHT if legend else 0)


def _names(field: str, rows: Rows) -> alt.Y:
    lines = f"split(datum.label, '{LINE_BREAK}')"
    axis = alt.Axis(
        labelLimit=170, labelExpr=lines, labelOverlap=False, labelFlush=False, ticks=False, domain=False, labelPadding=6
    )
    return alt.Y(f"{field}:N", title=None, sort=_order(rows, field), axis=axis)


def _legend(names: list[str]) -> alt.Legend | None:
    return alt.Legend(orient="bottom", columns=2, labelLimit=130) if 1 < len(names) <= 10 else None


def _format(percent: bool) -> str:
    return ".0%" if percent else ".2f"


def _ticks(percent: bool) -> str:
    return PERCENT_TICKS if percent else ".2f"


def intervals(
    rows: Rows,
    *,
    axis: str,
    percent: bool = False,
    domain: tuple[float, float] | None = None,
    reference: float | None = None,
    reference_label: str = "",
    clickable: bool = False,
) -> Drawing:
    """One dot with a whisker per row, in the order given.

    Args:
        rows: `label`, `value`, `low`, `high` (the interval; None where there is none) and `num` (what it rests on);
            optional `kind`: "own" (default), "published" (drawn as a hollow diamond) or "warning".
        axis: title of the horizontal axis.
        percent: whether the axis counts in percent of 1.
        domain: limits of the axis; the data's own where None.
        reference: where a vertical dashed line stands.
        reference_label: the line's words.
        clickable: whether a click on a dot selects its `label`, under the name `MARK`.

    Raises:
        ValueError: if there are no rows.
    """
    data = _data([{"kind": "own", "num": None, **row} for row in rows])
    scale = alt.Scale(domain=list(domain), clamp=True) if domain else alt.Scale(zero=False, padding=12)
    x = alt.X("value:Q", title=axis, scale=scale, axis=alt.Axis(format=_ticks(percent), tickCount=5))
    tooltip = [
        alt.Tooltip("label:N", title=" "),
        alt.Tooltip("value:Q", title=axis, format=".1%" if percent else ".3f"),
        alt.Tooltip("low:Q", title="from", format=".1%" if percent else ".3f"),
        alt.Tooltip("high:Q", title="to", format=".1%" if percent else ".3f"),
        alt.Tooltip("num:Q", title="based on", format=","),
    ]
    base = alt.Chart(data).encode(y=_names("label", rows), tooltip=tooltip)
    whiskers = base.mark_rule(color=MUTED, strokeWidth=2).encode(x=alt.X("low:Q", title=axis, scale=scale), x2="high:Q")
    dots = {
        "own": {"filled": True, "size": 90, "opacity": 1},
        "warning": {"filled": True, "size": 90, "opacity": 1, "color": WARNING},
        "published": {"shape": "diamond", "size": 110, "filled": False, "strokeWidth": 2, "color": MUTED},
    }
    kinds = {row.get("kind", "own") for row in rows}  # a layer without marks would be an image without a name
    layers: list[alt.Chart] = [whiskers]
    for kind, look in dots.items():
        if kind in kinds:
            layers.append(base.transform_filter(alt.datum.kind == kind).mark_point(**look).encode(x=x))
    if clickable:  # the dot is small: what takes the click is wider, and unseen
        own_rows = base.transform_filter(alt.datum.kind != "published")
        layers.append(
            _clicks(own_rows.mark_point(filled=True, size=420, opacity=0.01, cursor="pointer").encode(x=x), "label")
        )
    if reference is not None:
        layers.insert(0, _vertical(reference, reference_label))
    labels = _order(rows, "label")
    lines = 1.3 if any(LINE_BREAK in label for label in labels) else 1
    return alt.layer(*layers).properties(height=_height(len(labels), row=round(ROW_HEIGHT * lines)))


def _clicks(marks: alt.Chart, *fields: str) -> alt.Chart:
    """Marks of which a click selects the fields, under the name `MARK`."""
    chosen = alt.selection_point(name=MARK, fields=list(fields), toggle=False)
    return marks.add_params(chosen)


def _vertical(at: float, words: str) -> alt.Chart:
    rule = alt.Chart(alt.InlineData(values=[{"at": at, "words": words}])).mark_rule(
        color=MUTED, strokeDash=[4, 4], strokeWidth=1.5
    )
    return rule.encode(x="at:Q", tooltip=[alt.Tooltip("words:N", title=" ")])


def heatmap(
    rows: Rows,
    *,
    value: str,
    percent: bool = False,
    domain: tuple[float, float] = (0.0, 1.0),
    row_title: str | None = None,
    column_title: str | None = None,
    clickable: bool = False,
) -> Drawing:
    """A matrix with its figures written in the cells, middle of `domain` grey.

    Args:
        rows: `row`, `column`, `value` (None leaves the cell empty) and `num`.
        value: what the figure is, for the tooltip.
        percent: whether figures are written in percent of 1.
        domain: values of the scale's two ends.
        row_title, column_title: titles of the axes.
        clickable: whether a click on a cell selects its `row` and `column`, under the name `MARK`.

    Raises:
        ValueError: if there are no rows.
    """
    middle = sum(domain) / 2
    down, across = _order(rows, "row"), _order(rows, "column")
    if set(down) == set(across):
        across = down
    slanted = alt.Axis(labelAngle=-40, labelLimit=110, labelOverlap=False, ticks=False, domain=False)
    base = alt.Chart(_data(rows)).encode(
        x=alt.X("column:N", title=column_title, sort=across, axis=slanted),
        y=_names("row", rows).title(row_title),
        tooltip=[
            alt.Tooltip("row:N", title=row_title or "one"),
            alt.Tooltip("column:N", title=column_title or "other"),
            alt.Tooltip("value:Q", title=value, format=".1%" if percent else ".3f"),
            alt.Tooltip("num:Q", title="based on", format=","),
        ],
    )
    filled = base.transform_filter("isValid(datum.value)")
    colour = alt.Scale(domain=[domain[0], middle, domain[1]], range=list(DIVERGING), clamp=True, interpolate="lab")
    cells = filled.mark_rect(cornerRadius=3).encode(color=alt.Color("value:Q", scale=colour, legend=None))
    figures = filled.mark_text(color="white", fontWeight=600, fontSize=11 if len(down) <= 10 else 8).encode(
        text=alt.Text("value:Q", format=_format(percent))
    )
    layers = [
        cells,
        figures,
        *([_clicks(filled.mark_rect(opacity=0.01, cursor="pointer"), "row", "column")] if clickable else []),
    ]
    return alt.layer(*layers).properties(height=_height(len(down), row=34) + 60)


def over_time(
    rows: Rows,
    *,
    axis: str,
    percent: bool = False,
    domain: tuple[float, float] | None = None,
    clickable: bool = False,
) -> Drawing:
    """A line of a figure over time with its interval as a band.

    Args:
        rows: `at` (ISO date), `value`, `low`, `high`, `num`; optional `series` draws one line per name, without bands.
        axis: title of the vertical axis.
        percent: whether it counts in percent of 1.
        domain: its limits; the data's own where None.
        clickable: whether a click on a point selects its `day` (what `at` is) and `series`, under the name `MARK`.

    Raises:
        ValueError: if there are no rows.
    """
    series = any("series" in row for row in rows)
    domain = domain or around_flat(rows, percent)
    scale = alt.Scale(domain=list(domain), clamp=True) if domain else alt.Scale(zero=False)
    y = alt.Y("value:Q", title=axis, scale=scale, axis=alt.Axis(format=_ticks(percent), tickCount=5))
    tooltip = [
        alt.Tooltip("at:T", title="from", format="%e %b %Y"),
        alt.Tooltip("value:Q", title=axis, format=".1%" if percent else ".3f"),
        alt.Tooltip("num:Q", title="based on", format=","),
    ]
    base = alt.Chart(_data([{**row, "day": row["at"]} for row in rows])).encode(
        x=alt.X("utcyearmonthdate(at):T", title=None, axis=alt.Axis(format="%e %b", tickCount=6, labelOverlap=True))
    )
    targets = base.mark_point(filled=True, size=420, opacity=0.01, cursor="pointer").encode(y=y, tooltip=tooltip)
    if series:
        names = _order(rows, "series")
        colour = alt.Color("series:N", title=None, legend=_legend(names), sort=names)
        tooltip.insert(0, alt.Tooltip("series:N", title=" "))
        line = base.mark_line(point=True).encode(y=y, color=colour, tooltip=tooltip)
        clicks = [_clicks(targets, "day", "series")] if clickable else []
        return alt.layer(line, *clicks).properties(height=240 + 24 * (len(names) // 2))
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=axis, scale=scale), y2="high:Q")
    line = base.mark_line(point=alt.OverlayMarkDef(size=60)).encode(y=y, tooltip=tooltip)
    return alt.layer(band, line, *([_clicks(targets, "day")] if clickable else [])).properties(height=260)


def around_flat(rows: Rows, percent: bool) -> tuple[float, float] | None:
    """Limits of an axis whose values are all the same, which by itself would get one tick; None where they differ."""
    values = [float(str(row[name])) for row in rows for name in ("value", "low", "high") if row.get(name) is not None]
    if not values or max(values) - min(values) > 1e-9 * max(1.0, abs(values[0])):
        return None
    reach = 0.1 if percent else max(abs(values[0]) * 0.1, 0.1)
    return values[0] - reach, values[0] + reach


def per_day(rows: Rows, *, axis: str = "judgments") -> Drawing:
    """Stacked bars of counts per day, of which a click selects the `date` (what `day` is) and `name`, under `MARK`.

    Args:
        rows: `day` (ISO date), `name` and `count`.
        axis: what is counted.

    Raises:
        ValueError: if there are no rows.
    """
    names, days = _order(rows, "name"), _order(rows, "day")
    size = alt.Undefined if len(days) > 12 else 36
    bars = (
        alt.Chart(_data([{**row, "date": row["day"]} for row in rows]))
        .mark_bar(cornerRadiusTopLeft=2, cornerRadiusTopRight=2, size=size, cursor="pointer")
        .encode(
            x=alt.X(
                "utcyearmonthdate(day):O",
                title=None,
                axis=alt.Axis(format="%e %b", labelAngle=0, labelOverlap=True, ticks=False),
            ),
            y=alt.Y("sum(count):Q", title=axis, axis=alt.Axis(tickMinStep=1, tickCount=4)),
            color=alt.Color("name:N", title=None, legend=_legend(names), sort=names),
            tooltip=[
                alt.Tooltip("day:T", title="day", format="%e %b %Y"),
                alt.Tooltip("name:N", title=" "),
                alt.Tooltip("count:Q", title=axis, format=","),
            ],
        )
        .properties(height=220 + (24 * (len(names) // 2) if len(names) <= 10 else 0))
    )
    return _clicks(bars, "date", "name")


def positions(rows: Rows) -> Drawing:
    """Draws positions between response A and response B: one line per question, one dot per person and answer.

    Equal answers stand on one another: only the answer sets a dot's place across.

    Args:
        rows: `aspect` (the question), `name` (who), `position` (-1 is A by the scale's strongest degree, 0 even, 1 is
            B) and `words` (the answer).

    Raises:
        ValueError: if there are no rows.
    """
    names = sorted(_order(rows, "name"))
    places: dict[tuple[object, object], list[object]] = {}
    for row in rows:
        places.setdefault((row["aspect"], row["position"]), []).append(row["name"])
    highest = max((len(together) for together in places.values()), default=1)
    stacked = []
    for row in rows:
        together = places[row["aspect"], row["position"]]
        level = together.index(row["name"]) - (len(together) - 1) / 2
        stacked.append({**row, "at": row["position"], "level": level})
    step = min(STACK_STEP, MOST_STACKED / highest)
    ends = "datum.value == 0 ? 'even' : datum.value < 0 ? '◀ A better' : 'B better ▶'"
    axis = alt.Axis(values=[-1, 0, 1], labelExpr=ends, labelFontWeight=600, labelFlush=False)
    base = alt.Chart(_data(stacked)).encode(
        x=alt.X("at:Q", title=None, scale=alt.Scale(domain=[-1.2, 1.2]), axis=axis),
        y=_names("aspect", rows),
    )
    row_height = max(ROW_HEIGHT, round(step * highest) + 8)
    reach = row_height / 2
    dots = base.mark_circle(size=min(120, max(30, step * step)), opacity=0.9).encode(
        yOffset=alt.YOffset(
            "level:Q", scale=alt.Scale(domain=[-reach / step, reach / step], range=[row_height, 0], nice=False)
        ),
        color=alt.Color("name:N", title=None, legend=_legend(names), sort=names),
        tooltip=[
            alt.Tooltip("name:N", title="who"),
            alt.Tooltip("aspect:N", title="question"),
            alt.Tooltip("words:N", title="answer"),
        ],
    )
    height = _height(len(_order(rows, "aspect")), legend=len(names) > 1, row=row_height)
    return alt.layer(_vertical(0, "even"), dots).properties(height=height)


def shares(rows: Rows, *, axis: str) -> Drawing:
    """One full-width bar per row, cut into shares.

    Args:
        rows: `label`, `part` (the share's name) and `count`; parts stack in the order they first appear.
        axis: what is counted.

    Raises:
        ValueError: if there are no rows.
    """
    parts = _order(rows, "part")
    ranked = [{**row, "rank": parts.index(str(row["part"]))} for row in rows]
    return (
        alt.Chart(_data(ranked))
        .mark_bar(height=16)
        .encode(
            x=alt.X("count:Q", stack="normalize", title=axis, axis=alt.Axis(format=".0%", tickCount=4)),
            y=_names("label", rows),
            color=alt.Color("part:N", title=None, sort=parts, legend=_legend(parts)),
            order=alt.Order("rank:Q"),
            tooltip=[alt.Tooltip("label:N", title=" "), alt.Tooltip("part:N", title=" "), alt.Tooltip("count:Q")],
        )
        .properties(height=_height(len(_order(rows, "label")), legend=True))
    )
