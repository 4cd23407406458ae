"""The experiment in the world of phrases for people: tables for a terminal and in Markdown, a page with charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignment.best_of_n.value import kl_bound
from alignment.config.lab import PHRASES_CHOSEN_ON, OveroptConfig
from alignment.phrase_lab.phrase_experiment import SIZES, Point, Push, Row, Rule, best_of_n_sizes
from alignment.phrase_lab.phrase_world import ARMS, KINDS, Arm, Kind
from rewardkit.report.charts import Line, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import signed_text, text_table

REPLIES: Mapping[Arm, str] = {"on_data": "as in the votes", "off_data": "may repeat phrases"}
MEMBERS: Mapping[Kind, str] = {
    "bootstrap": "bootstrap",
    "laplace": "Laplace",
    "start": "own start",
    "features": "own features",
}
FAR, FURTHEST = 16.0, 32.0  # KLs of the path that tables show beside that of best-of-n
BESIDE: tuple[Rule, ...] = ("one", "uwo_1", "wco")
SERIES: Mapping[Rule, int] = {"one": 4, "mean": 1, "uwo": 2}


def tables(config: OveroptConfig, rows: Sequence[Row]) -> list[Table]:
    """All tables; the first is the answer."""
    most = best_of_n_sizes(config.num_best_of)[-1]
    near = kl_bound(most)
    places: list[tuple[Push, float]] = [("best_of_n", near), ("path", near), ("path", FAR), ("path", FURTHEST)]
    first = ("replies", "members")
    by_place = [f"best of {most:,}, KL {near:.1f}", *(f"path, KL {kl:.3g}" for _, kl in places[1:])]
    chosen_on = f"worlds {PHRASES_CHOSEN_ON[0]} to {PHRASES_CHOSEN_ON[-1]}"
    worlds = f"worlds {config.numbers[0]} to {config.numbers[-1]}"
    by = _Index(config, rows)
    return [
        Table(
            heading=f"uwo beside the mean of {config.ensemble}, at equal KL",
            note=f"Gold of uwo minus gold by the mean at the same KL, logits, over {worlds}: Student's 95 % intervals "
            f"of differences paired by world, and in how many of {len(config.numbers)} it is ahead. Before it uwo's "
            f"strength, chosen at that KL on {chosen_on}. Path: the policy that a KL holds. Own best: each at the KL "
            "(and strength) that was best there.",
            header=(*first, *by_place, "path, each at its own best"),
            rows=[
                [*names, *(_gain(by.row(*at, push, "uwo").at(kl), kl) for push, kl in places), _stop(by, at)]
                for names, at in by.lines()
            ],
        ),
        Table(
            heading="With nothing chosen",
            note=f"Gold of the mean above the policy's own at KL {near:.1f}; beside it, as above, the first member "
            "alone, uwo with the strength 1 that it has by default, and the worst member.",
            header=(*first, "path, mean", "one", "uwo 1", f"best of {most:,}, mean", "one", "uwo 1", "wco"),
            rows=[
                [
                    *names,
                    f"{by.row(*at, 'path', 'mean').at(near).gold.value:.2f}",
                    *(_gain(by.row(*at, "path", rule).at(near), near, told=False) for rule in ("one", "uwo_1")),
                    f"{by.row(*at, 'best_of_n', 'mean').at(near).gold.value:.2f}",
                    *(_gain(by.row(*at, "best_of_n", rule).at(near), near, told=False) for rule in BESIDE),
                ]
                for names, at in by.lines()
            ],
        ),
        Table(
            heading="Where gold goes along the path",
            note=f"Best: at the KL with the most gold on {chosen_on}. Only a curve that rises and then falls shows "
            "over-optimisation; the others show something else. uwo at the strength of its best.",
            header=(*first, "rule", "best gold", "at KL", "proxy there", "furthest KL", "gold there minus best", ""),
            rows=[_way([*names], by.row(*at, "path", rule)) for names, at in by.lines() for rule in ("mean", "uwo")],
        ),
        Table(
            heading=f"By the number of members, path, KL {near:.1f}",
            note="Gold by the mean of K; after the semicolon uwo minus it, of a strength chosen for K. 1: the first "
            f"member of {config.ensemble}.",
            header=(*first, "1", *(str(count) for count in SIZES)),
            rows=[
                [
                    *names,
                    f"{by.row(*at, 'path', 'one').at(near).gold.value:.2f}",
                    *(_by_size(by, at, count, near) for count in SIZES),
                ]
                for names, at in by.lines()
            ],
        ),
    ]


def screen_lines(config: OveroptConfig, rows: Sequence[Row]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    lines: list[str] = []
    for table in tables(config, rows):
        lines += [table.heading, text_table(table.header, table.rows, num_left=2), table.note, ""]
    return lines[:-1]


def markdown(config: OveroptConfig, rows: Sequence[Row]) -> str:
    """Returns the tables in Markdown."""
    parts = []
    for table in tables(config, rows):
        lines = [table.header, ["---"] * len(table.header), *table.rows]
        parts += [f"**{table.heading}.** {table.note}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts)


def report_page(config: OveroptConfig, rows: Sequence[Row]) -> str:
    """The tables, and a chart of the path for each arm and kind of members."""
    answer, *others = tables(config, rows)
    by = _Index(config, rows)
    return experiment_page(
        "When a penalty for disagreement pays",
        summary=f"A reply is a bag of phrases; a linear reward learned from votes is pushed. {answer.note}",
        header=answer.header,
        rows=answer.rows,
        charts=[(f"Replies {names[0]}, members: {names[1]}", _chart(by, at)) for names, at in by.lines()],
        tables=others,
    )


class _Index:
    """Rows by what they are of."""

    def __init__(self, config: OveroptConfig, rows: Sequence[Row]) -> None:
        self.ensemble = config.ensemble
        self.rows = {(row.arm, row.kind, row.members, row.push, row.rule): row for row in rows}

    def lines(self) -> list[tuple[tuple[str, str], tuple[Arm, Kind]]]:
        """Names of arms and kinds, and what they name."""
        return [((REPLIES[arm], MEMBERS[kind]), (arm, kind)) for arm in ARMS for kind in KINDS]

    def row(self, arm: Arm, kind: Kind, push: Push, rule: Rule, members: int = 0) -> Row:
        return self.rows[arm, kind, members or self.ensemble, push, rule]


def _gain(point: Point, kl: float, *, told: bool = True) -> str:
    strength = f"{point.strength:g}: " if told else ""
    elsewhere = "" if abs(point.kl - kl) < 1e-9 else f", at KL {point.kl:.3g}"
    return f"{strength}{signed_text(point.gain)}, {point.num_ahead}{elsewhere}"


def _stop(by: _Index, at: tuple[Arm, Kind]) -> str:
    best, of_mean = by.row(*at, "path", "uwo").best, by.row(*at, "path", "mean").best
    return f"{_gain(best, best.kl)}; KL {best.kl:.3g} and {of_mean.kl:.3g}"


def _way(names: list[str], row: Row) -> list[str]:
    rule = f"{row.rule} {row.best.strength:g}" if row.best.strength else row.rule
    figures = [f"{row.best.gold.value:.2f}", f"{row.best.kl:.3g}", f"{row.best.proxy:.2f}", f"{row.points[-1].kl:.3g}"]
    is_last = row.points[-1].kl == row.best.kl
    return [*names, rule, *figures, "" if is_last else signed_text(row.fall), row.way]


def _by_size(by: _Index, at: tuple[Arm, Kind], count: int, kl: float) -> str:
    mean, uwo = (by.row(*at, "path", rule, count).at(kl) for rule in ("mean", "uwo"))
    return f"{mean.gold.value:.2f}; {signed_text(uwo.gain)}"


def _chart(by: _Index, at: tuple[Arm, Kind]) -> str:
    lines = []
    for rule, series in SERIES.items():
        for push in ("path", "best_of_n"):
            points = by.row(*at, push, rule).points
            golds = [point.gold for point in points]
            banded = push == "path" and rule != "one"
            lines.append(
                Line(
                    name=f"gold, {rule}" if push == "path" else f"best of n, {rule}",
                    x=[point.kl**0.5 for point in points],
                    y=[gold.value for gold in golds],
                    series=series,
                    dashed=push == "best_of_n",
                    band=([gold.low for gold in golds], [gold.high for gold in golds]) if banded else (),
                )
            )
    mean = by.row(*at, "path", "mean").points
    lines.append(Line(name="proxy", x=[point.kl**0.5 for point in mean], y=[point.proxy for point in mean], series=0))
    distance = number_axis("sqrt of KL, nats", [0.0, *(value for line in lines for value in line.x)])
    ends = [end for line in lines if line.band for side in line.band for end in side]
    above = number_axis("above the policy's own", [0.0, *ends, *(value for line in lines for value in line.y)])
    return line_chart("Gold and proxy against the distance", distance, above, lines)
