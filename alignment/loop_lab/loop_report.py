"""The experiment for people: tables for a terminal or a Markdown page, and a page with curves over turns. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alignment.config.lab import LoopLabConfig
from alignment.loop_lab.arms import ARMS, TURNS
from alignment.loop_lab.turn_figures import Base, Contrast, TurnRow, contrasts
from rewardkit.report.charts import Line, interval_chart, line_chart, number_axis
from rewardkit.report.page import Table, experiment_page
from rewardkit.report.table import percent, plain_number, signed_text, text_table
from rewardkit.stats.metrics import Interval, student_interval

TITLES = {arm.name: arm.title for arm in ARMS}
HEADER = (
    *("arm", "turn", "labels", "cost", "gold above SFT", "lowest seed", "better", "blind votes", "reward before"),
    *("reward after", "votes right", "KL", "words", "s"),
)
CONTRAST_HEADER = ("held against each other", "gold, last turn", "mean over turns", "reward model, points", "ahead")
BASE_HEADER = ("replies", "gold", "right step", "wrong step", "right amount", "wrong amount", "padding")
NUM_COLOURS = 5  # of a page's style; further lines are dashed
CHARTED = ("gain", "accuracy", "kl", "words")


def turn_lines(rows: Sequence[TurnRow]) -> list[list[str]]:
    """One line an arm and turn: means over seeds, gold with Student's 95 % interval."""
    lines = []
    for arm in ARMS:
        for turn in sorted({row.turn for row in rows if row.arm == arm.name}):
            mine = [row for row in rows if (row.arm, row.turn) == (arm.name, turn)]

            def mean(name: str, mine: Sequence[TurnRow] = mine) -> float:
                return student_interval([getattr(row, name) for row in mine]).value

            lines.append(
                [
                    arm.title,
                    str(turn),
                    f"{mean('labels'):.0f}",
                    f"{mean('money'):.0f}",
                    signed_text(student_interval([row.gain for row in mine])),
                    f"{min(row.gain for row in mine):+.2f}",
                    *(_share(mean(name)) for name in ("wins", "votes", "accuracy_before", "accuracy", "agreement")),
                    plain_number(mean("kl")),
                    plain_number(mean("words"), 1),
                    f"{mean('seconds'):.0f}",
                ]
            )
    return lines


def contrast_lines(answers: Sequence[Contrast]) -> list[list[str]]:
    """One line a question: differences paired by seed."""
    return [
        [
            f"{TITLES[answer.one]} against {TITLES[answer.other]}",
            signed_text(answer.gain),
            signed_text(answer.path) if math.isfinite(answer.path.value) else "",
            signed_text(_times(answer.accuracy, 100), 1) if math.isfinite(answer.accuracy.value) else "",
            f"{answer.num_ahead} of {answer.num_seeds}",
        ]
        for answer in answers
    ]


def base_lines(bases: Sequence[Base]) -> list[list[str]]:
    """What the SFT policies and the demonstrations that they imitate are worth, means over seeds."""
    names = [name.replace(" ", "_") for name in BASE_HEADER[2:]]

    def line(title: str, gold: Sequence[float], traits: Sequence[dict[str, float]]) -> list[str]:
        counts = [float(np.mean([each[name] for each in traits])) for name in names]
        return [title, f"{np.mean(gold):+.2f}", *(f"{count:.2f}" for count in counts)]

    return [
        line("SFT policy", [base.gold for base in bases], [dict(base.traits) for base in bases]),
        line("demonstrations", [base.demonstrations for base in bases], [dict(base.demonstrated) for base in bases]),
    ]


def notes(config: LoopLabConfig, rows: Sequence[TurnRow]) -> list[str]:
    """What the tables' columns are, and how they were made."""
    seeds = list(dict.fromkeys(row.seed for row in rows))
    over = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    return [
        f"means over {over}, with Student's 95 % intervals over seeds; gold in logits, paired by held-out message",
        f"{config.labels} labels of people a turn; a judge's vote costs {config.judge_price:g} of one, a share of "
        f"{config.judge_reliability:g} of them is attentive, and {config.judge_left_bias:g} logits draw it to the left",
        "better: share of replies worth more than SFT's, blind votes: simulated people's share for them, ties half",
        "reward before, after: accuracy on the replies of the policy that the turn began with, of the reward model as "
        "it was and as the turn used it; votes right: this turn's decided votes for the better reply",
    ]


def screen_lines(config: LoopLabConfig, bases: Sequence[Base], rows: Sequence[TurnRow]) -> list[str]:
    """Returns the tables' lines for a terminal."""
    return [
        text_table(BASE_HEADER, base_lines(bases)),
        "",
        text_table(HEADER, turn_lines(rows)),
        *notes(config, rows),
        "",
        text_table(CONTRAST_HEADER, contrast_lines(contrasts(rows))),
        "differences paired by seed, with Student's 95 % intervals; ahead: seeds on which the first has more gold",
    ]


def markdown(bases: Sequence[Base], rows: Sequence[TurnRow]) -> str:
    """Returns the tables in Markdown."""
    tables = (
        (BASE_HEADER, base_lines(bases)),
        (CONTRAST_HEADER, contrast_lines(contrasts(rows))),
        (HEADER, turn_lines(rows)),
    )
    return "\n\n".join(
        "\n".join(
            [
                f"| {' | '.join(header)} |",
                f"|{'---|' * len(header)}",
                *(f"| {' | '.join(line)} |" for line in lines),
            ]
        )
        for header, lines in tables
    )


def report_page(config: LoopLabConfig, bases: Sequence[Base], rows: Sequence[TurnRow]) -> str:
    """The tables, the questions' answers as intervals, and curves over turns with bands over seeds."""
    answers, lines = contrasts(rows), turn_lines(rows)
    titles = {
        "gain": "gold above SFT",
        "accuracy": "reward model's accuracy on-policy",
        "kl": "KL to SFT, nats a reply",
        "words": "words a reply",
    }
    charts = [(titles[name], _curves(name, titles[name], rows)) for name in CHARTED]
    if answers:
        names = [(f"{answer.one} - {answer.other}", answer.gain) for answer in answers]
        charts.insert(0, ("Gold in the last turn, one arm minus another", interval_chart("", names, 0.0, shares=False)))
    return experiment_page(
        "Turns of the loop against other ways to spend labels",
        summary=". ".join(f"{note[0].upper()}{note[1:]}" for note in notes(config, rows)) + ".",
        header=CONTRAST_HEADER,
        rows=contrast_lines(answers),
        charts=charts,
        tables=[
            Table(heading="Arms, turn by turn", header=HEADER[:8], rows=[line[:8] for line in lines]),
            Table(
                heading="Their reward models and policies",
                header=(*HEADER[:2], *HEADER[8:]),
                rows=[[*line[:2], *line[8:]] for line in lines],
            ),
            Table(heading="What it begins with", header=BASE_HEADER, rows=base_lines(bases)),
        ],
    )


def _curves(name: str, title: str, rows: Sequence[TurnRow]) -> str:
    lines = []
    for series, arm in enumerate(ARMS):
        turns = sorted({row.turn for row in rows if row.arm == arm.name})
        by_turn = [
            student_interval([getattr(row, name) for row in rows if (row.arm, row.turn) == (arm.name, turn)])
            for turn in turns
        ]
        if not any(math.isfinite(point.value) for point in by_turn):
            continue
        if name in ("gain", "kl"):  # both are 0 before the first turn
            turns, by_turn = [0, *turns], [Interval(value=0.0, low=0.0, high=0.0), *by_turn]
        lines.append(
            Line(
                name=arm.title,
                x=[float(turn) for turn in turns],
                y=[point.value for point in by_turn],
                series=series % NUM_COLOURS,
                dashed=series >= NUM_COLOURS,
                dots=3,
                joined=not arm.direct,
                band=([point.low for point in by_turn], [point.high for point in by_turn]) if arm is TURNS else (),
            )
        )
    ends = [value for line in lines if line.band for side in line.band for value in side if math.isfinite(value)]
    values = [*(value for line in lines for value in line.y), *ends]
    return line_chart(
        title, number_axis("turn", [value for line in lines for value in line.x]), number_axis(title, values), lines
    )


def _share(value: float) -> str:
    return percent(value) if math.isfinite(value) else ""


def _times(number: Interval, factor: float) -> Interval:
    return Interval(value=number.value * factor, low=number.low * factor, high=number.high * factor)
